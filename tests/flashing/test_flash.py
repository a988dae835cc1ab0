"""A board is flashed through esptool into a mock of its boot loader; each reason to refuse has its words."""

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import serial
from esp32_mock_bootloader import protocol
from flashing import image, ports
from flashing.application import Application
from flashing.board import Board
from flashing.errors import FlashError, NoBoard
from flashing.job import Job
from flashing.show import Show
from rich.console import Console

from gateway.errors import ConfigurationError
from tests.esp_firmware import WITH_ROMFS, firmware
from tests.flashing.conftest import CREDENTIAL, METER_KEY, WIFI_PASSWORD
from tests.interpreter import ROOT, micropython
from tests.mock_board import MockBoard, mock_board

FILE_SYSTEM = 0x200000


class Desk:
    """Someone who flashes: what is asked for, and what the tool says."""

    def __init__(self, configuration: Path | None, firmware_file: Path, application: Application) -> None:
        self._said = io.StringIO()
        self._configuration = configuration
        self._firmware_file = firmware_file
        self._application = application

    @property
    def said(self) -> str:
        return self._said.getvalue()

    def flash(self, board: MockBoard, name: str = "dabbler", **options: bool) -> None:
        show = Show(Console(file=self._said, width=200))
        job = Job(name, self._configuration, None, self._firmware_file, show, build=lambda: self._application)
        job.flash(board.port, 460800, **options)


@pytest.fixture(scope="module")
def flashed(
    configuration: Path, firmware_file: Path, small: Application
) -> Iterator[tuple[MockBoard, Desk, bytes]]:
    """A board, who has flashed it, and the bytes of its file system."""
    with mock_board() as board:
        desk = Desk(configuration, firmware_file, small)
        desk.flash(board)
        yield board, desk, bytes(board.data[FILE_SYSTEM:])


@pytest.fixture
def desk(configuration: Path, firmware_file: Path, small: Application) -> Desk:
    return Desk(configuration, firmware_file, small)


@pytest.fixture
def board() -> Iterator[MockBoard]:
    with mock_board() as board:
        yield board


def is_blank(board: MockBoard) -> bool:
    return not board.data.strip(b"\xff")


def test_the_flash_holds_firmware_application_and_configuration(
    flashed: tuple[MockBoard, Desk, bytes], firmware_file: Path, authority
) -> None:
    board, _, content = flashed
    data = firmware_file.read_bytes()
    assert board.data[0x1000 : 0x1000 + len(data)] == data
    files = image.read(content)
    settings = json.loads(files["/config/board.json"])
    assert settings["name"] == "house"
    assert settings["idle"] == "02:00-03:30"
    assert settings["schedule"] == {
        "load-profile": "auto",
        "present": 5, "registers": 900, "alarms": 3, "events": 60, "clock": 3600, "mbus": 3600,
        "self-reads": 86400,
    }  # fmt: skip
    assert settings["broker"]["host"] == "broker.example"
    assert settings["wifi"]["ssid"] == "at home"
    held = {
        "key": (settings["key_file"], METER_KEY.encode()),
        "wifi": (settings["wifi"]["password_file"], WIFI_PASSWORD.encode()),
        "credential": (settings["broker"]["credential_file"], CREDENTIAL.encode()),
        "ca": (settings["broker"]["ca_file"], authority.der),
    }
    assert {name: files["/" + file] for name, (file, _) in held.items()} == {
        name: secret for name, (_, secret) in held.items()
    }
    profile = json.loads(files["/config/profile.json"])
    assert profile["pins"]["enable"] == {"pin": 5, "active": 0}
    assert {"/boot.py", "/main.py", "/slots.mpy", "/app/a.slot", "/app/a/application.mpy"} <= set(files)


def test_micropython_mounts_it(flashed: tuple[MockBoard, Desk, bytes], tmp_path: Path) -> None:
    """And finds room to write, as an outbox does."""
    file = tmp_path / "board.img"
    file.write_bytes(flashed[2])
    program = f"""
import os, sys, vfs
class Flash:
    def __init__(self, name):
        self.file = open(name, "r+b")
    def readblocks(self, block, buffer, offset=0):
        self.file.seek(block * 4096 + offset)
        self.file.readinto(buffer)
    def writeblocks(self, block, buffer, offset=0):
        self.file.seek(block * 4096 + offset)
        self.file.write(buffer)
    def ioctl(self, operation, argument):
        if operation == 4:
            return {len(flashed[2]) // 4096}
        return 4096 if operation == 5 else 0
vfs.mount(Flash({str(file)!r}), "/flash")
with open("/flash/outbox/1", "w") as out:
    out.write("x" * 100000)
print(len(open("/flash/outbox/1").read()), sorted(os.listdir("/flash/config")))
print(open("/flash/config/board.json").read())
"""
    script = tmp_path / "mount.py"
    script.write_text(program)
    done = subprocess.run([micropython(), script], capture_output=True, text=True, timeout=60)
    assert not done.stderr
    size, *rest = done.stdout.split(" ", 1)
    assert size == "100000"
    assert "'profile.json'" in rest[0]
    assert "broker.example" in rest[0]


