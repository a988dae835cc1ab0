"""That a refused key or password is not tried over and over, connection after connection."""

from .. import clock
from .._compat import TYPE_CHECKING, const

if TYPE_CHECKING:
    from ..meter import Meter

# A meter counts each refusal as an alarm, and may lock its port after a few (ET55, firmware 4.30).
_REFUSED_MS = const(3600000)
# Where the meter had taken the same one on that connection, a very bad line may have spoiled it, or the
# refusals were such as come once in a while on a good line, and then one more offer tells.
_PROVEN_MS = (10000, 300000)


class RefusedSecret:
    """Follows the newest connection, and keeps its secret from another one for a while if it is refused."""

    def __init__(self) -> None:
        self._tried: tuple[bytes, Meter, int] | None = None
        self._soon = 0  # how many of _PROVEN_MS are left to it

    def check(self, secret: bytes) -> bool:
        """Before a connection; raises AuthenticationError, as the meter's refusal did. Whether this secret
        was refused the last time, so that one more refusal has to be enough."""
        if self._tried is None:
            return False
        tried, meter, at = self._tried
        if tried != secret:
            self._tried = None
            self._soon = 0
            return False
        if meter.proven:
            self._soon = len(_PROVEN_MS) if meter.refusal is not None else 0
        if meter.refusal is None:
            return False
        wait = _PROVEN_MS[-self._soon] if self._soon else _REFUSED_MS
        if clock.monotonic_ms() - at < wait:
            raise meter.refusal
        return True

    def follow(self, secret: bytes, meter: "Meter") -> None:
        if self._soon and self._tried is not None and self._tried[1].refusal is not None:
            self._soon -= 1
        self._tried = secret, meter, clock.monotonic_ms()
