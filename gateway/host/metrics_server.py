"""Metrics and health over HTTP, for this machine: GET /metrics and /health."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from types import TracebackType
from typing import Any

from ..errors import ConfigurationError

# Who asks says it in this time, in so many bytes.
_REQUEST_S = 5
_REQUEST_BYTES = 8192
_WORDS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    503: "Service Unavailable",
}

_Answer = tuple[int, str, bytes]  # status, content type, body


class MetricsServer:
    """`async with` it. `status`: gives the whole status. Raises ConfigurationError when it can't listen."""

    def __init__(self, host: str, port: int, status: Callable[[], dict[str, Any]]) -> None:
        from .metrics import Metrics  # with a library that only this needs

        self._host = host
        self._port = port
        self._status = status
        self._metrics = Metrics(status)
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return f"http://[{self._host}]:{port}" if ":" in self._host else f"http://{self._host}:{port}"

    async def __aenter__(self) -> MetricsServer:
        try:
            self._server = await asyncio.start_server(
                self._serve, self._host, self._port, limit=_REQUEST_BYTES
            )
        except OSError as error:
            raise ConfigurationError(
                f"[metrics] listen: can't listen on {self._host}:{self._port}: {error.strerror or error}. "
                "Does another program, or another gateway, use it?"
            ) from None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError):
            try:
                async with asyncio.timeout(_REQUEST_S):
                    status, content, body = await self._answer(reader)
                    head = (
                        f"HTTP/1.1 {status} {_WORDS[status]}\r\nContent-Type: {content}\r\n"
                        f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
                    )
                    writer.write(head.encode() + body)
                    await writer.drain()
            finally:
                writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> _Answer:
        try:
            request = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return _text(400, "this is no request")
        first, *lines = request.splitlines()
        words = first.split()
        if len(words) != 3:
            return _text(400, "this is no request")
        if words[0] != "GET":
            return _text(405, "only GET is served")
        path = words[1].partition("?")[0]
        if path == "/metrics":
            accept = [line[7:].strip() for line in lines if line.lower().startswith("accept:")]
            content, text = self._metrics.read(",".join(accept))
            return 200, content, text
        if path == "/health":
            return self._health()
        return _text(404, "there are /metrics and /health")

    def _health(self) -> _Answer:
        status = self._status()
        said = {"healthy": status["healthy"], "problems": status["problems"]}
        body = json.dumps(said, ensure_ascii=False).encode() + b"\n"
        return (200 if status["healthy"] else 503), "application/json", body


def _text(status: int, text: str) -> _Answer:
    return status, "text/plain; charset=utf-8", text.encode() + b"\n"
