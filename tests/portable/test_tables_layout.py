"""The layout engine: offsets of the guide, firmware's overlays, merged reads, and sizes that can't be."""

import unittest

from gateway.c1219.layout import Layout
from gateway.c1219.layouts.clocks import BT53, BT55
from gateway.c1219.layouts.extended import ET11, ET55
from gateway.c1219.layouts.general import BT00, BT15, ET03, ET04
from gateway.c1219.types import BYTES, I16, TEXT, U8, U16, U24, U32
from gateway.errors import TableError
from tests.fake_meter import put

OLD, GEN4, LATEST = {"firmware": 0x3155}, {"firmware": 0x4000}, {"firmware": 0x43C0}


class TestOffsetsOfTheGuide(unittest.TestCase):
    def check(self, layout, dims, offsets):
        for name in offsets:
            self.assertEqual(layout.reads(dims, 0, (name,)), [offsets[name]])

    def test_et04(self):
        self.check(ET04, {}, {
            "transceiver_id": (4, 6), "rated_frequency": (13, 1), "program_id": (14, 8),
            "self_identification": (22, 30), "registration_current": (56, 2), "maximum_current": (58, 2),
            "rated_voltage": (60, 2), "phases": (62, 1), "dst_off_delta": (63, 2), "self_read_hour": (65, 1),
            "phase_rotation": (73, 1), "broadcast_receipt": (76, 6), "idt_version": (116, 1),
        })  # fmt: skip

    def test_et03_bt15_bt53_bt55_bt00(self):
        self.check(ET03, {}, {"utility_serial": (0, 30), "image_crc": (137, 2)})
        self.check(BT15, {}, {"flags": (8, 1), "ct_ratio": (9, 4), "vt_ratio": (13, 4)})
        self.check(BT53, {}, {"dst_adjustment": (3, 1), "zone_offset": (4, 2)})
        self.check(BT55, {}, {"state": (6, 1), "tariff": (7, 2)})
        self.check(
            BT00, {}, {"manufacturer": (3, 4), "basic_tables_length": (13, 1), "pending_tables": (18, 1)}
        )

    def test_et11_grows_with_the_firmware(self):
        self.check(ET11, OLD, {
            "devices": (0, 1), "data_entry_size": (5, 2), "transaction_request_length": (7, 2),
            "transaction_response_length": (9, 2), "config_entry_2_size": (13, 1), "group_ids": (18, 1),
            "data_sources": (22, 1), "et57_entries": (25, 1), "ram_request_length": (28, 2),
        })  # fmt: skip
        self.assertEqual(ET11.size(OLD), 32)
        self.assertEqual(ET11.size(GEN4), 38)
        self.check(ET11, LATEST, {"mep_channels": (34, 1), "caution_screens": (38, 1)})

    def test_et55_follows_generation_and_tiers(self):
        for firmware, first in ((OLD, 146), (GEN4, 147)):
            for tiers in (4, 8):
                dims = dict(firmware)
                dims["step_thresholds"] = tiers - 1
                a = first + 4 * (tiers - 1)
                self.check(ET55, dims, {"step_source": (a, 1), "energy_unit": (a + 39, 1)})

    def test_et11_lengths_that_occur(self):
        for length in (768, 769, 896, 1250):
            data = bytearray(39)
            put(data, 7, length, 2)
            for dims in (OLD, GEN4, LATEST):
                self.assertEqual(ET11.decode(data, dims)["transaction_request_length"], length)
        self.assertFalse("mep_channels" in ET11.decode(data, OLD))

    def test_bit_fields(self):
        found = BT55.decode(bytes((24, 7, 1, 14, 30, 0, 0x2D, 0x85, 0x3A)), {})
        self.assertEqual((found["weekday"], found["dst"], found["gmt"], found["zone_applied"]), (5, 1, 0, 1))
        self.assertEqual(
            (found["tier"], found["tier_drive"], found["special_schedule"], found["season"]), (5, 2, 10, 3)
        )
        self.assertEqual(found["clock"], bytes((24, 7, 1, 14, 30, 0)))


PAIR = (("a", U8), ("b", U24))
SAMPLE = Layout(
    2050,
    (
        ("head", U16),
        ("", BYTES, 10),
        ("text", TEXT, "length"),
        ("pairs", PAIR, "pairs"),
        ("extra", I16, None, "has_extra"),
        ("tail", U32, 3),
    ),
)
DIMS = {"length": 4, "pairs": 3, "has_extra": 0}


class TestEngine(unittest.TestCase):
    def test_decode(self):
        data = b"\x34\x12" + bytes(10) + b"AB\0C" + b"\x01\x02\x03\x04" * 3 + b"\xfe\xff" + bytes(12)
        found = SAMPLE.decode(data, {"length": 4, "pairs": 3, "has_extra": 1})
        self.assertEqual(
            found,
            {
                "head": 0x1234,
                "text": "AB",
                "pairs": [{"a": 1, "b": 0x040302}] * 3,
                "extra": -2,
                "tail": [0, 0, 0],
            },
        )
        self.assertEqual(SAMPLE.decode(data, DIMS, ("head",)), {"head": 0x1234})
        self.assertFalse("extra" in SAMPLE.decode(data, DIMS))
        self.assertEqual(SAMPLE.decode(data, {"length": 0, "pairs": 0, "has_extra": 0})["pairs"], [])

    def test_one_byte_less_is_too_short(self):
        size = SAMPLE.size(DIMS)
        self.assertEqual(size, 2 + 10 + 4 + 12 + 12)
        SAMPLE.decode(bytes(size), DIMS)
        for length in range(size):
            with self.assertRaises(TableError):
                SAMPLE.decode(bytes(length), DIMS)

    def test_neighbours_share_a_read(self):
        self.assertEqual(SAMPLE.reads(DIMS, 465), [(0, 2), (12, 28)])
        self.assertEqual(SAMPLE.reads(DIMS, 465, (), 10), [(0, 40)])
        self.assertEqual(SAMPLE.reads(DIMS, 465, ("head", "tail"), 25), [(0, 2), (28, 12)])
        self.assertEqual(SAMPLE.reads(DIMS, 465, ("head", "tail"), 26), [(0, 40)])
        self.assertEqual(SAMPLE.reads(DIMS, 0, ("pairs",)), [(16, 12)])

    def test_records_stay_whole(self):
        self.assertEqual(SAMPLE.reads(DIMS, 10, ("pairs",)), [(16, 8), (24, 4)])
        # Records longer than a read are cut between their values, values never.
        self.assertEqual(SAMPLE.reads(DIMS, 3, ("pairs",))[:3], [(16, 1), (17, 3), (20, 1)])

    def test_sizes_that_no_table_has(self):
        for wrong in ({"length": 9000}, {"pairs": 3000}, {"pairs": 1 << 40}, {"length": -1}):
            dims = dict(DIMS)
            dims.update(wrong)
            for use in (SAMPLE.size, lambda d: SAMPLE.reads(d, 465), lambda d: SAMPLE.decode(bytes(64), d)):
                with self.assertRaises(TableError):
                    use(dims)

    def test_a_dimension_that_is_not_known(self):
        with self.assertRaises(TableError):
            SAMPLE.decode(bytes(64), {"length": 4})
