"""`probe`: the shape of the live upstream, and what it means for the proof."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from actionwatch.cli import EXIT_FAILED
from actionwatch.cli.context import named_source, read_settings
from actionwatch.cli.output import console, dump, hang, output_option, print_document, print_table

if TYPE_CHECKING:
    from rich.text import Text

    from actionwatch.instaclustr.probe.findings import ProbeFinding
    from actionwatch.instaclustr.probe.probing import ProbeReport

SIGNS = "+ settled, ? not settled, ~ makes the proof dearer or weaker, ! prevents it"
PLACES = {"field_aliases": "in the source", "extra_kinds": "at the top, beside those that are there"}


@click.command()
@click.option("--source", "source_name", metavar="NAME", help="Which source to probe, where several are configured.")
@output_option
@click.pass_obj
def command(config: str, source_name: str | None, form: str) -> int:
    """Ask the live upstream some 40 small questions and print the shape of its answers: names, types, forms, never values.

    Each finding is settled, or says why it cannot be, and what it means for the proof that every record was seen. Suggests
    lines for the configuration. Exit 1 when something makes that proof impossible.
    """
    from actionwatch.service import live

    settings = read_settings(config)
    report = live.probe(settings, named_source(settings, source_name))
    if form == "jsonl":
        for finding in report.findings:
            click.echo(dump(finding.document()))
    else:
        print_document(report.document(), form, as_text=lambda: _print(report))
    return EXIT_FAILED if report.is_proof_prevented else 0


def _print(report: ProbeReport) -> None:
    out, told = console(), ""
    for finding in report.findings:
        out.print(hang(_label(finding), finding.says))
        if finding.means and finding.means != told:
            out.print(hang(_indent("→"), finding.means))
        told = finding.means or told
    if report.fields:
        out.print()
        rows = [(field.name, field.types, field.share, field.ours or "none of ours") for field in report.fields]
        print_table(("field", "types", "in records", "taken for"), rows, cut=("types", "taken for"))
    if report.configuration:
        out.print("\nfor the configuration:")
        for line in configuration_lines(report.configuration):
            out.print(f"  {line}", markup=False)
    out.print(f"\n{report.request_count} requests asked; {SIGNS}")


def configuration_lines(suggested: dict[str, Any]) -> list[str]:
    """Spell suggestions as YAML, a line each, saying where it belongs; JSON is YAML too, and quotes what has to be."""
    return [f"{key}: {json.dumps(value)}  # {PLACES[key]}" for key, value in sorted(suggested.items())]


def _label(finding: ProbeFinding) -> Text:
    from rich.text import Text

    from actionwatch.instaclustr.probe.findings import ProofImpact

    sign, style = "+", "green"
    if not finding.is_settled:
        sign, style = "?", "yellow"
    elif finding.weight is ProofImpact.COSTS:
        sign, style = "~", "yellow"
    elif finding.weight is ProofImpact.PREVENTS:
        sign, style = "!", "bold red"
    return Text(f"{sign} {finding.subject}:", style)


def _indent(text: str) -> Text:
    from rich.text import Text

    return Text(f"    {text}", "dim")
