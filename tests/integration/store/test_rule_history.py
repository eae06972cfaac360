"""The history of rules: what each of them did, one after the other."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from actionwatch.base.rule_state import RuleEntry, RuleState
from actionwatch.store import rule_history
from actionwatch.store.database import Database
from tests.builders import NOON, open_database
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
        since=at,
        file="x.yml",
        why="because",
    )


ENTRIES = [
    *(entry("a", hour, state) for hour, state in enumerate((RuleState.LIVE, RuleState.OFF, RuleState.LIVE))),
    entry("b", 0),
    entry("b", 5, RuleState.REMOVED),
]


def test_entries_are_read_newest_first(database: Database) -> None:
    """Those of one document, the newest of each, and the newest up to an entry."""
    with database.write() as connection:
        rule_history.append(connection, [])
        rule_history.append(connection, ENTRIES)
    with database.read() as connection:
        assert rule_history.read_last(connection, "a", 2) == [ENTRIES[2], ENTRIES[1]]
        assert rule_history.read_newest(connection) == {"a": ENTRIES[2], "b": ENTRIES[4]}
        assert rule_history.read_newest(connection, 4) == {"a": ENTRIES[2], "b": ENTRIES[3]}
        assert rule_history.read_after(connection, 3) == ENTRIES[3:]


def test_what_no_longer_applies_is_deleted(database: Database) -> None:
    """Entries go once another one has followed for long enough, and those of a removed rule with the last one."""
    with database.write() as connection:
        rule_history.append(connection, ENTRIES)
        deleted = [rule_history.delete_older(connection, NOON + hours * HOUR, 100) for hours in (0, 2, 6)]
        assert deleted == [0, 1, 3]
        assert rule_history.read_newest(connection) == {"a": ENTRIES[2]}
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
