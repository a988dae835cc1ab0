"""TLS as a user meets it: read with it, never get less again, forget it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from gateway.drivers.mep.security import Security
from gateway.errors import ConfigurationError
from gateway.host.state_dir import state_dir
from gateway.host.tls_memory import TlsMeters
from tests.command_line import run_here
from tests.patience import PATIENCE_S

pytest.importorskip("mbedtls", reason="the virtual meter's TLS is python-mbedtls, which has no wheel here")

MAK = "advanced key 012"
MBK = "basic key of it!"
KINDS = ("identity", "registers", "present")


class Files:
    """Keys, and a state directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for name, key in (("mak", MAK), ("mbk", MBK), ("wrong", "no key of it at!")):
            (directory / name).write_text(key)
            (directory / name).chmod(0o600)
        self.environment = {
            **os.environ,
            "OSGP_TIME": "5",
            "XDG_STATE_HOME": str(directory / "state"),
            "COLUMNS": "100",
        }
        self.environment.pop("STATE_DIRECTORY", None)

    @property
    def remembered(self) -> dict:
        return json.loads((self.directory / "state/osgp-gateway/tls-meters.json").read_text())

    def run(self, *arguments: object) -> "subprocess.CompletedProcess[str]":
        done = run_here(arguments, self.environment, scale=5)
        assert "Traceback" not in done.stderr, done.stderr
        for key in (MAK, MBK):
            assert key not in done.stdout + done.stderr
        return done

    def read(self, port: str, security: str, key: str = "mbk", *more: object):
        return self.run(
            *("read", *KINDS, "--json", "--port", port, "--key-file", self.directory / key),
            *("--security", security, *more),
        )

    @contextmanager
    def meter(self, security: str, listen: str = "tcp:127.0.0.1:0") -> Iterator[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway.host.cli", "simulate", "--listen", listen, "--firmware", "4.30"]
            + ["--key-file", str(self.directory / "mak"), "--basic-key-file", str(self.directory / "mbk")]
            + ["--baud", "fast", "--security", security],
            stdout=subprocess.PIPE,
            text=True,
            env=self.environment,
        )
        try:
            line = process.stdout.readline()
            assert line.startswith("listening on "), line
            yield line.split()[2]
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=PATIENCE_S)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def properties(done: "subprocess.CompletedProcess[str]") -> "list[tuple[str, list[str]]]":
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return [(each["kind"], [value["property"] for value in each["values"]]) for each in found]


def test_a_meter_is_read_over_tls_with_either_key_and_nothing_less_afterwards(files: Files):
    with files.meter("both") as port:
        plain = files.read(port, "digest")
        for key, level in (("mbk", 0), ("mak", 1)):
            secured = files.read(port, "tls", key)
            assert properties(secured) == properties(plain)
            assert files.remembered[port] == {
                "level": level,
                "port": port,
                "since": files.remembered[port]["since"],
            }
        for less in ("digest", "rc4"):
            refused = files.read(port, less)
            assert refused.returncode == 2
            assert "forget-security" in refused.stderr
        forgotten = files.run("forget-security", port)
        assert forgotten.returncode == 0 and port in forgotten.stdout
        assert files.read(port, "digest").returncode == 0
        again = files.run("forget-security", port)
        assert (again.returncode, "nothing is remembered" in again.stderr) == (2, True)


def test_auto_takes_what_the_meter_speaks_and_never_less_than_before(files: Files):
    with files.meter("rc4") as port:
        assert properties(files.read(port, "auto"))
        refused = files.read(port, "tls")
        assert (refused.returncode, "does not speak TLS" in refused.stderr) == (3, True)
        assert not (files.directory / "state/osgp-gateway/tls-meters.json").exists()
    with files.meter("tls", port.replace("://", ":")) as same:
        assert same == port
        assert properties(files.read(port, "auto"))
        assert files.remembered[port]["level"] == 0
        wrong = files.read(port, "auto", "wrong")
        assert (wrong.returncode, "refused the key" in wrong.stderr) == (3, True)
    with files.meter("rc4", port.replace("://", ":")):
        refused = files.read(port, "auto")
        assert (refused.returncode, "does not speak TLS any more" in refused.stderr) == (3, True)
        assert "forget-security" in refused.stderr and 'set security to "rc4"' not in refused.stderr
        files.run("forget-security", port)
        assert properties(files.read(port, "auto"))


def test_a_level_that_is_not_the_keys_is_refused(files: Files):
    with files.meter("both") as port:
        refused = files.read(port, "tls", "mak", "--key-level", "mbk")
        assert (refused.returncode, "as MBK" in refused.stderr) == (3, True)
        assert files.read(port, "tls", "mak", "--key-level", "mak").returncode == 0


