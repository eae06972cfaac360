"""New and changed correlations read older records in portions, while all others continue. The store says how far they are."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, text
from structlog.testing import capture_logs

from actionwatch.base.errors import StoreError
from actionwatch.base.model import Entity, Record
from actionwatch.matching import catching_up
from actionwatch.matching import matcher as matching
from actionwatch.matching.correlating import Correlating
from actionwatch.matching.matcher import RecordMatcher
from actionwatch.rules.engine import Engine
from actionwatch.rules.model import Rule
from actionwatch.store import correlations, hits, positions, records
from actionwatch.store.tables import HIT, TOUCHED_GROUP
from tests.builders import NOON, file_of, make_record
from tests.integration.kit import Post
from tests.integration.matching.test_correlation import (
    BURST,
    HEAD,
    MINUTE,
    MISSING,
    disk_full,
    matcher,
    only,
    rules_of,
    see,
)
from tests.simulation.killing import Killed, MortalDatabase

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
PLAIN = HEAD.format("plain") + "detection: {s: {actionKind: CREATE_CLUSTER}, condition: s}\n"
CHANGED = BURST.replace("gte: 3", "gte: 2")
OTHER = BURST.replace("burst", "other").replace("10m", "20m")
LONG = BURST.replace("burst", "long").replace("10m", "9d")
BURST_AND_MISSING = f"{BURST}---\n{MISSING}"


def joined(*texts: str) -> Sequence[Rule]:
    """Load several rules."""
    return rules_of("---\n".join(texts))


def names(post: Post) -> list[str]:
    """Return the rules of the alerts."""
    return sorted(alert.rule.name for alert in post.alerts().values())


def counts(post: Post) -> list[tuple[str, int]]:
    """Return the rules of the alerts, with the number of their records."""
    return sorted((alert.rule.name, alert.count) for alert in post.alerts().values())


def fed_by(step: RecordMatcher) -> tuple[int, list[str]]:
    """Run a matcher; return how many records rules were fed again, and which rules."""
    before = step.fed_count
    with capture_logs() as logs:
        step.run_once()
    fed = [log["rules"] for log in logs if log["event"] == "correlations_fed_again"]
    return step.fed_count - before, sorted(name for each in fed for name in each)


def delete(post: Post, numbers: range, *, rules: Sequence[Rule]) -> None:
    """Let a process match some deletions, one a minute, and end."""
    post.store(*(make_record(number, minutes=number) for number in numbers))
    see(post.database, NOON + numbers.stop * MINUTE)
    matcher(post, rules).run_once()


class Stepping(RecordMatcher):
    """Calls `at_portion` after each portion of what rules that are fed again need."""

    at_portion: Callable[[int], object] = staticmethod(lambda _: None)
    portions = 0

    def _catch_up(self) -> None:
        super()._catch_up()
        self.portions += 1
        self.at_portion(self.portions)


def stepping(post: Post, rules: Sequence[Rule], at_portion: Callable[[int], object] = lambda _: None) -> Stepping:
    """Make the matching step of a process that has just started."""
    made = Stepping(
        post.database, Engine(rules), post.addressing, post.clock, 2000, Correlating(rules, post.addressing)
    )
    made.at_portion = at_portion
    return made


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Feed, evaluate and delete a few rows at once, one portion between two batches."""
    for name, count in (("FED_AT_ONCE", 10), ("JUDGED_AT_ONCE", 3), ("DELETED_AT_ONCE", 7)):
        monkeypatch.setattr(catching_up, name, count)
    monkeypatch.setattr(matching, "CATCH_UP_SECONDS", 0)


def fill(post: Post, count: int = 45) -> None:
    """Let a process match records of several users, two deletions of eve among them."""
    users = [make_record(n, minutes=-n / 10, user_name=f"u{n}") for n in range(10, count)]
    post.store(*users, make_record(1, minutes=-0.2), make_record(2, minutes=-0.1))
    see(post.database, NOON)
    assert matcher(post, rules_of(BURST)).run_once() == 0


