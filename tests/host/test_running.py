"""The gateway as a running service: what it tells the service manager, and whom it answers on its socket.

One virtual meter, and no broker unless the test needs one.
"""

import asyncio
import json
import os
import queue
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.host import cli, control, control_client, outbox_dir
from gateway.host.notify import Notifier
from gateway.host.watchdog import Watchdog
from tests.brokers import free_port
from tests.patience import PATIENCE_S
from tests.processes import Program

KEY = "ABCDEFGHIJKLMNOPQRST"
SCALE = 10
CONFIGURATION = """\
[gateway]
id = "cellar"
state_dir = "{state}"

[broker]
url = "mqtt://127.0.0.1:{broker}"
custody = "broker"

[[meter]]
name = "house"
port = "{port}"
key_file = "key"
"""


class Manager:
    """Stands in for systemd: hears what the service tells on $NOTIFY_SOCKET."""

    def __init__(self, directory: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(directory / "notify"))
        self._news: queue.Queue[str] = queue.Queue()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        self.environment = {"NOTIFY_SOCKET": str(directory / "notify")}

    def _listen(self) -> None:
        while told := self._socket.recv(4096):
            for line in told.decode().splitlines():
                self._news.put(line)

    def hear(self, wanted: str, seconds: float = PATIENCE_S) -> str:
        """The next line that begins so."""
        deadline = time.monotonic() + seconds
        heard = []
        while True:
            try:
                heard.append(self._news.get(timeout=max(deadline - time.monotonic(), 0)))
            except queue.Empty:
                raise AssertionError(f"no {wanted} within {seconds} s, but {heard}") from None
            if heard[-1].startswith(wanted):
                return heard[-1]

    def all(self) -> list[str]:
        """All that was said so far and not heard yet."""
        self._say("end of all")
        lines = []
        while (line := self._news.get(timeout=PATIENCE_S)) != "end of all":
            lines.append(line)
        return lines

    def _say(self, text: str) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as own:
            own.sendto(text.encode(), self.environment["NOTIFY_SOCKET"])

    def close(self) -> None:
        self._say("")
        self._listener.join(PATIENCE_S)
        self._socket.close()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("service")
    (directory / "key").write_text(KEY)
    (directory / "key").chmod(0o600)
    return directory


@pytest.fixture(scope="module")
def meter(place: Path) -> Iterator[Program]:
    """A virtual meter with two days of load profile; its `address`."""
    arguments = ("--key-file", place / "key", "--baud", "fast", "--history", "2")
    with program(place, "simulate", *arguments) as running:
        running.address = running.expect("listening on (.*)")[1]
        yield running
        assert running.end() == 0


@pytest.fixture(scope="module")
def directly(place: Path, meter: Program) -> list[str]:
    """The load profile as the port itself tells it, before the gateway has it."""
    options = ("--json", "--port", meter.address, "--key-file", place / "key")
    with program(place, "read", "load-profile", *options) as running:
        assert running.process.wait(PATIENCE_S) == 0
        running._reader.join(PATIENCE_S)
        return running.said().splitlines()


@pytest.fixture(scope="module")
def manager(place: Path) -> Iterator[Manager]:
    one = Manager(place)
    yield one
    one.close()


@pytest.fixture(scope="module")
def service(place: Path, meter: Program, directly: list[str], manager: Manager) -> Iterator[Program]:
    """The gateway at work, watched by the manager; no broker is there."""
    with program(
        place, *run(place, meter.address), **manager.environment, WATCHDOG_USEC="60000000"
    ) as running:
        manager.hear("READY=1")
        running.expect("house: working")
        yield running
        assert running.end() == 0
        manager.hear("STOPPING=1")
        said = running.said()
        assert "Traceback" not in said and "fault" not in said and KEY not in said, said
    assert not (place / "run" / "cellar.sock").exists()


def environment(place: Path) -> dict[str, str]:
    return {"OSGP_TIME": str(SCALE), "RUNTIME_DIRECTORY": str(place / "run"), "COLUMNS": "100"}


def program(place: Path, *arguments: object, **more: str) -> Program:
    return Program("gateway.host.cli", *arguments, environment={**environment(place), **more})


