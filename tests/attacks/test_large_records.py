"""Pages, records and messages that are much larger than those of the vendor."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actionwatch.base.errors import BadResponse, OversizedPage
from actionwatch.base.model import Entity, Event, Record
from actionwatch.delivery.compose import freeze, message_of
from actionwatch.instaclustr.client import Client
from actionwatch.instaclustr.query import Query
from actionwatch.instaclustr.records import MAX_RECORD_CHARS, RecordReader
from actionwatch.instaclustr.wire import MAX_PAGE_RECORDS, parse_page, read_counts
from actionwatch.net.http import MAX_BODY_BYTES
from actionwatch.rules.alert_text import compile_wording, word
from actionwatch.rules.fields import Subject
from actionwatch.text.payloads import RECORDS_SHOWN
from actionwatch.text.raw_records import CUT_FIELD, cut_record, is_cut
from tests.builders import NOON, make_alert, make_record
from tests.cases import in_one_test
from tests.integration.instaclustr.upstream import Response, Upstream, listing

MEGABYTE = 1024 * 1024
LARGE = {"action": "DELETE_CLUSTER", "timestamp": "2026-11-01T00:00:01Z", "userName": "eve", "clusterId": "c-1"}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@contextmanager
def at_most(megabytes: int) -> Iterator[None]:
    """Check that the block never takes more memory than this."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < megabytes * MEGABYTE


def reader() -> RecordReader:
    return RecordReader("acme", organisation_id="org")


def read_all(client: Client) -> list[Record]:
    return [record for page in client.user_actions(Query()) for record in page.records]


