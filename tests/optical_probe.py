"""A bare C12.18 client for tests of the virtual meter's optical port."""

import binascii

ACK = b"\x06"
NAK = b"\x15"
PASSWORD = b"unique key of it"
PROVISIONING_PASSWORD = b"provisioning key"
READ_ONLY_PASSWORD = b"read only key"


def crc(data: bytes) -> bytes:
    """CRC-16/X-25 by way of the standard library: the same polynomial, not reflected."""
    turned = bytes(int("{:08b}".format(byte)[::-1], 2) for byte in data)
    value = binascii.crc_hqx(turned, 0xFFFF) ^ 0xFFFF
    return int("{:016b}".format(value)[::-1], 2).to_bytes(2, "little")


def packet(data: bytes, control: int = 0, sequence: int = 0) -> bytes:
    head = bytes([0xEE, 0, control, sequence]) + len(data).to_bytes(2, "big") + data
    return head + crc(head)


def checksum(data: bytes) -> bytes:
    return bytes([(256 - sum(data) % 256) % 256])


def logon(user: bytes = b"test") -> bytes:
    return b"\x50\x00\x01" + user.ljust(10)


def security(password: bytes) -> bytes:
    return b"\x51" + password.ljust(20, b"\0")


def negotiate(size: int = 256, count: int = 64, *rates: int) -> bytes:
    return bytes([0x60 + len(rates)]) + size.to_bytes(2, "big") + bytes([count, *rates])


def full_read(table: int) -> bytes:
    return b"\x30" + table.to_bytes(2, "big")


def partial_read(table: int, offset: int, count: int) -> bytes:
    return b"\x3f" + table.to_bytes(2, "big") + offset.to_bytes(3, "big") + count.to_bytes(2, "big")


def full_write(table: int, data: bytes) -> bytes:
    return b"\x40" + table.to_bytes(2, "big") + len(data).to_bytes(2, "big") + data + checksum(data)


def partial_write(table: int, offset: int, data: bytes) -> bytes:
    head = b"\x4f" + table.to_bytes(2, "big") + offset.to_bytes(3, "big") + len(data).to_bytes(2, "big")
    return head + data + checksum(data)


class OpticalProbe:
    """Talks to anything with `receive(data, now_ms) -> list[bytes]`, without a line in between."""

    def __init__(self, port, now_ms: int = 0) -> None:
        self.port = port
        self.now_ms = now_ms
        self.toggle = 0
        self.packets = 0
        self.whole = True

    def send(self, data: bytes) -> bytes:
        """What comes back; with `whole` False the bytes go in one by one."""
        pieces = [data] if self.whole else [data[index : index + 1] for index in range(len(data))]
        return b"".join(out for piece in pieces for out in self.port.receive(piece, self.now_ms))

    def ask(self, message: bytes, share: int = 0) -> bytes:
        """The response message; a request longer than `share` goes in several packets."""
        parts = [message[at : at + share] for at in range(0, len(message), share)] if share else [message]
        answer = b""
        for index, part in enumerate(parts):
            control = self.toggle
            if len(parts) > 1:
                control |= 0x80 | (0x40 if index == 0 else 0)
            self.toggle ^= 0x20
            request = packet(part, control, len(parts) - 1 - index)
            answer = self.send(request)
            if answer == NAK:  # the port was switching over
                answer = self.send(request)
            assert answer[:1] == ACK, answer.hex()
        return self.take(answer[1:])

    def take(self, answer: bytes) -> bytes:
        """The message in packets as they come, each acknowledged."""
        message = b""
        expected = None
        self.packets = 0
        while True:
            assert answer[0] == 0xEE and answer[1] == 0
            length = int.from_bytes(answer[4:6], "big")
            assert len(answer) == length + 8 and crc(answer[:-2]) == answer[-2:]
            control, sequence = answer[2], answer[3]
            if expected is None:
                assert bool(control & 0x80) == bool(control & 0x40) == (sequence > 0)
            else:
                assert sequence == expected and control & 0xC0 == 0x80
            message += answer[6:-2]
            self.packets += 1
            answer = self.send(ACK)
            if sequence == 0:
                assert answer == b""
                return message
            expected = sequence - 1

    def open(self, password: bytes = PASSWORD, size: int = 256, count: int = 64) -> None:
        assert self.ask(b"\x20") == bytes(5)[:2] + b"\x01\x00\x00"
        assert self.ask(negotiate(size, count))[0] == 0
        assert self.ask(logon()) == b"\0"
        assert self.ask(security(password)) == b"\0"

    def read(self, table: int, offset: int | None = None, count: int = 0) -> bytes:
        message = self.ask(full_read(table) if offset is None else partial_read(table, offset, count))
        assert message[0] == 0, "table %d answered %02x" % (table, message[0])
        data = message[3:-1]
        assert int.from_bytes(message[1:3], "big") == len(data)
        assert checksum(data) == message[-1:]
        return data
