"""A store that refuses every change of a delivery's state that is not in the table of transitions."""

from __future__ import annotations

from actionwatch.base.delivery import TRANSITIONS, DeliveryState
from actionwatch.store.database import Database


def guard_transitions(database: Database) -> None:
    """Make SQLite abort every other transition, whatever code causes it."""
    moves = {move for each in TRANSITIONS for move in each.moves}
    updates = " OR ".join(f"({_is('OLD', old)} AND {_is('NEW', new)})" for old, new in moves if old is not None)
    inserts = " OR ".join(_is("NEW", new) for old, new in moves if old is None)
    with database.write() as connection:
        for event, allowed in (("UPDATE OF status, awaits", updates), ("INSERT", inserts)):
            connection.exec_driver_sql(
                f"CREATE TRIGGER guard_{event[:6]} BEFORE {event} ON delivery WHEN NOT ({allowed}) "
                "BEGIN SELECT RAISE(ABORT, 'no such transition of a delivery'); END"
            )


def _is(row: str, state: DeliveryState) -> str:
    return f"({row}.status = '{state.status}' AND ({row}.awaits IS NOT NULL) = {int(state.awaits_summary)})"
