"""A firmware file is believed only when every digest in it is right and it is for this chip."""

import pytest
from flashing import firmware, partitions
from flashing.partitions import Partition

from gateway.errors import ConfigurationError
from tests import esp_firmware
from tests.interpreter import ROOT

TABLE = 0x8000 - 0x1000
PROGRAM = 0x10000 - 0x1000


@pytest.mark.parametrize("chip", ["esp32", "esp32c3"])
def test_a_sound_file(chip: str) -> None:
    found = firmware.check(esp_firmware.firmware(chip), chip)
    assert (found.version, found.flash_bytes) == ("1.29.0", 4 << 20)
    assert partitions.file_system(found.table, 4 << 20) == Partition("vfs", 1, 0x81, 0x200000, 0x200000)


@pytest.fixture(scope="module")
def sound() -> bytes:
    return esp_firmware.firmware()


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (0, "the boot loader does not begin as an image"),
        (12, "the boot loader is for"),
        (100, "the boot loader is damaged"),
        (TABLE + 5, "the partition table is damaged"),
        (PROGRAM, "the program does not begin as an image"),
        (PROGRAM + 20000, "the program is damaged"),
        (-1, "the program is damaged: its SHA-256"),
    ],
)
def test_one_wrong_byte(sound: bytes, place: int, words: str) -> None:
    damaged = bytearray(sound)
    damaged[place] ^= 0x10
    with pytest.raises(ConfigurationError, match=words):
        firmware.check(bytes(damaged), "esp32")


@pytest.mark.parametrize("size", [0, 10, 5000, TABLE + 10, PROGRAM + 3, -100])
def test_a_file_that_ends_early(sound: bytes, size: int) -> None:
    with pytest.raises(ConfigurationError, match=r"image|cut off|ends before|SHA-256|damaged"):
        firmware.check(sound[:size], "esp32")


def test_other_programs_and_old_versions(sound: bytes) -> None:
    with pytest.raises(
        ConfigurationError, match=r"is MicroPython 1\.28\.1; the gateway needs 1\.29 or later"
    ):
        firmware.check(esp_firmware.firmware(version="1.28.1"), "esp32")
    other = sound[:PROGRAM] + esp_firmware.program("esp32", b"something else" * 100)
    with pytest.raises(ConfigurationError, match="but not MicroPython"):
        firmware.check(other, "esp32")


def test_what_lies_behind_the_program_is_not_written(sound: bytes) -> None:
    with pytest.raises(ConfigurationError, match="holds more than"):
        firmware.check(sound.ljust(0x200000 - 0x1000 + 1, b"\xff"), "esp32")


def test_the_file_system_is_where_the_table_says() -> None:
    named = [Partition("factory", 0, 0, 0x10000, 0x100000), Partition("vfs", 1, 0x81, 0x200000, 0x80000)]
    assert partitions.file_system(named, 4 << 20) is named[1]
    assert partitions.file_system(named[:1], 2 << 20).offset == 0x110000
    with pytest.raises(ConfigurationError, match="more than 2 MB of flash"):
        partitions.file_system(named, 2 << 20)
    with pytest.raises(ConfigurationError, match="more than 1 MB of flash"):
        partitions.file_system(named[:1], 1 << 20)


def test_the_board_definitions_have_these_partitions() -> None:
    """The table that the tests flash with is the one that such a firmware is built with."""
    numbers = {"data": 1, "app": 0, "nvs": 2, "phy": 1, "factory": 0}
    rows = []
    for row in (ROOT / "micropython/firmware/partitions.csv").read_text().splitlines():
        if not row.startswith("#"):
            label, *rest = (field.strip() for field in row.split(",")[:5])
            rows.append((label, *(numbers[field] if field in numbers else int(field, 0) for field in rest)))
    assert tuple(rows) == esp_firmware.WITH_ROMFS
