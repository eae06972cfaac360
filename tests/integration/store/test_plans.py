"""Both databases answer questions about a few rows with an index: no whole table is read, however large it is.

On PostgreSQL the plan is run, and the rows that it visits are counted; on SQLite, the steps of its virtual machine. Neither
depends on the speed of the machine.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from msgspec import structs
from sqlalchemy import Connection

from actionwatch.base.clock import ALWAYS, Spans
from actionwatch.base.delivery import NOT_NOTIFIED, Delivery, DeliveryStatus
from actionwatch.base.model import Alert, CorrelatedAlert, Event, Hit, Level, RecordFilter, RecordRef, Status
from actionwatch.delivery import dead_letters
from actionwatch.store import (
    alert_history,
    alerts,
    correlations,
    delivery_transitions,
    fallback_deliveries,
    hits,
    open_alerts,
    outbox,
    receipts,
    receiver_progress,
    receivers,
    record_counts,
    record_search,
    records,
    retention,
    source_records,
    suppressed_deliveries,
)
from actionwatch.store.alert_history import Entry
from actionwatch.store.alerts import AlertFilter
from actionwatch.store.database import Database
from actionwatch.store.delivery_transitions import Suppression
from actionwatch.store.outbox import DeliveryFilter
from actionwatch.store.tables import DELIVERY, RECEIPT
from tests import postgresql
from tests.builders import NOON, make_alert, make_delivery, make_receipt, make_record, open_database
from tests.cases import in_one_test
from tests.statements import run_statements, steps, undone

RECORDS, ALERTS = 10_000, 5_000
RECEIVERS = ("hook", "mail")
BIG = {
    "record",
    "alert",
    "alert_record",
    "delivery",
    "alert_history",
    "receipt",
    "correlated_alert",
    "hit",
    "touched_group",
}
"""The tables that grow with the log. The others have a row for each source, receiver, rule or silence."""
FEW = 100  # what a question is about
MOST_VISITED = 2000  # rows: far below the size of every big table
MOST_STEPS = 20_000  # of SQLite's virtual machine, which needs three for each row that a scan leaves out

WAITING_SINCE = ALERTS - FEW // 2
WAITING = f"alert {WAITING_SINCE:05}"  # the messages of this alert, and of those after it, are not sent yet
START = NOON - timedelta(seconds=RECORDS)
LARGE = "large"
"""A group with many hits and alerts."""
LATER = NOON + timedelta(days=10_000)
QUIET = "quiet"
"""A source without records. The records are those of another one."""


TEMPLATE: Final = "plans_template"
STORES = ("sqlite", "sqlite with statistics", "postgresql")


@pytest.fixture(scope="module", params=STORES)
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """Fill a store."""
    with filled_store(request.param, tmp_path_factory.mktemp("plans")) as database:
        yield database


@contextlib.contextmanager
def filled_store(kind: str, folder: Path) -> Iterator[Database]:
    """Fill a store. PostgreSQL has statistics of it, as in operation, where autovacuum makes them.

    SQLite has none, unless somebody made them by hand.
    """
    with contextlib.ExitStack() as stack:
        if kind == "postgresql":
            _fill_template()
            copied = postgresql.other_database("plans", f"TEMPLATE {TEMPLATE} STRATEGY file_copy")
            database = Database(stack.enter_context(copied))
        else:
            (folder / "store.db").write_bytes(_filled_file())
            database = open_database(folder)
        stack.callback(database.close)
        if kind != "sqlite":
            with database.write() as connection:
                connection.exec_driver_sql("ANALYZE")
        yield database


@functools.cache
def _fill_template() -> None:
    """Fill what stores in PostgreSQL are copies of, once in each process: it takes several seconds."""
    with contextlib.closing(Database(postgresql.new_database(TEMPLATE))) as database:
        database.upgrade()
        _fill(database)


@functools.cache
def _filled_file() -> bytes:
    """Fill what files are copies of."""
    with tempfile.TemporaryDirectory() as folder:
        with contextlib.closing(open_database(Path(folder))) as database:
            _fill(database)
        return (Path(folder) / "store.db").read_bytes()


def _fill(database: Database) -> None:
    for start in range(0, RECORDS, 5000):
        batch = [
            make_record(
                number,
                occurred_at=START + timedelta(seconds=number),
                seen_at=START + timedelta(seconds=number + 1),
                user_name=f"user {number % 500}",
                action_kind=f"KIND_{number % 50}",
            )
            for number in range(start, start + 5000)
        ]
        with database.write() as connection:
            records.insert_new(connection, batch)
    for start in range(0, ALERTS, 1000):
        with database.write() as connection:
            _add_alerts(connection, range(start, start + 1000))
    with database.write() as connection:
        _add_hits(connection)


def _add_alerts(connection: Connection, numbers: range) -> None:
    """Add alerts with a record, a message to each receiver, and history; most are resolved, and their messages sent."""
    made = [_alert(number) for number in numbers]
    joined = [
        (alert.id, number * RECORDS // ALERTS + 1, _at(number)) for number, alert in zip(numbers, made, strict=True)
    ]
    alerts.insert_new(connection, [(alert, f"group {alert.id}") for alert in made])
    alerts.join(connection, joined)
    alert_history.append(connection, [Entry(alert.opened_at, alert.id, "opened", "it opened") for alert in made])
    correlations.write(connection, [_found(number) for number in numbers])
    proofs = [make_receipt(starts_at=each.opened_at, ends_at=each.opened_at, judged_at=each.opened_at) for each in made]
    connection.execute(RECEIPT.insert(), [asdict(proof) for proof in proofs])
    for receiver in RECEIVERS:
        messages = [_message(alert, receiver) for alert in made]
        delivery_transitions.enqueue(connection, messages)
        done = {each.id: None for each in messages if each.alert_id < WAITING}
        delivery_transitions.sent(connection, receiver, None, done, NOON)
    connection.execute(DELIVERY.update().where(DELIVERY.c.alert_id < WAITING).values(body="{}"))


def _at(number: int) -> datetime:
    return START + timedelta(seconds=RECORDS // ALERTS * number)


def _alert(number: int) -> Alert:
    status, level, at = Status.RESOLVED if number % 100 else Status.OPEN, list(Level)[number % 5], _at(number)
    return make_alert(
        f"alert {number:05}", status=status, level=level, first_at=at, last_at=at, opened_at=at, happened_at=at
    )


def _found(number: int) -> tuple[CorrelatedAlert, str]:
    """Return the alert of a group; one group has very many."""
    at, group = _at(number), LARGE if number % 2 else f"group {number:05}"
    found = CorrelatedAlert(f"found alert {number:05}", f"rule {number % 40}", ("eve",), "k", at, at, at)
    found.pending_at = LATER if number % 7 == 0 else None
    return found, group


def _add_hits(connection: Connection) -> None:
    """Add the hits of all records in one group of a rule, and in a group for each user of another one."""
    for start in range(0, RECORDS, 5000):
        hits.insert(connection, [(1, LARGE, [_hit(number)]) for number in range(start, start + 5000)])
        hits.insert(
            connection, [(2, f"group {number // 2:05}", [_hit(number)]) for number in range(start, start + 5000)]
        )
    groups = ((2, f"group {number:05}", ("eve",), _when(number), _when(number)) for number in range(RECORDS // 2))
    hits.touch(connection, list(groups))
    hits.touch(connection, [(1, LARGE, ("eve",), START, NOON)])


def _when(number: int) -> datetime:
    return START + timedelta(seconds=number)


def _hit(number: int) -> Hit:
    at = _when(number)
    return Hit(at, int(number == 0), f"{number:05}", (RecordRef(f"{number:05}", number + 1, at, is_backlog=False),))


def _read_first(connection: Connection, at: datetime) -> None:
    """Read the first hits of a large group from a time on."""
    assert len(list(itertools.islice(hits.read_from(connection, 1, LARGE, at), FEW))) == FEW


def _message(alert: Alert, receiver: str) -> Delivery:
    at = alert.opened_at
    return make_delivery(alert.id, receiver, created_at=at, started_at=at, due_at=at)


Question = Callable[[Connection], object]
RECENT = NOON - timedelta(seconds=FEW)
OLD = START + timedelta(seconds=FEW)
SOME = [f"alert {number:05}" for number in range(2000, 2000 + FEW)]
SOME_GROUPS = [(f"group {number:05}", START) for number in range(2000, 2000 + FEW)]


def _records_found(**wanted: Any) -> Question:
    """Search records as `records list` does, in the newest few hundred."""
    return lambda c: record_search.search(c, RecordFilter(**wanted), 50, None, 4 * FEW)


def _alerts_found(**wanted: Any) -> Question:
    """Search alerts as `alerts list` does."""
    return lambda c: alerts.search(c, AlertFilter(**wanted), 50, None, 4 * FEW)


def _deleting(delete: Callable[[Connection, datetime], int], before: datetime) -> Question:
    return lambda c: delete(c, before)


def _first_proof(connection: Connection) -> None:
    """Look up the proof of a record of this day that has one, as `explain` does."""
    record = make_record(occurred_at=_at(ALERTS - FEW), seen_at=_at(ALERTS - FEW))
    assert receipts.read_first_covering(connection, record) is not None


DELETIONS: dict[str, Callable[[Connection, datetime], int]] = {
    "records": lambda c, before: len(records.delete_older(c, before, RECORDS, FEW)),
    "deliveries": lambda c, before: retention.delete_deliveries(c, before, before, NOON, FEW),
    "bodies": lambda c, before: retention.delete_bodies(c, before, FEW),
    "alerts": lambda c, before: alerts.delete_settled(c, before, NOON, FEW),
    "found alerts": lambda c, before: correlations.delete_older(c, before, FEW),
    "receipts": lambda c, before: receipts.delete_older(c, before, FEW),
}
QUESTIONS: dict[str, Question] = {
    # matching, and the look-backs of rules
    "records to match": lambda c: records.read_unmatched(c, RECORDS - FEW, FEW),
    "records that plain rules match": lambda c: records.read_that_may_alert(c, RECORDS - FEW, FEW),
    "records of a time": lambda c: list(records.stream_since(c, RECENT, RECORDS)),
    "records by id": lambda c: records.read_by_ids(c, range(1000, 1000 + FEW)),
    # the window of a source that is quiet beside others
    "records held": lambda c: source_records.count_held(c, QUIET, START, NOON),
    "kinds of records": lambda c: source_records.count_kinds(c, QUIET, START, NOON),
    "whether there are records": lambda c: source_records.is_quiet(c, QUIET, START, NOON),
    "whether there are more records": lambda c: source_records.has_more(c, QUIET, START, NOON, FEW),
    "records that vanished": lambda c: source_records.unmark_vanished(c, QUIET, START, NOON, ["none"]),
    "newest time": lambda c: records.newest_time(c, RECORDS),
    "oldest unmatched time": lambda c: records.oldest_time_after(c, RECORDS - FEW),
    # correlations
    "found alerts of a rule": lambda c: correlations.read_since(c, "rule 7", RECENT),
    "found alerts of a group": lambda c: correlations.read_from(c, "group 02000", START),
    "newest found alerts of a large group": lambda c: correlations.read_from(c, LARGE, RECENT),
    "newest found alerts of groups": lambda c: list(correlations.read_all_from(c, [(LARGE, RECENT), *SOME_GROUPS])),
    "open found alerts": correlations.read_open,
    "found alerts that are due": lambda c: list(correlations.read_pending(c, NOON)),
    "found alerts that are due, many": lambda c: list(correlations.read_pending(c, LATER)),
    "current found alerts of a rule": lambda c: list(correlations.read_current(c, "rule 7")),
    "delete found alerts": lambda c: correlations.delete(c, [f"found alert {number:05}" for number in range(FEW)]),
    "retire found alerts": lambda c: correlations.retire(c, [f"found alert {number:05}" for number in range(FEW)]),
    "which alerts hold records": lambda c: correlations.read_held_records(
        c, [make_record(number).key for number in range(2000, 2000 + FEW)]
    ),
    "versions of rules": correlations.read_versions,
    "add hits": lambda c: hits.insert(c, [(1, LARGE, [_hit(RECORDS + number)]) for number in range(FEW)]),
    "first hits of a group": lambda c: list(hits.read_from(c, 2, "group 02500", START)),
    "newest hits of a large group": lambda c: _read_first(c, RECENT),
    "hits of groups": lambda c: hits.read_all_from(c, 2, SOME_GROUPS),
    "newest hits of groups, a large one among them": lambda c: hits.read_all_from(
        c, 1, [(LARGE, RECENT), *SOME_GROUPS]
    ),
    "newest hits of groups, with the last before": lambda c: hits.read_all_from(
        c, 1, [(LARGE, RECENT)], last=(0, timedelta(days=1))
    ),
    "hit before a place": lambda c: hits.read_before(c, 1, LARGE, _hit(7000).order, None, ALWAYS),
    "hit before a place, of its step": lambda c: hits.read_before(c, 1, LARGE, _hit(7000).order, 0, ALWAYS),
    "hit before a place, of a step that is rare": lambda c: hits.read_before(
        c, 1, LARGE, _hit(9000).order, 1, _hit(9000).at - timedelta(seconds=10)
    ),
    "newest number of a rule": hits.newest_number,
    "delete hits": lambda c: hits.delete_all(c, [hits.HitKey(1, LARGE, number, 0, "x") for number in range(FEW)]),
    "delete hits of other rules": lambda c: hits.delete_others(c, [1], FEW),
    "delete hits of other rules, without any": lambda c: hits.delete_others(c, [1, 2, 3], FEW),
    "touch groups": lambda c: hits.touch(c, [(2, group, ("eve",), at, at) for group, at in SOME_GROUPS]),
    "groups that were touched": lambda c: hits.read_touched(c, 2, FEW),
    "forget groups that were touched": lambda c: hits.forget_touched(c, 2, [group for group, _ in SOME_GROUPS]),
    "rules of which groups were touched": hits.touched_rules,
    "alerts of records": lambda c: alerts.read_joined(c, range(1000, 1000 + FEW)),
    "alerts at work": lambda c: alerts.read_at_work(c, RECENT, NOON, None),
    "alerts at work, of rules": lambda c: alerts.read_at_work(c, RECENT, NOON, ["cluster_deleted"]),
    # lists
    "records list": _records_found(),
    # It reads a block for each of the records that it finds.
    "records list --user": lambda c: record_search.search(c, RecordFilter(user="user 7"), 2, None, 4 * FEW),
    **{
        f"records list --{name}": _records_found(**{name: value})
        for name, value in {
            "kinds": ("KIND_7",),
            "account": "a",
            "cluster": "c",
            "operations": ("DELETE",),
            "scope": "account",
            "keyword": "nothing",
            "until": NOON - timedelta(minutes=1),
        }.items()
    },
    "records export --since": lambda c: list(record_search.stream(c, RecordFilter(since=RECENT))),
    "records export --since, long ago": lambda c: list(record_search.stream(c, RecordFilter(since=START, until=OLD))),
    "rules backtest --since": lambda c: list(record_search.stream(c, RecordFilter(since=RECENT))),
    "records list --since": lambda c: record_search.search(
        c, RecordFilter(since=RECENT, user="nobody"), 50, None, None
    )[0],
    "records list --until, long ago": lambda c: record_search.search(
        c, RecordFilter(since=START, until=OLD), 50, None, None
    )[0],
    "alerts list": lambda c: alerts.search(c, AlertFilter(), 50, None, 4 * FEW),
    **{
        f"alerts list --{name}": _alerts_found(**{name: value})
        for name, value in {
            "levels": (Level.HIGH,),
            "statuses": (Status.OPEN,),
            "rules": ("none",),
            "user": "user 7",
            "cluster": "c",
        }.items()
    },
    "deliveries list": lambda c: outbox.find(c, limit=50),
    "deliveries list --receiver": lambda c: outbox.find(c, limit=50, receiver="hook"),
    "deliveries list --receiver, without any": lambda c: outbox.find(c, limit=50, receiver="nobody"),
    "deliveries list --dead": lambda c: outbox.find(c, limit=50, is_dead=True),
    "deliveries list --dead --receiver": lambda c: outbox.find(c, limit=50, is_dead=True, receiver="hook"),
    "deliveries of an alert": lambda c: outbox.read_of_alert(c, SOME[0]),
    "history of an alert": lambda c: alert_history.read(c, SOME[0]),
    "delivery by a prefix": lambda c: outbox.read_by_prefix(c, "0123"),
    "alert by a prefix": lambda c: alerts.read_by_prefix(c, "alert 0300"),
    "receipts list": lambda c: list(receipts.stream(c, limit=50)),
    "receipts list --source": lambda c: list(receipts.stream(c, "acme", limit=50)),
    "receipts list --source, without any": lambda c: list(receipts.stream(c, "nobody", limit=50)),
    "first proof of a record": _first_proof,
    # the pages of the console; the silences are few
    "alerts, a later page": lambda c: alerts.search(c, AlertFilter(), 50, (RECENT, "x"), 4 * FEW),
    "alerts that opened later": lambda c: alerts.count_opened_after(c, RECENT, FEW),
    "alerts of rules": lambda c: alerts.count_by_rule(c, RECENT, FEW),
    "alerts that need a person, by level": open_alerts.count_by_level,
    "groups of alerts that need a person": lambda c: open_alerts.read_groups(c, "rule"),
    "alerts of a group": lambda c: open_alerts.read_of_group(c, "user", "eve", (), 20),
    "alerts that need a person": lambda c: open_alerts.search(c, AlertFilter(needs_person=True), 50, None, FEW),
    "alerts that need a person, a later page": lambda c: open_alerts.search(
        c, AlertFilter(needs_person=True, levels=[Level.HIGH]), 50, (Level.HIGH, RECENT, "x"), FEW
    ),
    "records, a later page": lambda c: record_search.search(
        c, RecordFilter(scope="account"), 50, (RECENT, make_record(occurred_at=RECENT).key, "acme"), FEW
    ),
    "records of a chart": lambda c: record_counts.count_by_time(c, Spans.until(NOON, timedelta(hours=1), 24), FEW),
    "dead letters, a later page": lambda c: outbox.read_page(c, DeliveryStatus.DEAD, None, 50, ("hook", NOON, "x")),
    "held messages, a later page": lambda c: outbox.read_page(c, None, "hook", 50, ("hook", "silence", "x")),
    # delivery
    "claim": lambda c: outbox.read_due(c, "hook", NOON, FEW),
    "claim for a fallback": lambda c: outbox.read_due_unfrozen(c, "hook", NOON, FEW),
    "what waits for a fallback": lambda c: fallback_deliveries.read_uncopied(c, "hook", FEW),
    "storm": lambda c: suppressed_deliveries.count_let_through(c, "hook", NOON - timedelta(minutes=1), NOON, FEW),
    "due openings": lambda c: suppressed_deliveries.count_due_openings(c, "hook", NOON, FEW),
    "next due": lambda c: outbox.next_due(c, "hook", NOON),
    "leased": lambda c: receivers.read_availability(c, "hook", NOON, FEW).leased_count,
    "summaries": lambda c: suppressed_deliveries.read_groups(c, "hook"),
    # retention, with something to delete, without, and after it was shortened to almost nothing
    **{
        f"retention of {name}, {what}": _deleting(delete, before)
        for name, delete in DELETIONS.items()
        for what, before in {"some": OLD, "none": START, "most": RECENT}.items()
        if (name, what) != ("alerts", "most")  # it goes through those whose messages are left, and messages go first
    },
}

SIZED: dict[str, Callable[[Connection, Sequence[Alert]], object]] = {
    # about some alerts, and about their messages to one receiver, which is how a plan can go wrong: with two values and more, a
    # database may believe that an index by receiver is as good as the primary key
    "records of alerts": lambda c, some: records.read_of_alerts(c, _ids(some), 50),
    "stopped messages of alerts": lambda c, some: outbox.read_stopped(c, _ids(some)),
    "alerts of groups": lambda c, some: alerts.read_joinable(
        c, [(f"group {each}", START, NOON) for each in _ids(some)]
    ),
    "alerts by id": lambda c, some: alerts.read_many(c, _ids(some)),
    "found alerts by id": lambda c, some: correlations.read_all_of(c, [f"found {each}" for each in _ids(some)]),
    "progress of receivers": lambda c, some: receiver_progress.read_of_receiver(c, "hook", _ids(some)),
    "references of messages": lambda c, some: receivers.read_references(c, _ids(some), "hook"),
    "what reached a receiver": lambda c, some: outbox.read_reached(c, "hook", _ids(some)),
    "what waits for a receiver": lambda c, some: outbox.read_pending(c, "hook", _ids(some)),
    "what a fallback has": lambda c, some: fallback_deliveries.read_copied(c, "hook", _ids(some)),
    "what a fallback replaces": lambda c, some: fallback_deliveries.read_replaced(c, _messages(some)),
    "when messages were created": lambda c, some: outbox.read_started(c, [each.id for each in _messages(some)]),
    "dead letters of alerts": lambda c, some: outbox.count_dead_of_alerts(c, _ids(some)),
    "claims": lambda c, some: delivery_transitions.claim(c, _messages(some), NOON, "me"),
    "texts": lambda c, some: delivery_transitions.freeze(c, _messages(some)),
    "sent messages": lambda c, some: delivery_transitions.sent(
        c, "hook", "me", {each.id: "a note" for each in _messages(some)}, NOON
    ),
    "suppressed messages": lambda c, some: delivery_transitions.suppress(
        c, [Suppression(each, "silence") for each in _messages(some)]
    ),
    "collapsed messages": lambda c, some: delivery_transitions.collapse(c, [(each, NOON) for each in _messages(some)]),
    "held messages": lambda c, some: delivery_transitions.hold(c, [(each, NOON) for each in _messages(some)]),
    "failed messages": lambda c, some: [delivery_transitions.retry(c, each, NOON, "down") for each in _messages(some)],
    "dead messages": lambda c, some: [delivery_transitions.bury(c, each, "refused") for each in _messages(some)],
    "leases of others": lambda c, some: delivery_transitions.release_left(c, _ids(some)),
    "forgotten leases": lambda c, some: delivery_transitions.release_forgotten(c, "me", _ids(some)),
    "chosen dead letters": lambda c, some: outbox.read_dead_letters(
        c, DeliveryFilter([each.id for each in _messages(some)], "hook")
    ),
}
SIZES = (1, 2, 3, FEW // 2)
LAST = {size: range(WAITING_SINCE - size // 2, WAITING_SINCE - size // 2 + size) for size in SIZES}
"""For each size so many of the newest alerts: half of their messages are sent, half are pending."""


def _ids(some: Sequence[Alert]) -> list[str]:
    return [alert.id for alert in some]


def _messages(some: Sequence[Alert]) -> list[Delivery]:
    return [structs.replace(_message(alert, "hook"), leased_by="me") for alert in some]


@in_one_test("size", SIZES)
@in_one_test("name", SIZED)
def test_only_the_given_rows_are_read(filled: Database, name: str, size: int) -> None:
    """A statement about given rows reads these, whether there are one, two, three or many: not all rows of their receiver."""
    _check(filled, lambda c: SIZED[name](c, [_alert(number) for number in LAST[size]]))


@in_one_test("name", QUESTIONS)
def test_no_whole_table_is_read(filled: Database, name: str) -> None:
    """A question about a hundred rows visits a small part of each table, through an index."""
    _check(filled, QUESTIONS[name])


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def given_up(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """Fill a store with dead letters of one receiver, and with the ends of alerts whose opening another one did not get."""
    with contextlib.ExitStack() as stack:
        if request.param == "postgresql":
            database = Database(stack.enter_context(postgresql.other_database("given_up")))
            database.upgrade()
        else:
            database = open_database(tmp_path_factory.mktemp("given_up"))
        stack.callback(database.close)
        for start in range(0, ALERTS, 1000):
            with database.write() as connection:
                _give_up(connection, [_alert(number) for number in range(start, start + 1000)])
        if database.is_shared:
            with database.write() as connection:
                connection.exec_driver_sql("ANALYZE")
        yield database


def _give_up(connection: Connection, made: Sequence[Alert]) -> None:
    alerts.insert_new(connection, [(alert, f"group {alert.id}") for alert in made])
    ends = [make_delivery(alert.id, "mail", event=Event.RESOLVED) for alert in made]
    delivery_transitions.enqueue(connection, [*(_message(alert, "hook") for alert in made), *ends])
    delivery_transitions.bury_all(connection, "hook", "gave up")
    delivery_transitions.suppress(connection, [Suppression(end, NOT_NOTIFIED) for end in ends])


LETTERS = DeliveryFilter([make_delivery(f"alert {number:05}").id for number in range(2000, 2010)], "hook", START)
DECISIONS: dict[str, Question] = {
    "retry": lambda c: dead_letters.replay(c, LETTERS, ["hook"], "sam", NOON),
    "retry --to": lambda c: dead_letters.readdress(c, LETTERS, "pager", "sam", NOON),
    "drop": lambda c: dead_letters.drop(c, LETTERS, "sam", NOON),
}


@pytest.mark.parametrize("name", DECISIONS)
def test_decision_about_dead_letters_reads_only_these(given_up: Database, name: str) -> None:
    """A transaction about ten of the dead letters of a receiver reads neither the others nor all messages that were stopped."""
    _check(given_up, DECISIONS[name])


def _check(database: Database, ask: Question) -> None:
    """Check that a question visits a small part of each table, through an index."""
    found = asked(database, ask)
    if not database.is_shared:
        assert steps(database, ask) < MOST_STEPS, [_explained(database, *each) for each in found]
        return
    for each in found:
        check_statement(database, *each)


def check_statement(database: Database, statement: str, parameters: Any) -> None:
    """Check that a statement visits a small part of each table, through an index. What it changes is undone."""
    if not database.is_shared:
        count = steps(database, lambda c: c.exec_driver_sql(statement, parameters).close())
        assert count < MOST_STEPS, _explained(database, statement, parameters)
        return
    nodes = list(_nodes(_run(database, statement, parameters)))
    large = [node for node in nodes if node.get("Relation Name") in BIG]
    assert [node for node in large if node["Node Type"] == "Seq Scan"] == [], statement
    assert sum(map(_visited, large)) <= MOST_VISITED, (statement, large)


def _explained(database: Database, statement: str, parameters: Any) -> tuple[str, list[str]]:
    """Return a statement with SQLite's plan."""
    with undone(database) as connection:
        return statement, [
            line for *_, line in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        ]


