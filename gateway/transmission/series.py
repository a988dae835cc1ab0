"""Series in frames: many instants, the same properties, in columns."""

from .._compat import TYPE_CHECKING
from ..errors import FrameError
from .bits import MAX_INT, BitReader, BitWriter
from .coder import RangeEncoder
from .columns import ColumnReader, put_column
from .model import LOAD_PROFILE, Column, Series
from .readings import (
    MAX_VALUES,
    check_exponent,
    default_exponent,
    default_unit,
    get_exponent,
    get_fault,
    get_prop,
    get_unit,
    put_fault,
    put_prop,
    put_unit,
)
from .stamps import checked_time, get_offset, get_seconds, put_offset, put_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence


def put_series(writer: BitWriter, items: "Sequence[Series]") -> None:
    coder = RangeEncoder()
    total = 0
    for series in items:
        total += len(series.times) * (len(series.columns) + 1)
        if total > MAX_VALUES:
            raise FrameError("more than %d values in one frame" % MAX_VALUES)
        _put_one(writer, coder, series)
    coder.finish(writer)


def get_series(reader: BitReader, kind: int, count: int) -> "list[Series]":
    columns = ColumnReader(reader)
    parts = []
    total = 0
    for _ in range(count):
        part = _Part(reader, columns, kind, MAX_VALUES - total)
        total += part.rows * (len(part.columns) + 1)
        parts.append(part)
    columns.finish()
    return [part.series() for part in parts]


def _put_one(writer: BitWriter, coder: RangeEncoder, series: Series) -> None:
    times = series.times
    rows = len(times)
    writer.put_uint(rows, 3)
    put_offset(writer, series.offset)
    if rows:
        put_seconds(writer, checked_time(times[0]))
    if rows > 1:
        put_column(writer, coder, [checked_time(times[i]) - times[i - 1] for i in range(1, rows)])
    writer.put_uint(len(series.columns), 2)
    before = -1
    for column in series.columns:
        if len(column.mantissas) != rows:
            raise FrameError("a column has %d values for %d times" % (len(column.mantissas), rows))
        before = put_prop(writer, column.prop, before)
        check_exponent(column.exponent)
        change = column.exponent - default_exponent(column.prop)
        usual = not change and column.unit == default_unit(column.prop)
        writer.put(0 if usual else 1, 1)
        if not usual:
            writer.put_int(change, 1)
            put_unit(writer, column.unit)
        _put_values(writer, coder, column.mantissas)
    _put_faults(writer, series)
    _put_origins(writer, series)


def _put_values(writer: BitWriter, coder: RangeEncoder, mantissas: "Sequence[int | None]") -> None:
    numbers = [mantissa for mantissa in mantissas if mantissa is not None]
    gaps = len(numbers) < len(mantissas)
    writer.put(1 if gaps else 0, 1)
    if gaps:
        # Whether the first row has a value, then by turns how many rows have or lack one, less 1.
        run = 0
        there = mantissas[0] is not None
        writer.put(1 if there else 0, 1)
        for mantissa in mantissas:
            if (mantissa is not None) == there:
                run += 1
            else:
                writer.put_uint(run - 1, 2)
                there = not there
                run = 1
        writer.put_uint(run - 1, 2)
    if numbers:
        if not -MAX_INT - 1 <= min(numbers) <= max(numbers) <= MAX_INT:
            raise FrameError("a value does not fit into 64 bits")
        put_column(writer, coder, numbers)


def _put_faults(writer: BitWriter, series: Series) -> None:
    """Runs of rows with the same fault: rows since the run before, rows less 1, fault code."""
    runs = _runs(series, True)
    if _rows(runs) != list(series.faults):
        runs = _runs(series, False)  # the order within a row counts, too
    writer.put_uint(len(runs), 0)
    before = 0
    for row, length, fault in runs:
        if row < before:
            raise FrameError("fault codes come in the order of their rows")
        writer.put_uint(row - before, 2)
        writer.put_uint(length - 1, 2)
        put_fault(writer, fault)
        before = row


def _runs(series: Series, overlapping: bool) -> "list[tuple[int, int, int | str]]":
    """(first row, rows, fault) by first row; runs of different faults may overlap or stand apart."""
    runs: list[tuple[int, int, int | str]] = []
    open_runs: dict[int | str, int] = {}
    for row, fault in series.faults:
        if not 0 <= row < len(series.times):
            raise FrameError("a fault code belongs to row %d of %d" % (row, len(series.times)))
        at = open_runs.get(fault, -1)
        if at >= 0 and runs[at][0] + runs[at][1] == row and (overlapping or at == len(runs) - 1):
            runs[at] = (runs[at][0], runs[at][1] + 1, fault)
        else:
            open_runs[fault] = len(runs)
            runs.append((row, 1, fault))
    return runs


def _rows(runs: "list[tuple[int, int, int | str]]") -> "list[tuple[int, int | str]]":
    """(row, fault) by row, within a row by the order of the runs."""
    found = [
        (row, at, fault)
        for at, (first, count, fault) in enumerate(runs)
        for row in range(first, first + count)
    ]
    found.sort(key=lambda one: (one[0], one[1]))
    return [(row, fault) for row, _, fault in found]


