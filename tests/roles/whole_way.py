"""A board and a Linux gateway as adapters of one concentrator, all the way into the cloud's database.

Run by `make roles`: it takes six processes and a board's image, and its parts are tested apart.
"""

import asyncio
import json
import os
import sqlite3
import struct
import sys
from contextlib import AsyncExitStack, closing
from pathlib import Path

from gateway.simulator.captured import fitting, read_tables
from gateway.simulator.listen import pty_line
from gateway.simulator.meter import VirtualMeter
from gateway.transmission import ids, model
from tests.board import CREDENTIAL, KEY, Application, board_process, board_settings, cloud, process, secret
from tests.brokers import NatsServer
from tests.interpreter import ROOT
from tests.patience import PATIENCE_S

VECTOR = ROOT / "tests/vectors/real_meter.json"
HEAP = os.environ.get("OSGP_TEST_HEAP", "224K")

ADAPTER = """\
[gateway]
id = "attic"
role = "adapter"
state_dir = "attic"
[broker]
url = "mqtt://127.0.0.1:{local}"
credential_file = "attic.secret"
[[meter]]
name = "meter"
port = "{line}"
key_file = "meter.key"
[meter.schedule]
present = "1s"
"""

CONCENTRATOR = """\
[gateway]
id = "house"
role = "concentrator"
state_dir = "house"
[broker]
url = "mqtt://127.0.0.1:{cloud}"
credential_file = "credential"
[local]
url = "mqtt://127.0.0.1:{local}"
[[local.adapter]]
name = "board"
credential_file = "board.secret"
[[local.adapter]]
name = "attic"
credential_file = "attic.secret"
meters = ["{meter}"]
"""

VALUES = """
SELECT r.id, v.mantissa FROM property_value AS v JOIN meter_reading AS r ON r.id = v.reading
JOIN meter_individual AS m ON m.id = r.meter WHERE m.meter_individual_id = ? AND r.kind = ?
ORDER BY r.id, v.position
"""


def captured_meter(serial: str) -> VirtualMeter:
    tables = read_tables(VECTOR)
    meter = VirtualMeter(KEY[:16].encode(), None, seed=1, firmware=fitting(tables, None), serial=serial)
    for table in (23, 28):
        meter.image.keep(table, tables[table])
    return meter


def readings(database: Path, serial: str, kind: int) -> list[list[int]]:
    """What stands in the database of one meter and kind, the values of each reading in their order."""
    found: dict[int, list[int]] = {}
    meter = ids.meter_individual_id("ELON", serial).hex()
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        for reading, mantissa in connection.execute(VALUES, (meter, kind)):
            found.setdefault(reading, []).append(mantissa)
    return list(found.values())


async def test_rows_of_both_are_what_their_meters_say(application: Application, tmp_path: Path):
    secret(tmp_path / "meter.key", KEY)
    for name in ("credential", "board.secret", "attic.secret"):
        secret(tmp_path / name, f"{CREDENTIAL}: {name}")
    async with AsyncExitStack() as stack:
        local = stack.enter_context(NatsServer(tmp_path / "local")).port
        port = await stack.enter_async_context(cloud(tmp_path))
        for serial in ("1111", "2222"):
            line = pty_line(captured_meter(serial), link=tmp_path / f"line-{serial}")
            await stack.enter_async_context(line)
        settings = board_settings(tmp_path, local, tmp_path / "line-1111")
        settings["broker"] |= {"adapter": True, "credential_file": str(tmp_path / "board.secret")}
        (tmp_path / "board.json").write_text(json.dumps(settings))
        meter = "{}-{}-{}-{}-{}".format(*parts(ids.meter_individual_id("ELON", "2222").hex()))
        children = [
            await stack.enter_async_context(board_process(application.image, HEAP, tmp_path / "board.json"))
        ]
        for name, text in (("attic", ADAPTER), ("house", CONCENTRATOR)):
            file = tmp_path / f"{name}.toml"
            file.write_text(text.format(local=local, cloud=port, meter=meter, line=tmp_path / "line-2222"))
            command = (sys.executable, "-m", "gateway.host.cli", "run", "-c", str(file))
            children.append(await stack.enter_async_context(process(*command)))
        database = tmp_path / "readings.db"
        wanted = [(serial, kind) for serial in ("1111", "2222") for kind in (model.REGISTERS, model.PRESENT)]
        async with asyncio.timeout(PATIENCE_S):
            while not all(readings(database, *one) for one in wanted):
                ended = [child for child in children if child.returncode is not None]
                assert not ended, (await ended[0].communicate())[1].decode()
                await asyncio.sleep(0.1)
        for child in children:
            child.terminate() if child is not children[0] else child.send_signal(2)
        said = [(await asyncio.wait_for(child.communicate(), PATIENCE_S))[1].decode() for child in children]
        assert [child.returncode for child in children] == [0, 0, 0], said
    captured = json.loads(VECTOR.read_text())
    registers = bytes.fromhex(captured["BT23"]["data"])
    for serial in ("1111", "2222"):
        for reading in readings(database, serial, model.PRESENT):
            assert sorted(reading) == sorted(captured["BT28"]["values"])
        for reading in readings(database, serial, model.REGISTERS):
            assert set(reading) <= set(
                struct.unpack(f"<{len(registers) // 4}i", registers[: len(registers) // 4 * 4])
            )
            assert {65845343, 20491956, 23315499} <= set(reading)
    assert "MemoryError" not in said[0]


def parts(digits: str) -> tuple[str, ...]:
    return digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]
