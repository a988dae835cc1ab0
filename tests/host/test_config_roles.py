"""Roles in the configuration: what belongs to which, and who may speak for which meter."""

import uuid
from pathlib import Path

import pytest

from gateway.errors import ConfigurationError
from gateway.host import check, config, roles
from gateway.transmission.custody import hop_key
from gateway.transmission.sealing import key_id

SHARED = "a secret for all of them"
BROKER = """\
[broker]
url = "mqtt://127.0.0.1:1883"
credential_file = "credential"
"""
MINIMAL = (
    BROKER
    + """
[[meter]]
name = "house"
port = "/dev/ttyUSB0"
key_file = "meter.key"
"""
)
LOCAL = '[local]\nurl = "mqtt://127.0.0.1:1884"\ncredential_file = "shared"\n'
ADAPTER = '[[local.adapter]]\nname = "{0}"\ncredential_file = "{0}"\n'
METER = "01234567-89ab-cdef-0123-456789abcdef"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    secrets(tmp_path, credential="the cloud's", shared=SHARED, **{"meter.key": "ABCDEFGHIJKLMNOPQRST"})
    return tmp_path


def load(directory: Path, text: str) -> config.Configuration:
    (directory / "gateway.toml").write_text(text)
    return config.load(directory / "gateway.toml")


def faults(directory: Path, text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(directory, text)
    prefix = str(directory / "gateway.toml")
    return [line.removeprefix(prefix).removeprefix(":").strip() for line in str(caught.value).splitlines()]


def secrets(directory: Path, **texts: str) -> None:
    for name, text in texts.items():
        (directory / name).write_text(text)
        (directory / name).chmod(0o600)


def concentrator(more: str = "", role: str = "concentrator") -> str:
    return f'[gateway]\nrole = "{role}"\n' + BROKER + more


def test_a_pure_concentrator_needs_no_meter_and_an_adapter_no_local_broker(directory: Path):
    found = load(directory, concentrator(LOCAL))
    assert (found.meter, found.local and found.local.port) == ([], 1884)
    found = load(directory, '[gateway]\nrole = "adapter"\n' + MINIMAL)
    assert (found.local, len(found.meter)) == (None, 1)
    assert load(directory, LOCAL + MINIMAL).gateway.role == "both"


def test_contradictions_are_told_at_once(directory: Path):
    text = concentrator() + '[[meter]]\nname = "house"\nport = "/dev/x"\nkey_file = "meter.key"\n'
    assert faults(directory, text) == [
        "local: is missing: a concentrator needs the broker of its adapters",
        '2: gateway.role: is "concentrator", which reads no [[meter]]: "both" does',
    ]
    local = LOCAL.replace("1884", "1883").replace('credential_file = "shared"\n', "")
    told = faults(directory, concentrator(local, "adapter"))
    assert [line.split(": ")[0:2] for line in told] == [
        ["meter", "is missing"],
        ["6", "local"],
        ["6", "local.credential_file"],
        ["7", "local.url"],
    ]
    (fault,) = faults(directory, concentrator(LOCAL, "bridge"))
    assert fault.startswith("2: gateway.role: ")
    (fault,) = faults(directory, concentrator(LOCAL.replace("127.0.0.1", "lan.example")))
    assert "without encryption" in fault and "local.url" in fault
    (fault,) = faults(directory, concentrator(LOCAL, "both"))
    assert fault.startswith("meter: is missing") and 'role = "concentrator"' in fault


def test_adapters_have_names_and_secrets_of_their_own(directory: Path):
    secrets(directory, cellar="the cellar's", attic="the attic's", twin="the attic's")
    both = ADAPTER.format("cellar") + ADAPTER.format("cellar")
    told = faults(directory, concentrator(LOCAL + both))
    assert [line.split(":")[1] for line in told] == [
        " local.adapter 2.name",
        " local.adapter 2.credential_file",
    ]
    told = faults(directory, concentrator(LOCAL + ADAPTER.format("cellar") + 'meters = ["x"]'))
    assert told[0].startswith("12: local.adapter 1.meters 1: ")
    load(
        directory,
        concentrator(LOCAL + ADAPTER.format("attic") + ADAPTER.format("twin")),
    )
    with pytest.raises(ConfigurationError, match="adapter attic") as caught:
        check.summary(directory / "gateway.toml")
    assert "the attic's" not in str(caught.value)


def test_who_may_speak_for_which_meter(directory: Path):
    secrets(directory, cellar="the cellar's", attic="the attic's")
    adapters = ADAPTER.format("cellar") + f'meters = ["{METER}"]\n' + ADAPTER.format("attic")
    local = load(directory, concentrator(LOCAL + adapters)).local
    assert local is not None
    find = roles.find_keys(local, None)
    mine, other = uuid.UUID(METER).bytes, bytes(16)
    cellar, attic, shared = (hop_key(text.encode()) for text in ("the cellar's", "the attic's", SHARED))
    assert find(mine, key_id(cellar)) == cellar and find(other, key_id(cellar)) is None
    assert find(other, key_id(attic)) == attic and find(other, key_id(shared)) == shared
    assert find(mine, b"none") is None
    lines = "\n".join(check.summary(directory / "gateway.toml"))
    for words in (
        "a concentrator, which forwards",
        "127.0.0.1:1884",
        f"for {METER}",
        "for any meter",
    ):
        assert words in lines
    (directory / "cellar").unlink()
    with pytest.raises(ConfigurationError, match="cellar"):
        roles.find_keys(local, None)


def test_an_adapters_receipts_come_from_its_concentrator(directory: Path):
    load(directory, '[gateway]\nrole = "adapter"\n' + MINIMAL)
    assert any("the concentrator's receipt" in line for line in check.summary(directory / "gateway.toml"))


def test_no_adapter_has_the_clouds_secret(directory: Path):
    load(directory, concentrator(LOCAL.replace("shared", "credential")))
    with pytest.raises(ConfigurationError, match="in its place") as caught:
        check.summary(directory / "gateway.toml")
    assert "the cloud's" not in str(caught.value)