def test_it_says_what_was_done_and_what_comes_next_and_no_secret(
    flashed: tuple[MockBoard, Desk, bytes],
) -> None:
    said = flashed[1].said
    assert "MicroPython 1.29.0" in said
    assert "the meter is on UART 2, RX GPIO 16, TX GPIO 17" in said
    assert "it joins 'at home'" in said
    assert "broker.example:8883" in said
    assert said.index("no ROMFS partition") < said.index("Writing")
    for word in (METER_KEY, WIFI_PASSWORD, CREDENTIAL):
        assert word not in said


def test_a_board_that_has_readings_is_not_written_over(
    flashed: tuple[MockBoard, Desk, bytes], desk: Desk
) -> None:
    board, _, content = flashed
    with pytest.raises(ConfigurationError, match="has a file system already.*backup"):
        desk.flash(board)
    assert bytes(board.data[FILE_SYSTEM:]) == content


def test_a_dry_run_writes_nothing(board: MockBoard, desk: Desk) -> None:
    desk.flash(board, dry_run=True)
    assert "nothing was written" in desk.said
    assert is_blank(board)


def test_with_erase_nothing_of_a_former_owner_is_left(board: MockBoard, desk: Desk) -> None:
    board.data[FILE_SYSTEM + 8 : FILE_SYSTEM + 16] = b"littlefs"
    board.data[0x3FF000:0x3FF010] = b"his secret key.."
    desk.flash(board, erase=True)
    assert b"his secret key.." not in board.data


def test_with_nothing_but_the_chips_own_loader(board: MockBoard, desk: Desk) -> None:
    board.data[0x3FF000:0x3FF010] = b"his secret key.."
    desk.flash(board, stub=False)
    assert "/config/board.json" in image.read(bytes(board.data[FILE_SYSTEM:]))
    assert b"his secret key.." not in board.data


def test_flash_that_does_not_keep_what_is_written(board: MockBoard, desk: Desk) -> None:
    board.unwritable = FILE_SYSTEM + 100
    with pytest.raises(FlashError, match=r"(?s)the file system failed.*half written.*same command again"):
        desk.flash(board)


def test_the_wrong_chip(desk: Desk) -> None:
    with mock_board("esp32c3") as board:
        with pytest.raises(ConfigurationError, match=r"has an esp32c3, and dabbler .*--board"):
            desk.flash(board)
        assert is_blank(board)


def test_too_small_a_flash(board: MockBoard, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "MOCK_FLASH_ID", 0x00154020)  # 2 MB
    with pytest.raises(ConfigurationError, match="has 2 MB of flash, and 4 MB are needed"):
        desk.flash(board)
    assert is_blank(board)


def test_a_configuration_that_check_refuses(
    board: MockBoard, configuration: Path, firmware_file: Path, small: Application
) -> None:
    wrong = configuration.with_name("wrong.toml")
    wrong.write_text(configuration.read_text().replace('security = "tls"', 'security = "secret"'))
    for file in (firmware_file, wrong):  # and before a firmware file is looked at
        with pytest.raises(ConfigurationError, match=r"wrong\.toml:\d+: meter 1\.security:"):
            Desk(wrong, file, small).flash(board)
    assert is_blank(board)


def test_a_board_that_does_not_answer(desk: Desk) -> None:
    master, slave = os.openpty()
    silent = MockBoard()
    silent.port = os.ttyname(slave)
    try:
        with pytest.raises(NoBoard, match=r"no ESP32 answers.*Hold BOOT"):
            desk.flash(silent)
    finally:
        os.close(master)
        os.close(slave)


def test_a_port_in_use(board: MockBoard, desk: Desk) -> None:
    with (
        serial.Serial(board.port, exclusive=True),
        pytest.raises(NoBoard, match="another program has this port open"),
    ):
        desk.flash(board)


