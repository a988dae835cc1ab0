"""Programs of the project as processes: started, watched line by line, ended by their process id."""

import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time

from tests.patience import PATIENCE_S


class Program:
    """A Python module run as a process. What it prints, on stdout and stderr, is in `lines`. `journal`: it is
    told, as by systemd, that it prints to the journal."""

    def __init__(
        self,
        module: str,
        *arguments: object,
        environment: dict[str, str] | None = None,
        journal: bool = False,
    ) -> None:
        self.lines: list[str] = []
        reading, writing = os.pipe()
        environment = {**os.environ, **(environment or {})}
        if journal:
            status = os.fstat(writing)
            environment["JOURNAL_STREAM"] = f"{status.st_dev}:{status.st_ino}"
        self._news: queue.Queue[str | None] = queue.Queue()
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=writing,
            stderr=subprocess.STDOUT,
            env=environment,
        )
        os.close(writing)
        self._output = os.fdopen(reading, encoding="utf-8")
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with self._output as output:
            for line in output:
                self._news.put(line.rstrip("\n"))
        self._news.put(None)

    def expect(self, pattern: str, seconds: float = PATIENCE_S) -> re.Match[str]:
        """The next line that has the pattern; AssertionError with all that was said when none comes."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                line = self._news.get(timeout=max(deadline - time.monotonic(), 0))
            except queue.Empty:
                raise AssertionError(f"no line with {pattern!r} within {seconds} s:\n{self.said()}") from None
            if line is None:
                raise AssertionError(f"it ended without a line with {pattern!r}:\n{self.said()}")
            self.lines.append(line)
            if match := re.search(pattern, line):
                return match

    def said(self) -> str:
        while not self._news.empty():
            line = self._news.get()
            if line is not None:
                self.lines.append(line)
        return "\n".join(self.lines)

    def end(self, number: int = signal.SIGTERM, seconds: float = PATIENCE_S) -> int:
        """The exit code after this signal; AssertionError when it does not end."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"it did not end within {seconds} s:\n{self.said()}") from None
        self._reader.join(PATIENCE_S)
        return code

    def __enter__(self) -> "Program":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(PATIENCE_S)
