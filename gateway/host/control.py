"""The running service's local socket: status, and what a meter is asked for besides the schedule.

A unix stream socket; requests and answers are JSON, one object on a line; docs/service.md has all of them. A
meter is asked through its own task, one step between two of the task's messages, so that nobody fights for
the line and the schedule goes on.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import errno
import json
import os
import socket
import stat
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import clock
from .._compat import trace
from ..core.marks import mark
from ..core.requests import Request
from ..errors import ConfigurationError, GatewayError, MeterError, Refused, TableError
from ..transmission import frames, ids, model
from .logs import log
from .state_dir import state_dir
from .steps import Item, steps

if TYPE_CHECKING:
    from ..c1219.tables import Tables
    from ..core.meter_task import MeterTask

_LINE_LIMIT = 4096
CLIENTS = 16
# How long a client may say nothing, and how long it may take to read what it is told.
_SILENCE_S = 300
_READING_S = 30

Answer = dict[str, Any]


class _Gone(Exception):
    """The client has closed its end, or reads no more."""


def directories(state: Path | None = None) -> list[Path]:
    """Where sockets may lie, the likeliest first; a service makes its own in the first that it has. `state`:
    as configured."""
    places = []
    given = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    if given:
        places.append(Path(given))
    user = os.environ.get("XDG_RUNTIME_DIR", "")
    if user.startswith("/"):
        places.append(Path(user) / "osgp-gateway")
    places.append(state_dir(state))
    return places


def own_path(gateway: str, state: Path | None) -> Path:
    return directories(state)[0] / f"{gateway}.sock"


@contextlib.contextmanager
def short(path: Path) -> Any:
    """A name for `path` that is short enough for a socket's address (unix(7): 107 bytes), for a while."""
    if len(os.fsencode(path)) <= 107:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


def listening(path: Path) -> socket.socket:
    """A new socket at `path` that user and group may use; what a killed process has left there goes. Raises
    OSError, also when somebody listens there."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FileExistsError(0, "there is something else of that name")
        _nobody_at(path)
        path.unlink()
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        mask = os.umask(0o117)
        try:
            with short(path) as name:
                made.bind(name)
        finally:
            os.umask(mask)
        made.listen(CLIENTS)
    except BaseException:
        made.close()
        raise
    return made


def _nobody_at(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, short(path) as name:
        probe.setblocking(False)
        if probe.connect_ex(name) in (0, errno.EAGAIN):
            raise FileExistsError(0, "another gateway of this id listens there")


class Control:
    """Serves the socket at `path` while its context lasts.

    `status`: see docs/status.md. `meters`: the tasks; `ports`: of each, by its name, as text.
    """

    def __init__(
        self, path: Path, status: Callable[[], Answer], meters: list[MeterTask], ports: dict[str, str]
    ) -> None:
        self._path = path
        self._status = status
        self._meters = {meter.settings.name: meter for meter in meters}
        self._ports = ports
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Control:
        """A gateway without its socket is one still: readings flow."""
        try:
            self._server = await asyncio.start_unix_server(
                self._accept, sock=listening(self._path), limit=_LINE_LIMIT
            )
        except OSError as error:
            log(
                "error",
                f"{self._path}: there can be no socket for status, read and backfill: {error.strerror}",
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is None:
            return
        self._server.close()
        for task in self._clients:
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        with contextlib.suppress(OSError):
            self._path.unlink()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            if len(self._clients) > CLIENTS:
                await _say(writer, {"ok": False, "code": 1, "error": "too many ask at once: try again"})
            else:
                await self._serve(reader, writer)
        except _Gone:
            pass
        except asyncio.CancelledError:
            pass  # the service ends
        finally:
            self._clients.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request after the other; what makes no sense is answered, and ends the connection."""
        while True:
            try:
                # Not wait_for: before Python 3.12 it can swallow a cancellation that races with the result.
                async with asyncio.timeout(_SILENCE_S):
                    line = await reader.readline()
            except (OSError, TimeoutError):
                return
            except ValueError:
                await _say(writer, _refusal(f"a request is a line of at most {_LINE_LIMIT} bytes"))
                return
            if not line:
                return
            try:
                request = json.loads(line)
                if not isinstance(request, dict):
                    raise ValueError
            except (ValueError, RecursionError):
                await _say(writer, _refusal("a request is one JSON object on a line, in UTF-8"))
                return
            await self._answer(request, writer)

    async def _answer(self, request: Answer, writer: asyncio.StreamWriter) -> None:
        last: Answer
        try:
            last = {"ok": True, **await self._do(request, writer)}
        except GatewayError as error:
            last = {"ok": False, "code": error.exit_code, "error": str(error)}
            if isinstance(error, Refused):
                last["response"] = error.code
            elif isinstance(error, TableError):
                last["response"] = None
        except _Gone:
            raise
        except Exception as error:
            log("error", f"{self._path}: a request failed by a fault of the gateway's own: {error!r}")
            log("debug", trace(error))
            last = {"ok": False, "code": 1, "error": "the gateway failed at this: its log says more"}
        await _say(writer, last)

    async def _do(self, request: Answer, writer: asyncio.StreamWriter) -> Answer:
        what = request.get("do")
        if what == "status":
            return {"status": self._status()}
        if what == "meters":
            return {"meters": [{"name": name, "port": self._ports[name]} for name in self._meters]}
        if what == "read":
            return await self._read(request, writer)
        if what == "backfill":
            begin, end = _seconds(request, "from"), _seconds(request, "to")
            ok, text = await self._meter(request).backfill(_kind(request), begin, end)
            if not ok:
                raise GatewayError(text)
            return {"text": text}
        raise ConfigurationError('"do" is "status", "meters", "read" or "backfill"')

    def _meter(self, request: Answer) -> MeterTask:
        name = request.get("meter")
        if not isinstance(name, str) or name not in self._meters:
            raise ConfigurationError(f"no meter is called {name}; there are {', '.join(self._meters)}")
        return self._meters[name]

    def _state(self, meter: MeterTask) -> str:
        """How it is with the meter, in words."""
        for one in self._status()["meters"]:
            if one["name"] == meter.settings.name:
                return f"{one['state']}: {one['reason']}" if one["reason"] else str(one["state"])
        raise AssertionError("every meter has a status")

    async def _read(self, request: Answer, writer: asyncio.StreamWriter) -> Answer:
        """One kind of a meter, as frames, each in a line of its own; nothing of it goes into the outbox."""
        meter = self._meter(request)
        kind = _kind(request)
        since = None if request.get("since") is None else _seconds(request, "since")
        visit = _Visit(meter, lambda: self._state(meter))
        about = {"meterId": ids.format_uuid(await visit.identify()), "serial": visit.serial}
        await _say(writer, about)
        async for items in visit.read(kind, since):
            for some in frames.split(items):
                frame = frames.encode(visit.meter_id, 0, 0, some)
                await _say(writer, {"frame": base64.b64encode(frame).decode()})
        return {}


