"""A stream sends what is stored: everything, in order, and what it states is true."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from actionwatch.base.errors import TransientDeliveryError
from actionwatch.base.source_labels import use_labels
from actionwatch.store import alerts, marks, records, streams
from actionwatch.store.database import Database
from actionwatch.streams import positions, statements
from actionwatch.streams.steps import Line, state_complete
from actionwatch.text.matchers import parse_matcher
from tests.builders import NOON, make_alert, make_record
from tests.integration.streams.kit import HOUR, Bench, Consumer, down
from tests.simulation.killing import Killed, MortalDatabase


@pytest.fixture
def bench(database: Database) -> Bench:
    """A stream of all records from the beginning."""
    return Bench(database)


def test_records_arrive_in_the_order_in_which_they_were_stored(bench: Bench) -> None:
    """Every record arrives once, in the order of its id, with its offset and the document of the contract."""
    bench.store(*(make_record(number, minutes=number) for number in range(5)))
    bench.store(make_record(9, minutes=-5))
    bench.run()
    offsets = [document["offset"] for document in bench.destination.of_kind("record")]
    assert offsets == sorted(offsets)
    assert len(set(offsets)) == 6
    last = bench.destination.of_kind("record")[-1]
    assert (last["type"], last["data"]["userName"], last["late"]) == ("record", "eve", False)
    bench.run()
    assert len(bench.destination.log) == 6


def test_hour_is_stated_when_it_is_proved_and_sent(bench: Bench) -> None:
    """A statement names the hour, the number, the kinds, the digest and the offsets, and comes after the records."""
    bench.store(make_record(1, minutes=1), make_record(2, minutes=59), make_record(3, minutes=61), proved=NOON)
    bench.run()
    assert not bench.destination.of_kind("stream.complete_through")
    bench.store(proved=NOON + 1.5 * HOUR)
    bench.run()
    (statement,) = bench.destination.of_kind("stream.complete_through")
    data = statement["data"]
    assert (data["starts_at"], data["ends_at"]) == ("2026-11-25T12:00:00.000Z", "2026-11-25T13:00:00.000Z")
    assert (data["count"], data["kinds"], data["offsets"]) == (2, {"DELETE_CLUSTER": 2}, [[1, 2]])
    assert data["complete_through"] == data["ends_at"]


def test_quiet_hours_are_stated_too(bench: Bench) -> None:
    """An hour without a record is complete, and says so."""
    bench.store(proved=NOON)
    bench.run()
    bench.store(proved=NOON + 3 * HOUR)
    bench.run()
    counts = [each["data"]["count"] for each in bench.destination.of_kind("stream.complete_through")]
    assert counts == [0, 0, 0]


def test_nothing_is_stated_while_a_stored_record_waits(bench: Bench) -> None:
    """While the destination does not answer, no statement is made about an hour whose records are not sent."""
    bench.store(make_record(1, minutes=1), proved=NOON)
    bench.run()
    bench.destination.answer = down
    bench.store(make_record(2, minutes=2), proved=NOON + 2 * HOUR)
    bench.run()
    assert not bench.kept()
    bench.destination.answer = lambda message: None
    bench.clock.advance(minutes=2)
    bench.run()
    kinds = [message.kind for message in bench.destination.log]
    assert kinds == ["record", "record", "stream.complete_through", "stream.complete_through"]


def test_record_that_waits_stops_the_statements(bench: Bench) -> None:
    """Nothing is stated while the newest record is not sent, whichever step runs first."""
    bench.store(proved=NOON)
    bench.run()
    bench.store(make_record(1, minutes=1), proved=NOON + 2 * HOUR)
    assert not state_complete(Line(bench.plan, bench.database, bench.clock, bench.destination.send))
    assert not bench.kept()
    bench.run()
    assert [message.kind for message in bench.destination.log] == ["record", *["stream.complete_through"] * 2]


def test_late_record_is_marked_and_the_hour_stated_again(bench: Bench) -> None:
    """A record that arrives after the statement about its hour is late, and a new statement about the hour follows it."""
    bench.store(make_record(1, minutes=1), proved=NOON + 2 * HOUR)
    bench.run()
    bench.store(make_record(2, minutes=30))
    bench.run()
    assert [each["late"] for each in bench.destination.of_kind("record")] == [False, True]
    (amended,) = bench.destination.of_kind("stream.amended")
    assert (amended["data"]["count"], amended["data"]["offsets"]) == (2, [[1, 2]])
    assert bench.destination.log[-1].kind == "stream.amended"


def test_stream_that_starts_now_states_what_it_has(database: Database) -> None:
    """`start: now` sends what is stored from then on, and states nothing about the time before."""
    bench = Bench(database, start="now")
    bench.store(make_record(1, minutes=1), proved=NOON + timedelta(minutes=20))
    bench.restart()
    other = Bench(database, name="new", start="now")
    other.store(make_record(2, minutes=30), proved=NOON + 2 * HOUR)
    other.run()
    assert other.destination.keys == [make_record(2, minutes=30).key]
    spans = [
        (each["data"]["starts_at"], each["data"]["count"])
        for each in other.destination.of_kind("stream.complete_through")
    ]
    assert spans == [("2026-11-25T12:20:00.000Z", 1), ("2026-11-25T13:00:00.000Z", 0)]


@pytest.mark.parametrize("is_first", [True, False])
def test_stream_that_starts_within_a_poll_has_what_it_states(database: Database, is_first: bool) -> None:
    """A poll stores pages before its marks. A stream that starts in between sends them, although it starts now: no statement
    is about a record that it does not send.
    """
    poll = Bench(database, name="other")
    if not is_first:
        poll.store(make_record(1, minutes=1), proved=NOON + timedelta(minutes=10))
    poll.store(make_record(2, minutes=20), make_record(3, minutes=30))
    bench = Bench(database, start="now")
    bench.store(make_record(4, minutes=40), proved=NOON + 2 * HOUR)
    bench.run()
    consumer = Consumer()
    for message in bench.destination.log:
        consumer.take(message)
    assert not consumer.faults
    assert len(bench.destination.keys) == 3
    assert consumer.complete["acme"] == NOON + 2 * HOUR


def test_refused_record_stops_the_statements_until_a_person_decides(bench: Bench) -> None:
    """No statement runs ahead of a record that the destination has refused; when it is sent, or dropped, they continue."""
    bench.destination.answer = lambda message: "too large" if (message.kind, message.offset) == ("record", 2) else None
    bench.store(make_record(1, minutes=1), make_record(2, minutes=61), proved=NOON + 3.5 * HOUR)
    bench.run()
    assert len(bench.destination.of_kind("stream.complete_through")) == 1
    bench.destination.answer = lambda message: None
    with bench.database.write() as connection:
        streams.send_again(connection, "lake")
    bench.run()
    assert [each["data"]["count"] for each in bench.destination.of_kind("stream.complete_through")] == [1, 1, 0]


def test_stream_that_was_forgotten_while_it_runs_begins_again(bench: Bench) -> None:
    """Another process with another configuration may delete the rows of a running stream: it continues as `start` says."""
    bench.store(make_record(1))
    bench.run()
    with bench.database.write() as connection:
        streams.forget_others(connection, [])
    bench.store(make_record(2))
    bench.run()
    assert [message.offset for message in bench.destination.log] == [1, 1, 2]


def test_each_alert_is_opened_once_however_the_batches_are_cut(database: Database) -> None:
    """An alert whose first version is behind the end of a batch is opened with the next one."""
    bench = Bench(database, what="alerts", key="alert", batch=1)
    for name in ("a", "b"):
        with database.write() as connection:
            alerts.insert_new(connection, [(make_alert(name), name)])
    for name in ("a", "b"):
        with database.write() as connection:
            alerts.update(connection, make_alert(name, note="again"))
    bench.run()
    types = [(each["data"]["id"], each["type"]) for each in bench.destination.of_kind("alert")]
    assert [found for found in types if found[1] == "alert.opened"] == [("a", "alert.opened"), ("b", "alert.opened")]


def test_new_source_is_stated_from_its_beginning(bench: Bench) -> None:
    """A source that is added later is stated from its first record on, each source for itself."""
    bench.store(proved=NOON + 1.5 * HOUR)
    bench.run()
    bench.store(make_record(7, minutes=61, source="other"), proved=NOON + 2 * HOUR, source="other")
    bench.run()
    stated = [
        (each["data"]["source"], each["data"]["count"]) for each in bench.destination.of_kind("stream.complete_through")
    ]
    assert stated == [("acme", 0), ("other", 0), ("other", 1)]


def test_statement_with_many_offsets_becomes_several(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A statement fits into a message: where it would name too many offsets, several are about parts of the time."""
    monkeypatch.setattr(statements, "MOST_RANGES", 2)
    for number in range(8):
        bench.store(make_record(number, minutes=number * 7, source=("acme", "other")[number % 2]))
    bench.store(proved=NOON + 1.5 * HOUR)
    bench.run()
    found = [each["data"] for each in bench.destination.of_kind("stream.complete_through")]
    assert sum(each["count"] for each in found) == 4
    assert len(found) > 1
    assert all(len(each["offsets"]) <= 2 for each in found)
    assert [each["starts_at"] for each in found[1:]] == [each["ends_at"] for each in found[:-1]]
    assert found[-1]["ends_at"] == "2026-11-25T13:00:00.000Z"


