"""A start continues from the state of correlations that the process before has saved, or rebuilds it if that does not fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from actionwatch.rules.correlations.folds.saved import SavedFold, SavedHits
from actionwatch.rules.correlations.live import saved
from msgspec import structs
from sqlalchemy import Connection, text
from structlog.testing import capture_logs

from actionwatch.base.errors import StoreBusy
from actionwatch.base.model import Entity
from actionwatch.matching.correlating import Correlating
from actionwatch.matching.matcher import RecordMatcher
from actionwatch.rules.engine import Engine
from actionwatch.store import correlation_state, correlations, positions, records
from actionwatch.store.correlation_state import NewState
from actionwatch.store.positions import CORRELATED
from tests.builders import NOON, make_record
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
from tests.positions import move_to

LOADED, REBUILT, DISCARDED = "correlations_loaded", "correlations_rebuilt", "saved_correlations_discarded"
OTHER_RULES = "it belongs to other rules, or to another beginning of the sources"


def events_of(step: RecordMatcher) -> list[str]:
    """Run a matcher, and return how it came to its state, and why not otherwise."""
    with capture_logs() as logs:
        step.run_once()
    return [log.get("why", log["event"]) for log in logs if log["event"] in (LOADED, REBUILT, DISCARDED)]


def run_and_save(post: Post, numbers: range, rules: str = BURST) -> None:
    """Let a process match some deletions, one a minute, and end."""
    post.store(*(make_record(number, minutes=number) for number in numbers))
    see(post.database, NOON + numbers.stop * MINUTE)
    step = matcher(post, rules_of(rules))
    step.run_once()


def test_a_start_continues_from_the_saved_state(post: Post) -> None:
    """The burst that two records before a restart began is completed by one after it, and no old record is read again."""
    run_and_save(post, range(2))
    with post.database.write() as connection:
        connection.execute(
            text("UPDATE record SET action_kind = 'BACKUP'")
        )  # would be no deletion if it was evaluated again
    post.store(make_record(2, minutes=2))
    step = matcher(post, rules_of(BURST))
    assert events_of(step) == [LOADED]
    assert only(post).count == 3


def test_a_start_takes_what_was_matched_after_the_state_was_saved(post: Post) -> None:
    """A killed process saves nothing: its records since are taken again, and its alerts are neither lost nor repeated."""
    run_and_save(post, range(2))
    post.store(make_record(2, minutes=2))
    assert matcher(post, rules_of(BURST)).run_once() == 1
    post.store(make_record(3, minutes=3))
    step = matcher(post, rules_of(BURST))
    assert events_of(step) == [LOADED]
    assert only(post).count == 4
    assert post.states() == ["hook opened pending"]


def test_an_alert_that_was_found_after_the_state_was_saved_resolves(post: Post) -> None:
    """What is missing was reported by a process that was killed: the next one continues, and resolves it."""
    run_and_save(post, range(2), MISSING)
    see(post.database, NOON + 2 * timedelta(hours=1))
    assert matcher(post, rules_of(MISSING)).run_once() == 1
    post.store(make_record(9, minutes=130, cluster=Entity("c-1")))
    see(post.database, NOON + timedelta(minutes=131))
    step = matcher(post, rules_of(MISSING))
    assert events_of(step) == [LOADED]
    assert only(post).resolved_at == NOON + timedelta(minutes=130)


def _change(statement: str) -> Callable[[Post], None]:
    def change(post: Post) -> None:
        with post.database.write() as connection:
            connection.execute(text(statement))

    return change


def _body(post: Post) -> bytes:
    with post.database.read() as connection:
        stored = correlation_state.read(connection)
        assert stored is not None
        return correlation_state.read_body(connection, stored) or b""


def _rewrite(change: Callable[[bytes], bytes]) -> Callable[[Post], None]:
    """Save other bytes, with a digest that fits."""

    def rewrite(post: Post) -> None:
        body = _body(post)
        with post.database.write() as connection:
            stored = correlation_state.read(connection)
            assert stored is not None
            state = NewState()
            state.add(connection, change(body))
            state.finish(connection, stored.position, stored.epoch)

    return rewrite


def _encoded(state: saved.SavedState) -> bytes:
    return b"".join(saved.encode(state))


def _of_other_version(body: bytes) -> bytes:
    return _encoded(replace(saved.decode(body), made_by="0.0.1"))


def _behind(post: Post) -> None:
    with post.database.write() as connection:
        move_to(connection, CORRELATED, 1)
        connection.execute(text("UPDATE position SET record_id = 1"))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            _change("UPDATE correlation_state SET digest = 'of other bytes'"),
            "the saved state was changed or damaged",
        ),
        (_change("UPDATE correlation_state SET position = position - 1"), "the saved state was changed or damaged"),
        (_rewrite(lambda body: body[:-9]), "it cannot be read: "),
        (_rewrite(lambda _: b""), "it cannot be read: "),
        (_rewrite(_of_other_version), "it was made by actionwatch 0.0.1"),
        (_behind, "it holds the records up to 2, and they are matched up to 1"),
        (lambda post: see(post.database, NOON + MINUTE, begins=NOON - MINUTE), "another beginning"),
        (lambda post: see(post.database, NOON + MINUTE, alerts_from=NOON - MINUTE), "another beginning of the sources"),
    ],
    ids=["damaged", "moved", "cut", "empty", "version", "behind", "beginning", "alerts from"],
)
def test_a_state_that_does_not_fit_is_discarded(post: Post, change: Callable[[Post], None], why: str) -> None:
    """The log says why, the state is rebuilt from the records, and the next one is saved and fits."""
    run_and_save(post, range(2))
    change(post)
    step = matcher(post, rules_of(BURST))
    discarded, rebuilt = events_of(step)
    assert why in discarded
    assert rebuilt == REBUILT
    post.store(make_record(2, minutes=2), make_record(3, minutes=3))
    assert step.run_once() == 1
    assert events_of(matcher(post, rules_of(BURST))) == [LOADED]


def test_a_record_of_a_saved_state_may_be_gone(post: Post) -> None:
    """It counts, as in a process that continues. If an alert needs it, the state is rebuilt without it."""
    run_and_save(post, range(2))
    _change("DELETE FROM record WHERE id = 1")(post)
    step = matcher(post, rules_of(BURST))
    assert events_of(step) == [LOADED]
    post.store(make_record(2, minutes=2))
    assert step.run_once() == 0
    assert not post.alerts()
    post.store(make_record(3, minutes=3))
    assert step.run_once() == 1
    assert only(post).count == 3


@pytest.mark.parametrize("gone", ["DELETE FROM record WHERE id = 1", "DELETE FROM correlated_alert"])
def test_a_record_that_was_reported_is_not_reported_again(post: Post, gone: str) -> None:
    """Retention deletes records of an alert that is still joined, or the whole alert: a start does not take them for new."""
    rules = rules_of(f"{BURST}---\n{OVER_OTHER.replace('rules: other', 'rules: burst')}")
    post.store(*(make_record(number, minutes=number / 2) for number in range(20)))
    for minute in (10, 11):
        see(post.database, NOON + minute * MINUTE)
        step = matcher(post, rules, keep=5 * MINUTE)
        step.run_once()
    _change(gone)(post)
    step = matcher(post, rules, keep=5 * MINUTE)
    assert events_of(step) == [LOADED]
    post.store(make_record(30, minutes=10.5))
    step.run_once()
    assert events_of(step) == []
    (alert,) = post.alerts().values()
    assert alert.count == 21


def came_from(step: RecordMatcher) -> tuple[int, list[str]]:
    """Run a matcher that continues from a saved state; return how many records it read, and which rules it rebuilt."""
    with capture_logs() as logs:
        step.run_once()
    (loaded,) = [log for log in logs if log["event"] in (LOADED, REBUILT, DISCARDED)]
    return loaded["records_read"], sorted(loaded["rebuilt"])


DAY = timedelta(days=1)
LONG = BURST.replace("burst", "long").replace("10m", "9d")
OTHER = BURST.replace("burst", "other").replace("10m", "20m")
OVER_OTHER = (
    HEAD.format("over")
    + "correlation: {type: event_count, rules: other, timespan: 1h, condition: {gte: 2}, generate: true}\n"
)


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([BURST, LONG], (0, [])),
        ([BURST.replace("10m", "15m"), LONG], (2, ["burst"])),
        ([BURST, LONG.replace("9d", "2d")], (6, ["long"])),
        ([BURST, LONG, OTHER], (2, ["other"])),
        ([BURST, LONG, OTHER, OVER_OTHER], (2, ["other", "over"])),
        ([LONG], (0, [])),
        ([BURST.replace("alert: {", "alert: {realert: 1h, "), LONG], (2, ["burst"])),
        ([BURST.replace("alert: {", "alert: {group_by: [userName], "), LONG], (2, ["burst"])),
        ([BURST.replace("level: high", "level: low"), LONG], (0, [])),
        ([BURST + "---\n" + MISSING, LONG], (9, ["missing"])),
    ],
    ids=["same", "changed", "long", "added", "nested", "removed", "realert", "group_by", "level", "absence"],
)
@pytest.mark.parametrize("is_reload", [False, True])
def test_only_changed_rules_read_records_again(
    post: Post, rules: list[str], expected: tuple[int, list[str]], *, is_reload: bool
) -> None:
    """A start, and a reload alike, read records for the changed rules only, and only those within their reach."""
    post.store(*(make_record(number, minutes=24 * 60 * number) for number in range(9)))
    see(post.database, NOON + 8 * DAY)
    before, after = rules_of(BURST + "---\n" + LONG), rules_of("---\n".join(rules))
    step = matcher(post, before)
    step.run_once()
    if is_reload:
        step.use(Engine(after), Correlating(after, post.addressing))
    else:
        step = matcher(post, after)
    assert came_from(step) == expected


def test_a_rule_that_alerts_itself_from_now_on_reads_records_again(post: Post) -> None:
    """A rule that is off keeps what it counts silent. Once it is removed, what it counted may alert."""
    counting = OVER_OTHER.replace(", generate: true", "") + "mode: off\n"
    run_and_save(post, range(2), "---\n".join([BURST, OTHER, counting]))
    assert came_from(matcher(post, rules_of(f"{BURST}---\n{OTHER}"))) == (2, ["other"])


@pytest.mark.parametrize("is_clean", [True, False])
def test_what_was_rebuilt_is_saved(post: Post, monkeypatch: pytest.MonkeyPatch, *, is_clean: bool) -> None:
    """A clean stop saves a rule that was rebuilt, and a process with many records saves it at once: also if none came."""
    run_and_save(post, range(3), f"{BURST}---\n{OTHER}")
    changed = rules_of(f"{BURST.replace('10m', '15m')}---\n{OTHER}")
    if not is_clean:
        monkeypatch.setattr("actionwatch.matching.state_saving.SAVE_EVERY", 3)
    step = matcher(post, changed)
    assert came_from(step) == (3, ["burst"])
    if is_clean:
    assert came_from(matcher(post, changed)) == (0, [])


def test_a_changed_rule_alerts_on_nothing_old(post: Post) -> None:
    """A rule that was changed learns from older records, and counts them with the next one; one that was not continues."""
    run_and_save(post, range(2), f"{BURST}---\n{OTHER}")
    changed = rules_of(f"{BURST.replace('gte: 3', 'gte: 2')}---\n{OTHER}")
    step = matcher(post, changed)
    assert events_of(step) == [LOADED]
    assert not post.alerts()
    post.store(make_record(2, minutes=2))
    assert step.run_once() == 2
    assert {(alert.rule.name, alert.count) for alert in post.alerts().values()} == {("burst", 3), ("other", 3)}


def test_a_changed_rule_takes_what_was_matched_since_the_state_was_saved(post: Post) -> None:
    """A process is killed, and a rule changed before the next one: records from before and after the saved state count."""
    run_and_save(post, range(1), f"{BURST}---\n{OTHER}")
    post.store(make_record(1, minutes=1))
    assert matcher(post, rules_of(f"{BURST}---\n{OTHER}")).run_once() == 0
    step = matcher(post, rules_of(f"{BURST.replace('10m', '15m')}---\n{OTHER}"))
    assert came_from(step) == (2, ["burst"])
    post.store(make_record(2, minutes=2))
    assert step.run_once() == 2
    assert {(alert.rule.name, alert.count) for alert in post.alerts().values()} == {("burst", 3), ("other", 3)}


def test_an_alert_of_a_longer_realert_is_joined(post: Post) -> None:
    """Until when an alert is joined depends on its `realert`: with another one, the saved state of the rule does not fit."""
    run_and_save(post, range(3))
    step = matcher(post, rules_of(BURST.replace("alert: {", "alert: {realert: 1h, ")))
    step.run_once()
    post.store(make_record(9, minutes=30))
    assert step.run_once() == 0
    assert only(post).count == 4


def test_a_new_absence_looks_at_all_records_beside_a_saved_state(post: Post) -> None:
    """A rule that is new looks for the last record of each group in all that is stored; the others continue."""
    post.store(make_record(1, occurred_at=NOON - 3 * DAY, cluster=Entity("c-1")), make_record(2))
    see(post.database, NOON, begins=NOON - 5 * DAY, alerts_from=NOON - 5 * DAY)
    step = matcher(post, rules_of(BURST))
    step.run_once()
    assert came_from(matcher(post, rules_of(f"{BURST}---\n{MISSING}"))) == (2, ["missing"])
    assert only(post).first_at == NOON - 3 * DAY + timedelta(hours=1)


def test_a_state_of_other_rules_is_discarded(post: Post) -> None:
    """If no rule is left as it was, the state is rebuilt, and a rule that is new alerts about nothing old."""
    run_and_save(post, range(2))
    for rules in (BURST.replace("10m", "20m"), MISSING):
        assert events_of(matcher(post, rules_of(rules))) == [OTHER_RULES, REBUILT]
    assert not post.alerts()


def test_a_start_does_not_wait_for_records_that_were_deleted(post: Post) -> None:
    """Retention may delete all records that were matched after the state was saved, and those before."""
    run_and_save(post, range(2), MISSING)
    post.store(make_record(2, minutes=2), make_record(3, minutes=3))
    matcher(post, rules_of(MISSING)).run_once()
    with post.database.write() as connection:
        connection.execute(text("DELETE FROM record"))
    assert events_of(matcher(post, rules_of(MISSING))) == [LOADED]


def test_a_state_that_is_too_far_behind_is_discarded(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rebuild is cheaper than to take very many records in the order in which they were stored."""
    monkeypatch.setattr("actionwatch.matching.state_saving.MAX_BEHIND", 1)
    run_and_save(post, range(2))
    post.store(*(make_record(number, minutes=number) for number in (2, 3)))
    assert matcher(post, rules_of(BURST)).run_once() == 1
    assert events_of(matcher(post, rules_of(BURST)))[1:] == [REBUILT]
    assert only(post).count == 4


