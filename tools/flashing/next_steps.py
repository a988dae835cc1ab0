"""What to do with a board that has just been flashed, and with an image for one."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from .plan import Plan
from .profile import Profile
from .settings import line


def for_image(made: Plan, written: Sequence[tuple[int, Path]]) -> str:
    """`written`: the files and where in flash they belong."""
    files = " ".join(f"0x{offset:x} {shlex.quote(str(file))}" for offset, file in sorted(written))
    lines = [
        "",
        "What next:",
        f"- Write it: python -m esptool --chip {made.profile.chip} write-flash {files}",
        _set_up(made.profile),
    ]
    return "\n".join(lines)


def _set_up(profile: Profile) -> str:
    when = "whenever its button is held" if "button" in profile.pins else "where its settings are wrong"
    return (
        f"- Set-up, {when}: the access point's password is {profile.password}, and is shown this once. Write "
        "it onto the board."
    )


def text(made: Plan) -> str:
    profile, settings = made.profile, made.settings
    lines = ["", "The board is flashed and verified, and starts now. What next:"]
    lines.append(f"- Meter: {line(profile)}{_enable(made)}.")
    if settings is None or "wifi" not in settings.values:
        lines.append(
            "- Wi-Fi: the board opens an access point of its own, osgp-gateway-...; join it with a phone and "
            "follow the page that comes up."
        )
    else:
        wifi = settings.values["wifi"]
        where = wifi.get("address") or wifi["hostname"]
        page = f"; its page is at http://{where}/" if "page.password_file" in settings.secrets else ""
        lines.append(f"- Wi-Fi: it joins {wifi['ssid']!r} as {where}{page}.")
    lines.append(_set_up(profile))
    if settings is not None:
        broker = settings.values["broker"]
        lines.append(
            f"- Broker: it publishes to {broker['host']}:{broker['port']} as {broker['client_id']!r}; the "
            "first reading comes seconds after the meter has answered."
        )
    lines.append("- Anything wrong? tools/flash.py monitor shows what the board says (docs/board.md).")
    return "\n".join(lines)


def _enable(made: Plan) -> str:
    enable = made.profile.pins.get("enable")
    return f", ENABLE GPIO {enable['pin']}" if enable else ""
