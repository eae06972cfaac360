"""The service in this process, with an emulated upstream and real files that tests change while it runs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from actionwatch.alerts.ledger import SELF_RULE
from actionwatch.base.model import Alert
from actionwatch.emulator.app import DEMO_KEY, DEMO_USER
from actionwatch.emulator.inventory import Account, Cluster
from actionwatch.emulator.state import Organisation
from actionwatch.service.app import App
from actionwatch.service.configuration import read_settings
from actionwatch.service.reload import Reloader
from actionwatch.service.serve import serve
from actionwatch.service.service import Service
from actionwatch.service.signals import Asked
from actionwatch.store import alerts, rule_versions, self_alerts
from actionwatch.store.database import Database
from actionwatch.store.rule_versions import StoredVersion
from actionwatch.store.self_alerts import OpenSelfAlert
from tests.waiting import LIMIT, beside, wait_until

DELETED, CREATED = "DELETE_CLUSTER", "CREATE_CLUSTER"


def rule(name: str = "plain", kind: str = DELETED, key: str = "actionKind") -> str:
    """Write a rule for one kind; an unknown key makes it invalid."""
    return (
        f"title: Rule {name}\nname: {name}\nlogsource: {{product: instaclustr, service: user_actions}}\n"
        f"detection: {{selection: {{{key}: {kind}}}, condition: selection}}\nlevel: high\n"
        f"alert: {{title: '{{{{ userName }}}} met {name} for {kind}'}}\n"
    )


def burst(number: int = 3, *, detection: str = f"actionKind: {DELETED}", more: str = "") -> str:
    """Write a rule that counts by user."""
    return (
        "title: Burst\nname: burst\nlogsource: {product: instaclustr, service: user_actions}\n"
        f"detection: {{selection: {{{detection}}}, condition: selection}}\nlevel: high\n{more}"
        f"correlation: {{type: event_count, group-by: [userName], timespan: 10m, condition: {{gte: {number}}}}}\n"
    )


def put(path: Path, text: str) -> None:
    """Replace a file like a careful program: write a new file, then rename it over the old one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.write_text(text)
    new.replace(path)


