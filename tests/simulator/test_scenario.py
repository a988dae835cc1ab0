"""Lives from files: what is in them, and what is wrong with them."""

import json
from pathlib import Path

import pytest

from gateway.errors import ConfigurationError
from gateway.simulator.generations import GENERATIONS
from gateway.simulator.meter import VirtualMeter
from gateway.simulator.scenario import read_file
from tests.mep_probe import KEY, Hands

START = 1_718_323_200_000  # 2024-06-14T00:00:00Z
HOUR = 3_600_000


def test_happenings_come_when_the_file_says(tmp_path: Path) -> None:
    file = tmp_path / "life.json"
    file.write_text(
        json.dumps(
            [
                {"after": 90, "do": "cut_power", "with": [30]},
                {"at": "2024-06-14T00:10:00Z", "do": "set_alarm", "with": ["cover removed"]},
                {"at": "2024-06-14T00:20:00", "do": "move_clock", "with": [-7]},
            ]
        )
    )
    hands = Hands()
    meter = VirtualMeter(KEY, start_ms=START, monotonic=hands, life=read_file(file, START))
    hands.ms = HOUR
    told = meter.truth_document()
    assert [(o["start"], o["end"]) for o in told["outages"]] == [
        ("2024-06-14T00:01:30Z", "2024-06-14T00:02:00Z")
    ]
    assert ("cover removed", "2024-06-14T00:10:00Z") in [(a["name"], a["stamp"]) for a in told["alarms"]]
    assert told["clock"] == "2024-06-14T00:59:53Z"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("{", "no list of happenings"),
        ("7", "no list of happenings"),
        ('[{"do": "cut_power", "with": [1]}]', "after"),
        ('[{"after": 1, "do": "explode"}]', "explode"),
        ('[{"after": 1, "do": "cut_power"}]', "cut_power"),
        ('[{"after": 1, "do": "cut_power", "with": 7}]', "a list"),
        ('[{"after": 1, "do": "set_alarm", "with": ["nonsense"]}]', "nonsense"),
        ('[{"after": 1, "do": "cut_power", "with": ["long"]}]', "'long'"),
        ('[{"after": 1, "do": "cut_power", "with": [-1]}]', "-1"),
        ('[{"after": 1, "do": "move_clock", "with": [1.5]}]', "1.5"),
        ('[{"after": 1, "do": "set_device_status", "with": [0, 256]}]', "0 to 255"),
        ('[{"after": 1, "do": "lose_device", "with": [2]}]', "0 to 1"),
        ('[{"after": 1, "do": "reset_log", "with": ["BT75"]}]', "BT74, ET79"),
        ('[{"after": 1, "do": "configure_profile", "with": [5]}]', "0 to 4"),
        ('[{"after": 1, "do": "configure_registers", "with": [12, 0]}]', "11, 15, 19"),
        ('[{"after": 1, "do": "request_client", "with": [3]}]', "1 to 2"),
        ('[{"after": 1, "do": "request_client", "with": [1, "coffee"]}]', "hex"),
        ("[7]", "no list of happenings"),
        ('[{"after": 1, "do": []}]', "no list of happenings"),
        ('[{"at": "soon", "do": "self_read"}]', "soon"),
    ],
)
def test_what_is_wrong_is_named(text: str, part: str, tmp_path: Path) -> None:
    file = tmp_path / "life.json"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        read_file(file, START)
    assert part in str(caught.value)


def test_no_other_life() -> None:
    with pytest.raises(ConfigurationError, match="wild"):
        VirtualMeter(KEY, life="wild")


@pytest.mark.parametrize("firmware", GENERATIONS)
def test_a_busy_life_is_survived(firmware: str) -> None:
    """Whatever comes together: reading every table works, and the numbers of intervals stay in order."""
    hands = Hands()
    meter = VirtualMeter(KEY, start_ms=START, monotonic=hands, firmware=firmware, life="busy", seed=21)
    for hands.ms in range(0, 6 * 24 * HOUR, 31 * HOUR):
        for table in meter.image.tables():
            assert meter.image.read_part(table, 0, 465)[0] >= 0
    told = meter.truth_document()["load_profile"]["intervals"]
    numbers = [(i["configuration"], i["block"], i["interval"]) for i in told if i["data_set"] == 1]
    assert numbers == sorted(numbers) and len(numbers) == len(set(numbers))
