"""In which unit the meter counts energy: ET55."""

from ..._compat import TYPE_CHECKING, const
from ...errors import TableError
from ..layouts.extended import ET55

if TYPE_CHECKING:
    from ..tables import Tables

# Packed firmware versions (BT01.14). Energy units came with 3.70; with 1.20 on Control Point and OSGP
# modules, which number their firmware from 1 on.
_V1_20 = const(0x1280)
_V2_00 = const(0x2000)
_V3_70 = const(0x38C0)


async def energy_shift(tables: "Tables") -> int:
    """Decimal exponent of the meter's energy counts: 0, 1 or 2 for 1, 10 or 100 Wh and varh."""
    firmware = (await tables.dimensions(("firmware",)))["firmware"]
    if firmware < _V3_70 and not _V1_20 <= firmware < _V2_00:
        return 0
    table = await tables.get_if_there(ET55, "energy_unit")
    if table is None:
        return 0
    unit = table["energy_unit"]
    if unit not in (0, 1, 10, 100):  # 0: never set
        raise TableError("ET55 gives the energy register unit %d, the guide knows 1, 10 and 100" % unit)
    return len(str(unit)) - 1
