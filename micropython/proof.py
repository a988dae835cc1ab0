"""What is done once, when the broker has acknowledged something: loaded for that only."""

import sys

import crashes
import slots

from gateway._compat import TYPE_CHECKING
from gateway.transmission import topics

if TYPE_CHECKING:
    from gateway.core.gateway import Gateway


def prove(gateway: "Gateway") -> None:
    """What runs is good; and crashes before it are told, retained. They are kept until the broker has
    them."""
    slots.confirm()
    crashes.well()
    text = crashes.log()
    if text:
        gateway.sender.pass_on(
            topics.crash(gateway.sender.own_status), text, lambda: crashes.forget(text), True
        )


def forget() -> None:
    for name in ("proof", "slots", "slot_files", "slot_rom"):
        sys.modules.pop(name, None)
