"""What the page shows and changes on the board: status, log, settings and updates.

Loaded while somebody looks, and forgotten afterwards (page.py).
"""

import asyncio
import json
import sys
from binascii import a2b_base64

import slots

from gateway._compat import TYPE_CHECKING, const
from gateway.clock import sleep_ms
from gateway.errors import ConfigurationError, GatewayError
from gateway.web.api import Api
from gateway.web.application import PageApplication
from gateway.web.login import Login, parse_verifier

if TYPE_CHECKING:
    from typing import Any

    from application import Application

    from gateway.web.live import Live

_SECRETS = (
    "key_file",
    "password_file",
    "wifi.password_file",
    "broker.password_file",
    "broker.ca_file",
    "broker.credential_file",
    "page.password_file",
)
_OUTBOX = "outbox"
# network.WLAN.scan's number.
_OPEN = const(0)
# So that the answer still goes out.
_RESTART_MS = const(1500)


class BoardPage(PageApplication):
    """`live`: None in set-up."""

    def __init__(self, application: "Application", name: str, live: "Live | None") -> None:
        self._application = application
        self._name = name
        self._live = live
        self._update: Any = None
        self._restarting: asyncio.Task[None] | None = None

    def about(self) -> "dict[str, Any]":
        places = slots.opened()
        about = {"name": self._name, "version": places.version(places.running())}
        if self.address:
            about["problems"] = self._application.problems
        return about

    def status(self) -> "dict[str, Any]":
        status = self._application.status()
        if self._live is not None:
            status["live"] = self._live.values()
        return status

    def history(self) -> "dict[str, Any]":
        return {} if self._live is None else self._live.history()

    def log(self, after: int) -> "Any":
        lines = self._application.lines or []
        if lines and after > lines[-1][0]:
            after = 0  # the board was restarted, and counts anew
        return [line for line in lines if line[0] > after]

    def settings(self) -> "tuple[dict[str, Any], list[str]]":
        import board_config

        settings = board_config.load() if board_config.exists() else {}
        forget_configuration()
        return settings, [name for name in _SECRETS if _at(settings, name)]

    def save(self, settings: "dict[str, Any]", secrets: "dict[str, str]") -> None:
        if not settings.get("outbox_dir"):
            settings["outbox_dir"] = _OUTBOX
        import board_config

        try:
            board_config.write(settings, contents(secrets))
        finally:
            forget_configuration()

    async def scan(self) -> "list[dict[str, Any]]":
        import network

        station = network.WLAN(network.STA_IF)
        active = station.active()
        station.active(True)
        try:
            found = station.scan()
        except OSError as error:
            raise GatewayError("the radio does not look around: %s; try again" % error) from None
        finally:
            if not active:
                station.active(False)
        strongest: dict[str, tuple[int, bool]] = {}
        for ssid, _, _, rssi, security, _ in found:
            try:
                name = ssid.decode()
            except UnicodeError:
                continue
            if name and (name not in strongest or rssi > strongest[name][0]):
                strongest[name] = rssi, security == _OPEN
        return [{"ssid": name, "rssi": one[0], "open": one[1]} for name, one in strongest.items()]

    async def try_meter(self, settings: "dict[str, Any]", secrets: "dict[str, str]") -> "dict[str, Any]":
        if self._application.gateway is not None:
            raise GatewayError("the meter is being read already; the page shows how that goes")
        from meter_trial import try_meter

        try:
            return await try_meter(settings, contents(secrets))
        finally:
            forget_configuration()

    def update(self, size: int) -> None:
        from ota import Update

        self._update = None
        update = Update()
        update.begin(size)
        self._update = update

    async def update_data(self, at: int, data: bytes) -> None:
        update = self._update
        if update is None or update.received != at:
            raise GatewayError("the update was interrupted; begin it again")
        self._update = None  # what fails is thrown away
        await update.write(data)
        self._update = update

    async def update_finish(self) -> None:
        update, self._update = self._update, None
        if update is None:
            raise GatewayError("the update was interrupted; begin it again")
        await update.finish()

    def restart(self) -> None:
        self._restarting = asyncio.create_task(self._restart())

    async def _restart(self) -> None:
        await sleep_ms(_RESTART_MS)
        self._application.restart("asked for on the page")


def forget_configuration() -> None:
    """As large as all the rest of the page, and needed for a moment only."""
    for name in ("board_config", "config_writer", "board_profile", "mep_config", "optical_config"):
        sys.modules.pop(name, None)


def _at(settings: "dict[str, Any]", name: str) -> "Any":
    section, _, field = name.rpartition(".")
    return (settings.get(section, {}) if section else settings).get(field)


def contents(secrets: "dict[str, str]") -> "dict[str, bytes]":
    """What the secrets' files are to hold. Raises ConfigurationError."""
    files = {}
    for name, text in secrets.items():
        if name not in _SECRETS:
            raise ConfigurationError("%s: there is no such secret" % name)
        if name == "page.password_file":
            verifier_of(text)
        try:
            files[name] = a2b_base64(text) if name == "broker.ca_file" else text.encode()
        except ValueError:
            raise ConfigurationError("%s: the certificate is neither PEM nor DER" % name) from None
    return files


def verifier_of(text: "str | bytes") -> "tuple[bytes, int, bytes, bytes]":
    try:
        given = json.loads(text)
    except ValueError:
        given = None
    return parse_verifier(given)


def load(application: "Application", live: "Live", password_file: str) -> Api:
    """For Page, while the gateway runs. Raises ConfigurationError."""
    from secret_file import read_secret

    verifier = verifier_of(read_secret(password_file, "page's password"))
    name = "osgp-gateway" if application.gateway is None else application.gateway.name
    return Api(BoardPage(application, name, live), Login(verifier))