def test_a_port_without_rights(tmp_path: Path) -> None:
    """Opened by somebody who is not the owner, as these tests may run as root."""
    master, slave = os.openpty()
    name = os.ttyname(slave)
    program = (
        "import os, sys; sys.path[:0] = sys.argv[2:]; from flashing import ports\n"
        "if os.getuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "ports.open_port(sys.argv[1], 115200)"
    )
    try:
        os.chmod(name, 0)
        done = subprocess.run(
            [sys.executable, "-c", program, name, str(ROOT / "tools"), str(ROOT)],
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
    finally:
        os.close(master)
        os.close(slave)
    assert "you may not open this port" in done.stderr
    assert "usermod -aG" in done.stderr


def test_a_port_that_is_not_there() -> None:
    with pytest.raises(NoBoard, match="there is no such port"):
        ports.open_port("/dev/ttyNOWHERE", 115200)


class _Port:
    def __init__(self, device: str, vid: int | None) -> None:
        self.device, self.vid, self.description = device, vid, "a serial port"


def test_the_one_board_is_found_and_several_are_asked_about() -> None:
    known = [_Port("/dev/ttyS0", None), _Port("/dev/ttyUSB7", 0x10C4)]
    assert ports.find(None, known) == "/dev/ttyUSB7"
    with pytest.raises(ConfigurationError, match=r"(?s)say which.*ttyUSB7.*ttyACM0"):
        ports.find(None, [*known, _Port("/dev/ttyACM0", 0x303A)])
    with pytest.raises(NoBoard, match="Plug it in"):
        ports.find(None, known[:1])


def test_an_image_that_runs_in_place(
    board: MockBoard, configuration: Path, tmp_path: Path, small: Application
) -> None:
    """Where the firmware has a ROMFS partition the application goes there, its record to the file system."""
    file = tmp_path / "firmware.bin"
    file.write_bytes(firmware(partitions=WITH_ROMFS))
    desk = Desk(configuration, file, small)
    desk.flash(board)
    assert "warning" not in desk.said
    assert board.data[0x1E0000 : 0x1E0000 + len(small.image)] == small.image
    files = image.read(bytes(board.data[0x2E0000:]))
    record = json.loads(files["/app/a.slot"][8:])
    assert record["size"] == len(small.image)
    assert not [name for name in files if name.startswith("/app/a/")]


def test_the_command(board: MockBoard, firmware_file: Path, tmp_path: Path) -> None:
    """As a person types it, up to the first thing that is wrong."""
    command = [sys.executable, "tools/flash.py", "--board", "ustepper", "--firmware", firmware_file]
    done = subprocess.run(
        [*command, "--port", board.port], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 2
    assert re.fullmatch(
        r"flash\.py: .*: the boot loader is for an esp32, the board has an esp32c3.*\n", done.stderr
    )


def test_a_c3_and_a_stop_by_ctrl_c(
    configuration: Path, small: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The C3's boot loader lies at another place; who stops in between is told what that leaves behind."""
    file = tmp_path / "firmware.bin"
    file.write_bytes(firmware("esp32c3"))
    desk = Desk(configuration, file, small)
    with mock_board("esp32c3") as board:
        with monkeypatch.context() as patch:
            patch.setattr(Board, "erase_region", stop)
            with pytest.raises(
                FlashError, match=r"(?s)Ctrl-C.*half written.*same command again, with --erase"
            ):
                desk.flash(board, "ustepper")
        desk.flash(board, "ustepper", erase=True)
        assert "Set-up, where its settings are wrong" in desk.said  # it has no button
        assert board.data[: file.stat().st_size] == file.read_bytes()
        assert json.loads(image.read(bytes(board.data[FILE_SYSTEM:]))["/config/profile.json"])["uart"] == 1


def stop(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_frozen_application_is_not_put_there_again(
    board: MockBoard, configuration: Path, firmware_file: Path
) -> None:
    show = Show(Console(file=io.StringIO()))
    job = Job("dabbler", configuration, None, firmware_file, show, frozen=True)
    job.flash(board.port, 460800)
    files = image.read(bytes(board.data[FILE_SYSTEM:]))
    assert "/config/board.json" in files
    assert "/web/index.html.gz" in files
    assert not [name for name in files if not name.startswith(("/config/", "/web/"))]


def test_an_image_for_no_board_in_particular(configuration: Path, small: Application, tmp_path: Path) -> None:
    """Only its owner may read it; without a firmware file it is for MicroPython's own partitions."""
    said = io.StringIO()
    show = Show(Console(file=said, width=200))
    out = tmp_path / "board.img"
    Job("generic-esp32", configuration, None, None, show, build=lambda: small).write_image(out, dry_run=True)
    assert not out.exists()
    Job("generic-esp32", configuration, None, None, show, build=lambda: small).write_image(out)
    assert out.stat().st_size == 0x200000
    assert out.stat().st_mode & 0o777 == 0o600
    assert "/config/board.json" in image.read(out.read_bytes())
    assert "board.img: the file system, to be written at 0x200000" in said.getvalue()
    password = json.loads(image.read(out.read_bytes())["/config/profile.json"])["setup"]["password"]
    assert f"the access point's password is {password}" in said.getvalue()
    file = tmp_path / "firmware.bin"
    file.write_bytes(firmware(partitions=WITH_ROMFS))
    Job("generic-esp32", None, None, file, show, build=lambda: small).write_image(out)
    assert (tmp_path / "board.romfs").read_bytes().startswith(small.image)
    assert "/config/board.json" not in image.read(out.read_bytes())
    assert f"write-flash 0x1000 {file} 0x1e0000 {tmp_path}/board.romfs 0x2e0000 {out}\n" in said.getvalue()
