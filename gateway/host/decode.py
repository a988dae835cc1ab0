"""`osgp-gateway decode`: frames in, the platform's JSON out."""

from __future__ import annotations

import base64
import binascii
import sys
from collections.abc import Iterator
from pathlib import Path

from ..errors import ConfigurationError, FrameError
from ..transmission import envelope, frames, ids, platform_json

# More than any outbox segment; a file beyond that is something else.
_LIMIT = 64 * 1024 * 1024


def decode(file: Path | None, meter_id: str | None, flat: bool) -> None:
    """Print one JSON object per reading. Raises FrameError, or ConfigurationError for wrong usage."""
    style = platform_json.UNICODE | (platform_json.FLAT | platform_json.QUOTED if flat else 0)
    for meter, frame in _frames(_content(file), meter_id):
        for document in platform_json.documents(frames.decode(frame, meter), meter, style):
            print(document.decode())


def _content(file: Path | None) -> bytes:
    if file is None or str(file) == "-":
        content = sys.stdin.buffer.read(_LIMIT + 1)
        name = "standard input"
    else:
        name = str(file)
        try:
            with file.open("rb") as stream:
                content = stream.read(_LIMIT + 1)
        except FileNotFoundError:
            raise ConfigurationError(f"{file}: there is no such file") from None
        except OSError as error:
            raise ConfigurationError(f"{file}: can't be read: {error.strerror}") from None
    if len(content) > _LIMIT:
        raise FrameError(f"{name} is longer than {_LIMIT} bytes: that is no file of frames")
    if not content.strip():
        raise FrameError(f"{name} is empty: a frame is expected")
    return _binary(content)


def _binary(content: bytes) -> bytes:
    """The bytes, out of hex or base64 where the content is such text. Frames and envelopes begin with a
    byte that is no ASCII character, so there is no mistaking one for the other."""
    if content[0] >= 0x80:
        return content
    text = b"".join(content.split())
    try:
        return binascii.unhexlify(text)
    except binascii.Error:
        pass
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise FrameError("this is no frame, and no hex or base64 of one") from None


def _frames(content: bytes, meter_id: str | None) -> Iterator[tuple[bytes, bytes]]:
    if envelope.is_envelope(content):
        if meter_id is not None:
            raise ConfigurationError("an envelope names its meter itself: leave --meter-id out")
        yield from envelope.unwrap(content)
    elif meter_id is None:
        raise ConfigurationError(
            "a bare frame does not name its meter: give --meter-id, the UUID in the topic that it came on"
        )
    else:
        try:
            meter = ids.parse_uuid(meter_id)
        except FrameError as error:
            raise ConfigurationError(f"--meter-id: {error}") from None
        yield meter, content
