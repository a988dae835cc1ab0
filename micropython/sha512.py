"""SHA-512 (FIPS 180-4), which MicroPython's hashlib lacks: for the few bytes that a signature needs."""

from binascii import a2b_base64

_MASK = (1 << 64) - 1

# The first 64 bits of the fractional parts of the square roots of the first 8 primes (5.3.5), and of the cube
# roots of the first 80 (4.2.3).
_CONSTANTS = (
    "agnmZ/O8yQi7Z66FhMqnOzxu83L+lPgrpU/1Ol8dNvFRDlJ/reaC0ZsFaIwrPmwfH4PZq/tBvWtb4M0ZE34heUKKL5jXKK4i"
    "cTdEkSPvZc21wPvP7E07L+m126WBidu8OVbCW/NItThZ8RHxtgXQGZI/gqSvGU+bqxxe1dptgRjYB6qYowMCQhKDWwFFcG++"
    "JDGFvk7ksoxVDH3D1f+04nK+XXTye4lvgN6x/jsWlrGb3AanJccSNcGb8XTPaSaU5JtpwZ7xStLvvkeGOE8l4w/BncaLjNW1"
    "JAyhzHesnGUt6SxvWSsCdUp0hKpupuSDXLCp3L1B+9R2+YjagxFTtZg+UVLuZt+rqDHGbS20MhCwAyfImPshP79Zf8e+7w7k"
    "xuAL8z2oj8LVp5FHkwqnJQbKY1HgA4JvFCkpZwoObnAntwqFRtIv/C4bIThcJskmTSxt/FrEKu1TOA0TnZWz32UKc1SLr2Pe"
    "dmoKuzx3sqiBwskuR+2u5pJyLIUUgjU7or/ooUzxA2SoGmZLvEIwAcJLi3DQ+JeRx2xRowZUvjDRkugZ1u9SGNaZBiRVZakQ"
    "9A41hVdxICoQaqBwMrvRuBmkwRa40tDIHjdsCFFBq1MnSHdM347rmTSwvLXhm0ioORwMs8XJWmNO2KpK40GKy1ucyk93Y+Nz"
    "aC5v89ayuKN0j4LuXe+y/HilY29DFy9ghMh4FKHwq3KMxwIIGmQ57JC+//ojYx4opFBs696Cvem++aP3ssZ5FcZxePLjclMr"
    "yic+zuomYZzRhrjHIcDCB+rafdbN4Ose9X1Pf+5u0XgG8GeqchdvugpjfcWiyJimET+YBL75Da4bcQs1ExxHGyjbd/UjBH2E"
    "Msqre0DHJJM8nr4KFcm+vEMdZ8ScEA1MTMXUvss+QrZZfymc/GV+Kl/Lb6s61vrsbEQZjEpHWBc="
)


def _words(data: bytes) -> "list[int]":
    return [int.from_bytes(data[at : at + 8], "big") for at in range(0, len(data), 8)]


def sha512(message: bytes) -> bytes:
    constants = _words(a2b_base64(_CONSTANTS))
    state = constants[:8]
    length = len(message)
    message += b"\x80" + bytes(-(length + 17) % 128) + (8 * length).to_bytes(16, "big")
    for at in range(0, len(message), 128):
        state = _compressed(state, _words(message[at : at + 128]), constants)
    return b"".join([word.to_bytes(8, "big") for word in state])


def _compressed(state: "list[int]", words: "list[int]", constants: "list[int]") -> "list[int]":
    """The state after a block (6.4.2). A word beside itself makes rotations shifts."""
    a, b, c, d, e, f, g, h = state
    for i in range(80):
        word = words[i % 16]
        twice = e | e << 64
        first = (
            h
            + ((twice >> 14 ^ twice >> 18 ^ twice >> 41) & _MASK)
            + (e & f ^ ~e & g)
            + constants[8 + i]
            + word
        )
        twice = a | a << 64
        second = ((twice >> 28 ^ twice >> 34 ^ twice >> 39) & _MASK) + (a & b ^ a & c ^ b & c)
        h, g, f, e, d, c, b, a = g, f, e, d + first & _MASK, c, b, a, first + second & _MASK
        # The word that takes this one's place 16 rounds on.
        near, far = words[(i + 1) % 16], words[(i + 14) % 16]
        twice = near | near << 64
        word += words[(i + 9) % 16] + ((twice >> 1 ^ twice >> 8 ^ near >> 7) & _MASK)
        twice = far | far << 64
        words[i % 16] = word + ((twice >> 19 ^ twice >> 61 ^ far >> 6) & _MASK) & _MASK
    return [x + y & _MASK for x, y in zip(state, (a, b, c, d, e, f, g, h))]  # noqa: B905 - MicroPython
