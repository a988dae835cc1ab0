"""The board's flash loses power while outbox, cursor, configuration and updates are written."""

from pathlib import Path

import pytest

from tests.firmware.power_cuts import MEDIA, exercise


@pytest.mark.parametrize("medium", MEDIA)
def test_it_always_starts_and_nothing_promised_is_lost(medium: str, tmp_path: Path):
    told = exercise(1, 8, medium, tmp_path)
    print(told)
    assert told["losses"] == 8
    assert told["starts"] > 8
    assert told["updates"] > 0
    assert told["saved"] > 0
    assert told["checked"] > 30
