"""The board's file system as one image: LittleFS as MicroPython makes and mounts it."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

from littlefs import LittleFS, LittleFSError
from littlefs.context import UserContext

from gateway.errors import ConfigurationError

from .errors import FlashError
from .partitions import BLOCK

# As VfsLfs2 uses it on a board (docs of MicroPython's vfs module; extmod/vfs_lfs.c): with a larger cache,
# files would be stored inside of directories, which MicroPython then can't read.
_READ = _PROG = _LOOKAHEAD = 32
_CACHE = 4 * _PROG
_NAME_BYTES = 255
# Both copies of the first block name the file system, at this place.
_NAME, _NAME_AT = b"littlefs", 8


def _open(context: UserContext, blocks: int, mount: bool) -> LittleFS:
    return LittleFS(
        context=context,
        mount=mount,
        block_size=BLOCK,
        block_count=blocks,
        read_size=_READ,
        prog_size=_PROG,
        cache_size=_CACHE,
        lookahead_size=_LOOKAHEAD,
        name_max=_NAME_BYTES,
    )


class Image:
    """The bytes of the partition, and how many of its blocks of 4 KB the files take."""

    def __init__(self, data: bytes, used_blocks: int) -> None:
        self.data = data
        self.used_blocks = used_blocks


def build(size: int, files: Mapping[str, bytes], directories: tuple[str, ...] = ()) -> Image:
    """An image of `size` bytes with `files` by absolute path. Raises ConfigurationError where they do not
    fit."""
    blocks = size // BLOCK
    context = UserContext(blocks * BLOCK)
    context.buffer[:] = b"\xff" * (blocks * BLOCK)
    try:
        disk = _open(context, blocks, mount=False)
        disk.format()
        disk.mount()
        for name in directories:
            disk.makedirs(name, exist_ok=True)
        for name in sorted(files):
            parent = posixpath.dirname(name)
            if parent != "/":
                disk.makedirs(parent, exist_ok=True)
            with disk.open(name, "wb") as file:
                file.write(files[name])
        used = disk.used_block_count
        disk.unmount()
    except LittleFSError as error:
        raise ConfigurationError(
            f"{sum(map(len, files.values())):,} bytes in {len(files)} files do not fit into a file system of "
            f"{size:,} bytes ({error})"
        ) from None
    return Image(bytes(context.buffer) + b"\xff" * (size - blocks * BLOCK), used)


def used_bytes(data: bytes) -> int:
    """Up to which whole block there is anything but erased flash."""
    return -(-len(data.rstrip(b"\xff")) // BLOCK) * BLOCK


def is_file_system(first_blocks: bytes) -> bool:
    """Whether a file system begins here; two blocks are enough to tell."""
    return any(
        first_blocks[start + _NAME_AT :].startswith(_NAME) for start in range(0, len(first_blocks), BLOCK)
    )


def read(data: bytes) -> dict[str, bytes]:
    """All files of an image by absolute path; raises FlashError when it can't be mounted."""
    context = UserContext(len(data))
    context.buffer[:] = data
    try:
        disk = _open(context, len(data) // BLOCK, mount=False)
        disk.mount()
        found = {}
        for where, _, names in disk.walk("/"):
            for name in names:
                path = posixpath.join(where, name)
                with disk.open(path, "rb") as file:
                    found[path] = file.read()
    except LittleFSError as error:
        raise FlashError(f"this is no file system that can be read: {error}") from None
    return found
