"""RC4 (MEP guide, appendix B). Weak by today's measure; neither interpreter brings it along."""


class Rc4:
    """One key stream; `crypt` encrypts and decrypts with its next bytes."""

    def __init__(self, key: "bytes | bytearray") -> None:
        box = bytearray(range(256))
        length = len(key)
        j = 0
        for i in range(256):
            swapped = box[i]
            j = (j + swapped + key[i % length]) & 0xFF
            box[i] = box[j]
            box[j] = swapped
        self._box = box
        self._i = 0
        self._j = 0

    def crypt(self, data: "bytes | bytearray", advance: bool = True) -> bytearray:
        """`data` under the next bytes of the stream, which stays where it is without `advance`."""
        box = self._box if advance else bytearray(self._box)
        i = self._i
        j = self._j
        out = bytearray(data)
        for at in range(len(out)):
            i = (i + 1) & 0xFF
            swapped = box[i]
            j = (j + swapped) & 0xFF
            box[i] = other = box[j]
            box[j] = swapped
            out[at] ^= box[(swapped + other) & 0xFF]
        if advance:
            self._i = i
            self._j = j
        return out
