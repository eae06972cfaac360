"""During a rebuild of the state of correlations, plain rules continue; correlations miss nothing and repeat nothing."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from actionwatch.matching.state_building import PAUSE_EVERY
from actionwatch.rules.correlations.live.correlator import Correlator
from actionwatch.rules.correlations.live.live_rule import LiveRule
from sqlalchemy import text
from structlog.testing import capture_logs

from actionwatch.base.errors import StoreError
from actionwatch.base.model import Match, Record
from actionwatch.matching.correlating import LEARN_AT_ONCE, Correlating, RebuildRepeated
from actionwatch.matching.matcher import MANY_BATCHES, RecordMatcher
from actionwatch.rules.engine import Engine
from actionwatch.rules.model import Rule
from actionwatch.store import positions, records
from actionwatch.store.database import Database
from tests.builders import NOON, file_of, make_record, open_database
from tests.chaos.killing import Killed, MortalDatabase
from tests.integration.kit import Post
from tests.integration.matching.test_correlation import (
    BURST,
    DELETED,
    HEAD,
    MINUTE,
    MISSING,
    disk_full,
    matcher,
    rules_of,
    see,
)
from tests.positions import move_to

DAY = timedelta(days=1)
MANY = 3 * PAUSE_EVERY
PLAIN = HEAD.format("plain") + "detection: {s: {actionKind: CREATE_CLUSTER}, condition: s}\n"
NEW = (
    HEAD.format("new")
    + DELETED
    + "correlation: {type: new_term, fields: [userName], history: 30m, cold-start: alert}\n"
)
CHANGED = BURST.replace("gte: 3", "gte: 2")


class Watched(Correlating):
    """Correlations with an observable rebuild: `at_pause` is called after plain rules ran."""

    def __init__(
        self,
        rules: Sequence[Rule],
        post: Post,
        at_pause: Callable[[int], None] = lambda _: None,
        learn_at_once: int = LEARN_AT_ONCE,
    ) -> None:
        super().__init__(rules, post.addressing, keep=MINUTE, learn_at_once=learn_at_once)
        self.pauses = 0
        self._at_pause = at_pause

    def rebuild(self, database: Database, on_pause: Callable[[], None]) -> tuple[int, int]:
        """Rebuild, and call `at_pause` at each pause."""

        def pause() -> None:
            self.pauses += 1
            on_pause()
            self._at_pause(self.pauses)

        return super().rebuild(database, pause)


def stepping(post: Post, rules: Sequence[Rule], correlating: Correlating) -> RecordMatcher:
    """Make the matching step of a process that has just started."""
    return RecordMatcher(post.database, Engine(rules), post.addressing, post.clock, 2000, correlating)


def fill(post: Post) -> None:
    """Store many records that were already matched, all within the range of a rebuild."""
    stored = [make_record(n, minutes=-n / MANY, action_kind="BACKUP") for n in range(MANY)]
    stored += [make_record(1, minutes=-0.2), make_record(2, minutes=-0.1)]
    with post.database.write() as connection:
        records.insert_new(connection, stored)
    see(post.database, NOON)
    assert matcher(post, rules_of(BURST)).run_once() == 0


def names(post: Post) -> list[str]:
    """Return the rules of the alerts."""
    return sorted(alert.rule.name for alert in post.alerts().values())


def test_plain_rules_do_not_wait_for_a_rebuild(post: Post) -> None:
    """A record that arrives during a rebuild alerts at the next pause; the burst that it completes, after the rebuild."""
    fill(post)
    seen = list[list[str]]()

    def arrive(pauses: int) -> None:
        if pauses == 1:
            post.store(make_record(8, minutes=1, action_kind="CREATE_CLUSTER"), make_record(9, minutes=1))
        seen.append(names(post))
        assert not step.has_learned

    rules = rules_of(BURST + "---\n" + PLAIN)
    correlating = Watched(rules, post, arrive)
    step = stepping(post, rules, correlating)
    assert step.run_once() == 2
    assert step.has_learned
    assert seen == [[], ["plain"], ["plain"]]
    assert names(post) == ["burst", "plain"]
    assert (step.run_once(), correlating.pauses, step.pause_count) == (0, 3, 3)


@pytest.mark.parametrize("is_first", [True, False])
def test_after_a_start_few_records_are_matched_by_all_rules_at_once(post: Post, *, is_first: bool) -> None:
    """What happened while the service was stopped opens the alerts of plain rules and of correlations in one transaction."""
    rules = rules_of(BURST + "---\n" + PLAIN)
    if not is_first:
        post.store(make_record(1, minutes=0))
        see(post.database, NOON)
        assert matcher(post, rules).run_once() == 0
    post.store(*(make_record(n, minutes=n) for n in (2, 3, 4)), make_record(5, minutes=5, action_kind="CREATE_CLUSTER"))
    see(post.database, NOON + 5 * MINUTE)
    seen = list[list[str]]()

    class Watching(Engine):
        def evaluate(self, batch: Iterable[Record]) -> list[Match]:
            seen.append(names(post))
            assert correlating.is_ready
            return super().evaluate(batch)

    correlating = Correlating(rules, post.addressing)
    step = RecordMatcher(post.database, Watching(rules), post.addressing, post.clock, 2000, correlating)
    assert step.run_once() == 2
    assert (seen, names(post)) == ([[]], ["burst", "plain"])


def test_a_start_whose_rebuild_fails_does_not_hold_plain_rules_up(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain rules wait for the first attempt only."""
    rules = rules_of(BURST + "---\n" + PLAIN)
    post.store(make_record(5, minutes=5, action_kind="CREATE_CLUSTER"))
    step = matcher(post, rules)
    monkeypatch.setattr(Correlator, "restore", disk_full)
    for _ in range(2):
        with pytest.raises(StoreError, match="disk full"):
            step.run_once()
    assert names(post) == ["plain"]


