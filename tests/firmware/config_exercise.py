"""For MicroPython, in the root of a board's file system: writes configurations and reads them back.

Prints a line of JSON for each step: the problems that were found, and the files that are there.
"""

import json
import os

import board_config
from board_config import PATH, Sections
from config_problems import Problems

from gateway.errors import ConfigurationError

KEY, OTHER = b"0123456789abcdef0123", b"fedcba98765432109876"
SETTINGS = {
    "broker": {"host": "127.0.0.1", "client_id": "board"},
    "wifi": {"ssid": "home"},
}


def step(settings, secrets):
    problems = []
    try:
        board_config.write(settings, secrets)
    except ConfigurationError as error:
        problems = str(error).split("\n")
    print(json.dumps([problems, sorted(os.listdir("config"))]))


def reads():
    problems = Problems()
    given = board_config.load()
    sections = Sections(given, PATH, lambda level, text: None, problems)
    print(json.dumps([problems.found, [sections.name, bytes(sections.wifi["password"] or b"").decode()]]))
    return given


step(SETTINGS, {"key_file": b"too short", "wifi.password_file": b"short"})
step(SETTINGS, {"key_file": KEY, "wifi.password_file": b"the password"})
given = reads()
step(given, {"wifi.password_file": b"another password"})
given = reads()
given["wifi"]["colour"] = 1
given["home_assistant"] = "home/+"
step(given, {"key_file": OTHER})
reads()
