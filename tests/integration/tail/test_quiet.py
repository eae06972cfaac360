"""Quiet polls: what is one, what is none, what each writes, and what is committed together."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from actionwatch.base.errors import RoleLost, StoreError
from actionwatch.net.http_response import HttpResponse
from actionwatch.store import marks, polls, receipts, self_alerts, unproved_windows
from actionwatch.store.database import Database
from actionwatch.store.polls import Poll
from actionwatch.store.receipts import MERGED_SPAN, StoredReceipt
from actionwatch.store.unproved_windows import UnprovedWindow
from actionwatch.tail.quiet import FULL_EVERY
from actionwatch.tail.rounds import Outdated, QuietPoll, Rounds
from actionwatch.tail.source import SourceTail
from actionwatch.tail.state import PollReport, Stopped
from tests.builders import NOON, make_marks, make_receipt
from tests.statements import statements, transactions
from tests.upstreams import SOURCE, DirectClient, World, logged_actions, self_watch, stored, tail_of
from tests.waiting import LIMIT

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
STEP = 10  # seconds between polls
Alter = Callable[[dict[str, Any]], None]


class Altered(DirectClient):
    """The emulator's handlers. A test changes what their pages say, or their headers."""

    alter: Alter = staticmethod(lambda _: None)
    late_by = timedelta(0)
    """How far the clock of the responses is ahead."""

    def _exchange(self, path: str, params: list[tuple[str, str]]) -> HttpResponse:
        answer = super()._exchange(path, params)
        if path != self._actions:
            return answer
        (page,) = json.loads(answer.body)
        if page["resources"]:
            self.alter(page)
        date = self._clock() + self.late_by
        headers = {**answer.headers, "date": f"{date:%a, %d %b %Y %H:%M:%S} GMT"}
        return replace(answer, body=json.dumps([page]).encode(), headers=headers)


class Bench:
    """A source that has proved its overlap with 12 records, so that the next poll is quiet if nothing happens."""

    def __init__(self, world: World, database: Database, **options: Any) -> None:
        self.world, self.database = world, database
        for number in range(12):
            world.log(ago=100 + 50 * number)
        self.client = Altered(world.emulator, world.clock)
        options = {"start": HOUR, "page_size": 1000, "overlap": 15 * MINUTE, **options}
        watch = self_watch(database, self.client, world.clock)
        elapsed = lambda: world.clock().timestamp()  # noqa: E731
        self.tail: SourceTail = tail_of(database, self.client, world.clock, watch, elapsed=elapsed, **options)
        self.report = PollReport()
        for _ in range(3):  # the unit of the bounds and the totals are known then
            self.is_quiet()

    def is_quiet(self, seconds: float = STEP) -> bool:
        """Poll after some seconds. Return whether the poll was quiet: a full one begins by reading the marks."""
        self.world.clock.advance(seconds=seconds)
        with statements() as found:
            self.report = self.tail.run_once()
        return not any("FROM source" in each for each in found)

    def marks(self) -> marks.Marks:
        """Read the marks."""
        with self.database.read() as connection:
            found = marks.read(connection, SOURCE)
        assert found is not None
        return found

    def receipts(self) -> list[receipts.WindowReceipt]:
        """Read the receipts, the oldest first."""
        with self.database.read() as connection:
            return list(receipts.stream(connection, SOURCE))[::-1]

    def are_receipts_right(self) -> bool:
        """Return whether the store has what every receipt attests."""
        with self.database.read() as connection:
            return all(receipts.recompute(connection, each) == each for each in self.receipts())

    def is_complete(self) -> bool:
        """Return whether the store contains exactly the logged actions."""
        return stored(self.database) == logged_actions(self.world.organisation.truth())


@pytest.fixture
def on(world: World, database: Database) -> Bench:
    """Poll until polls are quiet."""
    return Bench(world, database)


