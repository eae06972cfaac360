"""What must hold about one source after every poll and at the end: nothing lost, doubled, silent or proved wrongly.

The log of the emulated upstream is the truth; the oracle compares the store with it. It uses no code of the steps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta

from sqlalchemy import bindparam, select

from actionwatch.emulator.log import Action
from actionwatch.store import marks, polls, receipts, self_alerts, unproved_windows
from actionwatch.store.database import Database
from actionwatch.store.self_alerts import OpenSelfAlert
from actionwatch.store.tables import ALERT, RECEIPT, RECORD
from actionwatch.tail.health import UNREACHABLE_POLLS
from actionwatch.tail.planning import LAG_LEAST
from actionwatch.tail.state import PollReport
from tests.simulation.plan import Schedule
from tests.simulation.tally import Tally
from tests.simulation.upstream_faults import UNCOUNTED
from tests.upstreams import World

APPEARED = "Appeared between two pages"  # the name of records that the emulator adds during a walk
SWEEPS = (timedelta(minutes=30), timedelta(hours=2))
SWEPT_WITHIN = max(SWEEPS) / 10  # docs/proof.md, "The promise": the delay of the last sweep
VANISHING = "ADD_NODE"  # a kind with vanishing records, which can hide a late one for the reach of a sweep
POLL = timedelta(seconds=30)

# What a source read again under a new name is the same record. Built once, because that takes longer than to run it.
_STORED = (
    select(RECORD.c.action_kind, RECORD.c.description, RECORD.c.record_key)
    .distinct()
    .where(~RECORD.c.action_kind.startswith("_", autoescape=True), RECORD.c.source.startswith(bindparam("kind")))
)

Seen = tuple[str, str]
"""What identifies an action: its kind and its description."""


class SourceOracle:
    """The judge of one source, whatever its name is."""

    def __init__(
        self, kind: str, world: World, database: Database, schedule: Schedule, tally: Tally, wrong: list[str]
    ) -> None:
        """`kind` says which source of a `Setup` it is; `wrong` gets what is wrong."""
        self.late: set[Seen] = set()
        self.change_count = 0
        """How often the fields of records have changed."""
        self.setup = schedule.setup
        self.world = world
        self.settled_from = 0
        """How many actions there were when all faults ended."""
        self._kind = kind
        self._tally = tally
        self._wrong = wrong
        self._database = database
        self._nature = schedule.nature_of(kind)
        self._overlap = timedelta(minutes=int(schedule.setup.overlap.rstrip("m")))
        self._starts_with_sweeps = schedule.setup.start == "2h"
        self._is_proved = False
        self._is_repeated = False
        self._visible: Counter[Seen] = Counter()
        """What successful polls must have stored."""
        self._first_seen: dict[tuple[str, str, datetime], datetime] = {}
        self._promised: set[tuple[str, str, datetime]] = set()
        """What the sweeps must have found by now."""
        self._begins_at: datetime | None = None
        """Where the source began first, whatever its name was."""
        self._polled_at = world.clock()
        self._before: tuple[datetime, list[Action], marks.Marks | None]

    @property
    def name(self) -> str:
        """The name of the source, or its last name if it is not configured."""
        return self.setup.sources.get(self._kind, self._kind)

    # -- while it runs

    def before_poll(self) -> None:
        """Note what the upstream shows, and what is proved."""
        now = self.world.clock()
        self._before = now, self.world.organisation.visible(now), self._marks()

    @property
    def polled_ago(self) -> timedelta:
        """How long ago it was polled last."""
        return self.world.clock() - self._polled_at

    def note_visible(self) -> None:
        """Note what the upstream shows now, if it is new."""
        now = self.world.clock()
        self._note_first_seen(now, self.world.organisation.visible(now))

    def after_poll(self, report: PollReport) -> None:
        """Compare a poll that ended with what the upstream showed when it began."""
        now, visible, known = self._before
        # What disappears while the poll runs may have done so before it was shown.
        truth = self.world.organisation.truth()
        gone = {seen_as(one) for one in truth if one.gone_at is not None and one.gone_at >= now}
        visible = [one for one in visible if seen_as(one) not in gone]
        self._tally.polls += 1
        self._polled_at = now
        self._tally.proved += report.proved_count
        self._tally.unproved += bool(report.unproved)
        if not report.error:
            # A record that disappears before a poll succeeds is not lost, nor is one later than the upstream's clock.
            reach = now - timedelta(seconds=45) if "clock:-40s" in self._nature else now
            # After an outage, the sweeps may no longer reach what was late before it: docs/proof.md, "The promise", last row.
            since = min(known.mark - self._overlap, self._reach()) if known else self._known_marks().begins_at
            found = seen(one for one in visible if since <= one.at <= reach)
            # Without a proof, a walk may have received one record twice: equal records wait for it, and may vanish before.
            self._visible |= Counter(found.keys()) if report.unproved else found
        self._is_proved = not report.error and not report.unproved
        if not (report.error or report.unproved or report.proved_count):
            self._wrong.append("a poll neither proved nor reported anything")
        self._check_proof(known, now, visible)
        self._check_reports(report)
        self._note_promised(now, visible)

    # -- after a poll

    def _note_promised(self, now: datetime, visible: Sequence[Action]) -> None:
        """Note what the sweeps of this poll must find: it appeared long enough ago, within their reach."""
        self._note_first_seen(now, visible)
        with self._database.read() as connection:
            is_in_doubt = bool(unproved_windows.read(connection, self.name))  # reported: `window_unproved`
        if self._is_proved and not is_in_doubt:
            reach = self._reach()
            self._promised |= {
                (kind, description, at)
                for (kind, description, at), first_seen in self._first_seen.items()
                if kind != VANISHING and at >= reach and now - first_seen >= SWEPT_WITHIN
            }
        if late := {each[:2] for each in self._promised} - self._stored().keys():
            self._wrong.append(f"the sweeps must have found {late} by now")

    def _note_first_seen(self, now: datetime, visible: Iterable[Action]) -> None:
        for one in visible:
            self._first_seen.setdefault((one.kind, one.description, one.at), now)

    def _reach(self) -> datetime:
        """Return how far back the sweeps read."""
        known = self._known_marks()
        return max(known.begins_at, known.mark - self._overlap - sum(SWEEPS, timedelta(0)))

    def _check_reports(self, report: PollReport) -> None:
        """Everything that the poll could not do must be reported by its end."""
        with self._database.read() as connection:
            poll = polls.read_all(connection).get(self.name)
        failures = poll.failures if poll is not None else 0  # the commit that notes it may have failed
        labels = {each.trouble for each in self._opened_self_alerts()}
        if failures >= UNREACHABLE_POLLS and not labels & {"key_refused", "upstream_unreachable"}:
            self._note_silent(f"{failures} polls failed: {report.error}")
        lag = self.world.clock() - self._known_marks().proved_through if not report.error else POLL
        if lag > LAG_LEAST + timedelta(minutes=1) and "proof_lagging" not in labels:
            self._note_silent(f"proved through {lag} ago")

    def _check_proof(self, known: marks.Marks | None, now: datetime, visible: Sequence[Action]) -> None:
        """Everything visible when the poll began, up to where it is proved, must be in the store."""
        moved = self._marks()
        if moved is None:
            return
        self._begins_at = self._begins_at or moved.begins_at
        if known and (moved.proved_through < known.proved_through or moved.mark < known.mark):
            self._wrong.append("a mark went back")
        if moved.mark > max(moved.proved_through, moved.begins_at):
            self._wrong.append("the mark passed what is proved")
        if known and moved.proved_through == known.proved_through:
            return
        self._check_cover(moved)
        ended_at = self.world.clock()  # a poll of many requests takes seconds
        is_dated = not any(nature.startswith("no_date") for nature in self._nature)
        if is_dated and moved.proved_through > ended_at + timedelta(seconds=1):
            self._wrong.append("proved beyond the upstream's now")
        from_ = max(moved.begins_at, known.mark - self._overlap if known else moved.begins_at)
        waiting = self._left_to_sweeps(known, now) if known else lambda one: False
        covered = (one for one in visible if from_ <= one.at < moved.proved_through and not waiting(one))
        if missing := seen(covered) - self._stored():
            self._wrong.append(f"proved through {moved.proved_through.isoformat()}, but missing {missing}")

    def _check_cover(self, moved: marks.Marks) -> None:
        """Receipts must cover all of the time that is proved, without a gap."""
        columns = RECEIPT.c.starts_at, RECEIPT.c.ends_at
        statement = select(*columns).where(RECEIPT.c.source.startswith(self._kind)).order_by(*columns)
        through = moved.begins_at
        with self._database.read() as connection:
            for starts_at, ends_at in connection.execute(statement):
                if starts_at > through:
                    break
                through = max(through, ends_at)
        if through < moved.proved_through:
            self._wrong.append(
                f"proved through {moved.proved_through.isoformat()}, but no receipt after {through.isoformat()}"
            )

    def _left_to_sweeps(self, known: marks.Marks, now: datetime) -> Callable[[Action], bool]:
        """Return whether an action appeared where it was proved before, and the sweep of the overlap has yet to find it.

        If counts are unusable, polls leave what they have read twice to this sweep. Windows that it cannot prove are reported.
        """
        if not any(each.startswith(UNCOUNTED) for each in self._nature):
            return lambda one: False
        with self._database.read() as connection:
            unproved = unproved_windows.read(connection, self.name)

        def is_left(one: Action) -> bool:
            first_seen = self._first_seen.get((one.kind, one.description, one.at), now)
            is_due = self._is_proved and now - first_seen >= self._overlap / 10
            is_reported = any(each.starts_at <= one.at <= each.ends_at for each in unproved)
            return one.at < known.proved_through and (is_reported or not is_due)

        return is_left

    # -- at the end

    def judge(self) -> None:
        """Check what is promised about its records, after all faults have ended."""
        held = self._stored()
        self._tally.records += held.total()
        if self._kind in self.setup.sources:
            self._check_records(held)
            self._check_vanished()
        elif doubled := held - seen(self.world.organisation.truth()):
            self._wrong.append(f"doubled {doubled}")
        self._check_receipts()

    def _check_records(self, held: Counter[Seen]) -> None:
        truth = self.world.organisation.truth()
        begins_at, now = self._begins_at or self._known_marks().begins_at, self.world.clock()
        since = [one for one in truth if begins_at <= one.at <= now]
        wanted = self._visible & seen(one for one in since if not self._is_beyond_sweeps(one))
        lost, doubled = wanted - held, held - seen(truth)
        if self.change_count > 1 and doubled and self._has_reported("record_doubted", "window_shrunk"):
            self._tally.repeated += doubled.total()
            doubled.clear()
            self._is_repeated = True
        if not self._is_proved:
            # Twins wait for a proved poll, which `proof_lagging` reports, and so do late records that no sweep must have found.
            waiting = self.late - {(kind, description) for kind, description, _ in self._promised}
            lost = Counter({one: n for one, n in lost.items() if one not in held and one not in waiting})
        self._wrong += [f"lost {lost}"] if lost else []
        self._wrong += [f"doubled {doubled}"] if doubled else []

    def _has_reported(self, *troubles: str) -> bool:
        wanted = select(ALERT.c.labels).where(ALERT.c.rule_name == "actionwatch_self")
        with self._database.read() as connection:
            return any(set(labels.values()) & set(troubles) for labels in connection.execute(wanted).scalars())

    def _is_beyond_sweeps(self, action: Action) -> bool:
        """Return whether an action appeared late, and was left behind by the sweeps before they were due.

        That happens to what appears in the first window, and before an outage: docs/proof.md, "The promise", last row.
        """
        is_promised = (action.kind, action.description, action.at) in self._promised
        is_late = self._starts_with_sweeps if action.description == APPEARED else seen_as(action) in self.late
        return is_late and action.at < self._reach() and not is_promised

    def _check_vanished(self) -> None:
        """Each stored record that vanished upstream must be marked and reported, within the reach of the sweeps.

        docs/proof.md promises nothing for records without a readable time, because no window shows that they vanished.
        """
        since, now = self._reach(), self.world.clock()
        truth = self.world.organisation.truth()
        gone = {seen_as(one) for one in truth if one.gone_at is not None and one.at >= since}
        columns = (
            RECORD.c.source,
            RECORD.c.action_kind,
            RECORD.c.description,
            RECORD.c.vanished_at,
            RECORD.c.is_time_readable,
        )
        with self._database.read() as connection:
            rows = connection.execute(select(*columns).where(RECORD.c.source.startswith(self._kind))).all()
        marked = [row for row in rows if row.vanished_at is not None]
        shown = Counter[Seen]()
        for name in {row.source for row in rows}:  # after a new name, some are stored under both
            its = (row for row in rows if row.source == name and not row.vanished_at and row.is_time_readable)
            shown |= Counter((row.action_kind, row.description or "") for row in its)
        unmarked = shown - seen(self.world.organisation.visible(now))
        if self._is_proved and (missed := gone & unmarked.keys()):
            self._note_silent(f"vanished: {missed}")
        is_reported = any(each.trouble == "window_shrunk" for each in self._opened_self_alerts())
        if marked and not is_reported:
            self._note_silent("records that are marked as vanished")
        if is_reported and not self._is_repeated and not any(one.gone_at for one in truth):
            self._wrong.append("window_shrunk is reported, but nothing has vanished")

    def _check_receipts(self) -> None:
        source = self.name
        with self._database.read() as connection:
            names = [source, *marks.former_names(connection, source)]
            found = [receipt for name in names for receipt in receipts.stream(connection, name)]
            again = [receipts.recompute(connection, receipt) for receipt in found]
        self._tally.receipts += len(found)
        for receipt, one in zip(found, again, strict=True):
            if receipt.record_count != sum(receipt.kind_counts.values()):
                self._wrong.append("a receipt's kinds do not make its count")
            if receipt.digest != one.digest:
                self._wrong.append(
                    f"the receipt of {receipt.starts_at.isoformat()} to {receipt.ends_at.isoformat()}, judged at "
                    f"{receipt.judged_at.isoformat()}, counts {receipt.record_count} records, the store {one.record_count}"
                )

    # -- what is stored

    def _marks(self) -> marks.Marks | None:
        """Return the marks of the source, which it has under its former name until its first poll."""
        with self._database.read() as connection:
            known = marks.read_all(connection)
        its = [each for name, each in known.items() if name.startswith(self._kind)]
        return known.get(self.name) or max(its, key=lambda each: each.mark, default=None)

    def _known_marks(self) -> marks.Marks:
        found = self._marks()
        assert found is not None, "there are no marks"
        return found

    def _stored(self) -> Counter[Seen]:
        with self._database.read() as connection:
            rows = connection.execute(_STORED, {"kind": self._kind}).all()
        return Counter((kind, text or "") for kind, text, _ in rows)

    def _opened_self_alerts(self) -> list[OpenSelfAlert]:
        with self._database.read() as connection:
            return [each for each in self_alerts.read_all(connection) if each.subject == self.name]

    def _note_silent(self, what: str) -> None:
        self._wrong.append(f"silent: {what}")


def seen(actions: Iterable[Action]) -> Counter[Seen]:
    """Count actions by what identifies them."""
    return Counter(map(seen_as, actions))


def seen_as(action: Action) -> Seen:
    """Return what identifies an action."""
    return action.kind, action.description
