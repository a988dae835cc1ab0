"""Tells what each module of the board's application puts on the heap, executed in place from its image:
`python tools/heap_by_module.py IMAGE HARDWARE` (an image of the application, a directory with stand-ins for
a board's hardware: tests/board_hardware).

Counted are bytes alive after a collection on the 64-bit unix port, where objects are twice as large as on a
board: module, classes, functions, names. The same sources give the same figures. Objects that a running
gateway makes come on top.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from source_tree import ROOT

# What the default configuration has loaded for good: MEP, a durable outbox, the hardware watchdog.
FOR_GOOD = (
    "application",
    "core_files",
    "core_log_outbox",
    "mep_opener",
    "drivers_mep_key",
    "uart_link",
    "reports",
)
# What is loaded for a moment, with what it brings.
FOR_A_MOMENT = (
    "board_config",
    "c1219_readers_identity",
    "c1219_readers_clock",
    "c1219_readers_present",
    "c1219_readers_registers",
    "c1219_readers_self_reads",
    "c1219_readers_load_profile",
    "c1219_readers_alarms",
    "c1219_readers_events",
    "c1219_readers_mbus",
    "transmission_logs",
    "transmission_series",
    "core_requests",
    "core_commands",
    "mep_tls",
)


def measured(image: Path, hardware: Path) -> tuple[dict[str, int], dict[str, int]]:
    """Bytes by module: of those that stay, and of those that do not."""
    run = (sys.executable, ROOT / "tools/run_from_rom.py", image.resolve(), "heap_probe", "-X", "heapsize=1M")
    path = f"{ROOT / 'tools'}:{hardware.resolve()}"
    with tempfile.TemporaryDirectory() as empty:  # whose modules do not hide those of the image
        done = subprocess.run(
            [*run, *FOR_GOOD, "--", *FOR_A_MOMENT],
            cwd=empty,
            env=os.environ | {"MICROPYPATH": path, "OSGP_BOARD": empty},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise SystemExit(f"the probe failed:\n{done.stdout}{done.stderr}")
    told = dict(json.loads(done.stdout.splitlines()[-1]))
    return {name: told[name] for name in FOR_GOOD if name in told}, {
        name: told[name] for name in FOR_A_MOMENT if name in told
    }


def table(for_good: dict[str, int], for_a_moment: dict[str, int]) -> str:
    lines = [f"{size:7,}  {name}" for name, size in for_good.items()]
    lines.append(f"{sum(for_good.values()):7,}  for good, in the default configuration")
    lines += [f"{size:7,}  {name}, for a moment" for name, size in for_a_moment.items()]
    return "\n".join(lines)


def main() -> int:
    print(table(*measured(Path(sys.argv[1]), Path(sys.argv[2]))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
