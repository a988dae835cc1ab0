"""A real browser for tests, driven over its own DevTools protocol: Chromium, or its headless shell.

Two pipes and JSON are all it takes, so no driver runs beside it.
"""

import asyncio
import base64
import contextlib
import json
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium-headless-shell", "chromium", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",  # as root, in containers
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--hide-scrollbars",
    "--lang=en",
    "--remote-debugging-pipe",
)
# What a key needs besides its name; all others are typed as text.
KEYS = {"Tab": 9, "Enter": 13, " ": 32, "ArrowDown": 40}


class Browser:
    """One page. `errors`: what scripts threw and the console said was wrong."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.errors: list[str] = []
        self._reader = reader
        self._writer = writer
        self._session: str | None = None
        self._waiting: dict[int, asyncio.Future[dict]] = {}
        self._task = asyncio.create_task(self._receive())

    async def _receive(self) -> None:
        while True:
            message = json.loads((await self._reader.readuntil(b"\0"))[:-1])
            if "id" in message:
                self._waiting.pop(message["id"]).set_result(message)
            elif message["method"] == "Runtime.exceptionThrown":
                details = message["params"]["exceptionDetails"]
                self.errors.append(details.get("exception", {}).get("description", details["text"]))
            elif message["method"] == "Log.entryAdded":
                entry = message["params"]["entry"]
                # A request that is refused is the page's business; what the browser refuses is a fault of it.
                if entry["level"] == "error" and entry["source"] != "network":
                    self.errors.append(json.dumps(entry))

    async def call(self, method: str, **parameters: Any) -> dict:
        number = len(self._waiting) + getattr(self, "_count", 0)
        self._count = number + 1
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._writer.write(json.dumps(message).encode() + b"\0")
        said = await asyncio.wait_for(answer, 60)
        assert "error" not in said, said
        return said["result"]

    async def begin(self) -> None:
        target = await self.call("Target.createTarget", url="about:blank")
        attached = await self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Runtime", "Log", "Page"):
            await self.call(domain + ".enable")

    async def close(self) -> None:
        self._session = None
        with contextlib.suppress(Exception):
            await self.call("Browser.close")
        self._task.cancel()

    async def go(self, url: str) -> None:
        await self.call("Page.navigate", url=url)

    async def look(self, expression: str) -> Any:
        """What JavaScript says; a promise is awaited."""
        said = await self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in said, said["exceptionDetails"]
        return said["result"].get("value")

    async def until(self, expression: str) -> Any:
        """What it says once that is true."""
        said = ""
        for _ in range(1200):
            with contextlib.suppress(AssertionError):  # a page that is just being loaded
                said = await self.look(expression)
            if said or self.errors:
                break
            await asyncio.sleep(0.05)
        if said and not self.errors:
            return said
        text = await self.look("document.body.innerText")
        pytest.fail(f"never true: {expression}; the page says:\n{text}\n{self.errors}")

    async def press(self, key: str) -> None:
        code: dict[str, Any] = {"key": key, "code": key, "windowsVirtualKeyCode": KEYS[key]}
        text = {"Enter": "\r", " ": " "}.get(key)
        await self.call("Input.dispatchKeyEvent", type="keyDown", **code, **({"text": text} if text else {}))
        await self.call("Input.dispatchKeyEvent", type="keyUp", **code)

    async def type(self, text: str) -> None:
        await self.call("Input.insertText", text=text)

    async def choose(self, field: str, file: Path) -> None:
        """A file, for the input with this id."""
        found = await self.call("Runtime.evaluate", expression=f"document.getElementById({field!r})")
        await self.call("DOM.setFileInputFiles", files=[str(file)], objectId=found["result"]["objectId"])

    async def tab_to(self, name: str) -> None:
        """With the Tab key, to the control that has this id or, being a button, says this."""
        for _ in range(60):
            await self.press("Tab")
            at = "document.activeElement.id + '|' + document.activeElement.textContent.trim()"
            if name in (await self.look(at)).split("|"):
                return
        pytest.fail(f"the Tab key never comes to {name!r}")

    async def fill(self, name: str, text: str) -> None:
        await self.tab_to(name)
        await self.type(text)

    async def enter(self, name: str) -> None:
        await self.tab_to(name)
        await self.press("Enter")

    async def device(self, width: int, height: int, dark: bool = False) -> None:
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])

    async def picture(self, file: Path) -> None:
        data = await self.call("Page.captureScreenshot", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(data["data"]))


@contextlib.asynccontextmanager
async def browser(directory: Path, *flags: str) -> AsyncIterator[Browser]:
    """Skips the test, with what is missing, where there is no browser."""
    found = [path for path in map(shutil.which, NAMES) if path]
    if not found:
        pytest.skip("no browser: apt-get install chromium-headless-shell")
    to_browser, from_browser = os.pipe(), os.pipe()

    def arrange() -> None:
        # What it reads is file 3, what it writes is file 4; by way of numbers that neither has.
        read, write = os.dup2(to_browser[0], 63), os.dup2(from_browser[1], 64)
        os.dup2(read, 3)
        os.dup2(write, 4)

    child = await asyncio.create_subprocess_exec(
        found[0],
        *FLAGS,
        *flags,
        f"--user-data-dir={directory}",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        close_fds=False,
        preexec_fn=arrange,
    )
    os.close(to_browser[0])
    os.close(from_browser[1])
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1 << 26)
    receiving, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(from_browser[0], "rb")
    )
    sending, protocol = await loop.connect_write_pipe(
        asyncio.streams.FlowControlMixin, os.fdopen(to_browser[1], "wb")
    )
    one = Browser(reader, asyncio.StreamWriter(sending, protocol, None, loop))
    try:
        await one.begin()
        yield one
    finally:
        await one.close()
        try:
            await asyncio.wait_for(child.wait(), 10)
        except TimeoutError:
            child.kill()
            await child.wait()
        receiving.close()
        sending.close()
