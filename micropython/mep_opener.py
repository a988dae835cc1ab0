"""Connections to a meter on its MEP port."""

from pty_link import PtyLink

from gateway._compat import TYPE_CHECKING
from gateway.drivers.mep.meter import MepMeter

if TYPE_CHECKING:
    from gateway.drivers.mep.security import Security


class MepOpener:
    def __init__(self, port: str, security: "Security", baud: int) -> None:
        self._port = port
        self._security = security
        self._baud = baud

    async def open(self) -> MepMeter:
        return MepMeter(PtyLink(self._port, self._baud), self._security, self._baud)
