"""Schedules of the simulator: nothing is lost, doubled, stuck, silent or proved wrongly, whatever happens to the service."""

from __future__ import annotations

import pytest

from actionwatch.base.delivery import DeliveryState
from actionwatch.emulator.faults.fault import parse_fault
from tests.simulation.__main__ import play_all
from tests.simulation.upstream_faults import CHANGES, NATURES

_SCHEDULES = 300
_PORTIONS = 6  # tests, so that workers share them; 50 schedules are enough to reach every state of a row


@pytest.mark.parametrize("portion", range(_PORTIONS))
def test_schedules_keep_every_promise(portion: int, soak: int, first_seed: int) -> None:
    """No schedule loses, doubles or forgets anything, although the schedules come to every state of a row of deliveries."""
    count = max(soak, _SCHEDULES) // _PORTIONS
    first = first_seed + portion * count
    tally, failed = play_all(range(first, first + count))
    assert not failed, f"replay one with `python -m tests.simulation SEED`: {failed}"
    assert min(tally.kills, tally.messages, tally.behind, tally.retentions) > 0
    if first_seed == 0:  # other seeds may miss a rare state
        assert tally.states >= {"leased", "fallback sent", "referenced", *(state.name for state in DeliveryState)}


def test_seed_repeats_its_schedule() -> None:
    """The same seeds give the same totals."""
    assert play_all(range(4)) == play_all(range(4))


def test_properties_of_the_upstream_are_known_faults() -> None:
    """The emulator knows every permanent property."""
    assert all(parse_fault(text) for nature in (*NATURES, *CHANGES) for text in nature)
