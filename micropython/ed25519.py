"""Verifies Ed25519 signatures (RFC 8032): no secret is needed for it, so none has to be on a board.

Not in constant time, and need not be: everything here is public. Points are (X, Y, Z, T) with x = X/Z,
y = Y/Z, xy = T/Z (5.1.4).
"""

import asyncio

from sha512 import sha512

TYPE_CHECKING = False
if TYPE_CHECKING:
    Point = tuple[int, int, int, int]

_P = 2**255 - 19
_ORDER = 2**252 + 27742317777372353535851937790883648493
_D = 37095705934669439343138083508754565189542113879843219016388785533085940283555
_BASE = (
    15112221349535400772501151409588531511454012693041857206046113283949847762202,
    46316835694926478169428394003475163141307993866256225615783033603165251855960,
)
# Bits after which other tasks have their turn.
_TURN = 8


def _add(p: "Point", q: "Point") -> "Point":
    a = (p[1] - p[0]) * (q[1] - q[0]) % _P
    b = (p[1] + p[0]) * (q[1] + q[0]) % _P
    c = 2 * _D * p[3] * q[3] % _P
    d = 2 * p[2] * q[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _doubled(p: "Point") -> "Point":
    a = p[0] * p[0] % _P
    b = p[1] * p[1] % _P
    h = a + b
    e = h - (p[0] + p[1]) ** 2 % _P
    g = a - b
    f = 2 * p[2] * p[2] % _P + g
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _point(data: bytes) -> "tuple[int, int] | None":
    """x and y of an encoded point (5.1.3); None for what encodes none."""
    y = int.from_bytes(data, "little")
    sign = y >> 255
    y &= (1 << 255) - 1
    if y >= _P:
        return None
    u = (y * y - 1) % _P
    v = (_D * y * y + 1) % _P
    x = u * v**3 % _P * pow(u * v**7 % _P, (_P - 5) // 8, _P) % _P
    if (v * x * x - u) % _P:
        x = x * pow(2, (_P - 1) // 4, _P) % _P
        if (v * x * x - u) % _P:
            return None
    if not x and sign:
        return None
    return (x if x & 1 == sign else _P - x), y


async def verify(key: bytes, message: bytes, signature: bytes) -> bool:
    """`key`: 32 bytes, the public one."""
    public = _point(key) if len(key) == 32 else None
    scalar = int.from_bytes(signature[32:], "little")
    if public is None or len(signature) != 64 or scalar >= _ORDER:
        return False
    digest = int.from_bytes(sha512(signature[:32] + key + message), "little") % _ORDER
    # [S]B - [k]A, bit by bit for both at once.
    x, y = _P - public[0], public[1]
    minus = (x, y, 1, x * y % _P)
    base = (_BASE[0], _BASE[1], 1, _BASE[0] * _BASE[1] % _P)
    both = _add(base, minus)
    point = (0, 1, 1, 0)
    for bit in range(252, -1, -1):
        point = _doubled(point)
        ours, theirs = scalar >> bit & 1, digest >> bit & 1
        if ours or theirs:
            point = _add(point, both if ours and theirs else base if ours else minus)
        if bit % _TURN == 0:
            await asyncio.sleep(0)
    inverse = pow(point[2], _P - 2, _P)
    encoded = point[1] * inverse % _P | (point[0] * inverse % _P & 1) << 255
    return encoded.to_bytes(32, "little") == signature[:32]