def test_matchers_choose_records_and_what_is_counted(database: Database) -> None:
    """A stream with matchers sends and counts only what they let pass."""
    bench = Bench(database, matchers=(parse_matcher("userName!=bob"),))
    bench.store(make_record(1), make_record(2, user_name="bob"), make_record(3), proved=NOON + 1.5 * HOUR)
    bench.run()
    assert len(bench.destination.keys) == 2
    (statement,) = bench.destination.of_kind("stream.complete_through")
    assert (statement["data"]["count"], statement["data"]["offsets"]) == (2, [[1, 1], [3, 3]])


def test_matchers_choose_records_by_the_labels_of_their_source(database: Database) -> None:
    """A stream of one customer sends and counts only the records of its sources."""
    use_labels({"acme": {"customer": "c1"}, "other": {"customer": "c2"}})
    bench = Bench(database, matchers=(parse_matcher('customer="c2"'),))
    bench.store(make_record(1), make_record(2, source="other"), make_record(3, source="third"))
    bench.run()
    assert [each["data"]["source"] for each in bench.destination.of_kind("record")] == ["other"]


def test_failed_batch_is_sent_again_with_the_same_bytes(bench: Bench) -> None:
    """What the destination did not confirm is sent again, unchanged, after a wait that grows."""
    bench.store(*(make_record(number, minutes=number) for number in range(4)))
    seen: list[str] = []

    def third_fails(message: object) -> None:
        seen.append("x")
        if len(seen) == 3:
            raise TransientDeliveryError("reset by the peer")

    bench.destination.answer = third_fails
    bench.run()
    bench.run()
    assert len(bench.destination.batches) == 1, "it rests after a failure"
    bench.clock.advance(seconds=2)
    bench.run()
    assert bench.destination.opened == 2, "it connects again after a failure"
    first, second = bench.destination.log[:2], bench.destination.log[2:4]
    assert first == second
    assert len(set(bench.destination.keys)) == 4
    with bench.database.read() as connection:
        health = streams.read_health(connection, "lake")
    assert (health.failing_since, health.sent_count) == (None, 4)


