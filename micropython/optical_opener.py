"""Connections to a meter on its optical port."""

from gateway._compat import TYPE_CHECKING
from gateway.drivers.optical.client import BASE_BAUD
from gateway.drivers.optical.meter import OpticalMeter
from gateway.drivers.refused import RefusedSecret

if TYPE_CHECKING:
    from uart_link import Line


class OpticalOpener:
    """`baud`: for sessions, which begin at 9600; the rest as OpticalMeter has it."""

    def __init__(
        self, line: "Line", password: bytes, baud: int, user_id: int, user: str, log_off: bool
    ) -> None:
        self._line = line
        self._password = password
        self._baud = baud
        self._user_id = user_id
        self._user = user
        self._log_off = log_off
        self._refused = RefusedSecret()

    async def open(self) -> OpticalMeter:
        self._refused.check(self._password)
        meter = OpticalMeter(
            await self._line.open(BASE_BAUD),
            self._password,
            baud=self._baud,
            user_id=self._user_id,
            user=self._user,
            log_off=self._log_off,
        )
        self._refused.follow(self._password, meter)
        return meter
