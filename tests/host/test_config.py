"""The configuration file: what a minimal one means, and that every fault is told at once."""

import json
from pathlib import Path

import pytest

from gateway.core import schedule
from gateway.errors import ConfigurationError
from gateway.host import check, config, config_broker, config_fields
from gateway.host.secret_files import find_secret, read_secret
from gateway.host.toml_lines import field_lines
from gateway.transmission import model

KEY = "ABCDEFGHIJKLMNOPQRST"

MINIMAL = """\
[broker]
url = "mqtt://127.0.0.1:1883"
credential_file = "credential"

[[meter]]
name = "house"
port = "/dev/ttyUSB0"
key_file = "meter.key"
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for name in ("meter.key", "credential"):
        (tmp_path / name).write_text(KEY + "\n")
        (tmp_path / name).chmod(0o600)
    return tmp_path


def load(directory: Path, text: str) -> config.Configuration:
    file = directory / "gateway.toml"
    file.write_text(text)
    return config.load(file)


def faults(directory: Path, text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(directory, text)
    assert caught.value.exit_code == 2
    assert KEY not in str(caught.value)
    prefix = str(directory / "gateway.toml")
    return [line.removeprefix(prefix).removeprefix(":").strip() for line in str(caught.value).splitlines()]


def test_eight_lines_are_enough(directory: Path):
    found = load(directory, MINIMAL)
    assert (found.broker.host, found.broker.port, found.broker.tls) == ("127.0.0.1", 1883, False)
    assert found.broker.custody == "cloud"
    meter = found.meter[0]
    assert (meter.port, meter.baud, meter.protocol, meter.security) == ("/dev/ttyUSB0", 9600, "mep", "digest")
    assert (meter.schedule.present, meter.schedule.registers, meter.schedule.clock) == (
        10_000,
        900_000,
        3_600_000,
    )
    assert meter.key_file == directory / "meter.key"
    assert found.gateway.id


def test_intervals_by_kind(directory: Path):
    text = """
[meter.schedule]
load_profile = "auto"
self_reads = "12h"
events = "off"
"""
    intervals = load(directory, MINIMAL + text).meter[0].schedule.intervals_ms()
    assert model.LOAD_PROFILE not in intervals  # the meter's own
    assert intervals[model.SELF_READ] == 43_200_000 and intervals[model.EVENT] == 0
    assert intervals[model.ALARM] == 3_000 and intervals[model.MBUS] == 3_600_000
    again = load(directory, MINIMAL + text.replace("auto", "1h")).meter[0].schedule.intervals_ms()
    assert again[model.LOAD_PROFILE] == 3_600_000
    off = load(directory, MINIMAL + text.replace("auto", "off")).meter[0].schedule.intervals_ms()
    assert off[model.LOAD_PROFILE] == 0


def test_defaults_here_are_those_of_the_gateway(directory: Path):
    intervals = load(directory, MINIMAL).meter[0].schedule.intervals_ms()
    for kind, interval, *_ in schedule.DEFAULT:
        assert intervals.get(kind, interval) == interval, model.KIND_NAMES[kind]


def test_times_of_day_at_which_the_port_is_left_alone(directory: Path):
    assert load(directory, MINIMAL).meter[0].idle is None
    assert load(directory, MINIMAL + 'idle = "22:30-01:15"\n').meter[0].idle == (81_000, 4_500)
    for wrong in ('"2:00-3:00"', '"24:00-01:00"', '"02:00-02:00"', "2"):
        assert "meter 1.idle: must" in faults(directory, MINIMAL + f"idle = {wrong}\n")[0]


def test_a_schedule_beyond_what_the_guide_advises_is_warned_of(directory: Path):
    load(directory, MINIMAL)
    assert "warning" not in "\n".join(check.summary(directory / "gateway.toml"))
    load(directory, MINIMAL + '[meter.schedule]\npresent = "1s"\n')
    said = "\n".join(check.summary(directory / "gateway.toml"))
    assert "warning" in said and "3600" in said


def test_no_secret_is_held_or_shown(directory: Path):
    found = load(directory, MINIMAL)
    assert KEY not in repr(found) and KEY not in found.model_dump_json()


EVERYTHING_WRONG = """\
[gateway]
id = "a/b"
idd = "x"

