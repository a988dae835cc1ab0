"""A phone that sets a board up and looks at it, by the board's own requests (docs/page.md)."""

import asyncio
import contextlib
import gzip
import json
import os
import socket
import ssl
from hashlib import pbkdf2_hmac

import pytest

from tests.certificates import Authority
from tests.page_client import PageClient, verifier_of
from tests.patience import PATIENCE_S

ADDRESS = "192.168.4.1"
PASSWORD = "a page of one's own"


class Phone:
    """In the network of a board whose page is at `port` of this machine."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._client: PageClient | None = None

    async def request(self, data: bytes) -> tuple[int, dict[str, str], bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(data)
        async with asyncio.timeout(PATIENCE_S):
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        if not head:
            raise ConnectionResetError("the board closed the connection without an answer")
        status, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        return int(status.split()[1]), headers, body

    async def ask(self, method: str, path: str, given: object = None) -> tuple[int, dict]:
        """With what proves the session, once there is one; else as set-up's page does. `given`: bytes as they
        are, anything else as JSON."""
        body = given if isinstance(given, bytes) else b"" if given is None else json.dumps(given).encode()
        proof = self._client.header(method, path, body) if self._client else "setup"
        status, _, said = await self.request(
            f"{method} {path} HTTP/1.1\r\nHost: {ADDRESS}\r\nX-Gateway: {proof}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        return status, json.loads(said)

    async def found(self) -> dict | None:
        """What the board says to anybody; None while it does not answer."""
        with contextlib.suppress(OSError):
            return (await self.ask("GET", "/api/hello"))[1]
        return None

    async def log_in(self, password: str = PASSWORD) -> None:
        _, hello = await self.ask("GET", "/api/hello")
        salt = bytes.fromhex(hello["salt"])
        client = PageClient(pbkdf2_hmac("sha256", password.encode(), salt, hello["iterations"]))
        status, said = await self.ask("POST", "/api/login", client.proof(hello))
        assert status == 200, said
        assert client.logged_in(said)
        self._client = client

    def forget(self) -> None:
        self._client = None


def verifier(password: str = PASSWORD) -> str:
    salt = os.urandom(16)
    return json.dumps(verifier_of(pbkdf2_hmac("sha256", password.encode(), salt, 4096), salt, 4096))


def certificate(authority: Authority) -> str:
    """As the page sends it."""
    return ssl.DER_cert_to_PEM_cert(authority.der)[28:-27].replace("\n", "")


def resolve(port: int) -> str:
    """What the board answers a phone that asks for a name."""
    query = b"\x12\x34\1\0\0\1\0\0\0\0\0\0\7captive\5apple\3com\0\0\1\0\1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
        phone.settimeout(5)
        for _ in range(6):
            phone.sendto(query, ("127.0.0.1", port))
            with contextlib.suppress(TimeoutError):
                return socket.inet_ntoa(phone.recv(512)[-4:])
    pytest.fail("no answer to a name")