# -- portions


@pytest.mark.usefixtures("small")
def test_plain_rules_continue_while_a_rule_is_fed_again(post: Post) -> None:
    """What arrives between two portions alerts with the next batch; the burst that it completes, once its rule is done."""
    fill(post)
    seen = list[tuple[list[str], bool]]()

    def arrive(portion: int) -> None:
        if portion == 1:
            post.store(make_record(8, minutes=1, action_kind="CREATE_CLUSTER"), make_record(9, minutes=1))
        seen.append((names(post), step.has_learned))

    step = stepping(post, joined(CHANGED, PLAIN), arrive)
    assert step.run_once() == 2
    assert seen[:2] == [([], False), (["plain"], False)]
    assert seen[-1][0] == ["burst", "plain"]
    assert step.has_learned
    assert step.portions > 10
    assert counts(post) == [("burst", 3), ("plain", 1)]
    assert (step.run_once(), step.fed_count) == (0, 39)


@pytest.mark.usefixtures("small")
def test_other_correlations_continue_while_a_rule_is_fed_again(post: Post) -> None:
    """A rule that did not change alerts with the batch in which its record arrived."""
    fill(post)
    seen = list[list[str]]()

    def arrive(portion: int) -> None:
        if portion == 1:
            post.store(make_record(9, minutes=1))
        seen.append(names(post))

    step = stepping(post, joined(BURST, OTHER), arrive)
    assert step.run_once() == 2
    assert seen[1] == ["burst"]
    assert counts(post) == [("burst", 3), ("other", 3)]


@pytest.mark.usefixtures("small")
def test_a_rule_that_changes_while_it_is_fed_begins_again(post: Post) -> None:
    """Rules that are replaced in the middle of their feeding leave nothing behind; the others continue."""
    fill(post)

    def change(portion: int) -> None:
        if portion == 2:
            again = joined(BURST.replace("gte: 3", "gte: 4"), OTHER)
            step.use(Engine(again), Correlating(again, post.addressing))

    step = stepping(post, joined(CHANGED, OTHER), change)
    step.run_once()
    with post.database.read() as connection:
        versions = correlations.read_versions(connection)
        numbers = {row.rule for row in connection.execute(text("SELECT DISTINCT rule FROM hit"))}
    assert numbers == {version.number for version in versions.values()}
    assert {version.fed_through for version in versions.values()} == {None}
    post.store(make_record(9, minutes=1), make_record(11, minutes=1.5))
    assert step.run_once() == 2
    assert counts(post) == [("burst", 4), ("other", 4)]


@pytest.mark.usefixtures("small")
def test_a_stop_ends_the_feeding_and_a_start_continues_it(post: Post) -> None:
    """A process that stops between two portions leaves the rest to the next one, which does not begin again."""
    fill(post)
    first = stepping(post, rules_of(CHANGED), lambda _: first.stop())
    first.run_once()
    assert (first.portions, first.fed_count) == (1, 10)
    second = stepping(post, rules_of(CHANGED))
    assert fed_by(second) == (27, [])
    post.store(make_record(9, minutes=1))
    assert second.run_once() == 1
    assert counts(post) == [("burst", 3)]


@pytest.mark.usefixtures("small")
def test_two_matchers_feed_a_rule_together(post: Post) -> None:
    """A matcher that finds that another one has moved on reads again how far rules are."""
    fill(post)
    rules = rules_of(CHANGED)
    other = matcher(post, rules)

    def overtake(portion: int) -> None:
        if portion in (1, 2):
            post.store(make_record(100 + portion, minutes=1 + portion, user_name="bob"))
            other.run_once()

    stepping(post, rules, overtake).run_once()
    assert counts(post) == [("burst", 2)]
    post.store(make_record(9, minutes=1))
    other.run_once()
    assert counts(post) == [("burst", 2), ("burst", 3)]


# -- kills


