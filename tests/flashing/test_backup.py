"""A whole flash saved and written back; the flash is kept small, as reading it is what takes long."""

import stat
import zipfile
from pathlib import Path

import pytest
from flashing import backup
from flashing.errors import FlashError

from gateway.errors import ConfigurationError


class Board:
    """A board's flash, as flashing.board.Board gives it."""

    chip, mac = "esp32", "24:0a:c4:00:00:01"

    def __init__(self, flash: bytes) -> None:
        self.flash = flash
        self.breaks: BaseException | None = None

    @property
    def flash_bytes(self) -> int:
        return len(self.flash)

    def read(self, offset: int, size: int, _: str) -> bytes:
        return self.flash[offset : offset + size]

    def erase(self) -> None:
        self.flash = b"\xff" * len(self.flash)

    def write(self, offset: int, data: bytes, _: str) -> None:
        if self.breaks is not None:
            raise self.breaks
        self.flash = self.flash[:offset] + data + self.flash[offset + len(data) :]

    def verify(self, offset: int, data: bytes, _: str) -> None:
        assert self.flash[offset : offset + len(data)] == data


CONTENT = bytes(range(256)) * 64


def test_there_and_back(tmp_path: Path) -> None:
    file = tmp_path / "board.zip"
    backup.save(Board(CONTENT), file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    other = Board(b"\xff" * len(CONTENT))
    backup.restore(other, *backup.load(file))
    assert other.flash == CONTENT
    with pytest.raises(ConfigurationError, match="is there already"):
        backup.check_free(file)
    with pytest.raises(ConfigurationError, match="no directory that you may write to"):
        backup.check_free(tmp_path / "missing" / "board.zip")


def test_another_kind_of_board_is_not_touched(tmp_path: Path) -> None:
    backup.save(Board(CONTENT), tmp_path / "board.zip")
    larger = Board(b"\xff" * 2 * len(CONTENT))
    with pytest.raises(ConfigurationError, match="Nothing was written"):
        backup.restore(larger, *backup.load(tmp_path / "board.zip"))
    assert not larger.flash.strip(b"\xff")


def test_a_damaged_backup(tmp_path: Path) -> None:
    file = tmp_path / "board.zip"
    backup.save(Board(CONTENT), file)
    sound = file.read_bytes()
    file.write_bytes(sound[:-50])
    with pytest.raises(ConfigurationError, match="no backup of a board, or damaged"):
        backup.load(file)
    with zipfile.ZipFile(file, "w") as archive:
        with zipfile.ZipFile(tmp_path / "other.zip", "w"):
            pass
        archive.writestr("board.json", '{"chip": "esp32", "mac": "", "flash_bytes": 4, "sha256": "00"}')
        archive.writestr("flash.bin", b"1234")
    with pytest.raises(ConfigurationError, match="is not the one that was saved"):
        backup.load(file)
    with pytest.raises(ConfigurationError, match="can't be read"):
        backup.load(tmp_path / "missing.zip")


@pytest.mark.parametrize("end", [FlashError("Writing the backup failed"), KeyboardInterrupt()])
def test_a_line_that_breaks_and_a_stop_by_ctrl_c_are_told(tmp_path: Path, end: BaseException) -> None:
    backup.save(Board(CONTENT), tmp_path / "board.zip")
    board = Board(CONTENT)
    board.breaks = end
    with pytest.raises(FlashError, match=r"(?s)half written.*same command again"):
        backup.restore(board, *backup.load(tmp_path / "board.zip"))
