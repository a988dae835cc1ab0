"""A meter's optical port for tests of the driver, written from ANSI C12.18 apart from it.

FakePort speaks packets over a FakeLink and serves tables; faults are injected by hooks. Runs on both
interpreters.
"""

from tests.mep_fakes import FakeLink

PASSWORD = b"optical password 20c"
ACK = b"\x06"
NAK = b"\x15"


def crc_of(data):
    """Bit by bit, as the standard draws it."""
    register = 0xFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = (register >> 1) ^ 0x8408 if register & 1 else register >> 1
    register ^= 0xFFFF
    return bytes((register & 0xFF, register >> 8))


def packet_of(data, control=0, sequence=0, identity=0):
    head = bytes((0xEE, identity, control, sequence)) + len(data).to_bytes(2, "big")
    return head + data + crc_of(head + data)


def packets_of(message, size, toggle=0):
    """The packets of `message` for a negotiated packet `size`, the first with this toggle bit (0 or 1)."""
    room = size - 8
    parts = [message[at : at + room] for at in range(0, len(message), room)] or [b""]
    made = []
    for index, part in enumerate(parts):
        control = 0x20 if (toggle + index) & 1 else 0
        if len(parts) > 1:
            control |= 0xC0 if index == 0 else 0x80
        made.append(packet_of(part, control, len(parts) - 1 - index))
    return made


def table_answer(data):
    return b"\0" + len(data).to_bytes(2, "big") + data + bytes((-sum(data) & 0xFF,))


class OpticalLink(FakeLink):
    """Carries nothing while its ends run at different rates."""

    def __init__(self, time):
        super().__init__(time)
        self.rate = self.far_rate = 9600
        self.rates = []

    def set_baud(self, rate):
        self.rate = rate
        self.rates.append(rate)

    @property
    def joined(self):
        return self.rate == self.far_rate


