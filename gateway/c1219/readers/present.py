"""Present values: BT28 in the order of BT27, as one Reading.

The table has no time of its own: the reading carries the gateway's clock when the answer had come in.
Values are before current and voltage transformer ratios unless their property is OSGP_primary_...;
each value lies within one answer, and all of them do as long as they fit Meter.max_read (they do over
MEP). The default order of the guide stands in for an absent BT27 (firmware before 3.10).
"""

from ..._compat import TYPE_CHECKING
from ...transmission.model import PRESENT, Reading, Value
from ..layouts.registers import BT22, BT27, BT28
from ..sources import PRESENT_DEMAND, PRESENT_ORDER, UNUSED, Resolver, default_order, demand_name, name_of
from .common import now

if TYPE_CHECKING:
    from ..sources import Columns
    from ..tables import Tables


async def _columns(tables: "Tables") -> "Columns":
    memo = tables.memo  # of this moment: what is derived from dropped dimensions goes with them
    columns: Columns | None = memo.get("present")
    if columns is not None:
        return columns
    dims = await tables.dimensions(BT28.needs)
    selection = await tables.get_if_there(BT27)
    values = bytes(selection["values"]) if selection else default_order(PRESENT_ORDER, dims["present_values"])
    sources = bytes(selection["demands"]) if selection else bytes(range(PRESENT_DEMAND, PRESENT_DEMAND + 8))
    demands = b""
    if dims["demands"]:
        chosen = await tables.get_if_there(BT22, "demands")
        demands = bytes(chosen["demands"]) if chosen else b""
    resolver = Resolver()
    for i in range(dims["present_demands"]):
        resolver.add(*demand_name(sources[i], demands))
    for source in values:
        if source == UNUSED:
            resolver.skip()
        elif PRESENT_DEMAND <= source < PRESENT_DEMAND + 16:
            resolver.add(*demand_name(source, demands))
        else:
            resolver.add(name_of(source))
    memo["present"] = resolver.columns
    return resolver.columns


async def _read(tables: "Tables") -> Reading:
    columns = await _columns(tables)
    table = await tables.get(BT28)
    time = now()
    mantissas = [demand["value"] for demand in table["demands"]]
    mantissas.extend(table["values"])
    values = []
    for i in range(min(len(columns), len(mantissas))):
        column, mantissa = columns[i], mantissas[i]
        if column is not None:
            values.append(Value(column[0], mantissa, column[1], column[2]))
    return Reading(PRESENT, time, values)


async def read(tables: "Tables") -> "list[Reading]":
    return [await tables.steady(lambda: _read(tables))]
