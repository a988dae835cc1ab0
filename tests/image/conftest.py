"""A table of what became of each test of the image, at the end of the run."""

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [
        report
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        if report.when == "call" and "tests/image" in report.nodeid
    ]
    if reports:
        terminalreporter.section("from the flashed image")
    for report in reports:
        name = report.nodeid.rpartition("::")[2].removeprefix("test_").replace("_", " ")
        terminalreporter.write_line(f"{report.outcome:8}{report.duration:6.0f} s  {name}")
