"""Compact frames: what a gateway sends, byte by byte in docs/transmission-format.md.

A frame is a MessagePack array of three: the version, the kind of its items and their form, and bytes:
epoch (4 bytes, most significant first), sequence and class (groups of 7 bits, lowest first, 128 added to
all but the last), the items as bits, and a check of 2 bytes over the meter's id and all before it. All
items of a frame are of one kind: readings, series or events.
"""

import binascii

from .._compat import TYPE_CHECKING, const, forget
from ..errors import FrameError
from .bits import BitReader, BitWriter
from .logs import get_events
from .model import CLASS_OF_KIND, Column, Event, Reading, Series
from .readings import get_readings, put_readings
from .series import get_series

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    Item = Reading | Series | Event

VERSION = const(1)
MAX_FRAME = const(8192)
MAX_SEQUENCE = const(0xFFFFFFFFFF)  # 40 bits

_READINGS = const(0)
_SERIES = const(1)
_EVENTS = const(2)


class Frame:
    """A decoded frame. `kind`: what was read; `cls`: the outbox class that `sequence` counts in."""

    def __init__(
        self, version: int, kind: int, cls: int, epoch: int, sequence: int, items: "list[Item]"
    ) -> None:
        self.version = version
        self.kind = kind
        self.cls = cls
        self.epoch = epoch
        self.sequence = sequence
        self.items = items


def encode(meter_id: bytes, epoch: int, sequence: int, items: "Sequence[Item]") -> bytes:
    """The frame that carries `items` (at least one, all of one kind and form) of the meter.

    Raises FrameError when they do not go together, exceed MAX_FRAME (see `split`), or hold what no frame
    can carry.
    """
    if not items:
        raise FrameError("a frame carries at least one item")
    if len(meter_id) != 16:
        raise FrameError("a meter's id has 16 bytes, not %d" % len(meter_id))
    if not 0 <= epoch <= 0xFFFFFFFF or not 0 <= sequence <= MAX_SEQUENCE:
        raise FrameError("epoch %d or sequence %d is out of range" % (epoch, sequence))
    kind = items[0].kind
    form = _form(items[0])
    for item in items:
        if item.kind != kind or _form(item) != form:
            raise FrameError("the items of a frame are of one kind and form: send others in another frame")
    writer = BitWriter()
    for shift in (24, 16, 8, 0):
        writer.put(epoch >> shift & 0xFF, 8)
    number = sequence << 2 | CLASS_OF_KIND[kind]
    while number > 127:
        writer.put(number & 127 | 128, 8)
        number >>= 7
    writer.put(number, 8)
    writer.put_uint(len(items) - 1, 0)
    try:
        _putter(form)(writer, items)
    finally:
        if form == _SERIES:
            forget("gateway.transmission", "series")
    body = writer.finish()
    size = len(body) + 2
    head = bytes((0x93, VERSION, kind | form << 4))
    head += bytes((0xC4, size)) if size < 256 else bytes((0xC5, size >> 8 & 0xFF, size & 0xFF))
    if len(head) + size > MAX_FRAME:
        raise FrameError(
            "%d items make a frame of %d bytes, the limit is %d: split them"
            % (len(items), len(head) + size, MAX_FRAME)
        )
    frame = head + bytes(body)
    return frame + _check(meter_id, frame)


def head(payload: bytes) -> "tuple[int, int, int, int, int]":
    """Version, kind, class, epoch and sequence of a frame, without a look at its items; they stand there
    in every version. Raises FrameError when it is no frame."""
    version, tag, number, epoch, _, _ = _head(payload)
    return version, tag & 15, number & 3, epoch, number >> 2


def decode(payload: bytes, meter_id: bytes) -> Frame:
    """The frame, its check proven against the meter's id. Raises FrameError for anything else."""
    version, tag, number, epoch, start, end = _head(payload)
    kind = tag & 15
    form = tag >> 4
    if version != VERSION:
        raise FrameError("a frame of version %d; this program reads version %d" % (version, VERSION))
    if _check(meter_id, payload[:end]) != payload[end:]:
        raise FrameError("a frame's check does not fit: it is damaged or belongs to another meter")
    if kind >= len(CLASS_OF_KIND) or form > _EVENTS or number & 3 != CLASS_OF_KIND[kind]:
        raise FrameError("a frame of kind %d and form %d, which this version does not know" % (kind, form))
    reader = BitReader(payload[start:end])
    count = reader.get_uint(0) + 1
    if count > reader.left():
        raise FrameError("a frame has more items than bits")
    get: Any = (get_readings, get_series, get_events)[form]
    return Frame(version, kind, number & 3, epoch, number >> 2, get(reader, kind, count))


