"""Play a schedule: the whole service in one thread, on virtual time, and what happens around it.

`Simulation.play` returns what the oracle found.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import stamina
import structlog

from actionwatch.base.clock import STEP
from actionwatch.base.errors import StoreError, StoreReplaced
from actionwatch.net.http import network
from actionwatch.service.app import dead_letters, operator_actions
from actionwatch.settings import Settings
from actionwatch.store import delivery_transitions
from actionwatch.store.outbox import DeliveryFilter
from actionwatch.tail.state import PollReport
from tests.builders import NOON, Clock
from tests.plain_logs import log_plainly
from tests.simulation.correlations import USERS
from tests.simulation.killing import DISK_IS_FULL, Killed, MortalDatabase
from tests.simulation.machine import VirtualMachine
from tests.simulation.network import Network
from tests.simulation.oracle import Oracle
from tests.simulation.plan import Schedule
from tests.simulation.process import Process
from tests.simulation.site import FIRST, FOLDERS, SECOND, Setup
from tests.simulation.source_oracle import SourceOracle
from tests.simulation.tally import Tally
from tests.simulation.upstream_faults import CHANGES, PASSING, UNCHANGING
from tests.upstreams import World

KINDS = (
    "BACKUP",
    "CREATE_CLUSTER",
    "INVITE_USER",
    "DELETE_CLUSTER",
    "DELETE_KAFKA_TOPIC",
    "ADD_NODE",
    "BRAND_NEW_KIND",
)
LATE_KINDS = tuple(kind for kind in KINDS if kind != "ADD_NODE")
"""The kinds of late records, which must not disappear before a sweep is due."""
_FAILURES = ("step_failed", "notifier_failed", "self_alert_failed", "claim_failed")
_CAUSED = ("Killed", "while this process worked on it", DISK_IS_FULL)
"""What a simulation does itself."""
_LONGEST_POLL, _LONGEST_STEP = 40, 6  # crossings: they rarely have more
_LONGEST_START = 12
_QUIET_ROUNDS = 400
_SECOND_ORGANISATION = "22222222-2222-4333-8444-555555555555"


@dataclass
class Laboratory:
    """What all simulations of one process of the tests share: a folder, and the engines of the store's file."""

    folder: Path
    database: MortalDatabase
    events: list[str] = field(default_factory=list)
    """What the service has logged as wrong."""


