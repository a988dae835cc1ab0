"""Every decoder of the project and what it is fed with. Another one is a line in `decoders`."""

import asyncio
import functools
import json
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

from bundle_head import HEAD, Bundle, parse_keys
from mqtt_machine import MqttMachine
from romfs_files import RomfsFiles

from gateway.core.commands import Commands
from gateway.core.memory_outbox import MemoryOutbox
from gateway.drivers import events
from gateway.drivers.c1218 import read_message, table_data
from gateway.drivers.mep.framing import MAX_MESSAGE
from gateway.drivers.mep.machine import Machine
from gateway.drivers.mep.tls_client import TlsClient
from gateway.drivers.mep.tls_machine import TlsMachine
from gateway.drivers.optical import machine as optical
from gateway.transmission import (
    commands,
    custody,
    envelope,
    frames,
    json_text,
    packer,
    platform_json,
    rows,
    sealing,
)
from gateway.web import dns
from gateway.web.http import BODY, HttpMachine
from tests.fuzz.engine import Decoder
from tests.fuzz.tables import reader_decoders, table_decoders
from tests.mep_fakes import KEY, answer, framed
from tests.optical_fakes import packet_of

VECTORS = Path(__file__).parents[1] / "vectors"
METER = bytes(range(16))
SECRET = b"what both ends of a hop know...."


@functools.cache
def decoders() -> dict[str, Decoder]:
    found = [
        Decoder(
            "mep frames",
            mep_frames,
            [*mep_seeds(), *mep_answers()],
            tokens=[b"\0\0", b"\x01\xdc", b"\x0b", b"\x0c"],
        ),
        Decoder(
            "mep over tls",
            mep_tls,
            tls_flights(),
            tokens=[b"\x3a", b"\x16\x03\x03", b"\x15\x03\x03", b"\x00"],
        ),
        Decoder(
            "tls records",
            tls_records,
            tls_flights(),
            tokens=[b"\x16\x03\x03", b"\x14\x03\x03\0\1\1", b"\x0e\0\0\0"],
        ),
        Decoder(
            "c12.18 packets",
            optical_packets,
            optical_seeds(),
            tokens=[b"\xee", b"\x06", b"\x15", b"\xee\0\x40"],
        ),
        Decoder("compact frames", compact_frames, frame_seeds(), longest=3000, memory=1 << 21),
        Decoder(
            "envelopes", envelopes, [envelope.wrap(METER, seed[1:]) for seed in frame_seeds()], longest=3000
        ),
        Decoder("platform json", platform, json_seeds(), tokens=JSON_TOKENS, longest=4000),
        Decoder(
            "json", lambda data: json_text.parse(text(data)), json_seeds(), tokens=JSON_TOKENS, longest=4000
        ),
        Decoder(
            "messagepack",
            packer.unpack,
            packer_seeds(),
            tokens=[b"\xdf", b"\xdd", b"\xc6", b"\x91" * 20, b"\xca"],
        ),
        Decoder(
            "custody messages",
            custody_messages,
            custody_seeds(),
            tokens=[b"\xc4\x08", b"\x94", b"\xcf"],
            longest=2000,
        ),
        Decoder(
            "command messages", command_messages, command_seeds(), tokens=[b"\xc4\x08", b"\x96", b"\xcf"]
        ),
        Decoder("commands at their desk", command_desk, command_seeds(), tokens=[b"\xc4\x08", b"\xcf"]),
        Decoder(
            "page requests",
            page_requests,
            PAGE_SEEDS,
            tokens=[b"\r\n", b"HTTP/1.1\r\n", b"Content-Length: ", b"X-Gateway: "],
            memory=1 << 17,
        ),
        Decoder(
            "names in set-up",
            lambda data: dns.answer(data, bytes(4)),
            DNS_SEEDS,
            tokens=[b"\0\1\0\1", b"\xc0\x0c", b"\x3f"],
        ),
        Decoder(
            "mqtt packets",
            mqtt_packets,
            MQTT_SEEDS,
            tokens=[b"\x20\x02\0\0", b"\x90\x03\0\1\0", b"\xd0\0", b"\x30"],
        ),
        Decoder("update bundles", update_bundles, bundle_seeds(), tokens=[b"OGB1", b"1.2.0", b"esp32"]),
        Decoder(
            "romfs images",
            romfs_images,
            [seed[HEAD:] for seed in bundle_seeds()],
            tokens=[b"\xd2\xcd\x31", b"\4", b"\5\2..", b"\2\x80\x80"],
        ),
    ]
    found += table_decoders()
    found += reader_decoders()
    return {one.name: one for one in found}


