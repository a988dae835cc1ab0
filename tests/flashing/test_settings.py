"""What a board makes of the gateway's configuration: the same, or it is told."""

import ssl
from pathlib import Path

import pytest
from flashing import profile, settings
from flashing.settings import Settings

from gateway.errors import ConfigurationError
from tests.certificates import Authority

ROOM = 600_000


def converted(configuration: Path, *changes: tuple[str, str], meter: str | None = None) -> Settings:
    text = configuration.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    file = configuration.with_name("changed.toml")
    file.write_text(text)
    return settings.from_toml(file, profile.load("generic-esp32"), meter, ROOM)


def test_all_that_a_board_can_not_do_is_told(configuration: Path) -> None:
    found = converted(
        configuration,
        ('id = "kitchen"', 'id = "kitchen"\nstale_after = 5'),
        ("[broker]", '[outbox]\nsize_mb = 64\nsync = "5s"\n[metrics]\n[broker]'),
        ('present = "5s"', 'present = "1500ms"'),
    )
    told = "\n".join(found.told)
    for word in ("size_mb = 64", "sync", "[metrics]", "stale_after", "/dev/ttyUSB0", "schedule.present"):
        assert word in told
    assert found.values["schedule"]["present"] == 2
    assert found.values["outbox_bytes"] == ROOM


def test_an_optical_port(configuration: Path) -> None:
    found = converted(
        configuration,
        ('key_file = "meter.key"\nsecurity = "tls"', 'protocol = "optical"\npassword_file = "wifi.password"'),
    )
    assert found.values["protocol"] == "optical"
    assert "key_file" not in found.secrets
    files = found.files()
    assert b"a word for the radio" in files.values()


@pytest.mark.parametrize(("named", "told"), [("", "auto"), ('\nmbus = "2h"', 7200)])
def test_devices_are_asked_only_where_the_schedule_names_them(
    configuration: Path, named: str, told: object
) -> None:
    found = converted(
        configuration,
        ('security = "tls"', 'security = "tls"\nallow_writes = true'),
        ('present = "5s"', 'present = "5s"' + named),
    )
    assert (found.values["schedule"]["mbus"], found.values["schedule"]["load-profile"]) == (told, "auto")
    assert "/config/board.json" in found.files()  # which the board's own check has seen


def test_pins_that_differ_from_the_profile(configuration: Path) -> None:
    found = converted(
        configuration,
        ("[board]", '[board.pins]\nrx = 21\nled = "none"\nenable = { pin = 4, active = 1 }\n[board]'),
    )
    pins = found.profile.pins
    assert pins["rx"] == {"pin": 21}
    assert pins["enable"] == {"pin": 4, "active": 1}
    assert "led" not in pins
    with pytest.raises(ConfigurationError, match="GPIO 6 to use") as error:
        converted(configuration, ("[board]", "[board.pins]\nrx = 6\ntx = 34\nled = 5\n[board]"))
    assert "GPIO 34 of an esp32 can only be read" in str(error.value)
    assert "GPIO 5 is enable already" in str(error.value)


def test_without_wifi_the_board_asks_for_it(configuration: Path) -> None:
    found = converted(configuration, ('wifi_ssid = "at home"\nwifi_password_file = "wifi.password"\n', ""))
    assert "opens an access point" in "\n".join(found.told)
    assert b"ssid" not in found.files()["/config/board.json"]


def test_home_assistant_is_told_where_the_board_s_section_says_so(configuration: Path) -> None:
    assert "home_assistant" not in converted(configuration).values
    found = converted(configuration, ("[board]", '[board]\nhome_assistant = "homeassistant"'))
    assert found.values["home_assistant"] == "homeassistant"
    with pytest.raises(ConfigurationError, match="home_assistant"):
        converted(configuration, ("[board]", '[board]\nhome_assistant = "+/#"'))


def test_a_board_reads_one_meter(configuration: Path) -> None:
    second = '[[meter]]\nname = "barn"\nport = "/dev/ttyUSB1"\nkey_file = "meter.key"\n[board]'
    with pytest.raises(ConfigurationError, match="--meter: house, barn"):
        converted(configuration, ("[board]", second))
    assert converted(configuration, ("[board]", second), meter="barn").values["name"] == "barn"
    with pytest.raises(ConfigurationError, match="no meter 'shed'; there are house, barn"):
        converted(configuration, ("[board]", second), meter="shed")


def test_certificates(configuration: Path, authority: Authority) -> None:
    with pytest.raises(ConfigurationError, match="a board has no certificates of its own"):
        converted(configuration, ('ca_file = "ca.pem"\n', ""))
    two = ssl.DER_cert_to_PEM_cert(authority.der) + ssl.DER_cert_to_PEM_cert(Authority("other").der)
    (configuration.parent / "two.pem").write_text(two)
    with pytest.raises(ConfigurationError, match="holds 2 certificates"):
        converted(configuration, ("ca.pem", "two.pem"))


def test_what_the_board_itself_refuses_is_never_flashed(configuration: Path) -> None:
    """A Wi-Fi password is too short: Linux does not mind."""
    short = configuration.with_name("short.password")
    short.write_text("short\n")
    short.chmod(0o600)
    found = converted(configuration, ('"wifi.password"', '"short.password"'))
    with pytest.raises(ConfigurationError, match="8 to 63 characters"):
        found.files()


def test_keys_for_updates_go_to_the_board(configuration: Path) -> None:
    configuration.with_name("update.pub").write_text("ab" * 32 + "\n")
    found = converted(configuration, ("[board]", '[board]\nupdate_keys_file = "update.pub"'))
    assert found.files()["/config/update.keys"] == b"ab" * 32 + b"\n"


@pytest.mark.parametrize("name", profile.names())
def test_every_profile_is_sound(name: str) -> None:
    found = profile.load(name)
    assert found.name == name
    assert not found.problems()


def test_boards_that_nobody_knows() -> None:
    with pytest.raises(ConfigurationError, match="known are .*dabbler.*ustepper"):
        profile.load("arduino")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("adress = '192.168.1.20'", "board.adress: is no known field; did you mean address?"),
        ("address = '192.168.1'", 'board.address: must be an address such as "192.168.1.20"'),
        ("country = 'Denmark'", "board.country: "),
        ("pins = { enable = { pin = 5, active = 3 } }", "board.pins.enable: must be the number of a GPIO"),
        ("pins = { led = 'off' }", 'or "none"'),
        ("update_keys_file = 'meter.key'", "must hold public keys of 64 hex digits"),
        ("page_password_file = 'nowhere'", "there is no such file"),
    ],
)
def test_what_is_wrong_with_a_boards_section_is_told_on_linux_too(
    configuration: Path, line: str, words: str
) -> None:
    with pytest.raises(ConfigurationError) as error:
        converted(configuration, ("[board]", f"[board]\n{line}"))
    assert words in str(error.value)
