"""The identity of records: what changes a key, and what must not."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actionwatch.base.model import Record
from actionwatch.instaclustr.identity import content, organisation_hash, record_key, twin_key
from actionwatch.instaclustr.records import RecordReader
from tests.builders import reader_knowing
from tests.cases import in_one_test

SEEN = datetime(2026, 1, 1, tzinfo=UTC)
ACTION: dict[str, Any] = {
    "action": "CREATE_CLUSTER",
    "timestamp": "2023-11-05T13:15:30Z",
    "userName": "eve",
    "description": "made",
    "accountId": "a-1",
    "accountName": "Payments",
    "clusterId": "c-1",
    "clusterName": "ledger",
    "organisationId": "o-1",
    "organisationName": "Acme",
}

texts = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=12)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))
objects = st.dictionaries(texts, values, max_size=6)


def read(fields: dict[str, Any], seen_at: datetime = SEEN, **known: str) -> Record:
    return reader_knowing(known).read_all([fields], [json.dumps(fields)], seen_at)[0]


def key(fields: dict[str, Any]) -> str:
    return read(fields).key


def test_a_key_begins_with_the_time() -> None:
    """Later records have greater keys, so that inserts land at the end of the index."""
    first, second = key(ACTION), key({**ACTION, "timestamp": "2023-11-05T13:15:30.000001Z"})
    assert first[:17] == f"{1699190130000000:016x}-"
    assert len(first) == 37
    assert first[:16] < second[:16]


@pytest.mark.parametrize("fields", [ACTION, {**ACTION, "id": "same"}, {**ACTION, "timestamp": "soon"}])
def test_organisations_do_not_share_keys(fields: dict[str, Any]) -> None:
    """Equal records of two organisations are two records; two sources of one organisation read one."""

    def key_in(source: str, organisation_id: str) -> str:
        reader = RecordReader(source, organisation_id=organisation_id)
        return reader.read_all([fields], [json.dumps(fields)], SEEN)[0].key

    one, other = "0B6D8F1C-8F5A-4D1B-9A55-0123456789AB", "0b6d8f1c-8f5a-4d1b-9a55-0123456789ac"
    assert key_in("acme", one) == key_in("spare", one) == key_in("spare", one.lower())
    assert key_in("acme", one) != key_in("acme", other)
    assert key_in("acme", "Org") != key_in("acme", "org")  # only in a UUID is case known to be irrelevant


def test_an_untimed_key_does_not_depend_on_the_fetch() -> None:
    """A record without a readable time keeps its key from poll to poll."""
    fields = {**ACTION, "timestamp": "soon"}
    first, second = read(fields), read(fields, SEEN + timedelta(hours=1))
    assert first.key == second.key
    assert first.key.startswith("untimed-")
    assert not first.is_time_readable
    assert first.occurred_at == SEEN


@pytest.mark.parametrize("name", ["accountName", "clusterName", "organisationName"])
def test_name_next_to_an_id_is_not_part_of_the_key(name: str) -> None:
    """A name that is changed later does not double the record."""
    assert key({**ACTION, name: "renamed"}) == key(ACTION)
    assert key({other: value for other, value in ACTION.items() if other != name}) == key(ACTION)


def test_name_without_an_id_is_part_of_the_key() -> None:
    """Without an id, only the name distinguishes accounts."""
    nameless = {name: value for name, value in ACTION.items() if name != "accountId"}
    assert key(nameless) != key({**nameless, "accountName": "Other"})
    assert key({**ACTION, "accountId": None}) != key({**ACTION, "accountId": None, "accountName": "Other"})


def test_name_in_an_object_with_an_id_is_not_part_of_the_key() -> None:
    """Of an account in the form of an object, the id counts."""
    plain = {name: value for name, value in ACTION.items() if not name.startswith("account")}
    one = {**plain, "account": {"id": "a-1", "name": "Payments"}}
    assert key(one) == key({**plain, "account": {"name": "renamed", "id": "a-1"}})
    assert key(one) != key({**plain, "account": {"id": "a-2", "name": "Payments"}})
    assert key({**plain, "account": {"name": "x"}}) != key({**plain, "account": {"name": "y"}})


@in_one_test("name", ["action", "timestamp", "userName", "description", "accountId", "clusterId"])
@in_one_test("upstream_id", [{}, {"id": "7"}])
def test_core_fields_are_part_of_the_key(name: str, upstream_id: dict[str, Any]) -> None:
    """With an id that is not unique, records that differ in a core field are different records."""
    other = "2024-01-01T00:00:00Z" if name == "timestamp" else "other"
    assert key({**ACTION, **upstream_id, name: other}) != key({**ACTION, **upstream_id})


def test_field_added_to_a_record_with_an_id_does_not_change_its_key() -> None:
    """A field that the upstream adds later to a record with an id does not change its key."""
    one = {**ACTION, "id": "7"}
    assert key({**one, "status": "done", "retries": 3}) == key(one)
    assert key({**one, "id": "8"}) != key(one)
    assert key({**one, "id": 7}) == key(one)


def test_without_an_id_every_field_is_part_of_the_key() -> None:
    """Two records without an id that differ anywhere are two."""
    assert key({**ACTION, "ip": "10.0.0.1"}) != key({**ACTION, "ip": "10.0.0.2"})


@pytest.mark.parametrize("upstream_id", [{}, {"id": "7"}])
def test_linked_accounts_do_not_change_the_key(upstream_id: dict[str, Any]) -> None:
    """A new listing of the linked accounts does not double the records."""
    fields = {"action": "X", "timestamp": 1699190130, "account": "acc-1", **upstream_id}
    assert read(fields).key == reader_knowing({"acc-1": "Pay"}).read_all([fields], [""], SEEN)[0].key


@given(objects, st.randoms())
def test_the_order_of_members_does_not_matter(fields: dict[str, Any], random: Any) -> None:
    """The same object in another order is the same record."""
    shuffled = list(fields.items())
    random.shuffle(shuffled)
    assert key(dict(shuffled)) == key(fields)


@given(objects)
def test_a_null_is_an_absent_field(fields: dict[str, Any]) -> None:
    """A missing field and null result in the same key."""
    assert key({**fields, "extra": None}) == key(fields)
    assert key({name: value for name, value in fields.items() if value is not None}) == key(fields)


@given(st.dictionaries(texts.map(lambda text: f"x{text}"), texts, min_size=2, max_size=5), st.data())
def test_swapped_values_change_the_key(fields: dict[str, str], data: Any) -> None:
    """Names are part of the hash: other values under the same names, or other names, make another key."""
    one, other = data.draw(st.lists(st.sampled_from(sorted(fields)), min_size=2, max_size=2, unique=True))
    swapped = {**fields, one: fields[other], other: fields[one]}
    assert (key(swapped) == key(fields)) == (swapped == fields)
    renamed = {f"{name}y" if name == one else name: value for name, value in fields.items()}
    assert (key(renamed) == key(fields)) == (renamed == fields)


@given(st.lists(texts, max_size=4), st.lists(texts, max_size=4))
def test_content_is_unambiguous(one: list[str], other: list[str]) -> None:
    """Different sequences of texts have different encodings, with any separators in them."""
    assert (content(one) == content(other)) == (one == other)


def test_content_takes_lone_surrogates() -> None:
    """Texts without a UTF-8 form have different encodings."""
    assert content(["\ud800"]) != content(["\ud801"])


@given(st.integers(0, 2**60), st.binary(), st.integers(0, 1000), st.integers(0, 1000))
def test_twins_have_different_keys(at: int, stable: bytes, one: int, other: int) -> None:
    """The first twin has the plain key; each ordinal gives another key, directly after it."""
    plain = record_key(at, stable, organisation_hash("org"))
    assert twin_key(plain, 0) == plain
    assert (twin_key(plain, one) == twin_key(plain, other)) == (one == other)
    assert twin_key(plain, one).startswith(plain)
