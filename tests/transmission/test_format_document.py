"""A second decoder for series, written from docs/transmission-format.md alone: the page is enough."""

import json
import zlib

import pytest

from tests.interpreter import ROOT

VECTORS = json.loads((ROOT / "tests/vectors/frames.json").read_text())["vectors"]
SERIES = [vector for vector in VECTORS if vector["items"][0]["form"] == "series"]


class Bits:
    def __init__(self, data):
        self.text = "".join(f"{byte:08b}" for byte in data)

    def bits(self, n):
        taken = self.text[:n].ljust(n, "0")
        self.text = self.text[n:]
        return int(taken or "0", 2)

    def uint(self, k):
        m = self.text.index("0")
        self.bits(m + 1)
        return (2**m + self.bits(m) - 1) * 2**k + self.bits(k)

    def int(self, k):
        return zigzag(self.uint(k))

    def number(self):
        length = self.bits(6)
        length += self.bits(4) if length == 63 else 0
        return 2 ** (length - 1) + self.bits(length - 1) if length else 0

    def string(self):
        return bytes(self.bits(8) for _ in range(self.uint(4))).decode()

    def offset(self):
        for value in (None, 60, 120):
            if not self.bits(1):
                return value
        return self.int(5)

    def seconds(self):
        step, k = ((1, 29), (10, 26), (60, 23), (900, 19))[self.bits(2)]
        return self.int(k) * step + 1704067200


def zigzag(code):
    return -(code + 1) // 2 if code % 2 else code // 2


