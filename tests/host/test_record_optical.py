"""A recording of the optical port never holds the password, whatever the line makes of it."""

import asyncio
import json
from pathlib import Path

import pytest

from gateway.drivers.optical.meter import OpticalMeter
from gateway.errors import GatewayError
from gateway.host import record
from gateway.host.record_optical import OpticalRecordingLink, harmless
from tests.mep_fakes import VirtualTime
from tests.optical_fakes import PASSWORD, FakePort, OpticalLink, packet_of


@pytest.fixture
def time():
    virtual = VirtualTime()
    virtual.install()
    yield virtual
    virtual.restore()


def recorded(time: VirtualTime, path: Path, change=lambda link, far: None, password: bytes = PASSWORD) -> str:
    """The recording of one read and the end of its session; `change` spoils the line beforehand."""

    async def read() -> None:
        recorder = record.Recorder(path, {"protocol": "optical"})
        link = OpticalLink(time)
        far = FakePort(time, link, {23: b"registers"})
        change(link, far)
        meter = OpticalMeter(OpticalRecordingLink(link, recorder), password)
        try:
            assert await meter.read(23, 0, 9) == b"registers"
        except GatewayError:
            assert password != PASSWORD
        finally:
            await meter.close()
            recorder.close()

    asyncio.run(read())
    return path.read_text()


def pieces(text: str, what: str) -> bytes:
    return b"".join(bytes.fromhex(line.get(what, "")) for line in map(json.loads, text.splitlines()))


def assert_no_password(text: str, password: bytes = PASSWORD) -> None:
    for what in ("sent", "received"):
        data = pieces(text, what)
        for at in range(len(password) - 3):
            assert password[at : at + 4] not in data
        # Its check would let a guess be tried.
        for control in (0, 0x20):
            assert packet_of(b"\x51" + password, control)[-2:] not in data


def test_everything_else_is_there(time: VirtualTime, tmp_path: Path):
    text = recorded(time, tmp_path / "recording")
    assert_no_password(text)
    assert b"registers" in pieces(text, "received")
    sent = pieces(text, "sent")
    assert packet_of(b"\x20") in sent
    assert b"\x00\x15\x51" + bytes(22) in sent
    record.load(tmp_path / "recording")


def test_what_was_answered_to_the_password_is_there(time: VirtualTime, tmp_path: Path):
    wrong = b"another password 20c"
    text = recorded(time, tmp_path / "recording", password=wrong)
    assert_no_password(text, wrong)
    assert packet_of(b"\3", 0x20)[:7] in pieces(text, "received")


def test_a_password_sent_again_is_blank_too(time: VirtualTime, tmp_path: Path):
    def lose(link: OpticalLink, far: FakePort) -> None:
        lost: list[bytes] = []

        def hear(data: bytes) -> bytes | None:
            if data[6:7] == b"\x51" and len(lost) < 2:
                lost.append(data)
                return None
            return data

        far.hear = hear

    text = recorded(time, tmp_path / "recording", lose)
    assert_no_password(text)
    assert pieces(text, "sent").count(b"\x00\x15\x51") == 3


@pytest.mark.parametrize("spoil", [None, 10, 27], ids=["true", "in the middle", "at the end"])
def test_nor_is_it_in_what_an_optical_head_hears_of_itself(time: VirtualTime, tmp_path: Path, spoil):
    def echo(link: OpticalLink, far: FakePort) -> None:
        serve = link.on_write

        def written(data: bytes) -> None:
            heard = bytearray(data)
            if spoil and len(heard) > spoil:
                heard[spoil] ^= 0x10
            for at in range(0, len(heard), 7):
                link.feed(bytes(heard[at : at + 7]))
            serve(data)

        link.on_write = written

    text = recorded(time, tmp_path / "recording", echo)
    assert_no_password(text)


def test_what_may_be_a_password_is_blank():
    echo = packet_of(b"\x51" + PASSWORD)
    answer = packet_of(b"\0", 0x20)
    assert harmless(b"\x06" + answer) == b"\x06" + answer
    assert harmless(echo + b"\x06" + answer + b"\x15") == bytes(len(echo) + 1) + answer + b"\x15"
    for at in range(len(echo)):
        assert harmless(echo[at:] + b"\x06").lstrip(b"\x15") == bytes(len(echo[at:].lstrip(b"\x15")) + 1)
