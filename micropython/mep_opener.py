"""Connections to a meter on its MEP port."""

from gateway._compat import TYPE_CHECKING
from gateway.drivers.mep.meter import MepMeter
from gateway.drivers.refused import RefusedSecret

if TYPE_CHECKING:
    from uart_link import Line

    from gateway.drivers.mep.security import Security


class MepOpener:
    def __init__(self, line: "Line", security: "Security", baud: int) -> None:
        self._line = line
        self._security = security
        self._baud = baud
        self._refused = RefusedSecret()

    async def open(self) -> MepMeter:
        security = self._security
        security.hesitant = self._refused.check(security.key)
        meter = MepMeter(await self._line.open(self._baud), security, self._baud)
        self._refused.follow(security.key, meter)
        return meter
