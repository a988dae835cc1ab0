"""The board's own reading and checking of its configuration, on CPython."""

from __future__ import annotations

import sys
import types
from typing import Any


class _OnBoardsOnly(types.ModuleType):
    """In place of a module that only MicroPython has: checking imports from it and calls nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return None


for _name in ("cryptolib", "esp32", "machine", "network", "tls"):
    sys.modules.setdefault(_name, _OnBoardsOnly(_name))

from board_config import write  # noqa: E402 - it imports them

__all__ = ["write"]
