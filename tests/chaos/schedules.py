"""Seeded schedules: records, faults, kills, clock steps and reloads, against the three steps on one store file.

While the steps run, the upstream may change the fields of its records, the store may be moved away, and the log, which
nobody reads, may be full.

A schedule is a function of its seed. `play` runs it step by step and returns the problems found. The truth of the emulator
decides what is right.
"""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, or_, select

from actionwatch.base import clock
from actionwatch.base.delivery import READDRESSED
from actionwatch.base.errors import StoreReplaced
from actionwatch.delivery import dead_letters
from actionwatch.delivery.attempt import Channel
from actionwatch.delivery.worker import DeliveryWorker
from actionwatch.emulator.log import Action
from actionwatch.instaclustr.kinds import KINDS as KNOWN_KINDS
from actionwatch.instaclustr.kinds import OWN_KINDS
from actionwatch.matching.matcher import RecordMatcher
from actionwatch.matching.operator_actions import OperatorActions
from actionwatch.matching.self_alerts import SelfAlertStore
from actionwatch.service.clock_watch import ClockWatch
from actionwatch.settings import RetryPolicy
from actionwatch.store import (
    backlog_progress,
    marks,
    polls,
    positions,
    receipts,
    receivers,
    record_counts,
    seal_checking,
    seals,
    self_alerts,
    unproved_windows,
    waits,
)
from actionwatch.store.outbox import DeliveryFilter
from actionwatch.store.positions import CORRELATED, MATCHED
from actionwatch.store.self_alerts import OpenSelfAlert
from actionwatch.store.tables import ALERT, ALERT_RECORD, DELIVERY, RECORD
from actionwatch.tail.health import UNREACHABLE_POLLS, SourceWatch
from actionwatch.tail.planning import LAG_LEAST
from actionwatch.tail.state import PollReport
from tests.builders import NOON, Clock
from tests.chaos.log_reader import StalledReader
from tests.chaos.machine import Hook, Machine
from tests.chaos.setups import Setup, plain, varied
from tests.integration.kit import KindEngine, PlainRenderer
from tests.simulation.killing import Killed, MortalDatabase
from tests.simulation.upstream_faults import CHANGES, NATURES, PASSING, UNCHANGING, UNCOUNTED
from tests.upstreams import HOOK, POLL, SOURCE, DirectClient, World, tail_of
from tests.waiting import wait_until

SEALED_AT_ONCE = 3  # rows: a run writes several seals
KINDS = ("BACKUP", "CREATE_CLUSTER", "INVITE_USER", "DELETE_CLUSTER", "DELETE_KAFKA_TOPIC", "ADD_NODE")
APPEARED = "Appeared between two pages"  # the name of records that the emulator adds during a walk
SWEEPS = (timedelta(minutes=30), timedelta(hours=2))
SWEPT_WITHIN = max(SWEEPS) / 10  # docs/proof.md, "The promise": the delay of the last sweep
VANISHING = "ADD_NODE"  # a kind with vanishing records, which can hide a late one for the reach of a sweep


@dataclass
class Tally:
    """The totals of all schedules."""

    schedules: int = 0
    kills: int = 0
    polls: int = 0
    proved: int = 0
    unproved: int = 0
    records: int = 0
    lost: int = 0
    doubled: int = 0
    repeated: int = 0
    """Records that were stored again because a field came, went and came again: `record_doubted` (docs/proof.md)."""
    stuck: int = 0
    silent: int = 0
    clock_steps: int = 0
    reloads: int = 0
    field_changes: int = 0
    stores_moved: int = 0
    lines_dropped: int = 0
    alerts: int = 0
    messages: int = 0
    receipts: int = 0
    states: set[str] = field(default_factory=set)
    """The states that messages were in before the end of a schedule."""

    def line(self) -> str:
        """Describe the totals in one line."""
        return (
            f"{self.schedules} schedules, {self.kills} kills, {self.clock_steps} steps of the clock, {self.reloads} reloads, "
            f"{self.field_changes} changes of fields, {self.stores_moved} stores moved away, "
            f"{self.lines_dropped} lines of the log dropped and reported, "
            f"{self.polls} polls ({self.proved} windows proved, {self.unproved} polls with unproved ones), "
            f"{self.records} records, {self.alerts} alerts, {self.messages} messages: "
            f"{self.repeated} stored again because a field came and went; "
            f"{self.lost} lost, {self.doubled} doubled, {self.stuck} stuck, {self.silent} silent; "
            f"{self.receipts} receipts recomputed from the records"
        )


