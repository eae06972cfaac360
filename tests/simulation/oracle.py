"""What must hold at the end of a schedule: nothing lost, doubled, stuck or silent, from the stored records to the receivers.

What the receivers took is the truth; the oracle compares the store with it. It uses no code of the steps. `source_oracle.py`
judges how the records of each source came into the store, `correlations.py` what they mean together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, func, or_, select

from actionwatch.base import clock
from actionwatch.base.delivery import DeliveryState, DeliveryStatus
from actionwatch.store import positions, receipts, record_counts, waits
from actionwatch.store.database import Database
from actionwatch.store.positions import CORRELATED, MATCHED
from actionwatch.store.tables import ALERT, ALERT_HISTORY, ALERT_RECORD, DELIVERY, MESSAGE_REFERENCE, RECEIVER, RECORD
from tests.builders import NOON
from tests.simulation import correlations
from tests.simulation.correlations import CORRELATIONS, Sources
from tests.simulation.leftovers import can_forget, leftovers, outlived
from tests.simulation.network import Receiver
from tests.simulation.plan import Schedule
from tests.simulation.site import DIGEST, RULES, SILENCES, Setup
from tests.simulation.source_oracle import SourceOracle, seen
from tests.simulation.tally import Tally
from tests.upstreams import World

HALF_AN_HOUR = timedelta(minutes=30)
# Built once, because each round of a schedule runs them.
_IS_OF_DAY = and_(DELIVERY.c.event == "summary", DELIVERY.c.attempts == 0)
_WAITS = select(DELIVERY.c.id, DELIVERY.c.event, DELIVERY.c.attempts, DELIVERY.c.due_at).where(
    DELIVERY.c.status == "pending", ~_IS_OF_DAY
)
_PAUSES = select(RECEIVER.c.name, RECEIVER.c.paused_until).where(RECEIVER.c.paused_until.is_not(None))
_HOLDERS = select(DELIVERY.c.leased_by).where(DELIVERY.c.leased_until.is_not(None)).distinct()
_NEXT_DUE = select(func.min(DELIVERY.c.due_at)).where(
    or_(DELIVERY.c.status == "pending", DELIVERY.c.awaits.is_not(None))
)


class Oracle:
    """The judge of one schedule."""

    def __init__(self, worlds: Mapping[str, World], database: Database, schedule: Schedule, tally: Tally) -> None:
        self.wrong: list[str] = []
        self.tally = tally
        self.sources = {
            kind: SourceOracle(kind, world, database, schedule, tally, self.wrong) for kind, world in worlds.items()
        }
        self.clock_steps = 0
        self._database = database
        self._setup = schedule.setup
        self._rules_always_on = set(RULES) | set(CORRELATIONS)
        self._receivers_always_there = set(schedule.setup.receivers.values())
        self._people = schedule.setup.people
        self._are_sources_steady = True
        self._silences_always_on = set(SILENCES)
        self._was_stepped = False
        self._alive_ago = timedelta(0)
        """How long before the newest start a process was known to live, by the clock of the machine."""
        self._alert_ids: dict[str, str] = {}
        self.has_retried = False
        """Whether a person sent dead letters again."""
        self._dead: set[str] = set()
        """The processes that died while they had leased messages, as the leases name them."""

    # -- while it runs

    def note_start(self, setup: Setup, machine_now: datetime) -> None:
        """Note the configuration of the process that starts now, and whether it can see that the clock was set back."""
        self._use(setup)
        is_changed = setup.people != self._people
        self._rules_always_on &= {*setup.rules, *setup.correlations} - ({"missing"} if is_changed else set())
        self._receivers_always_there &= set(setup.receivers.values())
        self._silences_always_on &= set(setup.silences)
        with self._database.read() as connection:
            alive_at = waits.read_last_alive(connection)
        self._alive_ago = machine_now - (alive_at or NOON)
        if alive_at is not None and machine_now - alive_at <= -clock.STEP:
            self._was_stepped = True

    def note_step(self) -> None:
        """Note that a process has seen a step of the clock."""
        self._was_stepped = True

    def note_death(self) -> None:
        """Note which record opened which committed alert, when a process has died: this must never change. Note its leases."""
        with self._database.read() as connection:
            self._compare(connection)
            self._dead |= self._holders(connection)

    def check_leases(self) -> None:
        """Check that a round of deliveries has ended the leases of processes that are dead."""
        with self._database.read() as connection:
            left = self._dead & self._holders(connection)
        if left:
            self._note_stuck(f"leases of {left}, which are dead")

    def waits(self) -> dict[tuple[str, int], datetime]:
        """Return until when each message waits, with its number of attempts, and each pause. A digest has a time of day.

        A message that reports something else from now on, for example the end of its alert, is another one.
        """
        with self._database.read() as connection:
            rows = connection.execute(_WAITS).all()
            found = {(row.name, -1): row.paused_until for row in connection.execute(_PAUSES)}
        return found | {(f"{row.event} {row.id}", row.attempts): row.due_at for row in rows}

    def check_waits(self, before: Mapping[tuple[str, int], datetime], step: timedelta) -> None:
        """Check that what still waits does so for as long as before a step of the clock."""
        after = self.waits()
        moved = {after[each] - at for each, at in before.items() if each in after}
        if wrong := {each for each in moved if abs(each - step) > timedelta(seconds=1)}:
            self.wrong.append(f"the clock was set by {step}, but messages wait for {wrong} longer")

    def check_waits_after_start(self, before: Mapping[tuple[str, int], datetime], step: timedelta) -> None:
        """Check that no message waits longer or shorter after a start because the clock was set back while nothing ran.

        A start knows of such a step only what it sees since the last poll, by which each wait may become longer. To it, a step
        forward looks like a stop: a wait becomes shorter.
        """
        after = self.waits()
        unseen = self._alive_ago - step
        later = {after[each] - at - step for each, at in before.items() if each in after}
        least = -max(step, clock.STEP)
        if wrong := {each for each in later if not least <= each <= unseen + clock.STEP}:
            self.wrong.append(f"after a start, messages wait for {wrong} longer")

    def _holders(self, connection: Connection) -> set[str]:
        return {each or "" for each in connection.execute(_HOLDERS).scalars()}

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
        for source in self.sources.values():
            source.settled_from = len(source.world.organisation)
        self._note_states()

    def _note_states(self) -> None:
        columns = DELIVERY.c.status, DELIVERY.c.awaits, DELIVERY.c.leased_until, DELIVERY.c.fallback_of
        with self._database.read() as connection:
            for status, awaits, leased_until, fallback_of in connection.execute(select(*columns)):
                self.tally.states.add(DeliveryState((DeliveryStatus(status), awaits is not None)).name)
                self.tally.states |= {"leased"} if leased_until else set()
                self.tally.states |= {f"fallback {status}"} if fallback_of else set()
            self.tally.states |= {"referenced"} if connection.execute(select(MESSAGE_REFERENCE)).first() else set()

    def note_visible(self) -> None:
        """Note what the upstreams show now, between two polls."""
        for source in self.sources.values():
            source.note_visible()

    def next_due(self) -> datetime | None:
        """Return when the next message falls due that has not ended; None if all have."""
        with self._database.read() as connection:
            found: datetime | None = connection.execute(_NEXT_DUE).scalar()
        return found

    # -- at the end

    def judge(self, setup: Setup, ends: Mapping[str, Receiver], machine_now: datetime) -> None:
        """Check every promise, after all faults have ended."""
        self._use(setup)
        self._note_states()
        with self._database.read() as connection:
            self.wrong += leftovers(connection, setup, machine_now)
        for source in self.sources.values():
            source.judge()
        self._check_counters()
        self._check_alerts(ends)
        self.check_correlations()
        self._check_receipts()

    def judge_retention(self, before: datetime) -> None:
        """Check that nothing of before a time is left, whatever it belonged to."""
        with self._database.read() as connection:
            if can_forget(connection, self._setup, before):
                self.tally.retentions += 1
                self.wrong += outlived(connection, before)

    def _use(self, setup: Setup) -> None:
        self._are_sources_steady &= setup.sources == self._setup.sources
        self._setup = setup
        for source in self.sources.values():
            source.setup = setup

    def check_correlations(self, refused: Collection[str] = ()) -> None:
        """Check what correlations have found of what is stored, while these kinds of source are refused."""
        setup, always = self._setup, self._rules_always_on
        sources = Sources(setup.customers_by_name(), self._are_sources_steady)
        with self._database.read() as connection:
            if refused and not correlations.is_level(connection):
                return
            self.wrong += correlations.differences(connection, setup.correlations, setup.people, always, sources)
        self.tally.behind += 0 < len(refused) < len(setup.sources)

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

    def _check_receipts(self) -> None:
        """The stored records are those that the receipts prove."""
        with self._database.read() as connection:
            self.wrong += [
                f"contradicted: {each}"
                for each in list(receipts.stream(connection))
                if receipts.recompute(connection, each) != each
            ]

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
            alerts = connection.execute(select(ALERT.c.id, ALERT.c.status, ALERT.c.match_count)).all()
            reopened = Counter(
                connection.execute(
                    select(ALERT_HISTORY.c.alert_id).where(ALERT_HISTORY.c.stage == "reopened")
                ).scalars()
            )
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
        self._check_opened(rows, ends, reopened)
        self._check_counts(rows, ends, {row.id: row.match_count for row in alerts if row.status == "open"})
        unaddressed = {row.id for row in alerts} - {row.alert_id for row in rows}
        self.wrong += [f"lost: alert {alert} has no message" for alert in unaddressed]
        if self._was_stepped and not self._has_reported_step():
            self.note_silent("the clock was set")

    def _check_last(self, matched: Counter[tuple[str, str]], live: Sequence[Any]) -> None:
        """Exactly the rules of the last configuration match what happened under it."""
        last: set[tuple[str, str]] = set()
        for source in self.sources.values():
            truth = source.world.organisation.truth()
            last |= seen(truth[source.settled_from :]).keys() - seen(truth[: source.settled_from]).keys()
        for row in live:
            for rule, kind in RULES.items():
                if (row.action_kind, row.description) in last and row.action_kind == kind:
                    is_wanted = rule in self._setup.rules
                    if bool(matched[rule, row.record_key]) != is_wanted:
                        self.wrong.append(f"the rule {rule} is {'on' if is_wanted else 'off'}, unlike its matches")

    def _compare(self, connection: Connection) -> None:
        columns = ALERT.c.rule_id, ALERT_RECORD.c.record_id, ALERT_RECORD.c.alert_id
        joined = select(*columns).join(ALERT, ALERT_RECORD.c.alert_id == ALERT.c.id)
        rows = connection.execute(joined.where(ALERT.c.rule_name.in_(RULES))).all()
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
        self._check_summaries(rows, ends)
        self._check_order(by_id, ends)
        self._check_silences(by_id, ends)
        for message_id in {each for counts in taken.values() for each in counts} - by_id.keys():
            self.wrong.append(f"doubled: the message {message_id} is in no delivery")

    def _check_opened(self, rows: Sequence[Any], ends: Mapping[str, Receiver], reopened: Mapping[str, int]) -> None:
        """Each receiver learns once that an alert is open, and again each time that it had learned of its end.

        A fallback delivery, or a message that an operator sent elsewhere, is one more, and names the one that it replaces.
        """
        firsts = [row for row in rows if row.event == "opened" and row.status == "sent"]
        opened = Counter((row.alert_id, row.receiver, row.fallback_of, row.ref) for row in firsts)
        decided = {each for end in ends.values() for each, posted in end.taken if posted.data.get("status") != "open"}
        ended = Counter(
            (row.alert_id, row.receiver)
            for row in rows
            if row.id in decided or (row.event in ("acked", "resolved") and row.status != "suppressed")
        )
        doubled = [
            place[:2] for place, count in opened.items() if count > 1 + min(reopened[place[0]], ended[place[:2]])
        ]
        self.wrong += [f"doubled: alert {alert} was opened more than once at {name}" for alert, name in doubled]

    def _check_order(self, by_id: Mapping[str, Any], ends: Mapping[str, Receiver]) -> None:
        """Messages about one alert arrive in their order, and one message is the same on each attempt."""
        for name, end in ends.items():
            if end.altered:
                self.wrong.append(f"{name} got other contents of {end.altered}")
            if end.misplaced:
                self.wrong.append(f"{name} changed the messages of other alerts: {end.misplaced}")
            newest: dict[str, int] = {}
            for message_id, _ in end.taken:
                row = by_id.get(message_id)
                if row is None or row.ordinal < 0 or row.fallback_of or row.ref or self.has_retried:
                    continue  # a person, or a fallback, sends it out of turn
                if row.ordinal < newest.get(row.alert_id, 0):
                    self.wrong.append(f"{name} got {row.event} of {row.alert_id} after a later message")
                newest[row.alert_id] = row.ordinal

    def _check_silences(self, by_id: Mapping[str, Any], ends: Mapping[str, Receiver]) -> None:
        """While a silence is active, nobody gets the opening of an alert about its user."""
        until = {SILENCES[name][0]: SILENCES[name][1] for name in self._silences_always_on}
        for name, end in ends.items():
            for message_id, posted in end.taken if not self.clock_steps else ():
                row, user = by_id.get(message_id), posted.data.get("group", {}).get("userName")
                is_first = row is not None and row.event == "opened" and not row.fallback_of and not row.ref
                if is_first and user in until and end.tried_at[message_id] < until[user]:
                    self.wrong.append(f"{name} got the opening of an alert of {user}, who is silenced")

    def _check_counts(self, rows: Sequence[Any], ends: Mapping[str, Receiver], counts: Mapping[str, int]) -> None:
        """The last message about an open alert counts all of its records. `counts` has them, by alert.

        A receiver that was not configured for some time has missed the updates of that time.
        """
        last = {(row.receiver, row.alert_id): row for row in sorted(rows, key=lambda each: each.ordinal)}
        for (name, alert), row in last.items():
            if (
                name not in self._receivers_always_there
                or alert not in counts
                or row.status != "sent"
                or row.ordinal < 0
                or self.has_retried
            ):
                continue
            if row.event in ("acked", "resolved"):
                self.wrong.append(f"lost: {name} got {row.event} last of {alert}, which is open again")
            stated = [posted.data["count"] for message_id, posted in ends[name].taken if message_id == row.id]
            if stated[-1:] != [counts[alert]]:
                self.wrong.append(f"{name} got the count {stated} of {alert}, which has {counts[alert]} records")

    def _check_summaries(self, rows: Sequence[Any], ends: Mapping[str, Receiver]) -> None:
        """Each summary reports something, and the receiver of a digest gets nothing else."""
        reporting, by_id = {row.reported_in for row in rows}, {row.id: row for row in rows}
        for row in rows:
            is_first = row.event == "summary" and row.fallback_of is None and row.ref is None
            if is_first and row.status == "sent" and row.id not in reporting:
                self.wrong.append(f"doubled: a summary of {row.receiver} reports nothing: {row}")
        for name, end in ends.items():
            if not name.startswith(DIGEST):
                continue
            types = {posted.type for _, posted in end.taken} - {"alerts.summary"}
            if types:
                self.wrong.append(f"{name} got {types} instead of a digest")
            if self.clock_steps:
                continue
            for message_id, posted in end.taken:
                row, first_at = by_id[message_id], end.tried_at[message_id]
                is_moved = row.fallback_of or row.ref
                # A summary of something else comes with the next digest, which is due each half an hour.
                digest_at = first_at - (first_at - NOON) % HALF_AN_HOUR
                if posted.data["reason"] != "digest" and not is_moved and digest_at < row.created_at:
                    self.wrong.append(f"{name} got a summary at {first_at}, without a digest since {row.created_at}")

    def _note_stuck(self, what: str) -> None:
        self.wrong.append(f"stuck: {what}")

    def _has_reported_step(self) -> bool:
        wanted = select(ALERT.c.labels).where(ALERT.c.rule_name == "actionwatch_self")
        with self._database.read() as connection:
            return any("clock_stepped" in labels.values() for labels in connection.execute(wanted).scalars())
