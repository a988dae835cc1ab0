"""A short chaos run: meter, gateway, broker and cloud as processes, and a few faults (`make chaos`: many)."""

from tests.chaos import faults
from tests.chaos.run import play
from tests.chaos.stage import Stage

KINDS = (
    faults.KillGateway,
    faults.WipeBroker,
    faults.CutNet,
    faults.Noise,
    faults.Restore,
    faults.MeterPower,
)


async def test_nothing_is_lost_doubled_or_altered(tmp_path):
    said = []
    stage = Stage(tmp_path, seed=3, days=0.05, scale=1200, pace=40, names=("elm",), settling=600)
    run = await play(stage, None, KINDS, linger_s=200, say=said.append)
    assert run.caught_up and not run.wrong, run.report() + "\n".join(said)
    assert all(run.hits.values())
    assert run.verdicts["elm"]["interval"].rows > 96
