"""A short share of `make backlog`."""

from pathlib import Path

from tests.backlog import run as backlog


def test_memory_stays_flat_and_everything_arrives_in_order(tmp_path: Path):
    told = backlog.run(6 * 3600, tmp_path, rate=2)
    print(told.rss, told.late)
    assert told.rss[-1] - told.rss[1] < 2048
    # The backlog of present values is what lasts; the other classes have long been through.
    assert backlog.REGISTERS in told.late
    assert told.late[backlog.REGISTERS] <= 10
    assert told.late[backlog.PROFILE] <= 10
