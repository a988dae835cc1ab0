"""A meter with a load profile for tests, laid out from the guide's tables once more (MEP guide, BT60 to
BT67, ET21, ET42, ET66): rings of blocks that fill, wrap and are configured anew, between any two answers.
Portable."""

from gateway.errors import Refused
from tests.fake_meter import FakeMeter, bt01, put, standard

START = 1704067200  # 2024-01-01T00:00:00Z


def stamp(utc):
    """STIME_DATE of 2024 to 2027, by counting days."""
    days, rest = divmod(utc - START, 86400)
    year = 2024
    while days >= (366 if year % 4 == 0 else 365):
        days -= 366 if year % 4 == 0 else 365
        year += 1
    month = 0
    lengths = (31, 29 if year % 4 == 0 else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
    while days >= lengths[month]:
        days -= lengths[month]
        month += 1
    return bytes((year - 2000, month + 1, days + 1, rest // 3600, rest // 60 % 60))


class DataSet:
    """`truth`: (configuration, block sequence, interval) -> (end, values, common flags, statuses, ends)
    of every interval ever processed, `ends` being the end readings where its block was finished by it."""

    def __init__(self, blocks, intervals, sources, minutes=15, configuration=1, sequence=0, start=START,
                 end_readings=False, factors=None):  # fmt: skip
        self.blocks = blocks
        self.intervals = intervals
        self.sources = sources
        self.minutes = minutes
        self.configuration = configuration
        self.end_readings = end_readings
        self.factors = factors  # [(scalar, divisor)] or None
        self.channels = len(sources)
        self.status_offset = 5 + (4 * self.channels if end_readings else 0)
        self.status_size = (intervals + 7) // 8
        self.header = self.status_offset + self.status_size
        self.interval_size = self.channels // 2 + 1 + 4 * self.channels
        self.block_size = self.header + intervals * self.interval_size
        self.ring = [bytearray(self.block_size) for _ in range(blocks)]
        self.keys = [[] for _ in range(blocks)]
        self.valid = 0
        self.last = 0
        self.sequence = sequence
        self.next = intervals  # a new block begins with the first interval
        self.count = 0
        self.in_progress = 0
        self.first_segment = 0
        self.moved = False
        self.refuses = False
        self.now = start
        self.truth = {}

    def record(self, values, common=0, statuses=None, processed=True, ends=None):
        """The next interval ends. Not processed: the meter leaves it out."""
        self.now += 60 * self.minutes
        if self.next >= self.intervals:
            self.close()
            if not self.valid:
                self.valid = 1
            else:
                self.last = (self.last + 1) % self.blocks
                self.sequence = (self.sequence + 1) & 0xFFFFFFFF
                self.valid = min(self.valid + 1, self.blocks)
            block = self.ring[self.last]
            for i in range(len(block)):
                block[i] = 0xEE if i >= self.header else 0
            self.keys[self.last] = []
            self.next = 0
            self.count = 0
        block = self.ring[self.last]
        index = self.next
        self.next += 1
        if not processed:
            return
        statuses = statuses or [0] * self.channels
        block[0:5] = stamp(self.now)
        block[self.status_offset + index // 8] |= 1 << index % 8
        at = self.header + index * self.interval_size
        nibbles = [common] + statuses + [0]
        for i in range(self.channels // 2 + 1):
            block[at + i] = nibbles[2 * i] << 4 | nibbles[2 * i + 1]
        at += self.channels // 2 + 1
        for i in range(self.channels):
            put(block, at + 4 * i, values[i])
        finished = None
        if self.end_readings and index == self.intervals - 1:
            finished = ends or [value + 1 for value in values]
            for i in range(self.channels):
                put(block, 5 + 4 * i, finished[i])
        self.count += 1
        key = (self.configuration, self.sequence, index)
        self.keys[self.last].append(key)
        self.truth[key] = (self.now, list(values), common, list(statuses), finished)

    def close(self):
        """The next interval goes into a new block."""
        self.next = self.intervals

    def held(self):
        """The keys of all that is in the ring."""
        return [key for keys in self.keys for key in keys]

    def configure(self, **changes):
        """Another configuration takes the place of this one, empty; truth stays."""
        options = {
            "blocks": self.blocks, "intervals": self.intervals, "sources": self.sources,
            "minutes": self.minutes, "sequence": self.sequence, "start": self.now,
            "end_readings": self.end_readings, "factors": self.factors,
            "configuration": self.configuration + 1,
        }  # fmt: skip
        options.update(changes)
        truth = self.truth
        refuses = self.refuses
        self.__init__(**options)
        self.truth = truth
        self.refuses = refuses
        self.moved = True


class ProfileMeter(FakeMeter):
    """`sets`: DataSet or None, one or four. `tick`: called before each answer, may change anything. `listed`:
    the extended sources of each data set, in ET42 and without ET66."""

    def __init__(self, sets, firmware=0x38C0, max_read=465, mapped=None, listed=None):
        tables = standard()
        tables[1] = bt01(firmware)
        FakeMeter.__init__(self, tables, max_read)
        self.sets = sets
        self.firmware = firmware
        self.mapped = mapped or {}
        self.listed = listed
        self.tick = None
        self.bytes = 0
        self.et21_size = 131 if firmware >= 0x3640 or firmware < 0x2000 else 94 if firmware >= 0x3140 else 83

    def reconfigured(self):
        """What firmware does after procedure EP11: another interface version."""
        self.tables[2052][116] = (self.tables[2052][116] + 1) & 255

    async def read(self, table, offset=None, count=None):
        if self.tick:
            self.tick()
        if 60 <= table <= 67 or table in (2069, 2114):
            self.tables[table] = self.render(table, offset, count)
        found = await FakeMeter.read(self, table, offset, count)
        self.bytes += len(found)
        return found

    def render(self, table, offset, count):
        if table in (60, 61):
            data = self.dimensions()
            if offset is not None and offset + count > len(data):
                raise Refused("beyond the table", 5, table)
            return data
        if table == 62:
            return self.control()
        if table == 63:
            return b"".join([self.status(each) for each in self.sets])
        if table == 2069:
            return self.internal()
        if table == 2114:
            if self.listed is not None:
                raise Refused("no such table", 5, table)
            data = bytearray(128)
            for source in self.mapped:
                put(data, 2 * (source - 112), self.mapped[source], 2)
            return data
        number = table - 64
        if number >= len(self.sets) or self.sets[number] is None:
            raise Refused("no such data set", 5, table)
        return Ring(self.sets[number])

    def dimensions(self):
        ends = any(each is not None and each.end_readings for each in self.sets)
        flags = 0x0C00 | (0x10 if ends else 0)
        for number, each in enumerate(self.sets):
            if each is not None and each.factors:
                flags |= 0x40 << number
        data = bytearray(b"\0\0\1\0") + bytes((flags & 255, flags >> 8, 0x20))
        for each in self.sets:
            if each is None:
                data += bytes(6)
            else:
                more = bytearray(4)
                put(more, 0, each.blocks, 2)
                put(more, 2, each.intervals, 2)
                data += more + bytes((each.channels, each.minutes if each.minutes < 1440 else 84))
        return bytes(data)

    def control(self):
        data = bytearray()
        for each in self.sets:
            if each is None:
                data.append(32)
                continue
            for source in each.sources:
                data += bytes((1 if each.end_readings else 0, source, source if each.end_readings else 0))
            data.append(32)
            for part in (0, 1):
                for factor in each.factors or ():
                    data += bytes((factor[part] & 255, factor[part] >> 8))
        return bytes(data)

    def define(self, fixed=41, logs=7, demands=3, coincidents=6, types=5):
        """ET42, with these sizes of what stands before the sources; ET54.0.2 says that it has all sets."""
        parts = []
        for number, each in enumerate(self.sets):
            entry = bytearray(14 if each else 0)
            sources = bytearray(2 * each.channels if each else 0)
            if each:
                put(entry, 0, each.block_size, 4)
                put(entry, 4, each.blocks, 2)
                entry[6:8] = bytes((each.channels, each.minutes if each.minutes < 1440 else 84))
                for i in range(each.channels):
                    put(sources, 2 * i, self.listed[number][i], 2)
            parts.append((entry, sources))
        head = bytearray(b"\xa5" * fixed)
        head[2:4] = bytes((fixed, logs))
        head[13:15] = bytes((demands, coincidents))
        head[23:37] = parts[0][0] or bytes(14)
        data = head + b"\xa5" * (3 * logs + demands + coincidents) + parts[0][1]
        data += bytes((types,)) + b"\xa5" * (4 * types)
        if len(self.sets) > 1:
            data.append(sum(1 << i for i, each in enumerate(self.sets[1:]) if each))
            for entry, sources in parts[1:]:
                data += entry + sources
        data += b"\x08" + bytes(7)
        put(data, 0, len(data), 2)
        self.tables[2090] = data
        self.tables[2102] = bytes((4 if len(self.sets) > 1 else 0,)) + bytes(90)

    def changed(self, entries, size=143, count=4):
        """ET75 with these entries (until, sources, demands), oldest first, and ET36, which says so."""
        log = bytearray(6 + size * count)
        log[0:6] = bytes((4, len(entries), len(entries) - 1 if entries else 0, 9, 0, 0))
        for i, (until, sources, demands) in enumerate(entries):
            at = 6 + size * i
            log[at : at + 5] = stamp(until)
            for j, source in enumerate(sources):
                put(log, at + 5 + 2 * j, source, 2)
            log[at + 37 : at + 37 + len(demands)] = demands
        self.tables[2123] = log
        self.tables[2084] = bytes((1, 75, 8, size & 255, size >> 8, 253, 0, count, 0, 0)) + bytes(9)

    def status(self, each):
        data = bytearray(13)
        if each is not None:
            data[0] = 0x24
            put(data, 1, each.valid, 2)
            put(data, 3, each.last, 2)
            put(data, 5, each.sequence, 4)
            put(data, 9, 7, 2)
            put(data, 11, each.count, 2)
        return bytes(data)

    def internal(self):
        size = (
            131
            if self.firmware >= 0x3640 or self.firmware < 0x2000
            else 94
            if self.firmware >= 0x3140
            else 83
        )
        data = bytearray()
        for each in self.sets:
            entry = bytearray(b"\x5a" * 131)
            if each is not None:
                put(entry, 8, each.block_size, 4)
                put(entry, 12, each.header, 2)
                put(entry, 14, each.valid, 2)
                put(entry, 16, each.count, 2)
                put(entry, 18, each.last, 2)
                put(entry, 20, max(each.next - 1, 0), 2)
                entry[22:27] = bytes(
                    (each.status_offset, each.status_size, each.header & 255, each.interval_size,
                     each.channels // 2 + 1)
                )  # fmt: skip
                entry[28] = each.channels
                entry[29] = each.minutes if each.minutes < 1440 else 84
                put(entry, 78, each.configuration, 4)
                entry[82] = each.first_segment
                put(entry, 91, each.in_progress, 2)
                entry[93] = 0
            data += entry[:size]
        return bytes(data)


class Ring:
    """The table of a data set, as bytes that are made when they are read."""

    def __init__(self, each):
        self.each = each

    def __getitem__(self, part):
        size = self.each.block_size
        first, last = part.start // size, (part.stop - 1) // size
        if last >= self.each.blocks:
            if not self.each.moved:
                raise AssertionError("read beyond the last block")
            if self.each.refuses:  # meters do the one or the other
                raise Refused("beyond the table", 4, 64)
            return bytes(part.stop - part.start)
        data = bytearray()
        for number in range(first, last + 1):
            data += self.each.ring[number]
        return bytes(data[part.start - first * size : part.stop - first * size])
