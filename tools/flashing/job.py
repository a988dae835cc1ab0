"""One board to be flashed: all that is wrong with the input is told before the board is looked at."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path

from gateway.errors import ConfigurationError

from . import application, fetch, firmware, next_steps, plan, ports, profile, settings, work
from .backup import write_private
from .board import connect
from .monitor import listen
from .show import Show

_DRY = "This was a dry run: nothing was written"
_ROMFS = ".romfs"


class Job:
    """`config`: None for a board that is set up from a phone. `firmware_file`: None for the pinned one.
    `frozen`: that has the application in it. `build`: makes the application."""

    def __init__(
        self,
        board: str,
        config: Path | None,
        meter: str | None,
        firmware_file: Path | None,
        show: Show,
        *,
        frozen: bool = False,
        build: Callable[[], application.Application] = application.build,
    ) -> None:
        self.show = show
        self.profile = profile.load(board)
        self._config = config
        self._meter = meter
        self._firmware_file = firmware_file
        self._frozen = frozen
        self._build = build

    def write_image(self, out: Path, *, dry_run: bool = False) -> None:
        """The image of the file system, and beside it that of the ROMFS partition where there is one."""
        if out.suffix == _ROMFS:
            raise ConfigurationError(f"{out}: {_ROMFS} is for the application's image; choose another name")
        self._settings(0)  # what is wrong with them is told before anything is built or fetched
        found = firmware.read(self._firmware_file, self.profile.chip) if self._firmware_file else None
        made = self._plan(self.profile.flash_bytes, found)
        self._tell(made)
        if found is None:
            self.show.say(
                "Without --firmware, the image is for the partitions of MicroPython's own firmware."
            )
        if dry_run:
            self.show.sizes("", made.rows)
            self.show.say(_DRY)
            return
        written = []
        for region, file in ((made.file_system, out), (made.rom, out.with_suffix(_ROMFS))):
            if region is not None:
                write_private(file, region.data)
                self.show.say(f"{file}: {region.what}, to be written at 0x{region.place.offset:x}")
                written.append((region.place.offset, file))
        self.show.sizes("", made.rows)
        if found is not None and self._firmware_file is not None:
            written.append((found.offset, self._firmware_file))
        self.show.say(next_steps.for_image(made, written))

    def flash(
        self,
        port: str | None,
        baud: int,
        *,
        dry_run: bool = False,
        erase: bool = False,
        stub: bool = True,
        monitor: bool = False,
    ) -> None:
        self._settings(0)
        file = self._firmware_file or fetch.fetch(self.profile.chip, fetch.cache(), self.show)
        found = firmware.read(file, self.profile.chip)
        made = self._plan(self.profile.flash_bytes, found)
        port = ports.find(port)
        with connect(port, baud, self.show, stub) as board:
            self.show.say(f"  {board.chip} with {board.flash_bytes >> 20} MB of flash, {board.mac}")
            work.examine(board, self.profile, found)
            if board.flash_bytes != self.profile.flash_bytes:
                made = self._plan(board.flash_bytes, found)
            if not erase and work.keeps_something(board, made):
                raise ConfigurationError(
                    "this board has a file system already: settings, and readings that may not have been "
                    "sent. Nothing was written. Save it (tools/flash.py backup FILE), then flash with --erase"
                )
            self._tell(made)
            self.show.sizes("", made.rows)
            if not dry_run:
                work.write(board, made, found, erase)
        if dry_run:
            self.show.say(_DRY)
            return
        self.show.say(next_steps.text(made))
        if monitor:
            listen(port, sys.stdout)

    def _tell(self, made: plan.Plan) -> None:
        if made.warning:
            self.show.say(f"  warning: {made.warning}")
        for note in made.notes:
            self.show.say(f"  note: {note}")

    @functools.cached_property
    def _application(self) -> application.Application:
        with self.show.step("Building the application"):
            return self._build()

    def _plan(self, flash_bytes: int, found: firmware.Firmware | None) -> plan.Plan:
        table = plan.STOCK if found is None else found.table
        application = None if self._frozen else self._application
        return plan.plan(self.profile, table, flash_bytes, application, self._settings, found)

    def _settings(self, outbox_bytes: int) -> settings.Settings | None:
        if self._config is None:
            return None
        return settings.from_toml(self._config, self.profile, self._meter, outbox_bytes)
