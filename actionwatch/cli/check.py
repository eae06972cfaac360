"""`check`: everything that can be wrong, at once."""

from __future__ import annotations

from pathlib import Path

import click

from actionwatch.cli import EXIT_USAGE
from actionwatch.cli.output import output_option, print_items
from actionwatch.cli.rules import fault_document
from actionwatch.errors import ConfigError, Fault


@click.command()
@output_option
@click.pass_obj
def command(config: str, form: str) -> int:
    """Find everything that is wrong with configuration, rules, lists and templates.

    Prints each fault as file:line:column: what: remedy, and exits 2 when there is any. Notes point at what works but may not
    do what was meant; they do not fail the check.
    """
    from actionwatch import app

    notes: list[Fault] = []
    rule_count = 0
    try:
        settings = app.read_settings(Path(config))
        faults, notes = app.check(settings)
        rule_count = len(app.read_rules(settings).rules)
    except ConfigError as exc:
        faults = list(exc.faults)
    if form == "table":
        _print(faults, notes, f"{config}: all is well: {rule_count} rules")
    else:
        found = [("fault", fault) for fault in faults] + [("note", note) for note in notes]
        print_items(found, form, document=lambda item: fault_document(item[1], item[0]), columns=(), row=lambda _: ())
    return EXIT_USAGE if faults else 0


def _print(faults: list[Fault], notes: list[Fault], praise: str) -> None:
    for note in notes:
        click.echo(f"{note} (note)", err=True)
    for fault in faults:
        click.echo(str(fault), err=True)
    if not faults:
        click.echo(praise)
