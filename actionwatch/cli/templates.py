"""`templates`: check the message templates."""

from __future__ import annotations

from pathlib import Path

import click

from actionwatch.cli import EXIT_USAGE
from actionwatch.cli.context import read_settings
from actionwatch.cli.options import output_option
from actionwatch.cli.output import echo, print_findings

command = click.Group(help="Check the message templates.")


@command.command("check")
@output_option
@click.pass_obj
def check(config: str, form: str) -> int:
    """Parse every template, yours and the shipped ones, and render each with sample messages. Exits with 2 on an error."""
    from actionwatch.service import checking

    faults = checking.check_templates(read_settings(config), Path(config))
    print_findings(faults, [], form)
    if not faults and form == "table":
        echo("no errors in the templates")
    return EXIT_USAGE if faults else 0
