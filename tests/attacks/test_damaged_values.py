"""Values in a store that no version of actionwatch wrote: a disk that forgets bits, or a person with an editor."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from actionwatch.base.errors import StoreError
from actionwatch.store import alerts, delivery_transitions, marks, outbox, records
from actionwatch.store.database import Database
from tests.builders import NOON, make_alert, make_delivery, make_marks, make_record

DAMAGES = {
    "alert.labels": ("{", "[1]", "5"),
    "alert.tags": ("{", "no list"),
    "alert.level": (99, "high"),
    "alert.status": ("odd", b"\xff"),
    "alert.first_at": (2**62, "noon"),
    "alert.realert": ("long",),
    "delivery.event": ("odd", 5),
    "delivery.due_at": (2**62, "later"),
    "delivery.mutes": ("[", "5"),
    "record.occurred_at": (2**62, "noon"),
    "record.late_by": ("late",),
    "source.mark": (2**62, "noon"),
}


def read(connection: Connection, table: str) -> object:
    """Read a table as commands do."""
    match table:
        case "alert":
            return alerts.read_newest(connection, 9)
        case "delivery":
            return outbox.find(connection, limit=9)
        case "record":
            return records.read_after(connection, 0, 9)
    return marks.read_all(connection)


@pytest.mark.parametrize(("place", "value"), [(place, value) for place, values in DAMAGES.items() for value in values])
def test_damaged_value_is_an_error_with_a_remedy(database: Database, place: str, value: Any) -> None:
    """A value that cannot be read is a StoreError that says what to do, and no traceback for the person."""
    table, column = place.split(".")
    with database.write() as connection:
        records.insert_new(connection, [make_record()])
        alerts.insert_new(connection, [(make_alert("one"), "one")])
        marks.write(connection, make_marks(begins_at=NOON))
        delivery_transitions.enqueue(connection, [make_delivery("one")])
        assert read(connection, table)
        try:
            connection.execute(text(f"UPDATE {table} SET {column} = :value"), {"value": value})
        except DBAPIError:
            assert database.is_shared
            pytest.skip("PostgreSQL stores no value of another type")
        with pytest.raises(
            StoreError, match=r"damaged, or was changed by hand: a value cannot be read .*store restore"
        ):
            read(connection, table)
