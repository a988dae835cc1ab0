"""What runs when neither slot is whole, and when safe mode crashes, too: takes an update, and nothing else
(docs/update.md).

On a board this is /app/rescue/application.mpy, in the file system beside what it needs, which is found when
no slot has an application, and which main.py puts before one. Its page is on an access point of its own, and
in the Wi-Fi of the configuration. Only signed bundles are taken, so it asks for no password.
"""

import asyncio
import json

import crashes
import machine
import network

from gateway._compat import TYPE_CHECKING, const
from gateway.errors import UpdateError

if TYPE_CHECKING:
    from typing import Any

_CONFIGURATION = "config/board.json"
_PIECE = const(1024)
_LONGEST_LINE = const(256)
_MOST_LINES = const(64)
_PATIENCE_S = const(60)
# What was wrong may pass, such as a flash too hot to be read.
_RETRY_S = const(3600)

_PAGE = b"""<!doctype html><meta charset=utf-8><meta name=viewport content="width=device-width">
<title>osgp-gateway</title><body style="font:18px sans-serif;max-width:30em;margin:2em auto;padding:0 1em">
<h1>No version to run</h1><p>No version of the program in this board's flash is whole and runs. Choose a
signed bundle (tools/bundle.py) to put another one in. Configuration and readings are untouched.
<p><input type=file id=f aria-label="Bundle"> <button id=b>Update</button><p id=s role=status>
<script>b.onclick=async()=>{if(!f.files[0])return;s.textContent="Writing ...";try{s.textContent=await(
await fetch("/",{method:"POST",body:f.files[0]})).text()}catch(e){s.textContent="No connection: "+e}}</script>
"""


class Rescue:
    """`installed`: set when a version waits for the next start."""

    def __init__(self) -> None:
        self.installed = asyncio.Event()
        self._busy = False

    async def answer(self, reader: "Any", writer: "Any") -> None:
        """One connection, one request."""
        try:
            method, size = await asyncio.wait_for(_head(reader), _PATIENCE_S)
            kind = b"text/plain; charset=utf-8"
            if method == b"POST":
                text = (await self._take(reader, size)).encode()
            else:
                kind, text = b"text/html; charset=utf-8", _PAGE
            writer.write(
                b"HTTP/1.0 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n" % (kind, len(text))
            )
            writer.write(text)
            await writer.drain()
        except (OSError, ValueError, EOFError, asyncio.TimeoutError):
            pass  # who asked has gone, or speaks something else
        writer.close()
        await writer.wait_closed()

    async def _take(self, reader: "Any", size: int) -> str:
        from ota import Update

        if self._busy or self.installed.is_set():
            return "Another update is under way."
        self._busy = True
        try:
            update = Update()
            update.begin(size)
            while update.received < size:
                count = min(_PIECE, size - update.received)
                await update.write(await asyncio.wait_for(reader.readexactly(count), _PATIENCE_S))
            version = await update.finish()
        except UpdateError as error:
            return "Refused: %s." % error
        finally:
            self._busy = False
        self.installed.set()
        return "Version %s is in; the board starts with it." % version


async def _head(reader: "Any") -> "tuple[bytes, int]":
    """Method and length of the body. Raises ValueError."""
    words = (await _line(reader)).split()
    if len(words) != 3:
        raise ValueError
    size = 0
    for _ in range(_MOST_LINES):
        name, _, value = (await _line(reader)).partition(b":")
        if not name:
            return words[0], size
        if name.lower() == b"content-length":
            size = int(value)
    raise ValueError


async def _line(reader: "Any") -> bytes:
    """The first bytes of a line, however long it is."""
    line = b""
    while True:
        byte = await reader.readexactly(1)
        if byte == b"\n":
            return line.rstrip()
        if len(line) < _LONGEST_LINE:
            line += byte


def _join() -> None:
    """The board's own access point, and the network it knows, if it does."""
    network.hostname("osgp-gateway")
    point: Any = network.WLAN(network.AP_IF)
    point.active(True)
    point.config(ssid="osgp-gateway-%s" % bytes(machine.unique_id()[-2:]).hex(), security=0)
    try:
        with open(_CONFIGURATION) as file:
            wifi = json.load(file)["wifi"]
        password = None
        if wifi.get("password_file"):
            with open(wifi["password_file"]) as file:
                password = file.read().strip()
        station: Any = network.WLAN(network.STA_IF)
        station.active(True)
        station.connect(wifi["ssid"], password)
    except (OSError, ValueError, KeyError, TypeError):
        pass  # the access point will do


async def serve(port: int) -> None:
    """Until an update is in, or it is time to look whether the slots can be read after all."""
    rescue = Rescue()
    server: Any = await asyncio.start_server(rescue.answer, "0.0.0.0", port)  # noqa: S104
    try:
        await asyncio.wait_for(rescue.installed.wait(), _RETRY_S)
        await asyncio.sleep(2)  # the answer is on its way
    except asyncio.TimeoutError:
        pass
    server.close()


def run(crashed: int, reset: str) -> None:
    _join()
    asyncio.run(serve(80))
    crashes.restart("to try what is in the slots")
