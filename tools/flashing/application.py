"""The board's application, compiled: the image of a slot, and what starts it from the file system's root."""

from __future__ import annotations

import tempfile
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import build_mpy
import build_rom
import bundle
from source_tree import ROOT

# The firmware runs these two as source. They and what they import lie in the root: they choose the slot.
SOURCES = ("boot.py", "main.py")


@dataclass(frozen=True)
class Application:
    """`image`: the ROMFS image of a slot. `starters`: what lies in the root, by name. `sizes`: bytes of
    bytecode by module. `version`: as the package's."""

    image: bytes
    starters: Mapping[str, bytes]
    sizes: Mapping[str, int]
    version: str

    def files(self, rom: bool) -> dict[str, bytes]:
        """What goes to the file system, by absolute path. `rom`: the image itself goes elsewhere."""
        found = {f"/{name}": data for name, data in self.starters.items()}
        for name, data in bundle.first_slot(self.image, self.version, rom).items():
            found[f"/app/{name}"] = data
        return found


def build(compile_to: Callable[[Path], Mapping[str, int]] = build_mpy.build) -> Application:
    """`compile_to(directory)`: puts the modules there and gives their sizes."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    with tempfile.TemporaryDirectory() as scratch:
        modules, image = Path(scratch, "mpy"), Path(scratch, "app.romfs")
        sizes = compile_to(modules)
        for name in (*SOURCES, *build_mpy.STARTERS):
            # The root's are loaded by the time a slot is entered.
            (modules / name).with_suffix(".mpy").unlink(missing_ok=True)
        build_rom.pack(modules, image)
        starters = {name: (ROOT / "micropython" / name).read_bytes() for name in SOURCES}
        for name in build_mpy.STARTERS:
            compiled = Path(scratch, f"{name}.mpy")
            build_mpy.compile_file(ROOT / "micropython" / f"{name}.py", name, compiled)
            starters[compiled.name] = compiled.read_bytes()
        return Application(image.read_bytes(), starters, sizes, str(project["version"]))