class Adaptive:
    def __init__(self, k):
        self.k, self.m = k, 16 * 2**k

    def see(self, c):
        self.m += (16 * min(c, 4194303) - self.m) * 3 // 4
        self.k = (11 * self.m // 256).bit_length()


class Column:
    def __init__(self, source, count):
        self.order, self.signed, self.codec = source.bits(2), source.bits(1), source.bits(3)
        self.first = [zigzag(source.number()) for _ in range(self.order)]
        self.left = count - self.order
        self.codes = []
        self.k = source.uint(2) if self.codec in (3, 5) else 0
        adaptive = Adaptive(self.k)
        if self.codec == 0:
            self.codes = [source.number()] * self.left
        elif self.codec == 2:
            least, width = source.number(), source.bits(7)
            self.codes = [least + source.bits(width) for _ in range(self.left)]
        group = source.bits(3) + 1 if self.codec == 4 else 0
        while len(self.codes) < self.left and self.codec != 5:
            if self.codec == 1:
                code = source.uint(2)
                self.codes += [code] * (source.uint(2) + 1)
                continue
            if self.codec == 3:
                q = 0
                while q < 20 and source.bits(1):
                    q += 1
                code = source.number() if q == 20 else q * 2**adaptive.k + source.bits(adaptive.k)
                adaptive.see(code)
            else:
                code, more = 0, 1
                while more:
                    more = source.bits(1)
                    code = code * 2**group + source.bits(group)
            self.codes.append(code)

    def values(self):
        rest = [zigzag(code) for code in self.codes] if self.signed else self.codes
        for start in reversed(self.first):
            row = [start]
            for step in rest:
                row.append(row[-1] + step)
            rest = row
        return rest


class RangeCoder:
    def __init__(self, source):
        self.source, self.range, self.code = source, 2**28 - 1, source.bits(28)
        self.chance, self.seen = [2048] * 132, [0] * 132

    def fill(self):
        while self.range < 2**20:
            self.range, self.code = self.range * 256, self.code * 256 + self.source.bits(8)

    def bit(self, context):
        bound = self.range // 4096 * self.chance[context]
        r = 2 + self.seen[context]
        self.seen[context] = min(3, self.seen[context] + 1)
        bit = self.code >= bound
        if bit:
            self.code, self.range = self.code - bound, self.range - bound
            self.chance[context] -= self.chance[context] // 2**r
        else:
            self.range = bound
            self.chance[context] += (4096 - self.chance[context]) // 2**r
        self.fill()
        return int(bit)

    def plain(self, n):
        value = 0
        while n > 8:
            value, n = value * 256 + self.plain(8), n - 8
        self.range //= 2**n
        part = min(self.code // self.range, 2**n - 1)
        self.code -= part * self.range
        self.fill()
        return value * 2**n + part

    def fill_column(self, column):
        adaptive, p = Adaptive(column.k), 0
        for _ in range(column.left):
            k, q = adaptive.k, 0
            while q < 20 and self.bit(18 * min(k, 6) + 6 * min(p, 2) + min(q, 5)):
                q += 1
            if q == 20:
                code = self.plain(self.plain(7))
            else:
                code = q
                if q < 2 and k:
                    first = self.bit(126 + 3 * q)
                    code, k = code * 2 + first, k - 1
                    if k:
                        code, k = code * 2 + self.bit(127 + first + 3 * q), k - 1
                code = code * 2**k + self.plain(k)
            column.codes.append(code)
            adaptive.see(code)
            p = q


def decode(frame, meter):
    assert frame[0] == 0x93 and frame[1] == 1 and frame[2] // 16 == 1
    at = 5 if frame[3] == 0xC4 else 6
    assert zlib.crc32(meter + frame[:-2]) & 0xFFFF == int.from_bytes(frame[-2:], "big")
    epoch = int.from_bytes(frame[at : at + 4], "big")
    at += 4
    number = shift = 0
    while True:
        number |= (frame[at] & 127) << shift
        shift += 7
        at += 1
        if frame[at - 1] < 128:
            break
    source = Bits(frame[at:-2])
    parts = [read_series(source) for _ in range(source.uint(0) + 1)]
    coder = None
    for part in parts:
        for column in part["late"]:
            if column.codec == 5:
                coder = coder or RangeCoder(source)
                coder.fill_column(column)
    return epoch, number // 4, [finish(part) for part in parts]


def read_series(source):
    rows = source.uint(3)
    part = {"offset": source.offset(), "late": [], "columns": [], "faults": [], "origins": []}
    part["start"] = source.seconds() if rows else None
    if rows > 1:
        part["late"].append(Column(source, rows - 1))
    part["rows"], before = rows, -1
    for _ in range(source.uint(2)):
        if source.bits(1):
            prop = source.string()
        else:
            prop = before = before + source.int(3)
        if source.bits(1):
            source.int(1)
            if not source.uint(2):
                source.string()
        mask = [True] * rows
        if source.bits(1):
            there, mask = bool(source.bits(1)), []
            while len(mask) < rows:
                mask += [there] * (source.uint(2) + 1)
                there = not there
        column = Column(source, sum(mask)) if any(mask) else None
        part["late"] += [column] if column else []
        part["columns"].append((prop, mask, column))
    row = 0
    for _ in range(source.uint(0)):
        row += source.uint(2)
        count = source.uint(2) + 1
        fault = source.string() if source.bits(1) else source.uint(3)
        part["faults"] += [[i, fault] for i in range(row, row + count)]
    left, block = rows, 0
    for i in range(source.uint(0)):
        after = source.uint(0)
        if not i or not source.bits(1):
            data_set, configuration = source.uint(0), source.number()
        block += source.int(1 if i else 10)
        part["origins"].append([left - after, data_set, configuration, block, source.uint(6)])
        left = after
    return part


def finish(part):
    times = [part["start"]] if part["rows"] else []
    if part["rows"] > 1:
        for step in part["late"][0].values():
            times.append(times[-1] + step)
    columns = []
    for prop, mask, column in part["columns"]:
        values = iter(column.values() if column else [])
        columns.append([prop, [next(values) if there else None for there in mask]])
    return {key: part[key] for key in ("offset", "faults", "origins")} | {"times": times, "columns": columns}


@pytest.mark.parametrize("vector", SERIES, ids=[vector["name"] for vector in SERIES])
def test_the_document_alone_decodes_the_vectors(vector):
    meter = bytes.fromhex(vector["meter"].replace("-", ""))
    epoch, sequence, items = decode(bytes.fromhex(vector["frame"]), meter)
    assert (epoch, sequence) == (vector["epoch"], vector["sequence"])
    for found, item in zip(items, vector["items"], strict=True):
        assert found["columns"] == [[prop, mantissas] for prop, _, _, mantissas in item["columns"]]
        for key in ("times", "offset", "faults", "origins"):
            assert found[key] == item[key]
