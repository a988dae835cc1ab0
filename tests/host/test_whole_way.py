"""The main job whole: three meters, the gateway, NATS, the cloud, and what then stands in SQLite."""

import json
import sqlite3
import struct
import time
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.transmission import ids
from tests.brokers import free_port
from tests.cloud_toml import cloud_toml
from tests.patience import PATIENCE_S
from tests.processes import Program

VECTOR = Path(__file__).parents[1] / "vectors" / "real_meter.json"
REGISTERS, PRESENT, PROFILE, ALARM = 2, 3, 5, 6
# Alarms and their codes, and after how many seconds they come up, each at another moment of the schedule.
ALARMS = {20: ("cover removed", 5.9), 21: ("reverse energy", 8.1), 36: ("phase loss", 9.7)}
HIGHEST, LOWEST = 2**31 - 1, -(2**31)

CONFIGURATION = """\
[broker]
url = "mqtt://127.0.0.1:{port}"
credential_file = "secret"

[[meter]]
name = "real"
port = "{real}"
key_file = "secret"

[[meter]]
name = "extreme"
port = "{extreme}"
key_file = "secret"
security = "rc4"

[[meter]]
name = "alarming"
port = "{alarming}"
key_file = "secret"
"""

VALUES = """
SELECT d.property_id, v.mantissa, v.exponent, v.unit
FROM property_value AS v
JOIN operational_property_definition AS d ON d.id = v.property
JOIN meter_reading AS r ON r.id = v.reading
JOIN meter_individual AS m ON m.id = r.meter
WHERE m.meter_individual_id = ? AND r.kind = ? AND r.id = (
    SELECT min(other.id) FROM meter_reading AS other WHERE other.meter = r.meter AND other.kind = r.kind
)
"""

Values = dict[str, tuple[int, int, str | None]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory):
    """The database once registers and present values of two meters and alarms of a third have landed, and for
    each alarm after how many seconds it was there."""
    directory = tmp_path_factory.mktemp("whole-way")
    (directory / "secret").write_text("0123456789abcdef0123456789abcdef")
    (directory / "secret").chmod(0o600)
    captured = json.loads(VECTOR.read_text())
    registers = [HIGHEST, LOWEST, -1, 1, *[0] * 51]
    present = [LOWEST, HIGHEST, -1, *captured["BT28"]["values"][3:]]
    extreme = {"BT23": struct.pack("<55i", *registers).hex(), "BT28": struct.pack("<55i", *present).hex()}
    (directory / "extreme.json").write_text(json.dumps(extreme))
    port = free_port()
    with ExitStack() as stack:
        cloud = stack.enter_context(Program("omdp_cloud.cli", "serve", "-c", cloud_toml(directory, port)))
        addresses = {
            name: simulate(stack, directory, serial, "--baud", "fast", "--tables", tables)
            for name, serial, tables in (
                ("real", "1111", VECTOR),
                ("extreme", "2222", directory / "extreme.json"),
            )
        }
        begin = time.time()
        life = [
            {
                "at": f"{datetime.fromtimestamp(begin + after, UTC):%FT%T.%f}Z",
                "do": "set_alarm",
                "with": [name],
            }
            for name, after in ALARMS.values()
        ]
        (directory / "life.json").write_text(json.dumps(life))
        # At its own pace, with a load profile that takes minutes to read.
        options = ("--history", 10, "--life", directory / "life.json")
        addresses["alarming"] = simulate(stack, directory, "3333", *options)
        (directory / "gateway.toml").write_text(CONFIGURATION.format(port=port, **addresses))
        gateway = stack.enter_context(Program("gateway.host.cli", "run", "-c", directory / "gateway.toml"))
        database = directory / "readings.db"
        late: dict[int, float] = {}
        deadline = time.monotonic() + PATIENCE_S
        wanted = [(serial, kind) for serial in ("1111", "2222") for kind in (REGISTERS, PRESENT)]
        while len(late) < len(ALARMS) or not all(landed(database, *one) for one in wanted):
            assert time.monotonic() < deadline, gateway.said() + cloud.said()
            time.sleep(0.05)
            for code in alarms(database) & ALARMS.keys() - late.keys():
                late[code] = time.time() - begin - ALARMS[code][1]
        assert gateway.end() == 0, gateway.said()
        assert cloud.end() == 0, cloud.said()
    return database, list(late.values())


