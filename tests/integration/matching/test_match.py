"""Records become alerts and deliveries: once per rule, all or nothing, with any batching."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actionwatch.alerts.policy import ReceiverPolicy
from actionwatch.alerts.routes import Route
from actionwatch.base.model import Alert, Entity, Event, Level, Record, RuleName
from actionwatch.matching.addressing import Addressing, Steps
from actionwatch.matching.matcher import RecordMatcher
from actionwatch.rules.engine import RuleFailure
from actionwatch.store import alert_history, alerts, positions, records
from actionwatch.store.database import Database
from actionwatch.text.matchers import parse_matcher
from tests.builders import NOON, QUARTER, Clock, make_record, open_database
from tests.integration.kit import KindEngine, KindRule, Post, Sender
from tests.positions import move_to

GROUPED = KindRule(realert=QUARTER)
SINGLE = KindRule(name="any_delete")


def snapshot(database: Database) -> dict[str, Any]:
    """Return everything that matching writes, without times of the clock."""
    with database.read() as connection:
        found = alerts.read_newest(connection, 10_000)
        shown = records.read_of_alerts(connection, [alert.id for alert in found], 10_000)
        return {
            alert.id: (alert.count, alert.level, alert.first_at, alert.last_at, [one.key for one in shown[alert.id]])
            for alert in found
        }


def test_rule_without_grouping_opens_one_alert_per_record(post: Post) -> None:
    """Without grouping each record opens its own alert, with one message for each receiver."""
    post.store(make_record(1), make_record(2), make_record(3, action_kind="READ"))
    assert post.matcher(SINGLE).run_once() == 2
    assert post.states() == ["hook opened pending"] * 2
    assert all(alert.count == 1 for alert in post.alerts().values())


def test_each_matching_rule_opens_an_alert(post: Post) -> None:
    """A record that matches two rules opens an alert for each."""
    post.store(make_record())
    assert post.matcher(SINGLE, GROUPED).run_once() == 2


@pytest.mark.parametrize(
    ("minutes", "counts"),
    [
        ([0, 5, 15], [3]),
        ([0, -5, -15], [3]),
        ([0, 15.001], [1, 1]),
        ([0, -15.001], [1, 1]),
        ([0, 10, 20], [1, 2]),
    ],
)
def test_match_within_realert_joins(post: Post, minutes: list[float], counts: list[int]) -> None:
    """A match within `realert` of the alert's first record joins it, before or after. The window is never extended."""
    matcher = post.matcher(GROUPED)
    for number, at in enumerate(minutes):
        post.store(make_record(number, minutes=at))
        matcher.run_once()
    assert sorted(alert.count for alert in post.alerts().values()) == counts


def test_groups_have_separate_alerts(post: Post) -> None:
    """Records of another user, and of no user, have separate alerts."""
    post.store(make_record(1), make_record(2, user_name="bob"), make_record(3, user_name=None))
    assert post.matcher(GROUPED).run_once() == 3


def test_match_after_resolve_opens_a_new_alert(post: Post) -> None:
    """A match never joins a resolved alert."""
    post.store(make_record(1))
    matcher = post.matcher(GROUPED)
    matcher.run_once()
    (alert,) = post.alerts().values()
    resolve(post, alert)
    post.store(make_record(2, minutes=1))
    assert matcher.run_once() == 1
    assert len(post.alerts()) == 2


def resolve(post: Post, alert: Alert) -> None:
    """Resolve an alert like an operator."""
    from msgspec.structs import replace

    from actionwatch.base.model import Status

    resolved = replace(alert, status=Status.RESOLVED, resolved_by="eve", resolved_at=post.clock())
    with post.database.write() as connection:
        alerts.update(connection, resolved)
        post.addressing.resolve(connection, resolved, post.clock())


def test_backlog_does_not_alert(post: Post) -> None:
    """Records from before the start of the tail do not alert, and are not evaluated again."""
    post.store(make_record(1, is_backlog=True), make_record(2))
    engine = KindEngine(SINGLE)
    matcher = RecordMatcher(post.database, engine, post.addressing, post.clock)
    assert matcher.run_once() == 1
    assert matcher.run_once() == 0
    assert [record.id for record in engine.seen] == [2]


