"""MQTT topics: those of the Open Meter Data Platform (part 3), and what custody and status add.

    smartMeterMessage/[smartMeterId]/[specificTopic]
    concentrator/[concentratorId]/smartMeterMessage/[smartMeterId]/[specificTopic]
    concentrator/[concentratorId]/status
    concentrator/[concentratorId]/crash                      a board's crash log
    adapter/[adapterId]/status                               of an adapter on its concentrator's broker
    concentrator/[concentratorId]/adapter/[adapterId]/status
    custody/[smartMeterId]                                   receipts
    custody/[smartMeterId]/ask                               what senders ask their receiver
    command/[smartMeterId]                                   commands to the gateway that reads the meter
    command/[smartMeterId]/result                            its results and challenges

The topic carries the meter's id, as a UUID in text.
"""

from ..errors import FrameError
from .ids import format_uuid, parse_uuid

# Specific topics.
COMPACT = "compact"  # frames
READINGS = "readings"  # JSON
STATUS = "status"  # retained, best effort
# What `parse` says of custody/[smartMeterId] and custody/[smartMeterId]/ask.
CUSTODY = "custody"
ASK = "ask"
# What it says of command/[smartMeterId] and command/[smartMeterId]/result.
COMMAND = "command"
RESULT = "result"

_MESSAGE = "smartMeterMessage"
_CONCENTRATOR = "concentrator"
_ADAPTER = "adapter"


class Topic:
    """`meter`: 16 bytes, none for the status of a gateway as a whole; `specific`: the last level, CUSTODY
    for receipts, COMMAND for commands; `concentrator`: its id where the topic names one, else None. That of
    an adapter behind one is "[concentratorId]/adapter/[adapterId]"."""

    def __init__(self, meter: bytes, specific: str, concentrator: "str | None" = None) -> None:
        self.meter = meter
        self.specific = specific
        self.concentrator = concentrator


def topic(meter: bytes, specific: str, concentrator: "str | None" = None) -> str:
    text = "%s/%s/%s" % (_MESSAGE, format_uuid(meter), specific)
    return text if concentrator is None else forwarded(concentrator, text)


def forwarded(concentrator: str, topic: str) -> str:
    """Where a concentrator publishes what came to it on `topic`."""
    return "%s/%s/%s" % (_CONCENTRATOR, concentrator, topic)


def gateway_status(concentrator: str) -> str:
    """Retained, with the client's last will: whether the gateway is there at all."""
    return forwarded(concentrator, STATUS)


def adapter_status(adapter: str) -> str:
    """The same of an adapter that has a concentrator's broker only."""
    return "%s/%s/%s" % (_ADAPTER, adapter, STATUS)


def crash(status: str) -> str:
    """The crash log of whoever has its status there: retained text, from a board."""
    return status[: -len(STATUS)] + "crash"


def custody(meter: bytes) -> str:
    return "%s/%s" % (CUSTODY, format_uuid(meter))


def ask(meter: bytes) -> str:
    """A topic of its own, so that a broker can grant the right to give receipts to the receiver alone."""
    return "%s/%s" % (custody(meter), ASK)


def command(meter: bytes) -> str:
    return "%s/%s" % (COMMAND, format_uuid(meter))


def result(meter: bytes) -> str:
    """A topic of its own, so that a broker can grant the right to command to the meter's owner alone."""
    return "%s/%s" % (command(meter), RESULT)


def parse(text: str) -> Topic:
    """Raises FrameError for a topic of another form, with wildcards or an empty level, or without a
    meter's UUID in lower case."""
    levels = text.split("/")
    concentrator: str | None = None
    if "" in levels or "+" in text or "#" in text or "\0" in text:
        levels = []
    if len(levels) == 5 and levels[0] == _CONCENTRATOR:
        concentrator = levels[1]
        levels = levels[2:]
    if len(levels) == 3 and levels[0] == _MESSAGE:
        return Topic(_meter(levels[1]), levels[2], concentrator)
    if len(levels) == 2 and levels[0] in (CUSTODY, COMMAND):
        return Topic(_meter(levels[1]), levels[0])
    if len(levels) == 3 and (levels[0], levels[2]) in ((CUSTODY, ASK), (COMMAND, RESULT)):
        return Topic(_meter(levels[1]), levels[2])
    if len(levels) == 3 and levels[0] == _CONCENTRATOR and levels[2] == STATUS:
        return Topic(b"", STATUS, levels[1])
    if len(levels) == 3 and levels[0] == _ADAPTER and levels[2] == STATUS:
        behind = None if concentrator is None else "%s/%s/%s" % (concentrator, _ADAPTER, levels[1])
        return Topic(b"", STATUS, behind)
    raise FrameError("%r is no topic of the platform" % text[:128])


def _meter(level: str) -> bytes:
    meter = parse_uuid(level)
    # One spelling: to a broker, topics that differ in case are different ones.
    if format_uuid(meter) != level:
        raise FrameError("the meter's id %s in a topic is to be in lower case" % level)
    return meter