@pytest.fixture(scope="module")
def database(whole: tuple[Path, list[float]]) -> Path:
    return whole[0]


def simulate(stack: ExitStack, directory: Path, serial: str, *options: object) -> str:
    meter = stack.enter_context(
        Program(
            *("gateway.host.cli", "simulate", "--serial", serial, "--key-file", directory / "secret"),
            *options,
        )
    )
    return meter.expect("listening on (.*)")[1]


def rows(database: Path, query: str, *arguments: object) -> list[tuple]:
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            return connection.execute(query, arguments).fetchall()
    except sqlite3.OperationalError:
        return []  # not there yet


def alarms(database: Path) -> set[int]:
    return {
        code
        for (code,) in rows(
            database,
            "SELECT v.mantissa FROM property_value AS v"
            " JOIN operational_property_definition AS d ON d.id = v.property"
            " JOIN meter_reading AS r ON r.id = v.reading"
            " WHERE r.kind = ? AND d.property_id = 'OSGP_alarm_code'",
            ALARM,
        )
    }


def landed(database: Path, serial: str, kind: int) -> Values:
    meter = ids.meter_individual_id("ELON", serial).hex()
    found = rows(database, VALUES, meter, kind)
    return {name: (mantissa, exponent, unit) for name, mantissa, exponent, unit in found}


def test_the_real_meters_registers(database: Path):
    values = landed(database, "1111", REGISTERS)
    assert values["OBIS_1.8.0"] == (65845343, -3, "kWh")
    assert values["OBIS_2.8.0"] == (179, -3, "kWh")
    assert values["OBIS_3.8.0"] == (4056958, -3, "kvarh")
    assert values["OBIS_4.8.0"] == (20491956, -3, "kvarh")
    assert values["OBIS_15.8.0"] == (65845521, -3, "kWh")
    assert values["OBIS_16.8.0"] == (65842809, -3, "kWh")
    assert values["OSGP_power_outage_seconds"] == (23315499, 0, "s")
    assert values["OSGP_power_outage_count"] == (10, 0, None)


def test_the_real_meters_present_values(database: Path):
    values = landed(database, "1111", PRESENT)
    assert values["OBIS_1.7.0"] == (431, -3, "kW")
    assert values["OBIS_32.7.0"] == (228315, -3, "V")
    assert values["OBIS_33.7.0"] == (709, -3, None)
    assert values["OSGP_sin_phase_angle_1"] == (-452, -3, None)
    assert values["OSGP_sin_phase_angle_2"] == (-919, -3, None)
    expected = json.loads(VECTOR.read_text())["BT28"]["values"]
    assert sorted(mantissa for mantissa, _, _ in values.values()) == sorted(expected)


def test_the_extremes_of_32_bits_survive_encryption_and_all(database: Path):
    values = landed(database, "2222", REGISTERS)
    assert [values[f"OBIS_{n}.8.0"][0] for n in (1, 2, 3, 4)] == [HIGHEST, LOWEST, -1, 1]
    values = landed(database, "2222", PRESENT)
    assert [values[f"OBIS_{n}.7.0"][0] for n in (1, 2, 3)] == [LOWEST, HIGHEST, -1]


def test_values_are_integers_in_the_database(database: Path):
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        kinds = connection.execute(
            "SELECT DISTINCT typeof(mantissa), typeof(exponent) FROM property_value"
        ).fetchall()
        dead = connection.execute("SELECT reason FROM dead_letter").fetchall()
    assert set(kinds) <= {("integer", "integer"), ("null", "integer")}
    assert dead == []


def test_alarms_do_not_wait_for_the_load_profile(whole: tuple[Path, list[float]], figures):
    """How many seconds they may take is held in virtual time, by the tests of the gateway's own work."""
    database, late = whole
    figures("from the meter to the database: alarms after " + ", ".join(f"{one:.1f} s" for one in late))
    assert len(late) == len(ALARMS)
    # Of the 960 intervals of ten days many are still to be read.
    assert len(rows(database, "SELECT 1 FROM meter_reading WHERE kind = ?", PROFILE)) < 960
