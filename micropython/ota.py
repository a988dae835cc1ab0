"""Takes an application bundle as it streams in, and has it tried at the next start (docs/update.md).

    update = ota.Update()
    update.begin(size)            # of the whole bundle, in bytes
    await update.write(piece)     # of any length, in order
    await update.finish()         # then restart

Nothing is believed before finish: until then the slot it is written to has no record, whenever the power
goes. What runs is not touched.
"""

import asyncio
import hashlib
import sys

import bundle_head
import slots

from gateway._compat import TYPE_CHECKING
from gateway.errors import UpdateError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

# Public keys that sign bundles, put there by flashing.
KEYS = "config/update.keys"

# The version of bytecode that this interpreter runs; CPython runs none.
BYTECODE = getattr(sys.implementation, "_mpy", 0) & 0xFF

_NO_SPACE = 28
# Bytes given to the flash at a time: what it erases at once, so that other tasks wait for no more.
_PIECE = 4096


def read_keys(path: str = KEYS) -> "list[bytes]":
    """Empty where there is no such file. Raises UpdateError."""
    try:
        with open(path) as file:
            return bundle_head.parse_keys(file.read())
    except (OSError, UnicodeError):
        return []


class Update:
    """One bundle on its way in; thrown away after an UpdateError, which says in words what is wrong.

    `received`: bytes that were taken so far. `bundle`: its head, once it is known to be authentic and to fit
    this board, else None. `unneeded`: that very bundle is what runs; the rest need not come.
    """

    def __init__(
        self,
        places: "slots.Slots | None" = None,
        keys: "Sequence[bytes] | None" = None,
        family: str = bundle_head.FAMILY,
    ) -> None:
        self.received = 0
        self.bundle: bundle_head.Bundle | None = None
        self.unneeded = False
        self._slots = slots.opened() if places is None else places
        self._keys = read_keys() if keys is None else keys
        self._family = family
        self._size = 0
        self._lower = False
        self._head = b""
        self._slot = ""
        self._digest: Any = None

    def begin(self, size: int, lower: bool = False) -> None:
        """`lower`: the version may be lower than what runs. Raises UpdateError."""
        if size <= bundle_head.HEAD:
            raise UpdateError("%d bytes are no application bundle" % size)
        if not self._slots.spare():
            raise UpdateError(
                "version %s is itself on trial and has not reached the broker yet: try again later"
                % self._slots.version(self._slots.running())
            )
        self._size = size
        self._lower = lower

    async def write(self, data: "Any") -> None:
        """The bundle's next bytes. Raises UpdateError."""
        if self.received + len(data) > self._size:
            raise UpdateError("the bundle goes on after the %d bytes it was to have" % self._size)
        at = min(bundle_head.HEAD - len(self._head), len(data))
        if at:
            self._head += bytes(data[:at])
            if len(self._head) == bundle_head.HEAD:
                await self._check_head()
        self.received += len(data)
        while at < len(data) and not self.unneeded:
            piece = data[at : at + _PIECE]
            at += len(piece)
            self._digest.update(piece)
            try:
                self._slots.medium.write(piece)
            except (OSError, UpdateError) as error:
                raise self._failed(error) from None
            await asyncio.sleep(0)

    async def finish(self, note: str = "") -> str:
        """The version, which the next start tries; `note` is told by slots.report when that has ended. Raises
        UpdateError."""
        head = self.bundle
        if self.received != self._size or head is None:
            raise UpdateError("the bundle is incomplete: %d of %d bytes came" % (self.received, self._size))
        if self.unneeded:
            return head.version
        record = {"version": head.version, "size": head.size, "image": head.digest}
        try:
            if self._digest.digest().hex() != head.digest:
                raise UpdateError("the bundle was damaged on its way: its image has another hash")
            record["digest"] = self._slots.medium.end(self._slot, record)
            if self._slots.medium.whole and record["digest"] != head.digest:
                raise UpdateError("the image is not in flash as it was written: the flash is worn out")
            self._slots.begin_trial(self._slot, record, note)
        except (OSError, UpdateError) as error:
            raise self._failed(error) from None
        return head.version

    async def _check_head(self) -> None:
        head = bundle_head.Bundle(self._head)
        if head.family != self._family:
            raise UpdateError("the bundle is for %s, this board is %s" % (head.family, self._family))
        if head.bytecode != BYTECODE:
            raise UpdateError(
                "the bundle's bytecode has version %d, this firmware's MicroPython runs %d: build it with an "
                "mpy-cross that fits, or flash another firmware" % (head.bytecode, BYTECODE)
            )
        await head.verify(self._keys)
        if head.size + bundle_head.HEAD != self._size:
            raise UpdateError(
                "the bundle has to have %d bytes and has %d" % (head.size + bundle_head.HEAD, self._size)
            )
        places = self._slots
        runs = places.record(places.running())
        if runs is not None:
            self.unneeded = (runs["version"], runs["image"]) == (head.version, head.digest)
        floor = places.state["version"]
        if floor and slots.number(head.version) < slots.number(floor) and not self._lower:
            raise UpdateError(
                "the bundle has version %s, lower than %s, which runs; say so if you want that"
                % (head.version, floor)
            )
        if not self.unneeded:
            self._prepare(head)
        self.bundle = head

    def _prepare(self, head: bundle_head.Bundle) -> None:
        places = self._slots
        room = places.medium.room()
        if head.size > room:
            raise UpdateError("the image has %d bytes, there is room for %d" % (head.size, room))
        self._slot = places.spare()
        self._digest = hashlib.sha256()
        try:
            places.clear(self._slot)
            places.medium.begin(self._slot, head.size)
        except OSError as error:
            raise self._failed(error) from None

    def _failed(self, error: Exception) -> UpdateError:
        try:
            self._slots.medium.abandon()
        except OSError:
            pass  # it is told already what failed
        if isinstance(error, UpdateError):
            return error
        if isinstance(error, OSError) and error.errno == _NO_SPACE:
            return UpdateError("there is not enough space in flash for another version")
        return UpdateError("the flash can't be written: %s" % error)
