"""A driver's link that ends in a port of the virtual meter, under virtual time and with any faults."""

from gateway.simulator.faulty import FaultyDirection, LineFaults, Piece
from tests.mep_fakes import FakeLink

_DELAY_MS = 10


class _GoodDirection(FaultyDirection):
    """Loses nothing, and spends no time on every byte's fate."""

    def __init__(self, _faults, which):
        super().__init__(LineFaults(), which)

    def carry(self, data, now_ms):
        return [Piece(data, 0)]


class SimulatedLink(FakeLink):
    """`channel`: one of the virtual meter's; carries nothing while the ends run at different rates."""

    def __init__(self, time, channel, faults=None):
        super().__init__(time, self._written)
        self.rate = channel.baud
        self.channel = channel
        make = FaultyDirection if faults else _GoodDirection
        self.inward = make(faults, "to the meter")
        self.outward = make(faults, "to the client")
        self._ticking = 0

    def set_baud(self, rate):
        self.rate = rate

    def _written(self, data):
        self.outward.other_spoke()
        late = 0
        for piece in self.inward.carry(data, self.time.now):
            late += piece.late_ms
            self.time.after(late, lambda arrived=piece.data: self._arrive(arrived))

    def _arrive(self, data):
        if self.rate == self.channel.baud:
            self._say(self.channel.receive(data, self.time.now))

    def _say(self, out):
        for data in out:
            self.inward.other_spoke()
            late = _DELAY_MS
            for piece in self.outward.carry(data, self.time.now):
                late += piece.late_ms
                self.later(late, piece.data)
        self._ticking += 1
        due = self.channel.due_in_ms(self.time.now)
        if due is not None and not self.closed:
            self.time.after(max(due, 1), lambda turn=self._ticking: self._tick(turn))

    def _tick(self, turn):
        if turn == self._ticking:
            self._say(self.channel.tick(self.time.now))
