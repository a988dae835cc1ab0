"""Who may command the board's meter: imported only where the configuration has it (docs/micropython.md).

Imported once and forgotten, as mep_config.py.
"""

from secret_file import read_secret

from gateway._compat import TYPE_CHECKING
from gateway.core.commands import Commands
from gateway.transmission.commands import ACTION_NAMES, UPDATE, command_key

if TYPE_CHECKING:
    from typing import Any

    from config_problems import Problems

    from gateway.core.outbox import Outbox
    from gateway.core.supervisor import Log

FIELDS: "dict[str, Any]" = {
    "credential_file": (str, None),
    "allow": (list, list(ACTION_NAMES[1:])),
    "clock": (bool, False),
}


def check_commands(values: "dict[str, Any]", problems: "Problems") -> "dict[str, Any]":
    """For make_commands: the owner's key, numbers of actions, and whether the board's clock is right."""
    file = values["credential_file"]
    credential = file and problems.of(read_secret, file, "credential")
    actions = []
    for action in values["allow"]:
        if action not in ACTION_NAMES[1:]:
            problems.add("commands.allow", "takes %s" % ", ".join(ACTION_NAMES[1:]))
            break
        actions.append(ACTION_NAMES.index(action))
    return {"key": command_key(credential or b""), "actions": actions, "clock": values["clock"]}


def make_commands(checked: "dict[str, Any]", name: str, outbox: "Outbox", log: "Log") -> Commands:
    """For the meter `name`."""
    made = Commands(outbox, {name: (checked["key"], checked["actions"])}, log, checked["clock"])
    if UPDATE in checked["actions"]:
        from updater import BoardUpdater

        made.updater = BoardUpdater()
    return made
