"""Puts the application's sources where micropython/manifest.py freezes them into MicroPython's firmware from:
`python tools/build_frozen.py [DIRECTORY]` (build/frozen).

Only what is needed, as build_mpy.py leaves it; the firmware's build compiles it. What errors say stays in the
code, which lies in flash then.
"""

import shutil
import sys
from pathlib import Path

from build_mpy import needed
from source_tree import ROOT


def build(target: Path) -> int:
    """The number of modules; `target` is emptied first."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    linked = needed()
    for module, source in linked.texts.items():
        (target / f"{module}.py").write_text(source, encoding="utf-8")
    return len(linked.texts)


def main() -> int:
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build/frozen"
    print(f"{build(target)} modules in {target}; now build the firmware with micropython/manifest.py")
    return 0


if __name__ == "__main__":
    sys.exit(main())
