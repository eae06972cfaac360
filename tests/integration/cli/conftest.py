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

from actionwatch import cli
from actionwatch.emulator.app import DEMO_KEY, DEMO_USER, create_app
from actionwatch.emulator.faults.playing import Faults
from actionwatch.emulator.server import running
from actionwatch.emulator.state import Account, Cluster, Organisation
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
    more: str = ""
    source: dict[str, str] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        return self.folder / "actionwatch.yaml"

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
        self.config.write_text(
            f"sources:\n  - {lines}\n"
            f"receivers:\n  - name: soar\n    webhook: {{url: '{self.webhook.url}/hook', timeout: {LIMIT:g}s}}\n"
            "    retry: {first: 0.05s, max: 0.1s, give_up_after: 1d}\n"
            f"web: {{listen: '127.0.0.1:0'}}\nlog: {{level: warning}}\n{self.more}"
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
def new_desk(folder: Path) -> Iterator[Desk]:
    """Start an upstream and a receiver, and stop both at the end."""
    organisation = Organisation()
    account = organisation.add_account("payments")
    cluster = organisation.add_cluster("payments-prod", account=account)
    upstream = create_app(organisation)
    with running(upstream) as url, HttpEnd(lambda _: Reply(204)) as webhook:
        yield Desk(folder, organisation, account, cluster, url, webhook, upstream.state.emulator.faults).write()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A new desk with an empty store."""
    with new_desk(tmp_path) as fresh:
        yield fresh


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A shared desk after one round: five records and two delivered alerts. Tests must not change it."""
    with new_desk(tmp_path_factory.mktemp("filled")) as full:
        full.write(poll_interval="1h")  # so that `status` does not find the round too long ago
        full.act("CREATE_CLUSTER", 50, "bob@example.com")
        full.act("DELETE_CLUSTER", 40, "eve@example.com", "Deleted cluster payments-prod")
        full.act("DELETE_CLUSTER", 30, "mallory@example.com", "=cmd()|'\u202e")
        full.act("CHANGE_CLUSTER_FIREWALL_RULES", 20, "Alice@example.com")
        full.act("LIST_KAFKA_ACLS", 10)
        called = full.call("run", "--once")
        assert called.status == 0, called.err
        yield full