def split(items: "Sequence[Item]") -> "list[list[Item]]":
    """The items in lists of one kind and form each, in order, each list fit for one frame.

    Raises FrameError when a single reading or event is too big for a frame.
    """
    lists: list[list[Item]] = []
    for item in items:
        last = lists[-1] if lists else None
        if last and last[0].kind == item.kind and _form(last[0]) == _form(item):
            last.append(item)
        else:
            lists.append([item])
    fitting: list[list[Item]] = []
    while lists:
        some = lists.pop(0)
        if _fits(some):
            fitting.append(some)
            continue
        half = len(some) // 2
        if half:
            lists = [some[:half], some[half:]] + lists
        elif isinstance(some[0], Series) and len(some[0].times) > 1:
            first, second = halves(some[0])
            lists.insert(0, [second])
            lists.insert(0, [first])
        elif isinstance(some[0], Reading) and _may_part(some[0]):
            for part in _parts(some[0]):
                lists.insert(0, [part])
        else:
            encode(bytes(16), 0, MAX_SEQUENCE, some)  # says why
    return fitting


def _may_part(reading: Reading) -> bool:
    """Whether it may come as several readings of one time: the registers of a meter with all that the guide
    knows are more than a frame. What has an id of its own stays whole."""
    return reading.identifier is None and reading.source is None and len(reading.values) > 1


def _parts(reading: Reading) -> "list[Reading]":
    """The second half of its values, and the first. The id of what the meter stored goes on with which half
    it is, so each part has the same one whenever it is read."""
    values = reading.values
    half = len(values) // 2
    parts = []
    for number, some in ((1, values[half:]), (0, values[:half])):
        part = Reading(reading.kind, reading.time, some, reading.faults)
        if reading.stored is not None:
            part.stored = reading.stored + (number,)
        parts.append(part)
    return parts


def halves(series: Series) -> "tuple[Series, Series]":
    """The earlier and the later half of the series' rows."""
    half = len(series.times) // 2
    return _rows(series, 0, half), _rows(series, half, len(series.times))


def _putter(form: int) -> "Callable[..., None]":
    """What puts items of a form. Imported when first needed: series cost a board 10 KB."""
    if form == _SERIES:
        from .series import put_series

        return put_series
    if form == _EVENTS:
        from .logs import put_events

        return put_events
    return put_readings


def _form(item: "Item") -> int:
    form: int = _SERIES if isinstance(item, Series) else _EVENTS if isinstance(item, Event) else _READINGS
    return form


def _check(meter_id: bytes, frame: bytes) -> bytes:
    check = binascii.crc32(frame, binascii.crc32(meter_id))
    return bytes((check >> 8 & 0xFF, check & 0xFF))


def _head(payload: bytes) -> "tuple[int, int, int, int, int, int]":
    """Version, kind and form, sequence and class, epoch, and where the items' bits start and end."""
    size = len(payload)
    if size > MAX_FRAME:
        raise FrameError("%d bytes are no frame: the limit is %d" % (size, MAX_FRAME))
    start = 5 if size > 4 and payload[3] == 0xC4 else 6
    if size < start + 7 or payload[0] != 0x93 or payload[1] > 127 or payload[2] > 127:
        raise FrameError("no frame: a MessagePack array of version, kind and bytes is expected")
    length = payload[4] if start == 5 else payload[4] << 8 | payload[5]
    if payload[3] != (0xC4 if start == 5 else 0xC5) or length != size - start:
        raise FrameError("a frame of %d bytes says that its bytes are %d" % (size, length))
    epoch = payload[start] << 24 | payload[start + 1] << 16 | payload[start + 2] << 8 | payload[start + 3]
    start += 4
    number = shift = 0
    more = 128
    while more:
        if shift > 42 or start >= size - 2:
            raise FrameError("a frame's sequence has no end")
        number |= (payload[start] & 127) << shift
        more = payload[start] & 128
        shift += 7
        start += 1
    return payload[1], payload[2], number, epoch, start, size - 2


def _fits(items: "list[Item]") -> bool:
    try:
        encode(bytes(16), 0, MAX_SEQUENCE, items)
    except FrameError:
        return False
    return True


def _rows(series: Series, start: int, end: int) -> Series:
    origins = []
    row = 0
    for rows, data_set, configuration, block, index in series.origins:
        first = max(start, row)
        count = min(end, row + rows) - first
        if count > 0:
            origins.append((count, data_set, configuration, block, index + first - row))
        row += rows
    return Series(
        series.kind,
        series.times[start:end],
        [
            Column(column.prop, column.mantissas[start:end], column.exponent, column.unit)
            for column in series.columns
        ],
        series.offset,
        [(row - start, fault) for row, fault in series.faults if start <= row < end],
        origins,
    )
