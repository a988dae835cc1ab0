"""Shows what a board says on its serial port."""

from __future__ import annotations

from typing import TextIO

import serial

from .errors import FlashError
from .ports import open_port

_BAUD = 115200
_TURN_S = 0.5


def listen(name: str, out: TextIO) -> None:
    """Until Ctrl-C. Raises FlashError when the board is unplugged."""
    port = open_port(name, _BAUD)
    port.timeout = _TURN_S
    out.write(f"What the board says on {name}; Ctrl-C ends this\n")
    try:
        while True:
            data = port.read(port.in_waiting or 1)
            out.write(data.decode("utf-8", "replace"))
            out.flush()
    except (serial.SerialException, OSError) as error:
        raise FlashError(f"{name}: the board is gone: {error}") from None
    except KeyboardInterrupt:
        out.write("\n")
    finally:
        port.close()
