"""Set-up: the board's own access point, on which every name leads to the page (docs/page.md).

Loaded for that only; when it has ended nothing of it is left.
"""

import asyncio
import json
import socket
import sys

import machine
import network
from page import Page, forget_page

from gateway._compat import TYPE_CHECKING, const, forget
from gateway.clock import monotonic_ms, sleep_ms

if TYPE_CHECKING:
    from typing import Any

    from application import Application

    from gateway.web.api import Api

# network.WLAN.scan's numbers.
_OPEN = const(0)
_WPA2 = const(3)
PROFILE = "config/profile.json"
_LONGEST = const(512)
_POLL_MS = const(50)
# Nobody came: whoever held the button has gone, and the meter is to be read again.
_LEFT_ALONE_MS = const(900000)
_MODULES = (
    "setup_page",
    "meter_trial",
    "board_profile",
    "mep_config",
    "mep_opener",
    "optical_config",
    "optical_opener",
    "uart_link",
)


async def set_up(application: "Application") -> None:
    """Until cancelled, or nobody came for 15 minutes though the board has a configuration that works."""
    name = "osgp-gateway-%s" % bytes(machine.unique_id()[-2:]).hex()
    point: Any = network.WLAN(network.AP_IF)
    point.active(True)
    said = _profile()
    password = said.get("password", "")
    if password:
        point.config(ssid=name, key=password, security=_WPA2)
    else:
        point.config(ssid=name, security=_OPEN)
    address = point.ifconfig()[0]

    def load() -> "Api":
        from board_page import BoardPage

        from gateway.web.api import Api

        shown = BoardPage(application, name, None)
        shown.address = address
        return Api(shown, None)

    from application import BUTTON

    held = application.reset == BUTTON
    application.log("info", "set-up: join the Wi-Fi %s and open http://%s/" % (name, address))
    page = Page(load, said.get("port", 80), application.log)
    names = _names(address, said.get("dns_port", 53))
    tasks = [asyncio.create_task(page.run()), asyncio.create_task(names)]
    try:
        while True:
            await sleep_ms(1000)
            for task in tasks:
                if task.done():
                    await task  # raises why
            if held and not application.problems and monotonic_ms() - page.used_ms > _LEFT_ALONE_MS:
                application.restart("nobody came to set the board up")
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        point.active(False)
        forget_page()
        forget("gateway.c1219.readers")
        forget("gateway.c1219.layouts")
        for module in _MODULES:
            sys.modules.pop(module, None)


def _profile() -> "dict[str, Any]":
    """What was flashed for set-up: "password" of the access point, "port" and "dns_port"."""
    try:
        with open(PROFILE) as file:
            return json.load(file).get("setup", {})  # type: ignore[no-any-return]
    except (OSError, ValueError):
        return {}


async def _names(address: str, port: int) -> None:
    from gateway.web.dns import answer

    own = bytes([int(part) for part in address.split(".")])
    names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        names.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        names.bind(socket.getaddrinfo("0.0.0.0", port)[0][-1])  # noqa: S104 - its own access point
        names.setblocking(False)
        while True:
            try:
                query, sender = names.recvfrom(_LONGEST)
                reply = answer(query, own)
                if reply is not None:
                    names.sendto(reply, sender)
            except OSError:
                await sleep_ms(_POLL_MS)  # nothing there, or a phone that has gone
    finally:
        names.close()
