"""The configuration's part for a meter on its MEP port.

Imported once and forgotten: nothing that outlives `make_opener` may hold on to this module.
"""

from mep_opener import MepOpener
from secret_file import parse_secret
from tls_file import TlsFile

from gateway._compat import TYPE_CHECKING
from gateway.drivers.mep.key import parse_key
from gateway.drivers.mep.security import AUTO, DIGEST, MODES, TLS, Security

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from config_problems import Problems
    from uart_link import Line

    from gateway.core.supervisor import Log
    from gateway.meter import Meter

FIELDS: "dict[str, Any]" = {
    "key_file": (str, None),
    "security": (str, DIGEST),
    "key_level": (str, ""),
    "register": (bool, False),
    "allow_writes": (bool, False),
    "power_change_w": (int, 0),
}
_LEVELS = {"": None, "mbk": 0, "mak": 1}


def make_opener(
    values: "dict[str, Any]", line: "Line", path: str, log: "Log", problems: "Problems"
) -> "Callable[[], Awaitable[Meter]] | None":
    """`path`: of the configuration. None when something is wrong, which is noted in `problems`."""
    mode = values["security"]
    if mode not in MODES:
        problems.add("security", "takes %s" % ", ".join(MODES))
    if values["key_level"] not in _LEVELS:
        problems.add("key_level", 'takes "mbk" or "mak", or is left out')
    read = values["key_file"] and problems.of(parse_secret, values["key_file"], "meter's key", parse_key)
    memory = problems.of(TlsFile, path + ".tls")
    if problems.found:
        return None
    key, form = read
    log("info", "the meter's key: %s" % form)
    make_tls: Any = None
    if mode in (TLS, AUTO):
        from mep_tls import TlsClient

        make_tls = TlsClient
    security = problems.of(Security, key, mode, make_tls, _LEVELS[values["key_level"]], memory)
    return MepOpener(line, security, values["baud"]).open
