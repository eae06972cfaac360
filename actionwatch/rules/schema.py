"""The JSON Schema of a rule file, for editors. It is built from the tables of the loader."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from sigma.modifiers import modifier_mapping

from actionwatch.base.model import LEVELS, Mode
from actionwatch.rules import alert, cases, filters, when
from actionwatch.rules.correlations.folds.counting import OPERATORS
from actionwatch.rules.correlations.reading.block import ALL_KEYS
from actionwatch.rules.document import FILTER_KEYS, LOGSOURCE, METADATA, OURS, STATUSES
from actionwatch.rules.fields import FIELDS, LABELS, RAW
from actionwatch.rules.model import CorrelationType

DIALECT = "http://json-schema.org/draft-07/schema#"  # the version that yaml-language-server supports best
FILE = "rule.schema.json"


def _list_of(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": 1}


def _map_to(values: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": values}


def _one_or_several(value: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [value, _list_of(value)]}


def _exactly(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _closed(properties: dict[str, Any]) -> dict[str, Any]:
    return {**_exactly(properties), "patternProperties": {"^x-": {}}}


def _detection(**own: Any) -> dict[str, Any]:
    """Describe named selections with some optional keys: a correlation needs no condition."""
    return {**_map_to(_SELECTED), "properties": own}


def _described(description: str, pattern: str) -> dict[str, Any]:
    return {"type": "string", "pattern": pattern, "description": description}


_SELECTED = {"$ref": "#/definitions/selection"}
_TEXT = {"type": "string"}
_TEXTS = {"type": "array", "items": _TEXT}
_DURATION = _described("A duration: 30s, 15m, 26h, 7d.", r"^(\d+(\.\d+)?(s|m|h|d|w))+$")
_TIMESPAN = _described("A whole number with its unit: 10m, 26h, 90d.", r"^\d+[smhdwMy]$")
_MOMENT = {
    "type": ["string", "integer"],
    "description": "A duration from the test's start (5m, -1h), or an RFC 3339 time.",
}
_OTHER_FIELDS = rf"({re.escape(RAW)}|{re.escape(LABELS)}).+"
_FIELD = {"anyOf": [{"enum": list(FIELDS)}, {"type": "string", "pattern": rf"^{_OTHER_FIELDS}"}]}
_GROUPING = _list_of({"anyOf": [_FIELD, _TEXT]})  # a correlation can also use aliases
_SCALAR = {"type": ["string", "number", "boolean", "null"]}
_LEVEL = {"enum": list(LEVELS)}
_TABLE = {"type": "object"}
_LABELS = _map_to({"type": ["string", "number", "boolean"]})

_DESCRIPTIONS = {
    "title": "What the rule finds, in a few words. Also the default title of its alerts.",
    "id": "A UUID that identifies the rule even after it is renamed.",
    "name": "The name of the rule in routes, silences and commands.",
    "level": "The severity of a match.",
    "logsource": "{product: instaclustr, service: user_actions}",
    "detection": "Selections by name, and the condition that joins them.",
    "correlation": "Conditions on several records: counts, sequences, absence.",
    "when": "Match only during, or only outside, time intervals of the configuration, by the time of the event.",
    "mode": "live; shadow (alerts are stored but nobody is notified); off.",
    "alert": "The content of the alerts.",
    "tests": "Events that must and must not alert. 'actionwatch rules test' runs the tests.",
    "filter": "An exclusion: 'rules' names the rules, 'condition' is 'not …'.",
    "owner": "The team or person that is responsible for the filter.",
    "reason": "Why these records are harmless.",
    "expires": "The last day of the filter.",
}
_METADATA: dict[str, Any] = {
    **dict.fromkeys(METADATA, _TEXT),
    **dict.fromkeys(("references", "falsepositives", "fields", "scope"), _TEXTS),
    "id": {"type": "string", "pattern": "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"},
    "level": _LEVEL,
    "status": {"enum": list(STATUSES)},
    "tags": {"type": "array", "items": {"type": "string", "pattern": r"^[^.\s]+\..+$"}},
    "related": {"type": "array", "items": _TABLE},
}
_EXPECTED = {
    **dict.fromkeys(cases.EXPECT_KEYS, _TEXT),
    **{key: {"type": "integer", "minimum": 0} for key in ("alerts", "events")},
    "group": _map_to(_SCALAR),
    "late": {"anyOf": [{"type": "boolean"}, _DURATION]},
    "level": _LEVEL,
    "labels": _LABELS,
    **dict.fromkeys(("first_at", "last_at"), _MOMENT),
    "resolved_at": {"anyOf": [_MOMENT, {"type": "null"}]},
}
_THRESHOLD = _exactly(
    {
        **{key: {"type": "number"} for key in (*OPERATORS, "factor")},
        "field": _one_or_several(_FIELD),
        "min": {"type": "integer"},
    }
)
_CORRELATION = {
    "type": {"enum": [each.value for each in CorrelationType]},
    "rules": _one_or_several(_TEXT),
    "group-by": {"anyOf": [_TEXT, _GROUPING]},
    "timespan": _TIMESPAN,
    "condition": {"anyOf": [_TEXT, _THRESHOLD]},
    "aliases": _TABLE,
    "generate": {"type": "boolean"},
    "fields": _list_of(_FIELD),
    "history": _TIMESPAN,
    "baseline": _TEXT,
    "cold-start": {"enum": ["learn", "alert"]},
    "windows": {"type": "integer", "minimum": 1},
    "expect-groups": _TABLE,
}  # fmt: skip


_FIELDS, _WORDS = {"$ref": "#/definitions/fields"}, {"type": ["string", "number"]}
_SELECTION = {
    "description": "Fields and values that must all match; a list of alternatives; or keywords to search for.",
    "anyOf": [_FIELDS, _list_of({"anyOf": [_FIELDS, _WORDS]}), _WORDS],
}
_ALERT: dict[str, Any] = {
    **{key: {} for key in alert.KEYS},
    "title": {**_TEXT, "description": "A Jinja template: {{ userName }}: {{ actionKind }}"},
    "body": _TEXT,
    "level": {"anyOf": [_LEVEL, _exactly(dict.fromkeys(LEVELS, _SELECTED))]},
    "fields": _list_of(_FIELD),
    "group_by": {**_GROUPING, "description": "Matches with equal values of these fields form one alert."},
    "realert": _DURATION,
    "labels": _LABELS,
    "runbook": _TEXT,
    "sources": {
        **_list_of(_TEXT),
        "description": 'Only records of these sources match: names, or matchers of their labels such as customer="acme".',
    },
    "escalate": {
        **_closed({"after": _DURATION, "unless": {"enum": ["acked"]}, "to": _TEXT}),
        "required": ["after", "to"],
    },
}
_EVENT = {
    **_exactly(
        {
            **dict.fromkeys(FIELDS, _SCALAR),
            **dict.fromkeys(("at", "seen_at"), _MOMENT),
            "repeat": {"type": "integer", "minimum": 1, "maximum": cases.MAX_EVENTS},
            "every": _DURATION,
        }
    ),
    "patternProperties": {rf"^{_OTHER_FIELDS}": {}},
}
_CASE = {
    **_closed(
        {
            "name": _TEXT,
            "event": _EVENT,
            "events": {"type": "array", "items": _EVENT},
            **dict.fromkeys(("until", "verified_until"), _MOMENT),
            "history": _DURATION,
            "lists": _map_to({"type": "array"}),
            "expect": {"anyOf": [{"enum": ["alert", "nothing"]}, _closed(_EXPECTED)]},
        }
    ),
    "required": ["expect"],
    "oneOf": [{"required": [key]} for key in ("event", "events")],
}


def rule_schema(kinds: Iterable[str]) -> dict[str, Any]:
    """Build the schema. Editors offer `kinds` but accept others."""
    known: dict[str, Any] = {
        **_METADATA,
        "logsource": _closed(dict.fromkeys(LOGSOURCE, _TEXT)),
        "detection": _detection(condition=_one_or_several(_TEXT)),
        "correlation": {**_closed({**{key: {} for key in ALL_KEYS}, **_CORRELATION}), "required": ["type"]},
        "alert": _closed(_ALERT),
        "when": {**_closed(dict.fromkeys(when.KEYS, _list_of(_TEXT))), "minProperties": 1},
        "mode": {"enum": [mode.value for mode in Mode]},
        "tests": {"type": "array", "items": _CASE},
        "filter": {**_detection(rules=_one_or_several(_TEXT), condition=_TEXT), "required": ["rules", "condition"]},
        **dict.fromkeys(filters.KEYS, _TEXT),
    }
    described = {
        key: {"description": _DESCRIPTIONS[key], **value} if key in _DESCRIPTIONS else value
        for key, value in {**{key: {} for key in (*OURS, *FILTER_KEYS)}, **known}.items()
    }
    definitions = {"selection": _SELECTION, "fields": _fields(kinds), "values": _one_or_several(_SCALAR)}
    return {
        "$schema": DIALECT,
        "title": "An actionwatch rule: a Sigma document for the audit log of Instaclustr",
        **_closed(described),
        "required": ["title"],
        "anyOf": [{"required": [key]} for key in ("detection", "correlation", "filter")],
        "dependencies": {"detection": ["logsource"], "filter": ["logsource", *filters.KEYS]},
        "definitions": definitions,
    }


def _fields(kinds: Iterable[str]) -> dict[str, Any]:
    values = {"$ref": "#/definitions/values"}
    kind = _one_or_several({"anyOf": [{"enum": list(kinds)}, _SCALAR]})
    names = "|".join(re.escape(name) for name in FIELDS)
    modifiers = "|".join(modifier_mapping)
    return {
        "type": "object",
        "minProperties": 1,
        "properties": {name: kind if name == "actionKind" else values for name in FIELDS},
        "patternProperties": {
            rf"^({names}|{_OTHER_FIELDS})(\|({modifiers}))*$": values,
            rf"^(\|({modifiers}))+$": values,
        },
        "additionalProperties": False,
    }
