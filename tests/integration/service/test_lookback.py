"""Retention keeps what rules, open alerts and polls still need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from actionwatch.base.model import Entity, Record
from actionwatch.matching.operator_actions import OperatorActions
from actionwatch.rules.model import Rule
from actionwatch.service import prune
from actionwatch.service.prune import look_back, oldest_asked
from actionwatch.settings import Retention, Settings, Source
from actionwatch.store import alerts, records, unproved_windows
from actionwatch.store.marks import Marks
from actionwatch.store.unproved_windows import SECOND_LOOK, UnprovedWindow
from actionwatch.tail.cursor import COARSEST_UNIT
from tests.builders import NOON, make_record
from tests.integration.kit import REFUSED, KindRule, Post
from tests.integration.matching.test_correlation import BURST, DELETED, HEAD, MISSING, matcher, rules_of, see

DAY = timedelta(days=1)
RETENTION = Retention(records=10 * DAY, deliveries=5 * DAY, receipts=10 * DAY)
NEW_USER = (
    HEAD.format("new_user")
    + DELETED
    + ("correlation: {type: new_term, fields: [userName], history: 90d}\nalert: {title: '{{ userName }} is new'}\n")
)
SOURCE = Source(
    name="acme",
    organisation_id="x",
    username="x",
    api_key=SecretStr("a-key-of-some-length"),
    base_url="https://127.0.0.1:9",
)


def prune_with(post: Post, rules: Sequence[Rule]) -> dict[str, int]:
    """Prune like a service with these rules."""
    with post.database.read() as connection:
        back = look_back(connection, Settings(sources=(SOURCE,)), rules)
    deleted = prune.run_once(post.database, RETENTION, post.clock(), back)
    return {name: count for name, count in deleted.items() if count}


def at(days: float, number: int, **changes: object) -> Record:
    """Make a record of some days after noon."""
    return make_record(number, minutes=days * 24 * 60, **changes)


def pass_days(post: Post, rules: Sequence[Rule], until: float, first: int = 10_000, every: int = 1) -> None:
    """Add a different record each day, or every few days, match it, and prune."""
    day = (post.clock() - NOON) // DAY
    while day < until:
        day += every
        post.clock.now = NOON + day * DAY
        post.store(at(day, first + day, action_kind="BACKUP"))
        see(post.database, post.clock(), begins=NOON - 400 * DAY, alerts_from=NOON)
        matcher(post, rules).run_once()
        prune_with(post, rules)


def stored(post: Post) -> list[str]:
    """Name the kinds of the stored records, oldest first."""
    with post.database.read() as connection:
        return [record.action_kind for record in records.read_after(connection, 0, 10_000)]


def test_term_is_known_for_its_whole_history(post: Post) -> None:
    """With a retention of 10 days and a history of 90, a user from 30 days ago is not new after a restart."""
    rules = rules_of(NEW_USER)
    see(post.database, NOON, begins=NOON - 400 * DAY, alerts_from=NOON)
    post.store(at(-1, 1, user_name="bob", is_backlog=True), at(-1, 2, action_kind="BACKUP", is_backlog=True))
    matcher(post, rules).run_once()
    pass_days(post, rules, 30)
    assert post.alerts() == {}
    post.store(at(30, 3, user_name="bob"), at(30, 4, user_name="mallory"))
    see(post.database, post.clock(), begins=NOON - 400 * DAY, alerts_from=NOON)
    matcher(post, rules).run_once()
    assert [alert.title for alert in post.alerts().values()] == ["mallory is new"]


def test_only_records_that_a_rule_can_match_are_kept_for_it(post: Post) -> None:
    """Records of other kinds are deleted on time; those of the rule after its history has passed."""
    rules = rules_of(NEW_USER)
    see(post.database, NOON, begins=NOON - 400 * DAY, alerts_from=NOON)
    post.store(at(-1, 1, user_name="bob", is_backlog=True), at(-1, 2, action_kind="BACKUP", is_backlog=True))
    matcher(post, rules).run_once()
    pass_days(post, rules, 45)
    assert stored(post).count("DELETE_CLUSTER") == 1
    assert stored(post).count("BACKUP") < 35
    pass_days(post, rules, 140, every=5)
    assert "DELETE_CLUSTER" not in stored(post)


def test_open_alert_within_its_realert_is_kept(post: Post) -> None:
    """An open alert whose realert is longer than retention is joined, not opened again."""
    rule = KindRule(realert=30 * DAY)
    post.store(at(0, 1))
    post.matcher(rule).run_once()
    post.deliver()
    (opened,) = post.alerts()
    for day in (11, 22):
        post.clock.now = NOON + day * DAY
        see(post.database, post.clock())
        prune_with(post, ())
        post.store(at(day, day))
        post.matcher(rule).run_once()
        post.deliver()
    (alert,) = post.alerts().values()
    assert (alert.id, alert.count) == (opened, 3)
    OperatorActions(post.database, post.addressing, post.clock).resolve(opened, "sam")
    post.deliver()
    post.clock.advance(days=40)
    see(post.database, post.clock())
    prune_with(post, ())
    assert post.alerts() == {}


def test_open_alert_of_a_correlation_is_kept(post: Post) -> None:
    """A burst that lasts longer than retention stays one alert and keeps all its records."""
    rules = rules_of(BURST.replace("alert: {", "alert: {realert: 30d, "))
    see(post.database, NOON)
    post.store(*(at(0, number) for number in (1, 2, 3)))
    matcher(post, rules).run_once()
    post.deliver()
    (opened,) = post.alerts()
    for day in (12, 24):
        post.clock.now = NOON + day * DAY
        see(post.database, post.clock())
        prune_with(post, rules)
        post.store(at(day, day))
        matcher(post, rules).run_once()
        post.deliver()
    (alert,) = post.alerts().values()
    assert (alert.id, alert.count) == (opened, 5)


def test_alert_of_a_long_absence_is_kept(post: Post) -> None:
    """An absence that lasts longer than retention keeps its alert, even without a receiver."""
    post.senders.clear()
    rules = rules_of(MISSING)
    see(post.database, NOON)
    pass_days(post, rules, 2)
    assert len(post.alerts()) == 1
    pass_days(post, rules, 40)
    (alert,) = post.alerts().values()
    post.store(at(40.01, 1, cluster=Entity("c-1", "c-1")))
    post.clock.advance(hours=1)
    see(post.database, post.clock())
    matcher(post, rules).run_once()
    with post.database.read() as connection:
        found = alerts.read(connection, alert.id)
    assert found is not None
    assert found.resolved_by == "actionwatch"


def test_records_near_the_mark_are_kept(post: Post) -> None:
    """Records near a mark that does not move stay, because each poll reads them again."""
    post.store(at(-100, 1), at(0, 2))
    see(post.database, NOON, begins=NOON - 400 * DAY)
    post.matcher(KindRule("OTHER")).run_once()
    post.clock.advance(days=300)
    assert prune_with(post, ()) == {"records": 1}
    assert len(stored(post)) == 1


def test_lookback_of_polls_and_sweeps(post: Post) -> None:
    """Polls and sweeps look back from the mark. Backlog windows that need a second read reach further back."""
    known = Marks(
        name="acme", organisation="org", begins_at=NOON - 400 * DAY, alerts_from=NOON, mark=NOON, seen_through=NOON,
        proved_through=NOON, bounds_unit=timedelta(seconds=1),
    )  # fmt: skip
    moved = timedelta(seconds=60 + 3)  # bounds are moved to where no record is near, and widened to whole units
    reach = SOURCE.overlap + sum(SOURCE.sweeps, timedelta(0)) + moved
    assert oldest_asked(SOURCE, known, ()) == NOON - reach
    doubt = UnprovedWindow(
        source="acme", starts_at=NOON - 90 * DAY, ends_at=NOON - 89 * DAY, reach=SECOND_LOOK, due_at=NOON
    )
    assert oldest_asked(SOURCE, known, [doubt]) == NOON - 90 * DAY - timedelta(seconds=1)
    question = replace(
        doubt, reach=DAY
    )  # a window of a sweep that no poll had time for is checked regardless of its age
    assert oldest_asked(SOURCE, known, [question]) < question.starts_at
    assert oldest_asked(SOURCE, known, [replace(question, failure_count=1)]) == NOON - reach
    with post.database.write() as connection:
        unproved_windows.write(connection, [doubt])
    see(post.database, NOON)
    with post.database.read() as connection:
        (needed,) = look_back(connection, Settings(sources=(SOURCE,)), ()).needed
    assert (needed.source, needed.since) == ("acme", NOON - 90 * DAY - COARSEST_UNIT)


def test_nothing_is_deleted_before_every_source_was_polled(post: Post) -> None:
    """No record that a rule may match is deleted before every source has marks."""
    post.store(at(0, 1), at(0, 2, action_kind="BACKUP"))
    post.matcher(KindRule("OTHER")).run_once()
    post.clock.advance(days=300)
    assert prune_with(post, rules_of(NEW_USER)) == {"records": 1}
    assert stored(post) == ["DELETE_CLUSTER"]


def test_a_source_that_was_never_read_keeps_what_its_beginning_can_need(post: Post) -> None:
    """A key that is refused from the first poll on does not end retention: rules may need the records since its start."""
    see(post.database, NOON)

    def since(*others: Source) -> datetime:
        with post.database.read() as connection:
            return look_back(connection, Settings(sources=(SOURCE, *others)), rules_of(NEW_USER)).needed[-1].since

    def late(start: Any) -> Source:
        return SOURCE.model_copy(update={"name": "late", "organisation_id": "y", "start": start})

    alone = since()
    assert since(late("now")) == alone
    assert since(late(200 * DAY)) == alone - 200 * DAY
    assert since(late(NOON - 200 * DAY)) == since(late(NOON - 300 * DAY)) + 100 * DAY < alone
    assert since(late(NOON)) == alone


def test_a_source_that_was_renamed_and_not_read_yet_keeps_what_it_can_ask_for(post: Post) -> None:
    """Its next poll continues under the new name, and asks for the same records as before."""
    see(post.database, NOON)
    settings = Settings(sources=(SOURCE.model_copy(update={"name": "renamed", "organisation_id": "org"}),))
    with post.database.read() as connection:
        (needed,) = look_back(connection, settings, ()).needed
        assert needed == look_back(connection, Settings(sources=(SOURCE,)), ()).needed[0]
    assert needed.source == "acme"


def test_dead_letter_is_kept_until_it_is_dropped(post: Post) -> None:
    """Retention keeps a dead letter with its alert and message until it is dropped."""
    post.senders["hook"].answer = lambda message: REFUSED
    post.store(at(0, 1))
    post.matcher(KindRule()).run_once()
    post.deliver()
    post.clock.advance(days=300)
    see(post.database, post.clock())
    prune_with(post, ())
    (row,) = post.rows()
    assert (row.status.value, row.body is not None) == ("dead", True)
    assert len(post.alerts()) == 1


def test_check_reports_rules_that_extend_retention(tmp_path: Path) -> None:
    """`check` prints a note at the rule if records are kept longer than configured."""
    from actionwatch.service import checking

    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "r.yml").write_text(NEW_USER + "---\n" + BURST)
    config = tmp_path / "actionwatch.yaml"
    config.write_text("sources: []\n")
    settings = Settings(sources=(SOURCE,), rules=(tmp_path / "rules",), store={"retention": {"records": "10d"}})  # type: ignore[arg-type]
    notes = [note for note in checking.check(settings, config).notes if "retention" in note.what]
    assert [Path(note.file).name for note in notes] == ["r.yml"]
    assert "'new_user' looks back " in notes[0].what
