"""`osgp-gateway outbox`: looks without touching, and gives frames out or sends them."""

import asyncio
import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.core.files import Files
from gateway.core.log_outbox import LogOutbox
from gateway.errors import ConfigurationError, OutboxError
from gateway.host import broker_link, outbox_command, outbox_dir
from gateway.transmission import envelope
from tests.interpreter import ROOT, micropython
from tests.memory_broker import MemoryBroker

METER = b"meter-number-one"
A_METER = '[[meter]]\nname = "m"\nport = "/dev/null"\nkey_file = "key"\n'
METER_ID = "6d657465-722d-6e75-6d62-65722d6f6e65"
EVENTS, PROFILE, REGISTERS, PRESENT = range(4)
BOARD = """
import asyncio, sys
sys.path[:0] = [sys.argv[1]]
from gateway.core.files import Files
from gateway.core.log_outbox import LogOutbox
box = LogOutbox(Files(sys.argv[2]), 1 << 20, lambda level, text: None, 4096)
for i in range(300):
    box.append(b"meter-number-one", i % 4, lambda epoch, sequence: b"frame %d of %d" % (sequence, i % 4))
box.forget(b"meter-number-one", 1, box.epoch, 0, 29)
box.set_note(b"cursor/load-profile/meter-number-one", b"75")
asyncio.run(box.sync())
box.append(b"meter-number-one", 0, lambda epoch, sequence: b"lost with the power")
"""


def opened(directory: Path) -> LogOutbox:
    return LogOutbox(Files(str(directory)), 1 << 20, lambda level, text: None, 4096)


def state(directory: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in directory.iterdir()}


def from_a_board(directory: Path) -> Path:
    command = [micropython(), "-X", "heapsize=2M", "-c", BOARD, ROOT, directory]
    # With -c there are no arguments, so the program comes as a file.
    program = directory.parent / "board.py"
    program.write_text(BOARD)
    command[3:5] = [program]
    subprocess.run(list(map(str, command)), check=True, cwd=ROOT)
    return directory


@pytest.fixture
def box(tmp_path: Path) -> Path:
    directory = tmp_path / "box"
    directory.mkdir()
    return from_a_board(directory)


def test_a_log_written_on_a_board_is_shown_on_linux_and_left_as_it_is(
    box: Path, capsys: pytest.CaptureFixture[str]
):
    before = state(box)
    result = subprocess.run(
        [sys.executable, "-m", "gateway.host.cli", "outbox", "show", str(box), "--json"],
        capture_output=True,
        check=True,
        cwd=ROOT,
    )
    found = json.loads(result.stdout)
    outbox_command.show(box, as_json=False)
    assert METER_ID[:13] in capsys.readouterr().out
    assert state(box) == before
    (meter,) = found["meters"]
    assert meter["meterId"] == METER_ID
    assert meter["classes"]["profile"] == {"pending": 45, "receipted": 30, "epochs": 1}
    assert meter["classes"]["present"] == {"pending": 75, "receipted": 0, "epochs": 1}
    assert sum(one["frames"] for one in found["files"]) == 300
    assert f"cursor/load-profile/{METER_ID}" in found["notes"]
    assert found["problems"] == []


def test_pending_frames_are_given_out_as_decode_reads_them(box: Path, tmp_path: Path):
    before = state(box)
    assert outbox_command.write_out(box, tmp_path / "out") == 270
    frames = list(envelope.unwrap((tmp_path / "out").read_bytes()))
    assert (METER, b"frame 30 of 1") in frames
    assert (METER, b"frame 29 of 1") not in frames
    assert len(set(frames)) == 270
    assert state(box) == before


def test_showing_does_not_disturb_the_one_who_writes(tmp_path: Path):
    directory = tmp_path / "box"
    directory.mkdir()
    box = LogOutbox(Files(str(directory)), 96 * 1024, lambda level, text: None, 4096)
    for i in range(60):
        for cls in (PROFILE, PRESENT):
            try:
                box.append(METER, cls, lambda epoch, sequence: bytes(400))
            except OutboxError:
                box.forget(METER, PROFILE, box.epoch, 0, 10000)
        asyncio.run(box.sync())
        if i % 5 == 0:
            assert outbox_command.inspect(directory)["problems"] == []
    box.close()
    count = sum(one["frames"] for one in outbox_command.inspect(directory)["files"])
    again = opened(directory)
    assert (
        sum(len(list(range(r.first, r.last + 1))) for s in again._streams.values() for r in s.runs()) == count
    )


def test_wrong_usage_is_told(tmp_path: Path):
    for directory, file in (
        (None, None),
        (tmp_path, tmp_path),
        (tmp_path / "nowhere", None),
        (tmp_path, None),
    ):
        with pytest.raises(ConfigurationError):
            outbox_command.place(directory, file)
    with pytest.raises(ConfigurationError):
        outbox_command.replay(tmp_path, None, None, 1)


def at_a_broker(directory: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[MemoryBroker, Path]:
    """The broker, and a configuration that names it."""
    broker = MemoryBroker()
    monkeypatch.setattr(broker_link, "broker", lambda section, name: broker)
    (directory / "key").write_text("0123456789abcdef0123")
    (directory / "key").chmod(0o600)
    file = directory / "gateway.toml"
    file.write_text('[gateway]\nid = "g"\n[broker]\nurl = "mqtt://127.0.0.1"\ncustody = "broker"\n' + A_METER)
    return broker, file


def test_pending_frames_are_sent_and_the_receipts_noted(
    box: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    broker, file = at_a_broker(tmp_path, monkeypatch)
    outbox_command.replay(box, file, None, 20)
    sent = {payload for topic, payload, _ in broker.published if topic.endswith("/compact")}
    assert len(sent) == 270
    (meter,) = outbox_command.inspect(box)["meters"]
    assert all(one["pending"] == 0 for one in meter["classes"].values())
    # Nothing is sent a second time.
    broker.published.clear()
    outbox_command.replay(box, file, None, 20)
    assert broker.published == []


def test_frames_without_a_receipt_stay(box: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    broker, file = at_a_broker(tmp_path, monkeypatch)
    broker.mute = True
    with pytest.raises(OutboxError, match="270 of 270"):
        outbox_command.replay(box, file, None, 1)
    assert sum(one["pending"] for one in outbox_command.inspect(box)["files"]) == 270


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, 1), (errno.EROFS, 1), (errno.EACCES, 2)])
def test_a_disk_that_is_full_now_is_no_wrong_configuration(
    number: int, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """systemd starts a service again after exit code 1, and never after 2."""
    directory = tmp_path / "box"

    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("gateway.host.outbox_dir.os.open", refuse)
    with (
        pytest.raises(ConfigurationError, match=os.strerror(number)) as caught,
        outbox_dir.opened(directory, 1 << 20),
    ):
        pass
    assert caught.value.exit_code == code


def test_one_process_has_an_outbox_and_needs_no_room_to_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("gateway.host.outbox_dir.os.pwrite", full)
    with outbox_dir.opened(tmp_path / "box", 1 << 20):
        with (
            pytest.raises(ConfigurationError, match="in use by") as caught,
            outbox_dir.opened(tmp_path / "box", 1 << 20),
        ):
            pass
        assert caught.value.exit_code == 1
