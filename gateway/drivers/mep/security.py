"""How a MEP port is secured, and that it never gets worse: "digest", "rc4", "tls" or "auto".

"auto" tries TLS first. A meter that answers nothing, or nothing that looks like TLS, is asked with RC4. That
can't be told from a meter which speaks TLS and is kept from it, so "auto" trusts the first time. Once a meter
has spoken TLS, which its Finished proves, that is remembered (`TlsMemory`), and nothing but TLS is spoken
with it again.
"""

from ..._compat import TYPE_CHECKING
from ...errors import AuthenticationError, ConfigurationError, GatewayError, NoAnswer, ProtocolError
from ..c1218 import READ_OVERHEAD, WRITE_OVERHEAD
from ..pump import Pump
from .digest import DIGEST_BYTES
from .framing import MAX_FRAME, MAX_MESSAGE
from .machine import SECURITY_OVERHEAD, Machine

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..link import Link
    from .tls_machine import MakeTls, TlsMachine

DIGEST = "digest"
RC4 = "rc4"
TLS = "tls"
AUTO = "auto"
MODES = (DIGEST, RC4, TLS, AUTO)

# The key ids of "PSK Identity Hint", which only TLS names, in the order in which they are tried: a customer
# mostly holds the basic key, with which alone everything can be read.
LEVELS = (0, 1)

# MEP guide, chapter 2, "MEP Protocol Timing".
_RESPONSE_MS = 500
_SPACING_MS = 100


class TlsMemory:
    """What is known of one meter's TLS; this one forgets with the process.

    `level`: the key id with which the meter has spoken TLS, None while it has not. `without`: whether it was
    found to speak RC4 instead; it is not asked for TLS again before the next start, because it may count that
    as an alarm each time.
    """

    def __init__(self, level: "int | None" = None) -> None:
        self.level = level
        self.without = False

    def remember(self, level: int) -> None:
        """The meter has spoken TLS; called before the first answer is handed on. Raises ConfigurationError
        when it can't be kept."""
        self.level = level


class Security:
    """What is agreed about one meter: `mode`, `key` (16 bytes), `make_tls` (None: TLS can't be had here),
    `level` (the key id, None for either), `memory`. `hesitant`: the key was refused the last time, and is to
    be offered once. Raises ConfigurationError when that contradicts itself.
    """

    def __init__(
        self,
        key: bytes,
        mode: str = DIGEST,
        make_tls: "MakeTls | None" = None,
        level: "int | None" = None,
        memory: "TlsMemory | None" = None,
    ) -> None:
        memory = memory or TlsMemory()
        if mode in (TLS, AUTO):
            if make_tls is None:
                raise ConfigurationError("security = %s: there is no TLS in this build" % mode)
        elif memory.level is not None:
            raise ConfigurationError(
                'security = "%s": this meter has spoken TLS before, and nothing less is spoken with it any '
                'more. Set security to "tls" or "auto"; if it was exchanged, or its port is set to RC4 now, '
                "forget that first (osgp-gateway forget-security)" % mode
            )
        self.mode = mode
        self.key = key
        self.make_tls = make_tls
        self.level = level
        self.memory = memory
        self.hesitant = False


