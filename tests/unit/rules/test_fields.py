"""The table of fields: their values for people and for grouping keys."""

from __future__ import annotations

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
from tests.cases import in_one_test
from tests.unit.rules.builders import record

FULL = record(
    description="d",
    account=Entity(id="a-1", name="Payments"),
    cluster=Entity(id="c-1"),
    raw={"x": [1, True, None], "o": {"k": "v"}},
)


@in_one_test(
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
def test_people_see_names_and_groups_have_ids(name: str, text: str, group: str | None) -> None:
    """People see the name rather than the id.

    A grouping key has the id rather than the name, and None if the field is absent.
    """
    assert (dict(shown_texts(FULL, [name])).get(name, ""), group_value(FULL, name)) == (text, group)


def test_every_slot_is_an_attribute() -> None:
    """The index reads each slot directly from the record."""
    assert {field.slot for field in FIELDS.values() if field.slot} <= set(Record.__struct_fields__)


def test_description_and_time_are_not_remembered() -> None:
    """Fields whose values rarely repeat have no slot."""
    assert [name for name, field in FIELDS.items() if field.slot is None] == ["description", "timestamp"]


def test_a_raw_path_needs_a_path() -> None:
    """`raw.` alone is not a field."""
    assert field_named("raw.") is None
    assert field_named("raw") is None


def test_every_variable_can_be_read() -> None:
    """Every template variable has a value or None for a record without optional values."""
    subject = Subject(record(user=None))
    assert {name: variable(subject, name) for name in VARIABLES}["userName"] is None


def test_raw_is_decoded_once() -> None:
    """The raw record is parsed once."""
    subject = Subject(FULL)
    assert subject.raw is subject.raw


def test_entity_prints_as_its_name_or_id() -> None:
    """An entity prints as its name, otherwise its id, and is false if it has neither."""
    assert str(NamedEntity(Entity(id="i", name="n"))) == "n"
    assert str(NamedEntity(Entity(id="i"))) == "i"
    assert not NamedEntity(Entity())
