"""Records of unexpected shapes."""

from __future__ import annotations

import json
from typing import Any

from actionwatch.instaclustr.lenient import MAX_DEPTH
from actionwatch.instaclustr.records import RecordReader
from actionwatch.instaclustr.wire import parse_page
from tests.builders import NOON
from tests.cases import in_one_test

BESIDE = {"action": "DELETE_CLUSTER", "timestamp": "2026-11-01T00:00:01Z", "description": "beside"}


def nested(levels: int, form: str) -> str:
    """Return JSON with so many levels."""
    opening, closing = {"objects": ('{"a":', "}"), "lists": ("[", "]"), "both": ('{"[":[', "]}")}[form]
    return opening * levels + '"]}\\""' + closing * levels


def depth(value: Any) -> int:
    """Return the number of levels of a decoded value."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


@in_one_test("form", ["objects", "lists", "both"])
@in_one_test("levels", [40, 150, 900, 2000, 50_000])
def test_deeply_nested_record_hides_no_other(levels: int, form: str) -> None:
    """A record that is nested 2,000 levels does not make its page fail, so that the other records are read."""
    hostile = '{"action":"CREATE_CLUSTER","timestamp":"2026-11-01T00:00:00Z","extra":' + nested(levels, form) + "}"
    body = f'{{"totalResults":3,"resources":[{json.dumps(BESIDE)},{hostile},{json.dumps(BESIDE)}]}}'
    reader = RecordReader("acme", organisation_id="org")
    first, deep, last = parse_page(body.encode(), reader, NOON).records
    assert first.key == last.key
    assert (first.action_kind, deep.action_kind) == ("DELETE_CLUSTER", "CREATE_CLUSTER")
    assert deep.is_time_readable
    kept = json.loads(deep.raw)
    assert depth(kept) <= MAX_DEPTH
    assert deep.raw == hostile or levels > 40
    assert parse_page(f"[{hostile}]".encode(), reader, NOON).records[0].key == deep.key
