"""An organisation with a history, behind a real socket, and live checks of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from actionwatch.emulator.app import DEMO_KEY, DEMO_USER, create_app
from actionwatch.emulator.faults.playing import Faults
from actionwatch.emulator.server import running
from actionwatch.emulator.state import Organisation
from actionwatch.instaclustr.client import Client, RetryOptions
from actionwatch.instaclustr.kinds import KINDS
from actionwatch.instaclustr.origin import ConnectionOptions
from actionwatch.service.live_source import Outcome, check_source
from tests.waiting import PATIENT

USERS = ("wilhelmina@acme.example", "zacharias@acme.example", "svc-quokka")
ACCOUNTS = ("wombat-payments", "numbat-identity")
CLUSTERS = ("wombat-kafka", "numbat-kafka")
LOGGED = ("CREATE_CLUSTER", "DELETE_CLUSTER", "LINK_USER", "BACKUP", "INVITE_USER", "LIST_KAFKA_ACLS", "USER_LOGIN")
WORDS = ("platypus", "echidna", "bandicoot", "cassowary", "kookaburra")
SECRETS = (*USERS, *ACCOUNTS, *CLUSTERS, *WORDS, DEMO_KEY)


@dataclass
class World:
    """The organisation, its faults, the requests so far, and where it is served."""

    organisation: Organisation
    faults: Faults
    traffic: Counter[tuple[str, int]]
    url: str

    def check(self, *faults: str, aliases: Mapping[str, Sequence[str]] | None = None) -> dict[str, Outcome]:
        """Check it as a source, with these faults. Return the outcomes by subject."""
        self.faults.set(*faults)
        connection = ConnectionOptions(self.url, self.organisation.id, DEMO_USER, DEMO_KEY, timeout=PATIENT)
        retry = RetryOptions(
            attempts=4, at_most=PATIENT, first_wait=timedelta(0), longest_wait=timedelta(0), jitter=timedelta(0)
        )
        try:
            with Client(connection, source="acme", field_aliases=aliases or {}, retry=retry) as client:
                outcomes = [*check_source(client, self.organisation.id, [*KINDS], {self.url})]
        finally:
            self.faults.clear()
        return {outcome.subject.removeprefix("source acme: "): outcome for outcome in outcomes}


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
        yield World(organisation, app.state.emulator.faults, app.state.emulator.traffic, url)
