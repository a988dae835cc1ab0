"""Real TLS servers for tests: OpenSSL's s_server, mbed TLS through python-mbedtls, MicroPython's own.

Each answers a message with its reverse; OpenSSL takes lines and leaves the line's end where it is.
"""

import re
import shutil
import socket
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.interpreter import micropython

SUITE = "PSK-AES256-GCM-SHA384"
HERE = Path(__file__).resolve().parent
_SECONDS = 120


@contextmanager
def openssl(key: bytes, *more: str):
    """The port of an s_server. It takes any identity: wrong ones it only warns about."""
    command = shutil.which("openssl")
    if command is None:
        pytest.fail("openssl not found on PATH: apt install openssl (.ci/run does)")
    process = subprocess.Popen(
        [command, "s_server", "-accept", "127.0.0.1:0", "-nocert", "-tls1_2", "-cipher", SUITE, "-rev"]
        + ["-psk", key.hex(), *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    try:
        for line in process.stdout:
            found = re.match(r"ACCEPT .*:(\d+)$", line)
            if found:
                yield int(found[1])
                break
        else:
            pytest.fail("openssl s_server did not start")
    finally:
        process.kill()
        process.communicate()


class MbedServer:
    """mbed TLS without a line: records in, records out. `keys`: by identity."""

    def __init__(self, keys: "dict[bytes, bytes]") -> None:
        from mbedtls import tls
        from mbedtls._tls import MbedTLSBuffer

        self._tls = tls
        self._buffer = MbedTLSBuffer(
            tls.ServerContext(
                tls.TLSConfiguration(
                    pre_shared_key_store={name.decode(): key for name, key in keys.items()},
                    ciphers=("TLS-PSK-WITH-AES-256-GCM-SHA384",),
                    lowest_supported_version=tls.TLSVersion.TLSv1_2,
                    highest_supported_version=tls.TLSVersion.TLSv1_2,
                    validate_certificates=False,
                )
            )
        )
        self.established = False

    def receive(self, records: bytes) -> bytes:
        self._buffer.receive_from_network(records)
        if not self.established:
            self._shake_hands()
        else:
            try:
                self._buffer.write(self._buffer.read(4096)[::-1])
            except self._tls.WantReadError:
                pass
        sent = bytes(self._buffer.peek_outgoing(8192))
        self._buffer.consume_outgoing(len(sent))
        return sent

    def _shake_hands(self) -> None:
        from mbedtls.exceptions import TLSError

        while self._buffer._handshake_state != self._tls.HandshakeStep.HANDSHAKE_OVER:
            try:
                self._buffer.do_handshake()
            except self._tls.WantWriteError:
                pass
            except (self._tls.WantReadError, TLSError):
                return  # an alert is among the records
        self.established = True


@contextmanager
def mbed(keys: "dict[bytes, bytes]"):
    """The port of an MbedServer behind TCP, for one connection."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(_SECONDS)

    def serve() -> None:
        try:
            connection = listener.accept()[0]
        except OSError:
            return
        with connection:
            connection.settimeout(_SECONDS)
            server = MbedServer(keys)
            try:
                while received := connection.recv(4096):
                    connection.sendall(server.receive(received))
            except OSError:
                pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()
        thread.join(_SECONDS)


@contextmanager
def micropython_server(identity: bytes, key: bytes):
    """A connection to MicroPython's own TLS server."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(_SECONDS)
        script = HERE / "conformance/tls_reverser.py"
        process = subprocess.Popen(
            [micropython(), str(script), str(listener.getsockname()[1]), identity.hex(), key.hex()],
            stdout=subprocess.DEVNULL,
        )
        try:
            with listener.accept()[0] as connection:
                connection.settimeout(_SECONDS)
                yield connection
        finally:
            process.kill()
            process.wait()


def has_mbedtls() -> bool:
    """Whether python-mbedtls has a wheel here, which pyproject.toml's extra "test" says."""
    try:
        import mbedtls  # noqa: F401
    except ImportError:
        return False
    return True


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), _SECONDS)


def talk(connection: socket.socket, client, messages: "tuple[bytes, ...]") -> "list[bytes]":
    """A handshake, and what comes back for each message."""
    connection.sendall(client.start())
    while not client.established:
        received = connection.recv(4096)
        if not received:
            raise ConnectionError("the server closed the connection")
        connection.sendall(client.feed(received))
    answers = []
    for message in messages:
        connection.sendall(client.wrap(message))
        answer = b""
        while len(answer) < len(message):
            received = connection.recv(4096)
            if not received:
                raise ConnectionError("the server closed the connection")
            answer += client.unwrap(received)
        answers.append(answer)
    return answers
