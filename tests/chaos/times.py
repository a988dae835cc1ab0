"""Time in a chaos run: a world that runs fast, and time-outs that a real machine can keep.

Days pass in the world in minutes, but a process does not start, a socket does not answer and a disk does not
sync any faster for that. So the world's schedule, clocks and ages run at `scale`, and what waits for another
process (line time-outs, patience, pauses between attempts) at `pace`.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime

# Summer time begins within a month, and a month ends.
BEGIN_MS = int(datetime(2024, 3, 10, 6, tzinfo=UTC).timestamp()) * 1000


@dataclass
class World:
    """At the real instant `real_ms` (ms since 1970) it is `world_ms` in the world, whose time runs `scale`
    times as fast."""

    scale: int
    pace: int
    real_ms: int
    world_ms: int

    def now_ms(self) -> int:
        return self.world_ms + (time.time_ns() // 1_000_000 - self.real_ms) * self.scale

    def go_on(self, scale: int) -> None:
        """From now on at another speed."""
        now = time.time_ns() // 1_000_000
        self.world_ms, self.real_ms, self.scale = self.now_ms(), now, scale

    def real_s(self, world_s: float) -> float:
        """How long so many seconds of the world take."""
        return world_s / self.scale

    def environment(self, ahead_s: float = 0) -> str:
        """OSGP_TIME of a process whose clock is so many seconds ahead of the world's."""
        real = time.time_ns() // 1_000_000
        now = self.now_ms() + int(1000 * ahead_s)
        # now = origin + (real - origin) * scale
        return "%d@%d" % (self.scale, (real * self.scale - now) // (self.scale - 1))
