"""What is done once, at the board's start: the configuration decides what the board does.

Loaded for that only, and forgotten with all that it needs.
"""

import sys

import board_config
import crashes
import lamp
import machine
from application import BUTTON, SAFE_MODE, SET_UP, WORKING

from gateway import clock
from gateway._compat import TYPE_CHECKING
from gateway.errors import ConfigurationError

if TYPE_CHECKING:
    from typing import Any

    from application import Application

_ONCE = (
    "starting",
    "board_config",
    "board_profile",
    "command_config",
    "mep_client",
    "mep_config",
    "optical_config",
    "secret_file",
    "slots",
    "slot_files",
    "slot_rom",
)


def start(application: "Application") -> "tuple[int, dict[str, Any] | None]":
    """Sets the application's mode, and what belongs to that. Seconds between reports, and the page's settings
    where it is to be served."""
    sections = None
    if application.reset == BUTTON or not board_config.exists():
        application.mode = SET_UP
    else:
        application.mode = SAFE_MODE if application.crashed >= crashes.MOST else WORKING
        try:
            application.gateway, sections = board_config.make(application.log, application.mode == WORKING)
        except ConfigurationError as error:
            application.mode = SET_UP
            application.problems = str(error)
            application.log("error", "the configuration can't be used:\n%s" % error)
    application.lamp = lamp.Lamp(sections.profile.pins if sections else board_config.pins())
    application.log("info", "mode: %s" % application.mode)
    if sections is None:
        application.lamp.shows = lamp.SET_UP
        return 0, None
    if application.mode == SAFE_MODE:
        application.lamp.shows = lamp.SAFE_MODE
    _join(application, sections)
    return sections.values["report_seconds"], sections.page if sections.page["password_file"] else None


def _join(application: "Application", sections: "Any") -> None:
    from timekeeper import Timekeeper
    from wifi import Station

    application.station = Station(sections.wifi, application.log)
    application.time = Timekeeper(sections.ntp, application.log)
    if sections.ntp["server"] and machine.reset_cause() != machine.PWRON_RESET:
        # What a reset left of the clock may have been the meter's: it counts as that until the network tells.
        clock.set_utc(clock.utc_ms(), clock.METER)
    if application.mode == WORKING and sections.values["watchdog"]:
        from progress_watch import ProgressWatch

        application.watch = ProgressWatch(sections.values["watchdog"], sections.sync_ms)


def forget() -> None:
    for name in _ONCE:
        sys.modules.pop(name, None)
