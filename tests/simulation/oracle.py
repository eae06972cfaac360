"""What must hold after every poll and at the end of a schedule: nothing lost, doubled, stuck, silent or proved wrongly.

The log of the emulated upstream and what the receivers took are the truth; the oracle compares the store with them. It uses no
code of the steps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, or_, select

from actionwatch.base import clock
from actionwatch.base.delivery import READDRESSED
from actionwatch.emulator.log import Action
from actionwatch.store import (
    backlog_progress,
    marks,
    polls,
    positions,
    receipts,
    receivers,
    record_counts,
    seal_checking,
    self_alerts,
    unproved_windows,
    waits,
)
from actionwatch.store.database import Database
from actionwatch.store.positions import CORRELATED, MATCHED
from actionwatch.store.self_alerts import OpenSelfAlert
from actionwatch.store.tables import ALERT, ALERT_RECORD, DELIVERY, RECORD
from actionwatch.tail.health import UNREACHABLE_POLLS
from actionwatch.tail.planning import LAG_LEAST
from actionwatch.tail.state import PollReport
from tests.simulation.network import Receiver
from tests.simulation.plan import Schedule
from tests.simulation.site import RULES, Setup
from tests.simulation.upstream_faults import UNCOUNTED
from tests.upstreams import World

APPEARED = "Appeared between two pages"  # the name of records that the emulator adds during a walk
SWEEPS = (timedelta(minutes=30), timedelta(hours=2))
SWEPT_WITHIN = max(SWEEPS) / 10  # docs/proof.md, "The promise": the delay of the last sweep
VANISHING = "ADD_NODE"  # a kind with vanishing records, which can hide a late one for the reach of a sweep
POLL = timedelta(seconds=30)

Seen = tuple[str, str]
"""What identifies an action: its kind and its description."""


@dataclass
class Tally:
    """The totals of all schedules."""

    schedules: int = 0
    kills: int = 0
    failed_commits: int = 0
    polls: int = 0
    proved: int = 0
    unproved: int = 0
    records: int = 0
    repeated: int = 0
    """Records that were stored again because a field came, went and came again: `record_doubted` (docs/proof.md)."""
    alerts: int = 0
    messages: int = 0
    receipts: int = 0
    clock_steps: int = 0
    reloads: int = 0
    field_changes: int = 0
    stores_moved: int = 0
    states: set[str] = field(default_factory=set)
    """The states that messages were in before the end of a schedule."""

    def add(self, other: Tally) -> None:
        """Add the totals of other schedules."""
        for name, value in vars(other).items():
            setattr(self, name, value | self.states if name == "states" else getattr(self, name) + value)

    def line(self) -> str:
        """Describe the totals in one line."""
        named = (f"{count} {name.replace('_', ' ')}" for name, count in vars(self).items() if name != "states")
        return ", ".join(named)


class Oracle:
    """The judge of one schedule."""

    def __init__(self, world: World, database: Database, schedule: Schedule, tally: Tally) -> None:
        self.wrong: list[str] = []
        self.tally = tally
        self.late: set[Seen] = set()
        self.clock_steps = 0
        self.change_count = 0
        """How often the fields of records have changed."""
        self._world = world
        self._database = database
        self._nature = schedule.nature
        self._overlap = timedelta(minutes=int(schedule.setup.overlap.rstrip("m")))
        self._starts_with_sweeps = schedule.setup.start == "2h"
        self._setup = schedule.setup
        self._rules_always_on = set(RULES)
        self._was_stepped = False
        self._is_proved = False
        self._is_repeated = False
        self._visible: Counter[Seen] = Counter()
        """What successful polls must have stored."""
        self._first_seen: dict[tuple[str, str, datetime], datetime] = {}
        self._promised: set[tuple[str, str, datetime]] = set()
        """What the sweeps must have found by now."""
        self._alert_ids: dict[str, str] = {}
        self._begins_at: datetime | None = None
        """Where the source began first, whatever its name was."""
        self._settled_from = 0
        """How many actions there were when all faults ended."""
        self._before: tuple[datetime, list[Action], marks.Marks | None]

    # -- while it runs

    def note_start(self, setup: Setup, machine_now: datetime) -> None:
        """Note the configuration of the process that starts now, and whether it can see that the clock was set back."""
        self._setup = setup
        self._rules_always_on &= set(setup.rules)
        with self._database.read() as connection:
            alive_at = waits.read_last_alive(connection)
        if alive_at is not None and machine_now - alive_at <= -clock.STEP:
            self._was_stepped = True

    def note_step(self) -> None:
        """Note that a process has seen a step of the clock."""
        self._was_stepped = True

    def before_poll(self) -> None:
        """Note what the upstream shows, and what is proved."""
        now = self._world.clock()
        self._before = now, self._world.organisation.visible(now), self._marks()

    def after_poll(self, report: PollReport) -> None:
        """Compare a poll that ended with what the upstream showed when it began."""
        now, visible, known = self._before
        # What disappears while the poll runs may have done so before it was shown.
        truth = self._world.organisation.truth()
        gone = {seen_as(one) for one in truth if one.gone_at is not None and one.gone_at >= now}
        visible = [one for one in visible if seen_as(one) not in gone]
        self.tally.polls += 1
        self.tally.proved += report.proved_count
        self.tally.unproved += bool(report.unproved)
        if not report.error:
            # A record that disappears before a poll succeeds is not lost, nor is one later than the upstream's clock.
            reach = now - timedelta(seconds=45) if "clock:-40s" in self._nature else now
            found = seen(one for one in visible if one.at <= reach)
            # Without a proof, a walk may have received one record twice: equal records wait for it, and may vanish before.
            self._visible |= Counter(found.keys()) if report.unproved else found
        self._is_proved = not report.error and not report.unproved
        if not (report.error or report.unproved or report.proved_count):
            self.wrong.append("a poll neither proved nor reported anything")
        self._check_proof(known, now, visible)
        self._check_reports(report)
        self._note_promised(now, visible)

    def note_alerts(self) -> None:
        """Note which record opened which committed alert, when a process has died: this must never change."""
        with self._database.read() as connection:
            self._compare(connection)

    def note_silent(self, what: str) -> None:
        """Note that something was not reported."""
        self.wrong.append(f"silent: {what}")

    def alert_ids(self) -> list[str]:
        """Return the alerts about records."""
        wanted = select(ALERT.c.id).where(ALERT.c.rule_name != "actionwatch_self").order_by(ALERT.c.id)
        with self._database.read() as connection:
            return list(connection.execute(wanted).scalars())

    def note_end(self) -> None:
        """Note that all faults end now: the states of messages before they end, and which actions follow."""
        self._settled_from = len(self._world.organisation)
        columns = DELIVERY.c.status, DELIVERY.c.awaits, DELIVERY.c.leased_until, DELIVERY.c.fallback_of
        with self._database.read() as connection:
            for status, awaits, leased_until, fallback_of in connection.execute(select(*columns)):
                self.tally.states |= {status, f"{status} {awaits}"}
                self.tally.states |= {"leased"} if leased_until else set()
                self.tally.states |= {"fallback"} if fallback_of else set()

    def is_unfinished(self) -> bool:
        """Return whether a message has not ended."""
        waiting = or_(DELIVERY.c.status == "pending", DELIVERY.c.awaits.is_not(None))
        with self._database.read() as connection:
            return connection.execute(select(DELIVERY.c.id).where(waiting)).first() is not None

    # -- after a poll

    def _note_promised(self, now: datetime, visible: Sequence[Action]) -> None:
        """Note what the sweeps of this poll must find: it appeared long enough ago, within their reach."""
        for one in visible:
            self._first_seen.setdefault((one.kind, one.description, one.at), now)
        with self._database.read() as connection:
            is_in_doubt = bool(unproved_windows.read(connection, self._setup.source))  # reported: `window_unproved`
        if self._is_proved and not is_in_doubt:
            reach = self._reach()
            self._promised |= {
                (kind, description, at)
                for (kind, description, at), first_seen in self._first_seen.items()
                if kind != VANISHING and at >= reach and now - first_seen >= SWEPT_WITHIN
            }

    def _reach(self) -> datetime:
        """Return how far back the sweeps read."""
        known = self._known_marks()
        return max(known.begins_at, known.mark - self._overlap - sum(SWEEPS, timedelta(0)))

    def _check_reports(self, report: PollReport) -> None:
        """Everything that the poll could not do must be reported by its end."""
        with self._database.read() as connection:
            poll = polls.read_all(connection).get(self._setup.source)
        failures = poll.failures if poll is not None else 0  # the commit that notes it may have failed
        labels = {each.trouble for each in self._opened_self_alerts()}
        if failures >= UNREACHABLE_POLLS and not labels & {"key_refused", "upstream_unreachable"}:
            self.note_silent(f"{failures} polls failed: {report.error}")
        lag = self._world.clock() - self._known_marks().proved_through if not report.error else POLL
        if lag > LAG_LEAST + timedelta(minutes=1) and "proof_lagging" not in labels:
            self.note_silent(f"proved through {lag} ago")

    def _check_proof(self, known: marks.Marks | None, now: datetime, visible: Sequence[Action]) -> None:
        """Everything visible when the poll began, up to where it is proved, must be in the store."""
        moved = self._marks()
        if moved is None:
            return
        self._begins_at = self._begins_at or moved.begins_at
        if known and (moved.proved_through < known.proved_through or moved.mark < known.mark):
            self.wrong.append("a mark went back")
        if moved.mark > max(moved.proved_through, moved.begins_at):
            self.wrong.append("the mark passed what is proved")
        if known and moved.proved_through == known.proved_through:
            return
        ended_at = self._world.clock()  # a poll of many requests takes seconds
        is_dated = not any(nature.startswith("no_date") for nature in self._nature)
        if is_dated and moved.proved_through > ended_at + timedelta(seconds=1):
            self.wrong.append("proved beyond the upstream's now")
        from_ = max(moved.begins_at, known.mark - self._overlap if known else moved.begins_at)
        waiting = self._left_to_sweeps(known, now) if known else lambda one: False
        covered = (one for one in visible if from_ <= one.at < moved.proved_through and not waiting(one))
        if missing := seen(covered) - self._stored():
            self.wrong.append(f"proved through {moved.proved_through.isoformat()}, but missing {missing}")

    def _left_to_sweeps(self, known: marks.Marks, now: datetime) -> Callable[[Action], bool]:
        """Return whether an action appeared where it was proved before, and the sweep of the overlap has yet to find it.

        If counts are unusable, polls leave what they have read twice to this sweep. Windows that it cannot prove are reported.
        """
        if not any(each.startswith(UNCOUNTED) for each in self._nature):
            return lambda one: False
        with self._database.read() as connection:
            unproved = unproved_windows.read(connection, self._setup.source)

        def is_left(one: Action) -> bool:
            first_seen = self._first_seen.get((one.kind, one.description, one.at), now)
            is_due = self._is_proved and now - first_seen >= self._overlap / 10
            is_reported = any(each.starts_at <= one.at <= each.ends_at for each in unproved)
            return one.at < known.proved_through and (is_reported or not is_due)

        return is_left

    # -- at the end

    def judge(self, setup: Setup, ends: Mapping[str, Receiver]) -> None:
        """Check every promise, after all faults have ended."""
        self._setup = setup
        held = self._stored()
        self._check_records(held)
        self._check_vanished()
        self._check_receipts()
        self._check_counters()
        self._check_alerts(ends)
        self._check_seals()

    def _check_records(self, held: Counter[Seen]) -> None:
        truth = self._world.organisation.truth()
        begins_at, now = self._begins_at or self._known_marks().begins_at, self._world.clock()
        since = [one for one in truth if begins_at <= one.at <= now]
        wanted = self._visible & seen(one for one in since if not self._is_beyond_sweeps(one))
        lost, doubled = wanted - held, held - seen(truth)
        self.tally.records += held.total()
        if self.change_count > 1 and doubled and self._has_reported("record_doubted", "window_shrunk"):
            self.tally.repeated += doubled.total()
            doubled.clear()
            self._is_repeated = True
        if not self._is_proved:
            # Twins wait for a proved poll, which `proof_lagging` reports, and so do late records that no sweep must have found.
            waiting = self.late - {(kind, description) for kind, description, _ in self._promised}
            lost = Counter({one: n for one, n in lost.items() if one not in held and one not in waiting})
        self.wrong += [f"lost {lost}"] if lost else []
        self.wrong += [f"doubled {doubled}"] if doubled else []

    def _has_reported(self, *troubles: str) -> bool:
        wanted = select(ALERT.c.labels).where(ALERT.c.rule_name == "actionwatch_self")
        with self._database.read() as connection:
            return any(set(labels.values()) & set(troubles) for labels in connection.execute(wanted).scalars())

    def _is_beyond_sweeps(self, action: Action) -> bool:
        """Return whether an action appeared in the first window, and was left behind by the sweeps before they were due."""
        is_promised = (action.kind, action.description, action.at) in self._promised
        is_behind = self._starts_with_sweeps and action.at < self._reach()
        return action.description == APPEARED and is_behind and not is_promised

    def _check_vanished(self) -> None:
        """Each stored record that vanished upstream must be marked and reported, within the reach of the sweeps.

        docs/proof.md promises nothing for records without a readable time, because no window shows that they vanished.
        """
        since, now = self._reach(), self._world.clock()
        truth = self._world.organisation.truth()
        gone = {seen_as(one) for one in truth if one.gone_at is not None and one.at >= since}
        columns = RECORD.c.action_kind, RECORD.c.description, RECORD.c.vanished_at, RECORD.c.is_time_readable
        with self._database.read() as connection:
            rows = connection.execute(select(*columns)).all()
        marked = [row for row in rows if row.vanished_at is not None]
        shown = Counter(
            (kind, text or "") for kind, text, vanished_at, is_timed in rows if not vanished_at and is_timed
        )
        unmarked = shown - seen(self._world.organisation.visible(now))
        if self._is_proved and (missed := gone & unmarked.keys()):
            self.note_silent(f"vanished: {missed}")
        is_reported = any(each.trouble == "window_shrunk" for each in self._opened_self_alerts())
        if marked and not is_reported:
            self.note_silent("records that are marked as vanished")
        if is_reported and not self._is_repeated and not any(one.gone_at for one in truth):
            self.wrong.append("window_shrunk is reported, but nothing has vanished")

    def _check_receipts(self) -> None:
        source = self._setup.source
        with self._database.read() as connection:
            names = [source, *marks.former_names(connection, source)]
            found = [receipt for name in names for receipt in receipts.stream(connection, name)]
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
        with self._database.read() as connection:
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
        with self._database.read() as connection:
            found = seal_checking.check(connection)
        self.wrong += [f"seals: {each}" for each in found.differences]

    def _check_alerts(self, ends: Mapping[str, Receiver]) -> None:
        of_records = (
            select(ALERT.c.rule_name, RECORD.c.record_key)
            .join(ALERT_RECORD, ALERT_RECORD.c.alert_id == ALERT.c.id)
            .join(RECORD, RECORD.c.id == ALERT_RECORD.c.record_id)
        )
        with self._database.read() as connection:
            self._compare(connection)
            joined = connection.execute(of_records).all()
            live = connection.execute(
                select(RECORD.c.record_key, RECORD.c.action_kind, RECORD.c.description)
                .distinct()
                .where(~RECORD.c.is_backlog)
            ).all()
            rows = connection.execute(select(DELIVERY)).all()
            alerts = connection.execute(select(ALERT.c.id, ALERT.c.labels)).all()
            known = receivers.read_all(connection)
            backlogs = backlog_progress.read_all(connection)
        self.tally.alerts += len(alerts)
        self.tally.messages += sum(row.status == "sent" for row in rows)
        matched = Counter((rule, record) for rule, record in joined if rule in RULES)
        wanted = Counter(
            (rule, row.record_key) for row in live for rule, kind in RULES.items() if kind == row.action_kind
        )
        missed = {found for found in wanted - matched if found[0] in self._rules_always_on}
        if matched - wanted or missed:
            self.wrong.append(f"matched {matched - wanted} too often, {missed} too seldom")
        self._check_last(matched, live)
        self._check_rows(rows, ends)
        unaddressed = {row.id for row in alerts} - {row.alert_id for row in rows}
        self.wrong += [f"lost: alert {alert} has no message" for alert in unaddressed]
        self._check_self_alerts(rows)
        if self._was_stepped and not self._has_reported("clock_stepped"):
            self.note_silent("the clock was set")
        if unknown := known.keys() - set(self._setup.receivers.values()):
            self._note_stuck(f"the health of {unknown}")
        if backlogs:
            self._note_stuck(f"the progress of {backlogs.keys()}")

    def _check_last(self, matched: Counter[tuple[str, str]], live: Sequence[Any]) -> None:
        """Exactly the rules of the last configuration match what happened under it."""
        truth = self._world.organisation.truth()
        last = seen(truth[self._settled_from :]).keys() - seen(truth[: self._settled_from]).keys()
        for row in live:
            for rule, kind in RULES.items():
                if (row.action_kind, row.description) in last and row.action_kind == kind:
                    is_wanted = rule in self._setup.rules
                    if bool(matched[rule, row.record_key]) != is_wanted:
                        self.wrong.append(f"the rule {rule} is {'on' if is_wanted else 'off'}, unlike its matches")

    def _compare(self, connection: Connection) -> None:
        columns = ALERT.c.rule_id, ALERT_RECORD.c.record_id, ALERT_RECORD.c.alert_id
        rows = connection.execute(select(*columns).join(ALERT, ALERT_RECORD.c.alert_id == ALERT.c.id)).all()
        for rule, record, alert in rows:
            if self._alert_ids.setdefault(f"{rule} {record}", alert) != alert:
                self.wrong.append(f"record {record} moved to another alert")

    def _check_rows(self, rows: Sequence[Any], ends: Mapping[str, Receiver]) -> None:
        """Each message must end, and each that a gate stopped must be in a summary that ends."""
        by_id = {row.id: row for row in rows}
        taken = {name: Counter(message_id for message_id, _ in end.taken) for name, end in ends.items()}
        for row in rows:
            reported = by_id.get(row.reported_in)
            if row.status == "pending" or row.awaits or row.leased_until:
                what = f"{row.receiver} {row.event} {row.status}, due {row.due_at}, awaits {row.awaits}: {row.why}"
                self._note_stuck(what)
            if row.status in ("held", "collapsed") and (reported is None or reported.status not in ("sent", "dead")):
                self._note_stuck(f"{row.receiver} {row.event} {row.status} in the summary {reported}")
            is_refused = row.status == "dead" and (row.why or "").startswith("refused")
            if is_refused and row.id not in ends[row.receiver].refused:
                self.wrong.append(f"lost: {row.receiver} {row.event} was given up, but not refused: {row.why}")
            if row.status == "sent" and not taken.get(row.receiver, {}).get(row.id):
                self.wrong.append("lost: a delivery counts as sent that never was")
        for message_id in {each for counts in taken.values() for each in counts} - by_id.keys():
            self.wrong.append(f"doubled: the message {message_id} is in no delivery")
        # A fallback delivery, or a message that an operator sent elsewhere, is one more, and names the one that it replaces.
        firsts = [row for row in rows if row.event == "opened" and row.status == "sent"]
        opened = Counter((row.alert_id, row.receiver, row.fallback_of, row.ref) for row in firsts)
        doubled = [place[:2] for place, count in opened.items() if count > 1]
        self.wrong += [f"doubled: alert {alert} was opened more than once at {name}" for alert, name in doubled]

    def _check_self_alerts(self, rows: Sequence[Any]) -> None:
        """Each dead letter must be reported, and each report must be about something that exists."""
        opened = {(each.trouble, each.subject) for each in self._opened_self_alerts()}
        dead = {row.receiver for row in rows if row.status == "dead" and row.why != READDRESSED}
        for name in dead:
            if ("dead_letters", name) not in opened:
                self.note_silent(f"dead letters of {name}")
        source = self._setup.source
        subjects = {source, *self._setup.receivers.values(), "this machine"}
        for trouble, subject in opened:
            is_owned = subject in dead if trouble == "dead_letters" else subject in subjects
            if not is_owned:
                self._note_stuck(f"the self-alert {trouble} of {subject}")

    def _note_stuck(self, what: str) -> None:
        self.wrong.append(f"stuck: {what}")

    # -- what is stored

    def _marks(self) -> marks.Marks | None:
        """Return the marks of the source, which it has under its former name until its first poll."""
        with self._database.read() as connection:
            known = marks.read_all(connection)
        return known.get(self._setup.source) or max(known.values(), key=lambda each: each.mark, default=None)

    def _known_marks(self) -> marks.Marks:
        found = self._marks()
        assert found is not None, "there are no marks"
        return found

    def _stored(self) -> Counter[Seen]:
        # What a source read again under a new name is the same record.
        columns = RECORD.c.action_kind, RECORD.c.description, RECORD.c.record_key
        with self._database.read() as connection:
            rows = connection.execute(
                select(*columns).distinct().where(~RECORD.c.action_kind.startswith("_", autoescape=True))
            ).all()
        return Counter((kind, text or "") for kind, text, _ in rows)

    def _opened_self_alerts(self) -> list[OpenSelfAlert]:
        with self._database.read() as connection:
            return self_alerts.read_all(connection)


def seen(actions: Iterable[Action]) -> Counter[Seen]:
    """Count actions by what identifies them."""
    return Counter(map(seen_as, actions))


def seen_as(action: Action) -> Seen:
    """Return what identifies an action."""
    return action.kind, action.description
