"""Stands in for MicroPython's `network` of the ESP32 port. What is on the air stands in `wifi` (world.py):

{"networks": {"home": "its password"}, "gone": true, "no_address": true, "rssi": -61}

Without `networks` every name and password is right.
"""

import world

STA_IF = 0
AP_IF = 1
AUTH_OPEN = 0
AUTH_WPA2_PSK = 3
AUTH_WPA_WPA2_PSK = 4
STAT_IDLE = 1000
STAT_CONNECTING = 1001
STAT_GOT_IP = 1010
STAT_BEACON_TIMEOUT = 200
STAT_NO_AP_FOUND = 201
STAT_WRONG_PASSWORD = 202
STAT_ASSOC_FAIL = 203
STAT_HANDSHAKE_TIMEOUT = 204

_SETTINGS = ("ssid", "essid", "key", "password", "security", "authmode", "channel", "hidden", "reconnects", "pm")
)
_names = {"country": "XX", "hostname": "mpy-esp32"}


def country(*code):
    if not code:
        return _names["country"]
    if len(code[0]) != 2:
        raise ValueError("country code must be 2 characters")
    _names["country"] = code[0]
    world.record("country %s" % code[0])
    return None


def hostname(*name):
    if not name:
        return _names["hostname"]
    if len(name[0]) > 32:
        raise ValueError("hostname too long")
    _names["hostname"] = name[0]
    world.record("hostname %s" % name[0])
    return None


class WLAN:
    IF_STA = STA_IF
    IF_AP = AP_IF
    SEC_OPEN = 0
    SEC_WPA2 = 3
    SEC_WPA_WPA2 = 4
    PM_NONE = 0
    PM_PERFORMANCE = 1
    PM_POWERSAVE = 2

    _made = {}

    def __new__(cls, interface=STA_IF):
        # One object for each interface, as the port has it.
        if interface not in (STA_IF, AP_IF):
            raise ValueError("invalid WLAN interface identifier")
        made = WLAN._made.get(interface)
        if made is None:
            made = WLAN._made[interface] = object.__new__(cls)
            made._interface = interface
            made._active = False
            made._wanted = None
            made._failed = 0
            made._static = None
            made._settings = {"reconnects": 0, "ssid": "ESP_010203", "channel": 1, "pm": 1}
        return made

    def __init__(self, interface=STA_IF):
        pass

    def active(self, *value):
        if value:
            if bool(value[0]) != self._active:
                world.record("wlan %d %s" % (self._interface, "on" if value[0] else "off"))
            self._active = bool(value[0])
            if not self._active:
                self._wanted = None
                self._failed = 0
        return self._active

    def connect(self, ssid=None, key=None, *, bssid=None):
        self._need(STA_IF)
        if not self._active:
            raise OSError("Wifi Not Started")
        world.record("wlan connect %s" % ssid)
        self._wanted = ssid, key
        self._failed = 0

    def disconnect(self):
        self._need(STA_IF)
        self._wanted = None
        self._failed = 0

    def isconnected(self):
        if self._interface == AP_IF:
            return bool(world.world("wifi").get("stations"))
        return self.status() == STAT_GOT_IP

    def status(self, *what):
        if what:
            if what[0] == "rssi":
                self._need(STA_IF)
                return world.world("wifi").get("rssi", -60)
            if what[0] == "stations":
                return []
            raise ValueError("unknown status param")
        if self._interface == AP_IF:
            return None
        if self._wanted is None:
            return STAT_IDLE
        air = world.world("wifi")
        ssid, key = self._wanted
        networks = air.get("networks")
        if air.get("gone"):
            self._failed = STAT_BEACON_TIMEOUT if self._failed == STAT_GOT_IP else STAT_NO_AP_FOUND
        elif networks is not None and ssid not in networks:
            self._failed = STAT_NO_AP_FOUND
        elif networks is not None and networks[ssid] != (key or ""):
            self._failed = STAT_WRONG_PASSWORD
        elif self._failed in (0, STAT_GOT_IP):
            if air.get("no_address") and self._static is None:
                return STAT_CONNECTING
            self._failed = STAT_GOT_IP
        # What failed stays so until somebody connects again: reconnects=1.
        return self._failed

    def scan(self):
        self._need(STA_IF)
        air = world.world("wifi")
        if not self._active:
            raise OSError("Wifi Not Active")
        return [
            (ssid.encode(), b"\2\0\0\0\0\1", 6, air.get("rssi", -60), 3 if password else 0, False)
            for ssid, password in sorted(air.get("networks", {}).items())
        ]

    def config(self, *name, **settings):
        if name:
            if name[0] == "mac":
                return b"\x24\x6f\x28\x01\x02" + bytes((3 + self._interface,))
            return self._settings[name[0]]
        for one in settings:
            if one not in _SETTINGS:
                raise ValueError("unknown config param")
            self._settings[one] = settings[one]
            if one not in ("key", "password"):
                world.record("wlan %d %s=%s" % (self._interface, one, settings[one]))
        return None

    def ifconfig(self, *addresses):
        if addresses:
            self._static = None if addresses[0] == "dhcp" else addresses[0]
            world.record("wlan %d ifconfig %s" % (self._interface, " ".join(addresses[0])))
            return None
        if self._interface == AP_IF:
            return "192.168.4.1", "255.255.255.0", "192.168.4.1", "0.0.0.0"
        if not self.isconnected():
            return "0.0.0.0", "0.0.0.0", "0.0.0.0", "0.0.0.0"
        return self._static or ("127.0.0.1", "255.0.0.0", "127.0.0.1", "127.0.0.1")

    def _need(self, interface):
        if self._interface != interface:
            raise OSError("STA required" if interface == STA_IF else "AP required")
