"""Connections to a meter on its optical port."""

from pty_link import PtyLink

from gateway.drivers.optical.client import BASE_BAUD
from gateway.drivers.optical.meter import OpticalMeter
from gateway.drivers.refused import RefusedSecret


class OpticalOpener:
    """`baud`: for sessions, which begin at 9600; the rest as OpticalMeter has it."""

    def __init__(self, port: str, password: bytes, baud: int, user_id: int, user: str, log_off: bool) -> None:
        self._port = port
        self._password = password
        self._baud = baud
        self._user_id = user_id
        self._user = user
        self._log_off = log_off
        self._refused = RefusedSecret()

    async def open(self) -> OpticalMeter:
        self._refused.check(self._password)
        meter = OpticalMeter(
            PtyLink(self._port, BASE_BAUD),
            self._password,
            baud=self._baud,
            user_id=self._user_id,
            user=self._user,
            log_off=self._log_off,
        )
        self._refused.follow(self._password, meter)
        return meter
