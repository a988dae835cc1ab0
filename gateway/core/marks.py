"""What core adds to readings before they become frames."""

from .. import clock
from .._compat import TYPE_CHECKING, const
from ..transmission.model import CLOCK, Reading, Series

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..meter import Meter
    from ..transmission.model import Event

    Items = Sequence[Reading | Series | Event]

# Fault codes of the property registry.
_METER_TIME = const(1)  # OSGP_meter_time
_NOT_AUTHENTICATED = const(3)  # OSGP_not_authenticated


def mark(items: "Items", meter: "Meter") -> "Items":
    """The items, each row with a fault code when the meter's answers do not prove where they came from, and
    readings that carry our time with one when that is the meter's. The reader of clocks says it itself."""
    if clock.source() != clock.NETWORK:
        for item in items:
            if isinstance(item, Reading) and item.kind != CLOCK:
                item.faults = tuple(item.faults) + (_METER_TIME,)
    if not meter.authenticated:
        for item in items:
            item.faults = (
                _every_row(item) if isinstance(item, Series) else tuple(item.faults) + (_NOT_AUTHENTICATED,)
            )
    return items


def _every_row(series: Series) -> "list[tuple[int, int | str]]":
    faults: list[tuple[int, int | str]] = []
    known = series.faults
    at = 0
    for row in range(len(series.times)):
        while at < len(known) and known[at][0] == row:
            faults.append(known[at])
            at += 1
        faults.append((row, _NOT_AUTHENTICATED))
    return faults
