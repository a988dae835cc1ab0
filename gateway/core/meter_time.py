"""Sets our clock by the meter's, for want of network time: loaded only then."""

from .. import clock
from .._compat import TYPE_CHECKING

if TYPE_CHECKING:
    from ..c1219.tables import Tables
    from .supervisor import Log


async def take(tables: "Tables", name: str, log: "Log") -> None:
    """From the clock of the meter `name`; when that is no time either, ours stays as it is."""
    from ..c1219.readers.clock import utc_ms

    utc = await utc_ms(tables)
    if utc is None:
        log("warning", "%s: its clock was never set, and there is no network time: times are wrong" % name)
    elif clock.source() != clock.NETWORK:  # which may have come meanwhile
        clock.set_utc(utc, clock.METER)
        log("info", "%s: without network time its clock is ours, and readings say so" % name)
