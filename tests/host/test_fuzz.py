"""What comes from files and lines may be anything: it is refused in words, and nothing else happens."""

import json
import tempfile
import uuid
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import ConfigurationError, FrameError
from gateway.host import config, record, replay
from gateway.host.decode import decode
from gateway.host.links import parse_port
from gateway.host.toml_lines import field_lines

ABOUT = {"recording": record.FORMAT, "version": 1, "protocol": "mep", "security": "digest"}
KEY = bytes(range(16))

few = settings(max_examples=60, deadline=None, derandomize=True, database=None)

scalars = (
    st.none() | st.booleans() | st.integers() | st.text(max_size=12) | st.binary(max_size=8).map(bytes.hex)
)
lines = st.dictionaries(st.sampled_from(["ms", "sent", "received", "event", "x"]), scalars, max_size=4)


def file_with(text: str | bytes) -> Path:
    with tempfile.NamedTemporaryFile(delete=False) as file:
        file.write(text if isinstance(text, bytes) else text.encode("utf-8", "replace"))
    return Path(file.name)


@few
@given(
    st.binary(max_size=200)
    | st.lists(lines, max_size=8).map(lambda found: "\n".join(map(json.dumps, [ABOUT, *found, {}])))
)
def test_any_recording(content):
    path = file_with(content)
    try:
        recording = record.load(path)
        replay.transcript(recording)
        replay.Player(recording, KEY)
    except ConfigurationError as error:
        assert str(error)
    finally:
        path.unlink()


pieces = st.tuples(st.booleans(), st.integers(0, 500), st.binary(max_size=40))


@few
@given(st.lists(pieces, max_size=12), st.lists(st.binary(max_size=60), max_size=6))
def test_any_traffic(traffic, received):
    """Whatever went over the line has a transcript and can be played, whatever it is then asked."""
    ms = 0
    entries = []
    for sent, after, data in traffic:
        ms += after
        entries.append(record.Entry(ms, record.SENT if sent else record.RECEIVED, data))
    recording = record.Recording(ABOUT, entries)
    shown = "\n".join(replay.transcript(recording))
    for entry in entries:
        if entry.what == record.SENT and entry.data:
            assert " -> " in shown.replace("  ->", " ->")
    try:
        player = replay.Player(recording, KEY)
    except ConfigurationError:
        return
    for data in received:
        for delay, answer in player.receive(data):
            assert delay >= 0 and answer


tables = st.recursive(
    scalars | st.sampled_from(["mqtt://[", "mqtt://a:b", "tcp://x", "/dev/x", "10s", "cloud"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
FIELDS = [
    "url",
    "username",
    "password_file",
    "ca_file",
    "custody",
    "name",
    "port",
    "key_file",
    "baud",
    "id",
    "schedule",
]


@few
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "gateway": tables,
            "broker": tables | st.dictionaries(st.sampled_from(FIELDS), tables, max_size=5),
            "meter": tables
            | st.lists(st.dictionaries(st.sampled_from(FIELDS), tables, max_size=5), max_size=3),
        },
    )
)
def test_any_configuration(data):
    path = file_with("\n".join(f"{name} = {toml(value)}" for name, value in data.items()))
    try:
        config.load(path)
    except ConfigurationError as error:
        for line in str(error).splitlines():
            assert line.startswith(str(path))
    finally:
        path.unlink()


def toml(value: object) -> str:
    if value is None:
        return '""'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)} = {toml(inner)}" for name, inner in value.items()) + "}"
    return json.dumps(value)


@few
@given(st.binary(max_size=120) | st.text(max_size=120))
def test_any_text_as_configuration(content):
    path = file_with(content)
    try:
        config.load(path)
    except ConfigurationError as error:
        assert str(path) in str(error)
    finally:
        path.unlink()


@few
@given(st.binary(max_size=80) | st.binary(max_size=60).map(lambda data: b"\x92\xc4\x10" + data))
def test_any_bytes_as_frames(content):
    path = file_with(content)
    try:
        decode(path, str(uuid.UUID(int=1)), False)
    except (FrameError, ConfigurationError) as error:
        assert str(error)
    finally:
        path.unlink()


@few
@given(st.text(alphabet="[]=.\"'# \nab", max_size=80))
def test_any_text_has_lines(text):
    for line in field_lines(text).values():
        assert 1 <= line <= len(text.splitlines())


@few
@given(st.text(max_size=40) | st.text(max_size=20).map(lambda text: "tcp://" + text))
def test_any_port(text):
    try:
        port = parse_port(text)
    except ConfigurationError:
        return
    assert str(parse_port(str(port))) == str(port)
