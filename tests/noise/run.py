"""`make noise SEED=1 RUNS=200 [PORT=mep|optical] [SECURITY=digest|rc4|tls] [FAULT=corrupt=1%]`: so many days
of load profile and all events, each from a meter behind its own bad line, compared with what the meter has.
"""

import argparse
import multiprocessing
import os
import sys
import time
from functools import partial

from gateway.errors import ConfigurationError
from gateway.simulator.faulty import LineFaults
from tests.noise import household
from tests.noise.household import Outcome

_TOLD = 3  # of what is wrong with a run


def one(port: str, security: str, faults: str, hours: int, seed: int) -> Outcome:
    """Runs in a process of its own."""
    return household.run(port, security, faults, seed, hours)


def line(outcome: Outcome) -> str:
    told = outcome.wrong + [f"missing {key}" for key in outcome.missing]
    told += [f"doubled {key}" for key in outcome.doubled]
    more = f" and {len(told) - _TOLD} more" if len(told) > _TOLD else ""
    return (
        f"seed {outcome.seed}: {outcome.intervals} intervals, {outcome.events} events in "
        f"{outcome.ms // 1000} s; line busy {outcome.air_ms / 1000:.1f} s, {outcome.faults} faults; "
        f"{outcome.tried} exchanges tried, "
        f"{outcome.succeeded} succeeded, {outcome.kept} bytes kept, {outcome.connections} connections; "
        + ("as the meter has it" if outcome.good else "; ".join(told[:_TOLD]) + more)
    )


def totals(outcomes: list[Outcome]) -> str:
    runs = len(outcomes)
    air = sum(one.air_ms for one in outcomes) / 1000
    kept = sum(one.kept for one in outcomes)
    tried = sum(one.tried for one in outcomes)
    succeeded = sum(one.succeeded for one in outcomes)
    seconds = sorted(one.ms // 1000 for one in outcomes)
    return (
        f"{runs} runs: {sum(one.good for one in outcomes)} complete and correct; "
        f"{sum(len(one.wrong) for one in outcomes)} wrong values, "
        f"{sum(len(one.missing) for one in outcomes)} missing, {sum(len(one.doubled) for one in outcomes)} "
        f"doubled, {sum(one.key_refused for one in outcomes)} keys taken for refused\n"
        f"a run: {sum(seconds) // runs} s ({seconds[0]} to {seconds[-1]}), line busy {air / runs:.1f} s; "
        f"{tried // runs} exchanges tried, {succeeded // runs} succeeded ({100 * succeeded // tried} %); "
        f"{kept // runs} bytes kept, {kept / air:.0f} for each second that the line was busy; "
        f"{sum(one.connections for one in outcomes)} connections in all"
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="make noise", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--port", choices=("mep", "optical"), default="mep")
    parser.add_argument("--security", choices=("digest", "rc4", "tls"), default="digest")
    parser.add_argument("--fault", default="corrupt=1%", help="as for `simulate --fault`, without a seed")
    parser.add_argument("--hours", type=int, default=24, help="virtual time after which a run is given up")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    try:
        LineFaults.parse(arguments.fault)
    except ConfigurationError as error:
        parser.error(str(error))
    if arguments.runs < 1:
        parser.error("at least one run")
    begin = time.monotonic()
    outcomes = []
    work = partial(one, arguments.port, arguments.security, arguments.fault, arguments.hours)
    seeds = range(arguments.seed, arguments.seed + arguments.runs)
    with multiprocessing.Pool(arguments.processes) as pool:
        for outcome in pool.imap(work, seeds):
            outcomes.append(outcome)
            print(line(outcome), flush=True)
    where = arguments.port if arguments.port == "optical" else f"mep, {arguments.security}"
    print(f"\n{where}, {arguments.fault}, seeds {seeds[0]} to {seeds[-1]}, {time.monotonic() - begin:.0f} s")
    print(totals(outcomes))
    return 0 if all(outcome.good for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
