"""Bad lines to virtual meters; figures that tests measure (bytes, heap) appear after the run."""

import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest


def pytest_configure(config: pytest.Config) -> None:
    # A run in the background of a shell has SIGINT ignored, which the commands under test would inherit.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def _state_of_the_run(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What commands keep for after a restart goes with the tests, and not to the user's own."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))


@pytest.fixture(autouse=True)
def _state_of_its_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sends what another's gateway had left in its outbox."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))


@pytest.fixture
def figures(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """A function that takes a text for the summary of the run."""
    return lambda text: record_property("figures", text)


@pytest.fixture
async def bad_line() -> AsyncIterator[Callable]:
    """An async function that lays a line to a virtual meter or one of its ports, as bad as `simulate --fault`
    would: `link = await bad_line(meter.optical, "corrupt=1%,seed=7")`. See tests/faulty_lines.py."""
    from gateway.simulator.faulty import LineFaults
    from tests.faulty_lines import faulty_link

    async with AsyncExitStack() as lines:

        async def lay(channel, faults: str, *, paced: bool = False):
            return await lines.enter_async_context(
                faulty_link(channel, LineFaults.parse(faults), paced=paced)
            )

        yield lay


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, text in report.user_properties:
                if name == "figures":
                    terminalreporter.section(report.nodeid)
                    terminalreporter.write_line(text)
