"""Whatever was removed or renamed, each row of the store has an owner: docs/architecture.md, "States and their owners"."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import Column, Connection, func, select

from actionwatch.alerts.ledger import SELF_RULE
from actionwatch.base.delivery import READDRESSED
from actionwatch.store import backlog_progress, marks, receivers, self_alerts, unknown_kinds
from actionwatch.store.self_alerts import OpenSelfAlert
from actionwatch.store.tables import (
    ALERT,
    ALERT_HISTORY,
    ALERT_RECORD,
    CORRELATED_ALERT,
    CORRELATION_VERSION,
    DELIVERY,
    MESSAGE_REFERENCE,
    RECEIPT,
    RECORD,
    RULE_VERSION,
    SILENCE,
    TEMPLATE_VERSION,
    TOUCHED_GROUP,
    UNPROVED_WINDOW,
)
from tests.simulation.correlations import ABSENCES, correlation
from tests.simulation.site import BROKEN, SILENCES, SLACK_TEMPLATE, Setup, rule_id

_OLD = (
    (RECORD, "seen_at"),
    (RECEIPT, "judged_at"),
    (DELIVERY, "created_at"),
    (UNPROVED_WINDOW, "ends_at"),
    (CORRELATED_ALERT, "until"),
    (ALERT, "opened_at"),
)
"""What retention deletes, by which time."""
_MACHINE = "this machine"


def leftovers(connection: Connection, setup: Setup, now: datetime) -> Iterator[str]:
    """Yield what is left of earlier configurations than `setup`, and what the store does not know of this one."""
    yield from _of_tables(connection, setup, now)
    yield from _of_alerts(connection, setup)
    yield from _of_self_alerts(connection, setup)


def can_forget(connection: Connection, setup: Setup, before: datetime) -> bool:
    """Return whether retention may delete all of before a time.

    While a source proves nothing, or no record has a readable time, its polls need all records since its mark.
    """
    known = marks.read_all(connection)
    return all(known[name].mark >= before + timedelta(days=600) for name in setup.sources.values())


def outlived(connection: Connection, before: datetime) -> Iterator[str]:
    """Yield what retention has left of before a time, except alerts about what still lasts, and of alerts that it deleted."""
    kept = set(connection.execute(select(ALERT.c.id)).scalars())
    summaries = set(connection.execute(select(DELIVERY.c.alert_id)).scalars())
    for column, owners in (
        (ALERT_RECORD.c.alert_id, kept),
        (MESSAGE_REFERENCE.c.alert_id, kept),
        (ALERT_HISTORY.c.alert_id, kept | summaries),
    ):
        if orphans := set(connection.execute(select(column)).scalars()) - owners:
            yield f"stuck: {column.table.name} of the deleted alerts {orphans}"
    missing = select(func.coalesce(CORRELATED_ALERT.c.reported_as, CORRELATED_ALERT.c.id))
    lasting = set(connection.execute(missing.where(CORRELATED_ALERT.c.is_open)).scalars())
    lasting |= {each.alert_id for each in self_alerts.read_all(connection)}
    for table, name in _OLD:
        for row in connection.execute(select(table).where(table.c[name] < before)).mappings():
            is_over_for_long = row.get("resolved_at") is None or row["resolved_at"] < before
            if is_over_for_long and row.get("alert_id", row.get("id")) not in lasting:
                yield f"stuck: retention leaves a row of {table.name}: {dict(row, raw=None)}"


def _of_tables(connection: Connection, setup: Setup, now: datetime) -> Iterator[str]:
    """Each row belongs to something that is configured or runs, and everything that runs has its row."""

    def values(column: Column[str]) -> set[str]:
        return set(connection.execute(select(column)).scalars())

    running, correlated = set(map(rule_id, setup.rules)), set(map(rule_id, setup.correlations))
    of_files = SILENCE.c.file.is_not(None), SILENCE.c.ends_at > now
    files = connection.execute(select(SILENCE.c.file).where(*of_files)).scalars()
    templates = {SLACK_TEMPLATE, *(Path(name).name for name in setup.files if name not in BROKEN)}
    lasting = {name for name in setup.silences if SILENCES[name][1] > now}
    for what, found, wanted in (
        ("versions of rules", values(RULE_VERSION.c.rule_id), running | correlated),
        ("versions of correlations", values(CORRELATION_VERSION.c.rule_id), correlated),
        ("versions of templates", values(TEMPLATE_VERSION.c.name), templates),
        ("silences of files", {Path(file).stem for file in files}, lasting),
    ):
        if found != wanted:
            yield f"stuck: the {what} {found}, instead of {wanted}"
    if gone := receivers.read_all(connection).keys() - set(setup.receivers.values()):
        yield f"stuck: the health of {gone}"
    if unread := backlog_progress.read_all(connection).keys() & set(setup.sources.values()):
        yield f"stuck: the progress of {unread}"
    known = marks.read_all(connection)
    is_read = all(
        known[name].proved_through >= known[name].alerts_from for name in setup.sources.values() if name in known
    )
    if is_read and connection.execute(select(TOUCHED_GROUP)).first():
        yield "stuck: touched groups, although all backlog is read"


def _of_alerts(connection: Connection, setup: Setup) -> Iterator[str]:
    """What is missing is still expected; an alert about what lasts is open only as long as that."""
    opened = connection.execute(select(CORRELATED_ALERT).where(CORRELATED_ALERT.c.is_open)).all()
    for row in opened:
        rules = [correlation(name, setup.people) for name in setup.correlations if rule_id(name) == row.rule_id]
        if not any(row.group_values in (rule.expected or ()) for rule in rules):
            yield f"stuck: {row.group_values} is missing, which nobody expects"
    lasting = {row.reported_as or row.id for row in opened}
    lasting |= {each.alert_id for each in self_alerts.read_all(connection)}
    reopened = select(ALERT_HISTORY.c.alert_id).where(ALERT_HISTORY.c.stage == "reopened")  # a person ends these
    of_what_lasts = ALERT.c.rule_id.in_((SELF_RULE.id, *map(rule_id, ABSENCES)))
    its = of_what_lasts, ALERT.c.status != "resolved", ALERT.c.id.not_in(reopened)
    for row in connection.execute(select(ALERT).where(*its)):
        if row.id not in lasting:
            yield f"stuck: {row.title} of {row.group_values}"


def _of_self_alerts(connection: Connection, setup: Setup) -> Iterator[str]:
    """Each dead letter, unknown kind and broken file is reported, and each report is about something that exists."""
    opened = {(each.trouble, _subject(each)) for each in self_alerts.read_all(connection)}
    dead = select(DELIVERY.c.receiver).where(DELIVERY.c.status == "dead", DELIVERY.c.why.is_distinct_from(READDRESSED))
    letters = set(connection.execute(dead).scalars())
    strange = {name for name in setup.sources.values() if unknown_kinds.read(connection, name)}
    broken = set(setup.files) & set(BROKEN)
    for trouble, wanted in (("dead_letters", letters), ("unknown_kind", strange), ("rule_broken", broken)):
        found = {subject for each, subject in opened if each == trouble}
        if found != wanted:
            yield f"{'silent' if wanted - found else 'stuck'}: {trouble} of {found} is reported, instead of {wanted}"
    owners = {*setup.sources.values(), *setup.receivers.values(), _MACHINE, *letters, *broken}
    for trouble, subject in opened:
        if subject not in owners:
            yield f"stuck: the self-alert {trouble} of {subject}"


def _subject(opened: OpenSelfAlert) -> str:
    return "/".join(Path(opened.subject).parts[-2:]) if opened.trouble == "rule_broken" else opened.subject
