"""`alerts list`: list the alerts, and what holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

import click

from actionwatch.base.clock import utc_now
from actionwatch.base.model import LEVELS, Alert, Record, Silence, Status
from actionwatch.cli import completing
from actionwatch.cli.context import reading_store
from actionwatch.cli.options import limit_option, output_option, time
from actionwatch.cli.output import echo, level_text, print_items
from actionwatch.text.payloads import RECORDS_SHOWN, SuppressedDocument, alert_document, short_id
from actionwatch.text.suggestions import did_you_mean
from actionwatch.text.times import spell_time

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from actionwatch.settings import Settings
    from actionwatch.store.outbox import Stop

_HOLDING = ("silence", "inhibition", "mute", "min_level", "storm", "digest")  # the gates of which people want to know
SEARCHED_ALERTS = 20_000  # the newest ones, unless --since is given: to look at the records of more takes seconds


@click.command("list")
@click.option("--level", "levels", multiple=True, type=click.Choice(list(LEVELS)), help="Only this level (repeatable).")
@click.option(
    "--rule",
    "rules",
    multiple=True,
    metavar="R",
    shell_complete=completing.rules,
    help="Only this rule, by name or id (repeatable).",
)
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice([status.value for status in Status]),
    help="Only alerts in this status (repeatable).",
)
@click.option("--user", metavar="U", help="Only alerts with a record of this user.")
@click.option("--cluster", metavar="C", help="Only alerts with a record of this cluster, by id or name.")
@click.option("--since", type=time, help="Only alerts that opened at or after this time.")
@limit_option("alerts")
@output_option
@click.pass_obj
def list_alerts(
    config: str,
    levels: tuple[str, ...],
    rules: tuple[str, ...],
    statuses: tuple[str, ...],
    user: str | None,
    cluster: str | None,
    since: datetime | None,
    limit: int,
    form: str,
) -> None:
    """List alerts, newest first. A filter without --since searches only the newest 20,000.

    \b
    actionwatch alerts list --level critical --level high --status open
    actionwatch alerts list --user eve@example.com --since 7d
    """
    from actionwatch.store import alerts, outbox, records

    oldest = None
    with reading_store(config) as (settings, connection):
        wanted = alerts.AlertFilter(
            levels=[LEVELS[word] for word in levels],
            statuses=[Status(word) for word in statuses],
            rules=rules,
            user=user,
            cluster=cluster,
            since=since,
        )
        if wanted.is_searching and since is None:
            oldest = alerts.time_of_nth(connection, SEARCHED_ALERTS)
        found = alerts.read_newest(connection, limit, replace(wanted, since=since or oldest))
        ids = [alert.id for alert in found]
        is_json = form != "table"
        shown = records.read_of_alerts(connection, ids, RECORDS_SHOWN) if is_json else {}
        stopped = outbox.read_stopped(connection, ids)
        silenced = {} if is_json else _silences_of(connection, found)
    held = {alert.id: _spell_held(stopped[alert.id], silenced.get(alert.id)) for alert in found}
    nothing = "no matching alerts" if wanted.is_searching else "no alerts"
    _print_alerts(found, form, shown, stopped, held, nothing)
    if oldest is not None and len(found) < limit:
        searched = f"the newest {SEARCHED_ALERTS:,} alerts were searched, back to {spell_time(oldest)}"
        echo(f"note: {searched}: use --since to search further back", err=True)
    if not found:
        _note_unknown_rules(settings, rules)


def _print_alerts(
    found: Sequence[Alert],
    form: str,
    shown: Mapping[str, Sequence[Record]],
    stopped: Mapping[str, Sequence[Stop]],
    held: Mapping[str, str],
    nothing: str,
) -> None:
    print_items(
        found,
        form,
        document=lambda alert: {
            **alert_document(alert, shown[alert.id]),
            "suppressed": suppressed(stopped[alert.id]),
        },
        columns=("opened", "level", "status", "count", "id", "held", "title", "rule"),
        row=lambda alert: (
            alert.opened_at,
            level_text(alert.level.word),
            alert.status.value,
            alert.count,
            alert.id,
            held[alert.id],
            alert.title,
            alert.rule.name,
        ),
        nothing=nothing,
        cut=("title",),
        leave_out=("rule", "count"),
    )


def _silences_of(connection: Connection, found: Sequence[Alert]) -> dict[str, Silence]:
    """Return the active silences that match unresolved alerts, by the id of the alert."""
    from actionwatch.alerts.routes import newest_labels
    from actionwatch.alerts.silences import silence_for
    from actionwatch.store import records, silences

    now = utc_now()
    active = silences.read_active(connection, now)
    near = [alert for alert in found if alert.status is not Status.RESOLVED] if active else []
    newest = records.read_of_alerts(connection, [alert.id for alert in near], 1)
    labels = {alert.id: newest_labels(alert, newest) for alert in near}
    silencing = {alert_id: silence_for(each, active, now) for alert_id, each in labels.items()}
    return {alert_id: silence for alert_id, silence in silencing.items() if silence is not None}


def _spell_held(rows: Sequence[Stop], silence: Silence | None) -> str:
    """Return what held messages of an alert back, or holds its next ones: `silence 3f2a81c0, storm`."""
    found = [f"silence {short_id(silence.id)}"] if silence is not None else []
    for row in rows:
        if row.why in _HOLDING:
            ref = short_id(row.ref) if row.ref and row.why in ("silence", "inhibition") else row.ref or ""
            found.append(f"{row.why} {ref}".strip())
    return ", ".join(dict.fromkeys(found))


def _note_unknown_rules(settings: Settings, names: Sequence[str]) -> None:
    """Warn about rules that are in no file: a removed rule can have alerts, but most are misspelt."""
    from actionwatch.service import configuration

    known = {rule.name.name: rule.name.id for rule in configuration.read_rules(settings).rules} if names else {}
    for name in names:
        if name not in known and name not in known.values():
            hint = did_you_mean(name, known)
            echo(f"note: no rule is named {name}{': ' if hint else ''}{hint}", err=True)


def suppressed(rows: Sequence[Stop]) -> list[SuppressedDocument]:
    """Return the receivers whose message was stopped, the gate and what it refers to; oldest first, without duplicates."""
    from actionwatch.store.outbox import without_digests

    return [{"receiver": row.receiver, "by": row.why, "ref": row.ref} for row in without_digests(rows)]
