"""An upstream that begins or ceases to send fields, in the middle of a log: no record is stored twice, and none is lost."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any

import msgspec
import pytest

from actionwatch.base.model import Record, RecordFilter
from actionwatch.instaclustr.client import Client
from actionwatch.store import marks, record_aliases, record_search, records
from actionwatch.store.database import Database
from actionwatch.tail.cursor import Window
from actionwatch.tail.record_aliases import RecordAliases
from actionwatch.tail.source import SourceTail
from actionwatch.tail.walk import WindowScan
from tests.builders import NOON, Clock, make_marks, make_record
from tests.integration.instaclustr.upstream import ReceivedRequest, Response, Upstream
from tests.integration.tail.test_watching import history
from tests.upstreams import open_troubles, self_watch, tail_of

MINUTE = timedelta(minutes=1)
WAYS = {
    "id": {"id": lambda number: f"r-{number}"},
    "uuid": {"uuid": lambda number: f"u-{number}"},
    "cluster": {"clusterId": lambda number: f"c-{number % 3}", "clusterName": lambda number: f"c{number % 3}"},
    "account": {"accountId": lambda number: f"a-{number % 2}"},
    "another user": {"user": lambda number: "eve"},
    "operation": {"crudOperation": lambda number: "CREATE", "domainType": lambda number: "ACCOUNT"},
    "all": {"id": lambda number: f"r-{number}", "clusterId": lambda number: f"c-{number}", "zone": lambda number: "z"},
}  # fmt: skip


@dataclass
class Log:
    """The log of an upstream: records with the basic fields, and those that it sends in addition while `has_more`."""

    more: dict[str, Callable[[int], str]]
    clock: Clock = field(default_factory=Clock)
    has_more: bool = False
    records: list[dict[str, Any]] = field(default_factory=list)
    hidden: int = 0
    """So many of the oldest records are not shown."""
    before_page: Callable[[int], None] = lambda index: None
    """Called with the index of each page that is requested."""

    def add(self, *, ago: timedelta = timedelta(0), times: int = 1, **fields: Any) -> None:
        at = self.clock() - ago
        micros = (at - datetime.fromtimestamp(0, at.tzinfo)) // timedelta(milliseconds=1)
        for _ in range(times):
            basic = {"action": "CREATE_CLUSTER", "timestamp": micros, "userName": "sam", "description": f"of {at}"}
            self.records.append({**basic, **fields})

    def shown(self) -> list[dict[str, Any]]:
        added = self.more if self.has_more else {}
        return [
            {**record, **{name: value(number) for name, value in added.items()}}
            for number, record in enumerate(self.records)
        ]

    def respond(self, asked: ReceivedRequest) -> Response:
        self.before_page(asked.index)
        start, end = (int(asked.params[name][0]) for name in ("startTime", "endTime"))
        found = [record for record in self.shown() if start <= record["timestamp"] <= end]
        page = found[asked.index : asked.index + asked.size]
        counts = {"CREATE_CLUSTER": len(found)} if found else {}
        body = json.dumps([{"totalResults": len(found), "resources": page, "actionCounts": counts}]).encode()
        date = format_datetime(self.clock(), usegmt=True)  # that of the server's library is not of this clock
        head = f"HTTP/1.1 200 OK\r\ndate: {date}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        return Response(wire=lambda handler: handler.wfile.write(head.encode() + body))


@dataclass
class Bench:
    """The tail of such a log."""

    log: Log
    tail: SourceTail
    database: Database

    def poll(self, after: timedelta = MINUTE) -> None:
        self.log.clock.advance(seconds=after.total_seconds())
        report = self.tail.run_once()
        assert report.error is None
        assert report.unproved == []

    def stored(self) -> list[Record]:
        with self.database.read() as connection:
            return list(record_search.stream(connection, RecordFilter()))


@contextmanager
def tailed(database: Database, more: dict[str, Any], *, has_more: bool = False, **options: Any) -> Iterator[Bench]:
    """Tail such a log, with totals that are trusted."""
    log = Log(more, has_more=has_more)
    with Upstream(log.respond) as upstream, Client(upstream.connection(), source="acme", clock=log.clock) as client:
        watch = self_watch(database, client, log.clock)
        options = {"page_size": 50, **options}
        bench = Bench(log, tail_of(database, client, log.clock, watch, **options), database)
        bench.poll()
        log.clock.advance(seconds=60)
        yield bench


@pytest.mark.parametrize("begins", [True, False], ids=["begins", "ceases"])
@pytest.mark.parametrize("way", WAYS)
def test_record_keeps_its_key_when_its_fields_change(database: Database, way: str, begins: bool) -> None:
    """A change of the fields stores nothing again, marks nothing as vanished, and is reported once; what follows is stored."""
    with tailed(database, WAYS[way], has_more=not begins) as on:
        for _ in range(4):
            on.log.add(ago=MINUTE / 2)
            on.poll()
        on.log.add(ago=MINUTE / 3, times=2)
        on.poll()
        before = {record.key for record in on.stored()}
        assert len(before) == 6
        on.log.has_more = begins
        on.log.add()
        on.poll()
        on.poll()
        after = {record.key for record in on.stored()}
        assert before < after
        assert len(after) == 7
        assert open_troubles(database) == ["unknown_field"]
        on.poll(timedelta(days=2))
        assert open_troubles(database) == []
        assert history(database).count("unknown_field") == 1


@pytest.mark.parametrize("is_known", [True, False], ids=["stored before", "new"])
@pytest.mark.parametrize("is_shifted", [True, False], ids=["shifted", "counted again"])
@pytest.mark.parametrize("way", ["id", "cluster"])
def test_record_that_one_walk_shows_with_and_without_a_field_is_one(
    database: Database, way: str, is_shifted: bool, is_known: bool
) -> None:
    """If the fields change between two pages, and what was shown before is shown again, nothing is stored twice."""
    with tailed(database, WAYS[way], page_size=2) as on:
        for number in range(4):
            on.log.add(ago=timedelta(seconds=number))
        if is_known:
            on.poll()
        late = timedelta(minutes=is_shifted + is_known, seconds=0 if is_shifted else 10)

        def change(index: int) -> None:
            on.log.clock.advance(milliseconds=1)  # each response has its own time
            if index == 2 and not on.log.has_more:
                on.log.has_more = True
                on.log.add(ago=late, description="appeared")
                on.log.records.insert(0, on.log.records.pop())

        on.log.before_page = change
        on.poll()
        on.poll()
        assert on.log.has_more
        assert len(on.stored()) == 5
        assert open_troubles(database) == ["unknown_field"] * is_known


def with_id(record: Record, number: int) -> Record:
    """Return a record as the log shows it when it sends ids."""
    return msgspec.structs.replace(
        record,
        key=f"{record.key[:16]}-{number:020x}",
        raw=json.dumps({**json.loads(record.raw), "id": f"r-{number}"}),
    )


def test_record_that_a_walk_has_missed_is_not_taken_for_another_one(database: Database) -> None:
    """Two walks that each miss one of two records, which were equal before the fields changed, and prove nothing."""
    aliases = RecordAliases("org", lambda connection, added, gone: None)
    raw = json.dumps({"action": "A", "userName": "eve"})
    old = [make_record(1, raw=raw), make_record(2, minutes=1, raw=raw)]
    new = [with_id(old[0], 11), with_id(old[0], 12), with_id(old[1], 13)]
    scan = WindowScan(Window(NOON, NOON + MINUTE), Window(NOON, NOON + MINUTE))
    with database.write() as connection:
        marks.write(connection, make_marks(organisation="org"))
        records.insert_new(connection, old)
        for shown in ([new[0], new[2]], [new[1], new[2]], new):
            aliases.begin_walk()
            aliases.note_page(shown)
            for some in ([each for each in shown if each is not new[1]], new[1:2]):  # a walk is stored in parts
                resolved, _ = aliases.resolve(connection, [each for each in some if each in shown], is_over=True)
                records.insert_new(connection, resolved)
        scan.walk.keys.update(record.key for record in new)
        scan.inner_keys.update(scan.walk.keys)
        present, _ = aliases.settle_walk(connection, scan)
        assert present == {old[0].key, new[1].key, old[1].key}
        assert records.find_unknown(connection, new) != []
        assert [record.key for record in records.read_after(connection, 0, 9)] == [old[0].key, old[1].key, new[1].key]


def test_record_with_an_alias_beside_one_that_waits_is_not_stored_again(database: Database) -> None:
    """A part of a walk that shows a known record under its alias, and one whose form is new, stores neither again."""
    aliases = RecordAliases("org", lambda connection, added, gone: None)
    old = [make_record(n, raw=json.dumps({"action": "A", "userName": "eve", "description": n})) for n in (1, 2)]
    new = [with_id(each, number) for number, each in enumerate(old, start=11)]
    with database.write() as connection:
        marks.write(connection, make_marks(organisation="org"))
        records.insert_new(connection, old)
        record_aliases.insert(connection, [(new[0].key, 0, old[0].key)])
        aliases.note_page(new)
        resolved, waiting = aliases.resolve(connection, new, is_over=False)
    assert [record.key for record in resolved] == [old[0].key]
    assert waiting == new[1:]


def test_records_with_and_without_a_field_are_two_if_each_walk_shows_both(database: Database) -> None:
    """Two records of one instant, of which one has a field more, are both stored, also if they are on two pages."""
    with tailed(database, {}, page_size=2) as on:
        on.log.add(ago=timedelta(seconds=1))
        on.log.add()
        on.log.add(clusterId="c-1")
        on.poll()
        assert [record.cluster.id for record in on.stored()].count("c-1") == 1
        assert len(on.stored()) == 3


def test_other_records_of_the_same_instant_stay(database: Database) -> None:
    """Records of one instant that differ in a field are matched by it, and a new one among them is stored."""
    with tailed(database, WAYS["id"]) as on:
        for cluster in ("a", "b", "c"):
            on.log.add(clusterId=cluster, description="same")
        on.poll()
        on.log.has_more = True
        on.log.add(ago=MINUTE, clusterId="d", description="same")
        on.poll()
        found = on.stored()
        assert sorted(record.cluster.id or "" for record in found) == ["a", "b", "c", "d"]
        assert [record.upstream_id for record in found if record.cluster.id == "d"] == ["r-3"]


@pytest.mark.parametrize(
    ("before", "after", "others"),
    [
        ({}, {"clusterId": "c"}, ({}, {})),  # the log shows others that still have no such field
        ({}, {"clusterId": "c"}, ({}, {"clusterId": "c"})),
        ({"clusterId": "c"}, {}, ({"clusterId": "c"}, {})),  # or still have it
        ({}, {"clusterId": "c"}, ({"clusterId": "c", "zone": "z"},)),  # or had it earlier
        ({"zone": "z"}, {"clusterId": "c"}, ({"zone": "z", "x": 1},)),
        ({}, {"clusterId": "c", "zone": "z"}, ({"x": 1}, {"zone": "y"})),
    ],
)
def test_another_record_in_the_place_of_one_that_vanished_is_stored(
    database: Database, before: dict[str, Any], after: dict[str, Any], others: tuple[dict[str, Any], ...]
) -> None:
    """A record like one that has gone from the log, with a field more or less, is new if others did not change like it."""
    with tailed(database, {}) as on:
        for number, fields in enumerate(others, start=1):
            on.log.add(ago=timedelta(seconds=number), **fields)
        on.log.add(**before)
        on.poll()
        old = {record.key for record in on.stored()}
        del on.log.records[-1]
        on.log.add(ago=MINUTE, **after)
        on.poll()
        (new,) = [record for record in on.stored() if record.key not in old]
        assert json.loads(new.raw).items() >= after.items()
        assert open_troubles(database) == ["window_shrunk"]
        on.poll()
        assert len(on.stored()) == len(others) + 2


def test_record_that_can_be_one_of_two_that_vanished_is_stored(database: Database) -> None:
    """Two records that have gone, and one that can be either of them with a field more: it is new."""
    with tailed(database, {}) as on:
        on.log.add(zone="a")
        on.log.add(zone="b")
        on.poll()
        on.log.records.clear()
        on.log.add(ago=MINUTE, clusterId="c")
        on.poll()
        assert sorted(record.cluster.id or "" for record in on.stored()) == ["", "", "c"]


def test_record_that_was_shown_without_its_description_is_stored_with_it(database: Database) -> None:
    """If the upstream showed one record without a field that the others have, rules see it again when it is complete."""
    with tailed(database, {}) as on:
        on.log.add()
        on.poll()
        on.log.add()
        description = on.log.records[-1].pop("description")
        on.poll()
        on.log.records[-1]["description"] = description
        on.poll()
        assert [record.description for record in on.stored()][1:] == [None, description]


@pytest.mark.parametrize("begins", [True, False], ids=["begins", "ceases"])
@pytest.mark.parametrize("way", WAYS)
def test_the_only_record_of_the_log_keeps_its_key(database: Database, way: str, begins: bool) -> None:
    """Without a record that denies it, a record of which the fields change is the one that was stored at its instant."""
    with tailed(database, WAYS[way], has_more=not begins) as on:
        on.log.add(times=2)
        on.poll()
        on.log.has_more = begins
        on.poll()
        on.log.add()
        on.poll()
        assert len(on.stored()) == 3
        assert open_troubles(database) == ["unknown_field"]


def test_records_that_change_different_fields_confirm_each_other(database: Database) -> None:
    """If one field comes back and another one goes, each on several records, no combination of both stores a record twice."""
    with tailed(database, {}) as on:
        on.log.add(ago=timedelta(seconds=3))
        on.log.add(ago=timedelta(seconds=2), clusterId="c")
        on.poll()
        on.log.add(ago=timedelta(seconds=1), user="sam")
        on.log.add(user="sam", clusterId="c")
        for record in on.log.records[-2:]:
            del record["userName"]
        on.poll()
        assert len(on.stored()) == 4
        on.log.records = [
            {"userName": "sam", **{name: value for name, value in record.items() if name not in ("user", "clusterId")}}
            for record in on.log.records
        ]
        on.poll()
        assert len(on.stored()) == 4
        assert open_troubles(database) == ["unknown_field"]


def test_other_records_must_confirm_each_field_that_changes(database: Database) -> None:
    """A record like one that has gone, with two fields more of which others got one, is new if others had the second one."""
    with tailed(database, {}) as on:
        on.log.add(ago=timedelta(seconds=3), zone="z", clusterId="c")
        for number in (2, 1, 0):
            on.log.add(ago=timedelta(seconds=number))
        on.poll()
        for record in on.log.records[1:]:
            record["zone"] = "z"
        on.log.records[-1]["clusterId"] = "c"
        on.poll()
        assert sorted(record.cluster.id or "" for record in on.stored()) == ["", "", "", "c", "c"]
        assert open_troubles(database) == ["window_shrunk"]


def test_second_source_of_the_organisation_makes_no_other_actions(database: Database) -> None:
    """Two sources that read one organisation agree on the keys, whichever of them sees the change first."""
    log = Log(WAYS["id"])
    names = ("acme", "other")
    with Upstream(log.respond) as upstream:
        clients = [Client(upstream.connection(), source=name, clock=log.clock) for name in names]
        tails = [
            tail_of(
                database,
                client,
                log.clock,
                self_watch(database, client, log.clock),
                name=name,
                configured=lambda: names,
            )
            for name, client in zip(names, clients, strict=True)
        ]
        for step in range(5):
            log.clock.advance(seconds=60)
            log.has_more = step >= 3
            log.add(times=2)
            log.clock.advance(seconds=1)
            for tail in tails if step % 2 else tails[:1]:
                tail.run_once()
        for tail in tails:
            tail.run_once()
        for client in clients:
            client.close()
    with database.read() as connection:
        found = list(record_search.stream(connection, RecordFilter()))
    assert len({record.key for record in found}) == 10


def test_aliases_go_with_their_records(database: Database) -> None:
    """Retention deletes the aliases of records that are gone, and keeps the others."""
    with database.write() as connection:
        record_aliases.insert(connection, [("0001-a", 0, "0001-b"), ("0002-a", 0, "0002-b")])
    with tailed(database, WAYS["id"]) as on:
        on.log.add()
        on.poll()
        (kept,) = on.stored()
        with database.write() as connection:
            record_aliases.insert(
                connection, [("0001-b", 0, kept.key), ("0003-a", 0, kept.key), ("0003-a", 1, "0003-b")]
            )
            found: list[tuple[str, int]] = [("", 0)]
            while (last := record_aliases.delete_unused(connection, found[-1], 2)) is not None:
                found.append(last)
            assert found[1:] == [("0001-b", 0), ("0003-a", 0), ("0003-a", 1)]
            assert record_aliases.read(connection, "0", "z") == {"0001-b": [kept.key], "0003-a": [kept.key]}
