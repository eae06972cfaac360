"""`schema`: print a JSON Schema, for editors and for the receivers of webhooks."""

from __future__ import annotations

import click

from actionwatch.cli.output import dump, echo

_WHAT = ("rules", "config", "webhook")


@click.command()
@click.argument("what", type=click.Choice(_WHAT))
def command(what: str) -> None:
    """Print the JSON Schema of rule files, of the configuration, or of the webhook message.

    `init` writes the first two to the folder `schemas`. The first line of each shipped file refers editors to them.
    """
    print_schema(what)


def print_schema(what: str) -> None:
    """Print one of the schemas."""
    from actionwatch.service import configuration

    if what == "webhook":
        from actionwatch.notifiers.webhook import message_schema

        schema = message_schema()
    else:
        schema = configuration.config_schema() if what == "config" else configuration.rule_schema()
    echo(dump(schema, indent=2))