@pytest.mark.parametrize("more", [("--security", "ssl"), ("--security", "tls", "--key-level", "admin")])
def test_words_that_are_none(files: Files, more: "tuple[str, ...]"):
    done = files.run(
        "read", "identity", "--port", "tcp://127.0.0.1:1", "--key-file", files.directory / "mbk", *more
    )
    assert done.returncode == 2
    assert "there are" in done.stderr


CONFIGURATION = """
[gateway]
state_dir = "kept"
[broker]
url = "mqtt://127.0.0.1:1883"
custody = "broker"
[[meter]]
name = "house"
port = "tcp://127.0.0.1:4059"
key_file = "mbk"
security = "auto"
"""


def test_forget_by_the_name_in_the_configuration(files: Files):
    kept = TlsMeters(files.directory / "kept")
    kept.remember("house", "tcp://127.0.0.1:4059", 1)
    kept.remember("other", "/dev/ttyUSB0", 0)
    (files.directory / "gateway.toml").write_text(CONFIGURATION)
    checked = files.run("check", "-c", files.directory / "gateway.toml")
    assert (checked.returncode, "has spoken TLS" in checked.stdout) == (0, True)
    (files.directory / "less.toml").write_text(CONFIGURATION.replace('"auto"', '"digest"'))
    less = files.run("check", "-c", files.directory / "less.toml")
    assert (less.returncode, "nothing less" in less.stderr) == (2, True)
    done = files.run("forget-security", "house", "-c", files.directory / "gateway.toml")
    assert (done.returncode, done.stderr) == (0, "")
    assert kept.level("house", "tcp://127.0.0.1:4059") is None
    assert kept.level("other", "/dev/ttyUSB0") == 0


class TestMemory:
    def test_it_knows_meters_by_name_and_by_port(self, tmp_path: Path):
        meters = TlsMeters(tmp_path / "state")
        assert meters.level("house", "/dev/ttyUSB0") is None
        meters.memory("house", "/dev/ttyUSB0", "auto").remember(1)
        assert meters.level("house", "/dev/ttyUSB1") == 1
        assert meters.level("renamed", "/dev/ttyUSB0") == 1
        assert meters.level("other", "/dev/ttyUSB1") is None
        with pytest.raises(ConfigurationError, match="forget-security"):
            Security(bytes(16), "digest", memory=meters.memory("house", "/dev/ttyUSB1", "digest"))
        assert meters.path.stat().st_mode & 0o077 == 0

    def test_what_can_not_be_kept_is_an_error_at_the_start(self, tmp_path: Path):
        (tmp_path / "file").write_text("")
        with pytest.raises(ConfigurationError, match="state_dir"):
            TlsMeters(tmp_path / "file/state").memory("house", "port", "auto")
        assert TlsMeters(tmp_path / "none").memory("house", "port", "digest").level is None
        assert not (tmp_path / "none").exists()

    @pytest.mark.parametrize("text", ["", "[]", "{", '{"house": 1}', '{"house": {"port": "p", "level": 7}}'])
    def test_a_damaged_file_is_no_way_back(self, tmp_path: Path, text: str):
        (tmp_path / "tls-meters.json").write_text(text)
        with pytest.raises(ConfigurationError, match="is damaged"):
            TlsMeters(tmp_path).memory("house", "port", "auto")

    def test_what_two_gateways_remember_at_the_same_time_is_all_kept(self, tmp_path: Path):
        def gateway(name: str) -> None:
            for number in range(20):
                TlsMeters(tmp_path).memory(f"{name}{number}", "port", "auto").remember(0)

        threads = [Thread(target=gateway, args=(name,)) for name in "abc"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(json.loads((tmp_path / "tls-meters.json").read_text())) == 60

    def test_where_state_is_kept(self, monkeypatch: pytest.MonkeyPatch):
        assert state_dir(Path("/srv/state")) == Path("/srv/state")
        monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/osgp:/var/lib/other")
        assert state_dir() == Path("/var/lib/osgp")
        monkeypatch.delenv("STATE_DIRECTORY")
        monkeypatch.setenv("XDG_STATE_HOME", "/home/me/state")
        assert state_dir() == Path("/home/me/state/osgp-gateway")
        monkeypatch.delenv("XDG_STATE_HOME")
        monkeypatch.setenv("HOME", "/home/me")
        assert state_dir() == Path("/home/me/.local/state/osgp-gateway")
