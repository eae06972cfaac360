"""The state of one rule: which hits it takes, and how many it keeps."""

from __future__ import annotations

import pytest

from actionwatch.rules.correlations.live.context import StreamBounds, contexts_of
from actionwatch.rules.correlations.live.rule_state import RuleState
from actionwatch.rules.model import Threshold
from tests.unit.rules.correlation.kit import at, hit, make

GROUP, OTHER = ("eve",), ("bob",)


RULE = make(threshold=Threshold("gte", 2), group_by=("userName",))
(CONTEXT,) = contexts_of([RULE], StreamBounds(begin=lambda _: at(-10_000), since=lambda _: at(-10_000)))


@pytest.fixture
def state() -> RuleState:
    """Make the state of a rule that counts two records in a group, and knows all hits from long before minute 0 on."""
    return RuleState(CONTEXT, None, 10, lambda failure: pytest.fail(str(failure)))


def test_a_new_state_keeps_nothing(state: RuleState) -> None:
    """Without hits nothing is kept, nothing was evicted, and nothing is due."""
    assert (state.kept, state.evicted, state.newest) == (0, 0, None)
    assert not state.is_due(at(1000))


def test_hits_are_counted_when_they_come_and_when_they_go(state: RuleState) -> None:
    """The state counts the hits that it keeps, and the newest time."""
    first, second = hit(1, key="a"), hit(2, key="b")
    assert state.insert(GROUP, second)
    assert state.insert(GROUP, first)
    assert (state.kept, state.newest) == (2, at(2))
    assert state.remove(GROUP, first) is True
    assert (state.kept, state.is_due(None)) == (1, True)
    assert state.remove(GROUP, first) is True, "a hit that is gone came in time, and changes nothing"
    assert state.remove(OTHER, first) is True, "so did one of a group that nobody knows"
    assert state.kept == 1


def test_hits_before_what_is_known_come_too_late(state: RuleState) -> None:
    """A hit from before the time from which all hits are known can be neither taken nor removed."""
    assert CONTEXT.complete_from is not None
    early = hit((CONTEXT.complete_from - at(0)).total_seconds() / 60 - 1, key="early")
    assert state.insert(GROUP, early) is False
    assert state.remove(GROUP, early) is False
    assert (state.kept, state.is_due(None)) == (0, False)


def test_a_group_that_waits_is_due_at_its_time() -> None:
    """An absence waits for verified time: it is due when that reaches the deadline, and never while none is known."""
    absence = make(threshold=Threshold("lt", 1), expected=((),))
    (context,) = contexts_of([absence], StreamBounds(begin=lambda _: at(0)))
    state = RuleState(context, None, 10, lambda failure: pytest.fail(str(failure)))
    assert [state.is_due(verified) for verified in (None, at(0), at(100_000))] == [False, False, True]
