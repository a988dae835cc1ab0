"""The gateway as it is, but it notes how late each job begins and ends: `python -m tests.many.gateway FILE
run -c CONFIGURATION` writes that to FILE when it is told to end, and begins anew with each SIGUSR1."""

import json
import signal
import sys
from collections import defaultdict
from pathlib import Path

from gateway import clock
from gateway.core.meter_task import MeterTask
from gateway.core.scheduler import Job
from gateway.host import cli
from gateway.transmission import model

_tasks: list[MeterTask] = []
_late: dict[int, list[tuple[int, int]]] = defaultdict(list)
_missed_before: dict[int, int] = {}


def _missed() -> dict[int, int]:
    missed: dict[int, int] = defaultdict(int)
    for task in _tasks:
        for job in task.scheduler.jobs:
            missed[job.kind] += job.missed
    return missed


def _begin(*_: object) -> None:
    _late.clear()
    _missed_before.clear()
    _missed_before.update(_missed())


def _watch() -> None:
    real_init, real_run, real_take = MeterTask.__init__, MeterTask._run_job, Job.take

    def init(self: MeterTask, *arguments: object, **options: object) -> None:
        real_init(self, *arguments, **options)  # type: ignore[arg-type]
        _tasks.append(self)

    def take(self: Job, slot: int) -> None:
        real_take(self, slot)
        self.due_ms = self.starts_ms(slot)  # type: ignore[attr-defined]

    async def run_job(self: MeterTask, job: Job) -> None:
        due, job.due_ms = getattr(job, "due_ms", None), None  # type: ignore[attr-defined]
        began = clock.utc_ms()
        await real_run(self, job)
        if due is not None:
            _late[job.kind].append((began - due, clock.utc_ms() - due))

    MeterTask.__init__, MeterTask._run_job, Job.take = init, run_job, take  # type: ignore[method-assign]


def _found() -> dict[str, object]:
    missed = _missed()
    return {
        model.KIND_NAMES[kind]: {
            "began": sorted(began for began, _ in _late[kind]),
            "ended": sorted(ended for _, ended in _late[kind]),
            "missed": missed[kind] - _missed_before.get(kind, 0),
        }
        for kind in missed
    }


def main() -> None:
    file = Path(sys.argv.pop(1))
    _watch()
    signal.signal(signal.SIGUSR1, _begin)
    try:
        cli.main()
    finally:
        file.write_text(json.dumps(_found()))


if __name__ == "__main__":
    main()
