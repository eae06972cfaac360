"""`alerts`: list, show, acknowledge and resolve alerts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from actionwatch.base.clock import utc_now
from actionwatch.base.delivery import Delivery, DeliveryStatus
from actionwatch.base.model import LEVELS, Alert, Record, Silence, Status
from actionwatch.cli import EXIT_FAILED
from actionwatch.cli.context import changing_store, only_one, reading_store, warn_if_nothing_runs
from actionwatch.cli.options import author_option, limit_option, output_option, time
from actionwatch.cli.output import (
    SHORT_ID,
    STYLES,
    console,
    echo,
    hang,
    level_text,
    print_document,
    print_items,
    print_table,
    spell,
)
from actionwatch.text.payloads import RECORDS_SHOWN, alert_document, instant
from actionwatch.text.suggestions import did_you_mean

if TYPE_CHECKING:
    from rich.console import Console
    from sqlalchemy import Connection

    from actionwatch.matching.operator_actions import OperatorActions
    from actionwatch.settings import Settings

_HOLDING = ("silence", "inhibition", "mute", "min_level", "storm", "digest")  # the gates of which people want to know
SEARCHED_ALERTS = 20_000  # the newest ones, unless --since is given: to look at the records of more takes seconds
_ids_argument = click.argument("ids", metavar="ID...", nargs=-1, required=True)
_comment_option = click.option(
    "--comment", default="", metavar="TEXT", help="The reason. It is kept in the history of the alert."
)
command = click.Group(help="List, show, acknowledge and resolve alerts.")


@command.command("list")
@click.option("--level", "levels", multiple=True, type=click.Choice(list(LEVELS)), help="Only this level (repeatable).")
@click.option("--rule", "rules", multiple=True, metavar="R", help="Only this rule, by name or id (repeatable).")
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
        rows = {alert_id: outbox.read_of_alert(connection, alert_id) for alert_id in ids}
        silenced = {} if is_json else _silences_of(connection, found)
    held = {alert.id: _spell_held(rows[alert.id], silenced.get(alert.id)) for alert in found}
    nothing = "no matching alerts" if wanted.is_searching else "no alerts"
    _print_alerts(found, form, shown, rows, held, nothing)
    if oldest is not None and len(found) < limit:
        searched = f"the newest {SEARCHED_ALERTS:,} alerts were searched, back to {instant(oldest)}"
        echo(f"note: {searched}: use --since to search further back", err=True)
    if not found:
        _note_unknown_rules(settings, rules)


def _print_alerts(
    found: Sequence[Alert],
    form: str,
    shown: Mapping[str, Sequence[Record]],
    rows: Mapping[str, Sequence[Delivery]],
    held: Mapping[str, str],
    nothing: str,
) -> None:
    print_items(
        found,
        form,
        document=lambda alert: {
            **alert_document(alert, shown[alert.id]),
            "suppressed": _suppressed(rows[alert.id]),
        },
        columns=("opened (UTC)", "level", "status", "count", "id", "held", "title", "rule"),
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
    from actionwatch.alerts.routes import alert_labels
    from actionwatch.alerts.silences import silence_for
    from actionwatch.store import records, silences

    now = utc_now()
    active = silences.read_active(connection, now)
    near = [alert for alert in found if alert.status is not Status.RESOLVED] if active else []
    newest = records.read_of_alerts(connection, [alert.id for alert in near], 1)
    labels = {alert.id: alert_labels(alert, next(iter(newest[alert.id]), None)) for alert in near}
    silencing = {alert_id: silence_for(each, active, now) for alert_id, each in labels.items()}
    return {alert_id: silence for alert_id, silence in silencing.items() if silence is not None}


def _spell_held(rows: Sequence[Delivery], silence: Silence | None) -> str:
    """Return what held messages of an alert back, or holds its next ones: `silence 3f2a81c0, storm`."""
    found = [f"silence {silence.id[:SHORT_ID]}"] if silence is not None else []
    held = (DeliveryStatus.SUPPRESSED, DeliveryStatus.COLLAPSED, DeliveryStatus.HELD)
    for row in rows:
        if row.status in held and row.why in _HOLDING:
            ref = row.ref[:SHORT_ID] if row.ref and row.why in ("silence", "inhibition") else row.ref or ""
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


@command.command("show")
@click.argument("alert_id", metavar="ID")
@output_option
@click.pass_obj
def show(config: str, alert_id: str, form: str) -> None:
    """Show one alert with its records, deliveries and history. A unique prefix of the id is enough."""
    with reading_store(config) as (_, connection):
        document = _describe(connection, alert_id)
    print_document(document, form, as_text=lambda: _print(document))


@command.command("ack")
@_ids_argument
@_comment_option
@author_option
@click.pass_obj
def acknowledge(config: str, ids: tuple[str, ...], comment: str, author: str) -> int:
    """Acknowledge alerts. This stops their escalation, but not counting and updates. A unique prefix of an id is enough."""
    status = 0
    for alert in _decide(config, ids, lambda actions, found: actions.acknowledge(found, author, comment)):
        if alert.status is Status.RESOLVED:
            what = f"{alert.id} was resolved by {alert.resolved_by}: it can no longer be acknowledged"
            echo(f"actionwatch: {what}{'; the comment is kept' if comment else ''}", err=True)
            status = EXIT_FAILED
        else:
            echo(f"{alert.id} is acknowledged by {alert.acked_by}")
    return status


@command.command("resolve")
@_ids_argument
@_comment_option
@author_option
@click.pass_obj
def resolve(config: str, ids: tuple[str, ...], comment: str, author: str) -> None:
    """Resolve alerts. The next match opens a new one. A unique prefix of an id is enough."""
    for alert in _decide(config, ids, lambda actions, found: actions.resolve(found, author, comment)):
        echo(f"{alert.id} is resolved by {alert.resolved_by}")


def _decide(
    config: str, ids: Sequence[str], decision: Callable[[OperatorActions, str], tuple[Alert, bool]]
) -> Iterator[Alert]:
    """Carry out a decision about each alert, and yield its result. If one id is wrong, nothing is changed."""
    from actionwatch.matching.operator_actions import OperatorActions
    from actionwatch.service.receivers import build_addressing

    with changing_store(config) as (settings, database):
        with database.read() as connection:
            chosen = dict.fromkeys(_find(connection, beginning).id for beginning in ids)
        actions = OperatorActions(database, build_addressing(settings), utc_now)
        for alert_id in chosen:
            yield decision(actions, alert_id)[0]
        warn_if_nothing_runs(database)


def _describe(connection: Connection, alert_id: str) -> dict[str, Any]:
    """Return an alert as JSON, with `deliveries` and `history`."""
    from actionwatch.store import alert_history, outbox, records

    alert = _find(connection, alert_id)
    shown = records.read_of_alerts(connection, [alert.id], RECORDS_SHOWN)[alert.id]
    deliveries = outbox.read_of_alert(connection, alert.id)
    lines = alert_history.read(connection, alert.id)
    return {
        **alert_document(alert, shown),
        "suppressed": _suppressed(deliveries),
        "deliveries": [delivery_document(delivery) for delivery in deliveries],
        "history": [{"at": line.at, "stage": line.stage, "what": line.what} for line in lines],
    }


def _find(connection: Connection, beginning: str) -> Alert:
    from actionwatch.store import alerts

    return only_one(alerts.read_by_prefix(connection, beginning), "alert", beginning, "alerts list")


def delivery_document(delivery: Delivery) -> dict[str, Any]:
    """Return a delivery as JSON."""
    return {
        "id": delivery.id,
        "alert": None if delivery.event.value == "summary" else delivery.alert_id,
        "receiver": delivery.receiver,
        "event": delivery.event.word,
        "status": delivery.status.value,
        "attempts": delivery.attempts,
        "created_at": instant(delivery.created_at),
        "due_at": instant(delivery.due_at),
        "sent_at": delivery.sent_at and instant(delivery.sent_at),
        "last_error": delivery.last_error,
        "fallback_of": delivery.fallback_of,
        "why": delivery.why,
    }


def _suppressed(rows: Sequence[Delivery]) -> list[dict[str, Any]]:
    """Return the receivers whose message was stopped, the gate and what it refers to; oldest first, without duplicates."""
    stopped = (DeliveryStatus.SUPPRESSED, DeliveryStatus.COLLAPSED)
    found = [{"receiver": row.receiver, "by": row.why, "ref": row.ref} for row in rows if row.status in stopped]
    return [item for number, item in enumerate(found) if item not in found[:number]]


def _print(document: dict[str, Any]) -> None:
    out = console()
    style = STYLES.get(document["level"], "dim") + " reverse"
    out.print(hang(f" {document['level'].upper()} ", document["title"], style))
    out.print(spell(document["body"]), markup=False)
    facts = [
        ("rule", f"{document['rule']['name']} ({document['rule']['id']})"),
        ("alert", document["id"]),
        ("status", document["status"]),
        ("acked by", document["acked_by"]),
        ("resolved by", document["resolved_by"]),
        ("count", document["count"]),
        ("first, last", f"{document['first_at']}, {document['last_at']}"),
        ("group", ", ".join(f"{name}={value}" for name, value in document["group"].items())),
    ]
    for name, value in facts:
        if value:
            out.print(hang(f"{name:<11}", str(value), "dim"))
    if document["runbook"]:
        out.print("\nrunbook", style="bold")
        for line in document["runbook"].splitlines():
            out.print(hang(" ", line))
    _print_parts(document, out)


def _print_parts(document: dict[str, Any], out: Console) -> None:
    """Print the records, deliveries and history. The last column of each table is wrapped."""
    count = len(document["records"])
    head = f"records (the newest {count})" if 0 < count < document["count"] else "records"
    rows = [
        (datetime.fromisoformat(item["timestamp"]), item["actionKind"], item["userName"], item["description"])
        for item in document["records"]
    ]
    columns = ("time (UTC)", "kind", "user", "description")
    _print_part(out, head, columns, rows, "none: this is a self-alert", leave_out=("kind",))
    names = ("receiver", "event", "status", "attempts", "id")
    sent = [(*(item[name] for name in names), item["last_error"] or item["why"]) for item in document["deliveries"]]
    _print_part(out, "deliveries", (*names, "last error"), sent, "none: no route selected a receiver")
    history = [(line["at"], line["stage"], line["what"]) for line in document["history"]]
    _print_part(out, "history", ("at (UTC)", "stage", "what"), history, "none")


def _print_part(
    out: Console,
    head: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    nothing: str,
    leave_out: Sequence[str] = (),
) -> None:
    out.print(f"\n{head}", style="bold")
    if rows:
        print_table(columns, rows, cut=columns[-1:], leave_out=leave_out, is_wrapped=True)
    else:
        out.print(nothing)
