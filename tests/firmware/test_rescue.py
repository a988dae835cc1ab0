"""A board with no version that is whole and runs takes an update all the same."""

import http.client
import json
import shutil
import signal
import subprocess
from pathlib import Path

import bundle
import pytest
from build_mpy import STARTERS, compile_file

from tests.brokers import free_port, wait_for_port
from tests.interpreter import ROOT, micropython
from tests.patience import PATIENCE_S
from tests.update_vectors import KEY, bytecode, files, image, public

BROKEN = "raise MemoryError('no room for it')\n"
RESCUE = "def run(crashed, reset):\n    print('rescue after', crashed, 'crashes:', reset)\n"

CHOOSE = "import slots; print(slots.choose())"
SERVE = CHOOSE + "; import asyncio, sys, application; asyncio.run(application.serve(int(sys.argv[1])))"


@pytest.fixture
def board(tmp_path: Path) -> Path:
    """The root of a board's file system, as flashing leaves it."""
    for name in STARTERS:
        shutil.copy(ROOT / f"micropython/{name}.py", tmp_path)
    lay_out(tmp_path, files("1.0"))
    (tmp_path / "config").mkdir()
    (tmp_path / "config/update.keys").write_text(public(KEY) + "\n")
    return tmp_path


def lay_out(board: Path, version: dict[str, bytes]) -> None:
    """With these files in its slot."""
    shutil.rmtree(board / "app", ignore_errors=True)
    for name, data in bundle.first_slot(image(version), "1.0", rom=False).items():
        file = board / "app" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)


def start(board: Path, program: str, *arguments: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [micropython(), "-X", "heapsize=128K", "-c", program, *map(str, arguments)],
        cwd=board,
        env={"MICROPYPATH": f":{ROOT / 'tests/board_hardware'}:.frozen", "OSGP_BOARD": str(board)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def chosen(board: Path) -> str:
    return start(board, CHOOSE).communicate(timeout=PATIENCE_S)[0].strip()


def ask(port: int, method: str, body: bytes = b"") -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.request(method, "/", body)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def test_where_neither_slot_is_whole_a_page_takes_a_bundle(board: Path):
    assert chosen(board) == "a"
    (board / "app/a/application.mpy").write_bytes(bytecode("of another version"))
    port = free_port()
    good = bundle.make(image(files("7.2.0")), "7.2.0", KEY)
    running = start(board, SERVE, port)
    try:
        wait_for_port(port, PATIENCE_S)
        assert "<input type=file" in ask(port, "GET")
        assert ask(port, "POST", b"PK" * 100).startswith("Refused: this is no application bundle")
        assert "damaged on its way" in ask(port, "POST", good.replace(b"core 7.2.0", b"core 7.2.1"))
        assert ask(port, "POST", good) == "Version 7.2.0 is in; the board starts with it."
        said, _ = running.communicate(timeout=PATIENCE_S)
    finally:
        running.kill()
    assert (running.returncode, said) == (0, "\n")
    assert chosen(board) in ("a", "b")
    state = json.loads((board / "app/state").read_bytes()[8:])
    written = board / "app" / state["trial"] / "application.mpy"
    assert written.read_bytes() == files("7.2.0")["application.mpy"]


def test_a_version_that_can_not_even_be_loaded_leads_there_after_crashes_in_a_row(board: Path):
    """Each start of it writes to flash; it does not start again for ever."""
    for name in ("boot.py", "main.py"):
        shutil.copy(ROOT / "micropython" / name, board)
    (board / "broken.py").write_text(BROKEN)
    compile_file(board / "broken.py", "application", board / "broken.mpy")
    lay_out(board, {"application.mpy": (board / "broken.mpy").read_bytes()})
    (board / "app/rescue/application.py").write_text(RESCUE)
    for _ in range(4):
        crashing = start(board, "import boot, main; main.main()")
        said, _ = crashing.communicate(timeout=PATIENCE_S)
        assert (crashing.returncode, "MemoryError: no room for it" in said) == (-signal.SIGKILL, True)
    running = start(board, "import boot, main; main.main()")
    said, _ = running.communicate(timeout=PATIENCE_S)
    assert said == "rescue after 4 crashes: the program crashed: MemoryError: no room for it\n"
    assert (board / "log/crash.txt").read_text().count("no room for it") == 4