def run(place: Path, port: str, broker: int | None = None, state: object = "state") -> tuple[object, ...]:
    """Arguments for the service."""
    file = place / "gateway.toml"
    file.write_text(CONFIGURATION.format(broker=broker or free_port(), port=port, state=state))
    return "run", "-c", file


@pytest.fixture
def call(place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """A command within this process, which is quicker: its exit code and what it said."""

    def call(*arguments: object) -> tuple[int, str]:
        for name, value in environment(place).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["osgp-gateway", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        assert KEY not in said.out + said.err
        return ended.value.code or 0, said.out + said.err

    return call


def socket_of(place: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.settimeout(PATIENCE_S)
    made.connect(str(place / "run" / "cellar.sock"))
    return made


def answers(one: socket.socket, request: bytes) -> list[dict]:
    """All lines up to the last answer, or to the end."""
    one.sendall(request + b"\n")
    found = []
    with one.makefile("rb") as lines:
        for line in lines:
            found.append(json.loads(line))
            if "ok" in found[-1]:
                break
    return found


def test_the_manager_hears_of_progress(service, manager):
    manager.hear("STATUS=1 of 1 meter well; broker: gone")
    manager.all()
    manager.hear("WATCHDOG=1")


def test_status_and_backfill(place, service, call):
    code, said = call("status")
    assert code == 0 and "meter house: working" in said and "broker: gone" in said, said
    code, said = call("status", "--json", "-c", place / "gateway.toml")
    status = json.loads(said)
    assert (code, status["gateway"], status["meters"][0]["state"]) == (0, "cellar", "working")
    window = ("--from", "2026-01-01T00:00:00Z", "--to", "2026-01-02T00:00:00Z")
    code, said = call("backfill", "load-profile", *window)
    assert code == 0 and said.startswith("house: load profile"), said
    code, said = call("backfill", "present", *window)
    assert code == 1 and "only what the meter stores" in said, said
    code, said = call("backfill", "events", "--gateway", "attic", *window)
    assert code == 1 and "no gateway runs here" in said, said


def test_what_is_read_through_the_gateway_is_what_the_port_says(place, meter, service, directly, call):
    assert len(directly) >= 190
    for option in (("--port", meter.address), ("-c", place / "gateway.toml", "--meter", "house")):
        code, said = call("read", "load-profile", "--json", *option)
        assert code == 0, said
        assert said.splitlines()[: len(directly)] == directly
    told: list[list[dict]] = [[], []]
    reading = b'{"do": "read", "meter": "house", "kind": "load-profile"}'
    asking = [
        threading.Thread(target=lambda box=box: box.extend(answers(socket_of(place), reading)))
        for box in told
    ]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join(PATIENCE_S)
    assert told[0] == told[1] and told[0][-1] == {"ok": True}  # neither was in the other's way
    code, said = call("read", "identity", "present")
    assert code == 0 and "present of meter" in said, said
    code, said = call("read", "clock", "--meter", "attic")
    assert code == 2 and "there are: house" in said, said


def test_clients_of_all_kinds_disturb_nobody(place, service):
    path = place / "run" / "cellar.sock"
    assert path.stat().st_mode & 0o777 == 0o660
    for garbage in (b"GET / HTTP/1.1", b"[]", b'"do"', b"{" * 3000, b"\xff\xfe", b"x" * 9000, b""):
        with socket_of(place) as client:
            last = answers(client, garbage)[-1]
            assert (last["ok"], last["code"]) == (False, 2), last
            assert select.select([client], [], [], PATIENCE_S)[0]
    wrong = [
        {"do": "dance"},
        {"do": "read"},
        {"do": "read", "meter": "house", "kind": "nothing"},
        {"do": "read", "meter": ["house"], "kind": "present"},
        {"do": "read", "meter": "half a pair: \ud800", "kind": "present"},
        {"do": "read", "meter": "house", "kind": "events", "since": -1},
        {"do": "backfill", "meter": "house", "kind": "events", "from": "now", "to": 1},
        {"do": "backfill", "meter": "house", "kind": "events", "from": 1, "to": True},
    ]
    with socket_of(place) as client:
        for one in wrong:  # which are requests, so the connection stays
            assert answers(client, json.dumps(one).encode())[-1]["code"] == 2, one
        reading = b'{"do": "read", "meter": "house", "kind": "present"}'
        about, *told, last = answers(client, reading)
        assert about["serial"] and last == {"ok": True} and len(told) == 1
    for _ in range(4):  # gone in the middle of a long read
        with socket_of(place) as client:
            client.sendall(b'{"do": "read", "meter": "house", "kind": "load-profile"}\n')
            client.makefile("rb").readline()
    # As many as may ask at once, and one more.
    clients = [socket_of(place) for _ in range(control.CLIENTS)]
    assert all(answers(client, b'{"do": "meters"}')[-1]["ok"] for client in clients[:-5])
    clients += [socket_of(place) for _ in range(6)]
    assert json.loads(clients[-1].makefile("rb").readline())["error"].startswith("too many")
    for client in clients:
        client.close()
    with socket_of(place) as client:
        client.sendall(b'{"do": "status"}\n')
        client.shutdown(socket.SHUT_WR)  # as `socat` does
        (last,) = map(json.loads, client.makefile("rb"))
    (meter,) = last["status"]["meters"]
    assert (meter["state"], meter["failures"]) == ("working", 0)


def test_a_reload_takes_what_is_right_and_goes_on_with_the_old_otherwise(place, service, manager, call):
    file = place / "gateway.toml"
    right = file.read_text()
    file.write_text(right.replace("port =", "prot ="))
    service.process.send_signal(signal.SIGHUP)
    service.expect("goes on with the old one")
    service.expect("did you mean port")
    manager.hear("RELOADING=1")
    manager.hear("READY=1")
    file.write_text(right.replace('"state"', '"key"'))  # which is no directory
    service.process.send_signal(signal.SIGHUP)
    service.expect("goes on with the old configuration, the new one can't be used")
    manager.hear("READY=1")
    file.write_text(right + '[meter.schedule]\npresent = "7s"\n')
    service.process.send_signal(signal.SIGHUP)
    manager.hear("MONOTONIC_USEC=")
    manager.hear("READY=1")
    service.expect("house: working")
    with socket_of(place) as client:
        (last,) = answers(client, b'{"do": "status"}')
    assert last["status"]["meters"][0]["kinds"]["present"]["intervalMs"] == 7000


def test_a_publisher_that_hangs_is_not_fed_and_an_absent_meter_is(place, tmp_path):
    """The hang is put in from outside, by a module that is loaded before the program."""
    (tmp_path / "sitecustomize.py").write_text(
        "import asyncio\n"
        "from gateway.host.mqtt import MqttBroker\n"
        "async def hang(self):\n"
        "    print('hangs now', flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "MqttBroker.connect = hang\n"
    )
    paths = os.pathsep.join([str(tmp_path), os.getcwd()])
    manager = Manager(tmp_path)
    more = {**manager.environment, "WATCHDOG_USEC": "6000000", "PYTHONPATH": paths}
    more |= {"RUNTIME_DIRECTORY": str(tmp_path), "OSGP_TIME": "20"}
    with program(place, *run(place, "/dev/ttyNONE", state=tmp_path), **more) as running:
        manager.hear("READY=1")
        manager.hear("STATUS=0 of 1 meter well; house: link-gone")
        running.expect("broker: has stood still for more than 60 s")
        assert "house: has stood" not in running.said()
        manager.all()
        with pytest.raises(AssertionError, match="no WATCHDOG"):
            manager.hear("WATCHDOG", 1)
        assert running.end() == 0
    manager.close()


def test_the_end_comes_whatever_hangs(place, tmp_path):
    """A meter that is stopped in the middle, and a broker that acknowledges nothing."""
    line = ("--key-file", place / "key", "--baud", "fast")
    with socket.create_server(("127.0.0.1", 0)) as silent, program(place, "simulate", *line) as meter:
        more = {"OSGP_TIME": "1", "RUNTIME_DIRECTORY": str(tmp_path)}
        silent.settimeout(PATIENCE_S)
        address = meter.expect("listening on (.*)")[1]
        arguments = run(place, address, silent.getsockname()[1], tmp_path)
        with (place / "gateway.toml").open("a") as file:
            file.write('[outbox]\nsync = "1h"\n')
        with program(place, *arguments, **more) as running, silent.accept()[0] as connection:
            connection.recv(4096)
            connection.sendall(b"\x20\x02\x00\x00")  # connected; and never a word more
            running.expect("broker: working")
            running.expect("house: working")
            meter.process.send_signal(signal.SIGSTOP)
            try:
                assert running.end() == 0
            finally:
                meter.process.send_signal(signal.SIGCONT)
    with outbox_dir.opened(outbox_dir.outbox_dir(tmp_path, "cellar"), 1 << 20) as kept:
        assert len(kept.meters()) == 1  # what nobody has taken was synced at the end


@pytest.mark.parametrize("hung", ["meter house", "broker", "outbox", ""])
def test_who_has_to_move_so_that_the_watchdog_is_fed(hung, tmp_path):
    manager = Manager(tmp_path)
    notifier = Notifier({**manager.environment, "WATCHDOG_USEC": "60000000"})
    now = [0]

    def status() -> dict:
        def sign(name: str) -> int:
            return 1 if name == hung else now[0] // 1000

        return {
            "nowMs": now[0],
            "monotonicMs": now[0],
            "meters": [
                {"name": "house", "state": "silent", "turnedAtMs": sign("meter house"), "answeredAtMs": 1},
                {"name": "shed", "state": "working", "turnedAtMs": 1, "answeredAtMs": sign("shed")},
            ],
            "broker": {"state": "gone", "turnedAtMs": 0, "acknowledgedAtMs": sign("broker")},
            "outbox": {"state": "working", "reason": "", "turnedAtMs": sign("outbox"), "waiting": 1},
        }

    watchdog = Watchdog(notifier, status, sync_ms=10_000)
    fed = []
    for now[0] in range(0, 60_000, 10_000):
        fed.append(watchdog.look())
    assert fed == [True] * 4 + [hung in ("", "outbox"), not hung]
    assert manager.all().count("WATCHDOG=1") == sum(fed)
    notifier.close()
    manager.close()


def test_nobody_has_to_move_who_has_nothing_to_do(tmp_path):
    manager = Manager(tmp_path)
    notifier = Notifier(
        {**manager.environment, "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}
    )
    broker = {"state": "working", "turnedAtMs": 5, "acknowledgedAtMs": 5}
    outbox = {"state": "working", "reason": "", "turnedAtMs": 0, "waiting": 0}
    status = {"meters": [], "broker": broker, "outbox": outbox, "nowMs": 0, "monotonicMs": 0}
    watchdog = Watchdog(notifier, lambda: status, sync_ms=3_600_000)
    for status["monotonicMs"] in range(0, 600_000, 10_000):
        assert watchdog.look()
    notifier.close()
    manager.close()
    assert Notifier({}).watchdog_ms is None
    assert Notifier({"WATCHDOG_USEC": "60000000"}).watchdog_ms is None  # nobody listens
    other = Notifier({"NOTIFY_SOCKET": "@nobody", "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"})
    assert other.watchdog_ms is None
    other.ready()  # whom nobody hears
    other.close()


def test_a_socket_that_is_in_use_stays_and_one_that_was_left_goes(tmp_path):
    path = tmp_path / "cellar.sock"
    with control.listening(path):
        with pytest.raises(OSError, match="another gateway"):
            control.listening(path)
    control.listening(path).close()
    path.unlink()
    path.write_text("no socket")
    with pytest.raises(OSError, match="something else"):
        control.listening(path)


async def test_a_socket_too_deep_for_its_name_and_no_gateway_at_all(tmp_path, monkeypatch):
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    path = deep / "cellar.sock"
    assert len(os.fsencode(path)) > 107
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(deep))
    async with control.Control(path, lambda: {"x": 1}, [], {}):
        async with control_client.running(None, "cellar") as found:
            (one,) = found
            assert await one.status() == {"x": 1}
            assert await one.meters() == {}
    async with control_client.running(None, "cellar") as found:
        assert found == []


async def test_an_answer_that_makes_no_sense_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))

    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"220 mail.example\n")
        writer.close()

    server = await asyncio.start_unix_server(nonsense, tmp_path / "mail.sock")
    async with server, control_client.running(None, "mail") as found:
        with pytest.raises(control_client.GatewayError, match="no gateway of this kind"):
            await found[0].status()