@contextmanager
def laboratory() -> Iterator[Laboratory]:
    """Make the folder, in memory if possible, because the disk is not tested."""
    shared = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=shared if shared.is_dir() else None))
    for name in FOLDERS:
        (folder / name).mkdir()
    made = Laboratory(folder, MortalDatabase(folder))

    def note(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        error = str(event.get("error"))
        if event["event"] in _FAILURES and not any(each in error for each in _CAUSED):
            made.events.append(f"{event['event']}: {event.get('step')}: {event.get('error')}")
        raise structlog.DropEvent

    structlog.configure(processors=[note], wrapper_class=structlog.make_filtering_bound_logger(30))
    stamina.set_testing(True, attempts=2, cap=True)  # repeats a request at once
    try:
        yield made
    finally:
        stamina.set_testing(False)
        log_plainly()
        made.database.close()
        shutil.rmtree(folder)


class Simulation:
    """A schedule while it is played."""

    process: Process

    def __init__(self, schedule: Schedule, laboratory: Laboratory, tally: Tally) -> None:
        self.schedule = schedule
        self.laboratory = laboratory
        self.tally = tally
        laboratory.events.clear()
        self.database = laboratory.database
        self.database.renew()
        self.database.dies = self._dies
        chance = random.Random(schedule.seed)
        self.time = Clock(NOON + timedelta(microseconds=chance.randrange(0, 1_000_000, 250)))
        self.worlds = {kind: World(self.time) for kind in (FIRST, SECOND)}
        self.worlds[SECOND].organisation.id = _SECOND_ORGANISATION
        self.worlds[FIRST].organisation.inventory.add_account("payments")
        self.network = Network(self.worlds, schedule.seed, self._cross)
        self.machine = VirtualMachine(self.time)
        self._parts = self.machine.parts(chance, self.database)
        self._followed = timedelta(0)
        """How far the clock was off when the waits in the store last followed it."""
        self._stepped_over: Collection[tuple[str, int]] = ()
        """The messages that waited when it was set."""
        self._starts = random.Random(f"{schedule.seed} starts")
        self.setup = schedule.setup
        self.oracle = Oracle(self.worlds, self.database, schedule, tally)
        self._until_death = 0
        self._is_dead = False
        self._until_happening = 0
        self._happening: Callable[[], None] = self._change_fields
        self._fields: tuple[str, ...] = ()
        self._passing: list[str] = []
        self._is_moved = False
        self._has_failed = False
        """Whether a commit was made to fail."""
        self._is_forgetting = False
        """Whether retention deletes what polls are compared with."""

    def play(self) -> list[str]:
        """Play it to its end. Return the problems found."""
        with network(self.network), contextlib.ExitStack() as stack:
            stack.callback(lambda: self.process.die())
            self.worlds[FIRST].faults.set(*self.schedule.nature)
            self.start()
            self._poll_sources()  # otherwise they would begin with all that happens
            for event in self.schedule.events:
                getattr(self, event.what)(random.Random(event.seed))
            self._settle()
            self.oracle.judge(self.setup, self.network.receivers, self.machine.now())
            if self.schedule.seed % 8 == 5:
                self._forget()
            self.process.finish()
        self.tally.schedules += 1
        return [*self.oracle.wrong, *self.laboratory.events]

    # -- the process

    def start(self) -> None:
        """Start a process, as a supervisor does until it stays: when it is not killed, and the disk has room again."""
        self._until_happening = 0
        is_set = self.machine.off_by != self._followed
        deaths = self._starts.choice((0, 1, 1, 2) if is_set else (0, 0, 0, 0, 0, 0, 0, 1))
        self.oracle.note_start(self.setup, self.machine.now())
        waits = self.oracle.waits()
        if is_set:  # those that came after the step wait by the new time
            waits = {each: at for each, at in waits.items() if each in self._stepped_over}
        while True:
            self._is_dead = False
            self.database.fails_next = deaths > 0 and self._starts.random() < 0.2
            self._until_death = self._starts.randint(1, _LONGEST_START) if deaths else 0
            deaths -= 1
            try:
                self.process = Process(self._configure(), self._parts, self._note_poll)
            except (Killed, StoreError):
                self.tally.starts_ended += 1
            else:
                break
        self._until_death = 0
        self.database.fails_next = False
        self.oracle.check_waits_after_start(waits, self.machine.off_by - self._followed)
        self._followed = self.machine.off_by

    def _configure(self) -> Settings:
        organisations = {kind: world.organisation.id for kind, world in self.worlds.items()}
        return self.setup.configure(self.laboratory.folder, organisations)

    def _note_poll(self, source: str, report: PollReport) -> None:
        if not self._is_forgetting:
            self._oracle_of(source).after_poll(report)

    def _oracle_of(self, source: str) -> SourceOracle:
        return self.oracle.sources[source.partition("-")[0]]

    def _poll_sources(self) -> None:
        for name in self.setup.sources.values():
            self._step(f"tail {name}")

    def _die(self) -> None:
        self._until_death = self._until_happening = 0
        self._is_dead = False
        self.process.die()
        if self._is_moved:
            self._is_moved = False
            if not self.database.put_back():
                self.oracle.wrong.append("the file in the place of the store was written to")
        self.oracle.note_death()
        self.start()

    def _step(self, name: str) -> None:
        """Run a step of the service."""
        if name.startswith("tail"):
            self._oracle_of(name.removeprefix("tail ")).before_poll()
        is_set = bool(self.process.app.clock.step())
        self.process.steps[name]()
        if self._is_dead:  # in a send, of which a thread survives everything
            raise Killed
        if name == "deliver" and not self._has_failed and not self._is_moved:
            self.oracle.check_leases()
        if is_set and not self.process.app.clock.step():
            self.oracle.note_step()
            self._followed = self.machine.off_by

    def _dies(self) -> bool:
        """Count a commit or a request. Return whether the process dies there."""
        if self._until_happening > 0:
            self._until_happening -= 1
            if not self._until_happening:
                self._happening()
        if self._until_death > 0:
            self._until_death -= 1
            self._is_dead = self._until_death == 0
        return self._is_dead

    def _cross(self) -> None:
        self.time.advance(milliseconds=1)  # a record of one request is older than those of the next
        if self._dies():
            raise Killed

    # -- events

    def arrive(self, chance: random.Random) -> None:
        """Log some actions. Most are new; some are late, within the reach of the sweeps."""
        for _ in range(chance.choice((0, 1, 2, 4, 4, 8))):
            is_late = chance.random() < 0.3
            kind = chance.choice(LATE_KINDS if is_late else KINDS)
            account = self.worlds[FIRST].organisation.inventory.accounts[0] if chance.random() < 0.7 else None
            ago = chance.uniform(25, chance.choice((300, 3000))) if is_late else chance.uniform(0, 25)
            where = SECOND if SECOND in self.schedule.setup.sources and chance.random() < 0.4 else FIRST
            fields = {"account": account} if where == FIRST else self._second_fields()
            logged = self.worlds[where].log(kind, ago=ago, user_name=chance.choice(USERS), **fields)
            if is_late:
                self.oracle.sources[where].late.add((logged.kind, logged.description))

    def _second_fields(self) -> dict[str, Any]:
        """Return what shows that an action is of the second source."""
        return {"description": f"beta {self.worlds[SECOND].logged}"}

    def trouble_upstream(self, chance: random.Random) -> None:
        """Let the upstream do something wrong for a time."""
        rare = ("vanish:0s,kind=ADD_NODE,times=2",) if chance.random() < 0.2 else ()
        self._passing = sorted({*chance.sample(PASSING, chance.choice((0, 1, 1, 2))), *rare})
        if any(nature.startswith("page_") for nature in self.schedule.nature):
            # With small pages in changing order and true twins, two walks may agree by chance, undetected.
            self._passing = [fault for fault in self._passing if not fault.startswith("order")]
        self._set_faults()

    def wait(self, chance: random.Random) -> None:
        """Let time pass."""
        self.time.advance(seconds=chance.choice((5, 30, 30, 30, 90, 400)))

    def run(self, chance: random.Random) -> None:
        """Run steps in any order, perhaps with a death, or something else, between any two commits and requests."""
        names = sorted(self.process.steps)
        order = [
            *(name for name in names if name.startswith("tail")),
            "clock",
            "match",
            *["deliver", "threads", "deliver"][: chance.randrange(4)],
        ]
        order += chance.sample(names, 2)
        if chance.random() < 0.5:
            chance.shuffle(order)
        self._plan_happening(chance)
        is_failing = self._until_happening and self._happening == self._fail_commit and chance.random() < 0.5
        failing = chance.choice(("match", chance.choice(order))) if is_failing else None
        dying = chance.randrange(2 * len(order))  # in half of the runs, the process dies in one of the steps, or later
        try:
            for place, name in enumerate(order):
                if place == dying:
                    self._until_death = chance.randint(1, _LONGEST_POLL if name.startswith("tail") else _LONGEST_STEP)
                if name == failing:  # in this step, not anywhere
                    self._until_happening = chance.randint(1, 4)
                if name in self.process.steps:
                    self._step(name)
                    self.database.check_in_place()
            if self._is_moved:
                self.oracle.note_silent("the store was moved away")
        except Killed:
            self.tally.kills += 1
            self._die()
        except StoreReplaced as ended:
            if not self._is_moved or str(self.database.path) not in str(ended):
                self.oracle.wrong.append(f"the process ended: {ended}")
            self._die()
        self._until_death = self._until_happening = 0
        self.database.fails_next = False

    def receivers(self, chance: random.Random) -> None:
        """Let receivers fail, or work again."""
        for name in self.setup.receivers.values():
            self.network.receiver(name).is_down = chance.random() < 0.5

    def restart(self, _: random.Random) -> None:
        """Stop, and start again."""
        self.process.finish()
        self.start()

    def outage(self, chance: random.Random) -> None:
        """Let an upstream, or both, not be reached for hours, while the service tries and people act.

        Correlations are checked each time: when it ends, all sources catch up, and nothing shows what each of them held back.
        """
        kinds = sorted(self.setup.sources)
        self.network.refusing = set(chance.sample(kinds, chance.choice((1, 1, len(kinds)))))
        for _ in range(chance.randint(1, 4)):
            self.time.advance(seconds=chance.choice((600, 3600)))
            for kind in kinds if chance.random() < 0.7 else ():
                fields = self._second_fields() if kind == SECOND else {}
                self.worlds[kind].log(chance.choice(LATE_KINDS), ago=20, user_name=chance.choice(USERS), **fields)
            self._poll_sources()
            for name in ("clock", "match", "deliver"):
                self._step(name)
            self.oracle.check_correlations(self.network.refusing)
        self.network.refusing = set()

    def clock(self, chance: random.Random) -> None:
        """Set the clock of the machine."""
        if "no_date" in self.schedule.nature or self.oracle.clock_steps >= 2:
            return  # without its Date, our clock must be right
        self.oracle.clock_steps += 1
        self.tally.clock_steps += 1
        self._step("clock")  # nothing is left of an earlier step
        if chance.random() < 0.5:  # then messages wait
            self._fail_messages()
        waits, step = self.oracle.waits(), timedelta(seconds=chance.choice((-3600, 25 * 3600, -40, 40, -300, 90)))
        self.machine.off_by += step
        self._stepped_over = waits.keys()
        draw = chance.random()
        if draw < 0.4:
            self._step("clock")
            self._followed = self.machine.off_by
            self.oracle.check_waits(waits, step if abs(step) >= STEP else timedelta(0))
        elif draw < 0.6:
            self.tally.kills += 1
            self._die()
        # Otherwise a poll or a kill comes first, and it looks like a stop.

    def sweep(self, chance: random.Random) -> None:
        """Let a record appear late, and the upstream be lost during the sweep that must find it."""
        logged = self.worlds[FIRST].log(
            chance.choice(LATE_KINDS), ago=chance.uniform(960, 1200), user_name=chance.choice(USERS)
        )
        self.oracle.sources[FIRST].late.add((logged.kind, logged.description))
        self.oracle.note_visible()
        for seconds in (800, 200):
            self.time.advance(seconds=seconds)
            self.network.answers_left = chance.randint(1, 4)
            self._poll_sources()
            self.network.answers_left = None

    def _fail_messages(self) -> None:
        """Let no receiver take the messages about what has just happened."""
        for name in self.setup.receivers.values():
            self.network.receiver(name).is_down = True
        self.arrive(random.Random(self.schedule.seed))
        self._poll_sources()
        for name in ("match", "deliver", "threads", "deliver"):
            self._step(name)

    def reload(self, chance: random.Random) -> None:
        """Load another configuration, like the service on SIGHUP."""
        self._take_up(self.setup.changed(chance))

    def _take_up(self, setup: Setup) -> None:
        self.tally.reloads += 1
        before, self.setup = self.setup, setup
        self._step("clock")
        if setup.is_reloaded_after(before):
            self._configure()
            self.oracle.note_start(setup, self.machine.now())
            self._until_death = self._starts.choice((0, 0, 0, 1, 2, 3, 4))
            try:
                self.process.service.reload()
            except Killed:
                self.tally.kills += 1
                self._die()
            self._until_death = 0
        else:
            self.process.finish()
            self.start()
        if SECOND in setup.sources and SECOND not in before.sources:
            self._step(f"tail {setup.sources[SECOND]}")

    def decide(self, chance: random.Random) -> None:
        """Acknowledge, resolve, silence or reopen an alert like an operator, or replay dead letters."""
        decision = chance.choice(("ack", "resolve", "silence", "reopen", "reopen", "retry", "readdress"))
        people = dead_letters(self.process.app, self.process.service.worker.wake)
        self.oracle.has_retried |= decision in ("retry", "readdress")
        if decision == "retry":
            people.retry(DeliveryFilter(), "sam")
        elif decision == "readdress":
            people.retry(DeliveryFilter(), "sam", to=self.setup.receivers["hook"])
        elif known := self.oracle.alert_ids():
            actions = operator_actions(self.process.app, self.process.service.worker.wake)
            alert_id = chance.choice(known)
            if decision != "reopen":
                actions.act(decision, alert_id, "sam")
                return
            actions.act(chance.choice(("ack", "resolve")), alert_id, "sam")
            for _ in range(chance.randrange(3)):  # receivers have the decision, or not yet
                self._step("deliver")
            actions.reopen(alert_id, "sam")

    # -- what happens between two commits or requests

    def _plan_happening(self, chance: random.Random) -> None:
        """Choose what happens during the next run of the steps, and when, or that nothing does."""
        happenings = (self._change_fields, self._change_fields, self._move_store, self._fail_commit, None, None, None)
        happening = chance.choice(happenings)
        self._until_happening = chance.randint(1, 40) if happening else 0
        self._happening = happening or self._happening
        self._chance = chance

    def _change_fields(self) -> None:
        """Let the upstream begin or cease to send fields with its records, from the next response on."""
        if self.schedule.nature and self.schedule.nature[0].startswith(UNCHANGING):
            return
        self.tally.field_changes += 1
        self.oracle.sources[FIRST].change_count += 1
        self._fields = () if self._fields and self._chance.random() < 0.5 else self._chance.choice(CHANGES)
        self._set_faults()

    def _set_faults(self) -> None:
        # Permanent faults are set again each time: their limits count from here, and the properties stay.
        nature = self.schedule.nature
        lasting = [each for each in nature if each not in self._fields]
        begun = [each for each in self._fields if each not in nature]
        self.worlds[FIRST].faults.set(*lasting, *begun, *self._passing)

    def _move_store(self) -> None:
        """Let an operator move the store away. The process must end; then the operator puts the right file back."""
        self.tally.stores_moved += 1
        self._is_moved = True
        self.database.move_away(self._chance)

    def _fail_commit(self) -> None:
        """Let the disk be full for a moment."""
        self.tally.failed_commits += 1
        self._has_failed = True
        self.database.fails_next = True

    # -- the end

    def _settle(self) -> None:
        """End all faults and continue: nothing may be left unfinished."""
        self._passing = []
        self._set_faults()
        for receiver in self.network.receivers.values():
            receiver.is_down = False
        chance = random.Random(f"{self.schedule.seed} end")
        if self.schedule.seed % 2:  # no row may wait for a removed part
            self._take_up(self.setup.removed(chance))
        elif self.schedule.seed % 4 == 0:
            self._take_up(self.setup.toggled())
        self.oracle.note_end()
        for seconds in (3600, 900) * self.schedule.settling:
            self.time.advance(seconds=40)
            self.arrive(random.Random(f"{self.schedule.seed} {seconds}"))  # late ones too, before the mark
            self.oracle.note_visible()
            self.time.advance(seconds=seconds)  # at last, all sweeps are due for what came after the first poll
            self._step("clock")
            self._poll_sources()
            self._step("match")
        for name in sorted(self.process.steps) if self._has_failed else ():
            self._step(name)  # a rare step that failed reports that it works again
        self._deliver_all()

    def _forget(self) -> None:
        """Let all retention pass."""
        self._is_forgetting = True
        people = operator_actions(self.process.app, self.process.service.worker.wake)
        for alert_id in self.oracle.alert_ids():
            people.resolve(alert_id, "sam")
        for _ in range(3):  # self-alerts about deleted records end at the next start
            self.time.advance(days=600)
            for kind in self.setup.sources:  # otherwise retention keeps what polls and rules can still need
                self.worlds[kind].log("BACKUP", ago=60, user_name=USERS[0])  # the mark follows: retention is judged
            self._step("clock")
            self._poll_sources()
            self._step("match")
            self._deliver_all()
            with self.database.write() as connection:
                delivery_transitions.drop(connection, DeliveryFilter(), "sam")
            self._step("prune")
            self.restart(random.Random())
        self.oracle.judge_retention(self.machine.now() - timedelta(days=601))

    def _deliver_all(self) -> None:
        """Deliver until nothing waits, and what ended in the last round was reported."""
        idle_count = 0
        for _ in range(_QUIET_ROUNDS):
            self._step("deliver")
            self._step("threads")
            if self.process.service.worker.receivers.under_way():
                continue
            due_at = self.oracle.next_due()
            idle_count = 0 if due_at is not None else idle_count + 1
            if idle_count == 2:
                return
            wait = (due_at - self.machine.now()).total_seconds() if due_at is not None else 0
            self.time.advance(seconds=max(wait, 90))
            self._step("clock")
