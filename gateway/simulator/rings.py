"""Circular lists with a header, the form of all of the meter's logs (MEP guide, chapter 4: BT26, BT74, ET45,
ET74, ET79, ET81)."""

_OVERFLOW = 2
_CIRCULAR = 4

# Bytes of the header's fields: valid entries, last element, last sequence number, unread entries.
SHORT = (1, 1, 2, 1)
LONG = (2, 2, 2, 2)
HISTORY = (2, 2, 4, 2)


class Ring:
    """A list of `capacity` entries of `entry_bytes` each; the newest overwrite the oldest. `thing` is what an
    entry was made of, for who wants to know whether it is still there."""

    def __init__(
        self, capacity: int, entry_bytes: int, widths: tuple[int, int, int, int] = SHORT, sequence: int = 0
    ) -> None:
        self.capacity = capacity
        self.entry_bytes = entry_bytes
        self.sequence = sequence
        self.unread = 0
        self.overflow = False
        self._widths = widths
        self._entries: list[bytes] = []
        self._things: list[object] = []
        self._last = 0

    def append(self, entry: bytes, thing: object, sequence: int | None = None) -> None:
        """Add an entry under the next sequence number, or the one given."""
        self.sequence = self.sequence + 1 if sequence is None else sequence
        if not self.capacity:
            return
        entry = entry[: self.entry_bytes].ljust(self.entry_bytes, b"\0")
        if len(self._entries) < self.capacity:
            self._last = len(self._entries)
            self._entries.append(entry)
            self._things.append(thing)
        else:
            self._last = (self._last + 1) % self.capacity
            self._entries[self._last] = entry
            self._things[self._last] = thing
        self.overflow |= self.unread == self.capacity
        self.unread = min(self.unread + 1, self.capacity)

    def clear(self) -> None:
        """Forget the entries; the sequence number stays."""
        self._entries.clear()
        self._things.clear()
        self._last = 0
        self.unread = 0
        self.overflow = False

    def holds(self, thing: object) -> bool:
        return any(held is thing for held in self._things)

    @property
    def full(self) -> bool:
        return self.unread >= self.capacity

    def image(self) -> bytes:
        """The whole table."""
        flags = self.overflow * _OVERFLOW | bool(self.capacity) * _CIRCULAR
        fields = (len(self._entries), self._last, self.sequence, self.unread)
        out = bytearray([flags])
        for value, width in zip(fields, self._widths, strict=True):
            out += (value % (1 << 8 * width)).to_bytes(width, "little")
        out += b"".join(self._entries)
        return bytes(out) + bytes((self.capacity - len(self._entries)) * self.entry_bytes)
