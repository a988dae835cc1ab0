"""A session over ANSI C12.18-1996, a machine without I/O: which service comes next, what its answer means.

    state     service       answer            next
    BASE      identify      00                IDENTIFIED
                            0A                STALE: a session stands from before
    STALE     terminate     any               BASE, once; then it is an error
    IDENTIFIED negotiate    00                NEGOTIATED, with what the meter chose
                            another           NEGOTIATED, with the protocol's defaults
    NEGOTIATED logon        00                LOGGED_ON
    LOGGED_ON security      00                OPEN
    OPEN      (tables)
    CLOSING   logoff        any               ENDING
    ENDING    terminate     any               BASE

Any other answer raises an error, and the session is back at BASE.
"""

from ..._compat import const
from .. import c1218
from . import services
from .machine import DEFAULT_PACKET, DEFAULT_PACKETS

BASE = 0
_STALE = const(1)
_IDENTIFIED = const(2)
_NEGOTIATED = const(3)
_LOGGED_ON = const(4)
OPEN = 5
_CLOSING = const(6)
_ENDING = const(7)


class Session:
    """`password`: 20 bytes; `user_id` and `user`: what the meter's log calls this client.

    `agreed`: packet size, packets per message and baud rate (0: the one that is), of the protocol or, once
    negotiated, as the meter chose.
    """

    def __init__(self, password: bytes, user_id: int, user: bytes) -> None:
        self.state = BASE
        self.agreed = (DEFAULT_PACKET, DEFAULT_PACKETS, 0)
        self._password = password
        self._user_id = user_id
        self._user = user
        self._freed = False

    def begin(self, packet_size: int, packets: int, rate: int) -> None:
        """From BASE on, asking for these sizes and this rate (0: the one that is)."""
        self.state = BASE
        self.agreed = (DEFAULT_PACKET, DEFAULT_PACKETS, 0)
        self._wanted = (packet_size, packets, rate)
        self._freed = False

    def end(self) -> None:
        """Close it in the protocol's way."""
        self.state = _CLOSING

    def request(self) -> "bytes | None":
        """The next service on the way to OPEN, or to BASE after `end`; None when it is there."""
        state = self.state
        if state == BASE:
            return services.IDENTIFY
        if state in (_STALE, _ENDING):
            return services.TERMINATE
        if state == _IDENTIFIED:
            return services.negotiate(*self._wanted)
        if state == _NEGOTIATED:
            return services.logon(self._user_id, self._user)
        if state == _LOGGED_ON:
            return services.security(self._password)
        return services.LOGOFF if state == _CLOSING else None

    def answered(self, request: bytes, answer: bytes) -> None:
        """The meter's answer to `request`; raises Refused, AuthenticationError or ProtocolError."""
        state = self.state
        code = answer[0]
        self.state = BASE
        if state == BASE:
            if code == services.OUT_OF_STATE and not self._freed:
                self.state = _STALE
                return
            self._done(request, code)
            if not services.is_identity(answer):
                from .failures import bad_answer

                raise bad_answer(request, "has %d bytes" % len(answer))
            self.state = _IDENTIFIED
        elif state == _STALE:
            self._freed = True
        elif state == _IDENTIFIED:
            if code == c1218.OK:
                self.agreed = services.negotiated(request, answer)
            self.state = _NEGOTIATED
        elif state == _CLOSING:
            self.state = _ENDING
        elif state != _ENDING:
            self._done(request, code)
            self.state = _LOGGED_ON if state == _NEGOTIATED else OPEN

    def _done(self, request: bytes, code: int) -> None:
        if code != c1218.OK:
            from .failures import refused

            raise refused(request, code)
