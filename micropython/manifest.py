"""CPython only: what MicroPython's build freezes into the firmware, besides its own (docs/board.md).

python tools/build_frozen.py
make -C ports/esp32 BOARD=ESP32_GENERIC FROZEN_MANIFEST=.../micropython/manifest.py
"""

include("$(PORT_DIR)/boards/manifest.py")  # type: ignore[name-defined]  # noqa: F821 - from the build
freeze("../build/frozen", opt=2)  # type: ignore[name-defined]  # noqa: F821
