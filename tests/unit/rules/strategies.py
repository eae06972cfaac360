"""Random rules and records from few values, so that most of them match something."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from actionwatch.base.model import Entity, Record

WORDS = ["a", "A", "ab", "aB", "b%b", "a_b", "x\\y", "", "it's", "[a]", "a.b", "/p -q", "abc", "B", "YQ==", "5", "1.5"]
TEXT_FIELDS = ["actionKind", "userName", "description", "cluster.name", "account.name", "crudOperation"]
IPS = ["10.0.0.1", "10.1.2.3", "192.168.0.77", "172.16.31.1", "8.8.8.8", "not an address", ""]

texts = st.sampled_from(WORDS)
patterns = st.one_of(
    texts, st.lists(st.sampled_from([*WORDS, "*", "?", "\\*", "\\?", "\\\\"]), min_size=1, max_size=4).map("".join)
)
string_modifiers = st.sampled_from(
    ["", "|contains", "|startswith", "|endswith", "|contains|all", "|all", "|cased", "|contains|cased", "|startswith|cased",
     "|neq", "|contains|neq"]
)  # fmt: skip


def one_or_more(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Draw a value, or a list of values."""
    return st.one_of(values, st.lists(values, min_size=1, max_size=3))


def _item(key: st.SearchStrategy[str], values: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[str, Any]]:
    return st.tuples(key, values)


fields = st.sampled_from(TEXT_FIELDS)
string_items = _item(st.builds("{}{}".format, fields, string_modifiers), one_or_more(patterns))
encoded_items = _item(
    st.builds(
        "{}|{}".format, fields, st.sampled_from(["base64", "base64offset|contains", "wide|base64", "utf16be|base64"])
    ),
    st.sampled_from(["a", "ab", "abc"]),
)
windash_items = _item(st.builds("{}|windash|contains".format, fields), st.sampled_from(["-q", "/p -q", "a -b"]))
regex_items = _item(
    st.builds("{}|re{}".format, fields, st.sampled_from(["", "|i", "|s", "|m", "|i|m"])),
    one_or_more(st.sampled_from(["^a", "b$", "a.b", "[ab]+", "^$", "a|x", "^(a|b)", "\\\\", "B"])),
)
null_items = _item(fields, st.one_of(st.none(), st.just([None, "a"])))
exists_items = _item(st.builds("{}|exists".format, fields), st.booleans())
number_items = _item(fields, one_or_more(st.sampled_from([5, 1.5, 0])))
reference_items = _item(
    st.builds("{}|fieldref{}".format, fields, st.sampled_from(["", "|startswith", "|endswith", "|contains"])), fields
)
compare_items = _item(
    st.builds("raw.n|{}".format, st.sampled_from(["lt", "lte", "gt", "gte"])), st.sampled_from([-1, 0, 2, 2.5, 7])
)
cidr_items = _item(
    st.just("raw.ip|cidr"),
    one_or_more(st.sampled_from(["10.0.0.0/8", "10.0.0.0/15", "192.168.0.64/26", "8.8.8.8/32", "172.16.0.0/12"])),
)
time_items = st.one_of(
    *(
        _item(st.just(f"timestamp|{part}"), one_or_more(st.sampled_from(numbers)))
        for part, numbers in {
            "minute": [0, 1, 2, 30],
            "hour": [0, 1, 3, 12],
            "day": [1, 2, 30],
            "month": [1, 3, 12],
            "year": [2024, 2026],
        }.items()
    )
)
items = st.one_of(
    string_items, string_items, string_items, encoded_items, windash_items, regex_items, null_items, exists_items, number_items,
    reference_items, compare_items, cidr_items, time_items,
)  # fmt: skip
maps = st.lists(items, min_size=1, max_size=3).map(dict)
keyword_lists = st.lists(st.sampled_from([word for word in WORDS if word and "\\" not in word]), min_size=1, max_size=3)
selections = st.one_of(maps, maps, st.lists(maps, min_size=1, max_size=2), keyword_lists)
conditions = st.sampled_from(
    ["s1", "not s1", "s1 and s2", "s1 or s2", "s1 and not s2", "not (s1 or s2)", "1 of s*", "all of them", "not 1 of s*",
     "s1 or (s2 and not s3)", "not s1 and (s2 or not s3)", "all of s* or s1", "not not s2"]
)  # fmt: skip


@st.composite
def detections(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a detection of three selections and a condition."""
    return {"s1": draw(selections), "s2": draw(selections), "s3": draw(selections), "condition": draw(conditions)}


maybe_text = st.one_of(st.none(), texts)
instants = st.integers(0, 3 * 366 * 24 * 60).map(
    lambda minutes: datetime(2024, 12, 31, tzinfo=UTC) + timedelta(minutes=minutes)
)


@st.composite
def records(draw: st.DrawFn) -> Record:
    """Draw a record whose raw object has a number `n` and an address `ip`, or lacks them."""
    raw: dict[str, Any] = {}
    if (number := draw(st.one_of(st.none(), st.sampled_from([-1, 0, 2, 2.5, 3])))) is not None:
        raw["n"] = number
    if (address := draw(st.one_of(st.none(), st.sampled_from(IPS)))) is not None:
        raw["ip"] = address
    at = draw(instants)
    return Record(
        key="k",
        source="acme",
        occurred_at=at,
        seen_at=at,
        action_kind=draw(texts),
        raw=json.dumps(raw),
        user_name=draw(maybe_text),
        description=draw(maybe_text),
        account=Entity(name=draw(maybe_text)),
        cluster=Entity(id=draw(maybe_text), name=draw(maybe_text)),
        operation=draw(maybe_text),
    )
