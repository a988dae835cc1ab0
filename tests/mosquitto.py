"""Mosquitto as a second real broker; the tests that use it say what they lack where it is not installed."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.brokers import free_port, wait_for_port
from tests.patience import PATIENCE_S


def command() -> str:
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if not found:
        pytest.skip("the second real broker is not installed: apt install mosquitto")
    return found


class Mosquitto:
    """Start, stop and start again on the same port; what it acknowledged survives.

    `users`: names and passwords; `certificate`: certificate and key in PEM files, for TLS; `rights`: text of
    an ACL file.
    """

    def __init__(
        self,
        directory: Path,
        users: dict[str, str] | None = None,
        certificate: tuple[Path, Path] | None = None,
        rights: str = "",
    ) -> None:
        self.directory = directory
        self.port = free_port()
        self.users = users or {}
        self.rights = rights
        self.certificate = certificate
        self.process: subprocess.Popen[bytes] | None = None

    def _configuration(self) -> str:
        lines = [
            f"listener {self.port} 127.0.0.1",
            "persistence true",
            f"persistence_location {self.directory}/",
        ]
        if os.getuid() == 0:
            lines.append("user root")
        if self.certificate:
            lines += ["certfile {}".format(self.certificate[0]), "keyfile {}".format(self.certificate[1])]
        if self.users:
            passwords = self.directory / "passwords"
            passwords.write_text("".join(f"{name}:{word}\n" for name, word in self.users.items()))
            subprocess.run(["mosquitto_passwd", "-U", str(passwords)], check=True)
            passwords.chmod(0o600)
            lines.append(f"password_file {passwords}")
        if self.rights:
            (self.directory / "rights").write_text(self.rights)
            (self.directory / "rights").chmod(0o600)
            lines.append(f"acl_file {self.directory / 'rights'}")
        lines.append(f"allow_anonymous {'false' if self.users else 'true'}")
        return "\n".join(lines) + "\n"

    def start(self) -> "Mosquitto":
        executable = command()
        self.directory.mkdir(parents=True, exist_ok=True)
        file = self.directory / "mosquitto.conf"
        file.write_text(self._configuration())
        with open(self.directory / "mosquitto.log", "ab") as log:
            self.process = subprocess.Popen([executable, "-c", str(file)], stdout=log, stderr=log)
        wait_for_port(self.port, alive=self.process)
        return self

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(PATIENCE_S)
            self.process = None

    def __enter__(self) -> "Mosquitto":
        return self.start() if self.process is None else self

    def __exit__(self, *_: object) -> None:
        self.stop()
