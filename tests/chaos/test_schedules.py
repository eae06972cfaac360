"""Seeded schedules of arrivals, faults and kills at every commit point and every request, in one process."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from actionwatch.base.delivery import DeliveryStatus
from tests.chaos.killing import MortalDatabase
from tests.chaos.schedules import NATURES, Tally, play

DEFAULT = 80  # about 20 s; what a change to the tail breaks shows within a few dozen


@pytest.fixture
def mortal() -> Iterator[MortalDatabase]:
    """Open a store that may die, in memory where there is such a folder: its disk is not what is tested."""
    shared = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=shared if shared.is_dir() else None))
    database = MortalDatabase(folder)
    yield database
    database.close()
    shutil.rmtree(folder)


def test_schedules(mortal: MortalDatabase, soak: int, first_seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    """A record is lost or doubled, a window claims to be complete and is not, an alert opens twice or a delivery never ends."""
    tally, wrong = Tally(), list[str]()
    for seed in range(first_seed, first_seed + (soak or DEFAULT)):
        wrong += play(seed, mortal, tally)
    with capsys.disabled():
        print(f"\nchaos: {tally.line()}")
    assert not wrong, "replay one with --soak 1 --soak-from SEED:\n" + "\n".join(wrong[:20])
    if not soak:  # one schedule shows nothing about what the others contain
        assert tally.kills
        assert set(DeliveryStatus) <= tally.states
        assert {"leased", "fallback", "held digest", "collapsed storm"} <= tally.states
        assert {f"suppressed {reason}" for reason in ("silence", "mute")} <= tally.states


@pytest.mark.parametrize("seed", [8, 15, 18, 21])
def test_replay(mortal: MortalDatabase, seed: int) -> None:
    """The same seed gives another schedule, or a schedule that once went wrong does so again."""
    tallies = [Tally(), Tally()]
    assert [play(seed, mortal, tally) for tally in tallies] == [[], []]
    assert tallies[0] == tallies[1]


def test_natures_are_faults() -> None:
    """A nature of the upstream is spelt so that the emulator does not know it."""
    from actionwatch.emulator.faults.fault import parse_fault

    assert all(parse_fault(text) for nature in NATURES for text in nature)