@in_one_test(
    ("start", "piece"),
    [
        *((b'[{"a":[', piece) for piece in (b"{}", b"[]", b"0", b'{"":{}}', b'""', b"[[[]]]")),
        (b"[", b"{}"),
        (b'{"totalResults":1,"resources":[', b"[]"),
    ],
)
def test_page_of_countless_values_does_not_fill_the_memory(start: bytes, piece: bytes) -> None:
    """6 MB of the smallest values, which would take hundreds as objects, are refused before they are decoded."""
    end = start.translate(bytes.maketrans(b"[{", b"]}"), b'"totalResults":1,"resourcesa')[::-1]
    body = start + (piece + b",") * (6 * MEGABYTE // (len(piece) + 1)) + piece + end
    with Upstream(lambda asked: Response(200, body)) as upstream, upstream.client() as client:
        with at_most(3 * 7), pytest.raises(OversizedPage, match="values"):
            read_all(client)
        assert [asked.size for asked in upstream.asked] == [1000, 125, 15, 1]


def test_page_of_more_records_than_it_may_have_is_refused() -> None:
    """An upstream that ignores the page size sends at most ten times what a page may have."""
    body = b"[" + b",".join([json.dumps(LARGE).encode()] * (MAX_PAGE_RECORDS + 1)) + b"]"
    with Upstream(lambda asked: Response(200, body)) as upstream, upstream.client() as client:
        with pytest.raises(BadResponse, match="10,001 records, and at most 10,000"):
            read_all(client)
        assert len(upstream.asked) == 1


@pytest.mark.parametrize(("count", "length"), [(7, MEGABYTE // 2), (7, 3 * MEGABYTE), (2, 15 * MEGABYTE)])
def test_large_records_hide_none_beside_them(count: int, length: int) -> None:
    """Pages that are too large are read in smaller pages, until each record was read; large records are cut."""
    small = [{**LARGE, "id": f"r-{number}"} for number in range(40)]
    large = [{**LARGE, "id": f"large-{number}", "description": str(number) * length} for number in range(count)]
    with Upstream(listing([*small[:20], *large, *small[20:]])) as upstream, upstream.client() as client:
        found = read_all(client)
    assert [record.upstream_id for record in found] == [each["id"] for each in [*small[:20], *large, *small[20:]]]
    assert [is_cut(record) for record in found] == [False] * 20 + [True] * count + [False] * 20
    assert max(len(record.raw) for record in found) <= MAX_RECORD_CHARS
    assert max(len(record.description or "") for record in found) <= MAX_RECORD_CHARS


def test_page_size_recovers_after_large_records() -> None:
    """Records that were too large do not slow down the reading of those after them for ever."""
    records = [
        {**LARGE, "id": "large", "description": "x" * (15 * MEGABYTE)},
        {**LARGE, "description": "y" * 2 * MEGABYTE},
    ]
    records += [{**LARGE, "id": f"r-{number}"} for number in range(5000)]
    with Upstream(listing(records)) as upstream, upstream.client() as client:
        assert len(read_all(client)) == len(records)
    assert upstream.asked[-1].size == 1000
    assert len(upstream.asked) < 30


def test_single_record_larger_than_a_page_is_reported() -> None:
    """What cannot be read at all is an error with a remedy, and not an empty page."""
    records = [{**LARGE, "description": "x" * (MAX_BODY_BYTES + 1)}]
    with Upstream(listing(records)) as upstream, upstream.client() as client, pytest.raises(OversizedPage) as caught:
        read_all(client)
    assert f"larger than {MAX_BODY_BYTES} bytes" in caught.value.what
    assert "ask the vendor" in caught.value.remedy


def test_key_of_a_cut_record_is_that_of_the_whole_one() -> None:
    """Two records that differ only in what is cut stay two records, and each keeps its key when it is read again."""
    texts = ["x" * MEGABYTE + "1", "x" * MEGABYTE + "2", "x" * MEGABYTE + "1"]
    body = json.dumps([{**LARGE, "description": text} for text in texts]).encode()
    one, other, again = parse_page(body, reader(), NOON).records
    assert one.raw == other.raw
    assert one.key == again.key != other.key


@given(
    fields=st.dictionaries(st.text(max_size=20), JSON, max_size=12),
    text=st.text(min_size=1, max_size=3),
    repeated=st.integers(1, 3000),
    limit=st.integers(1000, 5000),
)
def test_cut_record_is_bounded_and_readable(fields: dict[str, Any], text: str, repeated: int, limit: int) -> None:
    """A cut raw text is JSON of at most the limit that says so, and keeps short fields; a short record is unchanged."""
    raw = json.dumps({**fields, "long": text * repeated, "long too": [text] * repeated}, ensure_ascii=False)
    record = make_record(raw=raw, description=text * repeated, user_name=text * repeated)
    cut = cut_record(record, limit)
    assert is_cut(cut) == (len(raw) > limit)
    assert len(cut.raw) <= limit
    assert cut_record(cut, limit) == cut
    if len(raw) <= limit:
        assert cut == record
        return
    kept = json.loads(cut.raw)
    assert f"{len(raw):,} characters" in kept.pop(CUT_FIELD)
    assert kept.keys() <= {*fields, "long", "long too"}
    assert cut.description is not None
    assert len(cut.description) <= limit // 4
    assert cut.user_name is not None
    assert len(cut.user_name) <= 256


@pytest.mark.parametrize(
    "raw", ["[" * 60_000 + "]" * 60_000, f'"{"x" * 60_000}"', "[" + "0," * 30_000 + "0]", "{" * 60_000]
)
def test_raw_text_that_is_no_object_is_cut_too(raw: str) -> None:
    """A store of an earlier version may hold any text."""
    cut = cut_record(make_record(raw=raw), 1000)
    assert json.loads(cut.raw)[CUT_FIELD] == f"the record has {len(raw):,} characters; texts that are too long are cut"


def test_cut_says_how_much() -> None:
    """People see in the text itself that something is missing, and how much."""
    cut = cut_record(make_record(description="d" * 100_000, raw=json.dumps({"a": 1, "b": "b" * 100_000})), 10_000)
    assert (cut.description or "").endswith("dd… (+97511)")
    assert json.loads(cut.raw)["a"] == 1
    assert json.loads(cut.raw)["b"].endswith(")")


@pytest.mark.parametrize("char", ["x", "\x01", "\U0001f525"], ids=ascii)
def test_message_of_large_records_is_bounded(char: str) -> None:
    """Fifty records of 1 MB, from a store of an earlier version, make a message of at most 2 MB that says what is cut."""
    text = char * MEGABYTE
    large = make_record(
        description=text, user_name=text, cluster=Entity(text, text), raw=json.dumps({"text": text}, ensure_ascii=False)
    )
    message = message_of(
        "d-1", Event.OPENED, make_alert(fields=("description", "userName", "raw.text")), [large] * RECORDS_SHOWN, NOON
    )
    body = freeze(message)
    assert len(body.encode()) < 2 * MEGABYTE
    assert len(message.data["records"]) == RECORDS_SHOWN
    assert all(CUT_FIELD in record["raw"] for record in message.data["records"])


def test_message_of_usual_records_is_whole() -> None:
    """Fifty records of 5 KB, five times what the vendor's have, are sent as they are."""
    record = make_record(description="d" * 2000, raw=json.dumps({"text": "x" * 5000}))
    message = message_of("d-1", Event.OPENED, make_alert(), [record] * RECORDS_SHOWN, NOON)
    assert [each["raw"] for each in message.data["records"]] == [{"text": "x" * 5000}] * RECORDS_SHOWN


def test_countless_layouts_and_values_do_not_fill_the_memory() -> None:
    """The reader remembers layouts and values, but not all that an upstream can invent."""
    some = reader()
    with at_most(30):
        for number in range(20):
            records = [
                {**LARGE, f"field-{number}-{each}-{'x' * 1000}": 1, "clusterName": f"{number}-{each}" + "y" * 20_000}
                for each in range(100)
            ]
            parse_page(json.dumps(records).encode(), some, NOON)
    assert len(some.unmapped_fields) <= 1000


@pytest.mark.parametrize(
    "counts",
    [{f"KIND_{number}": 1 for number in range(1001)}, {"K" * 201: 1}],
    ids=["too many kinds", "a long kind"],
)
def test_counts_that_no_catalogue_has_are_ignored(counts: dict[str, int]) -> None:
    """Counts are stored with each proof: counts of invented kinds would fill the store."""
    assert read_counts({"counts": counts}) is None
    assert read_counts({"counts": dict(list(counts.items())[1:])}) is not None


def test_body_of_an_alert_is_cut() -> None:
    """A body that repeats large texts is cut and says how much, because a summary holds the bodies of many alerts."""
    wording = compile_wording("{% for each in [1, 2, 3, 4, 5, 6, 7, 8, 9] %}{{ description }}\n{% endfor %}")
    body = word(wording, Subject(make_record(description="d" * 8192)))
    assert len(body) == 16_000
    assert body.endswith(f"d… (+{9 * 8193 - 16_000 + len('… (+73737)')})")
