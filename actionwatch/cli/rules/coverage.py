"""`rules coverage`: show what the rules watch and what they do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from actionwatch.cli.options import output_option, paths_argument
from actionwatch.cli.output import echo, print_document, print_table
from actionwatch.cli.rules.loaded_rules import load
from actionwatch.instaclustr.kinds import KINDS

if TYPE_CHECKING:
    from actionwatch.rules.coverage import KindRow, TechniqueRow


@click.command("coverage")
@paths_argument
@click.option("--gaps", is_flag=True, help="Show only what no rule watches.")
@output_option
@click.pass_obj
def command(config: str, paths: tuple[Path, ...], gaps: bool, form: str) -> None:
    """Show which kinds of the catalogue and which ATT&CK techniques the rules watch, and which they do not."""
    from actionwatch.rules.coverage import cover_kinds, cover_techniques

    loaded = load(config, paths).found
    kinds = cover_kinds(loaded.rules, {kind.name: kind.area for kind in KINDS.values()})
    techniques = cover_techniques(loaded.rules)
    document = {"kinds": [asdict(row) for row in kinds], "attack": [asdict(row) for row in techniques]}
    severities = {name: kind.severity for name, kind in KINDS.items()}
    print_document(document, form, as_text=lambda: _print(kinds, techniques, severities, gaps))


def _print(
    kinds: Sequence[KindRow], techniques: Sequence[TechniqueRow], severities: dict[str, str], is_gaps: bool
) -> None:
    rows = [
        (row.area, row.kind, severities[row.kind], ", ".join(row.rules) or "-")
        for row in kinds
        if not (is_gaps and row.rules)
    ]
    print_table(("area", "kind", "severity", "rules"), rows, nothing="every kind is watched", cut=("rules", "area"))
    echo()
    rows = [
        (row.tactic, row.technique, row.name, ", ".join(row.rules) or "-")
        for row in techniques
        if not (is_gaps and row.rules)
    ]
    print_table(
        ("tactic", "technique", "name", "rules"), rows, nothing="every technique is watched", cut=("rules", "name")
    )
    watched = (sum(bool(row.rules) for row in kinds), sum(bool(row.rules) for row in techniques))
    echo(f"\n{watched[0]} of {len(kinds)} kinds and {watched[1]} of {len(techniques)} techniques are watched")
