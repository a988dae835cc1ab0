"""install-service: what it writes, what it leaves alone, and what systemd itself says of the unit."""

import os
import shutil
import ssl
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.errors import ConfigurationError
from gateway.host import cli, config, install, secret_files
from tests.certificates import Authority

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAM = Path("/opt/osgp-gateway/bin/osgp-gateway")
KEY = "ABCDEFGHIJKLMNOPQRST"
PASSWORD = "correct-horse-battery"
CONFIGURATION = """\
[broker]
url = "mqtts://broker.example"
username = "house"
password_file = "broker.password"
ca_file = "authority.pem"

[[meter]]
name = "house"
port = "/dev/ttyUSB0"
key_file = "meter.key"
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    directory = tmp_path / "root"
    directory.mkdir()
    return directory


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A configuration with its secrets, somewhere of the user's own."""
    directory = tmp_path / "theirs"
    directory.mkdir()
    (directory / "gateway.toml").write_text(CONFIGURATION)
    for name, text in (("meter.key", KEY), ("broker.password", PASSWORD)):
        (directory / name).write_text(text)
        (directory / name).chmod(0o600)
    (directory / "authority.pem").write_bytes(ssl.DER_cert_to_PEM_cert(Authority().der).encode())
    return directory


def install_to(root: Path, **options) -> list[str]:
    said: list[str] = []
    given = {"configuration": None, "user": install.USER, "program": PROGRAM, "dry_run": False, **options}
    install.install(root=root, say=said.append, **given)
    assert KEY not in "".join(said) and PASSWORD not in "".join(said)
    return said


def written(root: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(root)): (
            stat.S_IMODE(path.stat().st_mode),
            path.read_bytes() if path.is_file() else b"",
        )
        for path in sorted(root.rglob("*"))
    }


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_from_nothing_and_again(root):
    said = install_to(root)
    unit = (root / "etc/systemd/system/osgp-gateway.service").read_text()
    assert f"ExecStart={PROGRAM} run -c /etc/osgp-gateway/gateway.toml\n" in unit
    assert mode(root / "etc/osgp-gateway/credentials") == 0o700
    assert "m osgp-gateway dialout" in (root / "etc/sysusers.d/osgp-gateway.conf").read_text()
    assert any("systemctl enable --now osgp-gateway" in line for line in said)
    (root / "etc/osgp-gateway/gateway.toml").write_text(CONFIGURATION)
    (root / "etc/osgp-gateway/credentials/meter.key").write_text(KEY)
    before = written(root)
    said = install_to(root)
    assert written(root) == before
    assert [line for line in said if line.startswith(("write", "make"))] == []
    assert any(line.startswith("kept: ") for line in said)


def test_what_was_changed_by_accident_is_put_right(root):
    install_to(root)
    right = written(root)
    (root / "etc/osgp-gateway/credentials").chmod(0o755)
    (root / "etc/systemd/system/osgp-gateway.service").write_text("[Service]\n")
    install_to(root)
    assert written(root) == right


def test_an_own_configuration_comes_with_its_secrets(root, theirs, monkeypatch):
    install_to(root, configuration=theirs / "gateway.toml")
    there = root / "etc/osgp-gateway"
    assert (there / "gateway.toml").read_text() == CONFIGURATION
    assert mode(there / "credentials/meter.key") == 0o600
    assert mode(there / "gateway.toml") == 0o644
    # Whoever may read the keys can check it in place; the service gets them from systemd.
    meter = config.load(there / "gateway.toml").meter[0]
    assert secret_files.read_secret(meter.key_file).decode() == KEY
    loaded = root / "run"
    loaded.mkdir()
    for file in (there / "credentials").iterdir():
        shutil.copy(file, loaded / f"secret_{file.name}")  # as LoadCredential=secret:DIRECTORY does
    (loaded / "secret_meter.key").chmod(0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(loaded))
    assert config.load(there / "gateway.toml").meter[0].key_file == loaded / "secret_meter.key"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"meter.key"', '"./meter.key"', "put it beside"),
        ("[broker]", '[gateway]\nstate_dir = "state"\n[broker]', "leave it out"),
        ('"house"\nport', '"house"\nprot', "did you mean port"),
    ],
)
def test_a_configuration_that_the_service_could_not_use_is_refused(root, theirs, old, new, says):
    (theirs / "gateway.toml").write_text(CONFIGURATION.replace(old, new))
    with pytest.raises(ConfigurationError, match=says):
        install_to(root, configuration=theirs / "gateway.toml")
    assert written(root) == {}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"user": "root"}, "user of its own"),
        ({"user": "a b"}, "no name for a user"),
        ({"program": Path("/home/me/venv/bin/osgp-gateway")}, "below /opt"),
        ({"program": Path("osgp-gateway")}, "absolute"),
    ],
)
def test_what_could_not_run_is_refused(root, options, says):
    with pytest.raises(ConfigurationError, match=says):
        install_to(root, **options)
    assert written(root) == {}


