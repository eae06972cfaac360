"""`rules export`: export the rules for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from actionwatch.base.clock import utc_now
from actionwatch.cli import EXIT_FAILED
from actionwatch.cli.output import print_faults


@click.command("export")
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--sigma", is_flag=True, help="Plain Sigma, for pySigma, sigma-cli and similar tools (the only format).")
@click.pass_obj
def command(config: str, paths: tuple[Path, ...], sigma: bool) -> int:
    """Print the rules of the configuration, or of the given files and folders, as plain Sigma documents.

    What Sigma cannot express is omitted and listed on standard error. Exits with 1 if a rule is broken.
    """
    import yaml

    from actionwatch.cli.rules.loaded_rules import load_pack
    from actionwatch.rules.export import export_rules

    if not sigma:
        raise click.UsageError("choose a format: --sigma")
    loaded = load_pack(config, paths).loaded
    documents: list[Any] = []
    for exported in export_rules(loaded.rules, loaded.filters, utc_now()):
        documents += exported.documents
        print_faults(exported.lost)
    print_faults(loaded.faults)
    click.echo(yaml.safe_dump_all(documents, sort_keys=False, allow_unicode=True, width=120), nl=False)
    return EXIT_FAILED if loaded.faults else 0
