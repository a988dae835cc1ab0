"""`osgp-gateway run`: the gateway from its start to SIGINT or SIGTERM, under a service manager or by hand.

It is ready as soon as its tasks run: a meter or broker that is away keeps nobody from starting. Under a
service manager SIGHUP loads the configuration anew, which takes as long as a restart; a wrong one is told,
and the old one goes on. By hand SIGHUP is a closed terminal, and ends it.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path

from ..errors import ConfigurationError
from . import config
from .control import Control, own_path
from .links import parse_port
from .logs import log
from .notify import Notifier
from .service import assemble
from .signals import ending, reloading
from .status import WholeStatus
from .threads import Threads
from .watchdog import Watchdog


async def run(path: Path, recordings: Path | None = None) -> None:
    """Raises ConfigurationError for what is wrong at the start; what fails later is logged and tried again.

    `recordings`: a directory; each meter's link traffic is recorded there, in a new file for each start.
    """
    asyncio.get_running_loop().set_default_executor(Threads())
    notifier = Notifier()
    settings: config.Configuration | None = config.load(path)
    old: config.Configuration | None = None
    with ending() as ended, reloading(notifier.present) as reload:
        while settings is not None:
            try:
                changed = await _Run(path, settings, recordings, notifier).run(ended, reload)
            except ConfigurationError as error:
                if old is None:
                    raise
                log(
                    "error",
                    f"the gateway goes on with the old configuration, the new one can't be used: {error}",
                )
                settings, old = old, None
            else:
                settings, old = changed, settings
    notifier.close()


class _Run:
    """The gateway with one configuration."""

    def __init__(
        self, path: Path, settings: config.Configuration, recordings: Path | None, notifier: Notifier
    ) -> None:
        self._path = path
        self._settings = settings
        self._recordings = recordings
        self._notifier = notifier

    async def run(self, ended: asyncio.Event, reload: asyncio.Event) -> config.Configuration | None:
        """The configuration to go on with; None when it has ended."""
        settings = self._settings
        async with AsyncExitStack() as stack:
            gateway = assemble(settings, self._recordings, stack)
            ports = {meter.name: str(parse_port(meter.port)) for meter in settings.meter}
            socket = own_path(settings.gateway.id, settings.gateway.state_dir)
            status = WholeStatus(gateway)
            await stack.enter_async_context(Control(socket, status, gateway.meters, ports))
            if settings.metrics is not None:
                from .metrics_server import MetricsServer

                server = MetricsServer(*settings.metrics.address, status)
                await stack.enter_async_context(server)
                log("info", f"metrics and health on {server.url}")
            running = asyncio.create_task(gateway.run())
            watching = asyncio.create_task(Watchdog(self._notifier, status, settings.outbox.sync).run())
            looking = asyncio.create_task(status.run())
            await asyncio.sleep(0)  # they have begun
            self._notifier.ready()
            try:
                return await self._until(running, watching, ended, reload)
            finally:
                for task in (looking, watching, running):
                    task.cancel()
                await asyncio.wait((looking, watching, running))
                if not running.cancelled():
                    running.result()

    async def _until(
        self,
        running: asyncio.Task[None],
        watching: asyncio.Task[None],
        ended: asyncio.Event,
        reload: asyncio.Event,
    ) -> config.Configuration | None:
        while True:
            waiting = [asyncio.create_task(event.wait()) for event in (ended, reload)]
            await asyncio.wait((running, watching, *waiting), return_when=asyncio.FIRST_COMPLETED)
            for task in waiting:
                task.cancel()
            if watching.done():
                watching.result()
            if running.done() or ended.is_set():
                log("info", "ending")
                self._notifier.stopping()
                self._notifier.status("ending: sessions, and what is left to send")
                return None
            reload.clear()
            changed = self._loaded()
            if changed is not None:
                return changed

    def _loaded(self) -> config.Configuration | None:
        """The configuration as it is now, where it can be used."""
        self._notifier.reloading(time.monotonic_ns() // 1000)
        try:
            changed = config.load(self._path)
        except ConfigurationError as error:
            log(
                "error",
                f"the configuration was not loaded anew, the gateway goes on with the old one:\n{error}\n"
                "Keys that systemd hands out come with a restart only: systemctl restart osgp-gateway",
            )
            self._notifier.ready()
            return None
        log("info", "the configuration is loaded anew: the gateway begins again with it")
        return changed
