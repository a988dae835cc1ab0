"""What a message says, before any of it is stored: no message can do harm to those beside it in a batch."""

import hashlib
from dataclasses import dataclass, field

from gateway.transmission import FrameError, frames, mbus, platform_json, topics
from gateway.transmission.ids import uuid5
from gateway.transmission.model import FOREIGN, Reading
from gateway.transmission.rows import rows

from . import statuses
from .contents import content_hash
from .statuses import Status
from .writer import Row

# A payload beyond this is kept as a dead letter by its beginning only: nobody may fill the disk.
MAX_PAYLOAD = 256 * 1024


@dataclass(frozen=True)
class Message:
    """`size`: of the payload as it was sent, where only its beginning is here."""

    topic: str
    payload: bytes
    size: int = 0


@dataclass
class Decoded:
    """What there is to store, and to tell the ledger; nothing at all of a topic that is not ours."""

    rows: list[Row] = field(default_factory=list)
    number: tuple[bytes, int, int, int, bytes] | None = None  # meter, class, epoch, sequence, SHA-256
    unreadable: tuple[bytes, bytes] | None = None  # meter, SHA-256
    ask: tuple[bytes, bytes] | None = None
    status: Status | None = None
    letter: str = ""  # the reason
    ignored: bool = False


def decode(message: Message) -> Decoded:
    """Never raises: what is wrong becomes a dead letter."""
    try:
        topic = topics.parse(message.topic)
    except FrameError as error:
        # Readings below an id that is none are somebody's readings; other topics are other people's business.
        if message.topic.endswith(("/" + topics.COMPACT, "/" + topics.READINGS)):
            return Decoded(letter=str(error))
        return Decoded(ignored=True)
    if topic.specific == topics.COMPACT:
        return _frame(topic.meter, message)
    if topic.specific == topics.READINGS:
        return _json(topic.meter, message)
    if topic.specific == topics.ASK:
        return Decoded(ask=(topic.meter, message.payload))
    if topic.specific == topics.STATUS and topic.concentrator is not None:
        return Decoded(status=statuses.parse(topic.concentrator, topic.meter, message.payload))
    return Decoded(ignored=True)


def refused(message: Message, reason: str) -> Decoded:
    """What becomes of a message that can be read but not stored."""
    meter = _meter_of_frame(message)
    unreadable = None if meter is None else (meter, hashlib.sha256(message.payload).digest())
    return Decoded(letter=reason, unreadable=unreadable)


def _meter_of_frame(message: Message) -> bytes | None:
    try:
        topic = topics.parse(message.topic)
    except FrameError:
        return None
    return topic.meter if topic.specific == topics.COMPACT else None


def _frame(meter: bytes, message: Message) -> Decoded:
    too_long = _too_long(message)
    if too_long:
        return Decoded(letter=too_long)
    try:
        frame = frames.decode(message.payload, meter)
        found = [
            Row(meter, _foreign_id(meter, reading) or identifier, mbus.enrich(reading))
            for identifier, reading in rows(frame, meter)
        ]
        _check(found)
    except FrameError as error:
        return refused(message, str(error))
    except Exception as error:  # a fault of ours: the bytes are kept until it is mended
        return refused(message, f"{type(error).__name__}: {error}")
    sha256 = hashlib.sha256(message.payload).digest()
    return Decoded(rows=found, number=(meter, frame.cls, frame.epoch, frame.sequence, sha256))


def _json(meter: bytes, message: Message) -> Decoded:
    too_long = _too_long(message)
    if too_long:
        return Decoded(letter=too_long)
    try:
        _, reading = platform_json.parse(message.payload, meter)
        found = [Row(meter, reading.identifier or _id_by_content(meter, reading), reading)]
        _check(found)
    except FrameError as error:
        return Decoded(letter=str(error))
    except Exception as error:
        return Decoded(letter=f"{type(error).__name__}: {error}")
    return Decoded(rows=found)


def _too_long(message: Message) -> str:
    size = max(message.size, len(message.payload))
    return f"{size} bytes; at most {MAX_PAYLOAD} are taken" if size > MAX_PAYLOAD else ""


def _check(found: list[Row]) -> None:
    """Raises FrameError for what no database can hold as it is."""
    for _, _, reading in found:
        for value in reading.values:
            for text in (value.text, value.unit, value.prop):
                if isinstance(text, str) and not (text.isprintable() or _is_text(text)):
                    raise FrameError("a text holds characters that no database can hold")


def _is_text(text: str) -> bool:
    """No halves of surrogate pairs, and no zero bytes."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def _foreign_id(meter: bytes, reading: Reading) -> bytes | None:
    """Of what came to a concentrator as JSON, which its broker may have delivered twice."""
    if reading.kind != FOREIGN or reading.identifier is not None:
        return None
    return _id_by_content(meter, reading)


def _id_by_content(meter: bytes, reading: Reading) -> bytes:
    """JSON without an id of its own: the same said again is no news, anything else is another reading."""
    return uuid5(meter, "content:" + content_hash(reading).hex())