def _put_origins(writer: BitWriter, series: Series) -> None:
    writer.put_uint(len(series.origins), 0)
    left = len(series.times)
    before = (0, 0, 0, 0, 0)
    for i in range(len(series.origins)):
        origin = series.origins[i]
        rows, data_set, configuration, block, index = origin
        if not 0 < rows <= left or min(origin) < 0 or max(origin) > MAX_INT:
            raise FrameError("origins must cover the rows of their series, and are no negative numbers")
        writer.put_uint(left - rows, 0)
        same = i > 0 and data_set == before[1] and configuration == before[2]
        if i:
            writer.put(1 if same else 0, 1)
        if not same:
            writer.put_uint(data_set, 0)
            writer.put_number(configuration)
        writer.put_int(block - before[3], 1 if i else 10)
        writer.put_uint(index, 6)
        left -= rows
        before = origin
    if series.origins and (left or series.kind != LOAD_PROFILE):
        raise FrameError("origins must cover the rows of their series, and belong to a load profile")


class _Part:
    """A series as far as it can be read before the columns in the range coder are there."""

    def __init__(self, reader: BitReader, columns: ColumnReader, kind: int, limit: int) -> None:
        self.kind = kind
        self.start = 0
        self.steps: list[int] = []
        self.rows = rows = reader.get_uint(3)
        if rows > limit:
            raise FrameError("more than %d values in one frame" % MAX_VALUES)
        self.offset = get_offset(reader)
        if rows:
            self.start = get_seconds(reader)
        if rows > 1:
            self.steps = columns.read(rows - 1)
        count = reader.get_uint(2)
        if rows * (count + 1) > limit or count > reader.left():
            raise FrameError("more than %d values in one frame" % MAX_VALUES)
        self.columns: list[Column] = []
        self.gaps: list[list[int] | None] = []  # per column: runs of rows with and without a value
        before = -1
        for _ in range(count):
            prop = get_prop(reader, before)
            if not isinstance(prop, str):
                before = prop
            column = Column(prop, (), default_exponent(prop), default_unit(prop))
            if reader.get(1):
                column.exponent = get_exponent(reader, column.exponent)
                column.unit = get_unit(reader)
            runs = self._get_gaps(reader) if reader.get(1) else None
            there = rows if runs is None else sum([runs[i] for i in range(0, len(runs), 2)])
            if there:
                column.mantissas = columns.read(there)
            self.gaps.append(runs)
            self.columns.append(column)
        self.faults = self._get_faults(reader)
        self.origins = self._get_origins(reader)

    def _get_gaps(self, reader: BitReader) -> "list[int]":
        runs = [] if reader.get(1) else [0]
        left = self.rows
        while left > 0:
            run = reader.get_uint(2) + 1
            runs.append(run)
            left -= run
        if left:
            raise FrameError("the gaps of a column go beyond its end")
        return runs

    def _get_faults(self, reader: BitReader) -> "list[tuple[int, int | str]]":
        runs: list[tuple[int, int, int | str]] = []
        row = total = 0
        for _ in range(reader.get_uint(0)):
            row += reader.get_uint(2)
            length = reader.get_uint(2) + 1
            fault = get_fault(reader)
            total += length
            if row + length > self.rows or total > MAX_VALUES:
                raise FrameError("fault codes go beyond the end of their series")
            runs.append((row, length, fault))
        return _rows(runs)

    def _get_origins(self, reader: BitReader) -> "list[tuple[int, int, int, int, int]]":
        origins: list[tuple[int, int, int, int, int]] = []
        left = self.rows
        data_set = configuration = block = 0
        for i in range(reader.get_uint(0)):
            rest = reader.get_uint(0)
            if rest >= left:
                raise FrameError("origins go beyond the end of their series")
            if not i or not reader.get(1):
                data_set = reader.get_uint(0)
                configuration = reader.get_number()
            block = block + reader.get_int(1 if i else 10)
            index = reader.get_uint(6)
            origin = (left - rest, data_set, configuration, block, index)
            if min(origin) < 0 or max(origin) > MAX_INT:
                raise FrameError("an origin does not fit into 64 bits")
            origins.append(origin)
            left = rest
        if origins and (left or self.kind != LOAD_PROFILE):
            raise FrameError("origins must cover the rows of their series, and belong to a load profile")
        return origins

    def series(self) -> Series:
        times = []
        at = self.start
        if self.rows:
            times.append(at)
        for step in self.steps:
            at = checked_time(at + step)
            times.append(at)
        for i in range(len(self.columns)):
            runs = self.gaps[i]
            if runs is not None:
                numbers = self.columns[i].mantissas
                mantissas: list[int | None] = []
                taken = 0
                for j in range(len(runs)):
                    if j % 2:
                        mantissas.extend([None] * runs[j])
                    else:
                        mantissas.extend(numbers[taken : taken + runs[j]])
                        taken += runs[j]
                self.columns[i].mantissas = mantissas
        return Series(self.kind, times, self.columns, self.offset, self.faults, self.origins)
