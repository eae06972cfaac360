"""`check`: report every error in the configuration, rules, lists and templates at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from actionwatch.base.errors import ConfigError, Fault
from actionwatch.base.plurals import counted
from actionwatch.cli import EXIT_FAILED, EXIT_USAGE
from actionwatch.cli.context import read_settings, read_settings_to_act
from actionwatch.cli.options import output_option
from actionwatch.cli.output import echo, print_findings, print_table, progress_bar, spell
from actionwatch.text.escaping import one_line

if TYPE_CHECKING:
    from actionwatch.service.live_source import Outcome
    from actionwatch.settings import Settings


@click.command()
@click.option(
    "--live",
    "is_live",
    is_flag=True,
    help="Also test each key, the clocks and each receiver, without sending an alert.",
)
@click.option(
    "--shape", "is_shape", is_flag=True, help="With --live: print the names and types of the fields of records."
)
@output_option
@click.pass_obj
def command(config: str, is_live: bool, is_shape: bool, form: str) -> int:
    """Report every error in the configuration, rules, lists and templates.

    Prints each error as file:line:column: what: remedy, and exits with 2 if there is one. Notes describe what is valid but
    probably not intended; they do not fail the check. With --live, exits with 1 if a key, a clock, a receiver, or what the
    proof relies on fails. --shape prints no value of a record, so you can share its output.
    """
    from actionwatch.service import checking

    if is_shape and not is_live:
        raise click.UsageError("--shape needs --live")
    notes: list[Fault] = []
    outcomes: list[Outcome] = []
    rule_count = 0
    try:
        settings = read_settings_to_act(config) if is_live else read_settings(config)
        checked = checking.check(settings, Path(config))
        faults, notes, rule_count = checked.faults, checked.notes, checked.rule_count
        if is_live:
            outcomes = _check_live(settings)
    except ConfigError as exc:
        faults = [*exc.faults, *checking.faults_beside(Path(config))]
    print_findings(faults, notes, form, [outcome.document() for outcome in outcomes])
    if form == "table":
        if not faults:
            echo(f"{spell(config)}: no errors, {counted(rule_count, 'rule')}")
        if is_live:
            _print_outcomes(outcomes)
        if is_shape:
            _print_shape(outcomes)
    if faults:
        return EXIT_USAGE
    return 0 if all(outcome.is_ok for outcome in outcomes) else EXIT_FAILED


def _print_outcomes(outcomes: Sequence[Outcome]) -> None:
    """Print the results of the live checks. Those that many sources passed are only counted."""
    from actionwatch.queries.source_health import MANY

    of_sources = [each for each in outcomes if each.source]
    passed = [each for each in of_sources if each.is_ok]
    is_short = len({each.source for each in of_sources}) > MANY
    if is_short:
        echo(f"sources: {len(passed):,} of {counted(len(of_sources), 'check')} passed; -o json has each")
    for each in outcomes:
        if not (is_short and each.source and each.is_ok):
            echo(one_line(str(each)), err=not each.is_ok)


def _print_shape(outcomes: Sequence[Outcome]) -> None:
    """Print the fields of the records, of one source at each address."""
    for each in outcomes:
        if each.fields:
            echo(f"\n{each.subject}:")
            rows = [(field.name, field.types, field.share, field.read_as or "nothing") for field in each.fields]
            print_table(("field", "types", "in records", "read as"), rows, cut=("types", "read as"))


def _check_live(settings: Settings) -> list[Outcome]:
    from actionwatch.service import live

    with progress_bar() as bar:
        if bar is None:
            return live.check_live(settings)
        task = bar.add_task("checking")
        return live.check_live(settings, lambda done, count: bar.update(task, completed=done, total=count))
