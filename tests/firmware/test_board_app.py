"""The board's application from boot.py on, with stand-ins for its hardware and a real broker."""

import asyncio
import contextlib
import json
import os
import ssl
import struct
import subprocess
import time
from pathlib import Path

import aiomqtt

from gateway.simulator.listen import pty_line
from gateway.simulator.meter import VirtualMeter
from tests.board import KEY, Application
from tests.board_hardware.board import Board
from tests.brokers import free_port
from tests.certificates import Authority
from tests.interpreter import ROOT, micropython
from tests.mosquitto import Mosquitto
from tests.patience import PATIENCE_S

AHEAD_S = 5
SETTINGS = {
    "key_file": "config/key",
    "schedule": {"present": 1, "registers": 2, "clock": 3},
    "broker": {"host": "127.0.0.1", "port": 1, "client_id": "board"},
    "wifi": {"ssid": "home", "password_file": "config/wifi", "country": "DK", "hostname": "meter-board"},
    "ntp": {"server": ""},
}
SECRETS = {"key": KEY, "wifi": "the password"}
AIR = {"networks": {"home": "the password"}}


def settings(**changes: object) -> dict:
    return SETTINGS | changes


class TimeServer(asyncio.DatagramProtocol):
    """SNTP, and ahead of everybody."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, address: tuple) -> None:
        now = time.time() + AHEAD_S + 2208988800
        stamp = struct.pack(">II", int(now), int(now % 1 * (1 << 32)))
        answer = bytes([0x24, 1]) + bytes(22) + data[40:48] + stamp + stamp
        self._transport.sendto(answer, address)  # type: ignore[attr-defined]


@contextlib.asynccontextmanager
async def time_server():
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        TimeServer, local_addr=("127.0.0.1", 0)
    )
    try:
        yield transport.get_extra_info("sockname")[1]
    finally:
        transport.close()


@contextlib.asynccontextmanager
async def listening(port: int, tls: ssl.SSLContext | None = None):
    """What the broker has: gives a function that waits for a message on a topic that ends so."""
    async with aiomqtt.Client("127.0.0.1", port, tls_context=tls) as client:
        await client.subscribe("#", qos=1)
        kept: list[aiomqtt.Message] = []

        async def message(end: str, begin: str = "") -> aiomqtt.Message:
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    for one in kept:
                        topic = str(one.topic)
                        if topic.endswith(end) and topic.startswith(begin):
                            kept.remove(one)
                            return one
                    kept.append(await anext(client.messages))

        message.client = client  # type: ignore[attr-defined]
        yield message


def processor_seconds(board: Board) -> float:
    assert board.process
    fields = Path(f"/proc/{board.process.pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def test_from_power_to_readings_and_home_assistant(
    application: Application, tmp_path: Path, figures
) -> None:
    meter = VirtualMeter(KEY[:16].encode(), None, seed=1)
    authority = Authority()
    broker = Mosquitto(tmp_path, certificate=authority.issue(tmp_path, "127.0.0.1"))
    broker.start()
    board = Board(tmp_path, application.directory, "dabbler")
    board.world("wifi", AIR)
    (board.root / "config/ca.der").write_bytes(authority.der)
    tls = ssl.create_default_context(cadata=authority.der)
    try:
        async with (
            time_server() as ntp,
            pty_line(meter, link=board.line),
            listening(broker.port, tls) as message,
        ):
            board.install(
                settings(
                    broker=SETTINGS["broker"] | {"port": broker.port, "ca_file": "config/ca.der"},
                    ntp={"server": "127.0.0.1", "port": ntp},
                    home_assistant="homeassistant",
                ),
                **SECRETS,
            )
            async with board:
                await message("/compact")
                used = processor_seconds(board)
                assert "off" in (await board.says("network time: the clock was -"))
                live = json.loads((await message("/live-present")).payload)
                assert abs(live["time"] - time.time() - AHEAD_S) < PATIENCE_S
                assert live["OBIS_32.7.0"] > 200
                found = await message("/OBIS_1_7_0/config", "homeassistant/sensor/")
                assert json.loads(found.payload)["device_class"] == "power"
                # Home Assistant was away, and is told all of it again.
                await message.client.publish("homeassistant/status", "online", qos=1)
                await message("/OBIS_1_7_0/config", "homeassistant/sensor/")
                status = json.loads((await message("concentrator/board/status")).payload)
                while "board" not in status:
                    status = json.loads((await message("concentrator/board/status")).payload)
                assert status["board"]["reset"] == "the power came"
                assert status["board"]["crashes"] == 0
                assert status["board"]["heapFree"] > 0
    finally:
        broker.stop()
    did = board.record()
    assert {"country DK", "hostname meter-board", "wdt 300000"} <= set(did)
    assert any(line.startswith("clock 20") for line in did)  # by which TLS judges certificates
    # The converter has its supply, and the meter's port is enabled, before anything is sent.
    assert did.index("pin 32 1") < did.index("pin 5 0")
    figures(f"the board's work from power to the first published reading: {used:.2f} s of this processor")


async def test_wi_fi_says_why_it_is_missing_and_comes_back(application: Application, tmp_path: Path):
    board = Board(tmp_path, application.directory)
    board.install(settings(broker=SETTINGS["broker"] | {"port": free_port()}), **SECRETS)
    board.environment["OSGP_TIME"] = "8"
    board.world("wifi", {"networks": {"home": "another one"}})
    async with board:
        await board.says("home refuses the password")
        board.world("wifi", {"networks": {"neighbours": ""}})
        await board.says("home is not on the air here")
        board.world("wifi", AIR)
        await board.says("Wi-Fi: joined home as 127.0.0.1")
        board.world("wifi", AIR | {"gone": True})
        await board.says("the network was lost")
        board.world("wifi", AIR)
        await board.says("Wi-Fi: joined home")
        # Held for three seconds, the button leads to set-up.
        board.world("pin.0", "0")
        await board.says("starting: the button was held")
        await board.says("mode: set-up")
    assert board.starts == 2


async def test_crashes_in_a_row_lead_to_safe_mode_and_are_told(application: Application, tmp_path: Path):
    broker = Mosquitto(tmp_path)
    broker.start()
    board = Board(tmp_path, application.directory)
    board.install(settings(broker=SETTINGS["broker"] | {"port": broker.port}), **SECRETS)
    board.world("broken", "broken on purpose")
    try:
        async with board:
            for _ in range(3):
                await board.says("mode: working")
            await board.says("starting: the program crashed: RuntimeError: broken on purpose")
            await board.says("mode: safe mode")
            await board.says("Wi-Fi: joined home")
        assert board.starts == 4
        (board.hardware / "broken").unlink()
        async with listening(broker.port) as message, board:
            await board.says("starting: the power came")
            crash = await message("concentrator/board/crash")
            text = crash.payload.decode()
            assert text.count("RuntimeError: broken on purpose") == 3
            assert KEY not in text and SECRETS["wifi"] not in text
            async with asyncio.timeout(PATIENCE_S):
                while (board.root / "log/crash.txt").exists():
                    await asyncio.sleep(0.1)
    finally:
        broker.stop()


async def test_a_program_that_stands_still_is_reset(application: Application, tmp_path: Path):
    board = Board(tmp_path, application.directory)
    board.install(settings(broker=SETTINGS["broker"] | {"port": free_port()}), **SECRETS)
    board.watchdog_s = 3
    async with board:
        await board.says("mode: working")
        board.world("hang", "")
        await board.says("starting: the hardware watchdog: the program had stood still")
    assert b"stood still" in (board.root / "log/crash.txt").read_bytes()


def test_a_configuration_is_written_as_a_whole_or_not_at_all(tmp_path: Path):
    board = Board(tmp_path, ROOT)
    paths = [str(ROOT / "tests/board_hardware"), str(ROOT / "micropython"), str(ROOT), ".frozen"]
    environment = {**os.environ, "MICROPYPATH": ":".join(paths), "OSGP_BOARD": str(board.hardware)}
    done = subprocess.run(
        [micropython(), str(ROOT / "tests/firmware/config_exercise.py")],
        cwd=board.root,
        env=environment,
        capture_output=True,
        text=True,
        umask=0o077,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    wrong, first, read, second, again, refused, kept = [json.loads(line) for line in done.stdout.splitlines()]
    assert [problem.split(":")[0] for problem in wrong[0]] == ["config/key.a", "wifi.password_file"]
    assert wrong[1] == ["profile.json"]
    assert first == [[], ["board.json", "key.a", "profile.json", "wifi.password.a"]]
    assert read == [[], ["board", "the password"]]
    assert second == [[], ["board.json", "key.a", "profile.json", "wifi.password.b"]]
    assert again == [[], ["board", "another password"]]
    assert [problem.split(":")[0] for problem in refused[0]] == ["home_assistant", "wifi.colour"]
    assert refused[1] == second[1]
    assert kept == again
