"""A board whose file system is a directory, for tests of its application."""

import json
import shutil
from pathlib import Path
from typing import Any

from tests.interpreter import ROOT, micropython
from tests.powered_board import PoweredBoard


class Board(PoweredBoard):
    """`application`: a directory with its bytecode. `root`: of the board's file system."""

    def __init__(self, directory: Path, application: Path, profile: str = "generic-esp32") -> None:
        super().__init__(directory)
        self.root = directory / "flash"
        self.environment["OSGP_APPLICATION"] = str(application)
        (self.root / "config").mkdir(parents=True)
        for name in ("boot.py", "main.py"):
            shutil.copy(ROOT / "micropython" / name, self.root)
        shutil.copy(ROOT / f"micropython/boards/{profile}.json", self.root / "config/profile.json")

    def install(self, settings: dict[str, Any], **secrets: str) -> None:
        """The configuration, and files beside it."""
        (self.root / "config/board.json").write_text(json.dumps(settings))
        for name, content in secrets.items():
            file = self.root / "config" / name
            file.write_text(content + "\n")
            file.chmod(0o600)

    def command(self) -> tuple[tuple[str, ...], Path]:
        script = str(ROOT / "tests/board_hardware/firmware.py")
        return (micropython(), "-X", "heapsize=2M", script), self.root