def test_quiet_polls_prove_what_a_full_poll_proves(on: Bench) -> None:
    """Each quiet poll takes one request and one transaction, and moves the marks, the receipt and the time of the poll."""
    on.is_quiet(60)
    (*earlier, before), began = on.receipts(), on.world.clock()
    for number in range(1, 6):
        asked = on.client.request_count
        with transactions() as ended:
            assert on.is_quiet()
        assert ended == ["write"]
        assert on.client.request_count == asked + 1
        now = on.world.clock()
        assert (on.report.request_count, on.report.proved_count, on.report.has_records) == (1, 1, True)
        assert (on.marks().seen_through, on.marks().proved_through) == (now, now)
        proofs, requests = before.proof_count + number, before.request_count + number
        after = replace(before, ends_at=now, judged_at=now, proof_count=proofs, request_count=requests)
        assert on.receipts() == [*earlier, after]
        with on.database.read() as connection:
            assert polls.read_all(connection)[SOURCE] == Poll(now, 0, None)
        assert on.tail.age == timedelta(0)
    assert not on.is_quiet(), f"a full poll is due {FULL_EVERY} after {began}"
    (*_, last) = on.receipts()
    assert (last.proof_count, last.request_count) == (before.proof_count + 6, before.request_count + 6)
    assert on.are_receipts_right()
    assert on.is_quiet()


def test_a_log_without_records_is_quiet_too(world: World, database: Database) -> None:
    """Before a source has shown any record, its totals are not trusted: a quiet poll asks as often as the full one did."""
    client = Altered(world.emulator, world.clock)
    watch = self_watch(database, client, world.clock)
    tail = tail_of(database, client, world.clock, watch, elapsed=lambda: world.clock().timestamp(), page_size=1000)
    asked = []
    for _ in range(4):
        world.clock.advance(seconds=STEP)
        with statements() as found:
            asked.append(tail.run_once().request_count)
    assert not any("FROM source" in each for each in found)
    assert (asked[-1], client.request_count) == (2, sum(asked))
    world.log(ago=1)
    world.clock.advance(seconds=STEP)
    assert tail.run_once().new_count == 1
    assert (
        client.request_count == sum(asked) + 4
    )  # two walks, the first of them to an empty page, and one for the bounds


def test_a_poll_with_a_new_record_requests_its_page_once(on: Bench) -> None:
    """The page that turned out not to be the last one is stored without another request, although time passes meanwhile."""
    on.client.before_request = lambda: on.world.clock.advance(milliseconds=5)
    asked = on.client.request_count
    on.world.log(ago=1)
    assert not on.is_quiet()
    assert (on.report.new_count, on.report.request_count, on.client.request_count) == (1, 1, asked + 1)
    assert on.is_complete()
    assert on.is_quiet()


