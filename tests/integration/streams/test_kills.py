"""Whole schedules over every driver with its real far end: the process dies at commits, and the server is restarted meanwhile.

`pytest tests/integration/streams/test_kills.py --soak 40` plays 40 schedules over each driver.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from actionwatch.store import records
from actionwatch.streams.driver import StreamMessage, driver_module
from actionwatch.streams.stream import Stream
from tests.builders import NOON, make_record
from tests.integration.streams.end import End
from tests.integration.streams.kit import Bench, Consumer, driver
from tests.simulation.killing import Killed, MortalDatabase
from tests.waiting import beside, wait_until

WITHOUT_ORDER = ("files", "opensearch", "splunk")
"""The types whose consumers order what they have by the offset."""


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[MortalDatabase]:
    """An empty store whose process can die."""
    with closing(MortalDatabase(tmp_path)) as database:
        yield database


class DriverBench(Bench):
    """A stream with a real driver. Each start builds another one, as another process does."""

    database: MortalDatabase

    def __init__(self, database: MortalDatabase, end: End, **plan: object) -> None:
        self.end = end
        self.driver = driver(end)
        super().__init__(database, **plan)

    def restart(self) -> Stream:
        """Start the stream as a new process does: the connection of the one before is cut."""
        self.driver.close()
        self.driver = driver(self.end)
        self.stream = Stream(self.plan, self.driver, self.database, self.clock, self.clock.elapsed)
        self.stream.begin()
        return self.stream


def test_no_kill_and_no_restart_loses_or_reorders_anything(
    end: End, mortal: MortalDatabase, soak: int, first_seed: int
) -> None:
    """Every record arrives, in order within its source, repeats have the same bytes, and each statement is true."""
    for seed in range(first_seed, first_seed + (soak or 1)):
        mortal.renew()
        play(mortal, end, random.Random(seed), f"s{seed}-{id(end):x}")


def play(database: MortalDatabase, end: End, chance: random.Random, source: str) -> None:
    """Play a schedule, and judge what consumers have."""
    database.dies = lambda: False
    traits = driver_module(end.type_name).TRAITS
    plan = {"batch": chance.choice((3, 50)), "is_object": traits.is_object, "key": "source"}
    bench = DriverBench(database, end, watermark=timedelta(minutes=15), **plan)
    number, minute = 0, 0.0
    for step in range(8):
        minute += chance.choice((1, 5, 40))
        found = []
        for _ in range(chance.choice((1, 4, 40))):
            number += 1
            late = chance.choice((0, 0, 0, 20))
            found.append(make_record(number, minutes=minute - late, source=source))
        bench.store(*found, proved=NOON + timedelta(minutes=minute), source=source)
        deadly = chance.choice((0, 0.2, 0.5))
        database.dies = lambda deadly=deadly: chance.random() < deadly  # type: ignore[misc]
        restarts = "stop" not in end.cannot and step == 2
        try:
            with beside(end.stop if restarts else lambda: None):
                bench.run()
        except Killed:
            pass
        finally:
            database.dies = lambda: False
            if restarts:
                end.start()
        bench.clock.advance(minutes=2)
        if chance.random() < 0.5:
            bench.restart()
    bench.restart()
    wait_until(lambda: _is_done(bench), "everything to be sent", lambda: bench.kept())
    bench.driver.close()
    judge(bench, [each for each in _received(end) if source in each.id or source in each.body.decode()])


def _is_done(bench: DriverBench) -> bool:
    bench.clock.advance(minutes=2)
    bench.run()
    with bench.database.read() as connection:
        newest = records.newest_id(connection)
    return not bench.kept() and bench.position() == newest


def _received(end: End) -> list[StreamMessage]:
    return [StreamMessage(each.id, each.kind, each.offset, NOON, each.key, each.body) for each in end.received()]


def judge(bench: DriverBench, found: list[StreamMessage]) -> None:
    """Compare what consumers have with the store."""
    consumer = Consumer()
    if bench.end.type_name in WITHOUT_ORDER:
        found = sorted(found, key=lambda message: (message.kind != "record", message.offset))
        consumer.knows_order = False
    for message in found:
        consumer.take(message)
    assert not consumer.faults
    with bench.database.read() as connection:
        stored = {each.id: each.key for each in records.read_after(connection, 0, 10_000)}
    assert {offset: each["data"]["key"] for offset, each in consumer.records.items()} == stored
    firsts = list(dict.fromkeys(message.offset for message in found if message.kind == "record"))
    assert firsts == sorted(firsts)
    assert consumer.complete
