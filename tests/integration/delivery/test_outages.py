"""One hour of trouble at a receiver, on real sockets and in virtual time: the results of `outages.py` must be good."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from actionwatch.store.database import Database
from tests.integration.delivery import outages
from tests.integration.delivery.outages import TROUBLES

SEEN_FAILING = ("down", "resetting", "busy", "after", "hanging", "killed")
"""Troubles that keep a receiver from being known to have taken anything for long enough to use its fallback."""
MAY_REPEAT = ("resetting", "after", "killed")
"""Troubles in which the far end takes what we cannot know it took."""
MINUTES = 2
"""From one record to the next: each more often would cost twice as much, and show the same."""
CASES = [  # `minute` is as `after` for a sender, which gives up before both
    *((name, "webhook", name in SEEN_FAILING) for name in TROUBLES if name != "minute"),
    ("hanging", "slack", True),
    ("after", "email", True),
]


@pytest.mark.parametrize(("name", "kind", "is_backed"), CASES)
def test_hour_of_trouble_loses_nothing(
    new_store: Callable[[], Database], name: str, kind: str, is_backed: bool
) -> None:
    """Every message arrives unchanged and in order.

    Repeats happen only if unavoidable, and the other receiver is not affected.
    """
    minutes = 1 if TROUBLES[name].is_killed else MINUTES  # so many attempts are seen failing
    result = outages.run(TROUBLES[name], kind, new_store(), is_backed=is_backed, minutes=minutes)
    assert (result.lost, result.reordered, result.altered, result.delayed) == (0, 0, 0, 0), result
    assert result.is_counted, result
    if name not in MAY_REPEAT:
        assert result.repeated == 0, result
    if is_backed and name in SEEN_FAILING:
        assert result.stood_in == 16, result  # four users, each with four alerts
        assert result.longest_wait <= timedelta(minutes=12), result  # `fallback_after` and the step of this test


def test_documented_table_contains_every_trouble() -> None:
    """The documentation omits a kind of trouble, or a row of its table reports a loss."""
    page = (Path(__file__).parents[3] / "docs" / "receivers.md").read_text(encoding="utf-8")
    for trouble in TROUBLES.values():
        (row,) = re.findall(rf"^\| {re.escape(trouble.title)} \| (.*) \|$", page, re.MULTILINE)
        _, lost, reordered, _, delayed, _ = row.split(" | ")
        assert (lost, reordered, delayed) == ("0", "0", "0"), row
