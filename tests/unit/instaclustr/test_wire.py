"""Pages in every format."""

import contextlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actionwatch.base.errors import BadResponse
from actionwatch.instaclustr.records import RecordReader
from actionwatch.instaclustr.wire import Page, parse_page
from tests.cases import in_one_test

SEEN = datetime(2026, 1, 1, tzinfo=UTC)
ONE, TWO = {"action": "CREATE_CLUSTER"}, {"action": "DELETE_CLUSTER"}


def parse(body: bytes | str | Any) -> Page:
    text = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return parse_page(text, RecordReader("acme", organisation_id="org"), SEEN)


def kinds(page: Page) -> list[str]:
    return [record.action_kind for record in page.records]


@in_one_test(
    ("body", "count", "total"),
    [
        ([{"totalResults": 2, "startIndex": 0, "itemsPerPage": 2, "resources": [ONE, TWO]}], 2, 2),
        ({"totalResults": 9, "resources": [ONE, TWO]}, 2, 9),
        ({"Resources": [ONE], "TOTALRESULTS": "7"}, 1, 7),
        ([], 0, None),
        ([ONE, TWO], 2, None),
        ([{}], 1, None),
        ([{"totalResults": 1, "resources": [ONE]}, {"totalResults": 1, "resources": [TWO]}], 2, 2),
        ({"resources": None}, 0, None),
        ({"resources": [], "totalResults": 0}, 0, 0),
        ({"totalResults": 0, "startIndex": 0, "itemsPerPage": 0}, 0, 0),
        ([{"startIndex": 0}], 0, None),
        ({"totalResults": 0, "resources": [ONE]}, 1, None),
        ({"totalResults": "many", "resources": [ONE]}, 1, None),
        ({"totalResults": True, "resources": [ONE]}, 1, None),
        ({"totalResults": 2.0, "resources": [ONE]}, 1, 2),
        ({"totalResults": -1, "resources": []}, 0, None),
        ([{"action": "X", "resources": ["cluster-1"]}], 1, None),
    ],
)
def test_every_format_is_read(body: Any, count: int, total: int | None) -> None:
    """Envelopes, bare lists and similar formats are pages; an invalid total is ignored."""
    page = parse(body)
    assert (len(page.records), page.total) == (count, total)


@in_one_test(
    ("body", "found"),
    [
        (b"", "empty"),
        (b"  \n", "empty"),
        (b"<html><title>Gateway</title>", "markup"),
        (b"not json", "not json"),
        (b'{"resources": [', "resources"),
        (b'[{"action": "X"}] trailing', "trailing"),
        ("null", "null"),
        ('"text"', "text"),
        ("7", "7"),
        ({}, "no members"),
        ({"error": "no"}, "error"),
        ({"action": "X"}, "action"),
        ({"resources": {"a": 1}}, "not a list"),
        ({"resources": "x"}, "not a list"),
        ({"resources": [1]}, "not all are objects"),
        ([1, 2], "not all are objects"),
        ([None], "not all are objects"),
        ([ONE, [ONE]], "not all are objects"),
        ([ONE, {"resources": []}], "records and envelopes"),
        ([{"resources": []}, ONE], "envelopes and other items"),
        ([[ONE]], "not all are objects"),
    ],
)
def test_unknown_format_is_an_error(body: Any, found: str) -> None:
    """A 200 response with an unknown format is an error that describes it, and never "no records"."""
    with pytest.raises(BadResponse) as caught:
        parse(body)
    assert found in str(caught.value)


