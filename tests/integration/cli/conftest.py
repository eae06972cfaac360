"""A folder with a configuration, an emulated upstream and a webhook receiver on loopback, from which tests call commands."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from actionwatch import cli
from actionwatch.emulator.app import DEMO_KEY, DEMO_USER, create_app
from actionwatch.emulator.faults.playing import Faults
from actionwatch.emulator.inventory import Account, Cluster
from actionwatch.emulator.server import running
from actionwatch.emulator.state import Organisation
from actionwatch.store.database import Database
from tests import postgresql
from tests.builders import CLUSTER_DELETED_RULE
from tests.fixtures import logs_left_alone
from tests.integration.notifiers.http_end import HttpEnd, Reply
from tests.waiting import LIMIT

__all__ = ["logs_left_alone"]

BROKEN_RULE = """\
title: Broken
id: 22222222-2222-4222-8222-222222222222
logsource: {product: instaclustr, service: user_actions}
detection:
  selection:
    actionKin: DELETE_CLUSTER
  condition: selection
level: high
"""


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


@dataclass(frozen=True)
class Called:
    """The exit status and the output of a command."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its output as one JSON document."""
        return json.loads(self.out)

    @property
    def jsonl(self) -> list[Any]:
        """Its output as one JSON document per line."""
        return [json.loads(line) for line in self.out.splitlines()]


def call(*arguments: str, is_terminal: bool = False, stdin: str = "") -> Called:
    """Call the command in this process, like a shell."""
    out = Terminal() if is_terminal else io.StringIO()
    err = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), _stdin(stdin, is_terminal=is_terminal):
        status = cli.call(arguments)
    return Called(status, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def _stdin(text: str, *, is_terminal: bool) -> Iterator[None]:
    class Redirect(contextlib.redirect_stdout[io.StringIO]):
        _stream = "stdin"

    with Redirect(Terminal(text) if is_terminal else io.StringIO(text)):
        yield


@dataclass
class Desk:
    """A folder in which tests call commands."""

    folder: Path
    organisation: Organisation
    account: Account
    cluster: Cluster
    url: str
    webhook: HttpEnd
    faults: Faults
    store: str = ""
    retention: str = ""
    more: str = ""
    source: dict[str, str] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        return self.folder / "actionwatch.yaml"

    @property
    def file(self) -> Path:
        """The file of the store. A test that needs one is skipped with another kind of store."""
        if self.store:
            pytest.skip("about a SQLite file")
        return self.folder / "actionwatch.db"

    def open_store(self) -> Database:
        """Open the store as another process would. The caller closes it."""
        return Database(self.store or f"sqlite:///{self.file}")

    def change(self, statement: str, **values: object) -> None:
        """Change the store directly, as a person with an editor would."""
        with contextlib.closing(self.open_store()) as database, database.write() as connection:
            connection.execute(text(statement), values)

    def write(self, **source: str) -> Desk:
        """Write the configuration, with other values for the source's keys."""
        (self.folder / "rules").mkdir(exist_ok=True)
        (self.folder / "rules" / "cluster_deleted.yml").write_text(CLUSTER_DELETED_RULE)
        keys = {
            "name": "acme",
            "organisation_id": self.organisation.id,
            "username": DEMO_USER,
            "api_key": DEMO_KEY,
            "base_url": self.url,
            "start": "1d",
            "alert_backlog": "true",
            "timeout": f"{LIMIT:g}s",
            **source,
        }
        lines = "\n    ".join(f"{name}: {value}" for name, value in keys.items())
        of_store = [f"url: '{self.store}'"] if self.store else []
        of_store += [f"retention: {{records: {self.retention}}}"] if self.retention else []
        store = f"store: {{{', '.join(of_store)}}}\n" if of_store else ""
        self.config.write_text(
            f"sources:\n  - {lines}\n"
            f"receivers:\n  - name: soar\n    webhook: {{url: '{self.webhook.url}/hook', timeout: {LIMIT:g}s}}\n"
            "    retry: {first: 0.05s, max: 0.1s, give_up_after: 1d}\n"
            f"web: {{listen: '127.0.0.1:0'}}\nlog: {{level: warning}}\n{self.more}{store}"
        )
        return self

    def call(self, *arguments: str, is_terminal: bool = False, stdin: str = "") -> Called:
        """Call a command with this configuration."""
        return call("-c", str(self.config), *arguments, is_terminal=is_terminal, stdin=stdin)

    def act(self, kind: str, minutes_ago: float, user: str = "alice@example.com", text: str = "") -> None:
        """Log an action in the upstream, on the cluster."""
        self.organisation.append(
            kind,
            user_name=user,
            at=datetime.now(UTC) - timedelta(minutes=minutes_ago),
            description=text or f"{kind} by {user}",
            account=self.account,
            cluster=self.cluster,
        )


@contextlib.contextmanager
def new_desk(folder: Path, store: str = "") -> Iterator[Desk]:
    """Start an upstream and a receiver, and stop both at the end. `store` is a URL; without it, the store is a file."""
    organisation = Organisation()
    account = organisation.inventory.add_account("payments")
    cluster = organisation.inventory.add_cluster("payments-prod", account=account)
    upstream = create_app(organisation)
    with running(upstream) as url, HttpEnd(lambda _: Reply(204)) as webhook:
        yield Desk(folder, organisation, account, cluster, url, webhook, upstream.state.emulator.faults, store).write()


@contextlib.contextmanager
def store_under_test(store_kind: str, name: str) -> Iterator[str]:
    """Create an empty database of this name, if the store under test is in PostgreSQL, and yield its URL."""
    if store_kind == "sqlite":
        yield ""
        return
    with postgresql.other_database(name) as url:
        yield url


@pytest.fixture
def desk(tmp_path: Path, store_kind: str) -> Iterator[Desk]:
    """A new desk with an empty store."""
    with store_under_test(store_kind, "desk") as store, new_desk(tmp_path, store) as fresh:
        yield fresh


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, store_kind: str) -> Iterator[Desk]:
    """A shared desk after one round: five records and two delivered alerts. Tests must not change it."""
    folder = tmp_path_factory.mktemp("filled")
    with store_under_test(store_kind, "filled") as store, new_desk(folder, store) as full:
        full.write(poll_interval="1h")  # so that `status` does not find the round too long ago
        full.act("CREATE_CLUSTER", 50, "bob@example.com")
        full.act("DELETE_CLUSTER", 40, "eve@example.com", "Deleted cluster payments-prod")
        full.act("DELETE_CLUSTER", 30, "mallory@example.com", "=cmd()|'\u202e")
        full.act("CHANGE_CLUSTER_FIREWALL_RULES", 20, "Alice@example.com")
        full.act("LIST_KAFKA_ACLS", 10)
        called = full.call("run", "--once")
        assert called.status == 0, called.err
        yield full
