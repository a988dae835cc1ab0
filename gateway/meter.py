"""The Meter interface: all that tables know of a driver, and all that a driver offers to tables."""

from ._compat import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from .errors import AuthenticationError


class Meter:
    """A meter on one of its ports, as drivers offer it (docs/architecture.md, "The way of a reading").

    `max_read` is the most table bytes that one exchange can carry; `read` splits longer reads itself,
    so it is advice for those who want consistent data. `authenticated` says whether answers prove
    their origin (MEP digest or TLS) or only carry checksums (optical port). `on_alert`, when set, is
    called without arguments, from the event loop, each time the meter signals an alert. `resyncs`
    counts how often the meter gave the driver a new sequence number, which a MEP server also does
    when its table dimensions change (MEP guide, chapter 4, "Dynamic Sizing of Tables"); None where
    the port has no such sign. `security` names what guards the answers, "" before that is settled; `proven`:
    the meter has taken our key on this connection; `refusal`: it has refused it, which is not asked again.
    """

    max_read = 0
    authenticated = False
    resyncs: "int | None" = None
    security = ""
    proven = False
    refusal: "AuthenticationError | None" = None
    on_alert: "Callable[[], None] | None" = None

    def traffic(self) -> "tuple[int, int, int]":
        """Of this connection: exchanges begun, those answered, and how often requests were sent again."""
        return 0, 0, 0

    async def read(self, table: int, offset: "int | None" = None, count: "int | None" = None) -> bytes:
        """`count` bytes of `table` from `offset`; without both, the whole table.

        Raises Refused when the meter answers with an error code, AuthenticationError, NoAnswer,
        ProtocolError, or LinkError. Never returns fewer bytes than asked for.
        """
        raise NotImplementedError

    async def write(self, table: int, data: bytes, offset: "int | None" = None) -> None:
        """Write `data` to `table`, from `offset` or as the whole table. Errors as for read."""
        raise NotImplementedError

    async def release(self) -> None:
        """Nothing is asked for a while: a driver whose session keeps others from the meter may end it here,
        and begins another with the next read. May be called at any time between reads; never raises for
        a dead link."""

    async def close(self) -> None:
        """End the session in the protocol's way and close the link; never raises for a dead link."""
        raise NotImplementedError
