"""What `check` says of a link, held against what goes over it."""

from pathlib import Path

import pytest

from gateway import clock
from gateway.core import schedule
from gateway.errors import ConfigurationError
from gateway.host import check, config, link_share
from gateway.transmission import model
from tests.working_meter import START_MS, WorkingMeter

KEY = "0123456789abcdef0123"
MINUTE = 60_000
HOUR = 60 * MINUTE
FROM = 6 * MINUTE  # what piled up has been read
LASTS = 14 * MINUTE  # over a full hour, at which what is rare is read


def written(directory: Path, lines: str) -> Path:
    key = directory / "meter.key"
    key.write_text(KEY)
    key.chmod(0o600)
    file = directory / "gateway.toml"
    file.write_text(
        '[broker]\nurl = "mqtt://127.0.0.1:1883"\ncustody = "broker"\n[[meter]]\nname = "m1"\n'
        'port = "/dev/ttyUSB0"\n' + lines
    )
    return file


def planned(directory: Path, lines: str) -> link_share.Plan:
    return link_share.plan(config.load(written(directory, lines)).meter[0])


def slots(interval_ms: int, offset_ms: int) -> int:
    begin = START_MS + FROM
    return (begin + LASTS - 1 - offset_ms) // interval_ms - (begin - 1 - offset_ms) // interval_ms


@pytest.mark.parametrize(
    ("port", "security", "lines"),
    [
        ("mep", "digest", 'key_file = "meter.key"\n'),
        ("mep", "tls", 'key_file = "meter.key"\nsecurity = "tls"\n'),
        ("optical", "digest", 'protocol = "optical"\npassword_file = "meter.key"\n'),
    ],
)
def test_it_is_what_the_line_carries(port: str, security: str, lines: str, tmp_path: Path, figures):
    working = WorkingMeter("4.30", port, security=security, history_days=1, life="quiet")

    async def script() -> None:
        await clock.sleep_ms(FROM + LASTS)

    working.run(script)
    seen = [one for one in working.exchanges if FROM <= one.began_ms < FROM + LASTS]
    spacing = 100 if port == "mep" else 0
    plan = planned(tmp_path, lines)
    expected = messages = 0
    for (kind, interval, offset, *_), row in zip(schedule.DEFAULT, plan.rows, strict=False):
        share = slots(interval, offset) * interval / HOUR
        expected += share * row.line_ms
        messages += share * row.messages
        line_ms = sum(one.line_ms(spacing) for one in seen if one.kind == kind)
        # Alarms and present values begin sessions; M-Bus devices have much to tell or little.
        if share and kind != model.MBUS and not (port == "optical" and kind in (model.ALARM, model.PRESENT)):
            assert abs(line_ms - share * row.line_ms) <= 0.15 * line_ms, model.KIND_NAMES[kind]
    if port == "optical":
        expected += LASTS / HOUR * plan.rows[-1].line_ms
    measured = sum(one.line_ms(spacing) for one in seen)
    figures(
        f"{port}, {security}, in {LASTS // MINUTE} min: {len(seen)} messages, {measured / 1000:.1f} s; "
        f"as `check` has it: {messages:.0f}, {expected / 1000:.1f} s"
    )
    assert abs(measured - expected) <= 0.15 * measured
    assert working.task.problems == {}
    assert {job.missed for job in working.task.scheduler.jobs} == {0}


def test_the_table_names_each_kind_and_the_sum(tmp_path: Path):
    lines = check.summary(written(tmp_path, 'key_file = "meter.key"\n'))
    table = [line.split() for line in lines if line.endswith(" %")]
    assert [line[0] for line in table] == [
        "alarms", "present", "registers", "clock", "load", "events", "mbus", "self", "in",
    ]  # fmt: skip
    shares = [float(line[-2]) for line in table]
    assert shares[-1] == pytest.approx(sum(shares[:-1]), abs=0.4)
    assert shares[-1] == pytest.approx(sum(float(line[-3]) for line in table[:-1]) / 36, abs=0.1)
    assert sum(int(line[-4]) for line in table[:-1]) == int(table[-1][-4])
    assert not [line for line in lines if "warning" in line]


def test_more_than_the_link_can_carry_is_refused(tmp_path: Path):
    file = written(tmp_path, 'key_file = "meter.key"\nbaud = 1200\n')
    assert "an alarm in the meter is published within" in "\n".join(check.summary(file))
    file = written(tmp_path, 'key_file = "meter.key"\nbaud = 1200\n[meter.schedule]\npresent = "2s"\n')
    with pytest.raises(ConfigurationError, match=r"m1: its schedule needs \d{3} % of the time of its link"):
        check.summary(file)


def test_a_faster_alarm_is_had_by_exceeding_the_guides_advice(tmp_path: Path):
    usual = planned(tmp_path, 'key_file = "meter.key"\n')
    assert usual.alarm_ms is not None and usual.alarm_ms <= 5000
    assert usual.reads_per_hour == schedule.READS_PER_HOUR
    fast = planned(tmp_path, 'key_file = "meter.key"\nalarm_latency = "2s"\n')
    assert fast.alarm_ms is not None and fast.alarm_ms <= 2000
    assert fast.reads_per_hour >= fast.messages > schedule.READS_PER_HOUR
    said = "\n".join(check.summary(tmp_path / "gateway.toml"))
    assert "exceeds the guide's advice" in said and "published within 2.0 s" in said


@pytest.mark.parametrize("lines", ["baud = 2400\n", '[meter.schedule]\nalarms = "off"\n'])
def test_one_that_can_not_be_had_is_refused(tmp_path: Path, lines: str):
    with pytest.raises(ConfigurationError, match="m1: alarm_latency"):
        planned(tmp_path, 'key_file = "meter.key"\nalarm_latency = "2s"\n' + lines)
