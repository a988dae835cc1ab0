"""What both clients of the MEP port have in common: a request out, frames in, whatever guards them."""

from ..._compat import TYPE_CHECKING, const
from .. import events
from .framing import ALERT, MESSAGE, Framer

if TYPE_CHECKING:
    from typing import Any

    Event = tuple[int, Any]

# States of an exchange.
IDLE = const(0)
READY = const(1)
WAITING = const(2)


class Exchange:
    """One exchange at a time, a machine without I/O.

    `patient`: whether damaged answers are asked for again; who can ask for less at a time sets it to False.
    `damaged`: whether bytes came in this exchange that are no answer. `proven`: whether the meter has shown
    that it knows the key.
    """

    def __init__(self) -> None:
        self.patient = True
        self.damaged = False
        self.proven = False
        self._noisy = False
        self._refusals = 0  # in a row, across exchanges
        self._framer = Framer()
        self._state = IDLE
        self._request = self._frame = b""
        self._tries = 0

    @property
    def unfinished(self) -> bool:
        return self._framer.unfinished

    def output(self) -> bytes:
        """The frame to send; from here on answers count."""
        self._state = WAITING
        self._tries += 1
        return self._frame

    def receive(self, data: bytes) -> "list[Event]":
        """What the bytes bring, in order; one alert at most stands for all in `data`."""
        found: list[Event] = []
        alerted = False
        at = 0
        framer = self._framer
        while at < len(data):
            at = framer.take(data, at)
            if framer.found == MESSAGE:
                if self._state == WAITING:
                    found.append(self._judge(framer.message()))
            elif framer.found == ALERT:
                if not alerted:
                    found.append((events.ALERT, None))
                    alerted = True
            elif framer.found is not None:
                self._garbled()
        return found

    def pause(self) -> None:
        """The line was quiet for longer than a frame may pause."""
        if self._framer.unfinished:
            self._garbled()
            self._framer.reset()

    def _judge(self, message: bytes) -> "Event":
        raise NotImplementedError

    def _garbled(self) -> None:
        """Bytes came that are no frame."""
        self.damaged = True

    def _done(self) -> None:
        self._state = IDLE
        self._request = self._frame = b""
