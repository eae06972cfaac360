"""An organisation with a history, behind a real socket, and a probe of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from actionwatch.emulator.app import DEMO_KEY, DEMO_USER, create_app
from actionwatch.emulator.faults.playing import Faults
from actionwatch.emulator.server import running
from actionwatch.emulator.state import Organisation
from actionwatch.instaclustr.client import Client, RetryOptions
from actionwatch.instaclustr.kinds import KINDS
from actionwatch.instaclustr.origin import ConnectionOptions
from actionwatch.instaclustr.probe.client import ProbeClient
from actionwatch.instaclustr.probe.findings import ProbeFinding
from actionwatch.instaclustr.probe.probing import ProbeReport, probe
from tests.waiting import PATIENT

USERS = ("wilhelmina@acme.example", "zacharias@acme.example", "svc-quokka")
ACCOUNTS = ("wombat-payments", "numbat-identity")
CLUSTERS = ("wombat-kafka", "numbat-kafka")
LOGGED = ("CREATE_CLUSTER", "DELETE_CLUSTER", "LINK_USER", "BACKUP", "INVITE_USER", "LIST_KAFKA_ACLS", "USER_LOGIN")
WORDS = ("platypus", "echidna", "bandicoot", "cassowary", "kookaburra")
SECRETS = (*USERS, *ACCOUNTS, *CLUSTERS, *WORDS, DEMO_KEY)


@dataclass
class World:
    """The organisation, its faults, and where it is served."""

    organisation: Organisation
    faults: Faults
    url: str

    def probe(self, *faults: str, **changes: Any) -> ProbeReport:
        """Probe it with these faults."""
        self.faults.set(*faults)
        try:
            return probe_at(self.url, self.organisation.id, **changes)
        finally:
            self.faults.clear()


@contextmanager
def serve_world(count: int = 130, *, second: int = 30) -> Iterator[World]:
    """Serve an organisation with `count` actions, the newest some minutes ago, in this second of its minute.

    The four newest actions have the same time.
    """
    organisation = Organisation()
    accounts = [organisation.inventory.add_account(name) for name in ACCOUNTS]
    clusters = [
        organisation.inventory.add_cluster(name, account=account)
        for name, account in zip(CLUSTERS, accounts, strict=True)
    ]
    newest = datetime.now(UTC).replace(second=second, microsecond=137_000) - timedelta(minutes=5)
    for number in range(count):
        kind, is_twin = LOGGED[number % len(LOGGED)], number < 4
        is_of_account = kind not in KINDS or KINDS[kind].scope == "account"
        organisation.append(
            kind,
            at=newest if is_twin else newest - timedelta(seconds=11 * number, milliseconds=29 * number),
            user_name=USERS[number % len(USERS)],
            description=f"{WORDS[number % len(WORDS)]} {number}",
            account=accounts[number % 2] if is_of_account else None,
            cluster=clusters[number % 2] if is_of_account and number % 3 else None,
        )
    app = create_app(organisation)
    with running(app) as url:
        yield World(organisation, app.state.emulator.faults, url)


def probe_at(
    url: str,
    organisation_id: str = "org-1",
    *,
    aliases: Mapping[str, Sequence[str]] | None = None,
    known_kinds: Sequence[str] = (),
    sleep: Callable[[float], None] = lambda _: None,
) -> ProbeReport:
    """Probe an upstream."""
    connection = ConnectionOptions(url, organisation_id, DEMO_USER, DEMO_KEY, timeout=PATIENT)
    with Client(
        connection, source="acme", field_aliases=aliases or {}, retry=RetryOptions(attempts=1, at_most=PATIENT)
    ) as client:
        return probe(ProbeClient(client, sleep=sleep), known_kinds)


def found(report: ProbeReport, subject: str) -> ProbeFinding:
    """Return the only finding on a subject."""
    (one,) = [finding for finding in report.findings if finding.subject == subject]
    return one


def printed(report: ProbeReport) -> str:
    """Return everything that a report could print."""
    return json.dumps(report.document())
