"""The matcher switches to other rules between two batches, and stops after the batch in progress."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import pytest

from actionwatch.base.model import Match, Record
from actionwatch.matching.correlating import Correlating
from actionwatch.matching.matcher import RecordMatcher
from actionwatch.store import positions
from tests.builders import make_record
from tests.integration.kit import KindEngine, KindRule, Post

OLD = KindRule(name="old")
NEW = KindRule(name="new")


class HookedEngine(KindEngine):
    """Rules that call `hook` once, while they evaluate the next batch."""

    def __init__(self, rule: KindRule, hook: Callable[[], object] = lambda: None) -> None:
        super().__init__(rule)
        self.hook = hook

    def evaluate(self, batch: Sequence[Record]) -> Iterable[Match]:
        """Call the hook once, then evaluate."""
        hook, self.hook = self.hook, lambda: None
        hook()
        return super().evaluate(batch)


def rules_of_alerts(post: Post) -> list[str]:
    """Name the rules of the alerts, in the order of their records."""
    return [alert.rule.name for alert in sorted(post.alerts().values(), key=lambda alert: alert.first_at)]


def store_three(post: Post) -> None:
    post.store(*(make_record(number, minutes=number) for number in range(3)))


@pytest.mark.parametrize("is_before", [True, False])
def test_other_rules_match_from_the_next_batch_on(post: Post, is_before: bool) -> None:
    """Rules that `use` names match the next batch of the same run, or the next run."""
    store_three(post)
    matcher = RecordMatcher(
        post.database,
        HookedEngine(OLD, lambda: None if is_before else matcher.use(KindEngine(NEW), None)),
        post.addressing,
        post.clock,
        batch_size=1,
    )
    if is_before:
        matcher.use(KindEngine(NEW), None)
    assert matcher.run_once() == 3
    assert rules_of_alerts(post) == (["new"] * 3 if is_before else ["old", "new", "new"])
    post.store(make_record(9, minutes=9))
    assert matcher.run_once() == 1
    assert rules_of_alerts(post)[-1] == "new"


def test_the_last_of_several_switches_counts(post: Post) -> None:
    """If rules change several times between two batches, only the last ones match."""
    store_three(post)
    matcher = RecordMatcher(post.database, KindEngine(OLD), post.addressing, post.clock)
    matcher.use(KindEngine(OLD), Correlating((), post.addressing))
    matcher.use(KindEngine(NEW), Correlating((), post.addressing))
    assert matcher.run_once() == 3
    assert rules_of_alerts(post) == ["new"] * 3


@pytest.mark.parametrize("is_switched", [True, False])
def test_a_stopped_run_ends_after_its_batch(post: Post, is_switched: bool) -> None:
    """`stop` ends the run after the batch in progress, even if rules changed too; the position is that of the batch."""
    store_three(post)

    def stop() -> None:
        if is_switched:
            matcher.use(KindEngine(NEW), None)
        matcher.stop()

    matcher = RecordMatcher(post.database, HookedEngine(OLD, stop), post.addressing, post.clock, batch_size=1)
    assert matcher.run_once() == 1
    assert rules_of_alerts(post) == ["old"]
    with post.database.read() as connection:
        assert positions.read_both(connection) == (1, 1)
