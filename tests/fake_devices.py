"""Devices behind a meter, in ET11 to ET16, ET36, ET45, ET54, ET74, by the guide's own formulas. Portable."""

from tests.fake_logs import stamp
from tests.fake_meter import bt01, put, standard

SIZE = 525


def telegram(serial, access, volume=0, medium=7):
    """A water meter's telegram as ET16 keeps it: header, one record (volume in litres), closing zero."""
    head = bytearray(12)
    put(head, 0, serial, 4)
    put(head, 4, 0x2C2D, 2)  # KAM
    head[6], head[7], head[8] = 27, medium, access & 255
    record = bytearray(b"\x04\x13\0\0\0\0")
    put(record, 2, volume)
    return bytes(head + record) + b"\0"


def data(seconds, telegrams, info=0):
    """A device's data: local stamp, response info, telegrams each behind their length, 0."""
    packed = b"".join([bytes((len(t),)) + t for t in telegrams])
    return stamp(seconds) + bytes((info,)) + packed + b"\0"


class RecurringLog:
    """ET45 (header of 6 bytes) or ET74 (9)."""

    def __init__(self, count, wide):
        self.count = count
        self.wide = wide
        self.start = 9 if wide else 6
        self.table = bytearray(self.start + count * SIZE)
        self.entries = []
        self.last = count - 1
        self.number = 0
        self.unread = 0

    def add(self, entry):
        self.last = (self.last + 1) % self.count
        self.number = self.number + 1 & 0xFFFF
        self.entries = (self.entries + [entry])[-self.count :]
        at = self.start + self.last * SIZE
        self.table[at : at + SIZE] = bytes(SIZE)
        self.table[at : at + len(entry)] = entry
        self.head()

    def head(self):
        size = 2 if self.wide else 1
        put(self.table, 1, len(self.entries), size)
        put(self.table, 1 + size, self.last, size)
        put(self.table, 1 + 2 * size, self.number, 2)


class Devices:
    """`tables` of a meter with M-Bus devices; `truth`: (handle, raw stamp, telegram), of all."""

    def __init__(self, recurring=6, extended=0, firmware=0x43C0):
        self.tables = standard()
        self.tables[1] = bt01(firmware)
        self.tables[53] = bytes((2, 0, 0, 0, 60, 0))  # an hour ahead of UTC, no daylight saving
        et11 = bytearray(40)
        et11[0], et11[1], et11[2] = 6, 66, 36
        put(et11, 5, 517, 2)
        self.tables[2059] = et11
        self.et13 = bytearray(6 * 66)
        self.et14 = bytearray(6 + 6 * 36)
        self.et16 = bytearray(6 * 517)
        self.tables.update({2061: self.et13, 2062: self.et14, 2064: self.et16})
        et36 = bytearray(1 + 5 * 17 + 1)
        et36[0] = 5
        put(et36, 1 + 4 * 17, 45 | 1 << 11, 2)
        put(et36, 1 + 4 * 17 + 2, SIZE, 2)
        put(et36, 1 + 4 * 17 + 6, recurring, 2)
        self.tables[2084] = et36
        et54 = bytearray(82)
        put(et54, 69, extended, 2)
        self.tables[2102] = et54
        self.log = RecurringLog(recurring, False) if recurring else None
        self.more = RecurringLog(extended, True) if extended else None
        if self.log:
            self.tables[2093] = self.log.table
        if self.more:
            self.tables[2122] = self.more.table
        self.truth = []

    def device(self, slot, handle, status=1, alarms=0, device_alarms=0):
        at = 6 + 36 * slot
        self.et14[5] |= 1 << slot
        put(self.et14, at, handle, 2)
        self.et14[at + 2] = status
        put(self.et14, at + 14, alarms, 2)
        self.et14[at + 23] = device_alarms

    def post(self, slot, content):
        """Data of a first or on-demand read, in ET16."""
        at = 517 * slot
        self.et16[at : at + 517] = bytes(517)
        self.et16[at : at + len(content)] = content
        put(self.et14, 6 + 36 * slot + 4, len(content), 2)

    def remember(self, handle, content):
        at = 7
        while content[at]:
            self.truth.append((handle, content[:6], content[at + 1 : at + 1 + content[at]]))
            at += 1 + content[at]

    def schedule(self, handle, content, execution=0):
        """A scheduled read: into ET74 where there is one, else into ET45."""
        entry = bytearray(8)
        put(entry, 0, len(content) + 4, 2)
        put(entry, 4, handle, 2)
        entry[6], entry[7] = execution, 4
        self.remember(handle, content)
        (self.more or self.log).add(bytes(entry) + content)

    def hand_over(self):
        """The oldest entry of ET74 moves on to ET45."""
        if self.more.entries:
            entry = self.more.entries.pop(0)
            self.more.head()
            self.log.add(entry)
