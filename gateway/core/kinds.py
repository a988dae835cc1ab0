"""From the tables to the model objects of one kind: which reader it takes, imported when needed."""

from .._compat import TYPE_CHECKING, forget
from ..errors import ConfigurationError
from ..transmission import model

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from typing import Any

    from ..c1219.tables import Tables


def read_kind(kind: int, tables: "Tables") -> "Awaitable[list[Any]]":
    """The model objects of a kind that is read as it is at the moment."""
    if kind == model.IDENTITY:
        from ..c1219.readers.identity import read
    elif kind == model.CLOCK:
        from ..c1219.readers.clock import read
    elif kind == model.REGISTERS:
        from ..c1219.readers.registers import read
    elif kind == model.PRESENT:
        from ..c1219.readers.present import read
    else:
        raise ConfigurationError("no reader for readings of kind %d" % kind)
    return read(tables)


def is_stepwise(kind: int) -> bool:
    """Whether the meter stores it, so that it is read step by step with a cursor."""
    return bool(model.SELF_READ <= kind <= model.MBUS)


def forget_readers() -> None:
    """On a board their memory is needed."""
    forget("gateway.c1219.readers")
    forget("gateway.c1219.layouts")
