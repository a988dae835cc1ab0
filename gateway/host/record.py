"""Recordings of raw link traffic: what a user attaches to a bug report, and what a test is made of.

A recording is a text file of JSON objects, one a line. The first names the format and the line:

    {"recording": "osgp-gateway link", "version": 1, "started": "2026-11-22T13:54:28.123Z",
     "port": "/dev/ttyUSB0", "baud": 9600, "protocol": "mep", "security": "digest"}

Every other line carries `ms`, the milliseconds since `started`, and one of `sent` (to the meter) or
`received` (from it), bytes in hex as they went through, or `event`: "opened", "closed", "baud 19200", or
"lost: ..." with what came back. Pieces are as the operating system gave them, not frames.

Keys and passwords are not in it: MEP sends a proof of its key, never the key, and where the optical port's
password goes over the line zeros are noted (record_optical.py). What the meter said is: serial number and
readings; nothing of that is hidden, so whoever passes a recording on passes these on.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from pathlib import Path
from typing import Any, TextIO

from .. import clock
from ..drivers.link import Link
from ..errors import ConfigurationError, LinkError
from .values import utc_text

_log = logging.getLogger("gateway.record")

FORMAT = "osgp-gateway link"
VERSION = 1

SENT = "sent"
RECEIVED = "received"
EVENT = "event"


class Recorder:
    """Writes a recording; lives as long as its file, over any number of connections.

    When the file can't be written any more the recording ends, with `failure` saying why; reading the
    meter goes on.
    """

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        """`about`: port, baud, protocol and security. Raises ConfigurationError if the file can't be made."""
        self.path = path
        self.failure = ""
        self._started = clock.monotonic_ms()
        try:
            # Readings are private: the file is its owner's alone, and an older recording stays as it is.
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise ConfigurationError(f"{path} exists already; name another file for the recording") from None
        except OSError as error:
            raise ConfigurationError(f"can't write the recording {path}: {error.strerror}") from None
        self._file: TextIO = open(descriptor, "w", encoding="ascii")  # noqa: SIM115 - closed by close()
        self._line({"recording": FORMAT, "version": VERSION, "started": utc_text(clock.utc_ms()), **about})

    def note(self, what: str, content: str) -> None:
        self._line({"ms": clock.monotonic_ms() - self._started, what: content})

    def _line(self, entry: dict[str, Any]) -> None:
        if self.failure:
            return
        try:
            self._file.write(json.dumps(entry) + "\n")
            self._file.flush()  # the last lines before a crash are the ones that matter
        except OSError as error:
            self.failure = f"can't write the recording {self.path} any further: {error.strerror}"
            _log.error("%s", self.failure)

    def close(self) -> None:
        with contextlib.suppress(OSError):  # told already: what could not be written is still in its buffer
            self._file.close()


class RecordingLink(Link):
    """Passes everything through to `link` and notes it in `recorder`."""

    def __init__(self, link: Link, recorder: Recorder) -> None:
        self._link = link
        self._recorder = recorder
        self._event("opened")

    def _bytes(self, what: str, data: bytes) -> None:
        self._recorder.note(what, data.hex())

    def _event(self, text: str) -> None:
        self._recorder.note(EVENT, text)

    async def read(self) -> bytes:
        try:
            data = await self._link.read()
        except LinkError as error:
            self._event(f"lost: {error}")
            raise
        self._bytes(RECEIVED, data)
        return data

    async def write(self, data: bytes) -> None:
        self._bytes(SENT, data)
        try:
            await self._link.write(data)
        except LinkError as error:
            self._event(f"lost: {error}")
            raise

    def set_baud(self, rate: int) -> None:
        self._link.set_baud(rate)
        self._event(f"baud {rate}")

    async def close(self) -> None:
        await self._link.close()
        self._event("closed")


class Entry:
    """One line: `ms` since the start, `what` (SENT, RECEIVED or EVENT), `data`, and an event's `text`."""

    def __init__(self, ms: int, what: str, data: bytes = b"", text: str = "") -> None:
        self.ms = ms
        self.what = what
        self.data = data
        self.text = text


class Recording:
    """A recording read back: `about` is its first line."""

    def __init__(self, about: dict[str, Any], entries: list[Entry]) -> None:
        self.about = about
        self.entries = entries


def load(path: Path) -> Recording:
    """The recording in `path`; raises ConfigurationError naming the line that is wrong.

    A last line that breaks off, as a crash leaves it, is left out.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigurationError(f"can't read the recording {path}: {reason}") from None
    lines = text.split("\n")
    lines.pop()  # what follows the last line end: nothing, or a torn line
    if not lines:
        raise ConfigurationError(f"{path} is no recording: it is empty")
    about = _parse(path, 1, lines[0])
    if about.get("recording") != FORMAT:
        raise ConfigurationError(f"{path} is no recording: `osgp-gateway record` makes one")
    if about.get("version") != VERSION:
        raise ConfigurationError(f"{path} has version {about.get('version')}; this program reads {VERSION}")
    return Recording(about, [_entry(path, number, line) for number, line in enumerate(lines[1:], 2)])


def _parse(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        entry = None
    if not isinstance(entry, dict):
        raise ConfigurationError(f"{path}:{number}: is no JSON object")
    return entry


def _entry(path: Path, number: int, line: str) -> Entry:
    entry = _parse(path, number, line)
    ms = entry.get("ms")
    if type(ms) is int and ms >= 0:
        for what in (SENT, RECEIVED):
            if isinstance(entry.get(what), str):
                try:
                    return Entry(ms, what, data=bytes.fromhex(entry[what]))
                except ValueError:
                    raise ConfigurationError(f"{path}:{number}: {what} is no hex") from None
        if isinstance(entry.get(EVENT), str):
            return Entry(ms, EVENT, text=entry[EVENT])
    raise ConfigurationError(f"{path}:{number}: needs ms, and one of sent, received and event")