def test_a_state_for_which_a_record_came_too_late_is_discarded(post: Post) -> None:
    """A record from before what is kept of its group needs a rebuild, as it did in the process that was killed."""
    run_and_save(post, range(30))
    post.store(make_record(100, minutes=-90))
    matcher(post, rules_of(BURST), keep=5 * MINUTE).run_once()
    step = matcher(post, rules_of(BURST), keep=5 * MINUTE)
    step.run_once()
    post.store(*(make_record(number, minutes=number) for number in range(31, 60)))
    see(post.database, NOON + timedelta(hours=2))
    step.run_once()
    post.store(make_record(101, minutes=20.5))
    matcher(post, rules_of(BURST), keep=5 * MINUTE).run_once()
    assert events_of(matcher(post, rules_of(BURST), keep=5 * MINUTE)) == ["a record arrived too late for it", REBUILT]


def test_the_state_is_saved_every_so_many_records(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is killed while it reads a backlog loses little."""
    monkeypatch.setattr("actionwatch.matching.state_saving.SAVE_EVERY", 10)
    post.store(*(make_record(number, minutes=number / 10) for number in range(25)))
    see(post.database, NOON)
    matcher(post, rules_of(BURST), batch_size=4).run_once()
    with post.database.read() as connection:
        stored = correlation_state.read(connection)
        assert stored is not None
        assert stored.position == 24
        assert positions.read(connection, CORRELATED) == records.newest_id(connection) == 25


def test_hits_that_are_dropped_are_not_saved(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state that was saved right after a rebuild is replaced at a clean stop, so that a start does not fold them again."""
    monkeypatch.setattr("actionwatch.matching.state_saving.SAVE_EVERY", 1)
    monkeypatch.setattr("actionwatch.rules.correlations.live.correlator.MAX_KEPT", 10)
    post.store(*(make_record(number, minutes=number / 10) for number in range(40)))
    see(post.database, NOON + timedelta(hours=1))
    step = matcher(post, rules_of(BURST))
    step.run_once()
    assert [len(group.hits) for rule in saved.decode(_body(post)).rules for group in rule.groups] == [1]


@pytest.mark.parametrize(("limit", "position"), [(300, 24), (1, 12)])
def test_a_large_state_is_saved_less_often(
    post: Post, monkeypatch: pytest.MonkeyPatch, limit: int, position: int
) -> None:
    """Saving takes time that grows with the size, so that its cost for each record has a limit."""
    monkeypatch.setattr("actionwatch.matching.state_saving.SAVE_EVERY", 10)
    monkeypatch.setattr("actionwatch.matching.state_saving.BYTES_PER_RECORD", limit)
    post.store(*(make_record(number, minutes=number / 10) for number in range(25)))
    see(post.database, NOON)
    matcher(post, rules_of(BURST), batch_size=4).run_once()
    with post.database.read() as connection:
        stored = correlation_state.read(connection)
    assert stored is not None
    assert (stored.position, stored.size > 25) == (position, True)


def test_a_state_that_cannot_be_saved_is_not_tried_for_a_while(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is as large as what may be saved at most, or larger: each attempt takes long."""
    monkeypatch.setattr("actionwatch.matching.state_saving.SAVE_EVERY", 2)
    monkeypatch.setattr(saved, "MAX_STATE_BYTES", 10)
    post.store(*(make_record(number, minutes=number / 10) for number in range(25)))
    see(post.database, NOON)
    with capture_logs() as logs:
        matcher(post, rules_of(BURST), batch_size=4).run_once()
    assert [each["event"] for each in logs].count("correlations_not_saved") == 1


def test_after_a_store_that_was_busy_a_state_is_saved_in_time(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next attempt comes before the older state is too far behind for a start."""
    monkeypatch.setattr("actionwatch.matching.state_saving.SAVE_EVERY", 2)
    monkeypatch.setattr("actionwatch.matching.state_saving.SAVE_AT_LATEST", 8)
    add, calls = NewState.add, list[bytes]()

    def busy_once(self: NewState, connection: Connection, piece: bytes) -> None:
        calls.append(piece)
        if len(calls) == 1:
            raise StoreBusy("locked")
        add(self, connection, piece)

    monkeypatch.setattr(NewState, "add", busy_once)
    post.store(*(make_record(number, minutes=number / 10) for number in range(25)))
    see(post.database, NOON)
    matcher(post, rules_of(BURST), batch_size=4).run_once()
    with post.database.read() as connection:
        stored = correlation_state.read(connection)
    assert stored is not None
    assert stored.position >= 12


def test_a_state_that_cannot_be_saved_leaves_no_pieces(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of it may be written before it is known to be too large, and the next attempt may be long after."""
    monkeypatch.setattr(saved, "PIECE_BYTES", 0)
    monkeypatch.setattr(saved, "MAX_STATE_BYTES", 60)
    written: list[bytes] = []
    add = NewState.add

    def watched(self: NewState, connection: Connection, piece: bytes) -> None:
        written.append(piece)
        add(self, connection, piece)

    monkeypatch.setattr(NewState, "add", watched)
    with capture_logs() as logs:
        run_and_save(post, range(2))
    assert "correlations_not_saved" in [each["event"] for each in logs]
    with post.database.read() as connection:
        left = connection.execute(text("SELECT count(*) FROM correlation_state_piece")).scalar()
    assert (len(written) > 0, left) == (True, 0)


def test_a_state_of_an_older_replica_is_not_mixed_with_pieces(post: Post) -> None:
    """An older version replaces the row but not the name of the pieces: its state is rebuilt, and not called damaged."""
    run_and_save(post, range(2))
    _change("UPDATE correlation_state SET digest = 'old', body = 'abc'")(post)
    step = matcher(post, rules_of(BURST))
    assert events_of(step) == [REBUILT]
    post.store(make_record(2, minutes=2))
    step.run_once()
    assert events_of(matcher(post, rules_of(BURST))) == [LOADED]


def test_a_state_is_saved_once(post: Post) -> None:
    """Without anything new, nothing is written again; what only time brought is."""
    run_and_save(post, range(2), MISSING)
    step = matcher(post, rules_of(MISSING))
    for proved, epoch in ((NOON + 3 * MINUTE, 1), (NOON + timedelta(hours=3), 2), (NOON + timedelta(hours=4), 2)):
        see(post.database, proved)
        step.run_once()
        with post.database.read() as connection:
            assert correlation_state.read_epoch(connection) == epoch


@pytest.mark.parametrize("cause", ["size", "disk"])
def test_a_state_that_cannot_be_saved_is_reported(post: Post, monkeypatch: pytest.MonkeyPatch, cause: str) -> None:
    """The log says so once, the matcher goes on, and the next start rebuilds the state."""
    if cause == "size":
        monkeypatch.setattr(saved, "MAX_STATE_BYTES", 10)
    else:
        monkeypatch.setattr(NewState, "add", disk_full)
    with capture_logs() as logs:
        run_and_save(post, range(2))
    (warning,) = [log for log in logs if log["log_level"] == "warning"]
    assert warning["event"] == "correlations_not_saved"
    assert ("more than 10 bytes" if cause == "size" else "disk full") in warning["error"]
    post.store(make_record(2, minutes=2))
    step = matcher(post, rules_of(BURST))
    assert events_of(step) == [REBUILT]
    assert only(post).count == 3


def test_a_saved_state_that_fails_is_not_tried_again(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure that a saved state brings ends with a rebuild, and not in a circle."""
    run_and_save(post, range(2))
    correlating = Correlating(rules_of(BURST), post.addressing)
    step = RecordMatcher(post.database, Engine(rules_of(BURST)), post.addressing, post.clock, 2000, correlating)
    monkeypatch.setattr(correlations, "read_newer", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        step.run_once()
    assert events_of(step) == [REBUILT]


def test_a_matcher_that_another_one_has_saved_a_state_beside_finds_nothing_with_an_old_number(post: Post) -> None:
    """Two matchers at one position: what the second finds after the first has saved is known to be newer."""
    steps = [matcher(post, rules_of(BURST)) for _ in range(2)]
    post.store(*(make_record(number, minutes=number) for number in range(2)))
    for step in steps:
        step.run_once()
    steps[0].save()
    steps[1].save()
    post.store(make_record(2, minutes=2))
    assert steps[1].run_once() == 1
    post.store(make_record(3, minutes=3))
    assert events_of(matcher(post, rules_of(BURST))) == [LOADED]
    assert only(post).count == 4
    assert post.states() == ["hook opened pending"]


def test_a_state_whose_pieces_are_gone_is_not_finished(post: Post) -> None:
    """Two processes that save at once delete each other's pieces: the state before stays."""
    run_and_save(post, range(2))
    first, second = NewState(), NewState()
    with post.database.write() as connection:
        first.add(connection, b"one")
        correlation_state.drop_unfinished(connection)
        second.add(connection, b"two")
        assert not first.finish(connection, 9, 9)
        assert correlation_state.read_epoch(connection) == 1
        assert second.finish(connection, 9, 9)
    assert _body(post) == b"two"


BURST_AND_MISSING = f"{BURST}---\n{MISSING}"
WITHOUT_MISSING = {
    "off": f"{BURST_AND_MISSING}mode: off\n",
    "removed": BURST,
    "other group": BURST_AND_MISSING.replace("[c-1]", "[c-2]"),
}


def missing_alerts(post: Post) -> list[str]:
    """Return the status of each alert about what is missing."""
    return sorted(alert.status.value for alert in post.alerts().values() if alert.rule.name == "missing")


@pytest.mark.parametrize("how", WITHOUT_MISSING)
@pytest.mark.parametrize("between", ["reload", "stop", "kill"])
def test_an_absence_that_comes_back_opens_a_new_alert(post: Post, how: str, between: str) -> None:
    """A rule is switched off, and on again before any record comes: what is still missing is reported again."""
    post.store(make_record(1, cluster=Entity("c-1")), make_record(2, cluster=Entity("c-2"), minutes=130))
    see(post.database, NOON + timedelta(minutes=131))
    step = matcher(post, rules_of(BURST))
    step.run_once()
    for index, texts in enumerate([BURST_AND_MISSING, WITHOUT_MISSING[how], BURST_AND_MISSING]):
        rules = rules_of(texts)
        with post.database.write() as connection:
            correlations.forget_versions(connection, {rule.name.id for rule in rules})
        if between == "reload":
            step.use(Engine(rules), Correlating(rules, post.addressing))
        else:
            step = matcher(post, rules)
        step.run_once()
        if between == "stop" or index == 0:
    assert missing_alerts(post) == ["open", "resolved"]
    see(post.database, NOON + timedelta(hours=3))
    step.run_once()
    assert missing_alerts(post) == ["open", "resolved"]
    post.store(make_record(3, minutes=181, cluster=Entity("c-1")))
    see(post.database, NOON + timedelta(minutes=182))
    step.run_once()
    assert missing_alerts(post) == ["resolved", "resolved"]


def test_a_rule_that_was_removed_is_no_longer_saved(post: Post) -> None:
    """A clean stop replaces a state that has more rules than run, although no record came since."""
    run_and_save(post, range(2), f"{BURST}---\n{OTHER}")
    step = matcher(post, rules_of(BURST))
    assert came_from(step) == (0, [])
    assert len(saved.decode(_body(post)).rules) == 1


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


def _edit(edit: Callable[[saved.SavedRule], list[saved.SavedRule]]) -> Callable[[bytes], bytes]:
    """Save other rules instead of the only one."""

    def rewrite(body: bytes) -> bytes:
        state = saved.decode(body)
        return _encoded(replace(state, rules=edit(state.rules[0])))

    return rewrite


def _edit_group(**changes: object) -> Callable[[bytes], bytes]:
    """Save another group instead of the only one."""
    return _edit(lambda rule: [replace(rule, groups=[structs.replace(group, **changes) for group in rule.groups])])


def _hits_with(**changes: object) -> SavedHits:
    """Make saved hits whose parts do not belong together."""
    hits = SavedHits(b"", (), {})
    for name, value in changes.items():
        structs.force_setattr(hits, name, value)
    return hits


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (_edit_group(hits=SavedHits(b"", (), {0: 99})), "its parts do not belong together: IndexError"),
        (_edit_group(hits=SavedHits(bytes(28), (), {})), "its parts do not belong together: ValueError"),
        (_edit_group(hits=_hits_with(rows=b"x")), "it cannot be read: the rows of hits and their values"),
        (_edit_group(base=SavedFold([])), "its parts do not belong together: ValueError"),
        (_edit_group(group=("eve", "c-1")), "it has groups that the rule burst cannot have"),
        (
            _edit(lambda rule: [replace(rule, groups=list(rule.groups) * 2)]),
            "it has groups that the rule burst cannot",
        ),
        (_edit(lambda rule: [rule, replace(rule, groups=[])]), "it has a rule twice"),
    ],
    ids=["hit", "hit without a record", "rows", "windows", "group length", "group twice", "rule twice"],
)
def test_a_state_that_someone_edited_is_discarded(post: Post, edit: Callable[[bytes], bytes], why: str) -> None:
    """It does not fit although its digest does: the log says why, and the state is rebuilt."""
    run_and_save(post, range(2))
    _rewrite(edit)(post)
    step = matcher(post, rules_of(BURST))
    discarded, rebuilt = events_of(step)
    assert discarded.startswith(why)
    assert rebuilt == REBUILT
    post.store(make_record(2, minutes=2))
    assert step.run_once() == 1