class SecuredPort:
    """Exchanges over one MEP port. `max_read` and `max_write`: the most table data that an answer, and a
    request without its offset and count, can carry; they grow when "auto" ends with RC4.
    """

    def __init__(self, link: "Link", security: Security, baud: int, on_alert: "Callable[[], None]") -> None:
        self._security = security
        self._machine: Machine | TlsMachine
        self._tls: TlsMachine | None = None
        self._settled = True
        self._ended_another = False
        if security.mode in (TLS, AUTO) and not security.memory.without:
            self._use_tls()
            self._settled = security.mode == TLS or security.memory.level is not None
        else:
            self._use_rc4()
        self._pump = Pump(
            link,
            self._machine,
            baud=baud,
            response_ms=_RESPONSE_MS,
            spacing_ms=_SPACING_MS,
            largest=MAX_FRAME,
            on_alert=on_alert,
        )

    @property
    def security(self) -> str:
        if not self._machine.proven:
            return ""
        if self._tls is not None:
            return TLS
        return RC4 if self._security.mode != DIGEST else DIGEST

    def traffic(self) -> "tuple[int, int, int]":
        return self._pump.traffic()

    @property
    def resyncs(self) -> "int | None":
        return self._machine.resyncs

    @property
    def damaged(self) -> bool:
        """Whether bytes came in the last exchange that are no answer."""
        return self._machine.damaged

    @property
    def over_tls(self) -> bool:
        return self._tls is not None

    @property
    def proven(self) -> bool:
        """Whether the meter has shown on this connection that it knows the key."""
        return self._machine.proven

    async def exchange(self, message: bytes, patient: bool = True) -> bytes:
        """The authenticated answer (code 00) to a C12.18 request; raises MeterError or LinkError.

        `patient`: whether damaged answers are asked for again here.
        """
        memory = self._security.memory
        if self._settled:
            try:
                return await self._exchange(message, patient)
            except (AuthenticationError, ProtocolError) as error:
                # It may take nothing but TLS by now, which the next connection will find out.
                memory.without = memory.without and self._machine.proven
                if self._tls is not None and memory.level is not None:
                    from .tls_responses import NoTls, no_tls_any_more

                    if isinstance(error, NoTls):
                        raise no_tls_any_more(error) from None
                raise
        try:
            answer = await self._exchange(message, True)
        except (NoAnswer, ProtocolError) as error:
            from .tls_responses import NoTls

            if self._tls is None or self._tls.answered:
                raise
            # To be asked for TLS again would be one refusal more for the meter to count.
            self._settled = isinstance(error, NoTls)
            self._use_rc4()
            self._pump.use(self._machine)
            try:
                return await self._exchange(message, True)
            finally:
                self._settle_for_rc4()
        self._settled = True
        return answer

    async def close(self) -> None:
        """End the TLS session, so that the next client may speak RC4, and close the link."""
        if self._tls is not None and self._tls.level is not None:
            try:
                await self._pump.exchange(b"")  # TlsMachine's TERMINATE
            except GatewayError:
                pass
        await self._pump.close()

    async def _exchange(self, message: bytes, patient: bool) -> bytes:
        self._machine.patient = patient
        try:
            return await self._pump.exchange(message)
        except ProtocolError as error:
            from .responses import TlsStands

            if not isinstance(error, TlsStands) or self._security.mode == AUTO or self._ended_another:
                raise
        finally:
            self._remember()
        await self._end_another()
        return await self._pump.exchange(message)

    async def _end_another(self) -> None:
        """End a TLS session that was left open, which alone keeps a port from RC4 that is not set to TLS."""
        from .tls_machine import TERMINATE, TlsMachine

        self._ended_another = True
        self._pump.use(TlsMachine(None, self._security.key, LEVELS))
        try:
            await self._pump.exchange(TERMINATE)
        except (NoAnswer, ProtocolError):
            pass
        finally:
            self._pump.use(self._machine)

    def _remember(self) -> None:
        memory = self._security.memory
        level = self._tls.level if self._tls is not None else None
        if level is not None and level != memory.level:
            memory.remember(level)

    def _settle_for_rc4(self) -> None:
        if self._machine.proven:
            self._settled = True
            self._security.memory.without = True
        elif not self._settled:
            self._use_tls()
            self._pump.use(self._machine)

    def _use_tls(self) -> None:
        from .tls_machine import TLS_OVERHEAD, TlsMachine

        security = self._security
        assert security.make_tls is not None
        known = security.memory.level
        levels: tuple[int, ...] = LEVELS if known is None else (known, 1 - known)
        if security.level is not None:
            levels = (security.level,)
        self._tls = self._machine = TlsMachine(security.make_tls, security.key, levels)
        if security.hesitant:
            self._machine.hesitate()
        self.max_read = MAX_MESSAGE - TLS_OVERHEAD - READ_OVERHEAD  # 443
        self.max_write = MAX_MESSAGE - TLS_OVERHEAD - WRITE_OVERHEAD

    def _use_rc4(self) -> None:
        self._tls = None
        self._machine = Machine(self._security.key, self._security.mode != DIGEST)
        if self._security.hesitant:
            self._machine.hesitate()
        self.max_read = MAX_MESSAGE - DIGEST_BYTES - READ_OVERHEAD  # 465
        self.max_write = MAX_MESSAGE - SECURITY_OVERHEAD - WRITE_OVERHEAD
