"""What the person who flashes sees: steps with progress, tables, and no word of esptool's unless asked."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from esptool.logger import EsptoolLogger, TemplateLogger
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table


class Show:
    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self._progress: Progress | None = None
        self._task: Any = None

    def install(self) -> None:
        """Have esptool report here."""
        EsptoolLogger().set_logger(_Esptool(self))

    @contextlib.contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Says what is done, with a bar while there is something to count, and a tick once it is."""
        columns = (TextColumn("  {task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        shown = self.console.is_terminal
        with Progress(*columns, console=self.console, transient=True, disable=not shown) as progress:
            self._progress, self._task = progress, progress.add_task(what, total=None)
            try:
                yield
            finally:
                self._progress = None
        self.console.print(f"  {what}: done")

    def advance(self, done: int, total: int) -> None:
        if self._progress is not None:
            self._progress.update(self._task, completed=done, total=total)

    def say(self, text: str) -> None:
        self.console.print(text, markup=False, soft_wrap=True)

    def sizes(self, title: str, rows: Sequence[tuple[str, int, int]]) -> None:
        """A row: what, bytes, and bytes that it may take (0: no limit)."""
        table = Table(title=title, title_justify="left", box=None, pad_edge=False)
        for name in ("", "bytes", "of", "used"):
            table.add_column(name, justify="left" if not name else "right")
        for what, size, limit in rows:
            used = f"{100 * size / limit:.0f} %" if limit else ""
            table.add_row(what, f"{size:,}", f"{limit:,}" if limit else "", used)
        self.console.print(table)


class _Esptool(TemplateLogger):  # type: ignore[misc]
    """esptool's own words would be said twice: only its progress is passed on."""

    def __init__(self, show: Show) -> None:
        self._show = show

    def print(self, *args: Any, **kwargs: Any) -> None:
        pass

    def note(self, message: str) -> None:
        pass

    def warning(self, message: str) -> None:
        self._show.say(f"  note: {message}")

    def error(self, message: str) -> None:
        self._show.say(f"  {message}")

    def stage(self, finish: bool = False) -> None:
        pass

    def progress_bar(
        self, cur_iter: int, total_iters: int, prefix: str = "", suffix: str = "", bar_length: int = 30
    ) -> None:
        self._show.advance(cur_iter, total_iters)

    def set_verbosity(self, verbosity: str) -> None:
        pass