class _Visit:
    """Reads from a meter through its task, one step after the other, ahead of all but alarms."""

    def __init__(self, task: MeterTask, why_not: Callable[[], str]) -> None:
        self._task = task
        self._why_not = why_not
        self.meter_id = b""
        self.serial = ""

    async def identify(self) -> bytes:
        """The id that follows from manufacturer and serial number, as `read` over the port has it."""
        from ..c1219.readers.identity import identify

        who = await self._ask(identify)
        self.meter_id = ids.meter_individual_id(who.manufacturer, who.serial)
        self.serial = who.serial
        return self.meter_id

    async def read(self, kind: int, since: int | None) -> AsyncIterator[Sequence[Item]]:
        async for items in steps(self._ask, kind, since, self._spare):
            yield mark(items, self._meter)

    async def _spare(self) -> None:
        """A long way back keeps nobody waiting: the link's reserve is for what is urgent."""
        await clock.sleep_ms(self._task.bucket.spare_in_ms())

    async def _ask(self, ask: Callable[..., Any], *arguments: Any) -> Any:
        """What `ask(tables, ...)` gives, at the meter's next message. Raises what it raises, and MeterError
        where the meter can't be asked now."""
        found: list[Any] = []
        failed: list[GatewayError] = []

        async def run(tables: Tables) -> tuple[bool, str]:
            self._meter = tables.meter
            try:
                found.append(await self._task.patiently(ask, tables, *arguments))
            except GatewayError as error:
                failed.append(error)
                raise
            return True, ""

        ok, text = await self._task.ask(Request(-1, run))
        if ok:
            return found[0]
        raise failed[0] if failed else MeterError(f"{text} ({self._why_not()})")


def _refusal(text: str) -> Answer:
    return {"ok": False, "code": ConfigurationError.exit_code, "error": text}


def _kind(request: Answer) -> int:
    name = request.get("kind")
    named = {word: kind for kind, word in enumerate(model.KIND_NAMES) if kind != model.FOREIGN}
    if not isinstance(name, str) or name not in named:
        raise ConfigurationError(f"no reading is called {name}; there are {', '.join(named)}")
    return named[name]


def _seconds(request: Answer, field: str) -> int:
    value = request.get(field)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 32:
        raise ConfigurationError(f'"{field}" is a time in seconds since 1970 (UTC)')
    return value


async def _say(writer: asyncio.StreamWriter, answer: Answer) -> None:
    try:
        # Half a surrogate pair, which a request may hold, becomes JSON's own escape for it.
        writer.write(json.dumps(answer, ensure_ascii=False).encode(errors="backslashreplace") + b"\n")
        async with asyncio.timeout(_READING_S):
            await writer.drain()
    except (OSError, TimeoutError):
        raise _Gone from None
