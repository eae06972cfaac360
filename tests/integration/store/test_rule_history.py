"""The history of rules: what applied from a time on, and up to when everything was matched."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from actionwatch.base.rule_state import EntryOrigin, RuleEntry, RuleState
from actionwatch.store import marks, positions, records, rule_history
from actionwatch.store.database import Database
from tests.builders import NOON, make_marks, make_record, open_database
from tests.positions import move_to
from tests.statements import steps

HOUR = timedelta(hours=1)


def entry(rule_id: str, hours: int, state: RuleState = RuleState.LIVE) -> RuleEntry:
    """Make an entry that applies from some hours after noon on."""
    at = NOON + hours * HOUR
    return RuleEntry(
        at=at,
        rule_id=rule_id,
        name=rule_id,
        state=state,
        origin=EntryOrigin.CHANGED,
        may_begin_at=at,
        begins_at=at,
        since=at,
        document="title: x\n",
        lists="{}\n",
        file="x.yml",
        why="because",
    )


ENTRIES = [
    *(entry("a", hour, state) for hour, state in enumerate((RuleState.LIVE, RuleState.OFF, RuleState.LIVE))),
    entry("b", 0),
    entry("b", 5, RuleState.REMOVED),
]


def brief(entries: list[RuleEntry]) -> list[RuleEntry]:
    """Return entries without the texts of their versions."""
    return [replace(each, document="", lists="") for each in entries]


def test_entries_are_read_from_the_one_that_applied(database: Database) -> None:
    """Reading since a time begins with the entry that applied then, and texts are read only when they are asked for."""
    with database.write() as connection:
        rule_history.append(connection, [])
        rule_history.append(connection, ENTRIES)
    with database.read() as connection:
        everything = rule_history.read_since(connection, NOON - HOUR, with_texts=True)
        assert everything == {"a": ENTRIES[:3], "b": ENTRIES[3:]}
        assert rule_history.read_since(connection, NOON + HOUR) == {"a": brief(ENTRIES[1:3]), "b": brief(ENTRIES[3:])}
        assert rule_history.read_since(connection, NOON + 9 * HOUR, "b") == {"b": brief(ENTRIES[4:])}
        newest = rule_history.read_newest(connection)
    assert newest == {"a": brief(ENTRIES)[2], "b": brief(ENTRIES)[4]}


def test_what_no_longer_applies_is_deleted(database: Database) -> None:
    """Entries go once another one has followed for long enough, and those of a removed rule with the last one."""
    with database.write() as connection:
        rule_history.append(connection, ENTRIES)
        deleted = [rule_history.delete_older(connection, NOON + hours * HOUR, 100) for hours in (0, 2, 6)]
        assert deleted == [0, 1, 3]
        assert rule_history.read_since(connection, NOON, with_texts=True) == {"a": ENTRIES[2:3]}
        rule_history.append(connection, ENTRIES)
        assert rule_history.delete_older(connection, NOON + 9 * HOUR, 2) == 2


def test_removal_is_deleted_after_what_it_ended(database: Database) -> None:
    """Wherever a batch ends, no earlier entry is left without the removal after it: the rule would look as if it ran."""
    entries = [
        entry(rule_id, hours, state)
        for rule_id in ("a", "b", "c")
        for hours, state in ((0, RuleState.LIVE), (1, RuleState.SHADOW), (2, RuleState.REMOVED))
    ]
    with database.write() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA reverse_unordered_selects = ON")
        rule_history.append(connection, entries)
        while rule_history.delete_older(connection, NOON + 9 * HOUR, 1):
            newest = rule_history.read_newest(connection)
            assert {each.state for each in newest.values()} <= {RuleState.REMOVED}
        assert rule_history.read_newest(connection) == {}


@pytest.mark.parametrize("hours", [-1, 0, 1, 350])
def test_retention_takes_time_in_proportion_to_the_entries(tmp_path: Path, hours: int) -> None:
    """Whatever part of the entries of a rule is old, four times as many of them take about four times the steps."""
    found = []
    for count in (100, 400):
        with contextlib.closing(open_database(tmp_path, f"{count}.db")) as database:
            with database.write() as connection:
                rule_history.append(connection, [entry("a", hour) for hour in range(count)])
            delete = partial(rule_history.delete_older, before=NOON + hours * HOUR, limit=5000)
            found.append(steps(database, delete))
    assert found[1] <= 8 * found[0], found


def test_matched_through_is_the_oldest_that_waits(database: Database) -> None:
    """All is matched up to where every source was read, or the oldest record that waits, however many are matched."""
    with database.write() as connection:
        assert rule_history.matched_through(connection, ["acme"]) is None
        marks.write(connection, make_marks(seen_through=NOON + 2 * HOUR))
        marks.write(connection, replace(make_marks(seen_through=NOON + HOUR), name="other"))
        assert rule_history.matched_through(connection, ["acme", "new"]) == NOON + 2 * HOUR
        assert rule_history.matched_through(connection, ["acme", "other"]) == NOON + HOUR
        assert rule_history.matched_between(connection, ["acme", "other"]) == (NOON + HOUR, NOON + 2 * HOUR)
        records.insert_new(connection, [make_record(number, minutes=number) for number in (1, 2, 3)])
        minute = timedelta(minutes=1)
        assert rule_history.matched_between(connection, ["acme", "other"]) == (NOON + minute, NOON + HOUR)
        assert rule_history.matched_between(connection, ["other"]) == (NOON + minute, NOON + HOUR)
        assert rule_history.matched_through(connection, ["acme"]) == NOON + timedelta(minutes=1)
        for step, position in ((positions.MATCHED, 3), (positions.CORRELATED, 2)):
            move_to(connection, step, position)
        assert rule_history.matched_through(connection, ["acme"]) == NOON + timedelta(minutes=3)


def test_late_and_old_records_that_wait_do_not_count(database: Database) -> None:
    """A record that appeared late, one of the backlog, or one without a readable time says nothing about other actions."""
    aside = [
        make_record(1, minutes=-300, late_by=HOUR),
        make_record(2, minutes=-300, is_backlog=True),
        make_record(3, minutes=-300, is_time_readable=False),
    ]
    with database.write() as connection:
        marks.write(connection, make_marks(seen_through=NOON))
        records.insert_new(connection, aside)
        assert rule_history.matched_through(connection, ["acme"]) == NOON
