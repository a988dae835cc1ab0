"""Load profiles on a board, which has no room for all of their reader at once: first what finds out how they
are configured, which is forgotten, then what reads them."""

from ..._compat import TYPE_CHECKING, forget
from .profile_cursor import since as since  # noqa: PLC0414 - for whoever reads kinds

if TYPE_CHECKING:
    from ..tables import Tables
    from .common import Step


async def read(tables: "Tables", cursor: "bytes | None") -> "Step":
    """See load_profile.read. What is found out is forgotten after each step, but what the meter answered is
    kept as long as there is more."""
    if "load_profile" not in tables.memo:
        await _find_out(tables)
    from .load_profile import read

    return await read(tables, cursor)


async def _find_out(tables: "Tables") -> None:
    from .profile_loading import load

    tables.trace()
    try:
        profile = await tables.steady(lambda: load(tables))
        tables.memo["load_profile"] = profile
    finally:
        tables.end_trace()
        forget("gateway.c1219.readers", "profile_loading")
        forget("gateway.c1219.readers", "profile_changes")
