"""Transitions of deliveries: no sequence leaves the table, and no transition scans all rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from sqlalchemy import Connection, select

import actionwatch
from actionwatch.base.delivery import (
    NOT_NOTIFIED,
    OWNERS,
    TRANSITIONS,
    Delivery,
    DeliveryState,
    DeliveryStatus,
)
from actionwatch.base.errors import StoreError
from actionwatch.base.model import Event, Status
from actionwatch.store import alerts, delivery_transitions, outbox, suppressed_deliveries
from actionwatch.store.database import Database
from actionwatch.store.delivery_transitions import Suppression
from actionwatch.store.outbox import DeliveryFilter
from actionwatch.store.tables import DELIVERY
from tests.builders import NOON, make_alert, make_delivery

LATER = NOON + timedelta(minutes=5)
ESCALATES = make_delivery("a", ordinal=-1, event=Event.UPDATED)
ROWS = [
    make_delivery("a", ordinal=1),
    make_delivery("a", ordinal=2, event=Event.UPDATED),
    make_delivery("a", ordinal=3, event=Event.RESOLVED),
    make_delivery("b", ordinal=1),
    make_delivery("b", receiver="mail", ordinal=1),
    ESCALATES,
]

Step = Callable[[Connection, Delivery], object]
STEPS: dict[str, tuple[Step, ...]] = {
    "enqueue": (lambda c, row: delivery_transitions.enqueue(c, [row]),),
    "change_event": (lambda c, row: delivery_transitions.change_event(c, row.alert_id, row.receiver, Event.RESOLVED),),
    "claim": (lambda c, row: delivery_transitions.claim(c, [replace(row, body="{}")], LATER, "sender"),),
    "freeze": (lambda c, row: delivery_transitions.freeze(c, [replace(row, body="{}")]),),
    "release": (
        lambda c, _: delivery_transitions.release_left(c, ()),
        lambda c, _: delivery_transitions.release_forgotten(c, "sender", ()),
    ),
    "retry": (lambda c, row: delivery_transitions.retry(c, row, LATER, "503"),),
    "sent": (lambda c, row: delivery_transitions.sent(c, row.receiver, "sender", {row.id: "noted"}, LATER),),
    "bury": (
        lambda c, row: delivery_transitions.bury(c, row, "refused", "404"),
        lambda c, row: delivery_transitions.bury_all(c, row.receiver, "no longer configured"),
    ),
    "suppress": (
        lambda c, row: delivery_transitions.suppress(c, [Suppression(row, NOT_NOTIFIED)]),
        lambda c, row: delivery_transitions.suppress(c, [Suppression(row, "silence", "s1", "silence")]),
        lambda c, row: delivery_transitions.suppress_escalations(c, row.receiver),
    ),
    "collapse": (lambda c, row: delivery_transitions.collapse(c, [(row, NOON)]),),
    "hold": (lambda c, row: delivery_transitions.hold(c, [(row, NOON)]),),
    "summarise": (
        lambda c, row: delivery_transitions.summarise(
            c, row.receiver, suppressed_deliveries.read_groups(c, row.receiver), "summary", NOON
        ),
    ),
    "requeue": (
        lambda c, row: delivery_transitions.requeue(c, DeliveryFilter([row.id]), LATER),
        lambda c, _: delivery_transitions.requeue(c, DeliveryFilter(), LATER),
    ),
    "readdress": (lambda c, row: delivery_transitions.readdress(c, row, "pager", _free_ordinal(c), row.event, LATER),),
    "drop": (
        lambda c, row: delivery_transitions.drop(c, DeliveryFilter([row.id]), "sam"),
        lambda c, _: delivery_transitions.drop(c, DeliveryFilter(), "sam"),
    ),
}
CHOICES = [(name, step) for name, steps in STEPS.items() for step in steps]
BY_NAME = {transition.name: transition for transition in TRANSITIONS}


def _free_ordinal(connection: Connection) -> int:
    return len(_rows(connection)) + 10


def _rows(connection: Connection) -> dict[str, Any]:
    """Read every row, by id. The `fallback_of` of a row may change with a row that is moved."""
    columns = [column for column in DELIVERY.columns if column.name != "fallback_of"]
    return {row.id: row for row in connection.execute(select(*columns))}


def _state(row: Any) -> DeliveryState:
    return DeliveryState((DeliveryStatus(row.status), row.awaits is not None))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(course=st.lists(st.tuples(st.sampled_from(CHOICES), st.sampled_from(ROWS)), min_size=10, max_size=40))
def test_any_sequence_stays_within_the_table(
    database: Database, course: Sequence[tuple[tuple[str, Step], Delivery]]
) -> None:
    """Each transition moves a row as the table specifies, and changes no row whose state does not allow it."""
    with database.write() as connection:
        connection.execute(DELIVERY.delete())
        alerts.insert_new(connection, [(make_alert("a", status=Status.ACKED), "a")])
        delivery_transitions.enqueue(connection, ROWS)
        for (name, step), row in course:
            before = _rows(connection)
            step(connection, outbox.read(connection, row.id) or row)
            after = _rows(connection)
            transition = BY_NAME[name]
            for delivery_id, now in after.items():
                old = before.get(delivery_id)
                source = None if old is None else _state(old)
                if old != now:
                    assert (source, _state(now)) in transition.moves, (name, source, _state(now))
            assert before.keys() <= after.keys()


def test_every_transition_of_the_table_is_made(database: Database) -> None:
    """The functions make every transition of the table, and each leaves the last version of a row in its history."""
    assert STEPS.keys() == BY_NAME.keys()
    starts: dict[DeliveryState | None, tuple[Step, ...]] = {
        None: (),
        DeliveryState.PENDING: (STEPS["enqueue"][0],),
        DeliveryState.DEAD: (STEPS["enqueue"][0], STEPS["bury"][0]),
        DeliveryState.SUPPRESSED: (STEPS["enqueue"][0], STEPS["suppress"][0]),
        DeliveryState.SUPPRESSED_UNTIL_SUMMARY: (STEPS["enqueue"][0], STEPS["suppress"][1]),
        DeliveryState.COLLAPSED_UNTIL_SUMMARY: (STEPS["enqueue"][0], STEPS["collapse"][0]),
        DeliveryState.HELD_UNTIL_SUMMARY: (STEPS["enqueue"][0], STEPS["hold"][0]),
    }
    end, opening = ROWS[2], ROWS[0]
    made: set[tuple[str, DeliveryState | None, DeliveryState]] = set()
    with database.write() as connection:
        for name, step in CHOICES:
            for source, steps in starts.items():
                connection.execute(DELIVERY.delete())
                for each in steps:
                    each(connection, end)
                if source is not None:
                    delivery_transitions.enqueue(connection, [opening])
                    delivery_transitions.bury(connection, opening, "gave up")
                before = _rows(connection)
                step(connection, outbox.read(connection, end.id) or end)
                made |= {
                    (name, _state(before[row.id]) if row.id in before else None, _state(row))
                    for row in _rows(connection).values()
                    if row != before.get(row.id) or row.id not in before
                }
    stays = {"change_event", "release"}  # only an update, or a leased row, changes its columns
    wanted = {(each.name, *move) for each in TRANSITIONS for move in each.moves if each.name not in stays}
    assert wanted - made == set()


def test_every_state_has_an_owner() -> None:
    """Each state that is not final has an owner, and leads to a final state."""
    ways = {(source, target) for each in TRANSITIONS for source, target in each.moves}
    final = set(DeliveryState) - OWNERS.keys()
    ending = set(final)
    for _ in DeliveryState:
        ending |= {source for source, target in ways if source is not None and target in ending}
    assert ending == set(DeliveryState)
    assert {target for _, target in ways} == set(DeliveryState)
    assert all(OWNERS.values())


@pytest.mark.parametrize("status", ["pending", "dead", "held"])
def test_guard_aborts_other_transitions(database: Database, status: str) -> None:
    """The guard of the fixture `database` aborts a change that is not in the table."""
    with database.write() as connection:
        delivery_transitions.enqueue(connection, [ROWS[0]])
        delivery_transitions.sent(connection, ROWS[0].receiver, "sender", {ROWS[0].id: None}, NOON)
    with pytest.raises(StoreError, match="no such transition"), database.write() as connection:
        connection.execute(DELIVERY.update().values(status=status))


def test_only_one_module_writes_deliveries() -> None:
    """No other module writes to the table of deliveries, because it could bypass the table of transitions."""
    folder = Path(actionwatch.__file__).parent
    writes = re.compile(r"\b(?:DELIVERY\s*\.(?:update|insert)|bulk_(?:update|insert)\(\s*connection,\s*DELIVERY\b)")
    writers = {str(path.relative_to(folder)) for path in folder.rglob("*.py") if writes.search(path.read_text())}
    # Retention deletes rows and old bodies, and a step of the clock changes due times. Neither changes a state.
    assert writers - {"store/retention.py", "store/waits.py"} == {"store/delivery_transitions.py"}


@pytest.mark.parametrize("step", ["retry", "bury"])
def test_outcome_of_an_earlier_attempt_changes_nothing(database: Database, step: str) -> None:
    """How an attempt failed is not recorded once the same process has claimed the row again: only the newest attempt counts."""
    with database.write() as connection:
        delivery_transitions.enqueue(connection, [replace(ROWS[0], body="{}")])
        (first,) = delivery_transitions.claim(connection, [replace(ROWS[0], body="{}")], LATER, "sender")
        delivery_transitions.release_forgotten(connection, "sender", ())
        (second,) = delivery_transitions.claim(connection, [first], LATER, "sender")
        before = _rows(connection)
        STEPS[step][0](connection, first)
        assert _rows(connection) == before
        STEPS[step][0](connection, second)
        assert _rows(connection) != before
