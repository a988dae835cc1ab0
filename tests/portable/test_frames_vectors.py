"""The test vectors of docs/transmission-format.md, decoded and encoded on both interpreters."""

import binascii
import json
import unittest

from gateway.transmission import frames, ids
from gateway.transmission.model import Column, Event, Reading, Series, Timestamp, Value

VECTORS = __file__.rsplit("/", 2)[0] + "/vectors/frames.json"


def octets(text):
    return None if text is None else binascii.unhexlify(text)


def digits(value):
    return None if value is None else str(binascii.hexlify(value), "ascii")


def stamp(time):
    return None if time is None else [time.seconds, time.fraction, time.offset]


def told(item):
    """An item as the vectors write it; bytes in hexadecimal digits, stored bytes with an x before them."""
    if isinstance(item, Reading):
        stored = item.stored
        if stored is not None:
            stored = ["x" + digits(part) if isinstance(part, bytes) else part for part in stored]
        return {
            "form": "reading",
            "kind": item.kind,
            "time": stamp(item.time),
            "values": [[v.prop, v.mantissa, v.exponent, v.unit, v.text, stamp(v.date)] for v in item.values],
            "faults": list(item.faults),
            "stored": stored,
            "identifier": digits(item.identifier),
            "source": digits(item.source),
        }
    if isinstance(item, Series):
        return {
            "form": "series",
            "kind": item.kind,
            "times": list(item.times),
            "offset": item.offset,
            "columns": [[c.prop, c.exponent, c.unit, list(c.mantissas)] for c in item.columns],
            "faults": [list(fault) for fault in item.faults],
            "origins": [list(origin) for origin in item.origins],
        }
    return {
        "form": "event",
        "kind": item.kind,
        "time": stamp(item.time),
        "code": item.code,
        "sequence": item.sequence,
        "stamp": digits(item.stamp),
        "argument": digits(item.argument),
        "user": item.user,
        "faults": list(item.faults),
    }


def built(item):
    """The item that `told` told."""
    if item["form"] == "reading":
        stored = item["stored"]
        if stored is not None:
            stored = tuple([octets(part[1:]) if isinstance(part, str) else part for part in stored])
        values = [
            Value(prop, mantissa, exponent, unit, text, None if date is None else Timestamp(*date))
            for prop, mantissa, exponent, unit, text, date in item["values"]
        ]
        return Reading(
            item["kind"],
            Timestamp(*item["time"]),
            values,
            item["faults"],
            stored,
            octets(item["identifier"]),
            octets(item["source"]),
        )
    if item["form"] == "series":
        columns = [
            Column(prop, mantissas, exponent, unit) for prop, exponent, unit, mantissas in item["columns"]
        ]
        return Series(
            item["kind"],
            item["times"],
            columns,
            item["offset"],
            [tuple(fault) for fault in item["faults"]],
            [tuple(origin) for origin in item["origins"]],
        )
    return Event(
        item["kind"],
        Timestamp(*item["time"]),
        item["code"],
        item["sequence"],
        octets(item["stamp"]),
        octets(item["argument"]),
        item["faults"],
        item["user"],
    )


class TestVectors(unittest.TestCase):
    def setUp(self):
        with open(VECTORS) as file:
            self.vectors = json.load(file)["vectors"]

    def test_every_vector_decodes_to_its_items_and_ids(self):
        self.assertTrue(len(self.vectors) > 8)
        for vector in self.vectors:
            meter = ids.parse_uuid(vector["meter"])
            frame = frames.decode(octets(vector["frame"]), meter)
            self.assertEqual((frame.epoch, frame.sequence), (vector["epoch"], vector["sequence"]))
            self.assertEqual([told(item) for item in frame.items], vector["items"])
            found = [ids.format_uuid(identifier) for identifier in ids.frame_ids(meter, frame)]
            self.assertEqual(found[:4], vector["identifiers"])

    def test_every_vector_is_what_its_items_encode_to(self):
        for vector in self.vectors:
            items = [built(item) for item in vector["items"]]
            frame = frames.encode(ids.parse_uuid(vector["meter"]), vector["epoch"], vector["sequence"], items)
            self.assertEqual(digits(frame), vector["frame"])