def test_dry_run_says_all_and_does_nothing(root):
    said = install_to(root, dry_run=True)
    assert written(root) == {}
    assert sum(line.startswith("would ") for line in said) == 5


def test_the_system_is_only_changed_by_root(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ConfigurationError, match="needs root"):
        install_to(Path("/"))
    with pytest.raises(ConfigurationError, match="needs root"):
        install.uninstall(Path("/"), False)


def test_uninstall_leaves_what_is_the_users(root, theirs):
    install_to(root, configuration=theirs / "gateway.toml")
    said: list[str] = []
    install.uninstall(root, False, said.append)
    left = {name for name, (_, content) in written(root).items() if content}
    assert left == {
        "etc/osgp-gateway/gateway.toml",
        "etc/osgp-gateway/authority.pem",
        "etc/osgp-gateway/credentials/meter.key",
        "etc/osgp-gateway/credentials/broker.password",
    }
    install.uninstall(root, False, said.append)  # once more does no harm


def systemd(*arguments: object, program: str = "systemd-analyze") -> subprocess.CompletedProcess[str]:
    if not shutil.which(program):
        pytest.skip(f"{program}, which works where systemd does not run, is missing: apt install systemd")
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False)


def test_systemd_finds_the_unit_right_and_safe(root, tmp_path):
    program = tmp_path / "osgp-gateway"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / "osgp-gateway.service"
    unit.write_bytes(install.unit("meters", program))
    done = systemd("verify", "--man=no", unit)
    assert (done.returncode, done.stderr) == (0, "")
    done = systemd("security", "--offline=true", "--threshold=20", REPOSITORY / "deploy/osgp-gateway.service")
    assert done.returncode == 0, done.stdout[-300:] + done.stderr


def test_systemd_makes_the_user(root):
    install_to(root, user="meters")
    done = systemd(f"--root={root}", "--dry-run", program="systemd-sysusers")
    assert done.returncode == 0, done.stderr
    (root / "etc/sysusers.d").mkdir(exist_ok=True)
    done = systemd(f"--root={root}", program="systemd-sysusers")
    assert done.returncode == 0, done.stderr
    assert "meters:" in (root / "etc/passwd").read_text()
    assert "dialout:x:" in (root / "etc/group").read_text() and "meters" in next(
        line for line in (root / "etc/group").read_text().splitlines() if line.startswith("dialout:")
    )


def test_the_commands(root, monkeypatch, capsys):
    def call(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["osgp-gateway", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return ended.value.code or 0, said.out + said.err

    code, said = call("install-service", "--root", root, "--program", PROGRAM, "--user", "meters")
    assert code == 0 and "What to do next" in said, said
    assert "User=meters\nGroup=meters\n" in (root / "etc/systemd/system/osgp-gateway.service").read_text()
    code, said = call("uninstall-service", "--root", root)
    assert code == 0 and "What is yours was left" in said, said
    code, said = call("install-service", "--root", root / "absent", "--program", PROGRAM)
    assert code == 2 and "no such directory" in said, said
