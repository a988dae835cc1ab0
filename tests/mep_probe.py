"""A bare MEP client for tests of the virtual meter: builds request frames and takes responses apart."""

from gateway.simulator.security import digest, exchange_cipher

KEY = b"\x01" * 16
BASIC_KEY = b"basic key of it!"


def request(message: bytes, sequence: int, key: bytes = KEY, encrypted: bool = False) -> bytes:
    plain = message + sequence.to_bytes(4, "big")
    proof = digest(plain, key)
    sent = exchange_cipher(key, proof).apply(plain) if encrypted else plain
    return (len(sent) + 8).to_bytes(2, "big") + sent + proof


def opened(frame: bytes, asked: bytes, key: bytes = KEY, encrypted: bool = False) -> bytes:
    """The message in a response frame; asserts that its digest covers request and response."""
    assert int.from_bytes(frame[:2], "big") == len(frame) - 2
    message, proof = frame[2:-8], frame[-8:]
    body = asked[2:-8]
    if encrypted:
        cipher = exchange_cipher(key, asked[-8:])
        body = cipher.apply(body)
        message = cipher.apply(message)
    assert digest(body + message, key) == proof
    return message


def read_message(table: int, offset: int | None = None, count: int = 0) -> bytes:
    if offset is None:
        return b"\x30" + table.to_bytes(2, "big")
    return b"\x3f" + table.to_bytes(2, "big") + offset.to_bytes(3, "big") + count.to_bytes(2, "big")


def write_message(table: int, offset: int, data: bytes) -> bytes:
    return (
        b"\x4f" + table.to_bytes(2, "big") + offset.to_bytes(3, "big") + len(data).to_bytes(2, "big") + data
    )


class Probe:
    """Asks a meter, or one of its ports, directly, without a line in between."""

    def __init__(self, meter, key: bytes = KEY, encrypted: bool = False) -> None:
        self.meter = meter
        self.server = meter.mep if hasattr(meter, "mep") else meter.server
        self.key = key
        self.encrypted = encrypted

    def ask(self, message: bytes) -> bytes:
        frame = request(message, self.server.sequence, self.key, self.encrypted)
        (response,) = self.meter.receive(frame, 0)
        return opened(response, frame, self.key, self.encrypted)

    def read(self, table: int, offset: int | None = None, count: int = 0) -> bytes:
        message = self.ask(read_message(table, offset, count))
        assert message[0] == 0, "table %d answered %02x" % (table, message[0])
        assert int.from_bytes(message[1:3], "big") == len(message) - 3
        return message[3:]

    def write(self, table: int, offset: int, data: bytes) -> int:
        (code,) = self.ask(write_message(table, offset, data))
        return code


class Hands:
    """Time that stands still until it is moved by hand."""

    def __init__(self) -> None:
        self.ms = 0

    def __call__(self) -> int:
        return self.ms
