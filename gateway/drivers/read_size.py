"""How many bytes of a table to ask for at a time on a line that damages some of them."""

from .._compat import const

# At 1 % of bytes damaged, pieces of 48 to 100 bytes get the most through, and smaller ones only cost time; on
# a line that is worse still, only these do.
_SMALL = const(40)
_SMALLEST = const(12)
_ROW = const(8)


class ReadSize:
    """`size`: what to ask for next. It begins with `largest`, is halved with each damaged answer and grows by
    a half with each good one. `failures`: damaged answers in a row.
    """

    def __init__(self, largest: int) -> None:
        self.largest = largest
        self.size = largest
        self.failures = 0

    def good(self, count: int) -> None:
        """`count` bytes have arrived."""
        self.failures = 0
        if count >= self.size:
            self.size = min(self.largest, self.size + self.size // 2)

    def bad(self, count: int) -> None:
        """An answer with `count` bytes has not."""
        self.failures += 1
        least = _SMALLEST if self.failures > _ROW else _SMALL
        self.size = max(least, min(self.size, count) // 2)
