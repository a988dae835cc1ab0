"""What the stand-ins share: the directory OSGP_BOARD, where tests say how the world is and see what was done.

Of the world: `pin.<n>` holds the level of an input, `wifi` (JSON) what is on the air; `interrupt`, once it
is there, is Ctrl-C on the console. The interpreter takes a signal for that in the midst of anything, and then
breaks now and then; a board takes it between two instructions. While there is `hang` the program stands
still; what is in `broken` the watchdog raises when it is made.

Done by the board: `record` has a line for each thing done, `level.<n>` the level of an output, `wdt` the
watchdog's time-out in ms (written anew when it is fed), `rtc` the memory that outlives resets, `reset_cause`
why the board starts next.
"""

import json
import os
import time

DIRECTORY = os.getenv("OSGP_BOARD") or "."


def record(text):
    with open(DIRECTORY + "/record", "a") as file:
        file.write("%d %s\n" % (time.time_ns() // 1000000, text))


def write(name, content):
    with open(DIRECTORY + "/" + name, "wb") as file:
        file.write(content)


def read(name, default=b""):
    try:
        with open(DIRECTORY + "/" + name, "rb") as file:
            return file.read()
    except OSError:
        return default


def look():
    """Raises KeyboardInterrupt where somebody has asked for it; called a few times a second."""
    while read("hang", None) is not None:
        time.sleep(1)
    if read("interrupt", None) is not None:
        os.remove(DIRECTORY + "/interrupt")
        raise KeyboardInterrupt


def world(name):
    """What the test says of it; {} where it says nothing."""
    return json.loads(read(name, b"{}") or b"{}")
