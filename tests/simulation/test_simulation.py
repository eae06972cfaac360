"""Schedules of the simulator: nothing is lost, doubled, stuck, silent or proved wrongly, whatever happens to the service."""

from __future__ import annotations

import pytest

from actionwatch.emulator.faults.fault import parse_fault
from tests.simulation.__main__ import play_all
from tests.simulation.upstream_faults import CHANGES, NATURES

_SCHEDULES = 300
_PORTIONS = 20  # tests, so that workers share them


@pytest.mark.parametrize("portion", range(_PORTIONS))
def test_schedules_keep_every_promise(portion: int, soak: int, first_seed: int) -> None:
    """No schedule loses, doubles or forgets anything, and processes die and messages are sent in each portion."""
    count = max((soak or _SCHEDULES) // _PORTIONS, 1)
    first = first_seed + portion * count
    tally, failed = play_all(range(first, first + count))
    assert not failed, f"replay one with `python -m tests.simulation SEED`: {failed}"
    assert min(tally.kills, tally.messages) > 0


def test_the_seeds_judge_what_retention_leaves() -> None:
    """A promise is tested only where the schedules come to it."""
    tally, failed = play_all([5, 13])
    assert not failed
    assert tally.retentions > 0


def test_seed_repeats_its_schedule() -> None:
    """The same seeds give the same totals."""
    assert play_all(range(4)) == play_all(range(4))


def test_properties_of_the_upstream_are_known_faults() -> None:
    """The emulator knows every permanent property."""
    assert all(parse_fault(text) for nature in (*NATURES, *CHANGES) for text in nature)
