"""What the service runs again and again is served by an index, on a large store: each statement of a round, in both databases.

`test_plans.py` asks chosen questions, retention too, and also with statistics on SQLite. Here the whole service runs, so that
a statement that somebody adds is checked.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from actionwatch.base.clock import machine_now
from actionwatch.cli.snapshot import take_snapshot
from actionwatch.emulator.app import DEMO_KEY, DEMO_USER, create_app
from actionwatch.emulator.server import running
from actionwatch.emulator.state import Organisation
from actionwatch.service.app import App
from actionwatch.service.configuration import read_settings
from actionwatch.service.once import run_once
from actionwatch.store import positions, records
from actionwatch.store.database import Database
from actionwatch.web.metrics import StoreCollector
from tests.builders import url_of
from tests.integration.notifiers.http_end import HttpEnd, Reply, Request
from tests.integration.store.test_plans import SIZES, check_statement, filled_store
from tests.positions import move_to
from tests.statements import run_statements

ALLOWED = (
    "SELECT anon_1.source, anon_1.seen_at - anon_1.occurred_at",  # lateness in `/metrics`: of the newest 10,000 records
    "SELECT alert.level, alert.status, count(*)",  # alerts in `/metrics`: of an index with nothing else
)
"""Statements that may read more than the others: how they begin."""
NO_WAIT = timedelta(0)
CONFIG = """
store: {{url: "{store}"}}
rules: ["rules/"]
sources:
  - name: acme
    organisation_id: {organisation}
    username: {user}
    api_key: {key}
    base_url: {upstream}
receivers:
  - name: hook
    webhook: {{url: "{hook}"}}
  - name: mail
    webhook: {{url: "{hook}"}}
    fallback: hook
route: {{receivers: [hook, mail]}}
streams:
  - name: evidence
    files: {{url: 'file://{folder}'}}
    what: everything
    wait: 0s
"""
RULE = """
title: Backup
id: 1f0c6a0e-7a0b-4d50-9f9c-0d1f6c1d2a09
name: backup
level: high
logsource: {product: instaclustr, service: user_actions}
detection:
  backup: {actionKind: BACKUP}
  condition: backup
"""


COUNTING = """
title: {name}
name: {name}
level: low
logsource: {{product: instaclustr, service: user_actions}}
correlation: {correlation}
"""
CORRELATIONS = {
    "burst": "{type: event_count, rules: [backup], group-by: [description], timespan: 1h, condition: {gte: 1}, generate: true}",
    "news": "{type: new_term, rules: [backup], fields: [description], history: 1d, generate: true}",
}


@dataclass
class Responding:
    """A webhook that accepts some messages, and refuses others for a while or for good."""

    count: int = 0
    statuses: tuple[int, ...] = (200, 200, 200, 503, 400)

    def __call__(self, _: Request) -> Reply:
        """Respond with the next status."""
        self.count += 1
        return Reply(self.statuses[self.count % len(self.statuses)])


@dataclass
class Rounds:
    """Rounds of the service on a large store, and the statements that they ran."""

    app: App
    organisation: Organisation
    ran: list[tuple[str, Any]] = field(default_factory=list)

    def run(self, size: int) -> None:
        """Log so many actions, each of which opens an alert; poll, match and deliver; then show how it stands."""
        for number in range(size):
            self.organisation.append("BACKUP", at=machine_now(), description=f"{size} {number}")
        result = run_once(self.app, NO_WAIT)
        assert result.failures == []
        take_snapshot(self.app.settings, self.app.database)
        list(StoreCollector(self.app.database, self.app.settings.poll_intervals, self.app.clock).collect())


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def rounds(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rounds]:
    """Run rounds with one, two, three and many new alerts."""
    folder = tmp_path_factory.mktemp("rounds")
    organisation = Organisation(clock=machine_now)
    with contextlib.ExitStack() as stack:
        filled = stack.enter_context(filled_store(request.param, folder))
        _settle(filled)
        upstream = stack.enter_context(running(create_app(organisation)))
        hook = stack.enter_context(contextlib.closing(HttpEnd(Responding())))
        (folder / "rules").mkdir()
        (folder / "rules" / "backup.yml").write_text(RULE)
        for name, correlation in CORRELATIONS.items():
            (folder / "rules" / f"{name}.yml").write_text(COUNTING.format(name=name, correlation=correlation))
        config = folder / "actionwatch.yaml"
        values = {"organisation": organisation.id, "user": DEMO_USER, "key": DEMO_KEY}
        config.write_text(
            CONFIG.format(store=url_of(filled), upstream=upstream, hook=hook.url, folder=folder, **values)
        )
        app = stack.enter_context(contextlib.closing(App(read_settings(config, {}))))
        made = Rounds(app, organisation)
        made.run(1)  # the first round also learns what there is
        with run_statements() as made.ran:
            for size in SIZES:
                made.run(size)
        yield made


def _settle(filled: Database) -> None:
    """Match what the store was filled with."""
    with filled.write() as connection:
        for step in (positions.MATCHED, positions.CORRELATED):
            move_to(connection, step, records.newest_id(connection))


def test_every_statement_of_a_round_uses_its_index(rounds: Rounds) -> None:
    """No statement that the service runs in a loop reads a large part of a table, whatever the number of values in it."""
    each = dict(rounds.ran)
    tables = ("record", "alert", "delivery", "alert_record", "receipt", "row_version", "hit", "correlated_alert")
    missing = [name for name in tables if not any(f" {name} " in statement for statement in each)]
    assert not missing, "the rounds did not use these tables"
    with rounds.app.database.joined(alone=True):
        for statement, parameters in each.items():
            if not statement.startswith(ALLOWED):
                check_statement(rounds.app.database, statement, parameters)
