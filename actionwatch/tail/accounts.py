"""Watch the linked accounts: each change becomes a record that rules can match.

The log of an organisation does not show the actions of an account after it was unlinked, perhaps not even the unlinking. The
kinds of these records begin with an underscore, their keys with `own-`: no proof counts them as records of the upstream.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec
import structlog

from actionwatch.alerts.self_alerts import SelfAlerts
from actionwatch.base.clock import is_due, to_micros
from actionwatch.base.errors import AccessDenied, SourceError
from actionwatch.base.ids import stable_id
from actionwatch.base.model import Entity, LinkedAccount, Record
from actionwatch.instaclustr.client import Client
from actionwatch.instaclustr.kinds import OWN_KINDS
from actionwatch.store import accounts, records, self_alerts
from actionwatch.store.database import Database
from actionwatch.text.payloads import instant

IDP_SYNC = "isEnabledIdpSyncedToOrganisation"
LIST_EVERY = timedelta(minutes=5)
_FIRST_SECONDS = 5.0  # how long the first poll waits for the names of the accounts, which rules may match
_UNLISTED_TIMES = 3  # failures in a row: a single lost response is not worth an alert
_UNLISTED_LONGEST = timedelta(minutes=15)  # the same, for a service that is started for each poll
_REMEDY = "run 'actionwatch accounts list'; if the upstream has a fault, see the vendor's status page"

_Names = Sequence[tuple[datetime | None, str]]
"""The names of an account, the oldest first, each with its end (None: it is the current name)."""

log = structlog.get_logger()


class AccountWatch:
    """Watches the linked accounts of one organisation for one source. A change that several sources see is one change."""

    def __init__(
        self,
        source: str,
        upstream: Client,
        database: Database,
        clock: Callable[[], datetime],
        self_alerts: SelfAlerts,
        on_stored: Callable[[], None] = lambda: None,
        affected_rules: Callable[[], Sequence[str]] = list,
        *,
        organisation: str,
        first_seconds: float = _FIRST_SECONDS,
    ) -> None:
        """`affected_rules` names the rules that match nothing while the accounts cannot be listed.

        `first_seconds`: how long `wait_for_first` waits.
        """
        self._first_seconds = first_seconds
        self._source = source
        self._organisation = organisation
        self._upstream = upstream
        self._database = database
        self._clock = clock
        self._self_alerts = self_alerts
        self._on_stored = on_stored
        self._affected_rules = affected_rules
        self._error: SourceError | None = None
        self._failure_count = 0
        self._no_wait = threading.Event()
        """Whether polls no longer wait for a listing: one has succeeded or failed, or takes too long."""
        self._listing_count = self._reported_count = 0
        self._lock = threading.Lock()  # for `_names`: a listing and a poll run at the same time
        self._names: Mapping[str, _Names] | None = None

    def run_once(self) -> int:
        """List the accounts and store what changed, with a record of each change; return the number of changes.

        A failure is logged; `note_poll` decides whether to report it. Polls do not wait for a listing, except the first one a
        little. Raises: StoreError.
        """
        try:
            return self._list()
        finally:
            self._listing_count += 1
            self._no_wait.set()

    def may_rest(self) -> timedelta:
        """Return how long the next listing may wait, because another process has just listed them for the same store.

        Then polls need not wait for it: the names are stored. It may not if a person waits for the end of a self-alert.
        Raises: StoreError.
        """
        with self._database.read() as connection:
            listed_at = accounts.listed_at(connection, self._organisation)
            is_reported = self_alerts.read(connection, "accounts_refused", self._source) is not None
        now = self._clock()
        if listed_at is None or is_reported or is_due(listed_at, LIST_EVERY, now):
            return timedelta(0)
        self._no_wait.set()
        return listed_at + LIST_EVERY - now

    def _list(self) -> int:
        try:
            listed = {account.id: account for account in self._upstream.linked_accounts()}
        except SourceError as exc:
            self._error = exc
            self._failure_count += 1
            log.warning("accounts_not_listed", source=self._source, error=str(exc))
            return 0
        self._error, self._failure_count = None, 0
        now = self._clock()
        with self._database.write() as connection:
            is_first = accounts.listed_at(connection, self._organisation) is None
            known = accounts.read_current(connection, self._organisation)
            found = [] if is_first else [self._record(*change, now) for change in _changes(known, listed)]
            accounts.note_listed(connection, self._organisation, now, is_first=is_first)
            for account_id in [key for key in known if _used(known[key]) != _used(listed.get(key))]:
                accounts.end(connection, self._organisation, account_id, now)
            for account in [account for key, account in listed.items() if known.get(key) != account]:
                if _used(known.get(account.id)) != _used(account):
                    accounts.begin(connection, self._organisation, account, now)
                else:
                    accounts.refresh(connection, self._organisation, account)
            records.insert_new(connection, found)
        with self._lock:
            self._names = None
        if found:
            self._on_stored()
        return len(found)

    def wait_for_first(self) -> None:
        """Wait a little for the first listing; only the first poll of a process does."""
        self._no_wait.wait(self._first_seconds)
        self._no_wait.set()

    def note_poll(self) -> None:
        """Report that the accounts cannot be listed, or settle that; once for each listing.

        Call it after each poll that got responses: if the log cannot be read either, other self-alerts report that.
        """
        listing_count = self._listing_count
        if listing_count != self._reported_count:
            self._report(self._error)
            self._reported_count = listing_count

    def _report(self, error: SourceError | None) -> None:
        if error is None:
            self._self_alerts.settle_trouble("accounts_refused", self._source)
            return
        with self._database.read() as connection:
            listed_at = accounts.listed_at(connection, self._organisation)
        is_old = listed_at is not None and self._clock() - listed_at >= _UNLISTED_LONGEST
        if isinstance(error, AccessDenied) or self._failure_count >= _UNLISTED_TIMES or is_old:
            since = f"since {instant(listed_at)}" if listed_at else "yet"
            rules = ", ".join(sorted(self._affected_rules())) or "none"
            what = (
                f"the linked accounts could not be listed {since}: {error.what}. An account that is unlinked, linked, "
                f"renamed or loses its identity-provider sync goes unnoticed. Affected rules: {rules}"
            )
            self._self_alerts.report("accounts_refused", self._source, what, error.remedy or _REMEDY)

    def name_accounts(self, found: Sequence[Record]) -> Sequence[Record]:
        """Give accounts the name that they had at the time of a record, if it has none, or the name of a later time."""
        if all(record.account.id is None for record in found):
            return found
        names = self._read_names()
        return [_named(record, names) for record in found]

    def _read_names(self) -> Mapping[str, _Names]:
        # Needed for every page of a backlog: read once, until the accounts are listed again.
        with self._lock:
            if self._names is None:
                with self._database.read() as connection:
                    self._names = accounts.name_history(connection, self._organisation)
            return self._names

    def _record(self, kind: str, account: LinkedAccount, before: LinkedAccount | None, now: datetime) -> Record:
        operation, severity, text = OWN_KINDS[kind]
        return Record(
            key=f"own-{to_micros(now):016x}-{stable_id(self._organisation, kind, account.id, instant(now))}",
            source=self._source,
            occurred_at=now,
            seen_at=now,
            action_kind=kind,
            operation=operation,
            scope="organisation",
            severity=severity,
            description=text.format(name=account.name, before=before.name if before else ""),
            account=Entity(account.id, account.name),
            raw=json.dumps(
                {"action": kind, "account": dict(account.raw), "before": dict(before.raw) if before else None}
            ),
        )


def _named(record: Record, names: Mapping[str, _Names]) -> Record:
    account = record.account
    known = None if account.id is None else names.get(account.id)
    if known is None or account.name not in (None, known[-1][1]):
        return record
    name = next((name for until, name in known if until is None or until > record.occurred_at), known[-1][1])
    return record if name == account.name else msgspec.structs.replace(record, account=Entity(account.id, name))


def _used(account: LinkedAccount | None) -> tuple[object, ...] | None:
    """Return what records and rules use of an account: its history has an entry for each change of that, not of all fields."""
    return None if account is None else (account.name, account.raw.get(IDP_SYNC))


def _changes(
    known: Mapping[str, LinkedAccount], listed: Mapping[str, LinkedAccount]
) -> Iterator[tuple[str, LinkedAccount, LinkedAccount | None]]:
    """Yield each change as (kind, the account as it is or was, what it was before)."""
    for key, account in listed.items():
        before = known.get(key)
        if before is None:
            yield "_LINKED_ACCOUNT_ADDED", account, None
            continue
        if before.name != account.name:
            yield "_LINKED_ACCOUNT_RENAMED", account, before
        if before.raw.get(IDP_SYNC) is True and account.raw.get(IDP_SYNC) is False:
            yield "_LINKED_ACCOUNT_IDP_SYNC_LOST", account, before
    for key, account in known.items():
        if key not in listed:
            yield "_LINKED_ACCOUNT_REMOVED", account, account
