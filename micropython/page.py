"""Serves the page (docs/page.md). What that takes is loaded when somebody asks, and forgotten afterwards."""

import asyncio
import sys

from gateway._compat import TYPE_CHECKING, const, forget, trace
from gateway.clock import monotonic_ms, sleep_ms
from gateway.errors import GatewayError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from application import Application

    from gateway.core.supervisor import Log
    from gateway.web.api import Api

_CONNECTIONS = const(4)
# Sessions, and how often the password was wrong, end with what was loaded for them.
_KEEP_MS = const(600000)
_LOOK_MS = const(10000)
_TRY_AGAIN_MS = const(30000)
_PLACE = __file__.rfind("/")
# Where the page's files are: beside this module as in the source. A frozen module lies nowhere; then
# they are in the file system (tools/flashing/plan.py).
FILES = "/web" if _PLACE < 0 else __file__[:_PLACE] + "/gateway/web/page"
_MODULES = ("gateway.web", "board_page", "board_config", "config_writer", "secret_file", "ota", "bundle_head")


class Page:
    """`load`: gives the Api, for as long as anybody asks. `used_ms`: when somebody asked last."""

    def __init__(self, load: "Callable[[], Api]", port: int, log: "Log") -> None:
        self.used_ms = monotonic_ms()
        self._load = load
        self._port = port
        self._log = log
        self._api: Api | None = None
        self._open = 0

    async def run(self) -> None:
        """Until cancelled. Raises OSError where the port is taken."""
        server: Any = await asyncio.start_server(self._connected, "0.0.0.0", self._port)  # noqa: S104
        try:
            while True:
                await sleep_ms(_LOOK_MS)
                if self._api is not None and not self._open and monotonic_ms() - self.used_ms > _KEEP_MS:
                    self._api = None
                    forget_page()
        finally:
            server.close()
            await server.wait_closed()
            while self._open:  # an answer that is under way ends by itself, in bounded time
                await sleep_ms(10)

    async def _connected(self, reader: "Any", writer: "Any") -> None:
        try:
            if self._open < _CONNECTIONS:
                self._open += 1
                try:
                    await self._serve(reader, writer)
                finally:
                    self._open -= 1
                    self.used_ms = monotonic_ms()
        except GatewayError as error:
            self._log("error", "page: %s" % error)
        except Exception as error:  # nothing that a stranger sends ends the gateway
            self._log("error", "page: %s" % trace(error))
        finally:
            writer.close()
            try:
                await writer.wait_closed()
            except OSError:
                pass

    async def _serve(self, reader: "Any", writer: "Any") -> None:
        from gateway.web.server import serve

        if self._api is None:
            self._api = self._load()
        await serve(reader, writer, self._api, FILES, self._log)


def forget_page() -> None:
    forget("gateway.web")
    for name in _MODULES:
        sys.modules.pop(name, None)


async def serve(application: "Application", settings: "dict[str, Any] | None") -> None:
    """Until cancelled. `settings`: the configuration's "page"; None in set-up, where it is offered on an
    access point of the board's own."""
    if settings is None:
        from setup_page import set_up

        await set_up(application)
        return
    from gateway.web.live import Live

    live = Live()
    if application.gateway is not None:
        for meter in application.gateway.meters:
            meter.onlookers.append(live.take)

    def load() -> "Api":
        from board_page import load

        return load(application, live, settings["password_file"])

    while True:
        try:
            await Page(load, settings["port"], application.log).run()
        except OSError as error:
            application.log("error", "page: port %d can't be served: %s" % (settings["port"], error))
        await sleep_ms(_TRY_AGAIN_MS)
