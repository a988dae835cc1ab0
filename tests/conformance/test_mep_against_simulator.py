"""The driver's machine against the virtual meter's: two readings of the same guide, bytes in between."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.drivers import events
from gateway.drivers.c1218 import read_message, table_data, write_message
from gateway.drivers.mep.machine import Machine
from gateway.errors import AuthenticationError, MeterError, Refused
from gateway.simulator.mep_server import MepServer
from tests.mep_profile import FEW, MANY

ADVANCED = b"advanced key 123"
BASIC = b"basic key 456789"
TABLE = bytes(range(256)) * 2


class Line:
    """Client and server joined. `spoil(response)` is what the line makes of the meter's frames."""

    def __init__(self, key=ADVANCED, encrypt=False, first=0, repeats_answered=True, sequence=1000):
        self.machine = Machine(key, encrypt)
        self.server = MepServer(self.answer, ADVANCED, BASIC, sequence)
        self.server.first = first
        self.server.repeats_answered = repeats_answered
        self.now = 0
        self.served = []
        self.spoil = lambda response: response

    def answer(self, message, advanced):
        self.served.append((message, advanced))
        if message[0] == 0x4F:
            return b"\0" if advanced else b"\3"
        offset, count = int.from_bytes(message[3:6], "big"), int.from_bytes(message[6:8], "big")
        return b"\0" + count.to_bytes(2, "big") + TABLE[offset : offset + count]

    def exchange(self, message):
        self.machine.begin(message)
        event = (events.SEND, None)
        while True:
            kind, value = event
            if kind == events.ANSWER:
                return table_data(message, value)
            if kind == events.FAILED:
                raise value
            assert kind in (events.SEND, events.IGNORED)
            found = []
            if kind == events.SEND:
                self.now += 100
                for response in self.server.receive(self.machine.output(), self.now):
                    found += self.machine.receive(self.spoil(response))
            # Two zeros of noise pass for an alert; they end nothing.
            found = [event for event in found if event[0] != events.ALERT]
            event = found[-1] if found else self.machine.silence()


@pytest.mark.parametrize("encrypt", [False, True])
@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("repeats_answered", [False, True])
def test_reads_of_every_length(encrypt, first, repeats_answered):
    line = Line(encrypt=encrypt, first=first, repeats_answered=repeats_answered)
    for count in [*range(1, 465, 31), 177, 369, 464, 465]:
        assert line.exchange(read_message(23, 3, count)) == TABLE[3 : 3 + count]
    assert line.machine.resyncs == 1
    line.server.definitions_changed()
    assert line.exchange(read_message(23, 0, 5)) == TABLE[:5]
    assert line.machine.resyncs == 2


@pytest.mark.parametrize("encrypt", [False, True])
def test_writes_of_every_length_and_both_keys(encrypt):
    line = Line(encrypt=encrypt)
    # 180 bytes make a request that ends with a round of the digest.
    for count in [1, 100, 179, 180, 181, 372, 456]:
        line.exchange(write_message(2100, bytes(count), 0))
    basic = Line(key=BASIC, encrypt=encrypt)
    assert basic.exchange(read_message(23, 0, 4)) == TABLE[:4]
    with pytest.raises(Refused) as caught:
        basic.exchange(write_message(2100, b"1", 0))
    assert caught.value.code == 3


@pytest.mark.parametrize("encrypt", [False, True])
def test_a_wrong_key(encrypt):
    line = Line(key=b"not this meter's", encrypt=encrypt)
    with pytest.raises(AuthenticationError):
        line.exchange(read_message(23, 0, 4))
    assert line.served == []


FAULTS = st.lists(
    st.sampled_from(["lost", "flipped", "cut", "garbage", "doubled", "refused", "late"]), max_size=60
)


@settings(MANY, max_examples=150)
@given(FAULTS, st.booleans(), st.booleans(), st.integers(0, 1), st.integers(0, 2**32 - 1), st.randoms())
def test_a_bad_line_costs_time_and_never_truth(faults, encrypt, repeats_answered, first, sequence, chance):
    line = Line(encrypt=encrypt, repeats_answered=repeats_answered, first=first, sequence=sequence)
    kept = [b""]

    def spoil(response):
        fault = faults.pop() if faults else None
        if fault == "lost":
            return b""
        if fault == "flipped":
            spoiled = bytearray(response)
            spoiled[chance.randrange(len(spoiled))] ^= 1 << chance.randrange(8)
            return bytes(spoiled)
        if fault == "cut":
            return response[: chance.randrange(len(response))]
        if fault == "garbage":
            return bytes(chance.randrange(256) for _ in range(3)) + response
        if fault == "doubled":
            return response * 2
        if fault == "late":
            before, kept[0] = kept[0], response
            return before
        return response

    line.spoil = spoil
    line.server.refuse = lambda: bool(faults) and faults[-1] == "refused" and faults.pop() is not None
    number = 0
    while faults or number < 3:
        offset, count = number * 7 % 200, 1 + number * 13 % 300
        spoiled = bool(faults)
        try:
            assert line.exchange(read_message(23, offset, count)) == TABLE[offset : offset + count]
        except MeterError:
            assert spoiled
        number += 1
    # The line is good again: so is the driver.
    assert line.exchange(read_message(23, 0, 465)) == TABLE[:465]


@FEW
@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.booleans())
def test_any_first_number_finds_its_way(ours, theirs, encrypt):
    line = Line(encrypt=encrypt, sequence=theirs)
    line.machine = Machine(ADVANCED, encrypt, sequence=ours)
    assert line.exchange(read_message(23, 0, 9)) == TABLE[:9]
    assert line.machine.resyncs <= 1
