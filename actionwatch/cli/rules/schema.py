"""`rules schema`: what editors need to help."""

from __future__ import annotations

import json

import click


@click.command("schema")
@click.option("--config", "is_config", is_flag=True, help="Of the configuration instead of rule files.")
def command(is_config: bool) -> None:
    """Print the JSON Schema of rule files.

    `init` writes both schemas into the folder `schemas`, where the first line of each shipped file points editors to.
    """
    from actionwatch.service import configuration

    click.echo(json.dumps(configuration.config_schema() if is_config else configuration.rule_schema(), indent=2))
