"""The search over records: the values of the records, the blocks that have them, and lists in pages, newest first."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from msgspec import structs
from sqlalchemy import Connection, select

from actionwatch.base.model import Entity, Record, RecordFilter
from actionwatch.base.search_words import MOST_WORDS, caseless, words_of
from actionwatch.store import alerts, record_blocks, record_search, record_values, records
from actionwatch.store.database import Database
from actionwatch.store.record_rows import place_of
from actionwatch.store.tables import RECORD_BLOCK, RECORD_VALUE
from tests.builders import NOON, make_alert, make_record, only_sqlite, url_of
from tests.statements import statements

USERS = ("eve@example.com", "Bob", "JÜRGEN", "50%_of", None)
CLUSTERS = (("orders", "c-1"), ("orders-new", "c-1"), ("Pay\\ments", None), (None, "c-9"), (None, None))
ACCOUNTS = (("Data Platform", "a-1"), (None, None))
KINDS = ("DELETE_CLUSTER", "LIST_TOPICS")
DESCRIPTIONS = ("Deleted orders by eve", "50% of it", None)
WORDS = (
    "eve",
    "EVE@",
    "bob",
    "jürgen",
    "50%",
    "_of",
    "\\",
    "c-1",
    "c-9",
    "platform",
    "delete",
    "orders",
    "new",
    "it",
    "'",
)


def store(database: Database, *stored: Record) -> None:
    """Store records."""
    with database.write() as connection:
        records.insert_new(connection, stored)


def make_any(number: int, chance: random.Random) -> Record:
    """Make a record of any values and of nearly any time; its number distinguishes it."""
    of = {"cluster": Entity(*reversed(chance.choice(CLUSTERS))), "account": Entity(*reversed(chance.choice(ACCOUNTS)))}
    return make_record(
        number,
        minutes=chance.randrange(40),
        source=chance.choice(("acme", "other")),
        user_name=chance.choice(USERS),
        action_kind=chance.choice(KINDS),
        description=chance.choice(DESCRIPTIONS),
        **of,
        **({"key": f"untimed-{number}"} if chance.random() < 0.1 else {}),
    )


def has_words(record: Record, text: str) -> bool:
    """Return whether a record has all words: what the search in the store must agree with."""
    named = (record.user_name, record.action_kind, record.cluster.name, record.cluster.id)
    texts = [text or "" for text in (*named, record.account.name, record.account.id, record.description)]
    return all(
        any(caseless(word) in caseless(each) for each in texts) or (len(word) >= 16 and record.key.startswith(word))
        for word in text.split()
    )


def pages(connection: Connection, wanted: RecordFilter, limit: int, most: int | None) -> Iterator[list[Record]]:
    """Yield the pages of a list."""
    after: Any = None
    while True:
        found, after = record_search.search(connection, wanted, limit, after, most)
        assert found == sorted(found, key=place_of, reverse=True)
        assert len(found) <= limit
        yield found
        if after is None:
            return


def keys(found: Sequence[Record]) -> list[tuple[str, str]]:
    """Return what distinguishes records."""
    return [(record.key, record.source) for record in found]


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a few records fill several blocks."""
    for module in (record_blocks, record_search):
        monkeypatch.setattr(module, "SIZE", 4)
    monkeypatch.setattr(record_blocks, "_MOST", 8)
    monkeypatch.setattr(record_blocks, "_FEW", 1)
    monkeypatch.setattr(record_blocks, "_FIRST_READ", 2)


def check_blocks(connection: Connection) -> None:
    """Check that each record is in the only block that has its key, with the bits of its values."""
    blocks = [
        record_blocks._block_of(row)
        for row in connection.execute(select(*record_blocks._BLOCK).order_by(RECORD_BLOCK.c.low_key))
    ]
    for before, after in pairwise(blocks):
        assert before.low <= before.high < after.low
    stored = connection.execute(select(*record_blocks._COLUMNS)).mappings().all()
    for row in stored:
        (block,) = [each for each in blocks if each.low <= row["record_key"] <= each.high]
        bits = record_values.StoredValues(connection, {name: [value] for name, value in row.items()}).bits(0, 1)
        assert block.bits & bits == bits
        assert block.size <= 8 or block.low == block.high


@pytest.mark.parametrize("seed", range(3))
def test_a_list_is_what_a_plain_filter_finds(database: Database, seed: int) -> None:
    """The pages of a list have each record with all words once, whatever the size of a page and how far it looks."""
    chance = random.Random(seed)
    every = [make_any(number, chance) for number in range(60)]
    every += [structs.replace(each, source="copy") for each in every[::4]]  # one action, as another source read it
    rest = list(every)
    while rest:
        some, rest = rest[: chance.choice((1, 7, 20))], rest[20:]
        store(database, *some)
    store(database, *every)
    with database.read() as connection:
        check_blocks(connection)
        for _ in range(15):
            text = " ".join(chance.sample(WORDS, chance.choice((1, 1, 2, 3))))
            text = chance.choice((text, text, text, every[chance.randrange(60)].key[:17]))
            limit, most = chance.choice((1, 3, 50)), chance.choice((None, 1, 5, 20))
            wanted = RecordFilter(text=text, kinds=chance.choice(((), (KINDS[0],))))
            wanted = replace(wanted, since=chance.choice((None, NOON + timedelta(minutes=9))))
            until, user = chance.choice((None, NOON + timedelta(minutes=30))), chance.choice((None, None, "BOB"))
            wanted = replace(wanted, until=until, user=user, text=chance.choice((text, text, None)))
            found = [record for page in pages(connection, wanted, limit, most) for record in page]
            expected = [
                record
                for record in every
                if has_words(record, wanted.text or "")
                and (user is None or caseless(record.user_name or "") == caseless(user))
                and (until is None or record.occurred_at <= until)
                and record.action_kind in (wanted.kinds or KINDS)
                and (wanted.since is None or record.occurred_at >= wanted.since)
            ]
            assert sorted(keys(found)) == sorted(keys(expected)), (text, limit, most)
            assert sorted(keys(list(record_search.stream(connection, wanted)))) == sorted(keys(expected))


