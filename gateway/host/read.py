"""`osgp-gateway read`: what a meter says now, and what it has stored, over its port or through a gateway."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from ..c1219.readers.identity import identify
from ..c1219.tables import Tables
from ..core.kinds import is_stepwise
from ..core.marks import mark
from ..errors import AuthenticationError, ConfigurationError, GatewayError, ProtocolError, Refused, TableError
from ..transmission import ids, model
from ..transmission.model import Series, Timestamp
from ..transmission.platform_json import format_time, parse_time
from .meter_access import MeterAccess
from .show import About, Item, json_lines, print_tables, total_rows
from .steps import steps

# In the order in which `all` reads them.
KINDS = {name: kind for kind, name in enumerate(model.KIND_NAMES) if kind != model.FOREIGN}

_BAD_ANSWERS = 3  # in a row
# Answers of a meter: not now, and not with this key (MEP guide, table 2.6).
_LATER = (6, 7, 8)
_NOT_ALLOWED = (3,)


def parse_kinds(words: list[str]) -> list[int]:
    """Kinds by name, each once, in the order given; "all" for every kind. Raises ConfigurationError."""
    unknown = [word for word in words if word not in KINDS and word != "all"]
    if unknown:
        raise ConfigurationError(
            f"no reading is called {', '.join(unknown)}; there are {', '.join(KINDS)} and all"
        )
    named = list(KINDS) if "all" in words else list(dict.fromkeys(words))
    return [KINDS[word] for word in named]


def parse_since(text: str | None) -> int | None:
    """UTC seconds of --since. Raises ConfigurationError."""
    return None if text is None else parse_time_option("--since", text)


def parse_time_option(option: str, text: str) -> int:
    """UTC seconds. Raises ConfigurationError."""
    try:
        seconds = parse_time(text, option).seconds
    except GatewayError as error:
        raise ConfigurationError(str(error)) from None
    if seconds < 0:
        raise ConfigurationError(f"{option} {text} is before 1970: no meter has stored anything then")
    return seconds


class Wish:
    """What to read and how to show it. What the meter stores is read from `since` (UTC seconds) on."""

    def __init__(self, kinds: list[int], as_json: bool, since: int | None = None) -> None:
        self.kinds = kinds
        self.as_json = as_json
        self.since = since


class Source:
    """Where readings come from: `read(kind, since)` gives them step by step, with whose they are."""

    def read(self, kind: int, since: int | None) -> AsyncIterator[tuple[About, Sequence[Item]]]:
        raise NotImplementedError


class _Port(Source):
    """A meter at its port, for which nobody else has to wait."""

    def __init__(self, tables: Tables, about: About) -> None:
        self._tables = tables
        self._about = about

    async def read(self, kind: int, since: int | None) -> AsyncIterator[tuple[About, Sequence[Item]]]:
        async for items in steps(self._ask, kind, since):
            yield self._about, mark(items, self._tables.meter)

    async def _ask(self, ask: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
        """The answer; a good link gives a bad one now and then (MEP guide, 0B), so it is asked again."""
        for _ in range(_BAD_ANSWERS - 1):
            try:
                return await ask(self._tables, *arguments)
            except (AuthenticationError, ProtocolError):
                pass
        return await ask(self._tables, *arguments)


async def read(access: MeterAccess, wish: Wish) -> None:
    """`read_from` a meter at its port. Raises LinkError or MeterError."""
    meter = await access.open()
    try:
        tables = Tables(meter)
        who = await identify(tables)
        about = About(ids.meter_individual_id(who.manufacturer, who.serial), who.serial)
        await read_from(_Port(tables, about), wish)
    finally:
        await meter.close()


async def read_from(source: Source, wish: Wish) -> None:
    """Print each kind as soon as it is read.

    What the meter refuses, or has wrong, does not keep the kinds behind it from being read; it is told at the
    end.
    """
    failures = []
    for kind in wish.kinds:
        try:
            await _read_kind(source, kind, wish.as_json, wish.since)
        except (Refused, TableError) as error:
            failures.append(_told(kind, error))
    if failures:
        raise GatewayError("\n".join(failures))


def _told(kind: int, error: Refused | TableError) -> str:
    """What went wrong with a kind, and what to do about it."""
    name = model.KIND_NAMES[kind]
    if not isinstance(error, Refused):
        advice = (
            "The meter contradicts itself, or what is known of meters. Read again; if it stays so, "
            f"`osgp-gateway record {name} ...` records what it says, for a report"
        )
    elif error.code in _LATER:
        advice = "Read again in a minute"
    elif error.code in _NOT_ALLOWED:
        advice = "Ask the utility for a key that may read it, or leave it out"
    else:
        advice = f"A meter that does not have it can't tell it: name the kinds to read without {name}"
    return f"{name} can't be read: {error}. {advice}"


async def _read_kind(source: Source, kind: int, as_json: bool, since: int | None) -> None:
    stored = is_stepwise(kind)
    about: About | None = None
    all_items: list[Item] = []
    progress = _Progress(kind)
    try:
        async for about, step in source.read(kind, since):
            items = _decoded(step) if kind == model.MBUS else step
            if not items:
                continue
            progress.step(items)
            if as_json:
                _show(items, True, since if stored else None, about)
            else:
                all_items += items
    finally:
        progress.end()
        if about is not None and not as_json:
            _show(all_items, False, since if stored else None, about)
    if about is not None and stored and not as_json and not all_items:
        print(f"{model.KIND_NAMES[kind]} of meter {about.serial}: none")


def _decoded(items: Sequence[Item]) -> list[Item]:
    """With what the telegrams of M-Bus devices say beside them."""
    from ..transmission.mbus import enrich  # a big library, for one kind

    return [enrich(item) if isinstance(item, model.Reading) else item for item in items]


def _show(items: Sequence[Item], as_json: bool, since: int | None, about: About) -> None:
    if as_json:
        for line in json_lines(items, about, since):
            print(line)
        sys.stdout.flush()
    else:
        print_tables(items, about, since)


class _Progress:
    """How far a long backfill is, on a terminal's last line."""

    def __init__(self, kind: int) -> None:
        self._kind = kind
        self._rows = 0
        self._steps = 0
        self._shown = False

    def step(self, items: Sequence[Item]) -> None:
        self._rows += total_rows(items)
        self._steps += 1
        if self._steps > 1 and sys.stderr.isatty():
            last = items[-1]
            time = Timestamp(last.times[-1]) if isinstance(last, Series) else last.time
            text = f"{model.KIND_NAMES[self._kind]}: {self._rows} read, up to {format_time(time)}"
            print(f"\r{text}\x1b[K", end="", file=sys.stderr, flush=True)
            self._shown = True

    def end(self) -> None:
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
