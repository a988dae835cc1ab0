"""A board in its boot loader, for esptool: esp32-mock-bootloader in a thread, with the flash in our hands."""

import contextlib
import os
import select
import threading
import time
from collections.abc import Iterator

from esp32_mock_bootloader.server import BootloaderConnection, FlashImage, handle_client

_TURN_S = 0.02


class MockBoard(FlashImage):
    """`port`: its serial port. `data`: the flash. `unwritable`: an address that keeps nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.port = ""
        self.unwritable: int | None = None

    def write_defl_block(self, payload: bytes) -> None:
        """The mock's own one copies byte by byte."""
        assert self._decompressor is not None
        length = int.from_bytes(payload[:4], "little")
        data = self._decompressor.decompress(payload[16 : 16 + length])
        start = self._defl_offset
        self.data[start : start + len(data)] = data
        self._defl_offset += len(data)
        if self.unwritable is not None and start <= self.unwritable < self._defl_offset:
            self.data[self.unwritable] ^= 0x20


class _Line:
    """The board's end of a pseudo-terminal, as the mock wants a socket; without its time-out of
    0.05 s, within which a busy machine does not read."""

    def __init__(self, master: int, stop: threading.Event) -> None:
        self._master = master
        self._stop = stop
        self._heard = False

    def settimeout(self, _: float) -> None:
        pass

    def recv(self, size: int) -> bytes:
        while not self._stop.is_set():
            try:
                if select.select([self._master], [], [], _TURN_S)[0]:
                    data = os.read(self._master, size)
                    self._heard = True
                    return data
            except OSError:  # nobody has the other end open
                if self._heard:
                    return b""
                time.sleep(_TURN_S)
        return b""

    def sendall(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._master, data) :]

    def close(self) -> None:
        pass


@contextlib.contextmanager
def mock_board(chip: str = "esp32") -> Iterator[MockBoard]:
    board = MockBoard()
    stop = threading.Event()
    master, slave = os.openpty()
    board.port = os.ttyname(slave)
    os.close(slave)

    def serve() -> None:
        while not stop.is_set():
            handle_client(
                BootloaderConnection(_Line(master, stop)), stop, chip, exit_on_disconnect=True, flash=board
            )

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield board
    finally:
        stop.set()
        thread.join()
        os.close(master)
