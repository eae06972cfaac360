"""Spell what changed in the rules, from their history: for `reload`, also what the file watcher loaded before it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import Connection

from actionwatch.base.rule_state import GONE, EntryOrigin, RuleEntry, RuleState
from actionwatch.store import rule_history
from actionwatch.text.times import spell_time


def spell_changes(connection: Connection, after: int | None) -> tuple[list[str], int]:
    """Return a line for each rule that changed behind a place in the history, and the place of the newest entry.

    Without a place there is no line.
    """
    newest = rule_history.newest_id(connection)
    by_rule: dict[str, list[RuleEntry]] = {}
    for entry in rule_history.read_after(connection, newest if after is None else after):
        by_rule.setdefault(entry.rule_id, []).append(entry)
    return sorted(line for entries in by_rule.values() for line in _spell(entries)), newest


def _spell(entries: Sequence[RuleEntry]) -> Iterator[str]:
    last = entries[-1]
    ran, runs = entries[0].origin is not EntryOrigin.ADDED, last.state not in GONE
    if not ran and not runs:
        return
    word = "changed" if ran and runs else "added" if runs else "removed"
    why = ": its file is broken" if last.state is RuleState.BROKEN or last.is_held else ""
    yield f"{word} {last.name} ({last.file}), loaded {spell_time(last.at, form='%H:%M:%S')}{why}"
