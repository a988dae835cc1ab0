"""Identities: UUIDs that follow from what the meter itself stored, so that sending twice is harmless.

All are UUIDv5 (RFC 9562, 5.5). A meter's id is taken in NAMESPACE from "manufacturer/serial"; the ids
of its readings are taken in the meter's id from one line of text:

    interval:<data set>:<configuration>:<block sequence>:<interval index>    configuration: ET21.78
    event:<stamp>:<sequence>:<code>:<argument>                               "alarm:" for alarms
    stored:<kind>:<item>:<item>...
    row:<epoch>:<class>:<sequence>:<row>

with numbers in decimal and bytes as "x" and lower-case hexadecimal digits.
"""

import binascii
import hashlib

from .._compat import TYPE_CHECKING
from ..errors import FrameError
from .model import ALARM, LOAD_PROFILE, Event, Reading, Series

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .frames import Frame

# UUIDv5 of "osgp-gateway.meter" in the RFC's namespace for domain names.
NAMESPACE = b"\xe3\xa2\x27\x3d\x1b\x1b\x57\x7b\x81\xe5\x1f\xe3\x06\x6d\xcb\x31"


def uuid5(namespace: bytes, name: str) -> bytes:
    """The 16 bytes of the UUIDv5 of `name` in `namespace` (16 bytes)."""
    digest = bytearray(hashlib.sha1(namespace + name.encode()).digest()[:16])  # noqa: S324 - UUIDv5 is SHA-1
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    return bytes(digest)


def format_uuid(value: bytes) -> str:
    """16 bytes in the canonical form: lower case, 8-4-4-4-12."""
    digits = str(binascii.hexlify(value), "ascii")
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def parse_uuid(text: str) -> bytes:
    """The 16 bytes of a UUID in the form 8-4-4-4-12, in either case. Raises FrameError for anything else."""
    if len(text) == 36 and text[8] == text[13] == text[18] == text[23] == "-":
        digits = text.replace("-", "")
        if len(digits) == 32 and all(x in "0123456789abcdefABCDEF" for x in digits):
            return binascii.unhexlify(digits)
    raise FrameError(
        "%r is not a UUID: 32 hexadecimal digits in groups of 8-4-4-4-12 are expected" % text[:64]
    )


def meter_individual_id(manufacturer: str, serial: str) -> bytes:
    """A meter's own id, 16 bytes: the default smartMeterId and MeterIndividualId.

    Padding (blanks and zero bytes) around either does not count.
    """
    return uuid5(NAMESPACE, "%s/%s" % (manufacturer.strip("\0 "), serial.strip("\0 ")))


def interval_id(meter_id: bytes, data_set: int, configuration: int, block_sequence: int, index: int) -> bytes:
    """A load-profile interval's id; `configuration` is ET21.78, `block_sequence` BT63.5."""
    return uuid5(meter_id, "interval:%d:%d:%d:%d" % (data_set, configuration, block_sequence, index))


def event_id(meter_id: bytes, event: Event) -> bytes:
    """The id of a log entry or alarm: its raw stamp, sequence, code and argument."""
    word = "alarm" if event.kind == ALARM else "event"
    return uuid5(
        meter_id,
        "%s:%s:%d:%d:%s" % (word, _item(event.stamp), event.sequence, event.code, _item(event.argument)),
    )


def stored_id(meter_id: bytes, kind: int, stored: "tuple[int | bytes, ...]") -> bytes:
    """The id of what the meter stored whole, a self-read: its sequence and raw stamp."""
    return uuid5(meter_id, "stored:%d:%s" % (kind, ":".join([_item(item) for item in stored])))


def row_id(meter_id: bytes, epoch: int, cls: int, sequence: int, row: int) -> bytes:
    """The id of what the meter does not store (registers, present values): its place in our frames."""
    return uuid5(meter_id, "row:%d:%d:%d:%d" % (epoch, cls, sequence, row))


def frame_ids(meter_id: bytes, frame: "Frame") -> "Iterator[bytes]":
    """The ids of all rows of a frame: one for each reading and event, one for each row of a series."""
    row = 0
    for item in frame.items:
        if isinstance(item, Event):
            yield event_id(meter_id, item)
            row += 1
        elif isinstance(item, Series):
            if item.kind == LOAD_PROFILE and item.origins:
                for rows, data_set, configuration, block, first in item.origins:
                    for index in range(first, first + rows):
                        yield interval_id(meter_id, data_set, configuration, block, index)
            else:
                for place in range(row, row + len(item.times)):
                    yield row_id(meter_id, frame.epoch, frame.cls, frame.sequence, place)
            row += len(item.times)
        else:
            yield _reading_id(meter_id, frame, item, row)
            row += 1


def _reading_id(meter_id: bytes, frame: "Frame", reading: Reading, row: int) -> bytes:
    if reading.identifier is not None:
        return reading.identifier
    if reading.stored is not None:
        return stored_id(meter_id, reading.kind, reading.stored)
    return row_id(meter_id, frame.epoch, frame.cls, frame.sequence, row)


def _item(item: "int | bytes") -> str:
    return "%d" % item if isinstance(item, int) else "x" + str(binascii.hexlify(item), "ascii")
