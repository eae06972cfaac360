"""Retention deletes what is old and no longer needed, and nothing else."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

from actionwatch.base.model import LinkedAccount
from actionwatch.base.rule_state import RuleEntry, RuleState
from actionwatch.matching.operator_actions import OperatorActions
from actionwatch.service import prune
from actionwatch.settings import Retention
from actionwatch.store import (
    accounts,
    alert_history,
    delivery_transitions,
    marks,
    outbox,
    positions,
    receipts,
    records,
    rule_history,
    unproved_windows,
)
from actionwatch.store.records import Needed
from actionwatch.store.unproved_windows import UnprovedWindow
from tests.builders import NOON, make_marks, make_receipt, make_record
from tests.integration.kit import REFUSED, KindRule, Post
from tests.positions import move_to

HOUR = timedelta(hours=1)
RETENTION = Retention(records=timedelta(days=10), deliveries=timedelta(days=5), receipts=timedelta(days=10))


def pruned(post: Post) -> dict[str, int]:
    """Prune. Return the non-zero counts of deleted rows."""
    return {name: n for name, n in prune.run_once(post.database, RETENTION, post.clock()).items() if n}


def test_rows_are_deleted_in_order_of_their_retention(post: Post) -> None:
    """Deliveries of resolved alerts are deleted first, then the alerts with their history and records."""
    post.store(make_record(1), make_record(2, action_kind="READ"))
    post.matcher(KindRule()).run_once()
    (alert_id,) = post.alerts()
    post.deliver()
    OperatorActions(post.database, post.addressing, post.clock).resolve(alert_id, "sam")
    post.deliver()
    with post.database.write() as connection:
        receipts.write(connection, make_receipt())
    assert pruned(post) == {}
    post.clock.advance(days=5, seconds=1)
    assert pruned(post) == {"deliveries": 2}
    post.clock.advance(days=5)
    assert pruned(post) == {"alerts": 1, "records": 2, "receipts": 1}
    assert pruned(post) == {}
    with post.database.read() as connection:
        assert alert_history.read(connection, alert_id) == []


def test_records_are_kept_until_correlations_processed_them(post: Post) -> None:
    """Records stay until correlations have processed them, even if plain rules are far ahead."""
    post.store(make_record(1), make_record(2))
    post.clock.advance(days=100)
    with post.database.write() as connection:
        move_to(connection, positions.MATCHED, 2)
        move_to(connection, positions.CORRELATED, 1)
    assert pruned(post) == {"records": 1}


def test_batches_leave_nothing(post: Post) -> None:
    """If more records are to be deleted than one transaction deletes, all of them are, around those that are still needed."""
    count = 2 * prune.BATCH + 15
    with post.database.write() as connection:
        kinds = ["BACKUP", *["LOGIN"] * 9]
        records.insert_new(connection, [make_record(n, action_kind=kinds[n % 10]) for n in range(count)])
    post.matcher(KindRule("OTHER")).run_once()
    post.clock.advance(days=100)
    back = prune.Lookback((Needed(NOON, kinds=("BACKUP",)),))
    deleted = prune.run_once(post.database, RETENTION, post.clock(), back)
    assert deleted["records"] == count - count // 10 - 1
    assert prune.run_once(post.database, RETENTION, post.clock())["records"] == count // 10 + 1


def test_unmatched_record_is_kept(post: Post) -> None:
    """An unmatched record stays regardless of its age, and is deleted once it is matched."""
    post.store(make_record())
    post.clock.advance(days=100)
    assert pruned(post) == {}
    post.matcher(KindRule("OTHER")).run_once()
    assert pruned(post) == {"records": 1}


def test_pending_message_and_dead_letter_are_kept(post: Post) -> None:
    """A pending message or a dead letter stays with its alert and records, regardless of its age."""
    post.store(make_record())
    post.matcher(KindRule()).run_once()
    post.clock.advance(days=100)
    assert pruned(post) == {}
    post.senders["hook"].answer = lambda message: REFUSED
    post.deliver()
    assert pruned(post) == {}
    (letter,) = post.rows()
    with post.database.write() as connection:
        delivery_transitions.drop(connection, outbox.DeliveryFilter([letter.id]), "sam")
    assert pruned(post)["deliveries"] == 1


def test_prune_deletes_several_batches(post: Post) -> None:
    """One run deletes everything that is old, in several batches."""
    count = prune.BATCH * 2 + 1
    with post.database.write() as connection:
        records.insert_new(connection, [make_record(n) for n in range(count)])
    post.matcher(KindRule("OTHER"), batch_size=20_000).run_once()
    post.clock.advance(days=11)
    assert pruned(post) == {"records": count}


def test_clock_years_ahead_deletes_nothing(post: Post) -> None:
    """Retention counts back from the newest time through which a source was seen: a clock that jumped ahead deletes nothing."""
    post.store(make_record())
    post.matcher(KindRule("OTHER")).run_once()
    begun = make_marks()
    with post.database.write() as connection:
        marks.write(connection, begun)
    post.clock.advance(days=3000)
    assert pruned(post) == {}
    with post.database.write() as connection:
        marks.write(connection, dataclasses.replace(begun, seen_through=NOON + timedelta(days=11)))
    assert pruned(post) == {"records": 1}


def test_unproved_window_is_deleted_with_its_records(post: Post) -> None:
    """An unproved window is deleted together with the records of its time."""
    doubt = UnprovedWindow(
        source="acme", starts_at=NOON, ends_at=NOON + HOUR, reach=HOUR, due_at=NOON, failure_count=3, why="it changes"
    )
    with post.database.write() as connection:
        unproved_windows.write(connection, [doubt])
    for days, left in ((10, [doubt]), (11, [])):
        post.clock.now = NOON + timedelta(days=days)
        pruned(post)
        with post.database.read() as connection:
            assert unproved_windows.read(connection, "acme") == left


def test_names_of_accounts_are_kept_as_long_as_records_may_need_them(post: Post) -> None:
    """A former name is deleted when no record of its time is kept or read again; current names, and the listing, stay."""

    def names() -> dict[str, list[str]]:
        with post.database.read() as connection:
            assert accounts.listed_at(connection, "org") == NOON
            history = accounts.name_history(connection, "org")
        return {key: [name for _, name in found] for key, found in history.items() if key}

    with post.database.write() as connection:
        accounts.note_listed(connection, "org", NOON, is_first=True)
        for hour, name in enumerate(("first", "second", "third")):
            accounts.end(connection, "org", "a", NOON + hour * HOUR)
            accounts.begin(connection, "org", LinkedAccount("a", name), NOON + hour * HOUR)
        accounts.begin(connection, "org", LinkedAccount("gone", "former"), NOON)
        accounts.end(connection, "org", "gone", NOON + HOUR)
    everything = {"a": ["first", "second", "third"], "gone": ["former"]}
    post.clock.now = NOON + RETENTION.records + HOUR
    pruned(post)
    assert names() == everything
    post.clock.advance(seconds=1)
    prune.run_once(post.database, RETENTION, post.clock(), prune.Lookback((Needed(NOON, source="acme"),)))
    assert names() == everything
    pruned(post)
    assert names() == {"a": ["second", "third"]}
    post.clock.advance(days=1000)
    pruned(post)
    assert names() == {"a": ["third"]}


def test_history_of_rules_is_kept_as_long_as_records_and_receipts(post: Post) -> None:
    """What a rule did is deleted when something else applies to all time that is kept; what applies stays at any age."""
    states = (RuleState.LIVE, RuleState.OFF, RuleState.LIVE)
    times = [NOON + number * HOUR for number in range(3)]
    entries = [RuleEntry(at=at, rule_id="r", name="r", state=state) for at, state in zip(times, states, strict=True)]
    with post.database.write() as connection:
        rule_history.append(connection, entries)
    post.clock.advance(days=10, hours=1, seconds=1)
    assert pruned(post) == {"rule_history": 1}
    post.clock.advance(days=100)
    assert pruned(post) == {"rule_history": 1}
    with post.database.read() as connection:
        assert rule_history.read_last(connection, "r", 9) == entries[2:]
