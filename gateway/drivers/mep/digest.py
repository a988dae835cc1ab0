"""The 8-byte digest that authenticates requests and responses (MEP guide, appendix A).

It proves the key and catches line noise, and is weak by today's measure: 64 bits of a home-made function.
"""

from ..._compat import const

DIGEST_BYTES = 8

# The key is walked over one and a half times, one message byte for each of its bits.
_ROUND = const(192)


def key_bits(key: bytes) -> bytes:
    """The bits of a 16-byte key in the order the digest uses them, one 0 or 1 per byte: 192."""
    return bytes([(key[place // 8 % len(key)] >> place % 8) & 1 for place in range(_ROUND)])


class Digest:
    """The digest of bytes that come in parts: first the request, then the response."""

    def __init__(self, bits: bytes) -> None:
        """`bits`: what key_bits gives."""
        self._bits = bits
        self._cells = bytearray(DIGEST_BYTES)
        self._last = 0  # the cell that changed last
        self._place = 0  # in the round

    def copy(self) -> "Digest":
        """Another digest that goes on from here on its own."""
        other = Digest(self._bits)
        other._cells[:] = self._cells
        other._last = self._last
        other._place = self._place
        return other

    def update(self, data: "bytes | bytearray | memoryview") -> None:
        bits = self._bits
        cells = self._cells
        last = self._last
        place = self._place
        for byte in data:
            cell = 7 - (place & 7)
            x = cells[cell] + cell & 0xFF
            last += byte
            # Appendix A turns the complement of x by one bit, to the left to add it or to the right to take
            # it away; modulo 256 that is this.
            last = (last - 1 - (x << 1) - (x >> 7) if bits[place] else last + 1 + (x >> 1) + (x << 7)) & 0xFF
            cells[cell] = last
            place += 1
            if place == _ROUND:
                place = 0
        self._last = last
        self._place = place

    def final(self) -> bytes:
        """The digest of all that came: zeros fill up the round that was begun. Ends this object."""
        if self._place:
            # As `update` does it: nearly all that is hashed are these zeros, and a board feels it.
            bits = self._bits
            cells = self._cells
            last = self._last
            for place in range(self._place, _ROUND):
                cell = ~place & 7
                x = cells[cell] + cell & 0xFF
                cells[cell] = last = (
                    last - 1 - (x << 1) - (x >> 7) if bits[place] else last + 1 + (x >> 1) + (x << 7)
                ) & 0xFF
            self._last = last
            self._place = 0
        return bytes(self._cells)

    def proves(self, received: bytes) -> bool:
        """Whether `received` is the digest of all that came. Ends this object."""
        full_rounds = not self._place
        if self.final() == received:
            return True
        if not full_rounds:
            return False
        # When bytes end with a round, appendix A's function adds another round of zeros or none,
        # depending on whether the meter calls it once more to finish.
        self.update(bytes(_ROUND))
        return self.final() == received
