"""What a meter said, as objects: readings, series and events (Open Meter Data Platform, part 2).

Measured values are integers with a decimal exponent, never floats: 229.40 V is mantissa 22940,
exponent -2, and stays so all the way to the database.
"""

from .._compat import TYPE_CHECKING, const

if TYPE_CHECKING:
    from collections.abc import Sequence

# Kinds of readings: what a reader reads and `osgp-gateway read` names.
IDENTITY = const(0)
CLOCK = const(1)
REGISTERS = const(2)
PRESENT = const(3)
SELF_READ = const(4)
LOAD_PROFILE = const(5)
ALARM = const(6)
EVENT = const(7)
MBUS = const(8)
FOREIGN = const(9)  # came in as JSON from elsewhere

KIND_NAMES = (
    "identity",
    "clock",
    "registers",
    "present",
    "self-reads",
    "load-profile",
    "alarms",
    "events",
    "mbus",
    "foreign",
)

# Outbox classes, most precious first: each has a log and a sequence of its own.
EVENTS_CLASS = const(0)
PROFILE_CLASS = const(1)
REGISTERS_CLASS = const(2)
PRESENT_CLASS = const(3)

# The class that frames of each kind travel in, by kind.
CLASS_OF_KIND = bytes((2, 2, 2, 3, 1, 1, 0, 0, 2, 2))


class Timestamp:
    """An instant as its source wrote it (RFC 3339).

    `seconds`: UTC, since 1970-01-01. `fraction`: the digits after the decimal point as received, ""
    for none. `offset`: minutes east of UTC as received; None means "Z".
    """

    def __init__(self, seconds: int, fraction: str = "", offset: "int | None" = None) -> None:
        self.seconds = seconds
        self.fraction = fraction
        self.offset = offset

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Timestamp)
            and self.seconds == other.seconds
            and self.fraction == other.fraction
            and self.offset == other.offset
        )

    def __hash__(self) -> int:
        return hash((self.seconds, self.fraction, self.offset))

    def __repr__(self) -> str:
        return "Timestamp(%r, %r, %r)" % (self.seconds, self.fraction, self.offset)


class Value:
    """One property's value: a number (mantissa and exponent) or a text.

    `prop` is a number of the property registry, or the property's name where the registry lacks it.
    `unit` None means that no unit applies. `date`: when this value was taken, where it differs from
    the reading's time.
    """

    # What few values have takes no memory of the others.
    text: "str | None" = None
    date: "Timestamp | None" = None

    def __init__(
        self,
        prop: "int | str",
        mantissa: "int | None",
        exponent: int = 0,
        unit: "str | None" = None,
        text: "str | None" = None,
        date: "Timestamp | None" = None,
    ) -> None:
        self.prop = prop
        self.mantissa = mantissa
        self.exponent = exponent
        self.unit = unit
        if text is not None:
            self.text = text
        if date is not None:
            self.date = date


class Reading:
    """One instant, many properties.

    `faults`: fault codes, registry numbers or texts, empty when the reading is sound. `identifier`:
    the 16 bytes of the meterReadingIdentifier where a source outside the gateway gave one; else None,
    and the id follows from `stored` (what the meter itself stored: for a self-read its sequence and
    raw stamp, as a tuple of integers and bytes; behind them, for the halves of a reading too big for a
    frame, 0 or 1) or, when that is None too, from the frame's epoch, sequence and row. `source`: for a
    reading that came as JSON, how it was written (platform_json.py); None for a meter's own.
    """

    def __init__(
        self,
        kind: int,
        time: Timestamp,
        values: "Sequence[Value]",
        faults: "Sequence[int | str]" = (),
        stored: "tuple[int | bytes, ...] | None" = None,
        identifier: "bytes | None" = None,
        source: "bytes | None" = None,
    ) -> None:
        self.kind = kind
        self.time = time
        self.values = values
        self.faults = faults
        self.stored = stored
        self.identifier = identifier
        self.source = source


class Column:
    """One property over the rows of a series; None where a row has no value."""

    def __init__(
        self,
        prop: "int | str",
        mantissas: "Sequence[int | None]",
        exponent: int = 0,
        unit: "str | None" = None,
    ) -> None:
        self.prop = prop
        self.mantissas = mantissas
        self.exponent = exponent
        self.unit = unit


class Series:
    """Many instants, the same properties: load-profile intervals or a run of present values.

    `times`: UTC seconds of each row, ascending; `offset`: minutes east of UTC to show them with, None
    for "Z". `faults`: sparse, (row, fault code) in row order; a number from registry.COLUMN_FAULTS on is a
    fault of one column's value. `origins` (load profile only): runs of
    rows as the meter stored them, (rows, data set, load-profile configuration (ET21.78), block
    sequence (BT63.5), first interval index); they give the ids. Without origins a row's id follows
    from the frame's epoch, sequence and row.
    """

    def __init__(
        self,
        kind: int,
        times: "Sequence[int]",
        columns: "Sequence[Column]",
        offset: "int | None" = None,
        faults: "Sequence[tuple[int, int | str]]" = (),
        origins: "Sequence[tuple[int, int, int, int, int]]" = (),
    ) -> None:
        self.kind = kind
        self.times = times
        self.columns = columns
        self.offset = offset
        self.faults = faults
        self.origins = origins


class Event:
    """An entry of a meter's event log, or an alarm set or cleared.

    `stamp`: the raw bytes of the time as the meter stored it; `sequence`: its 32-bit number in the
    log; `code`, `argument`: as logged. Together they give the id. An alarm has neither time nor number in
    the meter: its stamp is the raw status after the change, its sequence counted by the reader. `user`: who
    was logged in at the meter, as logged; None where that is not known.
    """

    def __init__(
        self,
        kind: int,
        time: Timestamp,
        code: int,
        sequence: int,
        stamp: bytes,
        argument: bytes = b"",
        faults: "Sequence[int | str]" = (),
        user: "int | None" = None,
    ) -> None:
        self.kind = kind
        self.time = time
        self.code = code
        self.sequence = sequence
        self.stamp = stamp
        self.argument = argument
        self.faults = faults
        self.user = user
