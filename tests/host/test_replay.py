"""Recordings of link traffic and what can be done with them."""

import json
import stat
from pathlib import Path

import pytest

from gateway import clock
from gateway.drivers.mep.meter import MepMeter
from gateway.errors import AuthenticationError, ConfigurationError, NoAnswer, Refused
from gateway.host import record, replay
from gateway.host.links import Port
from gateway.host.record import Recorder, RecordingLink
from gateway.simulator.listen import serve_pty, serve_tcp
from gateway.simulator.meter import VirtualMeter

KEY = b"meter's own key."
OTHER_KEY = b"tester's own key"
ABOUT = {"port": "tcp://127.0.0.1:1", "baud": 9600, "protocol": "mep", "security": "digest"}

BT00, BT01, BT52, ABSENT = 0, 1, 52, 2047


@pytest.fixture(autouse=True)
def hurry():
    """The guide's time-outs, twenty times as fast."""
    clock.set_scale(20)
    yield
    clock.set_scale(1)


async def read_some(meter: MepMeter) -> list[bytes | int]:
    said: list[bytes | int] = []
    for table, offset, count in ((BT01, 0, 10), (BT00, 0, 19), (BT52, 0, 7), (BT01, 0, 10)):
        said.append(await meter.read(table, offset, count))
    try:
        await meter.read(ABSENT, 0, 4)
    except Refused as refusal:
        said.append(refusal.code)
    return said


@pytest.fixture
async def recorded(tmp_path: Path):
    """A recording of the virtual meter's traffic, and what was read."""
    path = tmp_path / "line.jsonl"
    recorder = Recorder(path, ABOUT)
    async with serve_tcp(VirtualMeter(KEY, None)) as port:
        link = RecordingLink(await Port(host="127.0.0.1", number=port).open(), recorder)
        meter = MepMeter(link, KEY)
        said = await read_some(meter)
        await meter.close()
    recorder.close()
    return path, said


async def test_a_driver_reads_the_same_from_the_recording_with_another_key(recorded):
    path, said = recorded
    player = replay.Player(record.load(path), OTHER_KEY)
    meter = MepMeter(replay.PlayerLink(player), OTHER_KEY)
    assert await read_some(meter) == said
    assert player.unknown == []
    await meter.close()


async def test_over_tcp_too_and_for_one_client_after_the_other(recorded):
    path, said = recorded
    channel = replay.PlayerChannel(replay.Player(record.load(path), OTHER_KEY), 9600, True)
    async with serve_tcp(channel) as number:
        for _ in range(2):
            link = await Port(host="127.0.0.1", number=number).open()
            meter = MepMeter(link, OTHER_KEY)
            assert await read_some(meter) == said
            await meter.close()


async def test_over_a_pseudo_terminal_at_the_recorded_pace(recorded):
    path, said = recorded
    channel = replay.PlayerChannel(replay.Player(record.load(path), OTHER_KEY), 9600, False)
    async with serve_pty(channel) as terminal:
        meter = MepMeter(await Port(path=terminal).open(), OTHER_KEY)
        assert await read_some(meter) == said
        await meter.close()


async def test_another_key_than_the_players_is_refused(recorded):
    player = replay.Player(record.load(recorded[0]), OTHER_KEY)
    meter = MepMeter(replay.PlayerLink(player), KEY)
    with pytest.raises(AuthenticationError):
        await meter.read(BT01, 0, 10)
    await meter.close()


async def test_what_was_not_asked_is_refused_and_noted(recorded):
    player = replay.Player(record.load(recorded[0]), OTHER_KEY)
    meter = MepMeter(replay.PlayerLink(player), OTHER_KEY)
    with pytest.raises(Refused) as caught:
        await meter.read(BT52, 0, 3)
    assert caught.value.code == 4
    assert player.unknown == ["reading 3 bytes of BT52 from offset 0"]
    await meter.close()


async def test_the_recording_is_private_and_holds_no_key(recorded):
    path, _ = recorded
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text()
    assert KEY.decode() not in text and KEY.hex() not in text
    lines = [json.loads(line) for line in text.splitlines()]
    assert lines[0]["recording"] == "osgp-gateway link" and lines[0]["security"] == "digest"
    assert lines[1]["event"] == "opened" and lines[-1]["event"] == "closed"
    assert [line["ms"] for line in lines[1:]] == sorted(line["ms"] for line in lines[1:])


async def test_the_transcript_tells_what_was_asked_and_answered(recorded):
    path, said = recorded
    text = "\n".join(replay.transcript(record.load(path)))
    assert "security digest" in text
    assert "-> reading 10 bytes of BT01 from offset 0, sequence number " in text
    assert f"<- 00, 10 bytes: {said[0].hex(' ')}" in text
    assert "<- 0C, the meter's sequence number is " in text
    assert "-- opened" in text and "-- closed" in text


def recording(tmp_path: Path, *lines: dict[str, object], **about: object) -> Path:
    path = tmp_path / "made.jsonl"
    head = {"recording": record.FORMAT, "version": 1, **ABOUT, **about}
    path.write_text("".join(json.dumps(line) + "\n" for line in (head, *lines)))
    return path


# Reads BT01 (4 bytes from 0) with sequence number 7; a digest that no key made.
REQUEST = "0014" + "3f" + "0001" + "000000" + "0004" + "00000007" + "1122334455667788"
ANSWER = "000f" + "00" + "0004" + "4e455320" + "8877665544332211"


