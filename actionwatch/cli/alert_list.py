"""`alerts list`: list the alerts, and what holds them."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import click

from actionwatch.base.clock import utc_now
from actionwatch.base.model import LEVELS, Alert, Status
from actionwatch.base.plurals import counted
from actionwatch.cli import completing
from actionwatch.cli.context import reading_store
from actionwatch.cli.options import limit_option, output_option, time
from actionwatch.cli.output import echo, level_text, print_items, print_table
from actionwatch.text.payloads import short_id
from actionwatch.text.suggestions import did_you_mean
from actionwatch.text.times import spell_time

if TYPE_CHECKING:
    from actionwatch.queries.pages import Page
    from actionwatch.settings import Settings


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
    type=click.Choice([*(status.value for status in Status), "any"]),
    help="Only alerts in this status (repeatable).  [default: what needs a person]",
)
@click.option("--user", metavar="U", help="Only alerts with a record of this user.")
@click.option("--cluster", metavar="C", help="Only alerts with a record of this cluster, by id or name.")
@click.option("--source", metavar="S", shell_complete=completing.sources, help="Only alerts of this source.")
@click.option("--assigned", metavar="NAME", help="Only alerts that are assigned to this person.")
@click.option("--unassigned", "is_unassigned", is_flag=True, help="Only alerts that are assigned to nobody.")
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
    source: str | None,
    assigned: str | None,
    is_unassigned: bool,
    since: datetime | None,
    limit: int,
    form: str,
) -> None:
    """List the alerts that need a person: open ones, without those of shadow rules, the worst first, then newest.

    With --status, others, newest first. Without --since, a list looks at only the first 20,000.

    \b
    actionwatch alerts list --level critical --level high
    actionwatch alerts list --status any --rule cluster_deleted
    actionwatch alerts list --user eve@example.com --since 7d
    """
    from actionwatch.queries import alerts
    from actionwatch.store.alerts import AlertFilter

    wanted = AlertFilter(
        levels=[LEVELS[word] for word in levels],
        statuses=[Status(word) for word in statuses] if "any" not in statuses else [],
        needs_person=not statuses,
        source=source,
        assigned=assigned,
        is_unassigned=is_unassigned,
        rules=rules,
        user=user,
        cluster=cluster,
        since=since,
    )
    with reading_store(config) as (settings, connection):
        page = alerts.search(connection, wanted, limit, alerts.SEARCHED if since is None else None)
        holds = alerts.read_holds(connection, page.items, utc_now()) if form == "table" else {}
        folded = alerts.read_folded(connection, wanted, page.items)
        documents = alerts.read_documents(connection, page.items, folded) if form != "table" else []
    if form == "table":
        nothing = "no alert needs a person" if not levels and alerts.can_group(wanted) else "no matching alerts"
        _print_alerts(page.items, holds, {name: below.count for name, below in folded.items()}, nothing)
    else:
        print_items(documents, form, document=lambda each: each)
    if len(page.items) < limit:
        _note_end(page, alerts.SEARCHED)
    if not page.items:
        _note_unknown_rules(settings, rules)


def _print_alerts(
    found: Sequence[Alert],
    holds: Mapping[str, Sequence[tuple[str, str]]],
    below: Mapping[str, int],
    nothing: str,
) -> None:
    """Print a table. `below` counts the alerts that each one inhibits or explains."""
    rows = [
        (
            alert.opened_at,
            level_text(alert.level.word),
            alert.status.value,
            f"{alert.count} +{below[alert.id]} below" if alert.id in below else str(alert.count),
            short_id(alert.id) if sys.stdout.isatty() else alert.id,
            ", ".join(_spell_hold(*each) for each in holds[alert.id]),
            alert.title,
            alert.rule.name,
        )
        for alert in found
    ]
    columns = ("opened", "level", "status", "count", "id", "held", "title", "rule")
    print_table(columns, rows, nothing=nothing, cut=("title", "rule"), leave_out=("count", "held"))


def _spell_hold(gate: str, subject: str) -> str:
    """Return what holds messages back: `silence 3f2a81c0`, `storm`."""
    return f"{gate} {short_id(subject) if gate in ('silence', 'inhibition') else subject}".strip()


def _note_end(page: Page[Alert], searched: int) -> None:
    """Say how far the list was searched, if it was not to its end."""
    if page.oldest is None:
        return
    back = f"back to {spell_time(page.oldest)}: use --since to search further back"
    if page.level is None:
        echo(f"note: the newest {counted(searched, 'alert')} were searched, {back}", err=True)
        return
    first = f"only the first {counted(searched, 'open alert')} were searched, the worst first: down to level {page.level.word}"
    echo(f"note: {first}, {back}, and in lower levels", err=True)


def _note_unknown_rules(settings: Settings, names: Sequence[str]) -> None:
    """Warn about rules that are in no file: a removed rule can have alerts, but most are misspelt."""
    from actionwatch.service import configuration

    known = {rule.name.name: rule.name.id for rule in configuration.read_rules(settings).rules} if names else {}
    for name in names:
        if name not in known and name not in known.values():
            hint = did_you_mean(name, known)
            echo(f"note: no rule is named {name}{': ' if hint else ''}{hint}", err=True)