def found_by(database: Database, **wanted: Any) -> list[int]:
    """Return the numbers of the records that a search finds on its first page, newest first."""
    with database.read() as connection:
        found, _ = record_search.search(connection, RecordFilter(**wanted), 50, None, 10)
    return [int(record.key[-20:], 16) for record in found]


def test_a_rare_user_is_found_however_old_the_records_are(database: Database) -> None:
    """A search for a value reads the block that has it, and no other record; a search for no value reads none."""
    only_sqlite(database)
    store(database, *(make_record(n, minutes=n, user_name="rare" if n == 7 else f"user {n % 5}") for n in range(400)))
    for wanted in ({"user": "RARE"}, {"text": "rar"}, {"text": "RARE delete"}):
        assert found_by(database, **wanted) == [7]
    with database.read() as connection:
        wanted_of = record_values.wanted_of(connection, RecordFilter(user="rare"))
        (block,) = record_blocks.walk(connection, wanted_of, "", "g")
        assert block.size <= 4
        nothing = record_values.wanted_of(connection, RecordFilter(user="nobody"))
        assert list(record_blocks.walk(connection, nothing, "", "g")) == []
    with database.read() as connection, statements() as ran:
        record_search.search(connection, RecordFilter(user="rare"), 50, None, 10)
    with database.read() as connection:
        plans = [
            row[3]
            for statement in ran
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", (1,) * statement.count("?"))
        ]
    assert "SEARCH record USING INDEX record_by_key (record_key>? AND record_key<?)" in plans
    assert not any("SCAN record" in plan and "untimed" not in plan and "value" not in plan for plan in plans)


def values(database: Database) -> list[str]:
    """Return the names of all values."""
    with database.read() as connection:
        return sorted(connection.execute(select(RECORD_VALUE.c.name)).scalars())


def test_values_follow_the_records(database: Database) -> None:
    """A new name of a cluster is another value; a value that is rolled back, or whose last record is deleted, is gone."""
    old, new = Entity("c-1", "orders"), Entity("c-1", "orders-2")
    store(database, *(make_record(n, minutes=n, cluster=old) for n in range(8)))
    other = Database(url_of(database))  # as another process
    with contextlib.suppress(ZeroDivisionError), other.write() as connection:
        records.insert_new(connection, [make_record(9, user_name="lost")])
        raise ZeroDivisionError
    store(other, *(make_record(n, minutes=n, cluster=new, user_name="sam") for n in range(8, 14)))
    other.close()
    assert values(database) == ["DELETE_CLUSTER", "eve", "orders", "orders-2", "sam"]
    assert found_by(database, text="c-1 orders") == list(reversed(range(14)))
    with database.write() as connection:
        records.delete_older(connection, NOON + timedelta(minutes=8), 100, 100)
        record_blocks.delete_unused_values(connection)
        check_blocks(connection)
    assert values(database) == ["DELETE_CLUSTER", "orders-2", "sam"]
    assert found_by(database, text="eve") == []


@pytest.mark.parametrize(
    ("text", "found"), [("10", []), ("0123a", []), ("0123ab", ["0123abcd"]), ("0123ABCD", ["0123abcd"])]
)
def test_an_alert_is_found_by_the_beginning_of_its_id(database: Database, text: str, found: list[str]) -> None:
    """Ids contain short words by chance: people copy eight characters."""
    made = [make_alert(name, title="T", body="B") for name in ("0123abcd", "ffff0123ab10")]
    with database.write() as connection:
        alerts.insert_new(connection, [(each, each.id) for each in made])
    with database.read() as connection:
        assert [each.id for each in alerts.read_newest(connection, 9, alerts.AlertFilter(text=text))] == found


def test_a_text_of_separators_only_finds_all(database: Database) -> None:
    """It has no words."""
    store(database, make_record(1))
    with database.read() as connection:
        assert len(list(record_search.stream(connection, RecordFilter(text="\x1c")))) == 1


def test_a_search_has_few_words_of_any_characters(database: Database) -> None:
    """Ten words are searched, whatever they consist of; more are refused."""
    store(database, make_record(1, user_name="x" * 30_000, description="\ufffd"), make_record(2, user_name=""))
    assert (
        found_by(database, text="x" * 20_000)
        == found_by(database, text="\x00")
        == found_by(database, text="\ud800")
        == [1]
    )
    assert found_by(database, user="x" * 30_000) == [1]
    assert words_of(" ".join(["a", "b"] * 900)) == ["a", "b"]
    with pytest.raises(ValueError, match=f"at most {MOST_WORDS} words, and this one has 1,000"):
        words_of(" ".join(map(str, range(1000))))
