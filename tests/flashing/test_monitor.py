"""What a board says is shown as it comes."""

import os
import threading

import pytest
from flashing import monitor
from flashing.errors import FlashError


class Screen:
    """Somebody presses Ctrl-C once `word` is on it."""

    def __init__(self, word: str) -> None:
        self.text = ""
        self._word = word

    def write(self, text: str) -> None:
        self.text += text

    def flush(self) -> None:
        if self._word in self.text:
            raise KeyboardInterrupt


def test_until_ctrl_c() -> None:
    master, slave = os.openpty()
    screen = Screen("the meter's key")
    speaker = threading.Timer(0.05, os.write, (master, b"info the meter's key: 20 characters \xff\n"))
    speaker.start()
    try:
        monitor.listen(os.ttyname(slave), screen)
    finally:
        speaker.join()
        os.close(master)
        os.close(slave)
    assert "info the meter's key: 20 characters" in screen.text


def test_a_board_that_is_unplugged() -> None:
    master, slave = os.openpty()
    name = os.ttyname(slave)
    unplugged = threading.Timer(0.05, os.close, (master,))
    unplugged.start()
    try:
        with pytest.raises(FlashError, match="the board is gone"):
            monitor.listen(name, Screen("nothing"))
    finally:
        unplugged.join()
        os.close(slave)
