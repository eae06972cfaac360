"""The one table of fields, and what people and grouping keys are shown of it."""

from __future__ import annotations

import pytest

from actionwatch.base.model import Entity, Record
from actionwatch.rules.fields import (
    FIELDS,
    VARIABLES,
    NamedEntity,
    Subject,
    field_named,
    group_value,
    shown_texts,
    variable,
)
from tests.unit.rules.builders import record

FULL = record(
    description="d",
    account=Entity(id="a-1", name="Payments"),
    cluster=Entity(id="c-1"),
    raw={"x": [1, True, None], "o": {"k": "v"}},
)


@pytest.mark.parametrize(
    ("name", "text", "group"),
    [
        ("actionKind", "DELETE_CLUSTER", "DELETE_CLUSTER"),
        ("userName", "eve", "eve"),
        ("timestamp", "2026-03-04T05:06:07.000Z", "2026-03-04T05:06:07.000Z"),
        ("account", "Payments", "a-1"),
        ("account.name", "Payments", "Payments"),
        ("cluster", "c-1", "c-1"),
        ("cluster.name", "", None),
        ("clusterId", "c-1", "c-1"),
        ("organisation", "", None),
        ("domainType", "", None),
        ("raw.x", "1, true", "1"),
        ("raw.o", '{"k":"v"}', '{"k":"v"}'),
        ("raw.missing", "", None),
        ("nonsense", "", None),
    ],
)
def test_shown_values(name: str, text: str, group: str | None) -> None:
    """People see a name before an id; a grouping key holds the id before the name, None where the field is absent."""
    assert (dict(shown_texts(FULL, [name])).get(name, ""), group_value(FULL, name)) == (text, group)


def test_every_slot_is_an_attribute() -> None:
    """The index reads each slot straight from the record."""
    assert {field.slot for field in FIELDS.values() if field.slot} <= set(Record.__struct_fields__)


def test_description_and_time_are_not_remembered() -> None:
    """Fields whose values hardly repeat have no slot."""
    assert [name for name, field in FIELDS.items() if field.slot is None] == ["description", "timestamp"]


def test_a_raw_path_needs_a_path() -> None:
    """`raw.` alone names nothing."""
    assert field_named("raw.") is None
    assert field_named("raw") is None


def test_every_variable_can_be_read() -> None:
    """A bare record gives every template variable a value or None."""
    subject = Subject(record(user=None))
    assert {name: variable(subject, name) for name in VARIABLES}["userName"] is None


def test_raw_is_decoded_once() -> None:
    """The same object is given again."""
    subject = Subject(FULL)
    assert subject.raw is subject.raw


def test_entities_in_templates() -> None:
    """An entity prints as its name, else its id, and is false where it has neither."""
    assert str(NamedEntity(Entity(id="i", name="n"))) == "n"
    assert str(NamedEntity(Entity(id="i"))) == "i"
    assert not NamedEntity(Entity())
