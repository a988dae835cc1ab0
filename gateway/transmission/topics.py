"""MQTT topics (Open Meter Data Platform, part 2), and the one that custody adds.

    smartMeterMessage/[smartMeterId]/[specificTopic]
    concentrator/[concentratorId]/smartMeterMessage/[smartMeterId]/[specificTopic]
    custody/[smartMeterId]

The topic carries the meter's id, as a UUID in text.
"""

from ..errors import FrameError
from .ids import format_uuid, parse_uuid

# Specific topics.
COMPACT = "compact"  # frames
READINGS = "readings"  # JSON
STATUS = "status"  # retained, best effort
CUSTODY = "custody"  # what `parse` says of custody/[smartMeterId]

_MESSAGE = "smartMeterMessage"
_CONCENTRATOR = "concentrator"


class Topic:
    """`meter`: 16 bytes; `specific`: the last level, CUSTODY for custody topics; `concentrator`: its id
    where the topic names one, else None."""

    def __init__(self, meter: bytes, specific: str, concentrator: "str | None" = None) -> None:
        self.meter = meter
        self.specific = specific
        self.concentrator = concentrator


def topic(meter: bytes, specific: str, concentrator: "str | None" = None) -> str:
    text = "%s/%s/%s" % (_MESSAGE, format_uuid(meter), specific)
    return text if concentrator is None else "%s/%s/%s" % (_CONCENTRATOR, concentrator, text)


def custody(meter: bytes) -> str:
    return "%s/%s" % (CUSTODY, format_uuid(meter))


def parse(text: str) -> Topic:
    """Raises FrameError for a topic of another form, or without a meter's UUID."""
    levels = text.split("/")
    concentrator: str | None = None
    if len(levels) == 5 and levels[0] == _CONCENTRATOR and levels[1]:
        concentrator = levels[1]
        levels = levels[2:]
    if len(levels) == 3 and levels[0] == _MESSAGE and levels[2]:
        return Topic(parse_uuid(levels[1]), levels[2], concentrator)
    if len(levels) == 2 and levels[0] == CUSTODY:
        return Topic(parse_uuid(levels[1]), CUSTODY)
    raise FrameError("%r is no topic of the platform" % text[:128])
