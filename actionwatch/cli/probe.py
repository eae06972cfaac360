"""`probe`: print the shape of the live upstream, and what it means for the proof."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from actionwatch.base.plurals import counted
from actionwatch.cli import EXIT_FAILED
from actionwatch.cli.context import named_source, read_settings_to_act
from actionwatch.cli.options import output_option, source_option
from actionwatch.cli.output import console, dump, echo, hang, print_document, print_table
from actionwatch.instaclustr.probe.findings import ProofImpact

if TYPE_CHECKING:
    from actionwatch.instaclustr.probe.probing import ProbeReport

_LEGEND = "+ settled, ? not settled, ~ makes the proof more expensive or weaker, ! prevents it"
_SIGNS = {ProofImpact.FINE: ("+", "green"), ProofImpact.COSTS: ("~", "yellow"), ProofImpact.PREVENTS: ("!", "bold red")}
# Where to insert a suggested key into the configuration.
_PLACES = {"field_aliases": "in the source", "extra_kinds": "at the top level, in addition to the existing ones"}


@click.command()
@source_option
@output_option
@click.pass_obj
def command(config: str, source: str | None, form: str) -> int:
    """Send about 40 small requests to the live upstream and print the shape of its responses: names, types, formats, no values.

    Each finding is settled, or explains why it is not, and states what it means for the proof that every record was read.
    Suggests lines for the configuration. Exits with 1 if something makes the proof impossible.
    """
    from actionwatch.service import live

    settings = read_settings_to_act(config)
    report = live.probe(settings, named_source(settings, source))
    if form == "jsonl":
        for finding in report.findings:
            echo(dump(finding.document()))
    else:
        print_document(report.document(), form, as_text=lambda: _print(report))
    return EXIT_FAILED if report.is_proof_prevented else 0


def _print(report: ProbeReport) -> None:
    out, shown = console(), ""
    for finding in report.findings:
        sign, style = _SIGNS[finding.weight] if finding.is_settled else ("?", "yellow")
        out.print(hang(f"{sign} {finding.subject}:", finding.says, style))
        if finding.means and finding.means != shown:
            out.print(hang("    →", finding.means, "dim"))
        shown = finding.means or shown
    if report.fields:
        out.print()
        rows = [(field.name, field.types, field.share, field.ours or "no field") for field in report.fields]
        print_table(("field", "types", "in records", "mapped to"), rows, cut=("types", "mapped to"))
    if report.configuration:
        out.print("\nfor the configuration:")
        for key, value in sorted(report.configuration.items()):
            # JSON is valid YAML and quotes correctly.
            out.print(f"  {key}: {json.dumps(value)}  # {_PLACES[key]}", markup=False)
    out.print(f"\n{counted(report.request_count, 'request')}; {_LEGEND}")