@in_one_test(
    ("member", "value", "counts"),
    [
        ("actionCounts", {"CREATE_CLUSTER": 3, "Delete cluster": "4"}, {"CREATE_CLUSTER": 3, "DELETE_CLUSTER": 4}),
        ("counts", {}, {}),
        ("counts", [], {}),
        ("anything", {"CREATE_CLUSTER": 3, "LOGIN": 1}, {"CREATE_CLUSTER": 3, "LOGIN": 1}),
        ("anything", [{"action": "A", "count": 1}], {"A": 1}),
        ("anything", [{"Kind": "A", "Total": 1}, {"kind": "a", "total": 2}], {"A": 3}),
        ("anything", [{"name": "A", "count": "1"}], {"A": 1}),
        ("paging", {"page": 1, "size": 10}, None),
        ("links", {}, None),
        ("links", [], None),
        ("counts", {"A": "many"}, None),
        ("counts", None, None),
        ("note", "3 things", None),
    ],
)
def test_counts_are_found(member: str, value: Any, counts: dict[str, int] | None) -> None:
    """Counts are a map or a list under any member of the envelope."""
    assert parse([{"paging": {"page": 1}, member: value, "resources": [ONE], "totalResults": 5}]).counts == counts


def test_counts_of_several_envelopes_are_added() -> None:
    """The counts of several envelopes are added."""
    page = parse([{"resources": [], "counts": {"A": 1}}, {"resources": [], "counts": {"A": 2, "B": 1}}])
    assert page.counts == {"A": 3, "B": 1}


def test_object_is_kept_unchanged() -> None:
    """Blanks, order, escapes and the spelling of numbers are kept in `raw`."""
    raw = '{ "action" : "X\\u0041", "n": 1.50e3,\t"action2": [ 1 , 2 ] }'
    assert [record.raw for record in parse(f'[{{"resources": [ {raw} , {raw} ]}}]').records] == [raw, raw]
    assert [record.raw for record in parse(f"[{raw},\n{raw}]").records] == [raw, raw]


@in_one_test(
    "odd",
    [
        rb'"\ud800"', rb'"\ud800 \udc00 x"', rb"NaN", rb"-Infinity", rb"1e999", b'"a\x00b"', b'"a\nb"', b'"a\xffb"',
        b"9" * 5000, rb'"\u0000"',
    ],
)  # fmt: skip
@in_one_test("shape", [b"[%s]", b'[{"totalResults": 2, "resources": [%s], "counts": {"X": 2}}]'])
def test_value_that_the_fast_decoder_rejects_does_not_block_the_page(odd: bytes, shape: bytes) -> None:
    """Unusual values cost time, but never a page, and do not change the other records of the page."""
    plain = b'{"action": "X", "description": "plain", "n": 1.5}'
    body = shape % (b'{"action": "ODD", "description": %s}, %s' % (odd, plain))
    page = parse(body)
    assert kinds(page) == ["ODD", "X"]
    assert page.records[1] == parse(b"[%s]" % plain).records[0]
    for record in page.records:
        json.loads(record.raw)
        record.raw.encode()
        assert "\x00" not in (record.description or "")
        (record.description or "").encode()
    assert page.records[0].key == parse(body).records[0].key


def test_byte_order_mark_is_ignored() -> None:
    """Some gateways insert a byte order mark."""
    assert kinds(parse(b'\xef\xbb\xbf[{"action": "X"}]')) == ["X"]


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 2000 + b"1" + b"}" * 2000]
)
def test_extreme_nesting_outside_of_records_is_an_error(body: bytes) -> None:
    """A body that is nested extremely, and has no records, is an error and does not crash the process."""
    with pytest.raises(BadResponse):
        parse(body)


@given(st.binary(max_size=60) | st.text(alphabet='[]{}":,0123eE.-ntrufalse resources', max_size=60).map(str.encode))
def test_any_body_is_a_page_or_an_error(body: bytes) -> None:
    """Any bytes are a page or a BadResponse."""
    with contextlib.suppress(BadResponse):
        parse(body)


texts = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=8)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(st.dictionaries(texts, json_values, max_size=4), max_size=4))
def test_both_parsers_agree(objects: list[dict[str, Any]]) -> None:
    """The lenient parser returns the same records as the fast one, so that no record changes its key."""
    fast = parse([{"totalResults": 10, "resources": objects}])
    patient = parse(json.dumps([{"totalResults": 10, "note": float("nan"), "resources": objects}]))
    assert fast.records == patient.records
