"""Seeded schedules of records, faults and kills at every commit and every request, in one process."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from actionwatch.base.delivery import DeliveryStatus
from tests.chaos.log_reader import StalledReader, stalled_reader
from tests.chaos.schedules import Tally, play
from tests.simulation.killing import MortalDatabase
from tests.simulation.upstream_faults import CHANGES, NATURES
from tests.unit.text.test_logs import restored_logging

__all__ = ["restored_logging"]

# About 20 s of CPU: a mistake in the tail shows within a few dozen.
# The last ones have dead letters, leases, fallbacks and messages that a silence stops.
SEEDS = (*range(40), 51, 201)


@pytest.fixture
def mortal() -> Iterator[MortalDatabase]:
    """Open a store whose process can die, in memory if possible, because the disk is not tested."""
    shared = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=shared if shared.is_dir() else None))
    database = MortalDatabase(folder)
    yield database
    database.close()
    shutil.rmtree(folder)


@pytest.fixture
def log() -> Iterator[StalledReader]:
    """Log to somebody who reads only at the end of a schedule."""
    with stalled_reader() as reader:
        yield reader


def test_schedules_lose_and_repeat_nothing(
    mortal: MortalDatabase, log: StalledReader, soak: int, first_seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """No record is lost or doubled, no window is proved wrongly, no alert opens twice, and every delivery ends."""
    tally, wrong = Tally(), list[str]()
    for seed in range(first_seed, first_seed + soak) if soak else SEEDS:
        wrong += play(seed, mortal, log, tally)
    with capsys.disabled():
        print(f"\nchaos: {tally.line()}")
    assert not wrong, "replay one with --soak 1 --soak-from SEED:\n" + "\n".join(wrong[:20])
    if not soak:  # one schedule shows nothing about the contents of the others
        assert tally.kills
        assert min(tally.field_changes, tally.stores_moved, tally.lines_dropped) > 0
        assert set(DeliveryStatus) <= tally.states
        assert {"leased", "fallback", "held digest", "collapsed storm"} <= tally.states
        assert {f"suppressed {reason}" for reason in ("silence", "mute")} <= tally.states


@pytest.mark.parametrize("seed", [8, 15])  # without and with steps of the clock, reloads and decisions
def test_seed_repeats_its_schedule(mortal: MortalDatabase, log: StalledReader, seed: int) -> None:
    """The same seed gives the same schedule."""
    tallies = [Tally(), Tally()]
    assert [play(seed, mortal, log, tally) for tally in tallies] == [[], []]
    assert tallies[0] == tallies[1]


def test_properties_of_the_upstream_are_known_faults() -> None:
    """The emulator knows every permanent property."""
    from actionwatch.emulator.faults.fault import parse_fault

    assert all(parse_fault(text) for nature in (*NATURES, *CHANGES) for text in nature)
