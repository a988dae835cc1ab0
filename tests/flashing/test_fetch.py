"""The pinned firmware comes from a server, once, and only when its SHA-256 is right."""

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from flashing import fetch, profile
from flashing.firmware import FLOOR
from flashing.show import Show
from rich.console import Console

from gateway.errors import ConfigurationError

CONTENT = b"a firmware" * 10000
SHOW = Show(Console(quiet=True))


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[http.server.HTTPServer]:
    with http.server.HTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def pins(directory: Path, port: int, digest: str) -> Path:
    file = directory / "pinned.json"
    pin = {
        "page": "https://example.org",
        "version": "1.29.0",
        "url": f"http://127.0.0.1:{port}/",
        "sha256": digest,
    }
    file.write_text(json.dumps({"esp32": pin}))
    return file


def test_it_is_fetched_once(tmp_path: Path, server: http.server.HTTPServer) -> None:
    file = pins(tmp_path, server.server_port, hashlib.sha256(CONTENT).hexdigest())
    found = fetch.fetch("esp32", tmp_path / "cache", SHOW, file)
    assert found.read_bytes() == CONTENT
    gone = pins(tmp_path, 1, hashlib.sha256(CONTENT).hexdigest())
    assert fetch.fetch("esp32", tmp_path / "cache", SHOW, gone) == found


def test_other_bytes_are_not_kept(tmp_path: Path, server: http.server.HTTPServer) -> None:
    file = pins(tmp_path, server.server_port, "00" * 32)
    with pytest.raises(ConfigurationError, match="is not the pinned MicroPython 1.29.0"):
        fetch.fetch("esp32", tmp_path / "cache", SHOW, file)
    assert not (tmp_path / "cache").exists()


def test_without_network(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="can't be fetched.*name it with --firmware"):
        fetch.fetch("esp32", tmp_path / "cache", SHOW, pins(tmp_path, 1, "00" * 32))


def test_where_nothing_can_be_kept(tmp_path: Path, server: http.server.HTTPServer) -> None:
    (tmp_path / "cache").write_text("a file")
    file = pins(tmp_path, server.server_port, hashlib.sha256(CONTENT).hexdigest())
    with pytest.raises(ConfigurationError, match="can't be kept there.*XDG_CACHE_HOME"):
        fetch.fetch("esp32", tmp_path / "cache", SHOW, file)


@pytest.mark.parametrize("chip", sorted({profile.load(name).chip for name in profile.names()}))
def test_every_chip_has_a_version_that_the_gateway_runs_on(chip: str) -> None:
    pin = json.loads(fetch.PINS.read_text())[chip]
    assert len(bytes.fromhex(pin["sha256"])) == 32
    assert pin["url"].startswith("https://micropython.org/") and pin["version"] in pin["url"]
    assert tuple(map(int, pin["version"].split("."))) >= FLOOR