def test_refused_message_is_kept_and_sent_again_when_a_person_asks(bench: Bench) -> None:
    """A message that the destination refuses for good holds nobody up, is counted, and can be sent again or dropped."""
    bench.destination.answer = lambda message: "too large" if message.offset == 2 else None
    bench.store(*(make_record(number, minutes=number) for number in range(3)))
    bench.run()
    assert len(bench.destination.log) == 2
    with bench.database.read() as connection:
        (refused,) = streams.read_refused(connection, "lake", 10)
        assert (refused.why, streams.count_kept(connection)) == ("too large", {"lake": (0, 1)})
    for answer in (lambda message: "still too large", lambda message: None):
        bench.destination.answer = answer
        with bench.database.write() as connection:
            assert streams.send_again(connection, "lake", [refused.id]) == 1
        bench.run()
    assert [message.offset for message in bench.destination.log] == [1, 3, 2]
    bench.destination.answer = lambda message: "no"
    bench.store(make_record(8, minutes=8))
    bench.run()
    with bench.database.write() as connection:
        assert streams.drop_refused(connection, "lake") == 1
        assert not streams.count_kept(connection)


def test_rewound_stream_sends_everything_since_a_time_again(bench: Bench) -> None:
    """After `rewind`, records and statements since a time come again under the same ids."""
    bench.store(*(make_record(number, minutes=number * 30) for number in range(5)), proved=NOON + 2.5 * HOUR)
    bench.run()
    before = [message.id for message in bench.destination.log]
    with bench.database.write() as connection:
        positions.rewind(connection, bench.plan, NOON + HOUR, NOON)
    bench.run()
    again = [message.id for message in bench.destination.log[len(before) :]]
    assert again == [*before[2:5], before[-1]]


def test_rewind_while_a_batch_is_sent_is_not_lost(bench: Bench) -> None:
    """A stream that a person rewinds while it sends begins again at the time of the person."""
    bench.store(*(make_record(number, minutes=number) for number in range(3)))
    bench.run()

    def rewind_once(message: object) -> None:
        bench.destination.answer = lambda message: None
        with bench.database.write() as connection:
            positions.rewind(connection, bench.plan, NOON, NOON)

    bench.destination.answer = rewind_once
    bench.store(make_record(7, minutes=7))
    bench.run()
    assert [message.offset for message in bench.destination.log] == [1, 2, 3, 4, 1, 2, 3, 4]


def test_object_is_written_again_with_the_same_messages(database: Database) -> None:
    """A driver that writes objects gets the same batch again, although more is stored meanwhile."""
    bench = Bench(database, is_object=True, wait=timedelta(minutes=1), batch=100)
    bench.store(make_record(1), make_record(2))
    bench.run()
    assert not bench.destination.batches, "it waits for more"
    bench.clock.advance(minutes=2)
    bench.destination.answer = down
    bench.run()
    bench.store(make_record(3))
    bench.clock.advance(minutes=5)
    bench.restart()
    bench.destination.answer = lambda message: None
    bench.run()
    first, second, *_ = bench.destination.batches
    assert first == second
    assert len(bench.destination.keys) == 3


