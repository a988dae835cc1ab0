"""What errors and log lines say, read from flash when it is said; tools/move_texts.py put it there."""

_FILE = __file__[: -len("texts.mpy")] + "texts.bin"


def text(start: int, length: int) -> str:
    with open(_FILE, "rb") as file:
        file.seek(start)
        return file.read(length).decode()
