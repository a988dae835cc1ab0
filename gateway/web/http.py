"""HTTP/1.1's server side as a machine without I/O (RFC 9112): one request for each connection.

What is not needed is thrown away while it arrives, so that a browser's long headers take no memory.
"""

from .._compat import TYPE_CHECKING, const
from ..errors import GatewayError

if TYPE_CHECKING:
    from collections.abc import Sequence

BODY = const(6144)  # bytes that a request may bring: settings with a certificate
_LINE = const(512)
_HEADERS = const(16384)  # cookies of others on the same host come along

_POLICY = (
    "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'\r\n"
    "X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n"
    "Cache-Control: no-store\r\nConnection: close\r\n"
)


class HttpError(GatewayError):
    """A request that can't be answered as it wants; `status` is what to say."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Request:
    """`path` begins with a slash and is not decoded; `host` is in lower case and without port, "" when the
    client named none; `proof` is the header X-Gateway."""

    def __init__(self, method: str, path: str, query: str) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.host = ""
        self.proof = ""
        self.body = b""


class HttpMachine:
    def __init__(self, most: int = BODY) -> None:
        self._most = most
        self._buffer = b""
        self._seen = 0
        self._skipping = False
        self._request: Request | None = None
        self._length: int | None = None
        self._headers = True

    def feed(self, data: bytes) -> "Request | None":
        """The request, once it is whole; None while more is needed. What follows it is ignored. Raises
        HttpError; the machine is then of no more use."""
        self._buffer += data
        if self._headers:
            self._seen += len(data)
        while self._headers:
            end = self._buffer.find(b"\n")
            if self._seen > _HEADERS:
                raise HttpError(431, "the request's headers have more than %d bytes" % _HEADERS)
            long = end > _LINE or (end < 0 and len(self._buffer) > _LINE)
            if long and self._request is None:
                raise HttpError(414, "the address has more than %d bytes" % _LINE)
            if end < 0:
                if long:  # no header that is needed is
                    self._skipping = True
                    self._buffer = b""
                return None
            line = self._buffer[:end]
            self._buffer = self._buffer[end + 1 :]
            if not (long or self._skipping):
                self._take(line[:-1] if line[-1:] == b"\r" else line)
            self._skipping = False
        request = self._request
        assert request is not None
        length = self._length or 0
        if len(self._buffer) < length:
            return None
        request.body = self._buffer[:length]
        self._buffer = b""
        return request

    def _take(self, line: bytes) -> None:
        for byte in line:
            if byte < 32 and byte != 9:
                raise HttpError(400, "a line of the request has control characters")
        if self._request is None:
            if line:  # an empty line before it is allowed (2.2)
                self._request = _request_line(line)
        elif not line:
            self._headers = False
        else:
            self._header(self._request, line)

    def _header(self, request: Request, line: bytes) -> None:
        name, colon, value = line.partition(b":")
        name = name.lower()
        if not colon or not name or b" " in name or b"\t" in name:
            raise HttpError(400, "a header of the request is none")
        value = value.strip()
        if name == b"content-length":
            # isdigit of bytes is ASCII only, and int would take signs and underscores.
            if not value.isdigit() or len(value) > 9 or self._length not in (None, int(value)):
                raise HttpError(400, "the request's Content-Length is no length")
            self._length = int(value)
            if self._length > self._most:
                raise HttpError(413, "the request brings more than %d bytes" % self._most)
        elif name == b"transfer-encoding":
            raise HttpError(411, "the request has to say its length")
        elif name == b"host":
            request.host = _host(_ascii(value))
        elif name == b"x-gateway":
            request.proof = _ascii(value)


def _ascii(data: bytes) -> str:
    if data and max(data) > 126:
        raise HttpError(400, "the request is not in ASCII")
    return data.decode()


def _request_line(line: bytes) -> Request:
    parts = _ascii(line).split(" ")
    if len(parts) != 3:
        raise HttpError(400, "this is no HTTP request")
    method, target, version = parts
    if not version.startswith("HTTP/1."):
        raise HttpError(505, "spoken is HTTP/1.1")
    if method not in ("GET", "HEAD", "POST"):
        raise HttpError(405, "the method has to be GET or POST")
    host = ""
    if target.startswith("http://"):
        host, slash, target = target[7:].partition("/")
        target = slash + target or "/"
    if not target.startswith("/"):
        raise HttpError(400, "the address is none")
    path, _, query = target.partition("?")
    request = Request(method, path, query)
    request.host = _host(host)
    return request


def _host(value: str) -> str:
    """Without port and trailing dot."""
    end = value.rfind(":")
    if end > value.rfind("]"):
        value = value[:end]
    return value.rstrip(".").lower()


def head(status: int, kind: str, length: "int | None", more: "Sequence[str]" = ()) -> bytes:
    """What stands before a body of `length` bytes; None: the body ends with the connection."""
    # Nobody reads the reason behind the number, and a table of them takes a kilobyte.
    reason = "OK" if status < 400 else "Refused"
    lines = "HTTP/1.1 %d %s\r\nContent-Type: %s\r\n" % (status, reason, kind)
    if length is not None:
        lines += "Content-Length: %d\r\n" % length
    for line in more:
        lines += line + "\r\n"
    return (lines + _POLICY + "\r\n").encode()