class Schedule:
    """A schedule while it runs."""

    def __init__(self, seed: int, database: MortalDatabase, log: StalledReader, tally: Tally) -> None:
        self.seed = seed
        self.chance = random.Random(seed)
        self.tally = tally
        self.wrong: list[str] = []
        self.database = database
        database.renew()
        database.dies = self._dies
        self._log = log
        self._joined = contextlib.ExitStack()
        self.world = World(Clock(NOON + timedelta(microseconds=self.chance.randrange(0, 1_000_000, 250))))
        self.nature = self.chance.choice(NATURES)
        self._page_size = self.chance.choice((4, 7, 20, 1000))
        self._start = self.chance.choice(("now", timedelta(minutes=20), timedelta(hours=2)))
        self._overlap = timedelta(minutes=self.chance.choice((5, 15)))
        self._hooks: dict[str, Hook] = {}
        self._setup = varied(self.chance) if seed % 2 else plain()
        self._is_second_rule_steady = True
        self._steps_left = (
            2 if seed % 2 and "no_date" not in self.nature else 0
        )  # without its Date, our clock must be right
        self._was_stepped = False
        self._late: set[tuple[str, str]] = set()
        self._first_seen: dict[tuple[str, str, datetime], datetime] = {}
        self._promised: set[tuple[str, str, datetime]] = set()
        """What the sweeps must have found by now."""
        self._machine = Machine(self.world.clock)
        self._countdown = 0
        self._until_event = 0
        self._event: Callable[[], None] = self._change_fields
        """Happens at a commit or a request, when the count is at its end."""
        self._change_count = 0
        self._fields: tuple[str, ...] = ()
        """The changes of the fields of records that the upstream has begun."""
        self._passing: list[str] = []
        self._is_moved = False
        self._visible: Counter[tuple[str, str]] = Counter()
        self._is_proved = False
        self._is_repeated = False
        self._alert_ids: dict[str, str] = {}
        organisation = self.world.organisation
        account = organisation.inventory.add_account("payments")
        organisation.inventory.add_cluster("payments-prod", account=account)
        self._build()

    # -- the process

    def _build(self) -> None:
        """Start a new process on the store file."""
        machine, setup = self._machine, self._setup
        machine.restart()
        self._joined.enter_context(self.database.joined())
        self.self_alerts = SelfAlertStore(self.database, setup.addressing, machine)
        self.client = DirectClient(self.world.emulator, machine)
        self.client.before_request = self._may_die
        watch = SourceWatch(
            SOURCE, POLL, [*KNOWN_KINDS, *OWN_KINDS], self.client.reader, self.database, self.self_alerts, machine
        )
        self.tail = tail_of(
            self.database,
            self.client,
            machine,
            watch,
            page_size=self._page_size,
            start=self._start,
            overlap=self._overlap,
            sweeps=SWEEPS,
        )
        self.matcher = RecordMatcher(self.database, KindEngine(*setup.rules), setup.addressing, machine, batch_size=10)
        self.worker = self._worker()
        followers = [self.tail.follow_clock, self.worker.follow_clock]
        self.clock_watch = ClockWatch(machine.clock, self.database, self.self_alerts, followers, machine.elapsed)
        with self.database.read() as connection:
            alive_at = waits.read_last_alive(connection)
        if alive_at is not None and machine() - alive_at <= -clock.STEP:
            self._was_stepped = True  # back: even a process that starts afterwards detects it
        self.clock_watch.start()
        self.self_alerts.settle_removed([SOURCE], setup.names.values())

    def _worker(self) -> DeliveryWorker:
        retry = RetryPolicy(first=timedelta(seconds=1), give_up_after=timedelta(minutes=30))
        channels = [
            Channel(name, self._hook(name), (), retry=retry, concurrency=1, policy=policy)
            for name, policy in self._setup.policies.items()
        ]
        return DeliveryWorker(
            self.database,
            channels,
            PlainRenderer(),
            self.self_alerts,
            self._machine,
            jitter=lambda: 0.5,
            global_policy=self._setup.global_policy,
        )

    def _hook(self, name: str) -> Hook:
        return self._hooks.setdefault(name, Hook(random.Random(f"{self.seed} {name}")))

    def _dies(self) -> bool:
        if self._until_event > 0:
            self._until_event -= 1
            if not self._until_event:
                self._event()
        if self._countdown > 0:
            self._countdown -= 1
            return self._countdown == 0
        return False

    def _may_die(self) -> None:
        self.world.clock.advance(milliseconds=1)  # a record of one request is older than those of the next
        if self._dies():
            raise Killed

    def _restart(self) -> None:
        self._countdown = self._until_event = 0
        self.close()
        if self._is_moved:
            self._is_moved = False
            if not self.database.put_back():
                self.wrong.append("the file in the place of the store was written to")
        self._build()

    # -- the steps

    def play(self) -> list[str]:
        """Run it to its end. Return the problems found."""
        self.tally.schedules += 1
        self.world.faults.set(*self.nature)
        for _ in range(self.chance.randint(3, 7)):
            self._arrive()
            self._change_faults()
            self._advance(self.chance.choice((5, 30, 30, 30, 90, 400)))
            if self.seed % 2:
                self._disturb()
            self._run()
        self._settle()
        self._check()
        self.close()
        return [f"seed {self.seed} ({', '.join(self.nature) or 'plain'}): {text}" for text in self.wrong]

    def close(self) -> None:
        """End the process."""
        for worker in self.worker.receivers.by_name.values():
            worker.close()
        self._joined.close()
        self.database.close()

    def _arrive(self) -> None:
        for _ in range(self.chance.choice((0, 1, 2, 4, 8))):
            # Most are new; some are late, within the reach of the sweeps. These must not disappear before a sweep is due.
            is_late = self.chance.random() < 0.2
            kind = self.chance.choice([kind for kind in KINDS if not (is_late and kind == "ADD_NODE")])
            where: dict[str, Any] = (
                {"account": self.world.organisation.inventory.accounts[0]} if self.chance.random() < 0.7 else {}
            )
            ago = self.chance.uniform(25, 3000) if is_late else self.chance.uniform(0, 25)
            logged = self.world.log(kind, ago=ago, user_name=self.chance.choice(("eve", "bob")), **where)
            self._late |= {(logged.kind, logged.description)} if is_late else set()

    def _change_faults(self) -> None:
        self._passing = self.chance.sample(PASSING, self.chance.choice((0, 0, 1, 1, 2)))
        if any(nature.startswith("page_") for nature in self.nature):
            # With small pages in changing order and true twins, two walks may agree by chance, undetected.
            self._passing = [fault for fault in self._passing if not fault.startswith("order")]
        self._set_faults()

    def _set_faults(self) -> None:
        # Permanent faults are set again each time: their limits count from here, and the properties stay.
        lasting = [each for each in self.nature if each not in self._fields]
        begun = [each for each in self._fields if each not in self.nature]
        self.world.faults.set(*lasting, *begun, *self._passing)

    def _plan_event(self) -> None:
        """Choose what happens during the next run of the steps, and when, or that nothing does."""
        events = (self._change_fields, self._change_fields, self._move_store, self._fill_log, None, None, None, None)
        event = self.chance.choice(events)
        self._until_event = self.chance.randint(1, 40) if event else 0
        self._event = event or self._event

    def _change_fields(self) -> None:
        """Let the upstream begin or cease to send fields with its records, from the next response on."""
        if self.nature and self.nature[0].startswith(UNCHANGING):
            return
        self.tally.field_changes += 1
        self._change_count += 1
        self._fields = () if self._fields and self.chance.random() < 0.5 else self.chance.choice(CHANGES)
        self._set_faults()

    def _move_store(self) -> None:
        """Let an operator move the store away. The process must end; then the operator puts the right file back."""
        self.tally.stores_moved += 1
        self._is_moved = True
        self.database.move_away(self.chance)

    def _fill_log(self) -> None:
        """Let more be logged than can wait, because nobody reads the log."""
        self._log.fill()

    def _disturb(self) -> None:
        """Set the clock, reload another configuration, perform operator actions, or do nothing."""
        match self.chance.randrange(8):
            case 0 | 1 if self._steps_left:
                self._steps_left -= 1
                self._set_clock(self.chance.choice((-3600, 25 * 3600, -40, 40, -300, 90)))
            case 2 | 3:
                self._reload()
            case 4:
                for name in sorted(self._hooks):
                    self._hooks[name].is_down = self.chance.random() < 0.5
            case 5 | 6:
                self._decide()

    def _set_clock(self, seconds: int) -> None:
        self.tally.clock_steps += 1
        self._machine.step += timedelta(seconds=seconds)
        if (
            self.chance.random() < 0.5
        ):  # otherwise a poll or a kill comes first, and it cannot be distinguished from a stop
            self._watch_clock()

    def _watch_clock(self) -> None:
        is_stepped = self._machine.clock.step() != timedelta(0)
        self.clock_watch.run_once()
        self._was_stepped |= is_stepped

    def _reload(self) -> None:
        """Load another configuration, like the service on SIGHUP: a clean stop, and a start with it."""
        self._page_size = self.chance.choice((self._page_size, 4, 20))
        self._take_up(self._setup.changed(self.chance))

    def _take_up(self, setup: Setup) -> None:
        self.tally.reloads += 1
        before, self._setup = self._setup, setup
        self._is_second_rule_steady &= before.is_second_rule_on == self._setup.is_second_rule_on
        self._watch_clock()
        self._restart()

    def _note_states(self) -> None:
        """Note the states of messages before they end."""
        columns = DELIVERY.c.status, DELIVERY.c.awaits, DELIVERY.c.leased_until, DELIVERY.c.fallback_of
        with self.database.read() as connection:
            for status, awaits, leased_until, fallback_of in connection.execute(select(*columns)):
                self.tally.states |= {status, f"{status} {awaits}"}
                self.tally.states |= {"leased"} if leased_until else set()
                self.tally.states |= {"fallback"} if fallback_of else set()

    def _decide(self) -> None:
        """Acknowledge, resolve or silence an alert like an operator, or replay dead letters."""
        with self.database.read() as connection:
            known = connection.exec_driver_sql(
                "SELECT id FROM alert WHERE rule_name <> 'actionwatch_self' ORDER BY id"
            ).all()
        decision = self.chance.choice(("ack", "resolve", "silence", "retry", "readdress"))
        if decision in ("retry", "readdress"):
            now, names = self._machine(), list(self._setup.names.values())
            with self.database.write() as connection:
                if decision == "retry":
                    dead_letters.replay(connection, DeliveryFilter(), names, "sam", now)
                else:
                    dead_letters.readdress(connection, DeliveryFilter(), self._setup.names[HOOK], "sam", now)
        elif known:
            people = OperatorActions(self.database, self._setup.addressing, self._machine)
            people.act(decision, self.chance.choice(known)[0], "sam")

    def _advance(self, seconds: float) -> None:
        self.world.clock.advance(seconds=seconds)

    def _run(self) -> None:
        """Poll, match and deliver, perhaps with a kill at any point; then restart, and do it again."""
        self._countdown = self.chance.choice((0, self.chance.randint(1, 60)))
        self._plan_event()
        try:
            self._poll()
            self._watch_clock()
            self.matcher.run_once()
            if self.chance.random() < 0.5:
                self._deliver()
            self._seal(SEALED_AT_ONCE)
            self._check_in_place()
        except Killed:
            self.tally.kills += 1
            self._note_alerts()
            self._restart()
        except StoreReplaced as ended:
            self._note_end(ended)
            self._restart()
        self._countdown = self._until_event = 0

    def _check_in_place(self) -> None:
        """Look whether the store is in its place, like the service every second."""
        self.database.check_in_place()
        if self._is_moved:
            self._note_silent("the store was moved away")

    def _note_end(self, ended: StoreReplaced) -> None:
        """Check why the process ends, while others still read the store."""
        if not self._is_moved or str(self.database.path) not in str(ended):
            self.wrong.append(f"the process ended: {ended}")
        self._note_alerts()
        with contextlib.suppress(StoreReplaced), self.database.read(), self.database.read() as connection:
            self._compare(connection)  # by a new connection

    def _poll(self) -> PollReport:
        now = self.world.clock()
        visible = self.world.organisation.visible(now)
        known = self._marks()
        report = self.tail.run_once()
        # What disappears while the poll runs may have done so before it was shown.
        gone = {
            seen_as(one) for one in self.world.organisation.truth() if one.gone_at is not None and one.gone_at >= now
        }
        visible = [one for one in visible if seen_as(one) not in gone]
        self._check_in_place()
        self.tally.polls += 1
        if not report.error:
            # A record that disappears before a poll succeeds is not lost, nor is one later than the upstream's clock.
            reach = now - timedelta(seconds=45) if "clock:-40s" in self.nature else now
            found = seen(one for one in visible if one.at <= reach)
            # Without a proof, a walk may have received one record twice: equal records wait for it, and may vanish before.
            self._visible |= Counter(found.keys()) if report.unproved else found
        self._is_proved = not report.error and not report.unproved
        self.tally.proved += report.proved_count
        self.tally.unproved += bool(report.unproved)
        if not (report.error or report.unproved or report.proved_count):
            self.wrong.append("a poll neither proved nor reported anything")
        self._check_proof(known, now, visible)
        self._check_reports(report)
        self._note_promised(now, visible)
        return report

    def _note_promised(self, now: datetime, visible: Sequence[Action]) -> None:
        """Note what the sweeps of this poll must find: it appeared long enough ago, within their reach."""
        for one in visible:
            self._first_seen.setdefault((one.kind, one.description, one.at), now)
        with self.database.read() as connection:
            is_in_doubt = bool(unproved_windows.read(connection, SOURCE))  # reported as `window_unproved`
        if self._is_proved and not is_in_doubt:
            reach = self._reach()
            self._promised |= {
                (kind, description, at)
                for (kind, description, at), first_seen in self._first_seen.items()
                if kind != VANISHING and at >= reach and now - first_seen >= SWEPT_WITHIN
            }

    def _reach(self) -> datetime:
        """Return how far back the sweeps read."""
        known = self._marks() or marks_missing()
        return max(known.begins_at, known.mark - self._overlap - sum(SWEEPS, timedelta(0)))

    def _check_reports(self, report: PollReport) -> None:
        """Everything that the poll could not do must be reported by its end."""
        opened = self._opened_self_alerts()
        with self.database.read() as connection:
            failures = polls.read_all(connection)[SOURCE].failures
        labels = {each.trouble for each in opened}
        if failures >= UNREACHABLE_POLLS and not labels & {"key_refused", "upstream_unreachable"}:
            self._note_silent(f"{failures} polls failed: {report.error}")
        lag = self.world.clock() - (self._marks() or marks_missing()).proved_through if not report.error else POLL
        if lag > LAG_LEAST + timedelta(minutes=1) and "proof_lagging" not in labels:
            self._note_silent(f"proved through {lag} ago")

    def _note_silent(self, what: str) -> None:
        self.tally.silent += 1
        self.wrong.append(f"silent: {what}")

    def _opened_self_alerts(self) -> list[OpenSelfAlert]:
        with self.database.read() as connection:
            return self_alerts.read_all(connection)

    def _check_proof(self, known: marks.Marks | None, now: datetime, visible: Sequence[Action]) -> None:
        """Everything visible when the poll began, up to where it is proved, must be in the store."""
        moved = self._marks()
        if moved is None:
            return
        if known and (moved.proved_through < known.proved_through or moved.mark < known.mark):
            self.wrong.append("a mark went back")
        if moved.mark > max(moved.proved_through, moved.begins_at):
            self.wrong.append("the mark passed what is proved")
        if known and moved.proved_through == known.proved_through:
            return
        ended_at = self.world.clock()  # a poll of many requests takes seconds
        is_dated = not any(nature.startswith("no_date") for nature in self.nature)
        if is_dated and moved.proved_through > ended_at + timedelta(seconds=1):
            self.wrong.append("proved beyond the upstream's now")
        from_ = max(moved.begins_at, known.mark - self._overlap if known else moved.begins_at)
        waiting = self._left_to_sweeps(known, now) if known else lambda one: False
        missing = (
            seen(one for one in visible if from_ <= one.at < moved.proved_through and not waiting(one)) - self._stored()
        )
        if missing:
            self.wrong.append(f"proved through {moved.proved_through.isoformat()}, but missing {missing}")

    def _left_to_sweeps(self, known: marks.Marks, now: datetime) -> Callable[[Action], bool]:
        """Return whether an action appeared where it was proved before, and the sweep of the overlap has yet to find it.

        If counts are unusable, polls leave what they have read twice to this sweep. Windows that it cannot prove are reported.
        """
        if not any(each.startswith(UNCOUNTED) for each in self.nature):
            return lambda one: False
        with self.database.read() as connection:
            unproved = unproved_windows.read(connection, SOURCE)

        def is_left(one: Action) -> bool:
            first_seen = self._first_seen.get((one.kind, one.description, one.at), now)
            is_due = self._is_proved and now - first_seen >= self._overlap / 10
            is_reported = any(each.starts_at <= one.at <= each.ends_at for each in unproved)
            return one.at < known.proved_through and (is_reported or not is_due)

        return is_left

    def _deliver(self) -> None:
        self.worker.recover_if_due()
        for _ in range(3):
            # Finish everything in progress first, so that a seed gives the same run on every machine.
            wait_until(
                lambda: self.worker._inbox._arrived.qsize() >= self.worker.receivers.under_way(),
                "the receivers",
                pause=0.0005,
            )
            if not self.worker.run_once() and not self.worker.receivers.under_way():
                break

    def _seal(self, limit: int) -> None:
        """Seal what was written, in several transactions."""
        count = 1
        while count:
            with self.database.write() as connection:
                count = seals.seal_next(connection, self._machine(), limit)

    def _settle(self) -> None:
        """End all faults and continue: nothing may be left unfinished."""
        self._passing = []
        self._set_faults()
        for hook in self._hooks.values():
            hook.is_down = False
        self._note_states()
        if self.seed % 4 == 3:  # all at once: no row may wait for a removed part
            self._take_up(self._setup.renamed())
        for _ in range(2):
            self._advance(3600)  # late records appear; both sweeps are due
            self._arrive()
            self._advance(40)
            for _ in range(3):
                self._watch_clock()
                self._poll()
                self._advance(30)
            self.matcher.run_once()
        idle_count = 0
        for _ in range(240):
            self._deliver()
            if self.worker.receivers.under_way():
                continue
            is_unfinished = or_(DELIVERY.c.status == "pending", DELIVERY.c.awaits.is_not(None))
            with self.database.read() as connection:
                waiting = connection.execute(select(DELIVERY.c.id).where(is_unfinished)).first()
            idle_count = 0 if waiting else idle_count + 1
            if idle_count == 2:  # what ended in the previous run was evaluated and reported, too
                break
            self._advance(60)
            self._watch_clock()

    # -- the judge

    def _marks(self) -> marks.Marks | None:
        with self.database.read() as connection:
            return marks.read(connection, SOURCE)

    def _stored(self) -> Counter[tuple[str, str]]:
        with self.database.read() as connection:
            rows = connection.exec_driver_sql(
                "SELECT action_kind, description, COUNT(*) FROM record GROUP BY action_kind, description"
            ).all()
        return Counter({(row[0], row[1] or ""): row[2] for row in rows})

    def _check(self) -> None:
        held, truth = self._stored(), seen(self.world.organisation.truth())
        begins_at = (self._marks() or marks_missing()).begins_at
        now = self.world.clock()
        truth_since = [one for one in self.world.organisation.truth() if begins_at <= one.at <= now]
        wanted = self._visible & seen(one for one in truth_since if not self._is_beyond_sweeps(one))
        lost, doubled = wanted - held, held - truth
        self.tally.records += held.total()
        if self._change_count > 1 and doubled.total() == 1:
            self.tally.repeated += 1
            doubled.clear()
            self._is_repeated = True
        self.tally.doubled += doubled.total()
        if not self._is_proved:
            # Twins wait for a proved poll, which `proof_lagging` reports, and so do late records that no sweep must have found.
            waiting = self._late - {(kind, description) for kind, description, _ in self._promised}
            lost = Counter({one: n for one, n in lost.items() if one not in held and one not in waiting})
        self.tally.lost += lost.total()
        if lost:
            self.wrong.append(f"lost {lost}")
        if doubled:
            self.wrong.append(f"doubled {doubled}")
        self._check_vanished()
        self._check_log()
        self._check_receipts()
        self._check_counters()
        self._check_alerts(held)
        self._check_seals()
        self._seal(1000)
        self._check_seals()

    def _check_vanished(self) -> None:
        """Each stored record that vanished upstream must be marked and reported, within the reach of the sweeps.

        docs/proof.md promises nothing for records without a readable time, because no window shows that they vanished.

        """
        since, now = self._reach(), self.world.clock()
        gone = {seen_as(one) for one in self.world.organisation.truth() if one.gone_at is not None and one.at >= since}
        with self.database.read() as connection:
            rows = connection.execute(
                select(RECORD.c.action_kind, RECORD.c.description, RECORD.c.vanished_at, RECORD.c.is_time_readable)
            ).all()
        marked = [row for row in rows if row.vanished_at is not None]
        shown = Counter(
            (row.action_kind, row.description or "") for row in rows if row.vanished_at is None and row.is_time_readable
        )
        unmarked = shown - seen(self.world.organisation.visible(now))
        if self._is_proved and (missed := gone & unmarked.keys()):
            self._note_silent(f"vanished: {missed}")
        is_reported = any(each.trouble == "window_shrunk" for each in self._opened_self_alerts())
        if marked and not is_reported:
            self._note_silent("records that are marked as vanished")
        if is_reported and not self._is_repeated and not any(one.gone_at for one in self.world.organisation.truth()):
            self.wrong.append("window_shrunk is reported, but nothing has vanished")

    def _check_log(self) -> None:
        """Everything that found no room in the log must be counted there as soon as somebody reads it."""
        known = self._log.reported_count
        self._log.read_all()
        self.tally.lines_dropped += self._log.reported_count - known
        if self._log.reported_count != self._log.dropped_count:
            self._note_silent(f"{self._log.dropped_count} lines dropped, {self._log.reported_count} reported")

    def _is_beyond_sweeps(self, action: Action) -> bool:
        """Return whether an action appeared in the first window, and was left behind by the sweeps before they were due."""
        is_promised = (action.kind, action.description, action.at) in self._promised
        is_behind = self._start == max(SWEEPS) and action.at < self._reach()
        return action.description == APPEARED and is_behind and not is_promised

    def _check_receipts(self) -> None:
        with self.database.read() as connection:
            found = list(receipts.stream(connection, SOURCE))
            again = [receipts.recompute(connection, receipt) for receipt in found]
        self.tally.receipts += len(found)
        for receipt, one in zip(found, again, strict=True):
            if receipt.record_count != sum(receipt.kind_counts.values()):
                self.wrong.append("a receipt's kinds do not make its count")
            if receipt.digest != one.digest:
                self.wrong.append(
                    f"the receipt of {receipt.starts_at.isoformat()} to {receipt.ends_at.isoformat()}, judged at "
                    f"{receipt.judged_at.isoformat()}, counts {receipt.record_count} records, the store {one.record_count}"
                )

    def _check_counters(self) -> None:
        """The counters must be the numbers of rows, and the ids must have no gap: nothing is deleted here."""
        with self.database.read() as connection:
            rows = connection.execute(select(RECORD.c.id, RECORD.c.source)).all()
            counted = record_counts.count_by_source(connection)
            handled = {step: positions.read_handled(connection, step) for step in (MATCHED, CORRELATED)}
            through = {step: positions.read(connection, step) for step in (MATCHED, CORRELATED)}
        if counted != Counter(row.source for row in rows) or {row.id for row in rows} != set(range(1, len(rows) + 1)):
            self.wrong.append(f"{len(rows)} rows, but {counted} are counted, or the ids have gaps")
        if handled != through:
            self.wrong.append(f"the positions are {through}, but {handled} records are counted as handled")

    def _check_seals(self) -> None:
        """All rows agree with the chain of seals, as far as they are sealed."""
        with self.database.read() as connection:
            found = seal_checking.check(connection)
        self.wrong += [f"seals: {each}" for each in found.differences]

    def _note_alerts(self) -> None:
        """Note which record opened which committed alert: this must never change."""
        with self.database.read() as connection:
            self._compare(connection)

    def _compare(self, connection: Connection) -> None:
        rows = connection.exec_driver_sql(
            "SELECT alert.rule_id, alert_record.record_id, alert_record.alert_id "
            "FROM alert_record JOIN alert ON alert.id = alert_record.alert_id"
        ).all()
        for rule, record, alert in rows:
            if self._alert_ids.setdefault(f"{rule} {record}", alert) != alert:
                self.wrong.append(f"record {record} moved to another alert")

    def _check_alerts(self, held: Counter[tuple[str, str]]) -> None:
        with self.database.read() as connection:
            self._compare(connection)
            joined = connection.execute(
                select(ALERT.c.rule_name, ALERT_RECORD.c.record_id).join(
                    ALERT_RECORD, ALERT_RECORD.c.alert_id == ALERT.c.id
                )
            ).all()
            live = connection.exec_driver_sql("SELECT id, action_kind FROM record WHERE NOT is_backlog").all()
            rows = connection.execute(select(DELIVERY)).all()
            alerts = connection.execute(select(ALERT.c.id, ALERT.c.labels)).all()
            known = receivers.read_all(connection)
            backlogs = backlog_progress.read_all(connection)
        self.tally.alerts += len(alerts)
        self.tally.messages += sum(row.status == "sent" for row in rows)
        matched = Counter((row.rule_name, row.record_id) for row in joined)
        wanted = Counter((rule.name, row.id) for row in live for rule in Setup().rules if rule.kind == row.action_kind)
        missed = wanted - matched
        if not self._is_second_rule_steady:
            missed = Counter({found: count for found, count in missed.items() if found[0] == "cluster_deleted"})
        if matched - wanted or missed:
            self.wrong.append(f"matched {matched - wanted} too often, {missed} too seldom")
        self._check_rows(rows, {row.id for row in alerts})
        self._check_self_alerts(rows)
        if self._was_stepped and not any("clock_stepped" in row.labels.values() for row in alerts):
            self._note_silent("the clock was set")
        if unknown := known.keys() - set(self._setup.names.values()):
            self._note_stuck(f"the health of {unknown}")
        if backlogs:
            self._note_stuck(f"the progress of {backlogs.keys()}")

    def _check_rows(self, rows: Sequence[Any], alert_ids: set[str]) -> None:
        """Each message must end, and each that a gate stopped must be in a summary that ends."""
        by_id = {row.id: row for row in rows}
        for row in rows:
            reported = by_id.get(row.reported_in)
            if row.status == "pending" or row.awaits or row.leased_until:
                self._note_stuck(
                    f"{row.receiver} {row.event} {row.status}, due {row.due_at}, awaits {row.awaits}: {row.why}"
                )
            if row.status in ("held", "collapsed") and (reported is None or reported.status not in ("sent", "dead")):
                self._note_stuck(f"{row.receiver} {row.event} {row.status} in the summary {reported}")
            if row.status == "sent" and row.id not in {message.id for message in self._hook(row.receiver).taken}:
                self.wrong.append("a delivery counts as sent that never was")
        # A fallback delivery, or a message that an operator sent elsewhere, is one more, and names the one that it replaces.
        firsts = [row for row in rows if row.event == "opened" and row.status == "sent"]
        opened = Counter((row.alert_id, row.receiver, row.fallback_of, row.ref) for row in firsts)
        doubled = [place[:2] for place, count in opened.items() if count > 1]
        self.tally.doubled += len(doubled)
        self.wrong += [f"alert {alert} was opened more than once at {name}" for alert, name in doubled]
        unaddressed = alert_ids - {row.alert_id for row in rows}
        self.tally.lost += len(unaddressed)
        self.wrong += [f"alert {alert} has no message" for alert in unaddressed]

    def _check_self_alerts(self, rows: Sequence[Any]) -> None:
        """Each dead letter must be reported, and each report must be about something that exists."""
        opened = {(each.trouble, each.subject) for each in self._opened_self_alerts()}
        dead = {row.receiver for row in rows if row.status == "dead" and row.why != READDRESSED}
        for name in dead:
            if ("dead_letters", name) not in opened:
                self._note_silent(f"dead letters of {name}")
        subjects = {SOURCE, *self._setup.names.values()}
        for trouble, subject in opened:
            is_owned = subject in dead if trouble == "dead_letters" else subject in subjects
            if not is_owned:
                self._note_stuck(f"the self-alert {trouble} of {subject}")

    def _note_stuck(self, what: str) -> None:
        self.tally.stuck += 1
        self.wrong.append(f"stuck: {what}")


def seen(actions: Iterable[Action]) -> Counter[tuple[str, str]]:
    """Count actions by what identifies them."""
    return Counter(map(seen_as, actions))


def seen_as(action: Action) -> tuple[str, str]:
    """Return what identifies an action."""
    return action.kind, action.description


def marks_missing() -> marks.Marks:
    """Fail, because a tail that polled has marks."""
    raise AssertionError("there are no marks")


def play(seed: int, database: MortalDatabase, log: StalledReader, tally: Tally) -> list[str]:
    """Play the schedule of a seed; give what went wrong."""
    return Schedule(seed, database, log, tally).play()
