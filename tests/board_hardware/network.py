"""Stands in for MicroPython's `network` of the ESP32 port. What is on the air stands in `wifi` (world.py):

{"networks": {"home": "its password"}, "gone": true, "no_address": true, "rssi": -61}

Without `networks` every name and password is right. Written with few names, because each takes room on the
heap that it does not take on a board.
"""

import world

from micropython import const

STA_IF = 0
AP_IF = 1
AUTH_OPEN = 0
AUTH_WPA2_PSK = 3

# Codes of esp_wifi_types.h and modnetwork.h.
_IDLE = const(1000)
_CONNECTING = const(1001)
_GOT_IP = const(1010)
_BEACON_TIMEOUT = const(200)
_NO_AP_FOUND = const(201)
_AUTH_FAIL = const(202)

_SETTINGS = "ssid essid key password security authmode channel hidden reconnects pm"
_ADDRESSES = "%s 255.0.0.0 %s %s"


def country(code):
    if len(code) != 2:
        raise ValueError
    world.record("country " + code)


def hostname(name):
    if len(name) > 32:
        raise ValueError
    world.record("hostname " + name)


class WLAN:
    def __init__(self, interface=STA_IF):
        self._interface = interface
        self._active = False
        self._wanted = None
        self._failed = 0
        self._static = None

    def active(self, *value):
        if value:
            if bool(value[0]) != self._active:
                world.record("wlan %d %s" % (self._interface, "on" if value[0] else "off"))
            self._active = bool(value[0])
            if not self._active:
                self._wanted = None
                self._failed = 0
        return self._active

    def connect(self, ssid, key=None):
        self._need_station()
        world.record("wlan connect " + ssid)
        self._wanted = ssid, key
        self._failed = 0

    def disconnect(self):
        self._need_station()
        self._wanted = None
        self._failed = 0

    def isconnected(self):
        return self.status() == _GOT_IP

    def status(self, *what):
        air = world.world("wifi")
        if what:
            if what[0] == "rssi":
                return air.get("rssi", -60)
            return []  # stations
        if self._wanted is None:
            return _IDLE
        ssid, key = self._wanted
        networks = air.get("networks")
        if air.get("gone"):
            self._failed = _BEACON_TIMEOUT if self._failed == _GOT_IP else _NO_AP_FOUND
        elif networks is not None and ssid not in networks:
            self._failed = _NO_AP_FOUND
        elif networks is not None and networks[ssid] != (key or ""):
            self._failed = _AUTH_FAIL
        elif self._failed in (0, _GOT_IP):
            if air.get("no_address") and self._static is None:
                return _CONNECTING
            self._failed = _GOT_IP
        # What failed stays so until somebody connects again: reconnects=1.
        return self._failed

    def scan(self):
        self._need_station()
        air = world.world("wifi")
        return [
            (ssid.encode(), b"\2\0\0\0\0\1", 6, air.get("rssi", -60), 3 if password else 0, False)
            for ssid, password in sorted(air.get("networks", {}).items())
        ]

    def config(self, *name, **settings):
        if name:
            return b"\x24\x6f\x28\x01\x02" + bytes((3 + self._interface,)) if name[0] == "mac" else None
        for one in settings:
            if one not in _SETTINGS.split():
                raise ValueError("unknown config param")
            if one not in ("key", "password"):
                world.record("wlan %d %s=%s" % (self._interface, one, settings[one]))
        return None

    def ifconfig(self, *addresses):
        if addresses:
            self._static = addresses[0]
            world.record("wlan %d ifconfig %s" % (self._interface, " ".join(addresses[0])))
            return None
        if self._interface == AP_IF:
            address = "192.168.4.1"
        elif self._static:
            return self._static
        else:
            address = "127.0.0.1" if self.isconnected() else "0.0.0.0"
        return tuple((_ADDRESSES % (address, address, address)).split())

    def _need_station(self):
        if self._interface or not self._active:
            raise OSError("Wifi Not Started")


_interfaces = [WLAN(STA_IF), WLAN(AP_IF)]


def _wlan(interface=STA_IF):
    # One object for each interface, as the port has it.
    return _interfaces[interface]


WLAN = _wlan