@dataclass
class Life:
    """A store, and processes on it, each killed at its nth commit."""

    database: MortalDatabase
    left: int = 0
    arrived: set[int] = field(default_factory=set)

    def dies(self) -> bool:
        """Return whether the process dies here."""
        self.left -= 1
        return self.left == 0

    def live(self, post: Post, die_at: int) -> bool:
        """Match as a new process while records arrive. Return whether it reached its end."""

        def arrive(portion: int) -> None:
            if portion in self.arrived or portion > 3:
                return
            self.arrived.add(portion)
            self.database.dies = lambda: False  # a commit of another process
            kinds = ["CREATE_CLUSTER", "DELETE_CLUSTER"]
            post.store(*(_arrival(10 * portion + n, kind) for n, kind in enumerate(kinds)))
            self.database.dies = self.dies

        self.left, self.database.dies = die_at, self.dies
        try:
            stepping(post, joined(CHANGED, OTHER, PLAIN), arrive).run_once()
        except Killed:
            return False
        finally:
            self.database.dies = lambda: False
        return True


def _arrival(number: int, kind: str) -> Record:
    user = "bob" if kind == "DELETE_CLUSTER" else "eve"
    return make_record(1000 + number, minutes=number / 10, action_kind=kind, user_name=user)


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


@pytest.mark.usefixtures("small")
def test_a_kill_at_any_commit_loses_and_repeats_nothing(life: Life, soak: int) -> None:
    """After a kill at any commit of a feeding, the next process continues: nothing is lost or sent twice.

    The suite tries every fifth place, before a commit and after one in turn; `--soak 1` tries all.
    """
    pictures, kills = set[tuple[tuple[str, int, str], ...]](), 0
    for die_at in range(0, 300, 1 if soak else 5):
        life.database.renew()
        life.arrived.clear()
        post = Post(life.database)
        is_killed = not life.live(post, die_at)
        kills += is_killed
        assert life.live(post, 0) or not is_killed
        with life.database.read() as connection:
            assert len({records.newest_id(connection), *positions.read_both(connection)}) == 1
            assert {version.fed_through for version in correlations.read_versions(connection).values()} == {None}
        pictures.add(tuple(sorted((a.id, a.count, a.rule.name) for a in post.alerts().values())))
        assert len([row for row in post.rows() if row.event == "opened"]) == len(post.alerts())
        if die_at and not is_killed:
            break
    assert len(pictures) == 1
    assert sorted(name for *_, name in pictures.pop()) == ["burst", "other", "plain", "plain", "plain"]
    assert kills > 10


def test_a_kill_after_a_record_that_came_too_late_loses_nothing(life: Life) -> None:
    """A record from before what a changed rule was fed makes it read older ones again, whenever the process is killed."""
    kills = 0
    for die_at in range(60):
        life.database.renew()
        post = Post(life.database)
        post.store(*(make_record(2000 + n, minutes=60 * n) for n in range(1, 80)))
        see(post.database, NOON + 79 * HOUR)
        rules = rules_of(BURST.replace("gte: 3", "gte: 5"))
        matcher(post, rules_of(BURST), keep=MINUTE).run_once()
        matcher(post, rules, keep=MINUTE).run_once()
        post.store(*(make_record(3000 + n, minutes=n / 10, late_by=79 * HOUR) for n in range(3)))
        life.left, life.database.dies = die_at, life.dies
        try:
            matcher(post, rules, keep=MINUTE).run_once()
            is_killed = False
        except Killed:
            is_killed = True
        life.database.dies = lambda: False
        matcher(post, rules, keep=MINUTE).run_once()
        assert counts(post) == [("burst", 5)], f"killed at commit {die_at}"
        kills += is_killed
        if die_at and not is_killed:
            break
    assert kills > 2


