"""Network time (SNTP, RFC 4330) and how far the board's own clock drifts: loaded for each question only."""

import asyncio
import os
import socket

from gateway import clock
from gateway._compat import TYPE_CHECKING, const
from gateway.errors import Expired

if TYPE_CHECKING:
    from typing import Any

_PATIENCE_MS = const(5000)
_TO_1970_S = const(2208988800)
_HALF_ERA = 1 << 31
_SERVER = const(4)


class NoTime(Exception):
    """The server gave no time; says why."""


async def ask(server: str, port: int) -> int:
    """By how many ms the clock is behind (positive) or ahead. Raises NoTime."""
    try:
        address = socket.getaddrinfo(server, port)[0][-1]
        line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    except OSError as error:
        raise NoTime("%s can't be resolved (%s)" % (server, error)) from None
    try:
        line.setblocking(False)
        line.connect(address)
        stream: Any = asyncio.StreamReader(line)  # type: ignore[arg-type]
        token = os.urandom(8)
        began = clock.monotonic_ms()
        stream.write(b"\x23" + bytes(39) + token)
        await stream.drain()
        answer = await clock.wait_for_ms(stream.read(48), _PATIENCE_MS)
        took = clock.monotonic_ms() - began
        return parse(answer, token) + took // 2 - clock.utc_ms()
    except Expired:
        raise NoTime("%s does not answer; is the internet reachable?" % server) from None
    except OSError as error:
        raise NoTime("%s can't be reached (%s)" % (server, error)) from None
    finally:
        line.close()


def parse(answer: bytes, token: bytes) -> int:
    """UTC in ms of an answer to the request that carried `token`. Raises NoTime."""
    if len(answer) < 48 or answer[0] & 7 != _SERVER or answer[24:32] != token:
        raise NoTime("the answer is none to our question")
    if answer[0] >> 6 == 3 or not 0 < answer[1] < 16:
        raise NoTime("the server has no time itself")
    seconds = int.from_bytes(answer[40:44], "big")
    if seconds < _HALF_ERA:
        seconds += 1 << 32  # the count begins anew in 2036
    utc_ms: int = (seconds - _TO_1970_S) * 1000 + (int.from_bytes(answer[44:48], "big") * 1000 >> 32)
    return utc_ms
