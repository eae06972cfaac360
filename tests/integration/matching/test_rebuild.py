"""While the state of correlations is rebuilt: plain rules go on, and correlations miss nothing and repeat nothing."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from actionwatch.base.model import Record
from actionwatch.matching.correlating import PAUSE_EVERY, Correlating
from actionwatch.matching.matcher import Matcher
from actionwatch.rules.engine import Engine
from actionwatch.rules.model import Rule
from actionwatch.store import positions, records
from actionwatch.store.database import Database
from tests.builders import NOON, make_record
from tests.chaos.killing import Killed, MortalDatabase
from tests.integration.kit import Post
from tests.integration.matching.test_correlation import BURST, HEAD, MINUTE, matcher, rules_of, see

MANY = 2 * PAUSE_EVERY + 10
PLAIN = HEAD.format("plain") + "detection: {s: {actionKind: CREATE_CLUSTER}, condition: s}\n"
CHANGED = BURST.replace("gte: 3", "gte: 2")


class Watched(Correlating):
    """Correlations whose rebuild can be looked at: `at_pause` is called once plain rules had their turn."""

    def __init__(self, rules: Sequence[Rule], post: Post, at_pause: Callable[[int], None] = lambda _: None) -> None:
        super().__init__(rules, post.addressing, keep=MINUTE)
        self.pauses = 0
        self._at_pause = at_pause

    def rebuild(self, database: Database, on_pause: Callable[[], None]) -> None:
        """Rebuild as usual, with a look at each pause."""

        def pause() -> None:
            self.pauses += 1
            on_pause()
            self._at_pause(self.pauses)

        super().rebuild(database, pause)


def stepping(post: Post, rules: Sequence[Rule], correlating: Correlating) -> Matcher:
    """Make the step of a process that just started."""
    return Matcher(post.database, Engine(rules), post.addressing, post.clock, 2000, correlating)


def fill(post: Post) -> None:
    """Store much that was matched before, all of it within what a rebuild reads."""
    stored = [make_record(n, minutes=-n / MANY, action_kind="BACKUP") for n in range(MANY)]
    stored += [make_record(1, minutes=-0.2), make_record(2, minutes=-0.1)]
    with post.database.write() as connection:
        records.insert_new(connection, stored)
    see(post.database, NOON)
    assert matcher(post, rules_of(BURST)).run_once() == 0


def names(post: Post) -> list[str]:
    """Name the rules of the alerts."""
    return sorted(alert.rule.name for alert in post.alerts().values())


def test_plain_rules_do_not_wait(post: Post) -> None:
    """A record that comes during a rebuild is told at the next pause, the burst that it completes after the rebuild."""
    fill(post)
    seen = list[list[str]]()

    def arrive(pauses: int) -> None:
        if pauses == 1:
            post.store(make_record(8, minutes=1, action_kind="CREATE_CLUSTER"), make_record(9, minutes=1))
        seen.append(names(post))

    rules = rules_of(BURST + "---\n" + PLAIN)
    correlating = Watched(rules, post, arrive)
    step = stepping(post, rules, correlating)
    assert step.run_once() == 2
    assert seen == [[], ["plain"], ["plain"]]
    assert names(post) == ["burst", "plain"]
    assert (step.run_once(), correlating.pauses) == (0, 3)


def test_a_new_version_tells_what_came_while_it_was_made_ready(post: Post) -> None:
    """A changed rule is silent about what is older than it, and misses nothing of what comes during its first rebuild."""
    fill(post)
    rules = rules_of(CHANGED)
    arrivals = {1: [make_record(3, minutes=1, user_name="bob")], 2: [make_record(4, minutes=2, user_name="bob")]}
    correlating = Watched(rules, post, lambda pauses: post.store(*arrivals.get(pauses, ())))
    assert stepping(post, rules, correlating).run_once() == 1
    assert [(alert.group, alert.count) for alert in post.alerts().values()] == [({"userName": "bob"}, 2)]


def test_a_record_that_is_too_late_keeps_plain_rules_from_nothing(post: Post) -> None:
    """What makes a rebuild necessary waits for it, with the rest of its batch; plain rules have had the batch by then."""
    rules = rules_of(BURST + "---\n" + PLAIN)
    correlating = Watched(rules, post)
    step = stepping(post, rules, correlating)
    for hours in range(15):
        post.store(make_record(hours, minutes=hours * 60 + 9))
        see(post.database, NOON + timedelta(hours=hours, minutes=9))
        assert step.run_once() == 0
    seen = list[list[str]]()
    correlating._at_pause = lambda _: seen.append(names(post))
    post.store(
        make_record(1001, minutes=7),
        make_record(1002, minutes=8),
        make_record(1003, minutes=9, action_kind="CREATE_CLUSTER"),
    )
    assert step.run_once() == 2
    assert seen == [["plain"]]
    assert names(post) == ["burst", "plain"]


def test_other_plain_rules_count_at_once(post: Post) -> None:
    """A reload in the middle of a rebuild: plain rules are the new ones at the next pause, and the rebuild goes on."""
    fill(post)
    before, after = rules_of(BURST), rules_of(BURST + "---\n" + PLAIN)
    seen = list[list[str]]()

    def reload(pauses: int) -> None:
        if pauses == 1:
            step.use(Engine(after), correlating)
            post.store(make_record(8, minutes=1, action_kind="CREATE_CLUSTER"))
        seen.append(names(post))

    correlating = Watched(before, post, reload)
    step = stepping(post, before, correlating)
    assert step.run_once() == 1
    assert seen == [[], ["plain"], ["plain"]]


def test_a_rebuild_that_is_not_wanted_is_left(post: Post) -> None:
    """A reload of what is being rebuilt, and the end of the process, wait for a pause and no longer."""
    fill(post)
    rules = rules_of(BURST)
    other = Watched(rules_of(CHANGED), post, lambda _: step.stop())
    correlating = Watched(rules, post, lambda _: step.use(Engine(rules), other))
    step = stepping(post, rules, correlating)
    assert step.run_once() == 0
    # Each is left at the pause after the one that had it left.
    assert (correlating.pauses, other.pauses) == (2, 2)
    assert not correlating.is_ready
    assert not other.is_ready


@dataclass
class Life:
    """A store, and the processes that live on it one after the other, each killed at its nth commit."""

    database: MortalDatabase
    left: int = 0
    arrived: set[int] = field(default_factory=set)

    def dies(self) -> bool:
        """Say whether it dies here."""
        self.left -= 1
        return self.left == 0

    def live(self, post: Post, die_at: int) -> bool:
        """Match as a new process, while records come; say whether it lived to the end."""
        rules = rules_of(CHANGED + "---\n" + PLAIN)

        def arrive(pauses: int) -> None:
            if pauses in self.arrived:
                return
            self.arrived.add(pauses)
            self.database.dies = lambda: False  # that is another process's commit
            post.store(
                *(_arrival(10 * pauses + n, kind) for n, kind in enumerate(["CREATE_CLUSTER", "DELETE_CLUSTER"]))
            )
            self.database.dies = self.dies

        self.left, self.database.dies = die_at, self.dies
        try:
            stepping(post, rules, Watched(rules, post, arrive)).run_once()
        except Killed:
            return False
        finally:
            self.database.dies = lambda: False
        return True


def _arrival(number: int, kind: str) -> Record:
    return make_record(number, minutes=number / 10, action_kind=kind)


@pytest.fixture
def life() -> Iterator[Life]:
    """Fill a store, and keep a copy of it."""
    shared = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=shared if shared.is_dir() else None))
    database = MortalDatabase(folder)
    database.renew()
    fill(Post(database))
    database.close()
    shutil.copy(database.path, folder / "template.db")
    yield Life(database)
    database.close()
    shutil.rmtree(folder)


def test_killed_at_any_commit(life: Life) -> None:
    """Killed before or after any commit of a rebuild and of what follows, it loses nothing and tells nothing twice."""
    pictures, kills = set[tuple[tuple[str, int, str], ...]](), 0
    for die_at in range(100):
        life.database.renew()
        life.arrived.clear()
        post = Post(life.database)
        is_killed = not life.live(post, die_at)
        kills += is_killed
        assert life.live(post, 0) or not is_killed
        with life.database.read() as connection:
            assert len({records.newest_id(connection), *positions.read_both(connection)}) == 1
        pictures.add(tuple(sorted((a.id, a.count, a.rule.name) for a in post.alerts().values())))
        assert len(post.rows()) == len(post.alerts())
        if die_at and not is_killed:
            break
    assert len(pictures) == 1
    assert [name for *_, name in sorted(pictures.pop(), key=lambda one: one[2])] == ["burst", "plain", "plain", "plain"]
    assert kills > 8
