"""Where the gateway keeps what it has to know after a restart."""

from __future__ import annotations

import os
from pathlib import Path


def state_dir(configured: Path | None = None) -> Path:
    """`configured`, else what systemd says (StateDirectory=), else the user's own place for such things."""
    if configured is not None:
        return configured
    given = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    if given:
        return Path(given)
    home = os.environ.get("XDG_STATE_HOME", "")
    return (Path(home) if home.startswith("/") else Path("~/.local/state").expanduser()) / "osgp-gateway"
