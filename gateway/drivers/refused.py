"""That a refused key or password is not tried over and over, connection after connection."""

from .. import clock
from .._compat import TYPE_CHECKING, const

if TYPE_CHECKING:
    from ..meter import Meter

# A meter counts each refusal as an alarm, and may lock its port after a few (ET55, firmware 4.30).
_REFUSED_MS = const(3600000)
# Where the meter had taken the same one on that connection, a very bad line may have spoiled it.
_PROVEN_MS = const(300000)


class RefusedSecret:
    """Follows the newest connection, and keeps its secret from another one for a while if it is refused."""

    def __init__(self) -> None:
        self._tried: tuple[bytes, Meter, int] | None = None

    def check(self, secret: bytes) -> bool:
        """Before a connection; raises AuthenticationError, as the meter's refusal did. Whether this secret
        was refused the last time, so that one more refusal has to be enough."""
        if self._tried is None:
            return False
        tried, meter, at = self._tried
        refusal = meter.refusal
        if refusal is None or tried != secret:
            self._tried = None
            return False
        if clock.monotonic_ms() - at < (_PROVEN_MS if meter.proven else _REFUSED_MS):
            raise refusal
        return True

    def follow(self, secret: bytes, meter: "Meter") -> None:
        self._tried = secret, meter, clock.monotonic_ms()
