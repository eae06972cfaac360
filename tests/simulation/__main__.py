"""Play schedules: `python -m tests.simulation SEED`, or `FIRST-LAST`, on all cores."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Sequence

from tests.simulation.plan import Schedule, schedule_of
from tests.simulation.simulation import Laboratory, Simulation, laboratory
from tests.simulation.tally import Tally

_PORTION = 50  # schedules that one process plays before it reports


def play_all(seeds: Sequence[int]) -> tuple[Tally, dict[int, list[str]]]:
    """Play the schedules of seeds. Return the totals, and what is wrong with each seed that fails."""
    tally, failed = Tally(), dict[int, list[str]]()
    with laboratory() as shared:
        for seed in seeds:
            if wrong := play(schedule_of(seed), shared, tally):
                failed[seed] = wrong
    return tally, failed


def play(schedule: Schedule, shared: Laboratory, tally: Tally) -> list[str]:
    """Play one schedule. Return what is wrong; an exception too."""
    try:
        return Simulation(schedule, shared, tally).play()
    except Exception as exc:
        place = traceback.extract_tb(exc.__traceback__)[-1]
        return [f"raised {exc!r} at {place.filename}:{place.lineno}"]


def shrink(schedule: Schedule, shared: Laboratory) -> Schedule:
    """Leave out events as long as the schedule fails, the last ones first."""
    for event in reversed(schedule.events):
        if play(smaller := schedule.without(event), shared, Tally()):
            schedule = smaller
    return schedule


def explain(seed: int) -> int:
    """Play one schedule, and a smaller one that fails too. Return 1 if it fails."""
    with laboratory() as shared:
        wrong = play(schedule_of(seed), shared, Tally())
        if not wrong:
            return 0
        smaller = shrink(schedule_of(seed), shared)
        print(f"seed {seed}:", *wrong, "with fewer events:", smaller, *play(smaller, shared, Tally()), sep="\n  ")
    return 1


def main() -> int:
    """Play what the arguments name. Return 1 if a schedule fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seeds", help="a seed, or FIRST-LAST")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    first, _, last = options.seeds.partition("-")
    if not last:
        return explain(int(first))
    seeds = range(int(first), int(last) + 1)
    portions = [seeds[start : start + _PORTION] for start in range(0, len(seeds), _PORTION)]
    total, failures, began = Tally(), 0, time.monotonic()
    with multiprocessing.Pool(options.workers) as pool:
        for tally, failed in pool.imap_unordered(play_all, portions):
            total.add(tally)
            failures += len(failed)
            for seed, wrong in failed.items():
                print(f"seed {seed}:", *wrong, sep="\n  ", flush=True)
    rate = len(seeds) / (time.monotonic() - began)
    print(f"{total.line()}; {failures} seeds fail; {rate:.1f} schedules a second")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
