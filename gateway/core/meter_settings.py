"""What is to be known of one meter before it is met."""

from .._compat import TYPE_CHECKING, const
from . import schedule

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from ..c1219.alerts import Client
    from ..c1219.on_demand import OnDemand
    from ..meter import Meter

_DAY_S = const(86400)


class MeterSettings:
    """One meter.

    `name`: the user's word for it in states and logs, unique. `open_meter`: a coroutine function that
    connects link and driver and gives a fresh Meter, raising LinkError or MeterError; called for each
    connection. `meter_id`: its smartMeterId (UUID as text); None takes the UUIDv5 of manufacturer and
    serial number. `serial`: the serial number it must have; None accepts the first one seen.
    `intervals_ms`: by kind of reading, where they differ from the default schedule; 0 leaves it out.
    `reads_per_hour`: the most it is asked for. `idle_s`: begin and end of the time of day (seconds since
    midnight, UTC) in which its port is left alone; None: it never is. `client`: what the
    meter alerts; None: nobody, and what alerts would tell is polled. `on_demand`: has the meter ask its M-Bus
    devices; None: what it has of them is read. `stale_after`: how many intervals without a reading make a
    kind stale. `place`: among the meters of a process, which ask one after the other.
    """

    def __init__(
        self,
        name: str,
        open_meter: "Callable[[], Awaitable[Meter]]",
        meter_id: "str | None" = None,
        serial: "str | None" = None,
        intervals_ms: "Mapping[int, int] | None" = None,
        reads_per_hour: int = schedule.READS_PER_HOUR,
        idle_s: "tuple[int, int] | None" = None,
        client: "Client | None" = None,
        on_demand: "OnDemand | None" = None,
        stale_after: int = 3,
        place: int = 0,
    ) -> None:
        self.name = name
        self.open_meter = open_meter
        self.meter_id = meter_id
        self.serial = serial
        self.intervals_ms = intervals_ms
        self.reads_per_hour = reads_per_hour
        self.idle_s = idle_s
        self.client = client
        self.on_demand = on_demand
        self.stale_after = stale_after
        self.place = place

    def idle_ms(self, now_ms: int) -> int:
        """How much longer the port is left alone; 0 when it is not."""
        if self.idle_s is None:
            return 0
        begin, end = self.idle_s
        passed: int = (now_ms - 1000 * begin) % (1000 * _DAY_S)
        left: int = 1000 * ((end - begin) % _DAY_S) - passed
        return max(left, 0)
