"""A bad line between a meter and its client: bytes get lost, doubled, corrupted and late, bursts of garbage
come in, frames break off, connections are reset. Seeded: the same bytes meet the same fate.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, fields
from decimal import Decimal, InvalidOperation
from random import Random

from .. import clock
from ..errors import ConfigurationError

_MILLION = 1_000_000
# A cut lasts until the line has been quiet for this long, or the other side speaks.
_QUIET_MS = 20
_MOST_GARBAGE = 24
# A late byte is late by this much: from a gap within a frame to well beyond the client's patience.
_LATE_MS = (5, 30, 80, 250, 700)


@dataclass(frozen=True)
class LineFaults:
    """How many of a million bytes, in both directions, are: `corrupt` (bits flipped), `lose`, `double`,
    `late` (what follows is late with it), preceded by a burst of `garbage`, the last of a `half` frame, the
    last before a `reset` of the connection."""

    corrupt: int = 0
    lose: int = 0
    double: int = 0
    late: int = 0
    garbage: int = 0
    half: int = 0
    reset: int = 0
    seed: int = 1

    @classmethod
    def parse(cls, text: str) -> "LineFaults":
        """From "corrupt=1%,lose=0.1%,seed=7"; 1% of the bytes may also be written 0.01.

        Raises ConfigurationError.
        """
        names = [field.name for field in fields(cls)]
        given: dict[str, int] = {}
        for part in text.split(","):
            name, _, value = part.strip().partition("=")
            if name not in names:
                raise ConfigurationError("--fault %s: there is %s" % (part.strip(), ", ".join(names)))
            try:
                number = Decimal(value.removesuffix("%"))
                if name != "seed":
                    number *= _MILLION // 100 if value.endswith("%") else _MILLION
            except InvalidOperation:
                raise ConfigurationError(
                    "--fault %s: give a share as in corrupt=1%%" % part.strip()
                ) from None
            if number != int(number) or not 0 <= number <= (_MILLION if name != "seed" else 2**64):
                raise ConfigurationError("--fault %s: shares go from 0.0001%% to 100%%" % part.strip())
            given[name] = int(number)
        return cls(**given)


@dataclass(frozen=True)
class Piece:
    """Bytes that arrive `late_ms` after what came before them; with `reset` the connection ends there."""

    data: bytes
    late_ms: int = 0
    reset: bool = False


class FaultyDirection:
    """What becomes of the bytes of one direction; a machine without I/O. `done` counts the faults by name."""

    def __init__(self, faults: LineFaults, direction: str) -> None:
        self._faults = faults
        self._chance = Random("%d %s" % (faults.seed, direction))
        self._cut = False
        self._last_ms = 0
        self.done: Counter[str] = Counter()

    def other_spoke(self) -> None:
        """Bytes went the other way: a cut is over."""
        self._cut = False

    def carry(self, data: bytes, now_ms: int) -> list[Piece]:
        """What arrives of `data`, in order."""
        if now_ms - self._last_ms >= _QUIET_MS:
            self._cut = False
        self._last_ms = now_ms
        pieces: list[Piece] = []
        out = bytearray()
        late = 0
        for byte in data:
            fate = self._fate()
            if self._cut:
                continue
            if fate == "late":
                if out:
                    pieces.append(Piece(bytes(out), late))
                    out.clear()
                late = self._chance.choice(_LATE_MS)
            out += self._spoiled(byte, fate)
            if fate == "half":
                self._cut = True
            if fate == "reset":
                pieces.append(Piece(bytes(out), late, reset=True))
                return pieces
        if out:
            pieces.append(Piece(bytes(out), late))
        return pieces

    def _fate(self) -> str:
        at = self._chance.randrange(_MILLION)
        for name in ("corrupt", "lose", "double", "late", "garbage", "half", "reset"):
            at -= getattr(self._faults, name)
            if at < 0:
                if not self._cut:
                    self.done[name] += 1
                return name
        return ""

    def _spoiled(self, byte: int, fate: str) -> bytes:
        if fate == "corrupt":
            return bytes([byte ^ self._chance.randrange(1, 256)])
        if fate == "double":
            return bytes([byte, byte])
        if fate == "garbage":
            return self._chance.randbytes(self._chance.randrange(1, _MOST_GARBAGE)) + bytes([byte])
        return b"" if fate == "lose" else bytes([byte])


class FaultyLine:
    """Both directions of a line that is laid anew now and then: `to_meter` and `to_client` take bytes;
    `deliver_to_meter`, `deliver_to_client` and `reset` are told what comes of it. Late bytes need `run`."""

    def __init__(
        self,
        faults: LineFaults,
        deliver_to_meter: Callable[[bytes], None],
        deliver_to_client: Callable[[bytes], None],
        reset: Callable[[], None],
    ) -> None:
        self._inward = FaultyDirection(faults, "to the meter")
        self._outward = FaultyDirection(faults, "to the client")
        self._deliver_to_meter = deliver_to_meter
        self._deliver_to_client = deliver_to_client
        self._reset = reset
        self._late: dict[FaultyDirection, list[Piece]] = {self._inward: [], self._outward: []}
        self._signals = {self._inward: asyncio.Event(), self._outward: asyncio.Event()}

    @property
    def done(self) -> Counter[str]:
        """How often each fault has happened so far."""
        return self._inward.done + self._outward.done

    def to_meter(self, data: bytes) -> None:
        self._outward.other_spoke()
        self._carry(self._inward, data)

    def to_client(self, data: bytes) -> None:
        self._inward.other_spoke()
        self._carry(self._outward, data)

    def forget(self) -> None:
        """The connection is gone, and with it what was still under way."""
        for waiting in self._late.values():
            waiting.clear()

    async def run(self) -> None:
        """Deliver what is late, until cancelled."""
        await asyncio.gather(self._deliver_late(self._inward), self._deliver_late(self._outward))

    def _carry(self, direction: FaultyDirection, data: bytes) -> None:
        waiting = self._late[direction]
        for piece in direction.carry(data, clock.monotonic_ms()):
            if waiting or piece.late_ms:
                waiting.append(piece)
                self._signals[direction].set()
            else:
                self._deliver(direction, piece)

    async def _deliver_late(self, direction: FaultyDirection) -> None:
        waiting = self._late[direction]
        while True:
            if not waiting:
                self._signals[direction].clear()
                await self._signals[direction].wait()
                continue
            piece = waiting[0]
            await clock.sleep_ms(piece.late_ms)
            if waiting and waiting[0] is piece:
                del waiting[0]
                self._deliver(direction, piece)

    def _deliver(self, direction: FaultyDirection, piece: Piece) -> None:
        (self._deliver_to_meter if direction is self._inward else self._deliver_to_client)(piece.data)
        if piece.reset:
            self.forget()
            self._reset()
