"""`alerts`: list and show alerts, and decide about them: acknowledge, resolve, reopen, assign, note."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from actionwatch.base.access import is_own_name, is_person
from actionwatch.base.clock import utc_now
from actionwatch.base.model import Alert, Status
from actionwatch.cli import EXIT_FAILED
from actionwatch.cli.alert_list import list_alerts
from actionwatch.cli.context import changing_store, reading_store, warn_if_nothing_runs
from actionwatch.cli.options import author_option, output_option
from actionwatch.cli.output import (
    STYLES,
    console,
    echo,
    hang,
    print_document,
    print_items,
    print_table,
    spell,
)
from actionwatch.text.times import local_times

if TYPE_CHECKING:
    from rich.console import Console

    from actionwatch.matching.operator_actions import OperatorActions
    from actionwatch.queries.alerts import WholeAlert

_ids_argument = click.argument("ids", metavar="ID...", nargs=-1, required=True)
_comment_option = click.option(
    "--comment", default="", metavar="TEXT", help="The reason. It is kept in the history of the alert."
)


def _person(_context: click.Context, _option: click.Parameter, name: str | None) -> str | None:
    if name is not None and (not is_person(name) or is_own_name(name)):
        raise click.BadParameter(f"{name!r} is not the name of a person")
    return name


def _text(_context: click.Context, _option: click.Parameter, text: str) -> str:
    if not text.strip():
        raise click.BadParameter("the note is empty")
    return text.strip()


command = click.Group(help="List and show alerts, and decide about them: acknowledge, resolve, reopen, assign, note.")
command.add_command(list_alerts)


@command.command("show")
@click.argument("alert_id", metavar="ID")
@output_option
@click.pass_obj
def show(config: str, alert_id: str, form: str) -> None:
    """Show one alert with its records, deliveries and history. A unique prefix of the id is enough."""
    from actionwatch.queries import alerts

    with reading_store(config) as (_, connection):
        document = alerts.read_details(connection, alert_id).document()
    print_document(document, form, as_text=lambda: _print(document))


@command.command("ack")
@_ids_argument
@_comment_option
@author_option
@output_option
@click.pass_obj
def acknowledge(config: str, ids: tuple[str, ...], comment: str, author: str, form: str) -> int:
    """Acknowledge alerts. This stops their escalation, but not counting and updates. A unique prefix of an id is enough."""
    status, decided = 0, []
    for alert in _decide(config, ids, lambda actions, found: actions.acknowledge(found, author, comment)):
        decided.append(alert)
        if alert.status is Status.RESOLVED:
            what = f"{alert.id} was resolved by {alert.resolved_by}: it can no longer be acknowledged"
            echo(f"actionwatch: {what}{'; the comment is kept' if comment else ''}", err=True)
            status = EXIT_FAILED
        elif form == "table":
            echo(f"{alert.id} is acknowledged by {alert.acked_by}")
    _print_decided(decided, form)
    return status


@command.command("resolve")
@_ids_argument
@_comment_option
@author_option
@output_option
@click.pass_obj
def resolve(config: str, ids: tuple[str, ...], comment: str, author: str, form: str) -> None:
    """Resolve alerts. The next match opens a new one. A unique prefix of an id is enough."""
    _decide_and_print(
        config,
        ids,
        form,
        lambda actions, found: actions.resolve(found, author, comment),
        lambda alert: f"{alert.id} is resolved by {alert.resolved_by}",
    )


@command.command("reopen")
@_ids_argument
@_comment_option
@author_option
@output_option
@click.pass_obj
def reopen(config: str, ids: tuple[str, ...], comment: str, author: str, form: str) -> None:
    """Open acknowledged or resolved alerts again. Receivers and escalation follow as for a new alert, with the same id."""
    _decide_and_print(
        config,
        ids,
        form,
        lambda actions, found: actions.reopen(found, author, comment),
        lambda alert: f"{alert.id} is open" + (f", reopened by {alert.reopened_by}" if alert.reopened_by else ""),
    )


@command.command("assign")
@_ids_argument
@click.option("--to", metavar="NAME", callback=_person, help="To whom.  [default: the author]")
@click.option("--nobody", is_flag=True, help="To nobody.")
@_comment_option
@author_option
@output_option
@click.pass_obj
def assign(
    config: str, ids: tuple[str, ...], to: str | None, nobody: bool, comment: str, author: str, form: str
) -> None:
    """Assign alerts to a person. This changes nothing else: acknowledge them too, to stop their escalation."""
    if to and nobody:
        raise click.UsageError("--to and --nobody exclude each other: give one of them")
    whom = None if nobody else to or author
    _decide_and_print(
        config,
        ids,
        form,
        lambda actions, found: actions.assign(found, author, whom, comment),
        lambda alert: f"{alert.id} is assigned to {alert.assigned_to or 'nobody'}",
    )


@command.command("note")
@_ids_argument
@click.option("--comment", required=True, metavar="TEXT", callback=_text, help="The note.")
@author_option
@output_option
@click.pass_obj
def note(config: str, ids: tuple[str, ...], comment: str, author: str, form: str) -> None:
    """Write a note about alerts, without a decision. The history keeps it, and messages show the newest one."""
    _decide_and_print(
        config,
        ids,
        form,
        lambda actions, found: actions.note(found, author, comment),
        lambda alert: f"{alert.id} has the note of {alert.noted_by}",
    )


def _decide_and_print(
    config: str,
    ids: Sequence[str],
    form: str,
    decision: Callable[[OperatorActions, str], tuple[Alert, bool]],
    spell_result: Callable[[Alert], str],
) -> None:
    """Carry out a decision about each alert, and print what became of it."""
    decided = []
    for alert in _decide(config, ids, decision):
        decided.append(alert)
        if form == "table":
            echo(spell_result(alert))
    _print_decided(decided, form)


def _print_decided(decided: Sequence[Alert], form: str) -> None:
    """Print the alerts as JSON, if that is wanted. As text, each is reported at once, because a later one can fail."""
    if form == "table":
        return
    names = ("id", "status", "acked_by", "resolved_by", "reopened_by", "assigned_to")
    print_items(decided, form, document=lambda alert: {name: getattr(alert, name) for name in names})


def _decide(
    config: str, ids: Sequence[str], decision: Callable[[OperatorActions, str], tuple[Alert, bool]]
) -> Iterator[Alert]:
    """Carry out a decision about each alert, and yield its result. If one id is wrong, nothing is changed."""
    from actionwatch.matching.operator_actions import OperatorActions
    from actionwatch.queries import alerts
    from actionwatch.service.receivers import build_addressing

    with changing_store(config) as (settings, database):
        with database.read() as connection:
            chosen = dict.fromkeys(alerts.find(connection, beginning).id for beginning in ids)
        actions = OperatorActions(database, build_addressing(settings), utc_now)
        for alert_id in chosen:
            yield decision(actions, alert_id)[0]
        warn_if_nothing_runs(database)


def _print(document: WholeAlert) -> None:
    out = console()
    style = STYLES.get(document["level"], "dim") + " reverse"
    out.print(hang(f" {document['level'].upper()} ", document["title"], style))
    out.print(spell(local_times(document["body"])), markup=False)
    facts = [
        ("rule", f"{document['rule']['name']} ({document['rule']['id']})"),
        ("alert", document["id"]),
        ("status", document["status"]),
        ("acked by", document["acked_by"]),
        ("resolved by", document["resolved_by"]),
        ("reopened by", document["reopened_by"]),
        ("assigned to", document["assigned_to"]),
        ("note", f"{document['note']} ({document['noted_by']})" if document["note"] else None),
        ("user", document["user"]),
        ("cluster", document["cluster"]),
        ("count", document["count"]),
        ("cluster", ", ".join(dict.fromkeys(filter(None, map(_cluster, document["records"]))))),
        ("first, last", local_times(f"{document['first_at']}, {document['last_at']}")),
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


def _cluster(record: Mapping[str, Any]) -> str:
    cluster = record.get("cluster") or {}
    return str(cluster.get("name") or cluster.get("id") or "")


def _print_parts(document: WholeAlert, out: Console) -> None:
    """Print the records, deliveries and history. The last column of each table is wrapped."""
    count = len(document["records"])
    head = f"records (the newest {count})" if 0 < count < document["count"] else "records"
    rows = [
        (datetime.fromisoformat(item["timestamp"]), item["actionKind"], item["userName"], item["description"])
        for item in document["records"]
    ]
    columns = ("time", "kind", "user", "description")
    _print_part(out, head, columns, rows, "none: this is a self-alert", leave_out=("kind",))
    sent = [
        (
            *(item["receiver"], item["event"], item["status"], item["attempts"], item["id"]),
            local_times(item["last_error"] or item["why"] or ""),
        )
        for item in document["deliveries"]
    ]
    names = ("receiver", "event", "status", "attempts", "id", "last error")
    _print_part(out, "deliveries", names, sent, "none: no route selected a receiver")
    history = [
        (datetime.fromisoformat(line["at"]), line["stage"], local_times(line["what"])) for line in document["history"]
    ]
    _print_part(out, "history", ("at", "stage", "what"), history, "none")


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
        print_table(columns, rows, leave_out=leave_out, is_wrapped=True)
    else:
        out.print(nothing)
