"""The board's program over TLS, within little memory, against a meter that takes nothing else."""

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest

from gateway.simulator.listen import pty_line
from gateway.simulator.meter import VirtualMeter
from tests.board import (
    CREDENTIAL,
    KEY,
    Application,
    board_process,
    board_settings,
    cloud,
    failures,
    run_with,
    secret,
)
from tests.firmware.test_unix_port import enough, stored
from tests.patience import PATIENCE_S

pytest.importorskip("mbedtls", reason="the virtual meter's TLS is python-mbedtls, which has no wheel here")

# 32 KB more than without TLS: a frame needs 2 KB in a piece.
HEAP = os.environ.get("OSGP_TEST_TLS_HEAP", "256K")


async def test_the_board_reads_over_tls_and_nothing_less_afterwards(application: Application, tmp_path: Path):
    secret(tmp_path / "meter.key", KEY)
    secret(tmp_path / "credential", CREDENTIAL)
    meter = VirtualMeter(KEY[:16].encode(), None, seed=1, firmware="4.30", security="tls")
    link, database, file = tmp_path / "line", tmp_path / "readings.db", tmp_path / "board.json"
    async with cloud(tmp_path) as port, pty_line(meter, link=link):
        settings = board_settings(tmp_path, port, link) | {"security": "auto"}
        file.write_text(json.dumps(settings))
        async with board_process(application.image, HEAP, file) as board:
            await stored(board, database, 0, enough)
            board.send_signal(signal.SIGINT)
            output, errors = await asyncio.wait_for(board.communicate(), PATIENCE_S)
        assert board.returncode == 0, errors.decode()
        assert "MemoryError" not in errors.decode()
        report = json.loads(output.decode().splitlines()[-1])
        assert failures(report) == [0, 0, 0]
        assert (tmp_path / "flash/config/board.json.tls").read_text() == "1\n"
        code, said = await run_with(application, tmp_path, settings | {"security": "rc4"})
        assert (code, "has spoken TLS before" in said) == (2, True)