[broker]
url = "mqtt://broker.example"
user = "x"
ca_file = "nope.pem"

[[meter]]
name = "a"
port = "/dev/ttyUSB0"
key_file = "open.key"
baud = 9
[meter.schedule]
present = "soon"
register = "1s"

[[meter]]
name = "a"
port = "ttyUSB0"
key = "ABCDEFGHIJKLMNOPQRST"
security = "none"
id = "123"
"""


def test_every_fault_at_once_with_line_field_and_reason(directory: Path):
    (directory / "open.key").write_text(KEY)
    (directory / "open.key").chmod(0o640)
    found = faults(directory, EVERYTHING_WRONG)
    expected = [
        ("2: gateway.id: ", "letters, digits"),
        ("3: gateway.idd: ", "did you mean id?"),
        ("5: broker.credential_file: ", "is missing"),
        ("6: broker.url: ", "without encryption"),
        ("7: broker.user: ", "did you mean username?"),
        ("8: broker.ca_file: ", "has no use without TLS"),
        ("8: broker.ca_file: ", "there is no such file"),
        ("13: meter 1.key_file: ", "chmod 600"),
        ("14: meter 1.baud: ", "greater than or equal to 300"),
        ("16: meter 1.schedule.present: ", '"10s", "15min"'),
        ("17: meter 1.schedule.register: ", "did you mean registers?"),
        ("19: meter 2.key_file: ", "is missing"),
        ("20: meter 2.name: ", "same as that of meter 1"),
        ("21: meter 2.port: ", "tcp://host:port"),
        ("22: meter 2.key: ", "key_file"),
        ("23: meter 2.security: ", "'digest', 'rc4', 'tls' or 'auto'"),
        ("24: meter 2.id: ", "is no UUID"),
    ]
    for place, reason in expected:
        assert any(fault.startswith(place) and reason in fault for fault in found), (place, reason, found)
    assert len(found) == len(expected)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('port = "pty"', "simulate --listen pty"),
        ('port = "tcp://host"', "host:port"),
        ('port = "http://host:1"', "of no known kind"),
        ('port = "tcp://host:99999"', "out of range"),
        ('port = ""', "neither a path"),
        ("port = 7", "valid string"),
    ],
)
def test_ports_that_are_none(directory: Path, line: str, reason: str):
    (fault,) = faults(directory, MINIMAL.replace('port = "/dev/ttyUSB0"', line))
    assert fault.startswith("7: meter 1.port: ") and reason in fault


@pytest.mark.parametrize(
    ("text", "ms"), [("500 ms", 500), ("10s", 10_000), ("15min", 900_000), ("1 h", 3_600_000), ("off", 0)]
)
def test_durations(text: str, ms: int):
    assert config_fields.parse_duration(text) == ms


@pytest.mark.parametrize("text", ["", "10", "0s", "-1s", "1.5h", "10 parsecs", "400d", 10, None])
def test_durations_that_are_none(text: object):
    with pytest.raises(ValueError, match="must be"):
        config_fields.parse_duration(text)


def test_plain_mqtt_beyond_this_machine_needs_consent_in_words(directory: Path):
    remote = MINIMAL.replace("127.0.0.1", "broker.example")
    (fault,) = faults(directory, remote)
    assert "without encryption" in fault
    (fault,) = faults(directory, remote.replace("[[meter]]", 'allow_plain = "yes"\n[[meter]]'))
    assert "allow_plain" in fault
    consent = f'allow_plain = "{config_broker.PLAIN_CONSENT}"\n[[meter]]'
    assert load(directory, remote.replace("[[meter]]", consent)).broker.host == "broker.example"
    assert load(directory, remote.replace("mqtt:", "mqtts:")).broker.tls


def test_password_in_the_url_is_refused_and_not_repeated(directory: Path):
    (fault,) = faults(directory, MINIMAL.replace("mqtt://", f"mqtt://me:{KEY}@"))
    assert "username and password_file" in fault


def test_a_ca_file_without_certificates(directory: Path):
    (directory / "ca.pem").write_text("no certificate")
    text = MINIMAL.replace("mqtt:", "mqtts:").replace("[[meter]]", 'ca_file = "ca.pem"\n[[meter]]')
    (fault,) = faults(directory, text)
    assert "broker.ca_file" in fault and "no certificates in PEM form" in fault


def test_broker_custody_needs_no_credential(directory: Path):
    text = MINIMAL.replace('credential_file = "credential"', 'custody = "broker"')
    assert load(directory, text).broker.custody == "broker"


def test_the_brokers_password_is_the_credential_unless_another_is_named(directory: Path):
    password = 'username = "me"\npassword_file = "credential"'
    found = load(directory, MINIMAL.replace('credential_file = "credential"', password))
    assert found.broker.credential_file is None and found.broker.password_file == directory / "credential"


def test_no_meter_no_broker_no_file_no_toml(directory: Path):
    assert faults(directory, "") == [
        "broker: is missing",
        "meter: is missing: at least one [[meter]] is needed",
    ]
    with pytest.raises(ConfigurationError, match="there is no such file"):
        config.load(directory / "absent.toml")
    (fault,) = faults(directory, "[broker\n")
    assert "is no valid TOML" in fault and "line 1" in fault


def test_wrong_shapes_are_faults_not_crashes(directory: Path):
    assert any("broker" in fault for fault in faults(directory, "broker = 1\nmeter = [1, 2]\n"))
    assert any("meter" in fault for fault in faults(directory, "meter = 1\n"))
    assert any(
        "url" in fault
        for fault in faults(directory, MINIMAL.replace('"mqtt://127.0.0.1:1883"', '"mqtt://["'))
    )


def test_schema_names_every_section(directory: Path):
    schema = json.loads(json.dumps(config.json_schema()))
    sections = {"gateway", "broker", "local", "outbox", "commands", "metrics", "meter", "board"}
    assert set(schema["properties"]) == sections


def test_metrics_are_served_to_this_machine_alone(directory: Path):
    assert load(directory, MINIMAL).metrics is None
    assert load(directory, "[metrics]\n" + MINIMAL).metrics.address == ("127.0.0.1", 9466)
    assert load(directory, '[metrics]\nlisten = "[::1]:80"\n' + MINIMAL).metrics.address == ("::1", 80)
    for listen, reason in (("0.0.0.0:9466", "reverse proxy"), ("localhost", "must be host:port")):
        (found,) = faults(directory, f'[metrics]\nlisten = "{listen}"\n' + MINIMAL)
        assert "metrics.listen: " in found and reason in found


def test_lines_of_fields():
    text = 'top = 1\n[a]\nb.c = """\n[no]\nx = 1\n"""\n[[m]]\nx = 1 # y = 2\n[m.s]\ny = 1\n'
    text += "[[m]]\nx = 2\n[[m.t]]\nz = 1\n"
    assert field_lines(text) == {
        ("top",): 1,
        ("a",): 2,
        ("a", "b", "c"): 3,
        ("m", 0): 7,
        ("m", 0, "x"): 8,
        ("m", 0, "s"): 9,
        ("m", 0, "s", "y"): 10,
        ("m", 1): 11,
        ("m", 1, "x"): 12,
        ("m", 1, "t", 0): 13,
        ("m", 1, "t", 0, "z"): 14,
    }


class TestSecretFiles:
    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644, 0o777])
    def test_others_may_not_read_it(self, directory: Path, mode: int):
        file = directory / "meter.key"
        file.chmod(mode)
        with pytest.raises(ConfigurationError, match=f"chmod 600 {file}") as caught:
            read_secret(file)
        assert KEY not in str(caught.value)

    @pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
    def test_its_owner_may(self, directory: Path, mode: int):
        file = directory / "meter.key"
        file.chmod(mode)
        assert read_secret(file) == KEY.encode()

    def test_absent_empty_directory_and_too_long(self, directory: Path):
        for name, content in (("empty", "\n"), ("long", "x" * 5000)):
            (directory / name).write_text(content)
            (directory / name).chmod(0o600)
        for name, reason in (
            ("absent", "no such file"),
            ("empty", "is empty"),
            ("long", "longer"),
            (".", "is no file"),
        ):
            with pytest.raises(ConfigurationError, match=reason):
                read_secret(directory / name)

    def test_systemd_credentials_come_first_and_guard_themselves(
        self, directory: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
    ):
        credentials = tmp_path_factory.mktemp("credentials")
        (credentials / "meter.key").write_text("from systemd")
        (credentials / "meter.key").chmod(0o440)
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
        assert read_secret(find_secret("meter.key", directory)) == b"from systemd"
        assert read_secret(find_secret("./meter.key", directory)) == KEY.encode()
        assert find_secret("credential", directory) == directory / "credential"


class TestOptical:
    METER = MINIMAL.replace('key_file = "meter.key"', 'protocol = "optical"\npassword_file = "meter.key"')

    def test_a_password_is_enough(self, directory: Path):
        meter = load(directory, self.METER).meter[0]
        assert (meter.protocol, meter.log_off) == ("optical", "cycle")
        assert (meter.user_id, meter.user) == (2, "gateway")
        summary = "\n".join(check.summary(directory / "gateway.toml"))
        assert "optical at 9600 baud, not authenticated" in summary
        assert "20 ASCII characters" in summary
        assert KEY not in summary

    def test_what_is_of_the_other_protocol_is_told(self, directory: Path):
        told = faults(directory, self.METER + 'key_file = "meter.key"\nsecurity = "rc4"\nbaud = 9601\n')
        assert any('key_file: is only for a meter with protocol = "mep"' in line for line in told)
        assert any("security: is only" in line for line in told)
        assert any("baud: is no rate of an optical session" in line for line in told)
        told = faults(directory, MINIMAL + 'password_file = "meter.key"\nlog_off = "never"\n')
        assert any('password_file: is only for a meter with protocol = "optical"' in line for line in told)
        assert any("log_off: is only" in line for line in told)

    def test_a_serial_server_keeps_its_rate(self, directory: Path):
        faster = self.METER + "baud = 19200\n"
        assert load(directory, faster).meter[0].baud == 19200
        (told,) = faults(directory, faster.replace("/dev/ttyUSB0", "tcp://127.0.0.1:4059"))
        assert "baud: has to be 9600" in told

    def test_a_missing_or_misspelt_password_is_told(self, directory: Path):
        told = faults(directory, MINIMAL.replace('key_file = "meter.key"', 'protocol = "optical"'))
        assert told[0].endswith("password_file: is missing")
        (directory / "meter.key").write_text(KEY[:16])
        assert "20 ASCII characters or 40 hex digits" in faults(directory, self.METER)[0]
        told = faults(directory, self.METER.replace("password_file", "password"))
        assert any("secrets never stand in this file" in line for line in told)


class TestWrites:
    """Nothing is written to a meter unless the file says so, and `check` says what."""

    ALL = "register = true\nallow_writes = true\npower_change_w = 200\n"

    def summary(self, directory: Path, more: str) -> list[str]:
        load(directory, MINIMAL + more)
        lines = check.summary(directory / "gateway.toml")
        return [line.strip() for line in lines if "write" in line or "procedure" in line]

    def test_what_is_written(self, directory: Path):
        for more in ("", "allow_writes = true\n", '[meter.schedule]\nmbus = "2h"\n'):
            assert self.summary(directory, more) == ["writes nothing to the meter"]
        (line,) = self.summary(directory, "register = true\n")
        assert "registration" in line
        lines = self.summary(directory, self.ALL + '[meter.schedule]\nmbus = "10min"\n')
        assert [word in line for word, line in zip(("ET50", "200 W", "every 1h"), lines, strict=True)] == [
            True
        ] * 3

    def test_the_service_takes_them(self, directory: Path):
        section = load(directory, MINIMAL).meter[0]
        assert (section.registers, section.allow_writes, section.on_demand_ms) == (False, False, 0)
        section = load(directory, MINIMAL + self.ALL + '[meter.schedule]\nmbus = "2h"\n').meter[0]
        assert (section.registers, section.power_change_w, section.on_demand_ms) == (True, 200, 7_200_000)

    def test_contradictions(self, directory: Path):
        found = faults(directory, MINIMAL + "power_change_w = 200\n")
        assert ["allow_writes = true" in found[0], "register = true" in found[1]] == [True, True]
        assert faults(directory, MINIMAL + self.ALL.replace("200", "70000"))[0].startswith(
            "11: meter 1.power_change_w: "
        )
        optical = MINIMAL.replace("key_file", 'protocol = "optical"\npassword_file') + self.ALL
        assert [line.split(":")[1] for line in faults(directory, optical)] == [
            " meter 1.register", " meter 1.allow_writes", " meter 1.power_change_w",
        ]  # fmt: skip
        assert "did you mean register?" in faults(directory, MINIMAL + "registers = true\n")[0]


class TestDocumentation:
    TEXT = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()

    def test_its_example_is_sound(self, directory: Path):
        example = self.TEXT.split("```toml\n")[1].split("```")[0]
        (directory / "custody.secret").write_text(KEY)
        (directory / "custody.secret").chmod(0o600)
        assert load(directory, example).meter[0].name == "house"

    def test_it_names_every_field_and_no_other(self):
        table = self.TEXT.split("| field |")[1].split("\n\n")[0]
        named = {
            word.strip("`")
            for line in table.splitlines()[2:]
            for word in line.split("|")[1].replace(",", " ").split()
            if "[" not in word
        }
        definitions = config.json_schema()["$defs"]
        for section in ("BoardSection", "PinsSection"):  # which a gateway on Linux does not have
            del definitions[section]
        known = {name for definition in definitions.values() for name in definition["properties"]}
        assert named == known - {"schedule", "adapter"}


class TestCommands:
    """Nobody commands a meter unless the file says so, and `check` says who may."""

    def summary(self, directory: Path, text: str) -> str:
        load(directory, text)
        (line,) = [line for line in check.summary(directory / "gateway.toml") if "takes" in line]
        return line.strip()

    def test_who_may_and_what(self, directory: Path):
        (directory / "owner").write_text("known to the owner and nobody else")
        (directory / "owner").chmod(0o600)
        assert self.summary(directory, MINIMAL) == "takes no commands"
        owner = '[commands]\ncredential_file = "owner"\n'
        line = self.summary(directory, owner + MINIMAL)
        assert f"from who knows the secret in {directory / 'owner'}" in line
        assert "(read-now, backfill, set-interval, self-test)" in line  # only a board can be updated
        assert "receipts" not in line
        assert "(read-now)" in self.summary(directory, owner + 'allow = ["read-now"]\n' + MINIMAL)
        assert self.summary(directory, owner + "allow = []\n" + MINIMAL) == "takes no commands"
        (directory / "other").write_text("of this meter's owner")
        (directory / "other").chmod(0o600)
        mine = MINIMAL + 'command_credential_file = "other"\n'
        assert str(directory / "other") in self.summary(directory, owner + mine)
        assert load(directory, mine).commands.actions() == [1, 2, 3, 4, 5]

    def test_the_receivers_secret_is_warned_of(self, directory: Path):
        broker = load(directory, MINIMAL).broker
        secret = (broker.credential_file or broker.password_file).name
        assert "can command too" in self.summary(
            directory, f'[commands]\ncredential_file = "{secret}"\n' + MINIMAL
        )

    def test_what_can_not_be_meant(self, directory: Path):
        (told,) = faults(directory, '[commands]\nallow = ["read-now"]\n' + MINIMAL)
        assert "commands.credential_file: is missing" in told
        owner = '[commands]\ncredential_file = "nowhere"\nallow = ["explode"]\n'
        told = faults(directory, owner + MINIMAL)
        assert any("there is no such file" in line for line in told)
        assert any("commands.allow" in line for line in told)
