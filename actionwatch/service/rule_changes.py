"""Spell what changed in the rules, from their history: for `reload`, also what the file watcher loaded before it."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection

from actionwatch.base.rule_state import GONE, RuleEntry, RuleState
from actionwatch.store import rule_history
from actionwatch.text.times import spell_time


def spell_changes(connection: Connection, after: int | None) -> tuple[list[str], int]:
    """Return a line for each rule that changed behind a place in the history, and the place of the newest entry.

    Without a place there is no line.
    """
    newest = rule_history.newest_id(connection)
    if after is None or after == newest:
        return [], newest
    before = rule_history.read_newest(connection, after)
    changed = {entry.rule_id: entry for entry in rule_history.read_after(connection, after)}
    return sorted(line for each in changed.values() for line in _spell(before.get(each.rule_id), each)), newest


def _spell(before: RuleEntry | None, last: RuleEntry) -> Iterator[str]:
    ran, runs = before is not None and before.state not in GONE, last.state not in GONE
    if not ran and not runs:
        return
    word = "changed" if ran and runs else "added" if runs else "removed"
    why = ": its file is broken" if last.state is RuleState.BROKEN or last.is_held else ""
    yield f"{word} {last.name} ({last.file}), loaded {spell_time(last.at, form='%H:%M:%S')}{why}"