@pytest.mark.parametrize(
    "place", ["hits.insert", "correlations.write_versions", "positions.check", "hits.forget_touched"]
)
@pytest.mark.usefixtures("small")
def test_a_failed_portion_changes_nothing(post: Post, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """After a transaction that failed, the step begins with what is stored."""
    fill(post)
    step = stepping(post, rules_of(CHANGED))
    with monkeypatch.context() as patched:
        patched.setattr(f"actionwatch.store.{place}", disk_full)
        with pytest.raises(StoreError):
            step.run_once()
    step.run_once()
    post.store(make_record(9, minutes=1))
    assert step.run_once() == 1
    assert counts(post) == [("burst", 3)]


# -- which rules are fed again, and what they alert about


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([BURST, LONG], (0, [])),
        ([BURST.replace("10m", "15m"), LONG], (2, ["burst"])),
        ([BURST, LONG.replace("9d", "2d")], (6, ["long"])),
        ([BURST, LONG, OTHER], (2, ["other"])),
        ([LONG], (0, [])),
        ([BURST.replace("alert: {", "alert: {realert: 1h, "), LONG], (2, ["burst"])),
        ([BURST.replace("level: high", "level: low"), LONG], (0, [])),
        ([BURST + "---\n" + MISSING, LONG], (9, ["missing"])),
    ],
    ids=["same", "changed", "long", "added", "removed", "realert", "level", "absence"],
)
@pytest.mark.parametrize("is_reload", [False, True])
def test_only_changed_rules_read_records_again(
    post: Post, rules: list[str], expected: tuple[int, list[str]], *, is_reload: bool
) -> None:
    """A start, and a reload alike, read records for the changed rules only, and only those within their reach."""
    post.store(*(make_record(number, minutes=24 * 60 * number) for number in range(9)))
    see(post.database, NOON + 8 * DAY)
    before, after = joined(BURST, LONG), joined(*rules)
    step = matcher(post, before)
    step.run_once()
    if is_reload:
        step.use(Engine(after), Correlating(after, post.addressing))
    else:
        step = matcher(post, after)
    count, fed = fed_by(step)
    assert (count, fed) == expected


def test_a_changed_rule_alerts_on_nothing_old(post: Post) -> None:
    """A rule that was changed learns from older records, and counts them with the next one; one that was not continues."""
    delete(post, range(2), rules=joined(BURST, OTHER))
    step = matcher(post, joined(CHANGED, OTHER))
    assert step.run_once() == 0
    post.store(make_record(2, minutes=2))
    assert step.run_once() == 2
    assert counts(post) == [("burst", 3), ("other", 3)]
    assert matcher(post, joined(BURST, OTHER)).run_once() == 0
    assert matcher(post, joined(CHANGED, OTHER)).run_once() == 0
    assert counts(post) == [("burst", 3), ("other", 3)]


def test_an_alert_of_a_longer_realert_is_joined(post: Post) -> None:
    """Until when an alert is joined depends on its `realert`: with another one, the rule is fed again, and joins."""
    delete(post, range(3), rules=rules_of(BURST))
    step = matcher(post, rules_of(BURST.replace("alert: {", "alert: {realert: 1h, ")))
    step.run_once()
    post.store(make_record(9, minutes=30))
    assert step.run_once() == 0
    assert only(post).count == 4


def test_a_rule_that_returns_starts_as_new(post: Post) -> None:
    """A rule that was removed alerts about nothing that happened before it returned, and leaves no hit meanwhile."""
    delete(post, range(2), rules=joined(BURST, OTHER))
    step = matcher(post, rules_of(BURST))
    step.run_once()
    with post.database.write() as connection:
        correlations.forget_versions(connection, {rule.name.id for rule in rules_of(BURST)})
        assert connection.execute(text("SELECT count(DISTINCT rule) FROM hit")).scalar() == 1
    post.store(make_record(2, minutes=2))
    assert step.run_once() == 1
    step = matcher(post, joined(BURST, OTHER))
    assert step.run_once() == 0
    post.store(make_record(3, minutes=3))
    assert step.run_once() == 1
    assert counts(post) == [("burst", 4), ("other", 4)]


