"""What works and what does not, said once when it changes and not again for each try."""

import logging
import time


class State:
    """`name`: of what works or does not. A failure's line ends with `meanwhile`, what that means."""

    def __init__(self, log: logging.Logger, name: str, meanwhile: str) -> None:
        self._log = log
        self._name = name
        self._meanwhile = meanwhile
        self._failed_at: float | None = None

    def fails(self, reason: object) -> None:
        if self._failed_at is None:
            self._failed_at = time.monotonic()
            self._log.warning("%s: %s; %s", self._name, reason, self._meanwhile)
        else:
            self._log.debug("%s: %s", self._name, reason)

    def works(self) -> None:
        if self._failed_at is not None:
            seconds = time.monotonic() - self._failed_at
            self._log.info("%s: works again, after %.0f s", self._name, seconds)
            self._failed_at = None


class Counts:
    """What happens to messages: the first time is told at once, more of it once a minute with its number."""

    PAUSE_SECONDS = 60.0

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._counts: dict[str, int] = {}
        self._said: dict[str, float] = {}

    def add(self, text: str, count: int) -> None:
        """`text` holds %d."""
        if count:
            self._counts[text] = self._counts.get(text, 0) + count
        self.say()

    def say(self, everything: bool = False) -> None:
        now = time.monotonic()
        for text, count in list(self._counts.items()):
            if everything or now - self._said.get(text, -self.PAUSE_SECONDS) >= self.PAUSE_SECONDS:
                self._log.warning(text, count)
                self._said[text] = now
                del self._counts[text]