def _run(database: Database, statement: str, parameters: Any) -> dict[str, Any]:
    """Run a statement on PostgreSQL, and return the plan that it followed. What it changes is undone.

    A table of a few MB, or its index, is read as a whole more cheaply than many single rows. Without the one way, and with
    cheap reads of single rows, as on an SSD, the plan is that of a large table.
    """
    with undone(database) as connection:
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off; SET LOCAL random_page_cost = 1.1")
        (((root,),),) = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters)
        plan: dict[str, Any] = root["Plan"]
        return plan


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for below in node.get("Plans", ()):
        yield from _nodes(below)


def _visited(node: dict[str, Any]) -> int:
    """Return how many rows a node of a plan read, those included that it left out."""
    left_out = sum(count for name, count in node.items() if name.startswith("Rows Removed by"))
    return int((node["Actual Rows"] + left_out) * node["Actual Loops"])


def asked(database: Database, ask: Question) -> Sequence[tuple[str, Any]]:
    """Return the statements that a question runs, with their parameters. What they change is undone."""
    with undone(database) as connection, run_statements() as found:
        ask(connection)
    return found


def options_of(url: str) -> dict[str, str]:
    """Return the options of the large tables of a store in PostgreSQL."""
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        rows = connection.execute("SELECT relname, reloptions::text FROM pg_class WHERE relkind = 'r'").fetchall()
    return {name: options for name, options in rows if name in BIG}


def test_large_tables_are_cleaned_early() -> None:
    """PostgreSQL cleans and counts large tables after a fiftieth has changed; what an operator sets for a table stays."""
    with postgresql.other_database("options_test") as url:
        with contextlib.closing(Database(url)) as database:
            database.upgrade()
        set_by_us = options_of(url)
        assert set(set_by_us) == BIG
        (options,) = set(set_by_us.values())
        assert "autovacuum_vacuum_scale_factor=0.02" in options
        with psycopg.connect(url.replace("+psycopg", "")) as connection:
            connection.execute("ALTER TABLE record RESET (autovacuum_vacuum_insert_scale_factor)")
        with contextlib.closing(Database(url)) as database:
            database.upgrade()
        assert options_of(url) == {**set_by_us, "record": options_of(url)["record"]}
        assert "insert" not in options_of(url)["record"]
