"""What of `network` is needed now and then (network.py)."""

import world

STA_IF = 0
AP_IF = 1
AUTH_OPEN = 0
AUTH_WPA2_PSK = 3

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


# Methods of WLAN.


def active(wlan, *value):
    if value:
        if bool(value[0]) != wlan.on:
            world.record("wlan %d %s" % (wlan.interface, "on" if value[0] else "off"))
        wlan.on = bool(value[0])
        if not wlan.on:
            _forget(wlan)
    return wlan.on


def connect(wlan, ssid, key=None):
    _need_station(wlan)
    world.record("wlan connect " + ssid)
    _forget(wlan)
    wlan.wanted = ssid, key


def disconnect(wlan):
    _need_station(wlan)
    _forget(wlan)


def scan(wlan):
    _need_station(wlan)
    air = world.world("wifi")
    return [
        (ssid.encode(), b"\2\0\0\0\0\1", 6, air.get("rssi", -60), 3 if password else 0, False)
        for ssid, password in sorted(air.get("networks", {}).items())
    ]


def config(wlan, *name, **settings):
    if name:
        return b"\x24\x6f\x28\x01\x02" + bytes((3 + wlan.interface,)) if name[0] == "mac" else None
    for one in settings:
        if one not in _SETTINGS.split():
            raise ValueError("unknown config param")
        if one not in ("key", "password"):
            world.record("wlan %d %s=%s" % (wlan.interface, one, settings[one]))
    return None


def ifconfig(wlan, *addresses):
    if addresses:
        wlan.static = addresses[0]
        world.record("wlan %d ifconfig %s" % (wlan.interface, " ".join(addresses[0])))
        return None
    if wlan.interface == AP_IF:
        address = "192.168.4.1"
    elif wlan.static:
        return wlan.static
    else:
        address = "127.0.0.1" if wlan.isconnected() else "0.0.0.0"
    return tuple((_ADDRESSES % (address, address, address)).split())


def _forget(wlan):
    wlan.wanted = None
    wlan.failed = 0


def _need_station(wlan):
    if wlan.interface or not wlan.on:
        raise OSError("Wifi Not Started")
