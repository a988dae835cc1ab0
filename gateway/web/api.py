"""The page's requests and what becomes of them (docs/page.md)."""

import json

from .._compat import TYPE_CHECKING
from ..errors import ConfigurationError, GatewayError
from .http import HttpError, head
from .login import Denied, reveal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

    from .application import PageApplication
    from .http import Request
    from .login import Login

_JSON = "application/json"
FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/proof.js": ("proof.js", "text/javascript"),
    "/de.json": ("de.json", _JSON),
}


class Response:
    """`file`: one of the page's, whose content is the body, compressed with gzip; else `parts` are."""

    def __init__(
        self,
        status: int,
        parts: "Iterable[bytes]" = (),
        kind: str = _JSON,
        file: str = "",
        more: "Sequence[str]" = (),
    ) -> None:
        self.status = status
        self.parts = parts
        self.kind = kind
        self.file = file
        self.more = more

    def head(self, length: "int | None") -> bytes:
        return head(self.status, self.kind, length, self.more)


def _said(status: int, what: "dict[str, Any]", more: "Sequence[str]" = ()) -> Response:
    return Response(status, _pieces(what), more=more)


def _pieces(what: "dict[str, Any]") -> "Iterator[bytes]":
    """A JSON object field by field, so that the whole text is never in memory at once."""
    lead = "{"
    for name, value in what.items():
        yield (lead + json.dumps(name) + ":" + json.dumps(value)).encode()
        lead = ","
    yield b"}" if lead == "," else b"{}"


def failure(error: GatewayError) -> Response:
    """What an error says to the page."""
    if isinstance(error, Denied):
        more = ("Retry-After: %d" % error.wait_s,) if error.wait_s else ()
        return _said(429 if error.wait_s else 401, {"error": str(error), "wait": error.wait_s}, more)
    if isinstance(error, ConfigurationError):
        return _said(422, {"problems": str(error).split("\n")})
    status = error.status if isinstance(error, HttpError) else 409
    return _said(status, {"error": str(error), "state": error.state})


def _object(body: bytes) -> "dict[str, Any]":
    try:
        given = json.loads(body)
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise HttpError(400, "the request has to bring a JSON object")
    return given


def _number(text: str) -> int:
    if not text.isdigit() or len(text) > 9:
        raise HttpError(400, "%r is no number" % text)
    return int(text)


class Api:
    """`login`: None in set-up."""

    def __init__(self, application: "PageApplication", login: "Login | None") -> None:
        self._application = application
        self._login = login

    async def respond(self, request: "Request", now_ms: int) -> Response:
        """Raises GatewayError; `failure` makes a response of it."""
        address = self._application.address
        # Whatever a phone asks for to see whether there is an internet ends here, and so shows it the page.
        if address and request.host not in ("", address):
            return Response(302, kind="text/plain", more=("Location: http://%s/" % address,))
        path = request.path
        if path in FILES and request.method != "POST":
            file, kind = FILES[path]
            return Response(200, kind=kind, file=file, more=("Content-Encoding: gzip",))
        if not path.startswith("/api/"):
            raise HttpError(404, "there is nothing at this address")
        path = path[5:]
        if path == "hello":
            return self._hello(now_ms)
        if path == "login" and self._login is not None:
            return _said(200, self._login.prove(_object(request.body), now_ms))
        # A header of its own is what another site's page can't send along.
        key = None
        if self._login is not None:
            key = self._login.check(request, now_ms)
        elif request.proof != "setup":
            raise Denied("the request has to come from the page itself")
        if request.method == "POST":
            return await self._change(path, request, key)
        return await self._look(path, request.query)

    def _hello(self, now_ms: int) -> Response:
        about = self._application.about()
        about["setup"] = self._login is None
        if self._login is not None:
            about.update(self._login.challenge(now_ms))
        return _said(200, about)

    async def _look(self, path: str, query: str) -> Response:
        application = self._application
        if path == "status":
            return _said(200, application.status())
        if path == "history":
            return _said(200, application.history())
        if path == "log":
            return _said(200, {"lines": application.log(_number(query[6:] or "0"))})
        if path == "settings":
            settings, secrets = application.settings()
            return _said(200, {"settings": settings, "secrets": secrets})
        if path == "scan":
            return _said(200, {"networks": await application.scan()})
        raise HttpError(404, "there is nothing at this address")

    async def _change(self, path: str, request: "Request", key: "tuple[bytes, int] | None") -> Response:
        application = self._application
        if path == "update/data":
            await application.update_data(_number(request.query[3:]), request.body)
        elif path == "update/finish":
            await application.update_finish()
        elif path == "restart":
            application.restart()
        elif path in ("update", "settings", "meter"):
            given = _object(request.body)
            if path == "update":
                application.update(_number(str(given.get("size"))))
            else:
                settings, secrets = _typed(given, key)
                if path == "meter":
                    return _said(200, await application.try_meter(settings, secrets))
                application.save(settings, secrets)
        else:
            raise HttpError(404, "there is nothing at this address")
        return _said(200, {})


def _typed(
    given: "dict[str, Any]", key: "tuple[bytes, int] | None"
) -> "tuple[dict[str, Any], dict[str, str]]":
    """Settings and secrets of {"settings", "secrets"}; the latter enciphered where there is a key."""
    settings, secrets = given.get("settings"), given.get("secrets")
    if key is not None and isinstance(secrets, str):
        try:
            secrets = _object(reveal(key[0], key[1], bytes.fromhex(secrets)))
        except (ValueError, UnicodeError):
            secrets = None
    elif key is not None and secrets != {}:
        secrets = None  # in clear over the home's network: refused, so that nobody gets used to it
    if not isinstance(settings, dict) or not isinstance(secrets, dict):
        raise HttpError(400, "the request has to bring settings and secrets")
    for name, value in secrets.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise HttpError(400, "a secret is a text")
    return settings, secrets
