"""A protocol's machine led through steps in any order, as the fuzz of both ports does."""


class Walk:
    """One exchange at a time. `frame`: what was sent last; `sent`: how often since the exchange began;
    `waiting`: whether it is to end yet."""

    def __init__(self, machine, message: bytes) -> None:
        self.machine = machine
        self.frame = b""
        self.sent = 0
        self.waiting = False
        self._message = message

    def begin(self) -> None:
        self.machine.begin(self._message)
        self.frame, self.sent, self.waiting = self.machine.output(), 1, True

    def resend(self) -> None:
        self.frame = self.machine.output()
        self.sent += 1

    def step(self, step: bytes | str) -> list:
        """The events of bytes that arrive, or of `begin`, `abandon`, `pause`, `silence`."""
        if isinstance(step, bytes):
            return self.machine.receive(step)
        event = None
        if step in ("begin", "abandon"):
            self.machine.abandon()
            self.waiting = False
        elif step == "pause":
            self.machine.pause()
            assert not self.machine.unfinished
        elif step == "silence":
            event = self.machine.silence()
            assert not self.machine.unfinished
        if step == "begin":
            self.begin()
        return [event] if event else []
