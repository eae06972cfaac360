"""Seeded removals: a store with rows in every state, then a configuration without a part that the rows refer to.

A `Removal` builds the store with the real service on real sockets. It then removes or renames rules, list entries, silences,
templates, sources, receivers, a mute interval or the store's file, lets days pass, and reports every row that stays unfinished.
The checks follow the table "States and their owners" in docs/architecture.md.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import time_machine
import yaml
from sqlalchemy import Connection, Row, func, select

from actionwatch.alerts.ledger import SELF_RULE
from actionwatch.alerts.self_alerts import TROUBLES
from actionwatch.base.access import AccessRole, AccessToken
from actionwatch.base.delivery import DeliveryStatus
from actionwatch.base.model import Mode, Status
from actionwatch.cli import status
from actionwatch.emulator.app import DEMO_KEY, DEMO_USER, create_app
from actionwatch.emulator.state import Organisation
from actionwatch.service import prune
from actionwatch.service.app import App
from actionwatch.service.configuration import read_settings
from actionwatch.service.once import run_once
from actionwatch.service.reload import Reloader
from actionwatch.service.silence_files import read_silences
from actionwatch.settings import Settings
from actionwatch.store import (
    backlog_progress,
    correlations,
    delivery_transitions,
    hits,
    kept_filters,
    outbox,
    positions,
    receivers,
    record_aliases,
    records,
    seal_checking,
    self_alerts,
    sessions,
    tables,
    tokens,
    unknown_kinds,
    unproved_windows,
)
from actionwatch.store.backlog_progress import Backlog
from actionwatch.store.database import Database, StoreReader
from actionwatch.store.kept_filters import KeptFilter
from actionwatch.store.outbox import DeliveryFilter
from actionwatch.store.unproved_windows import UnprovedWindow
from actionwatch.web.access import SESSION
from tests.builders import NOON
from tests.integration.notifiers.http_end import Reply, Request
from tests.integration.reload.kit import put
from tests.upstreams import Switch

USERS = ("eve", "bob", "amy")
KINDS = ("DELETE_CLUSTER", "DELETE_KAFKA_TOPIC", "CREATE_CLUSTER", "BACKUP", "BRAND_NEW_KIND")
HEALTHY = Reply(204)
POSTED = Reply(200, b'{"ok": true, "channel": "C0123456789", "ts": "1700000000.000100"}')
REFUSAL = Reply(400)
TROUBLED = (Reply(503), REFUSAL, Reply(429, headers={"retry-after": "900"}))
LONG_AGO = timedelta(days=600)

LOGSOURCE = "logsource: {product: instaclustr, service: user_actions}\nlevel: high\n"
RULES = {
    "deleted": "detection: {s: {actionKind: DELETE_CLUSTER}, condition: s}\n"
    "alert: {group_by: [userName], realert: 5m, escalate: {after: 20m, unless: acked, to: oncall}}\n",
    "topics": "detection: {s: {actionKind: DELETE_KAFKA_TOPIC}, condition: s}\n",
    "watched": "detection: {s: {userName|expand: '%people%', actionKind: CREATE_CLUSTER}, condition: s}\n",
    "burst": "detection: {s: {actionKind: DELETE_CLUSTER}, condition: s}\n"
    "correlation: {type: event_count, group-by: [userName], timespan: 10m, condition: {gte: 2}}\n",
    "absent": "detection: {s: {actionKind: BACKUP}, condition: s}\n"
    "correlation: {type: event_count, group-by: [userName], timespan: 20m, condition: {lt: 1},"
    " expect-groups: {userName: {list: robots}}}\n",
    "unfinished": "detection: {a: {actionKind: CREATE_CLUSTER}, b: {actionKind: BACKUP}, condition: a}\n"
    "correlation: {type: temporal_ordered, rules: [a, b], group-by: [userName], timespan: 10m, condition: a and not b}\n",
}
LISTS = {"people": ("eve", "bob"), "robots": ("robot-1", "robot-2")}
SILENCES = {
    "planned": ("userName=amy", timedelta(hours=3)),
    "topics": ("rule=topics", timedelta(hours=3)),
    "holiday": (
        "userName=nobody",
        timedelta(days=30),
    ),  # only the removal of its file can end it before the checks
}
BROKEN = {
    "rules/broken.yml": "title: [\n",
    "silences/broken.yml": "- matchers: [\n",
    "templates/email.txt.j2": "{{ nonsense\n",
}
SIESTA = {"times": [{"start_time": "12:00", "end_time": "13:00"}]}
RECEIVERS = ("hook", "stormy", "relieved", "muted", "oncall", "digest")


@dataclass
class Tally:
    """The totals of all removals, and the states of rows before them."""

    removals: int = 0
    removed: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    states: set[str] = field(default_factory=set)

    def line(self) -> str:
        """Describe the totals in one line."""
        parts = ", ".join(f"{count} {kind}" for kind, count in sorted(self.removed.items()))
        return f"{self.removals} stores with {self.rows} rows; removed or renamed: {parts}"


@dataclass
class FarEnds:
    """The upstreams and the receivers of all removals, started once and reset for each."""

    upstreams: Sequence[Switch]
    upstream_urls: Sequence[str]
    hook_url: str = ""
    smtp_port: int = 0
    replies: dict[str, Reply] = field(default_factory=dict)
    organisations: list[Organisation] = field(default_factory=list)

    def begin(self) -> None:
        """Start with two empty organisations and healthy receivers."""
        self.replies.clear()
        self.organisations = [Organisation(id=f"11111111-2222-4333-8444-{number:012}") for number in range(2)]
        for upstream, organisation in zip(self.upstreams, self.organisations, strict=True):
            upstream.app = create_app(organisation)

    def reply(self, request: Request) -> Reply:
        """Respond for the receiver that the path names."""
        _, name, *method = request.path.split("/")
        return self.replies.get(name, POSTED if method else HEALTHY)


@dataclass
class Plan:
    """The configuration. Each mapping gives a part its name; a part that is missing is not configured."""

    sources: dict[str, str] = field(default_factory=lambda: {name: name for name in ("alpha", "beta")})
    receivers: dict[str, str] = field(default_factory=lambda: {name: name for name in RECEIVERS})
    rules: dict[str, str] = field(default_factory=lambda: {name: name for name in RULES})
    lists: dict[str, str] = field(default_factory=lambda: {name: name for name in LISTS})
    people: dict[str, str] = field(default_factory=lambda: {name: name for names in LISTS.values() for name in names})
    silences: dict[str, str] = field(default_factory=lambda: {name: name for name in SILENCES})
    intervals: dict[str, str] = field(default_factory=lambda: {"siesta": "siesta"})
    files: dict[str, str] = field(default_factory=dict)
    """The broken files, and a template that is in order."""
    store: str = "store.db"

    def write(self, folder: Path) -> None:
        """Write the files, and delete those that do not belong to it."""
        wanted = {f"lists/{name}.txt": self._list(kind) for kind, name in self.lists.items()}
        wanted |= {
            f"rules/{name}.yml": f"title: Rule {name}\nname: {name}\n{LOGSOURCE}{RULES[kind]}"
            for kind, name in self.rules.items()
        }
        wanted |= {
            f"silences/{name}.yml": yaml.dump(
                [{"matchers": [matcher], "author": "sam", "comment": name, "ends_at": (NOON + length).isoformat()}]
            )
            for kind, name in self.silences.items()
            for matcher, length in [SILENCES[kind]]
        }
        wanted |= self.files
        for name in ("rules", "lists", "silences", "templates"):
            (folder / name).mkdir(exist_ok=True)
            for path in (folder / name).iterdir():
                if f"{name}/{path.name}" not in wanted:
                    path.unlink()
        for name, text in wanted.items():
            put(folder / name, text)

    def configure(self, folder: Path, ends: FarEnds) -> Settings:
        """Write the configuration, and load it."""
        config = folder / "actionwatch.yaml"
        config.write_text(yaml.dump(self._configuration(ends)))
        return read_settings(config, {})

    def _list(self, kind: str) -> str:
        return "\n".join(self.people[name] for name in LISTS[kind] if name in self.people) + "\n"

    def _configuration(self, ends: FarEnds) -> dict[str, Any]:
        routed = [name for kind, name in self.receivers.items() if kind not in ("muted", "oncall")]
        muted = {"receiver": self.receivers.get("muted"), "mute_time_intervals": [*self.intervals.values()]}
        children = [{**muted, "continue": True}, {"receivers": routed}] if muted["receiver"] and routed else []
        return {
            "sources": [self._source(kind, name, ends) for kind, name in self.sources.items()],
            "store": {"url": f"sqlite:///{self.store}"},
            "receivers": [self._receiver(kind, name, ends) for kind, name in self.receivers.items()],
            **({"route": {"receivers": routed, "routes": children}} if routed else {}),
            "inhibit_rules": [
                {"source_matchers": ["rule=deleted"], "target_matchers": ["rule=watched"], "equal": ["userName"]}
            ],
            "time_intervals": [{"name": name, "time_intervals": [SIESTA]} for name in self.intervals.values()],
        }

    def _source(self, kind: str, name: str, ends: FarEnds) -> dict[str, Any]:
        number = ("alpha", "beta").index(kind)
        return {
            "name": name,
            "organisation_id": ends.organisations[number].id,
            "username": DEMO_USER,
            "api_key": DEMO_KEY,
            "base_url": ends.upstream_urls[number],
            "start": "1h",
            "alert_backlog": True,
            "sweeps": ["30m", "2h"],
        }

    def _receiver(self, kind: str, name: str, ends: FarEnds) -> dict[str, Any]:
        if kind == "digest":
            at = {"at": "*/5 * * * *"}
            mail = {"host": "127.0.0.1", "port": ends.smtp_port, "tls": "none", "from": "a@example.com"}
            return {"name": name, "email": {**mail, "to": ["soc@example.com"], "digest": at}}
        if kind == "relieved":
            slack = {"token": "xoxb-1", "channel": "C0123456789", "base_url": f"{ends.hook_url}/{name}/"}
            hook = self.receivers.get("hook")
            relief = {"fallback": hook, "fallback_after": "2m"} if hook else {}
            return {"name": name, "slack": slack, "rate": "100/s", **relief}
        storm = {"storm": {"above": 1, "per": "1m"}} if kind == "stormy" else {}
        retry = {"give_up_after": "2h"}
        return {"name": name, "webhook": {"url": f"{ends.hook_url}/{name}"}, "retry": retry, **storm}


class Removal:
    """A store, and what is removed from its configuration."""

    def __init__(self, seed: int, folder: Path, ends: FarEnds, tally: Tally) -> None:
        self.seed = seed
        self.chance = random.Random(seed)
        self._choice = random.Random(f"{seed} of rows")  # their number can differ between runs
        self.folder = folder
        self.ends = ends
        self.tally = tally
        self.wrong: list[str] = []
        self._decided: set[str] = set()  # the sources whose self-alerts people resolved; retention deletes the alerts
        self.plan = Plan()
        self.settings: Settings
        self.running: dict[str, Any] = {}
        self._acted = 0
        self._removed_at = NOON
        self._needless: set[str] = set()
        """The pending escalations of alerts that were acknowledged or resolved before the removal."""

    def play(self) -> list[str]:
        """Run it to its end. Return the problems found."""
        self.tally.removals += 1
        with time_machine.travel(NOON, tick=True) as self.clock:
            self.ends.begin()
            self._build()
            self._note_states()
            self._remove()
            self._removed_at = self._now
            self._let_time_pass()
            self._check("a day later")
            self._resolve_and_drop()
            self._check("after the decisions of people")
            if self.seed % 2:
                self._forget()
                self._check("after retention")
        return [f"seed {self.seed}: {text}" for text in self.wrong]

    # -- the process

    def _round(self, while_it_runs: Callable[[], None] | None = None) -> None:
        """Run a process from its start to its end: one run, perhaps with files that change meanwhile."""
        with closing(App(self.settings)) as app:
            if while_it_runs is not None:
                with app.database.joined():
                    reloader = Reloader(app)
                    reloader.start()
                    while_it_runs()
                    reloader.run_once()
                    reloader.load_silences()
            done = run_once(app, timedelta(0))
            self.wrong += [f"a step failed: {failure}" for failure in done.failures if "no usable" not in failure]
            self.running = {rule.name.id: rule for rule in app.rules.rules if rule.mode is not Mode.OFF}

    def _write(self) -> None:
        self.plan.write(self.folder)
        self.settings = self.plan.configure(self.folder, self.ends)

    @property
    def _now(self) -> datetime:
        return datetime.now(UTC)

    # -- rows in every state

    def _build(self) -> None:
        self._write()
        self._round()
        for seconds in self.chance.sample((20, 90, 300), 3):
            self._act()
            for name in self.plan.receivers.values():
                self.ends.replies.pop(name, None)
                if self.chance.random() < 0.5:
                    self.ends.replies[name] = self.chance.choice(TROUBLED)
            self.clock.shift(seconds)
            self._round()
            self._decide_about_alerts()
        self.plan.files = {name: text for name, text in BROKEN.items() if self.chance.random() < 0.5}
        self.plan.files["templates/email.subject.j2"] = "{{ alert.title }}\n"
        self._write()
        self.ends.replies |= dict.fromkeys(self.plan.receivers.values(), TROUBLED[0])
        self.ends.replies[self.plan.receivers["oncall"]] = TROUBLED[2]
        self._act()
        self.clock.shift(30)
        self._round()
        self._act()
        with closing(App(self.settings)) as app:
            run_once(app, timedelta(0)) if self.chance.random() < 0.5 else app.matcher.run_once()
            self._acknowledge_escalated(app)
            self._let_in(app.database)
            self._report_troubles(app)  # last: a run would settle what has ended
            self._leave_as_if_killed(app.database)

    def _act(self) -> None:
        """Log actions in both organisations; some records appear late."""
        for kind in (KINDS[0], *self.chance.choices(KINDS, k=self.chance.randint(1, 5))):
            self._acted += 1
            self.chance.choice(self.ends.organisations).append(
                kind,
                user_name=self.chance.choice(USERS),
                at=self._now - timedelta(seconds=self.chance.choice((0, 0, 1, 200))),
                description=f"action {self._acted}",
            )

    def _decide_about_alerts(self) -> None:
        with closing(App(self.settings)) as app:
            with app.database.read() as connection:
                others = select(tables.ALERT.c.id).where(tables.ALERT.c.rule_name != "absent")  # these must stay open
                found = connection.execute(others.order_by(tables.ALERT.c.id)).scalars().all()
            people = app.operator_actions(lambda: None)
            for action in ("ack", "resolve", "silence"):
                for alert_id in self._choice.sample(found, min(len(found), 2)):
                    people.act(action, alert_id, "sam")

    def _acknowledge_escalated(self, app: App) -> None:
        """Acknowledge an alert with a pending escalation. Note every escalation that a decision ended."""
        escalations = (
            select(tables.DELIVERY.c.id, tables.DELIVERY.c.alert_id, tables.ALERT.c.status)
            .join(tables.ALERT, tables.ALERT.c.id == tables.DELIVERY.c.alert_id)
            .where(tables.DELIVERY.c.ordinal == -1, tables.DELIVERY.c.status == "pending")
            .order_by(tables.DELIVERY.c.id)
        )
        with app.database.read() as connection:
            waiting = connection.execute(escalations).all()
        still_open = [row.alert_id for row in waiting if row.status == Status.OPEN.value]
        if still_open:
            app.operator_actions(lambda: None).act("ack", still_open[0], "sam")
        with app.database.read() as connection:
            waiting = connection.execute(escalations).all()
        self._needless = {row.id for row in waiting if row.status != Status.OPEN.value}

    def _let_in(self, database: Database) -> None:
        """Give tokens to two people, of which one is revoked, and let both sign in and keep a filter."""
        with database.write() as connection:
            for name in ("sam", "kim"):
                token = AccessToken(name, name, AccessRole.OPERATOR, self._now, "admin")
                tokens.insert(connection, token, f"digest of {name}")
                sessions.insert(connection, f"cookie of {name}", name, self._now + SESSION)
                kept_filters.keep(connection, name, KeptFilter("mine", f"assigned={name}", self._now))
            tokens.revoke(connection, ["kim"], "admin", self._now)

    def _report_troubles(self, app: App) -> None:
        """Report some problems like their steps would. Each has ended, or its subject is removed next."""
        others = {
            "clock_stepped": "this machine",
            "dead_letters": self.chance.choice([*self.plan.receivers.values()]),
            "rule_broken": str(self.folder / "rules" / "fixed.yml"),
            "step_failing": self.chance.choice(("tail alpha", "match", "buttons oncall")),
            "store_nearly_full": self.plan.store,
        }
        apart = {"unknown_kind", "template_failing"}  # caused by the records of KINDS; reported below
        for trouble in sorted(TROUBLES.keys() - apart):
            if self.chance.random() < 0.5:
                names = self.plan.sources if TROUBLES[trouble].ends_with == "source" else self.plan.receivers
                subject = others.get(trouble) or self.chance.choice([*names.values()])
                app.self_alerts.report(trouble, subject, "it failed", "repair it")
        app.self_alerts.report("step_failing", "heartbeat", "it failed", "repair it")  # no run includes this step
        gone = str(self.folder / "templates" / "gone.txt.j2")
        app.self_alerts.report("template_failing", gone, "it failed", "repair it")

    def _leave_as_if_killed(self, database: Database) -> None:
        """Leave what a killed process leaves: leases, a backlog, windows that must be read again."""
        now = self._now
        with database.write() as connection:
            rows = outbox.find(connection, limit=100_000)
            tried = [row for row in rows if row.status is DeliveryStatus.PENDING and row.body is not None]
            of_receivers = {row.receiver: row for row in self._choice.sample(tried, len(tried))}
            delivery_transitions.claim(connection, [*of_receivers.values()], now + timedelta(minutes=5), "sender")
            source, span = self.chance.choice([*self.plan.sources.values()]), timedelta(minutes=5)
            window = (now - timedelta(minutes=40), now - timedelta(minutes=20))
            doubt = UnprovedWindow(
                source=source, starts_at=window[0], ends_at=window[1], reach=timedelta(minutes=30), due_at=now,
                failure_count=self.chance.choice((0, 4)), why="counts differ",
            )  # fmt: skip
            unproved_windows.write(connection, [doubt])
            left = Backlog(
                source=source, starts_at=window[0], ends_at=now, through=window[1], record_count=3,
                began_at=now - span, began_through=window[0], began_count=0, noted_at=now,
            )  # fmt: skip
            backlog_progress.write(connection, left)
            record_aliases.insert(connection, [("0-alias", 0, f"0-{source}")])
            numbers = [version.number for version in correlations.read_versions(connection).values()]
            for number in (self.chance.choice(numbers or [1]), 1_000_000):
                hits.touch(connection, [(number, "group", ("eve",), now - span, now)])

    def _note_states(self) -> None:
        with self._reading() as connection:
            for row in connection.execute(select(tables.DELIVERY)):
                self.tally.states |= (
                    {f"{row.status} awaiting", f"{row.status} by {row.why}"} if row.awaits else {row.status}
                )
                self.tally.states |= {"leased"} if row.leased_until else set()
                self.tally.states |= {"escalation"} if row.ordinal == -1 and row.status == "pending" else set()
            for row in connection.execute(select(tables.ALERT.c.status, tables.ALERT.c.rule_name)):
                self.tally.states |= {row.status, f"{row.rule_name} {row.status}"}
            if any(health.paused_until for health in receivers.read_all(connection).values()):
                self.tally.states.add("paused")
            for table in tables.METADATA.sorted_tables:
                count = connection.execute(select(func.count()).select_from(table)).scalar() or 0
                self.tally.rows += count
                self.tally.states |= {table.name} if count else set()

    # -- removing

    def _remove(self) -> None:
        """Remove or rename a random part; of files perhaps while the process runs."""
        share = self.chance.choice((0.2, 0.5, 1.0))
        for name in ("rules", "lists", "people", "silences"):
            self._remove_from(name, getattr(self.plan, name), share)
        self.plan.files = {name: text for name, text in self.plan.files.items() if self.chance.random() < 0.5}
        if self.chance.random() < 0.5:
            self._round(while_it_runs=partial(self.plan.write, self.folder))
        for name in ("sources", "receivers", "intervals"):
            self._remove_from(name, getattr(self.plan, name), share)
        if not self.plan.sources:
            self.plan.sources = {"beta": "beta"}
        if self.chance.random() < share / 2:
            self.tally.removed["store"] += 1
            renamed = f"renamed-{self.plan.store}"
            (self.folder / self.plan.store).rename(self.folder / renamed)
            self.plan.store = renamed
        self._write()

    def _remove_from(self, what: str, names: dict[str, str], share: float) -> None:
        for kind in list(names):
            if self.chance.random() >= share:
                continue
            self.tally.removed[what] += 1
            if self.chance.random() < 0.5:
                del names[kind]
            else:
                names[kind] = f"{names[kind]}-2" if what != "rules" else f"{names[kind]}_2"

    def _let_time_pass(self) -> None:
        """Let a day pass. One receiver refuses every message all day: else another run could send what a run did not end."""
        self.ends.replies.clear()
        if refusing := [name for kind, name in self.plan.receivers.items() if kind in ("hook", "stormy", "muted")]:
            self.ends.replies[self.chance.choice(refusing)] = REFUSAL
        self._note_what_stays()
        for hours in (0, 0.4, 1.1, 2.2, 24):
            self.clock.shift(hours * 3600)
            self._round()
            if not hours:
                self._check_leases()
        self.ends.replies.clear()

    def _note_what_stays(self) -> None:
        """Note whether a receiver with a lease is still configured: otherwise the removal of its rows ends the lease."""
        with self._reading() as connection:
            leased = select(tables.DELIVERY.c.receiver).where(tables.DELIVERY.c.leased_until.is_not(None))
            holders = set(connection.execute(leased).scalars())
        if holders & {receiver.name for receiver in self.settings.receivers}:
            self.tally.states.add("leased by a receiver that stays")

    def _resolve_and_drop(self) -> None:
        """Resolve what only operators resolve; then drop dead letters until none is left."""
        with closing(App(self.settings)) as app:
            people = app.operator_actions(lambda: None)
            with app.database.read() as connection:
                is_theirs = tables.ALERT.c.rule_id != SELF_RULE.id
                found = connection.execute(select(tables.ALERT.c.id).where(is_theirs)).scalars().all()
            for alert_id in found:
                people.resolve(alert_id, "sam")
        for _ in range(3):  # a self-alert that ends can create a resolve for a removed receiver
            self.clock.shift(timedelta(hours=1.1).total_seconds())
            self._round()
            with closing(App(self.settings)) as app, app.database.write() as connection:
                if not delivery_transitions.drop(connection, DeliveryFilter(), "sam"):
                    return
        self.wrong.append("dead letters come again and again")

    def _forget(self) -> None:
        """Let the retention pass."""
        for _ in range(3):  # self-alerts about deleted records resolve at the next start
            self.clock.shift(LONG_AGO.total_seconds())
            for (
                organisation
            ) in self.ends.organisations:  # otherwise retention keeps what polls and rules can still need
                organisation.append("BACKUP", user_name="eve")
            self._round()
            with closing(App(self.settings)) as app:
                with app.database.read() as connection:
                    back = prune.look_back(connection, self.settings.sources, app.rules.rules)
                prune.run_once(app.database, self.settings.store.retention, self._now, back)
        with self._reading() as connection:
            old = self._now - LONG_AGO - timedelta(days=1)
            for table, column in (
                (tables.RECORD, "seen_at"),
                (tables.RECEIPT, "judged_at"),
                (tables.DELIVERY, "created_at"),
                (tables.UNPROVED_WINDOW, "ends_at"),
                (tables.CORRELATED_ALERT, "until"),
                (tables.ALERT, "opened_at"),
                (tables.TOKEN, "revoked_at"),
                (tables.SESSION, "ends_at"),
                (tables.KEPT_FILTER, "used_at"),
            ):
                rows = connection.execute(select(table).where(table.c[column] < old)).mappings()
                lasting = self._lasting(connection)
                left = [
                    {**row, "raw": None}
                    for row in rows
                    if row.get("alert_id", row.get("id")) not in lasting and (row.get("resolved_at") or NOON) < old
                ]
                self._note(left, f"retention leaves a row of {table.name}: ")

    def _lasting(self, connection: Connection) -> set[str]:
        """Return the alerts about continuing problems: open self-alerts, and open absences."""
        missing = select(func.coalesce(tables.CORRELATED_ALERT.c.reported_as, tables.CORRELATED_ALERT.c.id))
        found = set(connection.execute(missing.where(tables.CORRELATED_ALERT.c.is_open)).scalars())
        return found | {each.alert_id for each in self_alerts.read_all(connection)}

    # -- the checks

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with closing(Database(f"sqlite:///{self.folder / self.plan.store}")) as database, database.read() as connection:
            yield connection

    def _note(self, found: Iterable[object], what: str) -> None:
        self.wrong += [f"{what}{each}" for each in found]

    def _check(self, when: str) -> None:
        before, self.wrong = self.wrong, []
        with self._reading() as connection:
            self._check_deliveries(connection)
            self._check_alerts(connection)
            self._check_self_alerts(connection)
            self._check_other_tables(connection)
            self._check_orphans(connection)
            self.wrong += [f"seals: {each}" for each in seal_checking.check(connection).differences]
            self._check_status(connection)
        self.wrong = [*before, *(f"{when}: {text}" for text in self.wrong)]

    def _check_leases(self) -> None:
        """The first start ends each lease of the killed process, long before it expires."""
        is_leased = select(tables.DELIVERY.c.receiver).where(tables.DELIVERY.c.leased_until.is_not(None))
        with self._reading() as connection:
            self._note(connection.execute(is_leased).scalars(), "the start leaves a lease of a message to ")

    def _check_deliveries(self, connection: Connection) -> None:
        """A pending row must wait for something that will happen."""
        names, now = {receiver.name for receiver in self.settings.receivers}, self._now
        for row in connection.execute(select(tables.DELIVERY)):
            is_waiting = row.status == "pending" or row.awaits is not None
            # What is held for a digest may be older: it was created at the end of the last run, a day ago.
            is_young = row.created_at > now - timedelta(hours=2) or row.awaits == "digest"
            is_recent = row.receiver in names and row.due_at > now and is_young
            if row.leased_until is not None or (is_waiting and not is_recent):
                self.wrong.append(
                    f"stuck: {row.receiver} {row.event} {row.status}, due {row.due_at}, awaits {row.awaits}: {row.why}"
                )
            if row.status == "dead" and row.id in self._needless:
                self.wrong.append(f"the escalation to {row.receiver} is dead, though its alert was decided: {row.why}")
            is_kept = row.created_at > now - self.settings.store.retention.deliveries
            if row.reported_in is not None and is_kept and outbox.read(connection, row.reported_in) is None:
                self.wrong.append(f"{row.receiver} {row.event} is reported in a summary that does not exist")

    def _check_alerts(self, connection: Connection) -> None:
        """Self-alerts and absences must be about existing subjects. Those that resolved by themselves must have a reason."""
        lasting = self._lasting(connection)
        for row in connection.execute(select(tables.ALERT)):
            is_over = row.status == Status.RESOLVED.value
            is_about_what_lasts = row.rule_id == SELF_RULE.id or row.rule_name.startswith("absent")
            if is_about_what_lasts and not is_over and row.id not in lasting:
                self.wrong.append(f"stuck: {row.title} of {row.group_values}")
            is_new = row.resolved_by == "actionwatch" and row.resolved_at >= self._removed_at
            if is_over and is_new and self._is_removed(row) and "Resolved: " not in row.body:
                self.wrong.append(f"{row.title} of {row.group_values} resolved without a reason: {row.body}")
        for row in connection.execute(select(tables.CORRELATED_ALERT).where(tables.CORRELATED_ALERT.c.is_open)):
            rule = self.running.get(row.rule_id)
            if rule is None or row.group_values not in (rule.correlation.expected or ()):
                self.wrong.append(f"stuck: {row.rule_id} misses {row.group_values}, which nobody expects")

    def _is_removed(self, alert: Row[Any]) -> bool:
        """Return whether the source or the receiver of a self-alert is not configured."""
        trouble = alert.labels.get("trouble")
        owner = TROUBLES[trouble].ends_with if trouble is not None else None  # of a missing group
        if owner == "source":
            return alert.source not in {source.name for source in self.settings.sources}
        return owner == "receiver" and alert.source not in {each.name for each in self.settings.receivers}

    def _check_self_alerts(self, connection: Connection) -> None:
        """An open self-alert must be about an existing subject whose problem continues."""
        dead = {name for name, queue in outbox.count_queues(connection).items() if queue.dead}
        failing = {name for name, health in receivers.read_all(connection).items() if health.failing_since is not None}
        sources = (source.name for source in self.settings.sources)
        unknown = {name for name in sources if unknown_kinds.read(connection, name)}
        lasting: dict[str, Callable[[str], bool]] = {
            "dead_letters": lambda subject: subject in dead,
            "receiver_failing": lambda subject: subject in failing,
            "rule_broken": lambda subject: Path(subject).exists(),
            "unknown_kind": lambda subject: subject in unknown,
        }
        opened = self_alerts.read_all(connection)
        for each in opened:
            lasts = lasting.get(each.trouble)
            if lasts is None or not lasts(each.subject):
                self.wrong.append(f"stuck: the self-alert {each.trouble} of {each.subject}: {each.what}")
        silent = dead - {each.subject for each in opened if each.trouble == "dead_letters"}
        self._note(silent, "silent: dead letters of ")
        people = select(tables.ALERT.c.source).where(tables.ALERT.c.resolved_by != "actionwatch")
        self._decided |= set(connection.execute(people.where(tables.ALERT.c.rule_id == SELF_RULE.id)).scalars())
        silent = unknown - self._decided - {each.subject for each in opened if each.trouble == "unknown_kind"}
        self._note(silent, "silent: unknown kinds of ")

    def _check_other_tables(self, connection: Connection) -> None:
        """The rows of the other tables must belong to something that is configured or running."""
        sources = {source.name for source in self.settings.sources}
        names = {receiver.name for receiver in self.settings.receivers}
        self._note(receivers.read_all(connection).keys() - names, "stuck: the health of ")
        self._note(backlog_progress.read_all(connection).keys() & sources, "stuck: the progress of ")
        touched = connection.execute(select(tables.TOUCHED_GROUP)).first()
        self._note([tables.TOUCHED_GROUP.name] if touched else [], "stuck: a row of ")
        for name in sources:
            self._note(unproved_windows.read(connection, name), "stuck: ")
        versions = connection.execute(select(tables.RULE_VERSION.c.rule_id)).scalars()
        self._note(set(versions) - self.running.keys(), "stuck: the version of ")
        live = {rule_id for rule_id, rule in self.running.items() if rule.correlation is not None}
        self._note(
            set(connection.execute(select(tables.CORRELATION_VERSION.c.rule_id)).scalars()) - live,
            "stuck: correlation ",
        )
        templates = {path.name for path in (self.folder / "templates").iterdir()}
        stored = set(connection.execute(select(tables.TEMPLATE_VERSION.c.name)).scalars())
        self._note(stored - templates, "stuck: the version of the template ")
        newest = records.newest_id(connection)
        self._note({at for at in positions.read_both(connection) if at != newest}, f"{newest} records, but position ")
        filed = {silence.id for silence in read_silences(self.settings)[0]}
        stored = set(connection.execute(select(tables.SILENCE.c.id)).scalars())
        self._note(filed - stored, "the store does not hold the silence ")
        for row in connection.execute(select(tables.SILENCE)):
            if row.file is not None and row.ends_at > self._now and row.id not in filed:
                self.wrong.append(f"stuck: a silence of {row.file}, which does not hold it")

    def _check_orphans(self, connection: Connection) -> None:
        """A row that belongs to a deleted row must be deleted too."""
        alert_ids = set(connection.execute(select(tables.ALERT.c.id)).scalars())
        summaries = set(connection.execute(select(tables.DELIVERY.c.alert_id)).scalars())
        for table, kept in (
            (tables.ALERT_RECORD, alert_ids),
            (tables.MESSAGE_REFERENCE, alert_ids),
            (tables.ALERT_HISTORY, alert_ids | summaries),
        ):
            found = set(connection.execute(select(table.c.alert_id)).scalars())
            self._note(found - kept, f"stuck: {table.name} of the deleted alert ")

    def _check_status(self, connection: Connection) -> None:
        """`status` counts every dead letter, and shows the trouble."""
        with closing(StoreReader.open(self.settings.store.url)) as store:
            shown = status.describe(self.settings, status.take_snapshot(self.settings, store))
        counted = {each["name"]: each["dead"] for each in shown["receivers"] if each["dead"]}
        rows = outbox.find(connection, limit=100_000, is_dead=True)
        if counted != Counter(row.receiver for row in rows):
            self.wrong.append(f"status counts the dead letters {counted}")
        if bool(counted) != any(each["trouble"] == "dead_letters" for each in shown["troubles"]):
            self.wrong.append(f"status shows the troubles {shown['troubles']}, and the dead letters {counted}")