class ConfigMap:
    """A folder as Kubernetes mounts it: its files are links through `..data`, which one rename points elsewhere."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    def swap(self, files: dict[str, str]) -> None:
        """Replace all files of the folder at once."""
        self._count += 1
        version = self._folder / f"..2026_11_25_{self._count}"
        version.mkdir(parents=True)
        for name, text in files.items():
            (version / name).write_text(text)
        data, new = self._folder / "..data", self._folder / "..data_tmp"
        old = data.resolve() if data.exists() else None
        new.symlink_to(version.name)
        new.replace(data)
        for name in files:
            if not (self._folder / name).is_symlink():
                (self._folder / name).symlink_to(Path("..data") / name)
        for link in self._folder.iterdir():
            if link.is_symlink() and not link.exists():
                link.unlink()
        if old is not None:
            for path in old.iterdir():
                path.unlink()
            old.rmdir()


@dataclass
class Site:
    """A folder with a configuration, and its upstream."""

    folder: Path
    url: str
    organisation: Organisation
    account: Account
    cluster: Cluster
    more: str = "receivers: [{name: screen, webhook: {url: 'http://127.0.0.1:9/', timeout: 1s}}]\n"
    acted: int = 0
    app: App = field(init=False)
    """That of the service that runs."""

    @property
    def config(self) -> Path:
        return self.folder / "actionwatch.yaml"

    @property
    def rules(self) -> Path:
        return self.folder / "rules"

    def write(self, files: dict[str, str] | None = None, *, port: int = 0, level: str = "error") -> Site:
        """Write the configuration, and files in the folder."""
        self.rules.mkdir(exist_ok=True)
        self.config.write_text(
            f"sources:\n  - {{name: acme, organisation_id: '{self.organisation.id}', username: {DEMO_USER}, "
            f"api_key: '{DEMO_KEY}', base_url: '{self.url}', start: 1d, poll_interval: 0.1s, timeout: {LIMIT:g}s}}\n"
            f"web: {{listen: '127.0.0.1:{port}'}}\nlog: {{level: {level}}}\n{self.more}"
        )
        for name, text in (files or {}).items():
            put(self.folder / name, text)
        return self

    def act(self, kind: str = DELETED, user: str = "eve", minutes_ago: float = 0) -> None:
        """Log an action in the upstream."""
        self.acted += 1
        at = datetime.now(UTC) - timedelta(minutes=minutes_ago)
        self.organisation.append(
            kind,
            user_name=user,
            at=at,
            description=kind,
            account=self.account,
            cluster=self.cluster,
        )

    @contextlib.contextmanager
    def service(self, on_death: Callable[[], None] = lambda: None) -> Iterator[Service]:
        """Run the service. Everything in the upstream at its start is stored and matched, and must not alert."""
        with contextlib.closing(App(read_settings(self.config, {}))) as self.app:
            running = Service(self.app, on_death=on_death)
            with running.running():
                wait_until(self.is_settled, "a first poll")
                yield running

    def start_and_end(self) -> None:
        """Start a process with the current files, and kill it before it does anything."""
        with contextlib.closing(App(read_settings(self.config, {}))) as self.app:
            Reloader(self.app).start()

    @contextlib.contextmanager
    def served(self) -> Iterator[Asked]:
        """Run `serve` in a thread, and return the service. It must end without an error."""
        self.start_and_end()  # so that the store exists
        with (
            contextlib.closing(Asked()) as asked,
            beside(lambda: serve(self.config, read_settings(self.config, {}), asked), stop=asked.ask),
        ):
            yield asked

    def is_settled(self) -> bool:
        """Return whether everything in the upstream is stored and matched."""
        with self.read() as database, database.read() as connection:
            polled, newest, stored, matched = connection.exec_driver_sql(
                "SELECT (SELECT count(*) FROM source), (SELECT coalesce(max(id), 0) FROM record),"
                f" (SELECT count(*) FROM record WHERE action_kind IN ('{DELETED}', '{CREATED}')),"
                " (SELECT coalesce(max(record_id), 0) FROM position)"
            ).one()
        return bool(polled and stored == self.acted and matched == newest)

    @contextlib.contextmanager
    def read(self) -> Iterator[Database]:
        """Open the store like another process."""
        database = Database(f"sqlite:///{self.folder / 'actionwatch.db'}")
        try:
            yield database
        finally:
            database.close()

    def alerts(self) -> list[Alert]:
        """Read the alerts except self-alerts, oldest first."""
        with self.read() as database, database.read() as connection:
            found = alerts.read_newest(connection, 1000)
        return [alert for alert in reversed(found) if alert.rule != SELF_RULE]

    def titles(self) -> list[str]:
        return [alert.title for alert in self.alerts()]

    def self_alerts(self) -> list[Alert]:
        with self.read() as database, database.read() as connection:
            return [alert for alert in alerts.read_newest(connection, 1000) if alert.rule == SELF_RULE]

    def broken(self) -> dict[str, OpenSelfAlert]:
        """Return the texts about broken files, by file name."""
        with self.read() as database, database.read() as connection:
            found = [each for each in self_alerts.read_all(connection) if each.trouble == "rule_broken"]
        return {Path(each.subject).name: each for each in found}

    def versions(self) -> list[StoredVersion]:
        with self.read() as database, database.read() as connection:
            return rule_versions.read_all(connection)

    def running(self) -> dict[str, str]:
        """Return the kinds that the matcher looks for, by rule."""
        found = {}
        for each in self.app.rules.rules:
            if each.document is not None:
                found[each.name.name] = str(next(iter(each.document.value["detection"]["selection"].values())))
        return found
