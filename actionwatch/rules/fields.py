"""The fields of the rule language: the one table that maps them to a record.

The value of a field is a tuple of candidates, because `account` is an id *or* a name, and a path into the raw record can
lead to a list. A condition holds if one candidate matches. An absent field has no candidates.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any

from actionwatch.base.clock import EPOCH
from actionwatch.base.model import Entity, Record
from actionwatch.base.source_labels import labels_of_record
from actionwatch.base.unicode import storable
from actionwatch.text.payloads import instant

Candidates = tuple[Any, ...]
"""Candidates of a field: text, numbers, booleans, datetimes, JSON objects; empty if the field is absent."""

RAW = "raw."
LABELS = "source.labels."
_SHOWN_BY_DEFAULT = ("timestamp", "userName", "actionKind", "account", "cluster", "description")


BLANK = Record(key="", source="", occurred_at=EPOCH, seen_at=EPOCH, action_kind="", raw="{}")
"""A record without values, from which the checks of conditions make records with some."""


class Subject:
    """A record under evaluation. It parses the raw record at most once."""

    __slots__ = ("_raw", "record")

    def __init__(self, record: Record) -> None:
        self.record = record
        self._raw: Mapping[str, Any] | None = None

    @property
    def raw(self) -> Mapping[str, Any]:
        """The object of the upstream; empty if the text is not a JSON object, because conditions are total."""
        if self._raw is None:
            try:
                value = json.loads(self.record.raw, parse_int=_integer)
                if "\\u" in self.record.raw:  # an escape can be a lone surrogate, which no store accepts in an alert
                    value = storable(value)
            except (ValueError, RecursionError):
                value = {}
            self._raw = value if isinstance(value, dict) else {}
        return self._raw


Reader = Callable[[Subject], Candidates]


@dataclass(frozen=True, slots=True)
class Field:
    """The way to read a field.

    `attribute` is the path to this value in a record. `slot` is the only attribute that the field depends on, if it has few
    distinct values.
    """

    read: Reader
    slot: str | None = None
    attribute: str | None = None


def field_named(name: str) -> Field | None:
    """Return the field with this name in the rule language; None if there is none."""
    if name.startswith(RAW) and len(name) > len(RAW):
        return Field(_raw_reader(name.removeprefix(RAW)))
    if name.startswith(LABELS) and len(name) > len(LABELS):
        return Field(_label_reader(name.removeprefix(LABELS)))
    return FIELDS.get(name)


def candidates_of(subject: Subject, name: str) -> Candidates:
    """Return the candidates of a field; none if there is no such field."""
    field = field_named(name)
    return field.read(subject) if field else ()


def shown_texts(record: Record, names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return name and value of the fields that a rule shows (by default _SHOWN_BY_DEFAULT), without the empty ones."""
    subject = Subject(record)
    texts = [(name, _text(subject, name)) for name in names or _SHOWN_BY_DEFAULT]
    return tuple(labelled for labelled in texts if labelled[1])


def _text(subject: Subject, name: str) -> str:
    """Return the value of a field for people: the name rather than the id, several values with commas; empty if absent."""
    candidates = candidates_of(subject, name)
    if len(candidates) > 1 and name in ENTITIES:
        return spell(candidates[-1])
    return spell(candidates[0]) if len(candidates) == 1 else ", ".join(map(spell, candidates))


def group_value(record: Record, name: str) -> str | None:
    """Return the value of a field in a grouping key: the id rather than the name, with its case; None if absent."""
    candidates = candidates_of(Subject(record), name)
    return spell(candidates[0]) if candidates else None


