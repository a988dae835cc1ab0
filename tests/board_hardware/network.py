"""Stands in for MicroPython's `network` of the ESP32 port. What is on the air stands in `wifi` (world.py):

{"networks": {"home": "its password"}, "gone": true, "no_address": true, "rssi": -61}

Without `networks` every name and password is right. As little as there can be is on the heap, because on a
board nothing is: what is needed now and then is in network_seldom.py, which is loaded for that and forgotten.
"""

import sys

import world

from micropython import const

# Codes of esp_wifi_types.h and modnetwork.h.
_IDLE = const(1000)
_CONNECTING = const(1001)
_GOT_IP = const(1010)
_BEACON_TIMEOUT = const(200)
_NO_AP_FOUND = const(201)
_AUTH_FAIL = const(202)


def __getattr__(name):
    import network_seldom

    sys.modules.pop("network_seldom")
    return getattr(network_seldom, name)


class _Wlan:
    """`interface`: its number. `wanted`: name and password; `failed`: the status since then."""

    def __init__(self, interface):
        self.interface = interface
        self.on = False
        self.wanted = None
        self.failed = 0
        self.static = None

    def __getattr__(self, name):
        method = __getattr__(name)
        return lambda *values, **settings: method(self, *values, **settings)

    def isconnected(self):
        return self.status() == _GOT_IP

    def status(self, *what):
        air = world.world("wifi")
        if what:
            if what[0] == "rssi":
                return air.get("rssi", -60)
            return []  # stations
        if self.wanted is None:
            return _IDLE
        ssid, key = self.wanted
        networks = air.get("networks")
        if air.get("gone"):
            self.failed = _BEACON_TIMEOUT if self.failed == _GOT_IP else _NO_AP_FOUND
        elif networks is not None and ssid not in networks:
            self.failed = _NO_AP_FOUND
        elif networks is not None and networks[ssid] != (key or ""):
            self.failed = _AUTH_FAIL
        elif self.failed in (0, _GOT_IP):
            if air.get("no_address") and self.static is None:
                return _CONNECTING
            self.failed = _GOT_IP
        # What failed stays so until somebody connects again: reconnects=1.
        return self.failed


_interfaces = [_Wlan(0), _Wlan(1)]


def WLAN(interface=0):  # noqa: N802 - as the port calls it
    # One object for each interface, as the port has it.
    return _interfaces[interface]