def test_a_rule_that_was_off_is_fed_again(post: Post) -> None:
    """A rule that is on again counts what happened while it was off, and alerts with the next record."""
    delete(post, range(1), rules=joined(BURST, OTHER))
    step = matcher(post, joined(BURST, OTHER + "mode: off\n"))
    post.store(make_record(1, minutes=1))
    step.run_once()
    step = matcher(post, joined(BURST, OTHER))
    step.run_once()
    post.store(make_record(2, minutes=2))
    step.run_once()
    assert counts(post) == [("burst", 3), ("other", 3)]


DETECTIONS = (
    HEAD
    + "id: 11111111-1111-4111-8111-111111111111\ndetection: {{s: {{actionKind: DELETE_CLUSTER}}, condition: s}}\n---\n"
    + HEAD.replace("{0}", "{1}")
    + "id: 22222222-2222-4222-8222-222222222222\ndetection: {{s: {{actionKind: CREATE_CLUSTER}}, condition: s}}\n---\n"
)
PAIR = (
    HEAD.format("pair")
    + "correlation: {type: temporal_ordered, rules: [first, second], group-by: [userName], timespan: 10m}\n"
)


def test_two_rules_that_swap_their_names_feed_other_steps(post: Post) -> None:
    """The hits of a correlation have the numbers of its steps: if other rules have these names, the records are read again."""
    post.store(make_record(1, action_kind="CREATE_CLUSTER"))
    see(post.database, NOON + MINUTE)
    before, after = (rules_of(DETECTIONS.format(*names) + PAIR) for names in (("first", "second"), ("second", "first")))
    step = matcher(post, before)
    step.run_once()
    step.use(Engine(after), Correlating(after, post.addressing))
    step.run_once()
    post.store(make_record(2, minutes=2))
    step.run_once()
    assert [alert.count for alert in post.alerts().values() if alert.rule.name == "pair"] == [2]


@pytest.mark.parametrize("is_reversed", [False, True])
@pytest.mark.usefixtures("small")
def test_records_of_before_and_of_now_give_the_alerts_of_all(post: Post, *, is_reversed: bool) -> None:
    """A rule that is fed in portions, while newer or older records come, finds what one batch of all makes."""
    rules = joined(BURST, MISSING.replace("c-1", "u1").replace("clusterId", "userName"))
    see(post.database, NOON + 4 * HOUR)
    older = [make_record(n, minutes=n, user_name=f"u{n % 3}") for n in range(0, 120, 2)]
    newer = [make_record(1000 + n, minutes=n / 3 + 121, user_name=f"u{n % 3}") for n in range(60)]
    first, second = (newer, older) if is_reversed else (older, newer)
    post.store(*first)
    RecordMatcher(post.database, Engine(()), post.addressing, post.clock).run_once()
    stepping(post, rules, lambda portion: post.store(*second[20 * portion - 20 : 20 * portion])).run_once()
    matcher(post, rules).run_once()
    assert fed_by(matcher(post, rules)) == (0, [])
    with post.database.read() as connection:
        held = {
            known.first_at
            for rule in rules
            for known in correlations.read_since(connection, rule.name.id, NOON - DAY)
            if known.is_current
        }
    expected = _plain_starts(rules, [*older, *newer])
    assert held == expected


def _plain_starts(rules: Sequence[Rule], stored: Sequence[Record]) -> set[object]:
    from actionwatch.service.simulation import simulate

    end = NOON + 4 * HOUR
    ordered = sorted(stored, key=lambda record: (record.occurred_at, record.key))
    return {
        each.first_at for each in simulate(rules, ordered, begin=NOON, start=NOON, until=end, verified_until=end).alerts
    }


# -- sources that come and go


FIRST_SEEN = (
    HEAD.format("first_seen")
    + "detection: {s: {actionKind: DELETE_CLUSTER}, condition: s}\n"
    + "correlation: {type: new_term, fields: [userName], history: 1d}\n"
)


