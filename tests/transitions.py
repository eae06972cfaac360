"""A store that refuses every change of a delivery's state that is not in the table of transitions."""

from __future__ import annotations

from actionwatch.base.delivery import TRANSITIONS, DeliveryState
from actionwatch.store.database import Database


def guard_transitions(database: Database) -> None:
    """Make the database abort every other transition, whatever code causes it."""
    moves = {move for each in TRANSITIONS for move in each.moves}
    updates = " OR ".join(f"({_is('OLD', old)} AND {_is('NEW', new)})" for old, new in moves if old is not None)
    inserts = " OR ".join(_is("NEW", new) for old, new in moves if old is None)
    with database.write() as connection:
        for event, allowed in (("UPDATE OF status, awaits", updates), ("INSERT", inserts)):
            name = f"guard_{event[:6].lower()}"
            if database.is_shared:
                connection.exec_driver_sql(_POSTGRESQL.format(name=name, event=event, allowed=allowed))
                continue
            connection.exec_driver_sql(
                f"CREATE TRIGGER {name} BEFORE {event} ON delivery WHEN NOT ({allowed}) "
                f"BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
            )


REFUSAL = "no such transition of a delivery"
_POSTGRESQL = f"""
CREATE OR REPLACE FUNCTION {{name}}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN IF NOT ({{allowed}}) THEN RAISE EXCEPTION '{REFUSAL}'; END IF; RETURN NEW; END $$;
CREATE OR REPLACE TRIGGER {{name}} BEFORE {{event}} ON delivery FOR EACH ROW EXECUTE FUNCTION {{name}}()
"""


def _is(row: str, state: DeliveryState) -> str:
    awaits = "NOT NULL" if state.awaits_summary else "NULL"
    return f"({row}.status = '{state.status}' AND {row}.awaits IS {awaits})"
