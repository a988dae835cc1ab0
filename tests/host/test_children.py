"""Programs that were started end with who started them, and a command that is interrupted ends quietly."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gateway.host import entry
from tests.patience import PATIENCE_S

CHILD = """\
import os, time
print(os.getpid(), flush=True)
time.sleep(600)
"""
PARENT = """\
import asyncio
from pathlib import Path
from gateway.host.children import running

async def main():
    async with running("a child", "sleeping_child", [], Path("child.log")):
        await asyncio.sleep(600)

asyncio.run(main())
"""


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_children_do_not_outlive_one_that_is_killed(tmp_path: Path):
    (tmp_path / "sleeping_child.py").write_text(CHILD)
    paths = os.pathsep.join([str(tmp_path), str(Path(entry.__file__).parents[2])])
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], cwd=tmp_path, env={**os.environ, "PYTHONPATH": paths}
    )
    try:
        said = ""
        while not said.endswith("\n"):
            assert parent.poll() is None
            time.sleep(0.02)
            said = (tmp_path / "child.log").read_text() if (tmp_path / "child.log").exists() else ""
        assert is_running(int(said))
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    for _ in range(50 * PATIENCE_S):
        if not is_running(int(said)):
            break
        time.sleep(0.02)
    assert not is_running(int(said))


def test_ctrl_c_before_the_command_line_is_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    class Interrupting:
        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            if name == "gateway.host.cli":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "gateway.host.cli", raising=False)
    monkeypatch.delattr("gateway.host.cli", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Interrupting(), *sys.meta_path])
    with pytest.raises(SystemExit) as ended:
        entry.main()
    assert ended.value.code == 130