def test_alert_shows_the_longest_delay(post: Post) -> None:
    """An alert that a late record opened or joined shows the longest delay."""
    matcher = post.matcher(GROUPED)
    post.store(make_record(1))
    matcher.run_once()
    assert [alert.late_by for alert in post.alerts().values()] == [None]
    post.store(make_record(2, late_by=timedelta(hours=2)), make_record(3, late_by=timedelta(hours=1)))
    matcher.run_once()
    assert [alert.late_by for alert in post.alerts().values()] == [timedelta(hours=2)]


def test_alert_has_the_highest_level(post: Post) -> None:
    """An alert has the highest level of its matches, and keeps it."""
    rule = KindRule(realert=QUARTER, level=lambda record: Level[record.severity.upper()])
    matcher = post.matcher(rule)
    for number, severity in enumerate(("low", "critical", "medium")):
        post.store(make_record(number, severity=severity))
        matcher.run_once()
    assert [alert.level for alert in post.alerts().values()] == [Level.CRITICAL]


def test_failing_rule_stops_no_other_rule(post: Post) -> None:
    """If a rule fails on a record, the alerts of the other rules and the position are correct."""
    post.store(make_record())
    matcher = RecordMatcher(
        post.database,
        KindEngine(SINGLE, failures=[RuleFailure(RuleName("odd", "odd", ""), "key", "boom")]),
        post.addressing,
        post.clock,
    )
    assert matcher.run_once() == 1
    assert matcher.run_once() == 0


@pytest.mark.parametrize("batch_size", [1, 2, 2000])
def test_matching_again_changes_nothing(post: Post, batch_size: int) -> None:
    """Matching the same records again opens, counts and sends nothing, also after a resolve."""
    post.store(*(make_record(n, minutes=n * 4) for n in range(9)))
    post.matcher(GROUPED, SINGLE).run_once()
    resolve(post, next(iter(post.alerts().values())))
    before, rows = snapshot(post.database), post.rows()
    for _ in range(2):
        with post.database.write() as connection:
            move_to(connection, "match", 0)
        assert post.matcher(GROUPED, SINGLE, batch_size=batch_size).run_once() == 0
        assert snapshot(post.database) == before
        assert post.rows() == rows


@pytest.mark.parametrize(
    ("minutes", "batch_count"), [(range(-12, 0), 6), ([-9, -9, *range(-30, -20)], 4), ([90, 90, *range(1, 11)], 6)]
)
def test_older_records_are_matched_in_larger_batches(post: Post, minutes: Sequence[int], batch_count: int) -> None:
    """Each batch of records that are older than those before it folds their groups again, so that it takes more.

    A record of the future makes no others late.
    """
    matcher = post.matcher(GROUPED, batch_size=2)
    matcher.run_once()  # once, a matcher deletes what correlations have left
    begun = matcher.step_count
    post.store(*(make_record(number, minutes=at) for number, at in enumerate(minutes)))
    matcher.run_once()
    assert matcher.step_count - begun == batch_count


class FailingAddressing(Addressing):
    """Fails once after it wrote, for each named step."""

    def __init__(self, inner: Addressing, *steps: str) -> None:
        self._inner = inner
        self._steps = list(steps)

    def open(self, connection: Any, opened: Sequence[Steps], now: Any) -> None:
        """Write, then fail if requested."""
        self._inner.open(connection, opened, now)
        self._fail("open")

    def update(self, connection: Any, steps: Steps, now: Any) -> None:
        """Write, then fail if requested."""
        self._inner.update(connection, steps, now)
        self._fail("update")

    def _fail(self, step: str) -> None:
        if step in self._steps:
            self._steps.remove(step)
            raise RuntimeError(step)


def test_failed_batch_is_rolled_back_and_repeated(post: Post) -> None:
    """A batch that fails between two writes leaves nothing behind, and the next attempt completes it."""
    post.store(make_record(1))
    post.matcher(GROUPED).run_once()
    post.store(make_record(2, minutes=1), make_record(3, user_name="bob"))
    before, rows = snapshot(post.database), post.rows()
    failing = FailingAddressing(post.addressing, "open", "update")
    matcher = RecordMatcher(post.database, KindEngine(GROUPED), failing, post.clock)
    for _ in range(2):
        with pytest.raises(RuntimeError):
            matcher.run_once()
        with post.database.read() as connection:
            assert positions.read(connection, "match") == 1
        assert (snapshot(post.database), post.rows()) == (before, rows)
    assert matcher.run_once() == 1
    assert sorted(alert.count for alert in post.alerts().values()) == [1, 2]


