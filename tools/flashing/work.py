"""Flashing itself: looks at the board, writes, verifies, and says what is left when that fails."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from gateway.errors import ConfigurationError

from . import image
from .board import Board
from .errors import FlashError
from .firmware import Firmware
from .partitions import BLOCK
from .plan import Plan, Region
from .profile import Profile

_STATE = (
    "The board is half written and does not run as it should. It is not lost: start the same command again, "
    "with --erase"
)


def examine(board: Board, profile: Profile, firmware: Firmware) -> None:
    """Raises ConfigurationError when this is another board than its profile and the firmware are for."""
    if board.chip != profile.chip:
        raise ConfigurationError(
            f"this board has an {board.chip}, and {profile.name} ({profile.title}) has an {profile.chip}. "
            "Nothing was written; name the right board with --board, or the right port with --port"
        )
    needed = max(profile.flash_bytes, firmware.flash_bytes)
    if board.flash_bytes < needed:
        raise ConfigurationError(
            f"this board has {board.flash_bytes >> 20} MB of flash, and {needed >> 20} MB are needed. "
            "Nothing was written; the gateway needs a module with more flash"
        )


def keeps_something(board: Board, plan: Plan) -> bool:
    """Whether a file system lies where the new one is to go."""
    start = plan.file_system.place.offset
    if board.is_blank(start, 2 * BLOCK):
        return False
    return image.is_file_system(board.read(start, 2 * BLOCK, "what is on the board"))


def write(board: Board, plan: Plan, firmware: Firmware, erase: bool) -> None:
    """Write, then have the chip read all of it back. Raises FlashError, whose message says that the board is
    half written."""
    with _half_written():
        if erase:
            board.erase()
        # The boot loader, without which nothing starts, is in what is written last.
        for region in (plan.rom, plan.file_system):
            if region is not None:
                _write(board, region, erase)
        board.write(firmware.offset, firmware.data, f"MicroPython {firmware.version}")
        board.verify(firmware.offset, firmware.data, f"MicroPython {firmware.version}")
        for region in (plan.rom, plan.file_system):
            if region is not None:
                board.verify(region.place.offset, region.data, region.what)


def _write(board: Board, region: Region, erased: bool) -> None:
    used = _blocks(region.used)
    board.write(region.place.offset, region.data[:used], region.what)
    if used < region.place.size and not erased:
        # Keys of a former owner may lie there.
        board.erase_region(region.place.offset + used, region.place.size - used, f"behind {region.what}")


def _blocks(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


@contextlib.contextmanager
def _half_written() -> Iterator[None]:
    try:
        yield
    except FlashError as error:
        raise FlashError(f"{error}.\n{_STATE}") from None
    except KeyboardInterrupt:
        raise FlashError(f"stopped by Ctrl-C.\n{_STATE}") from None
