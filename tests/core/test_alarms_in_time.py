"""From an alarm in the meter to its frame, while a backlog of ten days is read over a line of 9600 baud."""

from random import Random

import pytest

from gateway import clock
from gateway.transmission import model
from tests.working_meter import WorkingMeter

ALARMS = ("cover removed", "reverse energy", "phase loss", "general error")


@pytest.mark.parametrize(
    ("firmware", "port", "interval_ms", "within_ms"),
    [("3.10", "mep", 3000, 5000), ("4.30", "mep", 1000, 2000), ("4.30", "optical", 3000, 5000)],
)
def test_they_overtake_the_backlog(firmware: str, port: str, interval_ms: int, within_ms: int, figures):
    working = WorkingMeter(firmware, port, history_days=10, life="busy")
    chance = Random(f"{firmware} {port}")
    changed: list[tuple[int, bool]] = []  # when, and whether the load profile was being read

    async def script() -> None:
        await clock.sleep_ms(4000)
        for n in range(24):
            await clock.sleep_ms(chance.randrange(1500, 4500))
            working.meter.happen(
                "clear_alarm" if n // len(ALARMS) % 2 else "set_alarm", ALARMS[n % len(ALARMS)]
            )
            working.meter.supply()
            reading = [running[1] for running in working.task._running]
            changed.append((working.now, model.LOAD_PROFILE in reading))
        await clock.sleep_ms(within_ms)

    working.run(script, intervals_ms={model.ALARM: interval_ms}, reads_per_hour=7200)
    told = [at for kind, at in working.appended if kind == model.ALARM]
    late = [min(at for at in told if at >= since) - since for since, _ in changed]
    figures(f"firmware {firmware}, {port}: an alarm is in the outbox after {max(late)} ms at most")
    assert max(late) <= within_ms
    assert sum(overtaking for _, overtaking in changed) >= 8
    assert {job.missed for job in working.task.scheduler.jobs} == {0}
    assert working.task.problems == {}