def _first(page: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = page["resources"][0]
    return found


def _vanish(page: dict[str, Any]) -> None:
    gone = page["resources"].pop(3)
    page["totalResults"] -= 1
    page["actionCounts"][gone["action"]] -= 1


def _repeat(page: dict[str, Any]) -> None:
    page["resources"].insert(0, _first(page))
    page["totalResults"] += 1
    page["actionCounts"][_first(page)["action"]] += 1


CHANGES: dict[str, Alter] = {
    "vanished": _vanish,
    "twin": _repeat,
    "same key": lambda page: _first(page).update(organisationName="Renamed"),
    "other field": lambda page: _first(page).update(description="another"),
    "new field": lambda page: _first(page).update(region="eu"),
    "total": lambda page: page.update(totalResults=page["totalResults"] + 1),
    "order": lambda page: page["resources"].reverse(),
    "counts": lambda page: page["actionCounts"].update(DELETE_CLUSTER=1),
    "no counts": lambda page: page.pop("actionCounts") and None,
    "another kind": lambda page: _first(page).update(action="DELETE_CLUSTER"),
    "empty": lambda page: page.update(resources=[], totalResults=0, actionCounts={}),
}


@pytest.mark.parametrize("alter", CHANGES.values(), ids=CHANGES.keys())
def test_a_poll_that_shows_anything_else_is_a_full_one(on: Bench, alter: Alter) -> None:
    """Whatever differs in the response, the poll reads the store and says what is wrong. Afterwards, polls are quiet again."""
    assert on.is_quiet()
    on.client.alter = alter
    assert not on.is_quiet()
    on.client.alter = lambda _: None
    assert not on.is_quiet()
    on.is_quiet(60)
    on.is_quiet()
    assert on.is_quiet()


def test_a_record_that_vanishes_between_quiet_polls_is_reported(on: Bench) -> None:
    """The first poll that no longer shows a record reports it, and the receipts before it still attest the record."""
    assert on.is_quiet()
    on.client.alter = _vanish
    on.is_quiet()
    with on.database.read() as connection:
        assert [each.trouble for each in self_alerts.read_all(connection)] == ["window_shrunk"]
    counts = [each.record_count for each in on.receipts()]
    assert counts[-2:] == [12, 11]
    assert on.are_receipts_right()


@pytest.mark.parametrize("ago", [1, 120, 600])
def test_a_late_record_ends_the_quiet(on: Bench, ago: float) -> None:
    """A record of any time in the overlap is stored by the next poll, and belongs to no earlier receipt."""
    assert on.is_quiet()
    before = on.receipts()
    on.world.log(ago=ago)
    assert not on.is_quiet()
    assert on.report.new_count == 1
    assert on.receipts()[: len(before)] == before
    assert on.are_receipts_right()
    assert on.is_complete()


def test_a_record_after_the_proof_is_no_part_of_a_quiet_one(on: Bench) -> None:
    """A record whose time the upstream's clock had not reached belongs to the proof of a later poll, a full one."""
    on.client.late_by = -timedelta(seconds=3)
    on.is_quiet(60)
    assert on.is_quiet()
    on.world.log(ago=-9)
    assert not on.is_quiet(), "it is new"
    assert on.receipts()[-1].record_count == 12
    assert not on.is_quiet(), "it is proved"
    assert on.receipts()[-1].record_count == 13
    assert on.is_quiet()
    assert on.are_receipts_right()


@pytest.mark.parametrize(("minutes", "is_quiet"), [(1, True), (5, False)])
def test_a_window_begins_later_after_a_while(on: Bench, minutes: int, is_quiet: bool) -> None:
    """After a new record, the next poll is quiet only if the window would not begin more than a third of the overlap later."""
    for _ in range(minutes):
        on.is_quiet(60)
    on.world.log(ago=1)
    assert not on.is_quiet()
    assert on.is_quiet() == is_quiet
    assert on.is_complete()
    assert on.are_receipts_right()


def test_windows_stay_short(on: Bench) -> None:
    """No window is longer than the overlap, a third of it, and the time since the newest record."""
    for _ in range(60):
        on.world.log(ago=1)
        on.is_quiet(40)
    overlap = 15 * MINUTE
    lengths = [each.ends_at - each.starts_at for each in on.receipts()[-40:]]
    assert overlap * 5 / 4 < max(lengths) < overlap * 4 / 3 + 2 * MINUTE
    assert on.is_complete()
    assert on.are_receipts_right()


def test_a_response_that_shows_another_clock_is_not_used(on: Bench) -> None:
    """If the clock of the upstream turns out to be ahead, the same poll reads up to its time."""
    assert on.is_quiet()
    on.client.late_by = timedelta(seconds=30)
    on.world.log(ago=-20 - STEP)
    assert not on.is_quiet()
    assert (on.report.new_count, on.report.request_count) == (1, 2)


def test_no_poll_is_quiet_while_a_window_waits(on: Bench) -> None:
    """A window that the sweeps have yet to check is looked for by each poll."""
    at = on.marks().begins_at
    waiting = UnprovedWindow(source=SOURCE, starts_at=at, ends_at=at + MINUTE, reach=HOUR, due_at=NOON + HOUR)
    with on.database.write() as connection:
        unproved_windows.write(connection, [waiting])
    on.is_quiet(60)
    assert not any(on.is_quiet() for _ in range(3))


@pytest.mark.parametrize(
    ("ends", "judged", "expected"),
    [
        (MINUTE, MINUTE, MINUTE),
        (timedelta(0), MINUTE, MINUTE),
        (-MINUTE, MINUTE, None),  # the clock of the upstream was set back
        (MINUTE, -MINUTE, timedelta(microseconds=1)),  # ours was: each receipt is judged later than the one before
        (MINUTE, MERGED_SPAN, MERGED_SPAN),
        (MINUTE, MERGED_SPAN + MINUTE, None),
    ],
)
def test_a_receipt_is_repeated_within_a_day(ends: timedelta, judged: timedelta, expected: timedelta | None) -> None:
    """A receipt gets a further proof up to a later time, unless its proofs would lie more than a day apart."""
    after = StoredReceipt(7, make_receipt()).repeated(NOON + ends, NOON + judged, 2)
    assert (after and (after.id, after.receipt.judged_at - NOON, after.receipt.proof_count)) == (
        None if expected is None else (7, expected, 2)
    )


def _step(on: Bench) -> None:
    on.tail.follow_clock(timedelta(0))


def _move_marks(on: Bench) -> None:
    with on.database.write() as connection:
        marks.write(connection, replace(on.marks(), proved_through=on.marks().proved_through - MINUTE))


def _delay(on: Bench) -> None:
    on.client.late_by = timedelta(seconds=30)


def _set_back(on: Bench) -> None:
    on.world.clock.advance(seconds=-3 * STEP)
    on.client.late_by = timedelta(seconds=3 * STEP)


DOUBTS = {"clock": _step, "marks": _move_marks, "upstream's clock": _delay, "set back": _set_back}


@pytest.mark.parametrize("doubt", DOUBTS.values(), ids=DOUBTS.keys())
def test_a_poll_in_doubt_is_a_full_one(on: Bench, doubt: Callable[[Bench], None]) -> None:
    """If a clock or the store is not as the last poll left it, the same response makes no quiet poll."""
    assert on.is_quiet()
    doubt(on)
    assert not on.is_quiet()
    on.is_quiet()  # if a response was useless because the clocks differ, the next poll is a full one too
    assert on.is_quiet()
    assert on.report.error is None
    assert on.are_receipts_right()


def test_the_poll_after_an_error_is_a_full_one(on: Bench) -> None:
    """After a failed poll, everything is looked at."""
    assert on.is_quiet()
    on.world.faults.set("error:503")
    assert on.is_quiet(), "it failed before it read anything"
    assert on.report.error is not None
    on.world.faults.clear()
    assert not on.is_quiet()
    assert on.is_quiet()


def test_no_sweep_is_late_because_of_quiet_polls(world: World, database: Database) -> None:
    """A sweep that is due each 24 seconds is begun by the first poll after that."""
    on = Bench(world, database, sweeps=(4 * MINUTE,))
    swept = [on.report.request_count > 1 for _ in range(30) if on.is_quiet() is not None]
    waits = "".join("x" if each else "." for each in swept).split("x")
    assert max(map(len, waits)) <= 2, waits
    assert "." in "".join(waits)


@pytest.mark.parametrize("fault", ["times_ignored:both", "page_clamped:3", "counts:absent total:absent"])
def test_no_poll_is_quiet_if_one_page_proves_nothing(world: World, database: Database, fault: str) -> None:
    """Polls whose proof took several different requests, or ignored filters, are full ones."""
    world.faults.set(*fault.split())
    on = Bench(world, database, overlap=5 * MINUTE)
    assert not any(on.is_quiet() for _ in range(5))


def test_no_poll_is_quiet_that_counts_a_part_of_its_window(world: World, database: Database) -> None:
    """What a poll counts instead of reading it is no part of its last proof, so that the next poll must count it too."""
    on = Bench(world, database, page_size=5)
    assert not any(
        on.is_quiet() for _ in range(24)
    )  # the windows of the backlog have had their second look after 2 minutes


@pytest.mark.parametrize("is_stopped_first", [True, False])
def test_a_stopped_tail_moves_no_marks(on: Bench, is_stopped_first: bool) -> None:
    """A poll that hung while another replica tailed the source does not judge with what it saw before."""
    before = on.marks(), on.receipts()
    on.client.before_request = on.tail.stop
    if is_stopped_first:
        on.tail.stop()
    on.is_quiet()
    assert (on.marks(), on.receipts()) == before


def test_a_failed_commit_moves_nothing(on: Bench, store_kind: str) -> None:
    """If the store cannot be written, the poll fails, and the next one is a full one that proves the same time."""
    if store_kind != "sqlite":
        pytest.skip("the trigger is SQLite's")
    assert on.is_quiet()
    before = on.marks(), on.receipts()
    with on.database.write() as connection:
        refuse = "CREATE TRIGGER refuse BEFORE UPDATE ON receipt BEGIN SELECT RAISE(ABORT, 'refused'); END"
        connection.exec_driver_sql(refuse)
    with pytest.raises(StoreError, match="refused"):
        on.is_quiet()
    assert (on.marks(), on.receipts()) == before
    with on.database.write() as connection:
        connection.exec_driver_sql("DROP TRIGGER refuse")
    assert not on.is_quiet()
    assert on.is_quiet()
    assert on.are_receipts_right()


# -- several sources in one transaction


def ready(database: Database, name: str) -> QuietPoll:
    """Store the marks and the receipt of a source, and return a quiet poll of it that has ended."""
    known = make_marks(name=name)
    with database.write() as connection:
        marks.write(connection, known)
        receipt = receipts.write(connection, make_receipt(source=name))
    later = NOON + MINUTE
    moved = replace(known, seen_through=later, proved_through=later)
    after = receipt.repeated(later, later, 1)
    assert after is not None
    return QuietPoll((known, moved), (receipt, after), Poll(later, 0, None), lambda: False)


def moved_sources(database: Database) -> list[str]:
    """Return the sources whose marks and receipts both moved; each moved with the other."""
    with database.read() as connection:
        found = {name for name, each in marks.read_all(connection).items() if each.proved_through > NOON}
        judged = {each.source for each in receipts.stream(connection) if each.proof_count > 1}
        assert (
            judged == found == {name for name, poll in polls.read_all(connection).items() if poll.last_poll_at > NOON}
        )
    return sorted(found)


def commit_together(database: Database, *ended: QuietPoll) -> dict[str, BaseException | None]:
    """Commit polls in threads that all wait for the writer before them. Return the error of each source."""
    rounds, errors = Rounds(database), dict[str, BaseException | None]()
    begun = threading.Barrier(len(ended) + 1)

    def commit(poll: QuietPoll) -> None:
        begun.wait(LIMIT)
        try:
            rounds.commit(poll)
            errors[poll.source] = None
        except Exception as exc:
            errors[poll.source] = exc

    threads = [threading.Thread(target=commit, args=(each,)) for each in ended]
    for thread in threads:
        thread.start()
    with database.write():
        begun.wait(LIMIT)
        for thread in threads:
            thread.join(0.05)  # they cannot end: this gives them the time to wait
    for thread in threads:
        thread.join(LIMIT)
    return errors


def test_polls_that_wait_together_are_committed_together(database: Database) -> None:
    """Quiet polls of several sources are one transaction if they come while another one writes."""
    ended = [ready(database, f"source {number}") for number in range(5)]
    with transactions() as found:
        assert commit_together(database, *ended) == {each.source: None for each in ended}
    assert found.count("write") < 1 + len(ended)
    assert moved_sources(database) == [each.source for each in ended]


def test_a_stopped_poll_stops_no_other(database: Database) -> None:
    """A poll that was broken off while it waited is not committed; the others are."""
    ended = [ready(database, f"source {number}") for number in range(3)]
    ended[1] = replace(ended[1], is_stopped=lambda: True)
    errors = commit_together(database, *ended)
    assert isinstance(errors.pop("source 1"), Stopped)
    assert errors == {"source 0": None, "source 2": None}
    assert moved_sources(database) == ["source 0", "source 2"]


@pytest.mark.parametrize("what", ["marks", "name", "receipt"])
def test_a_poll_on_a_store_that_has_changed_is_not_committed(database: Database, what: str) -> None:
    """If the store has other marks or another receipt than the poll began with, nothing of the round is committed."""
    ended, other = ready(database, "source 0"), ready(database, "source 1")
    before = ended.marks[0]
    if what == "marks":
        ended = replace(ended, marks=(replace(before, mark=before.mark + MINUTE), ended.marks[1]))
    elif what == "name":
        with database.write() as connection:
            marks.rename(connection, before, "renamed")
    else:
        known = ended.receipt[0]
        changed = StoredReceipt(known.id, replace(known.receipt, judged_at=known.receipt.judged_at + MINUTE))
        ended = replace(ended, receipt=(changed, ended.receipt[1]))
    errors = commit_together(database, ended, other)
    assert isinstance(errors["source 0"], Outdated)
    assert moved_sources(database) in ([], ["source 1"])


@pytest.mark.parametrize("change", ["owner = 'another'", "term = term + 1", "owner = ''"])
def test_a_lost_role_stops_only_its_source(database: Database, change: str) -> None:
    """A replica that has lost the role of one source commits the quiet polls of the others."""
    if not database.is_shared:
        pytest.skip("a file has one process, which has every role")
    ended = [ready(database, f"source {number}") for number in range(3)]
    with database.joined() as mine:
        assert len(mine.take_roles([each.role for each in ended])) == len(ended)
        with database.write() as connection:
            connection.exec_driver_sql(f"UPDATE role SET {change} WHERE name = %s", (ended[1].role,))
        errors = commit_together(database, *ended)
        assert isinstance(errors.pop("source 1"), RoleLost)
        assert errors == {"source 0": None, "source 2": None}
        assert moved_sources(database) == ["source 0", "source 2"]