def text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def pieces(data: bytes) -> list[bytes]:
    """The data in pieces that follow from itself."""
    size = 1 + zlib.crc32(data) % 97
    return [data[at : at + size] for at in range(0, len(data), size)]


# MEP: the first byte says whether the rest is what the line brings, or the body of an authentic answer.


def mep_frames(data: bytes) -> None:
    machine = Machine(KEY, encrypt=data[:1] == b"\2")
    message = read_message(23, 0, 4)
    machine.begin(message)
    sent = machine.output()
    stream = answer(sent, data[1 : MAX_MESSAGE - 8] or b"\0") if data[:1] == b"\1" else data[1:]
    follow(machine, message, pieces(stream))


def follow(machine: "Machine | TlsMachine | optical.Machine", message: bytes, stream: list[bytes]) -> None:
    """What a pump would do, with silence at the end; sends no more than a bounded number of times."""
    sent = 1
    for piece in [*stream, None, None, None]:
        silence = machine.silence() if piece is None else None
        found = ([silence] if silence else []) if piece is None else machine.receive(piece)
        for kind, value in found:
            assert isinstance(kind, int)
            if kind == events.SEND:
                machine.output()
                sent += 1
                assert sent < 60
            elif kind == events.ANSWER and not isinstance(machine, optical.Machine):
                table_data(message, value)
            elif kind == events.FAILED:
                raise value
            if kind in (events.ANSWER, events.FAILED):
                return


def mep_seeds() -> list[bytes]:
    exchanges = json.loads((VECTORS / "mep_rc4.json").read_text())
    responses = [one for one in find(exchanges, "response") if isinstance(one, str)]
    return [b"\0" + bytes.fromhex(one) for one in responses]


def mep_answers() -> list[bytes]:
    return [
        b"\1\0\0\4good",
        b"\1\x0c\0\0\1\0",
        b"\1\x04",
        b"\0" + framed(b"\x0b" + bytes(8)) + framed(b"\x04" + bytes(8)),
        b"\2" + framed(b"\0" + bytes(30)),
    ]


def find(tree: object, name: str) -> list[object]:
    """All values under this name, at any depth."""
    if isinstance(tree, dict):
        return [value for key, value in tree.items() if key == name] + [
            one for value in tree.values() for one in find(value, name)
        ]
    return [one for value in tree for one in find(value, name)] if isinstance(tree, list) else []


# TLS: the guide's session, its flights one behind the other with their lengths.


def tls_vector() -> dict:
    return json.loads((VECTORS / "mep_tls_psk.json").read_text())


@functools.cache
def tls_flights() -> list[bytes]:
    flights = [bytes.fromhex(one["records"]) for one in tls_vector()["frames"] if one["dir"] == "server"]
    return [
        b"".join(len(flight).to_bytes(2, "big") + flight for flight in some)
        for some in (flights, flights[:2], flights[:1])
    ]


def flights_of(data: bytes) -> list[bytes]:
    found = []
    while len(data) > 2:
        size = int.from_bytes(data[:2], "big") % 1024
        found.append(data[2 : 2 + size])
        data = data[2 + size :]
    return found


@functools.cache
def tls_random() -> bytes:
    first = bytes.fromhex(tls_vector()["frames"][0]["records"])
    return first[11:43]


def make_tls(identity: bytes, key: bytes) -> TlsClient:
    return TlsClient(b"\x64\x00\x01", bytes([1]) * 16, lambda count: tls_random()[:count])


def tls_records(data: bytes) -> None:
    client = make_tls(b"", b"")
    client.start()
    for flight in flights_of(data):
        if client.established:
            client.unwrap(flight)
        else:
            client.feed(flight)


def mep_tls(data: bytes) -> None:
    machine = TlsMachine(make_tls, bytes([1]) * 16, (1, 0))
    message = bytes.fromhex(tls_vector_request())
    machine.begin(message)
    machine.output()
    stream = [framed(b"\0" + flight) for flight in flights_of(data)]
    follow(machine, message, stream)


@functools.cache
def tls_vector_request() -> str:
    return next(one["plaintext"] for one in tls_vector()["frames"] if one.get("plaintext"))


# C12.18: the first byte says whether the rest is the line's bytes, or (control, sequence, size, data) of
# packets whose CRC is right.


def optical_packets(data: bytes) -> None:
    machine = optical.Machine(520, 2000)
    machine.begin(b"\x20")
    machine.output()
    if data[:1] == b"\1":
        stream, rest = [b"\x06"], data[1:]
        while len(rest) > 3:
            size = 1 + rest[2] % 200
            stream.append(packet_of(rest[3 : 3 + size], rest[0], rest[1]))
            rest = rest[3 + size :]
    else:
        stream = pieces(data[1:])
    follow(machine, b"\x20", stream)


