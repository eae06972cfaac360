"""`alerts`: what people were told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from actionwatch.cli.opened import opened_store
from actionwatch.cli.output import (
    Moment,
    console,
    level_text,
    output_option,
    print_document,
    print_items,
    print_table,
    spell,
)
from actionwatch.documents import RECORDS_SHOWN, alert_document, instant

if TYPE_CHECKING:
    from actionwatch.model import Delivery
    from actionwatch.store.database import Database


@click.group()
def command() -> None:
    """List alerts and show one with all that belongs to it."""


@command.command("list")
@click.option("--since", type=Moment(), help="Only alerts opened from this time on.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="At most so many, the newest.")
@output_option
@click.pass_obj
def list_alerts(config: str, since: Any, limit: int, form: str) -> None:
    """List alerts, the one opened last first."""
    from actionwatch.store import alerts, records

    with opened_store(config) as (_, database), database.read() as connection:
        found = alerts.read_newest(connection, limit, since=since)
        ids = [alert.id for alert in found]
        shown = records.read_of_alerts(connection, ids, RECORDS_SHOWN) if form != "table" else {}
    print_items(
        found,
        form,
        document=lambda alert: {**alert_document(alert, shown[alert.id]), "suppressed": []},
        columns=("opened (UTC)", "level", "status", "count", "title", "rule", "id"),
        row=lambda alert: (
            alert.opened_at,
            level_text(alert.level.word),
            alert.status.value,
            alert.count,
            alert.title,
            alert.rule.name,
            alert.id,
        ),
        nothing="no alerts",
    )


@command.command("show")
@click.argument("alert_id", metavar="ID")
@output_option
@click.pass_obj
def show(config: str, alert_id: str, form: str) -> None:
    """Show one alert: its records, its deliveries, its story. A beginning of the id is enough."""
    with opened_store(config) as (_, database):
        document = describe(database, alert_id)
    print_document(document, form, as_text=lambda: _print(document))


def describe(database: Database, alert_id: str) -> dict[str, Any]:
    """Give an alert as the contract's JSON, with `deliveries` and `history`."""
    from actionwatch.store import alerts, outbox, records, story

    with database.read() as connection:
        found = alerts.read_by_prefix(connection, alert_id)
        if not found:
            raise click.ClickException(f"no alert has the id {alert_id}: see 'actionwatch alerts list'")
        if len(found) > 1:
            raise click.ClickException(f"several alerts begin with {alert_id}: give more of the id")
        alert = found[0]
        shown = records.read_of_alerts(connection, [alert.id], RECORDS_SHOWN)[alert.id]
        deliveries = outbox.read_of_alert(connection, alert.id)
        lines = story.read(connection, alert.id)
    return {
        **alert_document(alert, shown),
        "suppressed": [
            {"receiver": row.receiver, "by": "told", "ref": row.why}
            for row in deliveries
            if row.status.value == "suppressed"
        ],
        "deliveries": [delivery_document(delivery) for delivery in deliveries],
        "history": [{"at": instant(line.at), "stage": line.stage, "what": line.what} for line in lines],
    }


def delivery_document(delivery: Delivery) -> dict[str, Any]:
    """Give a delivery as the contract's JSON."""
    return {
        "id": delivery.id,
        "alert": delivery.alert_id,
        "receiver": delivery.receiver,
        "event": delivery.event.value,
        "status": delivery.status.value,
        "attempts": delivery.attempts,
        "created_at": instant(delivery.created_at),
        "due_at": instant(delivery.due_at),
        "sent_at": delivery.sent_at and instant(delivery.sent_at),
        "last_error": delivery.last_error,
        "fallback_of": None,
        "why": delivery.why,
    }


def _print(document: dict[str, Any]) -> None:
    out = console()
    out.print(level_text(document["level"]), spell(document["title"]), style="bold", markup=False)
    out.print(spell(document["body"]), markup=False)
    facts = [
        ("rule", f"{document['rule']['name']} ({document['rule']['id']})"),
        ("alert", document["id"]),
        ("status", document["status"]),
        ("count", document["count"]),
        ("first, last", f"{document['first_at']}, {document['last_at']}"),
        ("group", ", ".join(f"{name}={value}" for name, value in document["group"].items())),
    ]
    for name, value in facts:
        if value:
            out.print(f"  {name:<12} {spell(value)}", markup=False)
    if document["runbook"]:
        out.print("\nwhat to do", style="bold")
        out.print("\n".join(f"  {spell(line)}" for line in document["runbook"].splitlines()), markup=False)
    out.print("\nrecords", style="bold")
    rows = [
        (item["timestamp"], item["actionKind"], item["userName"], item["description"]) for item in document["records"]
    ]
    print_table(("time", "kind", "user", "description"), rows, nothing="none: this alert is about actionwatch itself")
    out.print("\nstory", style="bold")
    print_table(("at", "stage", "what"), [(line["at"], line["stage"], line["what"]) for line in document["history"]])
