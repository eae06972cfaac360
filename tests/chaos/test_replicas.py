"""Three replicas on one PostgreSQL, killed, frozen, cut off and moved in time: nothing is lost, and nothing comes twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos import replicas
from tests.chaos.replicas import cluster

ROUNDS = 2  # `python -m tests.chaos.replicas 300` runs more


def test_rounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After each round of faults, every action has its alerts once, and each message one id and one content."""
    monkeypatch.setattr(replicas, "OUTAGES", (0.0, 2.0, 7.0))  # the long run has outages of a minute
    with cluster(tmp_path, seed=7) as running:
        for _ in range(ROUNDS):
            running.round()
    assert running.tally.rounds == ROUNDS