def test_alerts_are_sent_as_they_change(database: Database) -> None:
    """Each version of an alert becomes one message, with its state then, however late it is sent."""
    bench = Bench(database, what="alerts", key="alert")
    alert = make_alert()
    with database.write() as connection:
        alerts.insert_new(connection, [(alert, "group")])
    bench.destination.answer = down
    bench.run()
    (kept,) = bench.kept()
    assert json.loads(kept.body)["type"] == "alert.opened"
    with database.write() as connection:
        alerts.update(connection, make_alert(status="acked", acked_by="amy"))
    bench.destination.answer = lambda message: None
    bench.clock.advance(minutes=2)
    bench.run()
    types = [(each["type"], each["data"]["acked_by"]) for each in bench.destination.of_kind("alert")]
    assert types == [("alert.opened", None), ("alert.updated", "amy")]


def test_removed_stream_is_forgotten(bench: Bench) -> None:
    """The rows of a stream that is no longer configured are deleted: if it comes back, it begins as `start` says."""
    bench.destination.answer = lambda message: "no"
    bench.store(make_record(1))
    bench.run()
    with bench.database.write() as connection:
        assert streams.forget_others(connection, ["other"]) == ["lake"]
        assert not streams.read_positions(connection, "lake")
        assert not streams.count_kept(connection)


class MortalBench(Bench):
    """A stream whose process can die at each commit, and whose destination fails."""

    database: MortalDatabase


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[MortalDatabase]:
    """An empty store whose process can die."""
    with closing(MortalDatabase(tmp_path)) as database:
        database.renew()
        yield database


def test_kills_and_failures_lose_nothing_and_state_nothing_false(
    mortal: MortalDatabase, soak: int, first_seed: int
) -> None:
    """In random schedules of kills at commits, failures of the destination, late records, rewinds and refusals: every record
    arrives, in the order of offsets apart from repeats, a repeat has the same bytes, and each statement is true when it comes.
    """
    for seed in range(first_seed, first_seed + (soak or 20)):
        _play(mortal, random.Random(seed), f"seed {seed}")
        mortal.renew()


def _play(database: MortalDatabase, chance: random.Random, name: str) -> None:
    database.dies = lambda: False
    plan = {"batch": chance.choice((1, 3, 50)), "is_object": chance.random() < 0.3}
    bench = Bench(database, watermark=timedelta(minutes=15), **plan)
    number, minute = 0, 0.0
    for _ in range(30):
        minute += chance.choice((0, 1, 5, 40))
        found = []
        for _ in range(chance.choice((0, 1, 4))):
            number += 1
            late = chance.choice((0, 0, 0, 20, 100))
            found.append(make_record(number, minutes=minute - late, source=chance.choice(("acme", "other"))))
        is_proved = chance.random() < 0.7
        for source in ("acme", "other"):
            own = [each for each in found if each.source == source]
            through = NOON + timedelta(minutes=minute) if is_proved else None
            bench.store(*own, proved=through, source=source)
        _disturb(bench, database, chance)
    database.dies = lambda: False
    bench.destination.answer = lambda message: None
    bench.clock.advance(hours=1)
    bench.restart()
    bench.run()
    consumer = Consumer()
    for message in bench.destination.log:
        consumer.take(message)
    assert not consumer.faults, name
    with database.read() as connection:
        stored = {each.id: each.key for each in records.read_after(connection, 0, 10_000)}
        proved = {each: mark.proved_through for each, mark in marks.read_all(connection).items()}
    assert {offset: each["data"]["key"] for offset, each in consumer.records.items()} == stored, name
    firsts = list(dict.fromkeys(m.offset for m in bench.destination.log if m.kind == "record"))
    assert firsts == sorted(firsts), name
    quarter = timedelta(minutes=15)
    for source, through in proved.items():
        assert consumer.complete.get(source, NOON) == through - (through - NOON) % quarter, name


def _disturb(bench: Bench, database: MortalDatabase, chance: random.Random) -> None:
    """Let the stream run while the process may die at any commit and the destination may fail at any message."""
    deadly, failing = chance.choice((0, 0.1, 0.5)), chance.choice((0, 0.05, 0.5))

    def answer(message: object) -> None:
        if chance.random() < failing:
            raise TransientDeliveryError("reset by the peer")

    bench.destination.answer = answer
    database.dies = lambda: chance.random() < deadly
    try:
        bench.run()
        bench.clock.advance(minutes=2)
        bench.run()
    except Killed:
        database.dies = lambda: False
        bench.restart()
    database.dies = lambda: False
