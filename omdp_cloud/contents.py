"""What a reading says, as bytes that can be compared: equal readings give equal hashes."""

import hashlib

import msgpack

from gateway.transmission.model import Reading, Timestamp

_pack = msgpack.Packer().pack


def content_hash(reading: Reading) -> bytes:
    """SHA-256 over everything the reading says: the same id with another hash is a revision."""
    values = [
        [
            value.prop,
            value.mantissa,
            value.exponent,
            value.unit,
            value.text,
            None if value.date is None else _instant(value.date),
        ]
        for value in reading.values
    ]
    packed: bytes = _pack([reading.kind, _instant(reading.time), list(reading.faults), values])
    return hashlib.sha256(packed).digest()


def _instant(time: Timestamp) -> list[int | str | None]:
    return [time.seconds, time.fraction, time.offset]