def test_changed_rule_misses_nothing_during_its_first_rebuild(post: Post) -> None:
    """A changed rule ignores older records, but evaluates all that arrive during its first rebuild."""
    fill(post)
    rules = rules_of(CHANGED)
    arrivals = {1: [make_record(3, minutes=1, user_name="bob")], 2: [make_record(4, minutes=2, user_name="bob")]}
    correlating = Watched(rules, post, lambda pauses: post.store(*arrivals.get(pauses, ())))
    assert stepping(post, rules, correlating).run_once() == 1
    assert [(alert.group, alert.count) for alert in post.alerts().values()] == [({"userName": "bob"}, 2)]


def test_very_late_record_does_not_delay_plain_rules(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that requires a rebuild waits for it with its batch; plain rules have processed the batch by then."""
    rules = rules_of(BURST + "---\n" + PLAIN)
    correlating = Watched(rules, post)
    step = stepping(post, rules, correlating)
    for hours in range(15):
        post.store(make_record(hours, minutes=hours * 60 + 9))
        see(post.database, NOON + timedelta(hours=hours, minutes=9))
        assert step.run_once() == 0
    seen = list[list[str]]()
    correlating._at_pause = lambda _: seen.append(names(post))
    monkeypatch.setattr("actionwatch.matching.state_building.PAUSE_EVERY", 10)
    post.store(
        make_record(1001, minutes=7),
        make_record(1002, minutes=8),
        make_record(1003, minutes=9, action_kind="CREATE_CLUSTER"),
    )
    assert step.run_once() == 2
    assert seen == [["plain"]]
    assert names(post) == ["burst", "plain"]


@pytest.mark.parametrize("is_proved", [True, False], ids=["proved", "never polled"])
def test_late_record_is_counted_after_the_timespan_was_shortened(post: Post, *, is_proved: bool) -> None:
    """A record from before the firing of an alert that an older version of its rule found is taken, by one rebuild."""

    def pass_time(days: float) -> None:
        if is_proved:
            see(post.database, NOON + days * DAY, begins=NOON - 10 * DAY, alerts_from=NOON - 10 * DAY)

    post.store(*(make_record(number, occurred_at=NOON + days * DAY) for number, days in enumerate((0, 5, 5.9))))
    pass_time(6)
    assert matcher(post, rules_of(BURST.replace("10m", "7d"))).run_once() == 1
    step = matcher(post, rules_of(BURST.replace("10m", "1h")))
    assert step.run_once() == 0
    post.store(make_record(3, occurred_at=NOON + 5.8 * DAY), make_record(4, occurred_at=NOON + 4.5 * DAY))
    pass_time(6.1)
    with capture_logs() as logs:
        assert step.run_once() == 0
    assert [log["event"] for log in logs].count("correlations_rebuilt") == 1
    with post.database.read() as connection:
        assert positions.read_both(connection) == (5, 5)
    assert [alert.count for alert in post.alerts().values()] == [5]


def test_rebuild_that_does_not_help_is_not_repeated(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a record is too late again after the rebuild for it, the step fails, so that people learn of it; plain rules go on."""
    rules = rules_of(BURST + "---\n" + PLAIN)
    step = matcher(post, rules)
    assert step.run_once() == 0
    monkeypatch.setattr(LiveRule, "_is_too_late", lambda *_: True)
    for number in range(2):
        post.store(make_record(2 * number), make_record(2 * number + 1, action_kind="CREATE_CLUSTER"))
        with capture_logs() as logs, pytest.raises(RebuildRepeated, match="2026-11-25 12:00:00 UTC"):
            step.run_once()
        assert [log["event"] for log in logs].count("correlations_rebuilt") <= 2
    assert names(post) == ["plain", "plain"]


def test_reload_of_plain_rules_applies_during_a_rebuild(post: Post) -> None:
    """After a reload during a rebuild, the new plain rules apply from the next pause, and the rebuild continues."""
    fill(post)
    before, after = rules_of(BURST), rules_of(BURST + "---\n" + PLAIN)
    seen = list[list[str]]()

    def reload(pauses: int) -> None:
        if pauses == 1:
            step.use(Engine(after), correlating)
            post.store(make_record(8, minutes=1, action_kind="CREATE_CLUSTER"))
        seen.append(names(post))

    correlating = Watched(before, post, reload)
    step = stepping(post, before, correlating)
    assert step.run_once() == 1
    assert seen == [[], ["plain"], ["plain"]]


def test_obsolete_rebuild_is_abandoned(post: Post) -> None:
    """A reload of the rule that is rebuilt, or a stop, abandons the rebuild at the next pause."""
    fill(post)
    rules = rules_of(BURST)
    other = Watched(rules_of(CHANGED), post, lambda _: step.stop())
    correlating = Watched(rules, post, lambda _: step.use(Engine(rules), other))
    step = stepping(post, rules, correlating)
    assert step.run_once() == 0
    # Each is abandoned at the pause after the request.
    assert (correlating.pauses, other.pauses) == (2, 2)
    assert not correlating.is_ready
    assert not other.is_ready


@pytest.mark.parametrize("is_reversed", [False, True])
def test_missed_records_that_are_taken_at_once_give_the_same_alerts(tmp_path: Path, is_reversed: bool) -> None:
    """A rebuild that takes the missed records too, by time, finds what batches find; backlog is learned and alerts nowhere."""
    rules = rules_of(BURST + "---\n" + MISSING.replace("c-1", "u1").replace("clusterId", "userName") + "---\n" + NEW)
    pictures = []
    for learn_at_once in (LEARN_AT_ONCE, 1):
        post = Post(open_database(tmp_path / str(learn_at_once)))
        see(post.database, NOON + timedelta(hours=4))
        older = [make_record(n, minutes=n, is_backlog=n < 40, user_name=f"u{n % 3}") for n in range(0, 120, 2)]
        newer = [make_record(1000 + n, minutes=n / 3 + 121, user_name=f"u{n % 3}") for n in range(60)]
        for part in (newer, older) if is_reversed else (older, newer):
            post.store(*part)
            stepping(post, rules, Watched(rules, post, learn_at_once=learn_at_once)).run_once()
        found = post.alerts().values()
        pictures.append(sorted((a.id, a.count, a.first_at, a.last_at, a.status, a.level) for a in found))
        post.database.close()
    assert len(pictures[0]) > 3
    assert pictures[0] == pictures[1]


def test_backlog_is_learned_at_once_when_it_is_read(post: Post) -> None:
    """While the sources read backlog, which cannot alert, correlations wait. The first record that may alert counts it."""
    rules = rules_of(BURST)
    correlating = Watched(rules, post)
    step = stepping(post, rules, correlating)
    begins = NOON - timedelta(hours=1)
    for number in range(3):
        see(post.database, begins, begins=begins)
        post.store(make_record(number, minutes=number - 3, is_backlog=True))
        assert step.run_once() == 0
        assert not correlating.is_ready
    see(post.database, NOON, begins=begins)
    assert step.run_once() == 0
    assert correlating.is_ready
    assert correlating.position == 3
    post.store(make_record(4))
    assert step.run_once() == 1


def test_backlog_that_keeps_coming_is_not_learned_in_parts(post: Post) -> None:
    """A tail that stores backlog as fast as it is matched does not lead to a rebuild before all is read."""
    rules = rules_of(BURST)
    begins = NOON - timedelta(hours=1)
    see(post.database, begins, begins=begins)
    arrived = 0

    class Arriving(Engine):
        def evaluate(self, batch: Iterable[Record]) -> list[Match]:
            nonlocal arrived
            arrived += 1
            if arrived < 3 * MANY_BATCHES:
                post.store(make_record(arrived, minutes=arrived - 40, is_backlog=True))
            return super().evaluate(batch)

    post.store(make_record(0, minutes=-50, is_backlog=True))
    correlating = Watched(rules, post)
    step = RecordMatcher(post.database, Arriving(rules), post.addressing, post.clock, 2000, correlating)
    assert step.run_once() == 0
    assert (arrived, correlating.is_ready) == (3 * MANY_BATCHES, False)


def test_much_backlog_that_was_never_matched_is_learned_at_once(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a start without positions, one rebuild takes all backlog, however much there is; what follows alerts once."""
    monkeypatch.setattr("actionwatch.store.records.MOST_SKIPPED", 10)
    backlog = [make_record(n, minutes=n / 10 - 100, is_backlog=True, user_name=f"u{n % 30}") for n in range(1000)]
    post.store(*backlog, *(make_record(1000 + n, minutes=n / 10) for n in range(4)))
    see(post.database, NOON + MINUTE, begins=NOON - timedelta(hours=2))
    rules = rules_of(BURST + "---\n" + PLAIN)
    taken, rebuilt = list[int](), list[tuple[int, int]]()

    class Watching(Watched):
        def take(self, batch: Sequence[Record], through: int) -> None:
            taken.append(through)
            super().take(batch, through)

        def rebuild(self, database: Database, on_pause: Callable[[], None]) -> tuple[int, int]:
            rebuilt.append(super().rebuild(database, on_pause))
            return rebuilt[-1]

    step = RecordMatcher(post.database, Engine(rules), post.addressing, post.clock, 100, Watching(rules, post))
    assert step.run_once() == 1
    assert (rebuilt, taken) == ([(0, 1000)], [1004])
    assert [(alert.rule.name, alert.count) for alert in post.alerts().values()] == [("burst", 4)]


@pytest.mark.parametrize("is_restarted", [False, True])
def test_correlations_do_not_wait_once_a_record_may_alert(post: Post, *, is_restarted: bool) -> None:
    """While another source reads backlog, a record that may alert leads to a rebuild at once, and so it does after a start."""
    rules = rules_of(BURST)
    begins = NOON - timedelta(hours=1)
    see(post.database, begins, begins=begins)
    post.store(*(make_record(number, minutes=number - 3, is_backlog=True) for number in range(3)))
    step = stepping(post, rules, Watched(rules, post))
    assert step.run_once() == 0
    post.store(make_record(4))
    if is_restarted:  # the process before was killed during its rebuild
        with post.database.write() as connection:
            move_to(connection, positions.MATCHED, 4)
        step = stepping(post, rules, Watched(rules, post))
    assert step.run_once() == 1


@dataclass
class Life:
    """A store and a sequence of processes on it, each killed at its nth commit."""

    database: MortalDatabase
    left: int = 0
    learn_at_once: int = LEARN_AT_ONCE
    arrived: set[int] = field(default_factory=set)

    def dies(self) -> bool:
        """Return whether the process dies here."""
        self.left -= 1
        return self.left == 0

    def live(self, post: Post, die_at: int) -> bool:
        """Match as a new process while records arrive. Return whether it reached its end."""
        rules = rules_of(CHANGED + "---\n" + PLAIN)

        def arrive(pauses: int) -> None:
            if pauses in self.arrived:
                return
            self.arrived.add(pauses)
            self.database.dies = lambda: False  # a commit of another process
            post.store(
                *(_arrival(10 * pauses + n, kind) for n, kind in enumerate(["CREATE_CLUSTER", "DELETE_CLUSTER"]))
            )
            self.database.dies = self.dies

        self.left, self.database.dies = die_at, self.dies
        try:
            step = stepping(post, rules, Watched(rules, post, arrive, self.learn_at_once))
            step.run_once()
        except Killed:
            return False
        finally:
            self.database.dies = lambda: False
        return True


def _arrival(number: int, kind: str) -> Record:
    return make_record(number, minutes=number / 10, action_kind=kind)


@pytest.fixture
def life() -> Iterator[Life]:
    """Fill a store, and keep a copy of it."""
    shared = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=shared if shared.is_dir() else None))
    database = MortalDatabase(folder)
    database.renew()
    fill(Post(database))
    database.close()
    shutil.copy(file_of(database), folder / "template.db")
    yield Life(database)
    database.close()
    shutil.rmtree(folder)


@pytest.mark.parametrize("learn_at_once", [LEARN_AT_ONCE, 1])
def test_kill_at_any_commit_loses_and_repeats_nothing(
    life: Life, learn_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a kill at any commit of a rebuild or of its saved state, nothing is lost or sent twice."""
    monkeypatch.setattr("actionwatch.matching.state_saving.SAVE_EVERY", 1)
    life.learn_at_once = learn_at_once
    pictures, kills = set[tuple[tuple[str, int, str], ...]](), 0
    for die_at in range(100):
        life.database.renew()
        life.arrived.clear()
        post = Post(life.database)
        is_killed = not life.live(post, die_at)
        kills += is_killed
        assert life.live(post, 0) or not is_killed
        with life.database.read() as connection:
            assert len({records.newest_id(connection), *positions.read_both(connection)}) == 1
        pictures.add(tuple(sorted((a.id, a.count, a.rule.name) for a in post.alerts().values())))
        assert len(post.rows()) == len(post.alerts())
        if die_at and not is_killed:
            break
    assert len(pictures) == 1
    assert [name for *_, name in sorted(pictures.pop(), key=lambda one: one[2])] == ["burst", "plain", "plain", "plain"]
    assert kills > 8


def test_a_record_that_is_gone_is_not_counted(post: Post) -> None:
    """If a record of an open window is no longer in the store, the state is rebuilt without it, as after a restart."""
    step = matcher(post, rules_of(BURST))
    for number in range(2):
        post.store(make_record(number, minutes=number))
        assert step.run_once() == 0
    with post.database.write() as connection:
        connection.execute(text("DELETE FROM record WHERE id = 1"))
    post.store(make_record(2, minutes=2))
    with capture_logs() as logs:
        assert step.run_once() == 0
    (discarded,) = [log for log in logs if log["event"] == "correlations_discarded"]
    assert "the record with the id 1" in discarded["why"]
    post.store(make_record(3, minutes=3))
    assert step.run_once() == 1
    assert [alert.count for alert in post.alerts().values()] == [3]
