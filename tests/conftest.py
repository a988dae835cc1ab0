"""Bad lines to virtual meters; figures that tests measure (bytes, heap) appear after the run."""

import os
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack

import pytest
from hypothesis import settings

# What a service manager, a terminal or a proxy of this machine would tell the programs under test.
FOREIGN = (
    *("OSGP_TIME", "CREDENTIALS_DIRECTORY", "RUNTIME_DIRECTORY", "STATE_DIRECTORY", "XDG_RUNTIME_DIR"),
    *("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM", "INVOCATION_ID"),
    *("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "PYTHONSAFEPATH", "PYTHONDONTWRITEBYTECODE"),
    *("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"),
)


def pytest_configure(config: pytest.Config) -> None:
    # A run in the background of a shell has SIGINT ignored, which the commands under test would inherit.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # The same examples in each run; new ones are the work of `make fuzz`.
    settings.register_profile("suite", derandomize=True, deadline=None, database=None)
    settings.load_profile("suite")
    for name in FOREIGN:
        os.environ.pop(name, None)
    # What commands keep for after a restart goes with the tests, and not to the user's own.
    state = tempfile.TemporaryDirectory(prefix="osgp-tests-")
    os.environ["XDG_STATE_HOME"] = state.name
    config.add_cleanup(state.cleanup)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest file first: two workers then end at about the same time."""
    items.sort(key=lambda item: item.path.name != "test_portable_on_micropython.py")


@pytest.fixture(autouse=True, scope="module")
def _state_of_the_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No gateway that serves a module's tests sends what another's had left in its outbox."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(autouse=True)
def _state_of_its_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does that of a single test."""
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
