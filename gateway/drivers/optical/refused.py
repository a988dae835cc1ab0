"""That a refused password is not tried over and over, connection after connection."""

from ... import clock
from ..._compat import TYPE_CHECKING, const

if TYPE_CHECKING:
    from .meter import OpticalMeter

# A meter may lock its optical port after a few refused passwords (ET55, firmware 4.30).
_REFUSED_MS = const(3600000)


class RefusedPassword:
    """Follows the newest connection, and for an hour keeps its password from another one if it is refused."""

    def __init__(self) -> None:
        self._tried: tuple[bytes, OpticalMeter, int] | None = None

    def check(self, password: bytes) -> None:
        """Before a connection; raises AuthenticationError, as the meter's refusal did."""
        if self._tried is not None:
            tried, meter, at = self._tried
            if meter.refusal and tried == password and clock.monotonic_ms() - at < _REFUSED_MS:
                raise meter.refusal

    def follow(self, password: bytes, meter: "OpticalMeter") -> None:
        self._tried = password, meter, clock.monotonic_ms()
