"""A TLS that is none, and a meter that speaks it: what goes wrong around TLS, on both interpreters.

Records look like TLS records and prove a session and their number by a checksum, so that a record which is
damaged, comes twice or belongs to another session is refused, as real ones are.
"""

from gateway.drivers.mep.digest import Digest, key_bits
from gateway.drivers.mep.rc4 import Rc4
from gateway.drivers.mep.tls_alerts import TlsAlert, alert_in
from gateway.errors import ProtocolError
from tests.mep_fakes import KEY, FakeMeter, digest_of, framed

BASIC_IDENTITY = b"\x64\0\0"
ADVANCED_IDENTITY = b"\x64\0\1"


def record(kind, body):
    return bytes((kind, 3, 3)) + len(body).to_bytes(2, "big") + body


def alert(code):
    return record(21, bytes((2, code)))


class Side:
    """One direction of a session."""

    def __init__(self, secret):
        self.secret = secret
        self.number = 0

    def proof(self, kind, body):
        digest = Digest(key_bits(self.secret))
        digest.update(self.number.to_bytes(8, "big") + bytes((kind,)) + body)
        self.number += 1
        return digest.final() * 3

    def seal(self, kind, body):
        return record(kind, self.proof(kind, body) + body)

    def open(self, records):
        if (
            len(records) < 29
            or records[1:3] != b"\3\3"
            or int.from_bytes(records[3:5], "big") != len(records) - 5
        ):
            raise ProtocolError("a record that is none")
        if records[5:29] != self.proof(records[0], records[29:]):
            raise ProtocolError("a record that is not authentic")
        return records[29:]


class FakeTls:
    """A client; `made` counts the sessions begun."""

    made = 0

    def __init__(self, identity, key):
        FakeTls.made += 1
        self.identity = identity
        self.key = key
        self.random = bytes((FakeTls.made & 0xFF, FakeTls.made >> 8)) * 8
        self.established = False
        self.sides = None
        self.arrived = b""

    def start(self):
        return record(22, b"hello" + self.random)

    def feed(self, records):
        code = alert_in(records)
        if code is not None:
            raise TlsAlert(code)
        if self.sides is None:
            records = self.arrived = self.arrived + records
            if len(records) > 26 or records[:10] != record(22, b"hello" + bytes(16))[: min(len(records), 10)]:
                raise ProtocolError("no hello")
            if len(records) < 26:
                return b""
            self.sides = sides(self.key, self.random + records[10:])
            return record(22, self.identity) + self.sides[0].seal(22, b"finished")
        if self.sides[1].open(records) != b"finished":
            raise ProtocolError("no Finished")
        self.established = True
        return b""

    def wrap(self, data):
        return self.sides[0].seal(23, data)

    def unwrap(self, records):
        return self.sides[1].open(records)


def sides(key, randoms):
    secret = bytearray(key)
    for at in range(len(randoms)):
        secret[at % 16] ^= randoms[at] * (at + 1) & 0xFF
    return Side(bytes(secret)), Side(bytes(b ^ 0x5A for b in secret))


class FakeTlsMeter(FakeMeter):
    """Serves `tables` over TLS. `keys`: by identity; `requires`: whether RC4 is refused always; `sessions`:
    how many were established; `refusals`: how many keys were refused.
    """

    def __init__(self, link, tables, keys=None, requires=False, **options):
        super().__init__(link, tables, **options)
        self.keys = keys if keys is not None else {BASIC_IDENTITY: KEY}
        self.requires = requires
        self.sides = None
        self.open = False
        self.sessions = 0
        self.refusals = 0
        self.randoms = b""

    def respond(self, frame):
        code, records = frame[2], frame[3:]
        if code == 0x57:
            self.lose()
            return framed(b"\0")
        if code == 0x58:
            self.lose()
            if len(records) != 26:
                return framed(b"\1")
            own = bytes((self.sessions + 1,)) * 16
            self.randoms = records[10:] + own
            return framed(b"\0" + record(22, b"hello" + own))
        if code == 0x59:
            return framed(self.finish(records))
        if code == 0x80:
            return framed(self.table(records))
        if self.open or self.requires:
            return framed(b"\x0a")
        return super().respond(frame)

    def lose(self):
        self.sides = None
        self.open = False

    def finish(self, records):
        if not self.randoms:
            return b"\1"
        randoms, self.randoms = self.randoms, b""
        key = self.keys.get(records[5:8])
        if key is None:
            self.refusals += 1
            return b"\3" + alert(115)
        self.sides = sides(key, randoms)
        try:
            self.sides[0].open(records[8:])
        except ProtocolError:
            self.refusals += 1
            return b"\1" + alert(20)
        self.open = True
        self.sessions += 1
        return b"\0" + self.sides[1].seal(22, b"finished")

    def table(self, records):
        if not self.open:
            return b"\x0a"
        try:
            request = self.sides[0].open(records)
        except ProtocolError:
            self.lose()
            return b"\1"
        return b"\0" + self.sides[1].seal(23, self.reply(request))


class EncryptedMeter(FakeMeter):
    """Knows RC4 only; `tls` is what it says to anything that does not fit, such as a handshake."""

    tls = None

    def __init__(self, link, tables):
        super().__init__(link, tables)
        self.asked = []

    def respond(self, frame):
        if frame[2] == 0x58 and frame[3:5] == b"\x16\3":
            if frame not in self.asked:
                self.asked.append(frame)
            return self.tls
        key = Rc4(KEY).crypt(bytes.fromhex("388b8fbc36a8558587afc90fb23a3b99"))
        for at in range(8):
            key[at] ^= frame[at - 8]
        stream = Rc4(key)
        request = bytes(stream.crypt(frame[2:-8]))
        reply = self.reply(request[:-4])
        return framed(bytes(stream.crypt(reply)) + digest_of(request + reply))