class FakePort:
    """Serves `tables` (number -> bytes) at the other end of `link`.

    `spoil(data)`: what the line makes of what the meter sends; None loses it. `hear(data)`: the same for what
    it receives. `shared`: the first packet after BASE is lost to the switch-over and answered NAK. `size`,
    `count`: what it negotiates at most; 0 packets: it does not know the service. `script`: functions of the
    request that give the next answers instead, None for none at all.
    """

    RESEND_MS = 2000
    TRAFFIC_MS = 6000

    def __init__(self, time, link, tables, password=PASSWORD, size=1024, count=255, rates=(6,), delay=5):
        self.time = time
        self.link = link
        self.tables = tables
        self.password = password
        self.size = size
        self.count = count
        self.rates = rates
        self.delay = delay
        self.shared = False
        self.spoil = lambda data: data
        self.hear = lambda data: data
        self.script = []
        self.requests = []  # whole ones, as they were understood
        self.users = []
        self.state = "base"
        self.toggle = 0
        self.out = []  # packets of the answer that wait for their acknowledgement
        self.tries = 0
        self.last_in = None
        self.message = b""
        self.packet_size = 64
        self.new_rate = 0  # from the acknowledged answer on
        self.trusted = False
        self.resend_at = self.expire_at = 0
        self.watched = None  # when the next time-out is looked at
        self.extra_ms = 0
        self.switching = True
        self.sessions = 0
        self.input = b""
        link.on_write = self.written

    # the line

    def written(self, data):
        heard = self.hear(data) if self.link.joined else None
        if heard is None:
            return
        self.input += heard
        while self.input:
            if self.input[:1] == ACK:
                self.input = self.input[1:]
                self.acknowledged()
            elif self.input[:1] == NAK:
                self.input = self.input[1:]
                self.repeat()
            elif self.input[:1] != b"\xee":
                self.input = self.input[1:]
            elif len(self.input) < 6 or len(self.input) < 8 + int.from_bytes(self.input[4:6], "big"):
                # A line that ends in the middle is quiet soon.
                self.input = b""
                self.say(NAK)
            else:
                end = 8 + int.from_bytes(self.input[4:6], "big")
                whole, self.input = self.input[:end], self.input[end:]
                self.packet(whole)

    def say(self, data):
        heard = self.spoil(data) if self.link.joined else None
        if heard is not None:
            self.link.later(self.delay, heard)

    # packets

    def packet(self, whole):
        if self.shared and self.switching:
            self.switching = False
            self.say(NAK)
            return
        if crc_of(whole[:-2]) != whole[-2:]:
            self.say(NAK)
            return
        self.say(ACK)
        mark = (whole[2] & 0x20, whole[-2:])
        if mark == self.last_in:
            return
        self.last_in = mark
        self.out = []
        self.extra_ms = 0
        self.alive()
        self.message += whole[6:-2]
        if whole[3] == 0:
            message, self.message = self.message, b""
            self.request(message)

    def answer(self, message):
        self.out = packets_of(message, self.packet_size, self.toggle)
        self.toggle = (self.toggle + len(self.out)) & 1
        self.tries = 0
        self.send()

    def send(self):
        self.tries += 1
        self.resend_at = self.time.now + self.RESEND_MS
        self.alive()
        self.say(self.out[0])

    def repeat(self):
        if not self.out:
            return
        if self.tries > 3:
            self.out = []
            self.base()
        else:
            self.send()

    def acknowledged(self):
        if self.out:
            self.out.pop(0)
            self.tries = 0
            self.alive()
            if self.out:
                self.send()
            elif self.state == "ending":
                self.base()
            elif self.new_rate:
                self.link.far_rate = self.new_rate
                self.new_rate = 0

    # sessions

    def alive(self):
        self.expire_at = self.time.now + self.TRAFFIC_MS + self.extra_ms
        self.watch()

    def watch(self):
        """One timer for both time-outs: MicroPython sorts a long list of them slowly."""
        due = min(self.resend_at, self.expire_at) if self.out else self.expire_at
        due = max(due, self.time.now + 1)
        if self.watched is None or due < self.watched:
            self.watched = due
            self.time.after(due - self.time.now, self.look)

    def look(self):
        if self.watched is None or self.time.now < self.watched:
            return  # for what was put off
        self.watched = None
        if self.state == "base" and not self.out:
            return
        if self.out and self.time.now >= self.resend_at:
            self.repeat()
        elif self.time.now >= self.expire_at:
            self.base()
        self.watch()

    def base(self):
        self.state = "base"
        self.packet_size = 64
        self.switching = True
        self.message = b""
        self.out = []
        self.link.far_rate = 9600

    def request(self, message):
        self.requests.append(message)
        made = self.script.pop(0)(message) if self.script else self.serve(message)
        if made is not None:
            self.answer(made)

    def serve(self, message):
        code = message[0]
        if code == 0x21:
            self.state = "ending"
            return b"\0"
        if code == 0x20:
            if self.state != "base":
                return b"\x0a"
            self.state = "identified"
            return b"\0\0\1\0\0"
        if code in range(0x60, 0x6C) and self.state == "identified":
            return self.negotiate(message)
        if code == 0x50 and self.state == "identified":
            self.users.append((int.from_bytes(message[1:3], "big"), message[3:]))
            self.state = "session"
            self.trusted = False
            self.sessions += 1
            return b"\0"
        if self.state != "session":
            return b"\x0a"
        if code == 0x51:
            self.trusted = message[1:] == self.password
            return b"\0" if self.trusted else b"\3"
        if code == 0x52:
            self.state = "identified"
            return b"\0"
        if code == 0x70:
            self.extra_ms = 1000 * message[1]
            return b"\0"
        return self.table(message) if self.trusted else b"\3"

    def negotiate(self, message):
        if not self.count:
            return b"\2"
        size = min(int.from_bytes(message[1:3], "big"), self.size)
        count = min(message[3], self.count)
        offered = [code for code in message[4:] if code in self.rates]
        made = b"\0" + size.to_bytes(2, "big") + bytes((count, offered[0] if offered else 0))
        if offered and offered[0] != 6:
            self.new_rate = (0, 300, 600, 1200, 2400, 4800, 9600, 14400, 19200, 28800, 57600)[offered[0]]
        self.packet_size = size
        return made

    def table(self, message):
        code, table = message[0], int.from_bytes(message[1:3], "big")
        if table not in self.tables:
            return b"\4"
        held = self.tables[table]
        if code == 0x30:
            return table_answer(held)
        offset = int.from_bytes(message[3:6], "big") if code in (0x3F, 0x4F) else 0
        if code == 0x3F:
            count = int.from_bytes(message[6:8], "big")
            return table_answer(held[offset : offset + count])
        start = 8 if code == 0x4F else 5
        count = int.from_bytes(message[start - 2 : start], "big")
        data = message[start:-1]
        if len(data) != count or (sum(data) + message[-1]) & 0xFF:
            return b"\1"
        self.tables[table] = held[:offset] + data + held[offset + len(data) :]
        return b"\0"