async def test_noise_silence_and_0b_are_played_as_they_were(tmp_path: Path):
    path = recording(
        tmp_path,
        {"ms": 0, "sent": REQUEST},
        {"ms": 5, "received": "ffff01"},
        {"ms": 1000, "sent": REQUEST},
        {"ms": 2000, "sent": REQUEST},
        {"ms": 2010, "received": "0001" + "0b"},
        {"ms": 3000, "sent": REQUEST},
        {"ms": 3010, "received": "0000" + ANSWER[:10]},
        {"ms": 3020, "received": ANSWER[10:]},
    )
    meter = MepMeter(replay.PlayerLink(replay.Player(record.load(path), OTHER_KEY)), OTHER_KEY)
    alerts: list[int] = []
    meter.on_alert = lambda: alerts.append(1)
    assert await meter.read(BT01, 0, 4) == b"NES "
    assert alerts
    await meter.close()


async def test_silence_alone_stays_silence(tmp_path: Path):
    path = recording(tmp_path, {"ms": 0, "sent": REQUEST})
    meter = MepMeter(replay.PlayerLink(replay.Player(record.load(path), OTHER_KEY)), OTHER_KEY)
    with pytest.raises(NoAnswer):
        await meter.read(BT01, 0, 4)
    await meter.close()


def test_the_transcript_of_a_broken_line(tmp_path: Path):
    path = recording(
        tmp_path,
        {"ms": 0, "event": "opened"},
        {"ms": 1, "received": "aa"},
        {"ms": 10, "sent": REQUEST},
        {"ms": 15, "received": "ffff01"},
        {"ms": 20, "received": "0000"},
        {"ms": 1000, "sent": REQUEST},
        {"ms": 1015, "received": "000d" + "05" + "00000000" + "8877665544332211"},
        {"ms": 1400, "received": "0001" + "0b"},
        {"ms": 2000, "sent": "0003aabbcc"},
        {"ms": 2010, "received": "0002" + "ddee"},
        {"ms": 3000, "event": "lost: the adapter was pulled"},
    )
    assert replay.transcript(record.load(path))[1:] == [
        "     0.000  -- opened",
        "     0.001  <- unasked: aa",
        "     0.010  -> reading 4 bytes of BT01 from offset 0, sequence number 7",
        "     0.020  <- no MEP frame: ff ff 01 00 00",
        "     1.000  -> reading 4 bytes of BT01 from offset 0, sequence number 7",
        replay.transcript(record.load(path))[6],
        "     1.400  <- 0B, the meter refuses the key",
        "     2.000  -> 5 bytes, encrypted or no MEP request: 00 03 aa bb cc",
        "     2.010  <- 2 bytes: dd ee",
        "     3.000  -- lost: the adapter was pulled",
    ]
    assert "answered 05" in replay.transcript(record.load(path))[6]


def test_encrypted_and_foreign_recordings_are_not_played(tmp_path: Path):
    for about, reason in (({"security": "rc4"}, "encrypted"), ({"protocol": "optical"}, "optical")):
        path = recording(tmp_path, {"ms": 0, "sent": REQUEST}, **about)
        with pytest.raises(ConfigurationError, match=reason):
            replay.Player(record.load(path), OTHER_KEY)
    with pytest.raises(ConfigurationError, match="no request"):
        replay.Player(record.load(recording(tmp_path)), OTHER_KEY)


def test_a_torn_last_line_is_left_out(tmp_path: Path):
    path = recording(tmp_path, {"ms": 0, "sent": REQUEST})
    with path.open("a") as file:
        file.write('{"ms": 5, "rece')
    assert len(record.load(path).entries) == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("nonsense\n", ":1: is no JSON object"),
        ("[" * 100_000 + "\n", ":1: is no JSON object"),
        ('{"x": 1}\n', "is no recording"),
        ('{"recording": "osgp-gateway link", "version": 2}\n', "version 2"),
        ('{"recording": "osgp-gateway link", "version": 1}\n{"ms": 1, "sent": "xx"}\n', ":2: sent is no hex"),
        ('{"recording": "osgp-gateway link", "version": 1}\n{"ms": -1, "sent": ""}\n', ":2: needs ms"),
        ('{"recording": "osgp-gateway link", "version": 1}\n{"ms": 1}\n', ":2: needs ms"),
    ],
)
def test_what_is_no_recording(tmp_path: Path, text: str, reason: str):
    path = tmp_path / "broken"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=reason):
        record.load(path)


def test_an_older_recording_is_not_overwritten(tmp_path: Path):
    path = tmp_path / "line.jsonl"
    Recorder(path, ABOUT).close()
    with pytest.raises(ConfigurationError, match="exists already"):
        Recorder(path, ABOUT)
    with pytest.raises(ConfigurationError, match="can't write"):
        Recorder(tmp_path / "absent" / "line.jsonl", ABOUT)


async def test_a_full_disk_ends_the_recording_not_the_reading(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    recorder = Recorder(tmp_path / "line.jsonl", ABOUT)
    recorder._file.close()
    recorder._file = Path("/dev/full").open("w")  # noqa: SIM115, ASYNC230
    async with serve_tcp(VirtualMeter(KEY, None)) as port:
        link = RecordingLink(await Port(host="127.0.0.1", number=port).open(), recorder)
        meter = MepMeter(link, KEY)
        assert await meter.read(BT01, 0, 4) == b"ELON"
        await meter.close()
    assert "No space left" in recorder.failure
    assert [entry.getMessage() for entry in caplog.records] == [recorder.failure]
    recorder.close()
