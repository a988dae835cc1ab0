"""Wi-Fi: joins the network, and joins it again whenever it is lost."""

import network

from gateway._compat import TYPE_CHECKING, const
from gateway.clock import monotonic_ms

if TYPE_CHECKING:
    from typing import Any

    from gateway.core.supervisor import Log

# How long an attempt may take, until another one; an access point that restarts takes minutes.
_PATIENCE_MS = const(20000)
# Until the radio has found out, its status is that of the attempt before.
_UNDECIDED_MS = const(8000)
_FIRST_WAIT_MS = const(1000)
_LONGEST_WAIT_MS = const(30000)
# Codes of the ESP32 port (esp_wifi_types.h, network_wlan.c).
_GOT_IP = const(1010)
_CONNECTING = const(1001)
_IDLE = const(1000)
_LOST = const(200)
_WRONG_PASSWORD = (15, 202, 204)
_NO_NETWORK = (201, 210, 211, 212)


class Station:
    """`settings`: of board_config.wifi_of. `step` is to be called about once a second. `reason`: why there is
    no network, "" while there is."""

    def __init__(self, settings: "dict[str, Any]", log: "Log") -> None:
        self.reason = "starting"
        self.joined = 0  # how often
        self._settings = settings
        self._log = log
        self._wait_ms = 0
        self._next_ms = monotonic_ms()
        self._given_up_ms = 0
        self._trying = False
        if settings["country"]:
            network.country(settings["country"])
        network.hostname(settings["hostname"])
        self._wlan: Any = network.WLAN(network.STA_IF)
        self._wlan.active(True)
        # The firmware's own attempts would hide why the last one failed.
        self._wlan.config(reconnects=1)
        if settings["addresses"] is not None:
            self._wlan.ifconfig(settings["addresses"])

    @property
    def connected(self) -> bool:
        return not self.reason

    def step(self) -> None:
        status = self._wlan.status()
        now = monotonic_ms()
        if status == _GOT_IP:
            if self.reason:
                self.reason = ""
                self.joined += 1
                self._trying = False
                self._wait_ms = 0
                self._log(
                    "info", "Wi-Fi: joined %s as %s" % (self._settings["ssid"], self._wlan.ifconfig()[0])
                )
            return
        if self._trying:
            pending = status in (_CONNECTING, _IDLE)
            if now < (self._given_up_ms if pending else self._given_up_ms - _PATIENCE_MS + _UNDECIDED_MS):
                return
            self._failed(self._why(status))
        elif not self.reason:
            self._failed("the network was lost")
        if now >= self._next_ms:
            self._trying = True
            self._given_up_ms = now + _PATIENCE_MS
            try:
                self._wlan.disconnect()
                self._wlan.connect(self._settings["ssid"], self._settings["password"].decode() or None)
            except OSError as error:
                self._failed("the radio refuses: %s" % error)

    def _failed(self, reason: str) -> None:
        self._trying = False
        self._wait_ms = min(max(self._wait_ms * 2, _FIRST_WAIT_MS), _LONGEST_WAIT_MS)
        self._next_ms = monotonic_ms() + self._wait_ms
        if reason != self.reason:
            self.reason = reason
            self._log("warning", "Wi-Fi: %s" % reason)

    def _why(self, status: int) -> str:
        ssid = self._settings["ssid"]
        if status in _WRONG_PASSWORD:
            return "%s refuses the password; set the right one" % ssid
        if status in _NO_NETWORK:
            return "%s is not on the air here; is the name right, the access point on, and on 2.4 GHz?" % ssid
        if status == _CONNECTING:
            return "%s gives no address; is its DHCP on, or an address to be set here?" % ssid
        if status == _LOST:
            return "%s was lost; is the access point too far away?" % ssid
        return "%s can't be joined (code %d of the radio)" % (ssid, status)

    def status(self) -> "dict[str, Any]":
        connected = self.connected
        return {
            "ssid": self._settings["ssid"],
            "connected": connected,
            "reason": self.reason,
            "joined": self.joined,
            "address": self._wlan.ifconfig()[0] if connected else "",
            "rssi": self._wlan.status("rssi") if connected else None,
        }

    def stop(self) -> None:
        self._wlan.active(False)
