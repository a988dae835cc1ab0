"""Serves the page to one connection: bytes between a stream and the machines of this room."""

import os

from .. import clock
from .._compat import TYPE_CHECKING, const, trace
from ..errors import Expired, GatewayError
from .api import failure
from .http import HttpError, HttpMachine

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .api import Api, Response
    from .http import Request

_PIECE = const(512)
# A request has to be whole, and each piece of an answer taken, within this time.
_SLOW_MS = const(10000)


async def _request(reader: "Any") -> "Request | None":
    machine = HttpMachine()
    while True:
        data = await reader.read(_PIECE)
        if not data:
            return None
        request = machine.feed(data)
        if request is not None:
            return request


async def _send(writer: "Any", data: bytes) -> None:
    writer.write(data)
    await clock.wait_for_ms(writer.drain(), _SLOW_MS)


async def _answer(writer: "Any", response: "Response", directory: str, bare: bool) -> None:
    if response.file:
        path = "%s/%s.gz" % (directory, response.file)
        with open(path, "rb") as file:  # noqa: ASYNC230 - from flash, where nothing waits
            await _send(writer, response.head(os.stat(path)[6]))
            while not bare:
                piece = file.read(_PIECE)
                if not piece:
                    return
                await _send(writer, piece)
    else:
        await _send(writer, response.head(None))
        for piece in response.parts:
            if not bare:
                await _send(writer, piece)


async def serve(
    reader: "Any", writer: "Any", api: "Api", directory: str, log: "Callable[[str, str], None]"
) -> None:
    """One request and its answer. `directory`: where the page's files lie (tools/build_page.py)."""
    request = None
    try:
        try:
            request = await clock.wait_for_ms(_request(reader), _SLOW_MS)
            if request is None:
                return
            response = await api.respond(request, clock.monotonic_ms())
        except Expired:
            return  # a slow client, or one that only looked whether there is anybody
        except GatewayError as error:
            response = failure(error)
        except Exception as error:
            log("error", "page: %s" % trace(error))
            response = failure(HttpError(500, "this failed; the log says how"))
        await _answer(writer, response, directory, request is not None and request.method == "HEAD")
    except (OSError, Expired):
        pass  # it went away