# -- receivers ---------------------------------------------------------------------------------------------------------


def by_account(name: str) -> Route:
    """Make a route to the receiver that is named like the account."""
    return Route((name,), (parse_matcher(f"account={name}"),))


def routed(post: Post) -> None:
    """Route by account to `a` or `b`, and otherwise to `hook`."""
    post.senders = {name: Sender() for name in ("hook", "a", "b")}
    post.route = Route(("hook",), routes=(by_account("a"), by_account("b")))


@pytest.mark.parametrize("batch_size", [1, 2, 2000])
def test_each_match_adds_its_receivers(post: Post, batch_size: int) -> None:
    """Each match adds the receivers of its own record, in one batch or several; none is removed."""
    routed(post)
    post.store(*(make_record(n, minutes=n, account=Entity(name)) for n, name in enumerate(("a", "b", "c"))))
    post.matcher(GROUPED, batch_size=batch_size).run_once()
    assert post.states() == [f"{name} opened pending" for name in ("a", "b", "hook")]


def test_two_routes_to_one_receiver_create_one_message(post: Post) -> None:
    """Two routes that lead to one receiver create one message."""
    post.route = Route(("hook",), routes=(Route(("hook",), is_continued=True), Route(("hook",))))
    post.store(make_record())
    post.matcher(SINGLE).run_once()
    assert post.states() == ["hook opened pending"]


@pytest.mark.parametrize("batch_size", [1, 2000])
def test_delivery_below_min_level_is_created(post: Post, batch_size: int) -> None:
    """A delivery is also created below the receiver's `min_level`, because the gate decides when the message is due."""
    post.policies["hook"] = ReceiverPolicy(min_level=Level.HIGH)
    rule = KindRule(realert=QUARTER, level=lambda record: Level[record.severity.upper()])
    matcher = post.matcher(rule, batch_size=batch_size)
    post.store(make_record(1, severity="low"))
    matcher.run_once()
    assert post.states() == ["hook opened pending"]
    with post.database.read() as connection:
        history = [entry.what for entry in alert_history.read(connection, next(iter(post.alerts())))]
    assert "hook" in history
    post.store(make_record(2, severity="high"), make_record(3, severity="low"))
    matcher.run_once()
    assert post.states() == ["hook opened pending"]


def test_match_before_the_first_attempt_creates_no_message(post: Post) -> None:
    """Matches that join before the first attempt create no new message."""
    matcher = post.matcher(GROUPED)
    for number in range(3):
        post.store(make_record(number, minutes=number))
        matcher.run_once()
    assert [row.event for row in post.rows()] == [Event.OPENED]


# -- any batching ------------------------------------------------------------------------------------------------------


@contextmanager
def fresh_post() -> Iterator[Post]:
    """Make a pipeline with its own store, for each example."""
    with tempfile.TemporaryDirectory() as folder:
        database = open_database(Path(folder))
        try:
            yield Post(database, Clock(NOON))
        finally:
            database.close()


def match_in_batches(
    stored: Sequence[Record], sizes: Sequence[int], batch_size: int
) -> tuple[dict[str, Any], list[str]]:
    """Store and match records in batches of these sizes, and the rest at the end."""
    with fresh_post() as post:
        routed(post)
        matcher = post.matcher(GROUPED, SINGLE, KindRule("READ", "reads", QUARTER), batch_size=batch_size)
        start = 0
        for size in (*sizes, len(stored)):
            post.store(*stored[start : start + size])
            start += size
            matcher.run_once()
        return snapshot(post.database), post.states()


MANY = st.lists(
    st.builds(
        lambda number, minutes, kind, user, account: make_record(
            number, minutes=minutes, action_kind=kind, user_name=user, account=Entity(account)
        ),
        st.integers(1, 10**6),
        st.integers(0, 60),
        st.sampled_from(["DELETE_CLUSTER", "READ", "OTHER"]),
        st.sampled_from(["eve", None]),
        st.sampled_from(["a", "b", None]),
    ),
    max_size=14,
    unique_by=lambda record: record.key,
)


