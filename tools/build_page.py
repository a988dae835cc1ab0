"""Compresses the page into what a board serves: `python tools/build_page.py [DIRECTORY]` (build/page).

The page's files come to lie there under their names with `.gz` behind; the gateway sends them as they are.
"""

import gzip
import re
import sys
from pathlib import Path

from source_tree import ROOT

PAGE = ROOT / "gateway/web/page"


def shorter(name: str, text: str) -> str:
    """Without indentation, and comments on lines of their own."""
    lines = (line.strip() for line in text.splitlines())
    kept = "\n".join(line for line in lines if line and not (name.endswith(".js") and line.startswith("//")))
    return re.sub(r"\s*([{};:,])\s+", r"\1", kept) if name.endswith(".css") else kept


def compressed() -> dict[str, bytes]:
    """By the name that a file has on the board; the same input gives the same bytes."""
    return {
        source.name + ".gz": gzip.compress(
            shorter(source.name, source.read_text(encoding="utf-8")).encode(), 9, mtime=0
        )
        for source in sorted(PAGE.iterdir())
    }


def build(target: Path) -> dict[str, int]:
    """Bytes by the file's name."""
    target.mkdir(parents=True, exist_ok=True)
    files = compressed()
    for name, content in files.items():
        (target / name).write_bytes(content)
    return {name: len(content) for name, content in files.items()}


def main() -> int:
    sizes = build(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build/page")
    for name, size in sizes.items():
        print(f"{size:7,}  {name}")
    print(f"{sum(sizes.values()):7,}  in {len(sizes)} files")
    return 0


if __name__ == "__main__":
    sys.exit(main())