def optical_seeds() -> list[bytes]:
    whole = packet_of(b"\0\0\0\0\0")
    return [
        b"\0\x06" + whole,
        b"\0\x15\x06" + whole + whole,
        b"\0noise\x06\xee\0" + whole,
        b"\1\0\0\x04\0\0\0\0\0",
        b"\1\xc0\x02\x02abc\xa0\x01\x02def\x80\x00\x02ghi",
    ]


# Transmission.


def compact_frames(data: bytes) -> None:
    """The first byte says whether the check of the frame is put right."""
    payload = data[1:]
    if data[:1] == b"\1" and len(payload) > 12:
        payload = payload[:-2]
        size = len(payload) + 2
        if payload[3] == 0xC4 and size - 5 < 256:
            payload = payload[:4] + bytes((size - 5,)) + payload[5:]
        elif payload[3] == 0xC5:
            payload = payload[:4] + (size - 6).to_bytes(2, "big") + payload[6:]
        check = zlib.crc32(payload, zlib.crc32(METER))
        payload += bytes((check >> 8 & 0xFF, check & 0xFF))
    frames.head(payload)
    frame = frames.decode(payload, METER)
    for _, reading in rows.rows(frame, METER):
        assert reading.kind == frame.kind


@functools.cache
def frame_seeds() -> list[bytes]:
    vectors = json.loads((VECTORS / "frames.json").read_text())["vectors"]
    seeds = [b"\1" + bytes.fromhex(one["frame"]) for one in vectors]
    return [seed for seed in seeds if len(seed) < 3000]


def envelopes(data: bytes) -> None:
    for _ in envelope.unwrap(data):
        pass


JSON_TOKENS = [
    b'{"',
    b'":',
    b"[",
    b"[" * 50,
    b"\\u",
    b"\\ud83d\\ude00",
    b"1e999",
    b"-0.0",
    b"null",
    b"9" * 400,
    b'"',
]


def platform(data: bytes) -> None:
    meter, reading = platform_json.parse(data)
    platform_json.write(meter, reading)


@functools.cache
def json_seeds() -> list[bytes]:
    found = []
    for seed in frame_seeds():
        frame = frames.decode(seed[1:], meter_of(seed))
        for document in platform_json.documents(frame, METER):
            if len(document) < 4000 and len(found) < 40:
                found.append(document)
    return found


@functools.cache
def meter_of(seed: bytes) -> bytes:
    vectors = json.loads((VECTORS / "frames.json").read_text())["vectors"]
    return bytes.fromhex(
        next(one["meter"] for one in vectors if one["frame"] == seed[1:].hex()).replace("-", "")
    )


def packer_seeds() -> list[bytes]:
    nested: list = []
    for _ in range(10):
        nested = [nested]
    return [
        packer.pack(one)
        for one in (
            [1, -1, 2**63 - 1, -(2**63), None, True, "text", b"bytes"],
            {"a": [1, 2], "b": {1: b""}},
            nested,
            list(range(300)),
            "x" * 300,
            bytes(300),
        )
    ]


def sealed(data: bytes, key: bytes) -> bytes:
    """Kind and elements of the input, sealed as by who knows the key; what begins as a message stays."""
    if len(data) < 3 or data[0] >= 0x90:
        return data
    body = b"\x9f\1" + data[1:2] + b"\xc4\4" + sealing.key_id(key) + data[2:] + b"\xc4\x10"
    body = bytes((0x90 | data[0] & 15,)) + body[1:]
    return body + sealing.hmac_sha256(key, b"osgp-gateway", METER, body)[:16]


def unsealed(payload: bytes) -> bytes:
    """What `sealed` makes the payload of."""
    return bytes((payload[0] & 15,)) + payload[2:3] + payload[9:-18]


def custody_messages(data: bytes) -> None:
    custody.decode(METER, sealed(data, SECRET), lambda name: SECRET)


def custody_seeds() -> list[bytes]:
    eight = bytes(8)
    ask = custody.Ask(
        eight, eight, [(eight, 3)], [(0, 7, 0, [(0, 5)])], [(3, 7, 1, 2)], [(0, 7, 1, bytes(32))]
    )
    receipt = custody.Receipt(eight, eight, 5, eight, 9, [(0, 7, 0, 5, bytes(32))])
    return [unsealed(one.encode(SECRET, METER)) for one in (ask, receipt)]