@pytest.mark.parametrize("is_backlog", [False, True])
def test_a_new_source_is_learned_only_by_rules_that_depend_on_the_beginning(post: Post, is_backlog: bool) -> None:
    """When a source is added, a rule that counts reads nothing again, and counts the records of the source, older ones too."""
    rules = joined(BURST, FIRST_SEEN)
    post.store(*(make_record(n, minutes=60 * n) for n in range(48)))
    see(post.database, NOON + 48 * HOUR)
    assert fed_by(matcher(post, rules))[1] == ["burst", "first_seen"]
    before = numbers_of(post)
    at = 48 * 60 - (600 if is_backlog else 0)
    see(post.database, NOON + 49 * HOUR)
    see(post.database, NOON + 49 * HOUR, name="new", begins=NOON + 48 * HOUR, alerts_from=NOON + 48 * HOUR)
    post.store(*(make_record(100 + n, minutes=at + n, source="new", user_name="bob") for n in range(3)))
    assert set(fed_by(matcher(post, rules))[1]) == {"first_seen"}
    after = numbers_of(post)
    assert (after["burst"] == before["burst"], after["first_seen"] == before["first_seen"]) == (True, False)
    assert ("burst", 3) in counts(post)
    with post.database.write() as connection:
        connection.execute(text("DELETE FROM source WHERE name = 'new'"))
    assert set(fed_by(matcher(post, rules))[1]) == {"first_seen"}


def numbers_of(post: Post) -> dict[str, int]:
    """Return the number of each rule in the store, which changes when it is fed again."""
    rules = {rule.name.id: rule.name.name for rule in joined(BURST, FIRST_SEEN)}
    with post.database.read() as connection:
        return {rules[name]: version.number for name, version in correlations.read_versions(connection).items()}


# -- late records, retention


@pytest.mark.parametrize("hours", [2, 30, 70])
def test_a_record_from_before_what_a_rule_was_fed_is_judged_with_older_ones(post: Post, hours: int) -> None:
    """A changed rule read records of its reach only. A later record that is older makes it read further back, once."""
    post.store(*(make_record(n, minutes=n) for n in range(2)))
    post.store(*(make_record(100 + n, minutes=60 * n) for n in range(1, 80)))
    see(post.database, NOON + 79 * HOUR, begins=NOON - DAY)
    matcher(post, rules_of(BURST), keep=MINUTE).run_once()
    changed = matcher(post, rules_of(BURST.replace("10m", "11m")), keep=MINUTE)
    count, fed = fed_by(changed)
    assert fed == ["burst"]
    assert count < 5
    post.store(make_record(500, minutes=2, late_by=hours * HOUR))
    count, fed = fed_by(changed)
    assert (fed, counts(post)) == (["burst"], [("burst", 3)])
    assert count > 70
    assert fed_by(changed) == (0, [])


def test_a_late_record_of_a_rule_that_read_all_reads_nothing_again(post: Post) -> None:
    """A rule that ran since the first record takes a record of any age."""
    step = matcher(post, rules_of(BURST), keep=MINUTE)
    for n in range(100):
        post.store(make_record(n, minutes=60 * n))
        see(post.database, NOON + n * HOUR)
        step.run_once()
    post.store(make_record(500, minutes=1), make_record(501, minutes=2))
    assert fed_by(step) == (0, [])
    assert counts(post) == [("burst", 3)]


def test_hits_leave_with_their_records(post: Post) -> None:
    """Retention deletes the hits of a record with it: what is gone does not count."""
    delete(post, range(2), rules=rules_of(BURST))
    with post.database.write() as connection:
        records.delete_older(connection, NOON + MINUTE / 2, 10, 10)
        gone, _ = hits.find_without_record(connection, NOON + HOUR, None, 10)
        hits.delete_all(connection, gone)
    step = matcher(post, rules_of(BURST))
    post.store(make_record(2, minutes=2))
    assert step.run_once() == 0
    post.store(make_record(3, minutes=3))
    assert step.run_once() == 1
    assert only(post).count == 3


