"""A board carries out commands: without a clock of its own, by challenge, within its heap."""

import asyncio
import json
import os
import signal
from pathlib import Path

import bundle

from gateway.simulator.listen import pty_line
from gateway.transmission import ids, model
from gateway.transmission.commands import (
    BACKFILL,
    DONE,
    FAILED,
    READ_NOW,
    REFUSED,
    SELF_TEST,
    UPDATE,
    command_key,
)
from omdp_cloud.commands import CommandStore, Sender
from omdp_cloud.config import Broker
from tests.board import CREDENTIAL, KEY, Application, board_process, board_settings, cloud, run_with, secret
from tests.firmware.test_unix_port import captured_meter, newest
from tests.patience import PATIENCE_S
from tests.update_vectors import KEY as SIGNS
from tests.update_vectors import files, image, public

# With 224K memory is short now and then: the work is begun again.
HEAP = os.environ.get("OSGP_TEST_COMMANDS_HEAP", "256K")
OWNER = "what only the owner knows"


def signed_bundle(root: Path) -> bytes:
    """What this board takes, with as much in it as takes some pieces."""
    for name in ("app", "config"):
        (root / name).mkdir(parents=True)
    (root / "config/update.keys").write_text(public(SIGNS) + "\n")
    return bundle.make(image({**files("7.2.0"), "page.gz": bytes(10000)}), "7.2.0", SIGNS)


async def test_a_board_without_a_clock(application: Application, tmp_path: Path):
    secret(tmp_path / "meter.key", KEY)
    secret(tmp_path / "credential", CREDENTIAL)
    meter = ids.meter_individual_id("ELON", "0084624696495953")
    told: list[str] = []
    answers = []
    async with cloud(tmp_path) as port, pty_line(captured_meter(), link=tmp_path / "line"):
        settings = board_settings(tmp_path, port, tmp_path / "line")
        owner = {
            "credential_file": str(secret(tmp_path / "owner", OWNER)),
            "allow": ["read-now", "self-test", "update"],
        }
        damaged = signed_bundle(tmp_path / "flash").replace(b"core 7.2.0", b"core 7.2.1")
        (tmp_path / "board.json").write_text(json.dumps(settings | {"commands": owner}))
        store = CommandStore(f"sqlite:///{tmp_path}/readings.db")
        sender = Sender(
            Broker(url=f"mqtt://127.0.0.1:{port}"), store, meter, command_key(OWNER.encode()), told.append
        )
        async with board_process(application.image, HEAP, tmp_path / "board.json") as board:
            for action, arguments in (
                (SELF_TEST, ()),
                (READ_NOW, (model.REGISTERS,)),
                (BACKFILL, (model.LOAD_PROFILE, 1, 2)),
            ):
                answers.append(await sender.send(action, arguments, PATIENCE_S))
            update = await sender.send(UPDATE, (len(damaged), 0), PATIENCE_S, damaged)
            board.send_signal(signal.SIGINT)
            _, errors = await asyncio.wait_for(board.communicate(), PATIENCE_S)
        assert newest(tmp_path / "readings.db") > 0
    assert [answer and answer.status for answer in answers] == [DONE, DONE, REFUSED], errors.decode()
    assert answers[0] is not None
    assert "ELON 0084624696495953 answers" in answers[0].text
    assert update is not None
    assert (update.status, "damaged on its way" in update.text) == (FAILED, True), update.text
    told = [text for text in told if "bundle" not in text]
    assert len(told) == 4
    assert all("there is no clock here that can be trusted" in text for text in told)
    assert "MemoryError" not in errors.decode()
    assert OWNER not in errors.decode()


async def test_what_is_wrong_is_told_at_once(application: Application, tmp_path: Path):
    secret(tmp_path / "meter.key", KEY)
    secret(tmp_path / "credential", CREDENTIAL)
    wrong = {"allow": ["explode"], "clock": 1}
    code, said = await run_with(
        application, tmp_path, board_settings(tmp_path, 1883, tmp_path / "line") | {"commands": wrong}
    )
    assert code == 2
    assert said.splitlines()[1:] == [
        "commands.allow: takes read-now, backfill, set-interval, self-test, update",
        "commands.clock: takes a bool, not 1",
        "commands.credential_file: has to be given",
    ]
