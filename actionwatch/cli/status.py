"""`status`: one screen that says whether all is well."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from actionwatch.cli import EXIT_FAILED
from actionwatch.cli.opened import opened_store
from actionwatch.cli.output import console, output_option, print_document, print_table, spell
from actionwatch.documents import instant
from actionwatch.options import spell_duration

if TYPE_CHECKING:
    from actionwatch.settings import Settings
    from actionwatch.store.database import Database


@click.command()
@output_option
@click.pass_obj
def command(config: str, form: str) -> int:
    """Show how far each source is read and proved, what waits for each receiver, the rules, and what is wrong.

    Exit 1 while there are troubles.
    """
    with opened_store(config) as (settings, database):
        document = describe(settings, database)
    print_document(document, form, as_text=lambda: _print(document))
    return EXIT_FAILED if document["troubles"] else 0


def describe(settings: Settings, database: Database) -> dict[str, Any]:
    """Give the contract's JSON."""
    from actionwatch import app
    from actionwatch.store import marks, outbox, polls, receivers, records, troubles

    rules = app.read_rules(settings)
    with database.read() as connection:
        known, last_polls = marks.read_all(connection), polls.read_all(connection)
        counts = records.count_by_source(connection)
        queues, health = outbox.count_queues(connection), receivers.read_all(connection)
        opened = troubles.read_all(connection)
    sources = []
    for source in settings.sources:
        found, poll = known.get(source.name), last_polls.get(source.name)
        sources.append(
            {
                "name": source.name,
                "mark": found and instant(found.mark),
                "seen_through": found and instant(found.seen_through),
                "proved_through": found and instant(found.proved_through),
                "last_poll": poll and instant(poll.last_poll_at),
                "records": counts.get(source.name, 0),
            }
        )
    described = []
    for receiver in settings.receivers:
        queue, state = queues.get(receiver.name, outbox.Queue()), health.get(receiver.name, receivers.Health())
        last_sent = state.last_sent_at and instant(state.last_sent_at)
        described.append({"name": receiver.name, "pending": queue.pending, "dead": queue.dead, "last_sent": last_sent})
    return {
        "sources": sources,
        "receivers": described,
        "rules": {"live": len(rules.rules), "shadow": 0, "off": 0, "broken": len(rules.faults)},
        "troubles": [
            {
                "trouble": trouble.trouble,
                "since": instant(trouble.since),
                "remedy": trouble.remedy,
                "subject": trouble.subject,
                "what": trouble.what,
            }
            for trouble in opened
        ],
    }


def _print(document: dict[str, Any]) -> None:
    progress = [
        (
            source["name"],
            source["records"],
            _ago(source["mark"]),
            _ago(source["seen_through"]),
            _ago(source["proved_through"]),
            _ago(source["last_poll"]),
        )
        for source in document["sources"]
    ]
    print_table(("source", "records", "newest record", "seen through", "proved through", "last poll"), progress)
    rows = [(item["name"], item["pending"], item["dead"], _ago(item["last_sent"])) for item in document["receivers"]]
    print_table(
        ("receiver", "pending", "dead", "last sent"), rows, nothing="no receivers: alerts are stored, nobody is told"
    )
    rules, out = document["rules"], console()
    out.print(f"\nrules: {rules['live']} live, {rules['broken']} broken")
    for trouble in document["troubles"]:
        out.print(f"[bold red]trouble[/] since {_ago(trouble['since'])}: ", end="")
        out.print(spell(f"{trouble['trouble']}: {trouble['subject']}: {trouble['what']}"), markup=False)
        out.print(f"        remedy: {spell(trouble['remedy'])}", markup=False)
    if not document["troubles"]:
        out.print("[green]no troubles[/]")


def _ago(at: str | None) -> str:
    if at is None:
        return "never"
    span = datetime.now(UTC) - datetime.fromisoformat(at)
    return f"{spell(datetime.fromisoformat(at))} ({spell_duration(span)} ago)"