def spell(value: Any) -> str:
    """Return the text that conditions on strings compare: JSON for booleans and objects, RFC 3339 for times."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return instant(value)
    try:
        if isinstance(value, dict):
            return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        return str(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits, an object nested by the thousand
        return ""


def spelled(value: Any) -> str:
    """Return a value of a rule in the spelling of YAML."""
    return "null" if value is None else spell(value)


def keywords(subject: Subject) -> Candidates:
    """Return the texts in which keywords are searched for."""
    record = subject.record
    texts = (record.action_kind, record.user_name, record.description, record.account.name, record.cluster.name)
    return tuple(text for text in texts if text is not None)


def variable(subject: Subject, name: str) -> Any:
    """Return the value of one of `VARIABLES` in a template; None if it is absent."""
    if name == "raw":
        return subject.raw
    if name in ENTITIES:
        return NamedEntity(getattr(subject.record, name))
    value = next(iter(FIELDS[name].read(subject)), None)
    return instant(value) if isinstance(value, datetime) else value


class NamedEntity:
    """An entity in templates: it has `.id` and `.name`, and prints as its name, or as its id if it has no name."""

    __slots__ = ("id", "name")

    def __init__(self, entity: Entity) -> None:
        self.id = entity.id
        self.name = entity.name

    def __str__(self) -> str:
        return self.name or self.id or "unknown"

    def __bool__(self) -> bool:
        return bool(self.name or self.id)


def _integer(digits: str) -> int | str:
    """Keep a number with more digits than Python converts as text, so that the rest of the record stays readable."""
    try:
        return int(digits)
    except ValueError:
        return digits


def _raw_reader(path: str) -> Reader:
    def read(subject: Subject) -> Candidates:
        found: list[Any] = []
        pending: list[tuple[Any, str]] = [(subject.raw, path)]
        while pending:
            value, rest = pending.pop()
            if isinstance(value, list):
                # reversed, because the stack returns the last item first
                pending.extend((item, rest) for item in reversed(value))
            elif not rest:
                if value is not None:
                    found.append(value)
            elif isinstance(value, dict):
                pending.extend(_steps(value, rest))
        return tuple(found)

    return read


def _label_reader(name: str) -> Reader:
    """Make the reader of a label. It has no slot, because a reload of the configuration can change the label of a source."""

    def read(subject: Subject) -> Candidates:
        labels = labels_of_record(subject.record)
        return (labels[name],) if name in labels else ()

    return read


def _steps(value: Mapping[str, Any], path: str) -> list[tuple[Any, str]]:
    """Follow a path by one key. A key that contains dots takes precedence over a path through objects."""
    if path in value:
        return [(value[path], "")]
    key, _, rest = path.partition(".")
    return [(value[key], rest)] if rest and key in value else []


def _attribute(path: str, *, is_limited: bool = True) -> Field:
    """Make the field of an attribute. If its values rarely repeat, it is not limited: caching them would waste memory."""
    value_of = attrgetter(path)

    def read(subject: Subject) -> Candidates:
        value = value_of(subject.record)
        return () if value is None else (value,)

    return Field(read, path.partition(".")[0] if is_limited else None, path)


def _entity(name: str) -> dict[str, Field]:
    def both(subject: Subject) -> Candidates:
        entity: Entity = getattr(subject.record, name)
        return tuple(value for value in (entity.id, entity.name) if value is not None)

    return {name: Field(both, name), **{part: _attribute(part) for part in (f"{name}.id", f"{name}.name")}}


ENTITIES = ("account", "cluster", "organisation")

FIELDS: dict[str, Field] = {
    "actionKind": _attribute("action_kind"),
    "crudOperation": _attribute("operation"),
    "scope": _attribute("scope"),
    "domainType": _attribute("domain_type"),
    "description": _attribute("description", is_limited=False),
    "userName": _attribute("user_name"),
    "timestamp": _attribute("occurred_at", is_limited=False),
    **_entity("account"),
    **_entity("cluster"),
    "clusterId": _attribute("cluster.id"),
    **_entity("organisation"),
    "source": _attribute("source"),
    "severity": _attribute("severity"),
}

VARIABLES = (*(name for name in FIELDS if "." not in name), "raw")
