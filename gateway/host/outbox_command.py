"""`osgp-gateway outbox`: what an outbox holds, on Linux or copied from a board, and a way to send it."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .. import clock
from ..core.files import Files
from ..core.frame_logs import FrameLogs
from ..core.journal import Journal, is_journal
from ..core.log_outbox import LogOutbox
from ..core.opening import Opening, is_bad, number_of
from ..core.outbox import CLASSES
from ..core.runs import Segment, Stream
from ..core.segments import Extent
from ..core.sender import Sender
from ..core.supervisor import Worker
from ..errors import ConfigurationError, OutboxError
from ..transmission import envelope, ids
from ..transmission.custody import hop_key
from . import broker_link, config
from .logs import log
from .outbox_dir import opened, outbox_dir
from .roles import credential

CLASS_NAMES = ("events", "profile", "registers", "present")

# A running gateway may remove a file between our listing and our reading it.
_TRIES = 5
_SYNC_MS = 5000


class _Untouched(Files):
    """Files that are only read."""

    mode = "rb"

    def remove(self, name: str) -> None:
        pass

    def rename(self, old: str, new: str) -> None:
        pass


def place(directory: Path | None, file: Path | None) -> Path:
    """The directory that is meant. Raises ConfigurationError."""
    if (directory is None) == (file is None):
        raise ConfigurationError("name either the outbox's directory, or a configuration with -c")
    if file is not None:
        gateway = config.load(file).gateway
        directory = outbox_dir(gateway.state_dir, gateway.id)
    assert directory is not None
    if not directory.is_dir():
        raise ConfigurationError(f"{directory}: there is no such directory")
    if not any(number_of(one.name) >= 0 for one in directory.iterdir()):
        raise ConfigurationError(f"{directory}: holds no outbox")
    return directory


def inspect(directory: Path) -> dict[str, Any]:
    """What `show` says, for programs; changes nothing, also while a gateway uses it. Raises OutboxError."""
    for _ in range(_TRIES - 1):
        try:
            return _inspect(directory)
        except OutboxError:
            time.sleep(0.2)
    return _inspect(directory)


def _inspect(directory: Path) -> dict[str, Any]:
    files = _Untouched(str(directory))
    names = [name for name in files.names() if number_of(name) >= 0]
    problems: list[str] = []
    logs = FrameLogs(files, 1, 0)
    journal = Journal(files, [name for name in names if is_journal(name) and not is_bad(name)])
    streams: dict[tuple[bytes, int, int], Stream] = {}
    frames: dict[str, int] = {}

    def take(segment: Segment, i: int, extent: Extent) -> None:
        key = (extent.meter, segment.cls, extent.epoch)
        stream = streams.setdefault(key, Stream(*key, logs))
        forgotten = journal.state.forgotten.get(key, ())
        stream.load(segment.number, i, extent.first, extent.first + extent.count - 1, forgotten)
        frames[segment.name] = frames.get(segment.name, 0) + extent.count

    opening = Opening(files, logs, journal, lambda level, text: problems.append(text), take)
    try:
        opening.run([name for name in names if not is_journal(name) and not is_bad(name)])
        return {
            "directory": str(directory),
            "bytes": sum((directory / name).stat().st_size for name in names),
            "torn": opening.torn,
            "problems": problems,
            "setAside": [name for name in names if is_bad(name)],
            "files": [
                {
                    "name": segment.name,
                    "class": CLASS_NAMES[segment.cls],
                    "begun": segment.created,
                    "bytes": segment.size,
                    "frames": frames.get(segment.name, 0),
                    "pending": segment.pending,
                }
                for cls in range(CLASSES)
                for segment in [logs.segment(cls, number) for number, _ in logs.ages(cls)]
            ],
            "meters": [_meter(meter, streams, journal) for meter in _meters(streams, journal)],
            "notes": sorted(_readable(name) for name in journal.state.notes),
        }
    finally:
        logs.close()
        journal.close()


def _meters(streams: dict[tuple[bytes, int, int], Stream], journal: Journal) -> list[bytes]:
    return sorted({key[0] for key in streams} | set(journal.state.drops))


def _meter(meter: bytes, streams: dict[tuple[bytes, int, int], Stream], journal: Journal) -> dict[str, Any]:
    classes = {}
    for cls in range(CLASSES):
        found = [stream for key, stream in streams.items() if key[:2] == (meter, cls)]
        held = sum(run.last - run.first + 1 for stream in found for run in stream.runs())
        if held:
            pending = sum(stream.pending for stream in found)
            classes[CLASS_NAMES[cls]] = {
                "pending": pending,
                "receipted": held - pending,
                "epochs": len(found),
            }
    drops = [
        {"class": CLASS_NAMES[cls], "epoch": epoch, "first": first, "last": last}
        for cls, epoch, first, last in journal.state.drops.get(meter, ())
    ]
    return {"meterId": ids.format_uuid(meter), "classes": classes, "drops": drops}


def _readable(name: bytes) -> str:
    """A note's name: words, and most often a meter's id behind them."""
    words, slash, meter = name[:-16], name[-17:-16], name[-16:]
    if len(name) > 17 and slash == b"/" and words.isascii():
        return words.decode() + ids.format_uuid(meter)
    return name.decode("ascii", "backslashreplace")


def show(directory: Path, as_json: bool) -> None:
    found = inspect(directory)
    if as_json:
        print(json.dumps(found, indent=2))
        return
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Column, Table

    console = Console()
    console.print(f"{found['directory']}: {len(found['files'])} files of frames, {found['bytes']} bytes")
    # Its id whole, also where the terminal is narrow.
    whole = Column("meter", min_width=36)
    meters = Table(whole, "class", "pending", "receipted", "drops", box=SIMPLE)
    for meter in found["meters"]:
        for name in CLASS_NAMES:
            its = meter["classes"].get(name)
            drops = sum(one["last"] - one["first"] + 1 for one in meter["drops"] if one["class"] == name)
            if its or drops:
                counts = (str(its["pending"]), str(its["receipted"])) if its else ("0", "0")
                meters.add_row(meter["meterId"], name, *counts, str(drops) if drops else "")
    console.print(meters)
    files = Table("file", "class", "begun (UTC)", "bytes", "frames", "pending", box=SIMPLE)
    for one in found["files"]:
        begun = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(one["begun"]))
        files.add_row(
            one["name"], one["class"], begun, str(one["bytes"]), str(one["frames"]), str(one["pending"])
        )
    console.print(files)
    console.print("notes: " + (", ".join(found["notes"]) or "none"), highlight=False)
    for problem in found["problems"]:
        console.print(problem, highlight=False)
    if found["torn"]:
        console.print(f"{found['torn']} bytes at the end of files are no whole records yet")
    if found["setAside"]:
        console.print("set aside at earlier openings: " + ", ".join(found["setAside"]), highlight=False)


def write_out(directory: Path, out: Path) -> int:
    """Pending frames in envelopes, as `decode` reads them; how many. The directory stays as it is."""
    box = LogOutbox(_Untouched(str(directory)), 1 << 62, log)
    count = 0
    try:
        with out.open("xb") as file:
            for meter, frame in _pending(box):
                file.write(envelope.wrap(meter, frame))
                count += 1
    except FileExistsError:
        raise ConfigurationError(f"{out}: exists already, and is not written over") from None
    except OSError as error:
        raise ConfigurationError(f"{out}: can't be written: {error.strerror}") from None
    finally:
        box.close()
    return count


def _pending(box: LogOutbox) -> Iterator[tuple[bytes, bytes]]:
    for meter in box.meters():
        for cls in range(CLASSES):
            entry = box.following(meter, cls, -1)
            while entry is not None:
                try:
                    yield meter, entry.frame
                except OutboxError as error:
                    log("error", str(error))
                entry = box.following(meter, cls, entry.place)


async def send(directory: Path, file: Path, seconds: int) -> int:
    """Hand what is pending to the configured broker and wait for its receipts; how many came. What is
    receipted is noted in `directory`. Raises OutboxError when not all is receipted in time."""
    settings = config.load(file)
    key = credential(settings.broker)
    size = sum(one.stat().st_size for one in directory.iterdir())
    with opened(directory, 2 * size + (64 << 20)) as box:
        waiting = sum(1 for _ in _pending(box))
        # The service may be connected at the same time.
        broker = broker_link.broker(settings.broker, f"{settings.gateway.id}-replay")
        sender = Sender(
            box,
            broker,
            settings.gateway.id,
            None if key is None else hop_key(key),
            adapter=settings.gateway.role == "adapter",
        )
        running = asyncio.create_task(Worker("broker", sender.run, log).run())
        until = clock.monotonic_ms() + 1000 * seconds
        synced = clock.monotonic_ms()
        try:
            while box.meters() and clock.monotonic_ms() < until:
                await clock.sleep_ms(100)
                if clock.monotonic_ms() - synced > _SYNC_MS:
                    await box.sync()
                    synced = clock.monotonic_ms()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await box.sync()
        left = sum(1 for _ in _pending(box))
    if left:
        raise OutboxError(
            f"{left} of {waiting} frames have no receipt after {seconds} s; they are still in {directory}: "
            "try again, or look whether the cloud knows this gateway's credential"
        )
    return waiting


def replay(directory: Path, file: Path | None, out: Path | None, seconds: int) -> None:
    if (file is None) == (out is None):
        raise ConfigurationError(
            "name either the configuration whose broker takes the frames (-c), or a file (--out)"
        )
    place(directory, None)
    if out is not None:
        print(f"{write_out(directory, out)} frames written to {out}", file=sys.stderr)
    elif file is not None:
        print(f"{asyncio.run(send(directory, file, seconds))} frames sent and receipted", file=sys.stderr)
