"""Every worked exchange of the MEP guide comes out of the virtual meter byte for byte."""

import json
from pathlib import Path

import pytest

from gateway.simulator.image import et
from gateway.simulator.meter import VirtualMeter

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "mep_rc4.json").read_text())
EXCHANGES = {exchange["name"]: exchange for exchange in VECTORS["exchanges"]}


def bytes_of(name: str, side: str, part: str) -> bytes:
    return bytes.fromhex(EXCHANGES[name][side][part])


def answered(name: str) -> bytes:
    """The table data in a response of the vectors."""
    return bytes_of(name, "response", "message")[3:]


@pytest.fixture
def meter() -> VirtualMeter:
    return VirtualMeter(bytes.fromhex(VECTORS["key"]), firmware="3.10", start_ms=1_700_000_000_000)


def expect(meter: VirtualMeter, name: str) -> None:
    """The request of the vectors, fed whole and then again byte by byte, gets the vectors' response."""
    frame, response = bytes_of(name, "request", "frame"), bytes_of(name, "response", "frame")
    assert meter.receive(frame, 0) == [response]
    assert [r for byte in frame for r in meter.receive(bytes([byte]), 0)] == [response]


def test_all_exchanges_are_covered() -> None:
    tested = {"EP17", "wrong sequence", "right sequence", "register the client", "six reads", "ET53"}
    assert all(any(word in name for word in tested) for name in EXCHANGES)


def test_wrong_then_right_sequence_number(meter: VirtualMeter) -> None:
    right = "partial read of BT23, right sequence number"
    meter.image.keep(23, answered(right))
    meter.mep.sequence = 0x77635B90
    expect(meter, "partial read of BT23, wrong sequence number")
    expect(meter, right)


def test_registering_the_client(meter: VirtualMeter) -> None:
    meter.mep.sequence = 0x77636E2F
    assert not meter.registered
    expect(meter, "register the client: partial write of one byte to ET50 offset 30")
    assert meter.registered


def test_transaction(meter: VirtualMeter) -> None:
    """The responses in ET53 are made by carrying out the six reads, not put there."""
    whole = answered("whole response of the transaction, 111 bytes of ET53")
    meter.image.keep(et(11), whole[10:20])
    meter.image.keep(20, whole[25:35])
    meter.image.keep(21, whole[40:50])
    meter.image.write(et(4), 55, whole[55:56])
    meter.image.patch(et(14), 0, whole[61:73])
    meter.image.patch(et(15), 0, whole[78:109])
    meter.mep.sequence = 0x5B4E42E6
    expect(meter, "transaction of six reads written to ET52")
    expect(meter, "first five bytes of ET53")
    expect(meter, "whole response of the transaction, 111 bytes of ET53")


def test_procedure(meter: VirtualMeter) -> None:
    meter.mep.sequence = 0x5B4E4309
    meter.image.write(et(50), 30, b"\x03")
    meter.clients.handles[0] = 0x03F8
    expect(meter, "procedure EP17 written to BT07")
    assert not meter.registered
    assert meter.image.read(et(59))[:4] == bytes.fromhex("11080700")
