"""`rules schema`: print the JSON Schema for editors."""

from __future__ import annotations

import json

import click


@click.command("schema")
@click.option("--config", "is_config", is_flag=True, help="Print the schema of the configuration instead.")
def command(is_config: bool) -> None:
    """Print the JSON Schema of rule files.

    `init` writes both schemas to the folder `schemas`. The first line of each shipped file refers editors to them.
    """
    from actionwatch.service import configuration

    click.echo(json.dumps(configuration.config_schema() if is_config else configuration.rule_schema(), indent=2))
