"""The outbox on the real file system: its process is killed at random points, and its writes fail.

Failing writes are those beyond RLIMIT_FSIZE, which needs no rights and no file system of its own.
"""

import asyncio
import json
import os
import random
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path

from gateway.core.files import Files
from gateway.core.log_outbox import LogOutbox
from gateway.errors import OutboxError

METER = b"meter-number-one"
EVENTS, PROFILE, REGISTERS, PRESENT = range(4)
CAPACITY = 64 * 4096


def opened(directory: Path, segment: int = 2048) -> LogOutbox:
    return LogOutbox(Files(str(directory)), CAPACITY, lambda level, text: None, segment)


def frame(cls: int, epoch: int, sequence: int) -> bytes:
    return random.Random(f"{cls} {epoch} {sequence}").randbytes(20 + sequence % 300)


def child(work: Callable[[], None]) -> int:
    """Its process id."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        work()
        code = 0
    finally:
        os._exit(code)


async def _work(directory: Path, pipe: int, seed: int) -> None:
    """Appends, forgets and syncs for ever; tells each time what is durable."""
    choose = random.Random(seed)
    box = opened(directory)
    cursor = int(box.note(b"cursor") or b"0")
    while True:
        for _ in range(choose.randrange(1, 20)):
            cls = choose.randrange(4)
            box.append(METER, cls, lambda epoch, sequence, cls=cls: frame(cls, epoch, sequence))
            cursor += 1
        box.set_note(b"cursor", b"%d" % cursor)
        forgotten = [[*key[1:], run.first, run.last] for key, s in box._streams.items() for run in s.runs()]
        forgotten = [one for one in forgotten if choose.randrange(3) == 0]
        os.write(pipe, json.dumps({"forgets": forgotten}).encode() + b"\n")
        for cls, epoch, first, last in forgotten:
            box.forget(METER, cls, epoch, first, last)
        given = [box.next_sequence(METER, cls) for cls in range(4)]
        await box.sync()
        durable = {"epoch": box.epoch, "given": given, "cursor": cursor}
        os.write(pipe, json.dumps(durable).encode() + b"\n")


def test_nothing_promised_is_lost_when_the_process_is_killed(tmp_path: Path):
    choose = random.Random(1)
    promised: dict[int, list[int]] = {}
    receipted: list[tuple[int, int, int, int]] = []
    cursor = 0
    checked = 0
    for life in range(40):
        reading, writing = os.pipe()
        process = child(lambda pipe=writing, seed=life: asyncio.run(_work(tmp_path, pipe, seed)))
        os.close(writing)
        with os.fdopen(reading, "rb") as lines:
            for _ in range(choose.randrange(1, 9)):
                lines.peek(1)
            time.sleep(choose.randrange(40) / 1000)
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            for line in lines.read().splitlines():
                told = json.loads(line)
                receipted += told.get("forgets", [])
                if "given" in told:
                    promised[told["epoch"]] = told["given"]
                    cursor = told["cursor"]
        box = opened(tmp_path)
        assert box.epoch not in promised
        assert box.damaged == 0
        assert int(box.note(b"cursor") or b"0") >= cursor
        for epoch, given in list(promised.items()):
            for cls, count in enumerate(given):
                for sequence in range(count):
                    entry = box.get(METER, cls, epoch, sequence)
                    known = entry is not None and not entry.kept
                    if not known:
                        assert any(
                            one[:2] == [cls, epoch] and one[2] <= sequence <= one[3] for one in receipted
                        ), f"class {cls}, epoch {epoch}, sequence {sequence} is lost"
                    if entry is not None:
                        assert entry.frame == frame(cls, epoch, sequence)
                        checked += 1
        # What is old is not looked at again each time.
        promised = dict(list(promised.items())[-3:])
        box.close()
    assert checked > 500


def _fill(directory: Path) -> None:
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (6000, hard))
    box = opened(directory, 16384)
    failed = refused = 0
    for _ in range(400):
        try:
            for _ in range(10):
                box.append(METER, PROFILE, lambda epoch, sequence: frame(PROFILE, epoch, sequence))
            box.set_note(b"cursor", b"%d" % box.next_sequence(METER, PROFILE))
        except OutboxError:
            refused += 1
        try:
            asyncio.run(box.sync())
        except OutboxError:
            failed += 1
    assert failed > 10
    assert refused > 10  # memory is not endless
    count = box.next_sequence(METER, PROFILE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    asyncio.run(box.sync())
    (directory / "count").write_text(str(count))


def test_writes_that_fail_lose_nothing(tmp_path: Path):
    process = child(lambda: _fill(tmp_path))
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
    box = opened(tmp_path)
    count = int((tmp_path / "count").read_text())
    assert box.runs(METER, PROFILE, next(iter(box._streams))[2]) == [(0, count - 1)]
    entry = box.following(METER, PROFILE, -1)
    while entry is not None:
        assert entry.frame == frame(PROFILE, entry.epoch, entry.sequence)
        entry = box.following(METER, PROFILE, entry.place)
    box.close()
