"""What goes where in a board's flash: MicroPython, the application, configuration and room for the outbox."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import build_page

from gateway.errors import ConfigurationError

from . import image, partitions
from .application import Application
from .firmware import Firmware
from .partitions import BLOCK, Partition
from .profile import Profile
from .settings import MOST_OUTBOX, Settings

# As MicroPython's firmware for these boards is partitioned (ports/esp32/partitions-4MiBplus.csv of 1.29): its
# file system is what lies behind 2 MB.
STOCK = (
    Partition("nvs", partitions.DATA, 2, 0x9000, 0x6000),
    Partition("phy_init", partitions.DATA, 1, 0xF000, 0x1000),
    Partition("factory", partitions.APP, 0, 0x10000, 0x1F0000),
)
# For configuration, log, and what LittleFS needs to rewrite directories.
_RESERVE = 20 * BLOCK
_LEAST_OUTBOX = 128 * 1024
_DIRECTORIES = ("/config", "/outbox", "/log", "/app")


@dataclass(frozen=True)
class Region:
    """`data` for the partition `place`; behind `used` bytes it is only 0xFF."""

    what: str
    place: Partition
    data: bytes
    used: int


@dataclass(frozen=True)
class Plan:
    """`rows`: what, bytes, and how many it may have (0: any). `notes`: what a person should know;
    `warning`: what may keep the gateway from working on this board."""

    profile: Profile
    settings: Settings | None
    file_system: Region
    rom: Region | None
    rows: Sequence[tuple[str, int, int]]
    notes: Sequence[str]
    warning: str | None = None


MakeSettings = Callable[[int], Settings | None]


def plan(
    profile: Profile,
    table: Sequence[Partition],
    flash_bytes: int,
    application: Application | None,
    make_settings: MakeSettings,
    firmware: Firmware | None = None,
) -> Plan:
    """`application`: None for a firmware that has it frozen in. `make_settings(outbox bytes)`: the board's
    settings, None for a board that is set up from a phone.

    Raises ConfigurationError when something does not fit into this flash.
    """
    place = partitions.file_system(table, flash_bytes)
    rom = None if application is None else _rom(table, application)
    files = _page() if application is None else application.files(rom is not None)
    slot, room = _rooms(place, files)
    notes = []
    if room < _LEAST_OUTBOX:
        room += slot
        notes.append("This firmware leaves no room for a second version: the board is updated by flashing")
    if room < _LEAST_OUTBOX:
        raise ConfigurationError(
            f"a flash of {flash_bytes >> 20} MB is too small with this firmware: of its file system of "
            f"{place.size:,} bytes the application takes {slot:,}, and the outbox needs {_LEAST_OUTBOX:,}"
        )
    settings = make_settings(room)
    configuration = {"/config/profile.json": profile.as_json()} if settings is None else settings.files()
    built = image.build(place.size, {**files, **configuration}, _DIRECTORIES)
    used = image.used_bytes(built.data)
    rows = []
    if firmware is not None:
        program = partitions.application(firmware.table)
        rows.append((f"MicroPython {firmware.version}", firmware.program_bytes, program.size))
    if application is not None:
        rows.append(("application: bytecode", sum(application.sizes.values()), 0))
    if application is not None and rom is not None:
        rows.append(("application: image, executed in place", len(application.image), rom.place.size // 2))
    elif application is not None:
        rows.append(("application: a slot of the file system", slot, 0))
    rows.append(("configuration and secrets", sum(map(len, configuration.values())), 0))
    rows.append(("file system as flashed", built.used_blocks * BLOCK, place.size))
    outbox = min(room, MOST_OUTBOX) if settings is None else settings.values["outbox_bytes"]
    rows.append(("file system with a second slot and a full outbox", place.size - room + outbox, place.size))
    return Plan(
        settings.profile if settings else profile,
        settings,
        Region("the file system", place, built.data, used),
        rom,
        rows,
        [*notes, *settings.told] if settings else notes,
        None if application is None or rom is not None else _in_memory(application),
    )


def _in_memory(application: Application) -> str:
    size = sum(application.sizes.values())
    return (
        f"this firmware has no ROMFS partition, so the application's bytecode ({size:,} bytes) is loaded "
        'into memory, of which an ESP32 without PSRAM has too little: docs/board.md, "Firmware that runs '
        'the application in place", says how to build one that needs none for it'
    )


def _page() -> dict[str, bytes]:
    """The page's files, which can't be frozen into a firmware: micropython/page.py looks for them here."""
    return {f"/web/{name}": content for name, content in build_page.compressed().items()}


def _rooms(place: Partition, files: Mapping[str, bytes]) -> tuple[int, int]:
    """What the files of a slot take, and what is left for the outbox beside two of them."""
    bare = {name: data for name, data in files.items() if not name.startswith("/app/a/")}
    used = image.build(place.size, files, _DIRECTORIES).used_blocks * BLOCK
    slot = used - image.build(place.size, bare, _DIRECTORIES).used_blocks * BLOCK
    return slot, place.size // BLOCK * BLOCK - used - slot - _RESERVE


def _rom(table: Sequence[Partition], application: Application) -> Region | None:
    place = partitions.romfs(table)
    if place is None:
        return None
    if 2 * len(application.image) > place.size:
        raise ConfigurationError(
            f"the firmware's ROMFS partition has {place.size:,} bytes, and two versions of the application "
            f"need {2 * len(application.image):,}: make it larger, or take a firmware without one"
        )
    data = application.image.ljust(place.size, b"\xff")
    return Region("the application", place, data, len(application.image))
