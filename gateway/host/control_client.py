"""Asks a running gateway through its local socket (control.py; docs/service.md has the protocol)."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError, FrameError, GatewayError, Refused, TableError
from ..transmission import frames, ids
from .control import directories, short
from .show import About, Item

_SERVICE_RUNS_IN = Path("/run/osgp-gateway")
_LINE_LIMIT = 1 << 24
_ANSWER_S = 10  # for what is known at once

Answer = dict[str, Any]


class Asked(GatewayError):
    """The gateway's own words, and the exit code that it gave them."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.exit_code = code


class Running:
    """A connection to a running gateway; `gateway`: its id."""

    def __init__(self, path: Path, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.gateway = path.stem
        self._path = path
        self._reader = reader
        self._writer = writer

    async def status(self) -> Answer:
        status: Answer = (await self._quick({"do": "status"}))["status"]
        return status

    async def meters(self) -> dict[str, str]:
        """Ports by names."""
        told = (await self._quick({"do": "meters"}))["meters"]
        return {meter["name"]: meter["port"] for meter in told}

    async def backfill(self, meter: str, kind: str, begin: int, end: int) -> str:
        """What will happen, in words."""
        request = {"do": "backfill", "meter": meter, "kind": kind, "from": begin, "to": end}
        return str((await self._quick(request))["text"])

    async def read(
        self, meter: str, kind: str, since: int | None
    ) -> AsyncIterator[tuple[About, Sequence[Item]]]:
        """What the meter has of a kind, step by step. Raises Asked, Refused or TableError."""
        request: Answer = {"do": "read", "meter": meter, "kind": kind}
        if since is not None:
            request["since"] = since
        about = None
        async for answer in self.ask(request):
            try:
                if "meterId" in answer:
                    about = About(ids.parse_uuid(answer["meterId"]), answer["serial"])
                    yield about, ()
                elif "frame" in answer and about is not None:
                    yield about, frames.decode(base64.b64decode(answer["frame"]), about.meter_id).items
            except (FrameError, TypeError, ValueError) as error:
                raise GatewayError(f"{self._path}: an answer can't be understood: {error}") from None

    async def ask(self, request: Answer) -> AsyncIterator[Answer]:
        """All answers, the last one too. Raises Asked where that says so, GatewayError when there is none."""
        try:
            self._writer.write(json.dumps(request).encode() + b"\n")
            await self._writer.drain()
            while True:
                line = await self._reader.readline()
                if not line.endswith(b"\n"):
                    raise GatewayError(f"{self._path}: the gateway ended before it had answered")
                answer = json.loads(line)
                if not isinstance(answer, dict):
                    raise ValueError
                if answer.get("ok") is False:
                    raise _refusal(answer)
                yield answer
                if "ok" in answer:
                    return
        except OSError as error:
            raise GatewayError(f"{self._path}: the gateway can't be asked: {error.strerror}") from None
        except ValueError:
            raise GatewayError(f"{self._path}: what listens there is no gateway of this kind") from None

    async def _quick(self, request: Answer) -> Answer:
        last: Answer = {}
        try:
            async with asyncio.timeout(_ANSWER_S):
                async for answer in self.ask(request):
                    last = answer
        except TimeoutError:
            raise GatewayError(
                f"{self._path}: the gateway does not answer within {_ANSWER_S} s: see its log"
            ) from None
        return last

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


def _refusal(answer: Answer) -> GatewayError:
    """What the meter refused, or has wrong, is told apart: other kinds may be read all the same."""
    text, response = str(answer.get("error")), answer.get("response")
    if isinstance(response, int):
        return Refused(text, response)
    if "response" in answer:
        return TableError(text)
    return Asked(text, int(answer.get("code", 1)))


@contextlib.asynccontextmanager
async def running(
    configuration: Path | None, gateway: str | None = None, all_there_may_be: bool = True
) -> AsyncIterator[list[Running]]:
    """Connections to the gateways that run here, none where none does: that of the configuration, or that of
    the id, or all. Raises ConfigurationError where one may not be asked, unless not `all_there_may_be`
    matter."""
    state = None
    if configuration is not None:
        from . import config

        section = config.load_gateway(configuration)
        gateway, state = section.id, section.state_dir
    places = dict.fromkeys([*directories(state), _SERVICE_RUNS_IN])
    found: list[Running] = []
    try:
        for place in places:
            paths = [place / f"{gateway}.sock"] if gateway else sorted(_sockets(place))
            for path in paths:
                one = await _connected(path, all_there_may_be)
                if one is not None:
                    found.append(one)
        yield found
    finally:
        for one in found:
            await one.close()


def _sockets(place: Path) -> list[Path]:
    try:
        return [path for path in place.iterdir() if path.suffix == ".sock"]
    except OSError:
        return []


async def _connected(path: Path, must: bool) -> Running | None:
    try:
        with short(path) as name:
            reader, writer = await asyncio.open_unix_connection(name, limit=_LINE_LIMIT)
    except PermissionError:
        if not must:
            return None
        raise ConfigurationError(
            f"{path}: you may not ask this gateway: do so as root, or join its group: "
            "sudo usermod -aG osgp-gateway $USER, and log in again"
        ) from None
    except OSError:
        return None
    return Running(path, reader, writer)


def the_one(found: list[Running]) -> Running:
    """The gateway that is asked; raises GatewayError where none runs, ConfigurationError where more do."""
    if not found:
        raise GatewayError(
            "no gateway runs here, as far as can be seen: start it with systemctl start osgp-gateway, or "
            "osgp-gateway run -c FILE; name its configuration with -c FILE if it keeps its state elsewhere"
        )
    if len(found) > 1:
        names = ", ".join(sorted(one.gateway for one in found))
        raise ConfigurationError(f"several gateways run here: choose one with --gateway: {names}")
    return found[0]
