"""The configuration's part for a meter on its optical port.

Imported once and forgotten: nothing that outlives `make_opener` may hold on to this module.
"""

from optical_opener import OpticalOpener
from secret_file import parse_secret

from gateway._compat import TYPE_CHECKING
from gateway.drivers.optical.meter import LAST_USER_ID, USER, USER_ID
from gateway.drivers.optical.password import parse_password
from gateway.drivers.optical.services import USER_BYTES, is_rate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from config_problems import Problems
    from uart_link import Line

    from gateway.core.supervisor import Log
    from gateway.meter import Meter

FIELDS: "dict[str, Any]" = {
    "password_file": (str, None),
    "user_id": (int, USER_ID),
    "user": (str, USER),
    "log_off": (str, "cycle"),
}


def make_opener(
    values: "dict[str, Any]", line: "Line", path: str, log: "Log", problems: "Problems"
) -> "Callable[[], Awaitable[Meter]] | None":
    """None when something is wrong, which is noted in `problems`."""
    user = values["user"]
    if len(user) > USER_BYTES or not all(" " <= character <= "~" for character in user):
        problems.add("user", "takes up to %d characters of ASCII" % USER_BYTES)
    if values["user_id"] > LAST_USER_ID:
        problems.add("user_id", "takes 0 to %d" % LAST_USER_ID)
    if values["log_off"] not in ("cycle", "never"):
        problems.add("log_off", 'takes "cycle" or "never"')
    if not is_rate(values["baud"]):
        problems.add("baud", "is no rate of an optical session: 300 to 57600, as ANSI C12.18 lists them")
    read = values["password_file"] and problems.of(
        parse_secret, values["password_file"], "meter's password", parse_password
    )
    if problems.found:
        return None
    password, form = read
    log("info", "the meter's password: %s" % form)
    return OpticalOpener(
        line, password, values["baud"], values["user_id"], user, values["log_off"] == "cycle"
    ).open
