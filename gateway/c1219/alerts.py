"""A MEP client that its meter alerts: registration, what an alert is about, and delta data (MEP guide,
chapter 2, "Alert Sequence" and "Multiple MEP Ports"; chapter 3, "Delta Data Alerts"; ET13, ET50, ET71).

Of the causes of an alert only delta data can be ended here: EP39's type is known for them alone (12). A
scheduled read and an on-demand request want data of the client's own, which a reader has none of; they
and M-Bus changes are taken as the moment to read what the meter has of its devices, once as each comes up.
M-Bus alerts are not asked for (ET50.30.2), because nothing here could end them.
"""

from .._compat import TYPE_CHECKING, const
from ..errors import ProcedureFailed, Refused, TableError
from ..transmission.model import LOAD_PROFILE, MBUS, PRESENT, Reading, Value
from .procedures import mep_port, procedures
from .sources import Resolver, name_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .layout import Table
    from .tables import Tables

# What a meter says no to for good, as against an answer that got lost.
LASTING = (Refused, TableError, ProcedureFailed)

_EP39 = const(2087)
_CLEAR_DELTA_ALERT = b"\x0c"

_ET13 = const(2061)
_FIRST_CLIENT = const(4)  # the entries before it are M-Bus devices'
_ALERT_FLAGS = const(8)
_SCHEDULED_READ = const(1)
_ON_DEMAND = const(2)
_MBUS_CHANGE = const(8)
_DELTA_DATA = const(16)

_FLAGS = const(30)  # ET50
_REGISTERED = const(1)
_RESPONSES_IN_ET59 = const(2)
_DELTA_ALERTS = const(8)
# Packed as in BT01.14; modules number from 1 on and have ET59.
_V2_00 = const(0x2000)
_V3_00 = const(0x3000)
_V3_40 = const(0x3500)

_ET71 = const(2119)
_ENTRY = const(13)  # bytes of it
_UNUSED = const(255)
_MOST_ENTRIES = const(32)
_SOURCES = (8, 9)  # active power forward and reverse (MEP guide, "Source IDs")

# The longest between two looks at alerts that nobody can end, where a change of power may hide behind them.
_WATCHING_MS = const(2000)

_POWER = "changes of power"


# Layouts and readers are imported where they are used: on a board they are dropped in between.


