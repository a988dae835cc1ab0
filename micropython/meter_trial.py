"""Whether a meter answers, and what it says, with what a person has just typed in."""

from board_config import PATH
from board_profile import Profile
from config_problems import Problems, checked
from config_writer import Writer
from secret_file import offered
from uart_link import Line

from gateway._compat import TYPE_CHECKING, const
from gateway.c1219.readers.identity import identify
from gateway.c1219.readers.present import read
from gateway.c1219.tables import Tables
from gateway.clock import wait_for_ms
from gateway.errors import ConfigurationError, Refused, TableError
from gateway.transmission.model import PRESENT
from gateway.web.live import Live

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from gateway.meter import Meter

_LONG_MS = const(25000)
# A meter's own fields; the rest need not be right yet.
_FIELDS: "dict[str, Any]" = {"protocol": (str, "mep"), "baud": (int, 9600), "board": (dict, {})}


def _silent(level: str, text: str) -> None:
    """The answer says it."""


def _opener(settings: "dict[str, Any]", secrets: "dict[str, bytes]") -> "Callable[[], Awaitable[Meter]]":
    if settings.get("protocol") == "optical":
        from optical_config import FIELDS, make_opener
    else:
        from mep_config import FIELDS, make_opener
    fields = dict(_FIELDS)
    fields.update(FIELDS)
    secrets = {name: secrets[name] for name in secrets if name in fields}
    writer = Writer({name: settings[name] for name in fields if name in settings}, secrets, PATH)
    problems = Problems()
    values = checked(writer.settings, fields, "", problems)
    profile = problems.of(Profile, values["board"])
    offered.update(writer.files)
    try:
        opener = profile and make_opener(values, Line(profile), PATH, _silent, problems)
    finally:
        offered.clear()
    problems.tell()
    if opener is None:
        raise ConfigurationError("the meter's settings are incomplete")
    return opener


async def try_meter(settings: "dict[str, Any]", secrets: "dict[str, bytes]") -> "dict[str, Any]":
    """Serial number and power in W; None where the meter tells no power. Raises GatewayError."""
    meter = await _opener(settings, secrets)()
    try:
        return await wait_for_ms(_ask(meter), _LONG_MS)  # type: ignore[no-any-return]
    finally:
        await meter.close()


async def _ask(meter: "Meter") -> "dict[str, Any]":
    tables = Tables(meter)
    who = await identify(tables)
    watts = None
    try:
        live = Live()
        live.take(PRESENT, await read(tables))
        watts = live.watts()
    except (Refused, TableError):
        pass  # it is the right meter, whatever it lacks
    return {"serial": who.serial, "watts": watts}
