"""What is wrong with a board's configuration, and whether fields are there and of their types.

Forgotten with board_config.py, whose parts tell each other here.
"""

from gateway._compat import TYPE_CHECKING
from gateway.errors import BrokerError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Problems:
    """What is wrong with the configuration, so that all of it is told at once."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def add(self, where: str, what: object) -> None:
        self.found.append("%s: %s" % (where, what))

    def of(self, work: "Callable[..., Any]", *arguments: "Any") -> "Any":
        """What `work` gives; None when it finds something wrong, which is noted."""
        try:
            return work(*arguments)
        except (ConfigurationError, BrokerError) as error:
            self.found.append(str(error))
            return None

    def tell(self) -> None:
        if self.found:
            raise ConfigurationError("\n".join(sorted(self.found)))


def checked(given: "Any", fields: "dict[str, Any]", where: str, problems: Problems) -> "dict[str, Any]":
    """The fields with defaults filled in, also in place of what is wrong."""
    for name in given:
        if name not in fields:
            problems.add(where + name, "there is no such field")
    values = {}
    for name, (kind, default) in fields.items():
        value = given.get(name, default)
        if value is None:
            problems.add(where + name, "has to be given")
        elif not isinstance(value, kind) or (kind is int and (isinstance(value, bool) or value < 0)):
            problems.add(where + name, "takes a %s, not %r" % (kind.__name__, value))
            value = default
        values[name] = value
    return values