class Client:
    """One meter's registered client. It writes ET50 (its own flags) and nothing else, unless `power_change`
    is given.

    `power_change`: W by which the power has to change for the meter to tell it; 0: it is not asked to. It
    takes writes to ET71 and a procedure for each change, so only who may write to the meter gives it.
    `problems`: what can't be had, in words, by what it is.
    """

    def __init__(self, power_change: int = 0) -> None:
        self.problems: dict[str, str] = {}
        self._power_change = power_change
        self._flags = 0
        self._watched: list[int] = []  # places in ET71
        self._told: dict[int, int] = {}

    @property
    def pause_ms(self) -> "int | None":
        """The longest that an alert may wait to be looked at; None: as long as one likes."""
        return _WATCHING_MS if self._watched else None

    async def prepare(self, tables: "Tables") -> None:
        """Register where that has not been done or was lost. Called with each connection, and now and
        then: the meter may forget without a word (ET71 with each power outage)."""
        self._watched = []
        self.problems = {}
        held: Sequence[Table] = ()
        try:
            held = await self._register(tables)
        except LASTING as error:
            self.problems["registration"] = (
                "the meter doesn't take this gateway as its client, so no alerts come: %s. The key may lack "
                "the right; what alerts would tell is read as scheduled" % error
            )
        if held:
            await self._watch(tables, held)

    async def serve(self, tables: "Tables") -> "tuple[Sequence[Reading], Sequence[int]]":
        """What the alert flags tell: readings, and kinds to be read at once; both empty where there is
        nothing new. Errors as for Tables.get."""
        size = (await tables.dimensions(("devices",)))["config_rest"] + 28
        at = (_FIRST_CLIENT + await _second(tables)) * size + _ALERT_FLAGS
        flags = (await tables.meter.read(_ET13, at, 1))[0]
        new = flags & ~self._flags
        self._flags = flags
        kinds = []
        if new & (_SCHEDULED_READ | _ON_DEMAND | _MBUS_CHANGE):
            kinds.append(MBUS)
        if new & _MBUS_CHANGE:
            kinds.append(LOAD_PROFILE)
        if flags & _DELTA_DATA and self._watched:
            return await self._power(tables, await self._end_alert(tables)), kinds
        return (), kinds

    async def _register(self, tables: "Tables") -> "Sequence[Table]":
        """What ET71 watches, where it is to watch more."""
        from .layouts.extended import ET11
        from .layouts.mep_client import ET50

        held: list[Table] = []
        wanted: int = _REGISTERED
        if self._power_change:
            held = await _entries(tables)
            if held:
                wanted |= _DELTA_ALERTS
            else:
                self.problems[_POWER] = (
                    "this meter does not tell them (no ET71: firmware before 3.40); they come as polled"
                )
        at: int = _FLAGS
        if await _second(tables):
            at += 35 + 6 * (await tables.get(ET11, "data_sources"))["data_sources"]
        elif not _V2_00 <= (await tables.dimensions(("firmware",)))["firmware"] < _V3_00:
            # BT08 is everybody's; the guide wants this with each registration (ET50.30.1).
            wanted |= _RESPONSES_IN_ET59
        flags = (await tables.part(ET50, at, 1))[0]
        if flags & wanted != wanted:
            tables.memo.pop("procedures", None)  # their responses may stand elsewhere from now on
            await tables.meter.write(ET50.table, bytes((flags | wanted,)), at)
            flags = (await tables.part(ET50, at, 1))[0]
            if flags & wanted != wanted:
                raise TableError("ET50.30 was written, and is %02X still" % flags)
        return held

    async def _watch(self, tables: "Tables", held: "Sequence[Table]") -> None:
        """Have ET71 watch the power; what is so already is not written again."""
        self._watched = []
        try:
            await self._fill(tables, held)
        except LASTING as error:
            self.problems[_POWER] = "the meter does not watch for them: %s. They come as polled" % error

    async def _fill(self, tables: "Tables", held: "Sequence[Table]") -> None:
        shared = bool(await mep_port(tables))
        for source in _SOURCES:
            place = _place(held, source, self._power_change, shared)
            if place is None:
                self.problems[_POWER] = "all %d entries of ET71 are in use; they come as polled" % len(held)
                return
            entry = held[place]
            if not self._is_ours(entry):
                data = source | self._power_change << 16 | (self._told.get(source, 0) & 0xFFFFFFFF) << 32
                await tables.meter.write(_ET71, data.to_bytes(8, "little"), place * _ENTRY)
                entry["source"], entry["delta"] = source, self._power_change
            self._watched.append(place)

    def _is_ours(self, entry: "Table") -> bool:
        return entry["source"] in _SOURCES and entry["delta"] == self._power_change

    async def _end_alert(self, tables: "Tables") -> bool:
        """Before the values are read, so that what changes from then on raises another."""
        try:
            await (await procedures(tables)).call(_EP39, _CLEAR_DELTA_ALERT)
        except LASTING as error:
            self.problems[_POWER] = "the meter goes on alerting: %s" % error
            return False
        self.problems.pop(_POWER, None)
        return True

    async def _power(self, tables: "Tables", ended: bool) -> "Sequence[Reading]":
        """The watched values; none where the alert goes on and they are what was told before."""
        from .readers.common import now

        held = await _entries(tables)
        time = now()
        if not all(place < len(held) and self._is_ours(held[place]) for place in self._watched):
            # By the guide's words the procedure clears the configuration. The values went with it.
            from .readers.present import read

            await self._watch(tables, held)
            return await read(tables)
        resolver = Resolver()
        values = []
        change = ended
        for place in self._watched:
            entry = held[place]
            source, count = entry["source"], entry["sampled"]
            if entry["invalid"]:
                continue
            resolver.add(name_of(source))
            column = resolver.columns[-1]
            assert column is not None
            values.append(Value(column[0], count, column[1], column[2]))
            change = change or abs(count - self._told.get(source, 0)) >= self._power_change
        if not change or not values:
            return ()
        for place in self._watched:
            self._told[held[place]["source"]] = held[place]["sampled"]
        return (Reading(PRESENT, time, values),)


async def _second(tables: "Tables") -> int:
    """1 for the second MEP client, else 0: its place among the clients in ET13 and ET50."""
    return 1 if await mep_port(tables) == 2 else 0


async def _entries(tables: "Tables") -> "list[Table]":
    """ET71's; none where the meter lacks it."""
    if (await tables.dimensions(("firmware",)))["firmware"] < _V3_40:
        return []
    from .layouts.extended import ET11
    from .layouts.mep_client import ET71

    count = (await tables.get(ET11, "alert_sources"))["alert_sources"]
    if not count:
        return []
    if count > _MOST_ENTRIES:
        raise TableError("ET11 claims %d entries of ET71, up to %d are believed" % (count, _MOST_ENTRIES))
    try:
        data = await tables.part(ET71, 0, count * _ENTRY)
    except Refused as refusal:
        if refusal.code in (4, 5):
            return []
        raise
    entries: list[Table] = ET71.decode(data, {"alert_sources": count})["sources"]
    return entries


def _place(held: "Sequence[Table]", source: int, delta: int, shared: bool) -> "int | None":
    """Where ET71 watches the source or may do so. What another client of a `shared` table has set stays."""
    free = None
    for place, entry in enumerate(held):
        if entry["source"] == source and (entry["delta"] == delta or not shared):
            return place
        if entry["source"] == _UNUSED and free is None:
            free = place
    return free