def command_messages(data: bytes) -> None:
    commands.decode(METER, sealed(data, SECRET), SECRET)


def command_desk(data: bytes) -> None:
    """What an owner may say, and what others say: the one gets answers that can be read, the others none."""
    answers: list[bytes] = []
    listeners: list[Callable[[bytes], None]] = []
    sender = SimpleNamespace(
        listen=lambda topic, take: listeners.append(take),
        pass_on=lambda topic, payload, taken=None: answers.append(payload),
    )
    outbox = MemoryOutbox(1000)
    desk = Commands(outbox, {"m": (SECRET, (1, 2, 3, 4))}, lambda level, text: None, has_clock=False)
    desk.serve(sender, [SimpleNamespace(settings=SimpleNamespace(name="m"), meter_id=METER)])
    listeners[0](data)
    assert not answers
    listeners[0](sealed(data, SECRET))
    for said in answers:
        assert not isinstance(commands.decode(METER, said, SECRET), commands.Command)
    assert len(answers) <= 2
    # Without a clock nothing is taken that answers no challenge.
    assert (desk.taken, outbox.note(b"command/" + METER)) == (0, None)


def command_seeds() -> list[bytes]:
    made = [
        commands.Command(1, 2, 3, b"", commands.BACKFILL, (5, 2, 3)),
        commands.Command(1, 2, 3, bytes(8), commands.SELF_TEST, ()),
        commands.Result(1, bytes(8), 0, "done", 1),
        commands.Challenge(bytes(8), 4),
    ]
    return [unsealed(one.encode(SECRET, METER)) for one in made]


def mqtt_packets(data: bytes) -> None:
    machine = MqttMachine("gw", limit=256)
    machine.connect()
    machine.data_to_send()
    machine.publish("t", b"payload")
    machine.subscribe("t/#")
    for piece in pieces(data):
        machine.feed(piece)
        while machine.next_event() is not None:
            machine.data_to_send()


MQTT_SEEDS = [
    b"\x20\2\0\0\x40\2\0\1\x90\3\0\2\1\xd0\0",
    b"\x20\2\1\0\x32\x0b\0\4a/b/\0\x07abc\x30\x05\0\1axy",
    b"\x20\2\0\0\x30\x82\x02\0\1t" + bytes(255),
    b"\x20\2\0\5",
]


# The page.


PAGE_SEEDS = [
    b"GET /api/log?after=12 HTTP/1.1\r\nHost: board.local:80\r\nX-Gateway: 0011 1 22\r\n\r\n",
    b"POST /api/settings HTTP/1.1\r\nHost: 192.168.4.1\r\nContent-Length: 7\r\nCookie: a=b\r\n\r\n{'a':1}",
    b"GET http://captive.apple.com/hotspot-detect.html HTTP/1.0\n\n",
]
DNS_SEEDS = [
    b"\xab\xcd\1\0\0\1\0\0\0\0\0\0\7captive\5apple\3com\0\0\1\0\1",
    b"\0\1\1\0\0\1\0\0\0\0\0\1\3www\1a\0\0\x1c\0\1\0\0\x29\4\xd0\0\0\0\0\0\0",
]


def page_requests(data: bytes) -> None:
    machine = HttpMachine()
    for piece in pieces(data):
        request = machine.feed(piece)
        if request is not None:
            assert request.path.startswith("/") and len(request.body) <= BODY
            return


def update_vectors() -> dict:
    found = json.loads((VECTORS / "update.json").read_text())
    assert isinstance(found, dict)
    return found


def bundle_seeds() -> list[bytes]:
    return [bytes.fromhex(text) for text in update_vectors()["bundles"].values()]


@functools.cache
def update_keys() -> list[bytes]:
    return parse_keys("\n".join(update_vectors()["keys"]))


def update_bundles(data: bytes) -> None:
    asyncio.run(Bundle(data).verify(update_keys()))
    assert data[:HEAD] in [seed[:HEAD] for seed in bundle_seeds()]


def romfs_images(data: bytes) -> None:
    """Whatever it says of names, nothing comes to lie outside."""
    with tempfile.TemporaryDirectory() as outside:
        root = Path(outside, "root")
        root.mkdir()
        files = RomfsFiles(str(root))
        try:
            for piece in pieces(data):
                files.feed(piece)
            files.end()
        except OSError:
            pass  # two of one name; who takes an update says so
        finally:
            files.close()
        assert [one.name for one in Path(outside).iterdir()] == ["root"]
        assert sum(one.stat().st_size for one in root.rglob("*") if one.is_file()) <= len(data)
