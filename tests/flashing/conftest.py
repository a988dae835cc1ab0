"""What flashing needs: a configuration, a firmware file, and an application that is quick to write."""

import ssl
from pathlib import Path

import pytest
from flashing import application
from flashing.application import Application

from tests.board import secret
from tests.certificates import Authority
from tests.esp_firmware import firmware

METER_KEY = "0123456789abcdef0123"
WIFI_PASSWORD = "a word for the radio"
CREDENTIAL = "shared with the cloud"

CONFIGURATION = """\
[gateway]
id = "kitchen"

[broker]
url = "mqtts://broker.example:8883"
ca_file = "ca.pem"
credential_file = "custody.secret"

[[meter]]
name = "house"
port = "/dev/ttyUSB0"
key_file = "meter.key"
security = "tls"
idle = "02:00-03:30"

[meter.schedule]
present = "5s"

[board]
wifi_ssid = "at home"
wifi_password_file = "wifi.password"
"""


@pytest.fixture(scope="session")
def small() -> Application:
    """One module in place of all; its image is a ROMFS like any other."""
    return application.build(_one_module)


def _one_module(target: Path) -> dict[str, int]:
    target.mkdir()
    # The head of bytecode (MicroPython, docs/reference/mpyfiles.rst), then anything.
    (target / "application.mpy").write_bytes(b"M\x06\x00\x1f" + bytes(range(200)) * 20)
    return {"application": 4004}


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def configuration(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Path:
    directory = tmp_path_factory.mktemp("configuration")
    secret(directory / "meter.key", METER_KEY)
    secret(directory / "wifi.password", WIFI_PASSWORD)
    secret(directory / "custody.secret", CREDENTIAL)
    (directory / "ca.pem").write_text(ssl.DER_cert_to_PEM_cert(authority.der))
    file = directory / "gateway.toml"
    file.write_text(CONFIGURATION)
    return file


@pytest.fixture(scope="module")
def firmware_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("firmware") / "firmware.bin"
    file.write_bytes(firmware())
    return file
