"""Seeded schedules: arrivals, faults and kills in any order, against a tail, a matcher and a deliverer on one store file.

A schedule is a function of its seed. `play` runs it step by step and gives what went wrong, in words; the emulator's ground
truth is the judge.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select

from actionwatch.base.errors import PermanentDeliveryError, TransientDeliveryError
from actionwatch.base.model import Message, Receipt, Rendered
from actionwatch.delivery.receiver_worker import Channel
from actionwatch.delivery.retry import RetryPolicy
from actionwatch.delivery.worker import DeliveryWorker
from actionwatch.emulator.log import Action
from actionwatch.matching.matcher import Matcher
from actionwatch.matching.self_alerts import SelfAlertStore
from actionwatch.store import marks, receipts
from actionwatch.store.tables import ALERT, DELIVERY, JOINED
from actionwatch.tail.window_scan import PollReport
from tests.builders import NOON, Clock
from tests.chaos.killing import Killed, MortalDatabase
from tests.integration.pipeline.kit import KindEngine, KindRule, PlainRenderer
from tests.upstreams import HOOK, SOURCE, DirectClient, World, addressing, self_watch, tail_of

KINDS = ("BACKUP", "CREATE_CLUSTER", "INVITE_USER", "DELETE_CLUSTER", "DELETE_KAFKA_TOPIC", "ADD_NODE")
RULES = (
    KindRule("DELETE_CLUSTER", "cluster_deleted"),
    KindRule("DELETE_KAFKA_TOPIC", "topics_deleted", realert=timedelta(minutes=15)),
)

# How the upstream is, all along: what changes while it runs would make the same action look like another.
NATURES: tuple[tuple[str, ...], ...] = (
    (),
    (),
    ("order:ascending",),
    ("order:shuffled",),
    ("order:reshuffled",),
    ("order:ties",),
    ("total:absent",),
    ("total:absent", "counts:absent"),
    ("total:page", "counts:page"),
    ("total:zero",),
    ("total:string",),
    ("total:fewer",),
    ("total:fewer", "counts:absent"),
    ("total:more",),
    ("counts:more",),
    ("counts:fewer",),
    ("counts:absent",),
    ("counts:page",),
    ("total:absent", "counts:more"),
    ("bounds:exclusive",),
    ("bounds:exclusive_start",),
    ("bounds:exclusive_end",),
    ("bounds_truncated",),
    ("bounds_truncated:1m",),
    ("bounds_truncated:1m", "bounds:exclusive"),
    ("bounds_truncated:1h",),
    ("times_ignored:both",),
    ("times_ignored:start",),
    ("times_ignored:end",),
    ("page_clamped:3",),
    ("page_clamped:3", "total:absent", "counts:absent"),
    ("page_size_ignored",),
    ("page_size_ignored", "total:absent", "counts:absent"),
    ("filter_ignored:all", "total:absent", "counts:absent"),
    ("filter_ignored:accountLogsOnly", "total:absent", "counts:absent"),
    ("id",),
    ("id_repeated:3",),
    ("account:id_only",),
    ("nulls_dropped",),
    ("time_form:ms",),
    ("time_form:iso_sydney",),
    ("time_name:absent",),
    ("envelope:records",),
    ("envelope:several",),
    ("envelope:empty_list",),
    ("resources:absent_when_empty",),
    ("no_date",),
    ("clock:-40s",),
)
# What comes and goes.
PASSING = (
    "error:503,times=3",
    "error:500,every=3",
    "rate_limited:times=2",
    "gateway_page:times=4",
    "unauthorised:times=3",
    "forbidden:times=2",
    "wrong_answer:half,times=2",
    "wrong_answer:empty,every=4",
    "redirect:times=2",
    "truncated:length,every=3",
    "reset:body,every=2",
    "dropped:times=3",
    "gzip:cut,times=2",
    "index_ignored:times=5",
    "appear:1,before,times=1",
    "appear:1,inside,times=2",
    "appear:2,before,every=2",
    "appear:1,after,times=3",
    "appear:1,before,2",
    "appear:2,now",
    "late:20s,3m",
    "late:2s,40s",
    "late:20m,50m",
    "twins:2",
    "twins:3",
    "coarse_time:1s",
    "coarse_time:10s",
    "page_clamped:2,every=3",
    "order:reshuffled,every=2",
    "vanish:0s,kind=ADD_NODE,times=2",
)
SWEEPS = (timedelta(minutes=30), timedelta(hours=2))


@dataclass
class Tally:
    """What all schedules did together."""

    schedules: int = 0
    kills: int = 0
    polls: int = 0
    proved: int = 0
    unproved: int = 0
    records: int = 0
    lost: int = 0
    doubled: int = 0
    alerts: int = 0
    receipts: int = 0

    def line(self) -> str:
        """Say it in one line."""
        return (
            f"{self.schedules} schedules, {self.kills} kills, {self.polls} polls ({self.proved} windows proved, "
            f"{self.unproved} polls with unproved ones, all told), {self.records} records, {self.alerts} alerts: "
            f"{self.lost} lost, {self.doubled} doubled; {self.receipts} receipts made anew from the records"
        )


@dataclass
class Hook:
    """A receiver that outlives every process; some messages fail, by chance and by name."""

    chance: random.Random
    taken: list[Message] = field(default_factory=list)

    def send(self, message: Message, rendered: Rendered, reference: str | None) -> Receipt:
        """Take it, or not."""
        draw = self.chance.random()
        if draw < 0.1:
            raise TransientDeliveryError("503")
        if draw < 0.12:
            raise PermanentDeliveryError("400")
        self.taken.append(message)
        return Receipt()

    def close(self) -> None:
        """Nothing to close."""


class Schedule:
    """One schedule while it is played."""

    def __init__(self, seed: int, database: MortalDatabase, tally: Tally) -> None:
        self.seed = seed
        self.chance = random.Random(seed)
        self.tally = tally
        self.wrong: list[str] = []
        self.database = database
        database.renew()
        database.dies = self._dies
        self.world = World(Clock(NOON + timedelta(microseconds=self.chance.randrange(0, 1_000_000, 250))))
        self.nature = self.chance.choice(NATURES)
        self._page_size = self.chance.choice((4, 7, 20, 1000))
        self._start = self.chance.choice(("now", timedelta(minutes=20), timedelta(hours=2)))
        self._overlap = timedelta(minutes=self.chance.choice((5, 15)))
        self._hook = Hook(random.Random(seed))
        self._countdown = 0
        self._visible: Counter[tuple[str, str]] = Counter()
        self._is_proved = False
        self._alert_ids: dict[str, str] = {}
        organisation = self.world.organisation
        account = organisation.add_account("payments")
        organisation.add_cluster("payments-prod", account=account)
        self._build()

    # -- the process

    def _build(self) -> None:
        """Start the process anew from the store file."""
        clock = self.world.clock
        self.client = DirectClient(self.world.emulator, clock)
        self.client.before_request = self._may_die
        self.tail = tail_of(
            self.database,
            self.client,
            clock,
            self_watch(self.database, self.client, clock),
            page_size=self._page_size,
            start=self._start,
            overlap=self._overlap,
            sweeps=SWEEPS,
        )
        self.matcher = Matcher(self.database, KindEngine(*RULES), addressing(), clock, batch_size=10)
        self.deliverer = self._deliverer()

    def _deliverer(self) -> DeliveryWorker:
        retry = RetryPolicy(first=timedelta(seconds=1), give_up_after=timedelta(minutes=30))
        channel = Channel(HOOK, self._hook, (), retry=retry, concurrency=1)
        return DeliveryWorker(
            self.database,
            [channel],
            PlainRenderer(),
            SelfAlertStore(self.database, addressing(), self.world.clock),
            self.world.clock,
            jitter=lambda: 0.5,
        )

    def _dies(self) -> bool:
        if self._countdown > 0:
            self._countdown -= 1
            return self._countdown == 0
        return False

    def _may_die(self) -> None:
        self.world.clock.advance(milliseconds=1)  # what is seen by one request is older than what the next one brings
        if self._dies():
            raise Killed

    def _bury(self) -> None:
        self.tally.kills += 1
        self._countdown = 0
        for worker in self.deliverer._workers.values():
            worker.close()
        self.database.close()
        self._build()

    # -- the steps

    def play(self) -> list[str]:
        """Play it to its end; give what went wrong."""
        self.tally.schedules += 1
        self.world.faults.set(*self.nature)
        for _ in range(self.chance.randint(3, 7)):
            self._arrive()
            self._change_faults()
            self._advance(self.chance.choice((5, 30, 30, 30, 90, 400)))
            self._run()
        self._settle()
        self._judge()
        self.close()
        return [f"seed {self.seed} ({', '.join(self.nature) or 'plain'}): {text}" for text in self.wrong]

    def close(self) -> None:
        """End the process."""
        for worker in self.deliverer._workers.values():
            worker.close()
        self.database.close()

    def _arrive(self) -> None:
        for _ in range(self.chance.choice((0, 1, 2, 4, 8))):
            kind = self.chance.choice(KINDS)
            where: dict[str, Any] = (
                {"account": self.world.organisation.accounts[0].named} if self.chance.random() < 0.7 else {}
            )
            self.world.log(kind, ago=self.chance.uniform(0, 25), user_name=self.chance.choice(("eve", "bob")), **where)

    def _change_faults(self) -> None:
        passing = self.chance.sample(PASSING, self.chance.choice((0, 0, 1, 1, 2)))
        if any(nature.startswith("page_") for nature in self.nature):
            # Small pages in another order each time and true twins: two walks may agree by chance, and nothing tells.
            passing = [fault for fault in passing if not fault.startswith("order")]
        # What does not pass is set anew each time: its limits count from here, and the nature plays on.
        self.world.faults.set(*self.nature, *passing)

    def _advance(self, seconds: float) -> None:
        self.world.clock.advance(seconds=seconds)

    def _run(self) -> None:
        """Poll, match and deliver, perhaps to be killed anywhere; then a restart, and once more."""
        self._countdown = self.chance.choice((0, self.chance.randint(1, 60)))
        try:
            self._poll()
            self.matcher.run_once()
            if self.chance.random() < 0.5:
                self._deliver()
        except Killed:
            self._note_alerts()
            self._bury()
        self._countdown = 0

    def _poll(self) -> PollReport:
        now = self.world.clock()
        visible = self.world.organisation.visible(now)
        known = self._marks()
        report = self.tail.run_once()
        self.tally.polls += 1
        if not report.error:
            # What disappears before any poll got through to it is nobody's loss; nor what is later than the upstream's clock.
            reach = now - timedelta(seconds=45) if "clock:-40s" in self.nature else now
            self._visible |= seen(one for one in visible if one.at <= reach)
        self._is_proved = not report.error and not report.unproved
        self.tally.proved += report.proved_count
        self.tally.unproved += bool(report.unproved)
        if not (report.error or report.unproved or report.proved_count):
            self.wrong.append("a poll neither proved nor told")
        self._check_proof(known, now, visible)
        return report

    def _check_proof(self, known: marks.Marks | None, now: datetime, visible: Sequence[Action]) -> None:
        """What was visible when the poll began, up to where it claims to be complete, must be in the store."""
        moved = self._marks()
        if moved is None:
            return
        if known and (moved.proved_through < known.proved_through or moved.mark < known.mark):
            self.wrong.append("a mark went back")
        if moved.mark > max(moved.proved_through, moved.begins_at):
            self.wrong.append("the mark passed what is proved")
        if known and moved.proved_through == known.proved_through:
            return
        if not any(nature.startswith("no_date") for nature in self.nature) and moved.proved_through > now + timedelta(
            seconds=1
        ):
            self.wrong.append("proved beyond the upstream's now")
        from_ = max(moved.begins_at, known.mark - self._overlap if known else moved.begins_at)
        missing = seen(one for one in visible if from_ <= one.at < moved.proved_through) - self._stored()
        if missing:
            self.wrong.append(f"proved through {moved.proved_through.isoformat()}, but missing {missing}")

    def _deliver(self) -> None:
        if not self.deliverer._is_alone:
            self.deliverer.recover()
        for _ in range(3):
            if (
                not self.deliverer.run_once(0.05 if self.deliverer.under_way() else 0.0)
                and not self.deliverer.under_way()
            ):
                break

    def _settle(self) -> None:
        """Let everything pass and run on in peace: nothing may be left behind."""
        self.world.faults.set(*self.nature)
        for _ in range(2):
            self._advance(3600)  # late ones show; both sweeps are due
            self._arrive()
            self._advance(40)
            for _ in range(3):
                self._poll()
                self._advance(30)
            self.matcher.run_once()
        for _ in range(60):
            self._deliver()
            if self.deliverer.under_way():
                continue
            self._advance(60)
            with self.database.read() as connection:
                waiting = connection.execute(select(DELIVERY.c.id).where(DELIVERY.c.status == "pending")).first()
            if waiting is None:
                break

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

    def _judge(self) -> None:
        held, truth = self._stored(), seen(self.world.organisation.truth())
        begins_at = (self._marks() or marks_missing()).begins_at
        now = self.world.clock()
        wanted = self._visible & seen(one for one in self.world.organisation.truth() if begins_at <= one.at <= now)
        lost, doubled = wanted - held, held - truth
        self.tally.records += held.total()
        self.tally.doubled += doubled.total()
        if not self._is_proved:
            lost = Counter({one: n for one, n in lost.items() if one not in held})  # twins wait for a walk that counts
        self.tally.lost += lost.total()
        if lost:
            self.wrong.append(f"lost {lost}")
        if doubled:
            self.wrong.append(f"doubled {doubled}")
        self._judge_receipts()
        self._judge_alerts(held)

    def _judge_receipts(self) -> None:
        with self.database.read() as connection:
            found = receipts.read(connection, SOURCE, 1000)
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

    def _note_alerts(self) -> None:
        """Remember which record opened which alert, as committed so far: it may never become another."""
        with self.database.read() as connection:
            self._compare(connection)

    def _compare(self, connection: Connection) -> None:
        rows = connection.exec_driver_sql(
            "SELECT alert.rule_id, joined.record_id, joined.alert_id FROM joined JOIN alert ON alert.id = joined.alert_id"
        ).all()
        for rule, record, alert in rows:
            if self._alert_ids.setdefault(f"{rule} {record}", alert) != alert:
                self.wrong.append(f"record {record} moved to another alert")

    def _judge_alerts(self, held: Counter[tuple[str, str]]) -> None:
        with self.database.read() as connection:
            self._compare(connection)
            joined = connection.execute(
                select(ALERT.c.rule_name, JOINED.c.record_id).join(JOINED, JOINED.c.alert_id == ALERT.c.id)
            ).all()
            live = connection.exec_driver_sql("SELECT id, action_kind FROM record WHERE NOT is_backlog").all()
            statuses = connection.execute(
                select(DELIVERY.c.id, DELIVERY.c.status, DELIVERY.c.event, DELIVERY.c.alert_id)
            ).all()
            alerts = connection.execute(select(ALERT.c.id, ALERT.c.match_count, ALERT.c.rule_name)).all()
        self.tally.alerts += len(alerts)
        matched = Counter((row.rule_name, row.record_id) for row in joined)
        wanted = Counter((rule.name, row.id) for row in live for rule in RULES if rule.kind == row.action_kind)
        if matched != wanted:
            self.wrong.append(f"matched {matched - wanted} too often, {wanted - matched} too seldom")
        unfinished = [row for row in statuses if row.status == "pending"]
        if unfinished:
            self.wrong.append(f"{len(unfinished)} deliveries did not end: {unfinished[:3]}")
        opened = Counter(row.alert_id for row in statuses if row.event == "opened" and row.status == "sent")
        for row in alerts:
            if opened[row.id] > 1:
                self.wrong.append(f"alert {row.id} was opened {opened[row.id]} times")
        sent = {row.id for row in statuses if row.status == "sent"}
        taken = {message.id for message in self._hook.taken}
        if not sent <= taken:
            self.wrong.append("a delivery counts as sent that never was")


def seen(actions: Iterable[Action]) -> Counter[tuple[str, str]]:
    """Count actions by what tells them apart."""
    return Counter((action.kind, action.description) for action in actions)


def marks_missing() -> marks.Marks:
    """Fail: a tail that polled has marks."""
    raise AssertionError("there are no marks")


def play(seed: int, database: MortalDatabase, tally: Tally) -> list[str]:
    """Play the schedule of a seed; give what went wrong."""
    return Schedule(seed, database, tally).play()