@pytest.mark.parametrize("gone", ["DELETE FROM hit WHERE record_id = 1", "DELETE FROM correlated_alert"])
def test_what_was_reported_is_not_reported_again(post: Post, gone: str) -> None:
    """Retention may delete hits of an alert that is still joined, or the whole row of an old one."""
    rules = rules_of(BURST)
    delete(post, range(5), rules=rules)
    with post.database.write() as connection:
        connection.execute(text(gone))
    post.store(make_record(30, minutes=200))
    see(post.database, NOON + 200 * MINUTE)
    matcher(post, rules).run_once()
    assert counts(post) == [("burst", 5)]


# -- absence that comes back

WITHOUT_MISSING = {
    "off": f"{BURST_AND_MISSING}mode: off\n",
    "removed": BURST,
    "other group": BURST_AND_MISSING.replace("[c-1]", "[c-2]"),
}


def missing_alerts(post: Post) -> list[str]:
    """Return the status of each alert about what is missing."""
    return sorted(alert.status.value for alert in post.alerts().values() if alert.rule.name == "missing")


@pytest.mark.parametrize("how", WITHOUT_MISSING)
@pytest.mark.parametrize("is_reload", [True, False])
def test_an_absence_that_comes_back_opens_a_new_alert(post: Post, how: str, *, is_reload: bool) -> None:
    """A rule is switched off, and on again before any record comes: what is still missing is reported again."""
    post.store(make_record(1, cluster=Entity("c-1")), make_record(2, cluster=Entity("c-2"), minutes=130))
    see(post.database, NOON + timedelta(minutes=131))
    step = matcher(post, rules_of(BURST))
    step.run_once()
    for texts in [BURST_AND_MISSING, WITHOUT_MISSING[how], BURST_AND_MISSING]:
        rules = rules_of(texts)
        with post.database.write() as connection:
            correlations.forget_versions(connection, {rule.name.id for rule in rules})
        if is_reload:
            step.use(Engine(rules), Correlating(rules, post.addressing))
        else:
            step = matcher(post, rules)
        step.run_once()
    assert missing_alerts(post) == ["open", "resolved"]
    see(post.database, NOON + timedelta(hours=3))
    step.run_once()
    assert missing_alerts(post) == ["open", "resolved"]
    post.store(make_record(3, minutes=181, cluster=Entity("c-1")))
    see(post.database, NOON + timedelta(minutes=182))
    step.run_once()
    assert missing_alerts(post) == ["resolved", "resolved"]


# -- what needs no feeding


@pytest.mark.parametrize(
    "after", [BURST, f"{BURST_AND_MISSING}mode: off\n", PLAIN], ids=["removed", "off", "all removed"]
)
def test_what_a_rule_that_does_not_run_waits_for_costs_nothing(post: Post, after: str) -> None:
    """An alert of a rule that was removed waits for verified time in the store; nothing is looked at again for it."""
    see(post.database, NOON + 5 * MINUTE)
    matcher(post, rules_of(BURST_AND_MISSING)).run_once()
    step = matcher(post, rules_of(after))
    step.run_once()
    see(post.database, NOON + 5 * HOUR)
    step.run_once()
    before = step.step_count
    for _ in range(3):
        step.run_once()
    assert step.step_count == before
    assert names(post) == []
    with post.database.read() as connection:
        assert not list(correlations.read_pending(connection, NOON + DAY))


def test_nothing_is_left_of_the_last_correlation(post: Post) -> None:
    """Hits and touched groups are deleted also when no other correlation runs."""
    delete(post, range(2), rules=rules_of(BURST))
    with post.database.write() as connection:
        hits.touch(connection, [(1, "group", ("eve",), NOON, NOON)])
    matcher(post, rules_of(PLAIN)).run_once()
    with post.database.read() as connection:
        assert [connection.execute(select(table)).all() for table in (HIT, TOUCHED_GROUP)] == [[], []]