@settings(max_examples=20)
@given(stored=MANY, sizes=st.lists(st.integers(0, 5), max_size=4), batch_size=st.integers(1, 7))
def test_any_batching_gives_the_same_alerts(stored: list[Record], sizes: list[int], batch_size: int) -> None:
    """Records in the order of their times create the same alerts, ids and messages with any batching."""
    in_order = sorted(stored, key=lambda record: (record.occurred_at, record.key))
    assert match_in_batches(in_order, sizes, batch_size) == match_in_batches(in_order, [], 2000)


@settings(max_examples=20)
@given(stored=MANY, random=st.randoms(use_true_random=False))
def test_any_order_within_a_batch_gives_the_same_alerts(stored: list[Record], random: Any) -> None:
    """Records of one batch create the same alerts in any order."""
    shuffled = list(stored)
    random.shuffle(shuffled)
    assert match_in_batches(shuffled, [len(shuffled)], 2000)[0] == match_in_batches(stored, [len(stored)], 2000)[0]


@settings(max_examples=20)
@given(stored=MANY, sizes=st.lists(st.integers(0, 5), max_size=4))
def test_each_matching_record_is_in_one_alert(stored: list[Record], sizes: list[int]) -> None:
    """With any order and batching, each matching record is in exactly one alert, near the first record of that alert."""
    found, _ = match_in_batches(stored, sizes, 3)
    joined = [key for *_, keys in found.values() for key in keys]
    wanted = [record.key for record in stored if record.action_kind in ("DELETE_CLUSTER", "READ")]
    wanted += [record.key for record in stored if record.action_kind == "DELETE_CLUSTER"]
    assert sorted(joined) == sorted(wanted)
    assert all(count == len(keys) for count, *_, keys in found.values())
    times = {record.key: record.occurred_at for record in stored}
    assert all(abs(times[key] - first) <= QUARTER for _, _, first, _, keys in found.values() for key in keys)


@pytest.mark.parametrize("rule", [SINGLE, GROUPED], ids=["single", "grouped"])
@pytest.mark.parametrize("batch_size", [1, 2000])
@pytest.mark.parametrize("is_at_once", [True, False])
def test_action_of_two_sources_counts_once(post: Post, rule: KindRule, batch_size: int, *, is_at_once: bool) -> None:
    """An action that a second source also reads opens, joins and sends nothing, with any batching."""
    read = [make_record(n, minutes=n) for n in range(3)]
    again = [make_record(n, minutes=n, source="spare") for n in range(3)]
    matcher = post.matcher(rule, batch_size=batch_size)
    if is_at_once:
        post.store(*(record for pair in zip(read, again, strict=True) for record in pair))
    else:
        post.store(*read)
        matcher.run_once()
        post.store(*again)
    matcher.run_once()
    assert {alert.count for alert in post.alerts().values()} == {3 if rule is GROUPED else 1}
    assert post.states() == ["hook opened pending"] * (1 if rule is GROUPED else 3)
    for alert in list(post.alerts().values()):
        resolve(post, alert)
    rows = post.rows()
    post.store(*(make_record(n, minutes=n, source="third") for n in range(3)))
    assert matcher.run_once() == 0
    assert post.rows() == rows
    with post.database.read() as connection:
        assert positions.read_both(connection) == (9, 9)


@pytest.mark.parametrize("rule", [SINGLE, GROUPED], ids=["single", "grouped"])
@pytest.mark.parametrize("is_at_once", [True, False])
def test_backlog_alerts_once_if_another_source_read_it_live(post: Post, rule: KindRule, *, is_at_once: bool) -> None:
    """An action that one source read as backlog alerts once if another source read it live."""
    matcher = post.matcher(rule)
    post.store(make_record(is_backlog=True))
    if not is_at_once:
        assert matcher.run_once() == 0
    post.store(make_record(source="spare"), make_record(source="third"), make_record(source="old", is_backlog=True))
    assert matcher.run_once() == 1
    (alert,) = post.alerts().values()
    assert alert.count == 1
    assert post.states() == ["hook opened pending"]
