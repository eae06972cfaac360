"""`rules coverage`: show what the rules watch and what they do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from actionwatch.base.clock import utc_now
from actionwatch.base.durations import spell_duration
from actionwatch.base.plurals import counted
from actionwatch.cli.context import reading_store
from actionwatch.cli.options import output_option, paths_argument, time
from actionwatch.cli.output import echo, print_document, print_faults, print_table
from actionwatch.cli.rules.loaded_rules import load
from actionwatch.instaclustr.kinds import KINDS
from actionwatch.text.times import local_times, spell_time

if TYPE_CHECKING:
    from actionwatch.rules.blindness import Blindness, BlindSpan, RuleBlindness
    from actionwatch.rules.coverage import KindRow, TechniqueRow


@click.command("coverage")
@paths_argument
@click.option("--gaps", is_flag=True, help="Show only what no rule watches.")
@click.option(
    "--blind", is_flag=True, help="Show instead when each rule could not have fired, with the reason, from the store."
)
@click.option(
    "--since", type=time, help="With --blind, since this time: RFC 3339, or a duration before now.  [default: 7d]"
)
@output_option
@click.pass_obj
def command(config: str, paths: tuple[Path, ...], gaps: bool, blind: bool, since: datetime | None, form: str) -> None:
    """Show which kinds of the catalogue and which ATT&CK techniques the rules watch, and which they do not.

    --blind shows for each rule the times of actions on which it could not have fired: it was off, removed, broken or not
    loaded yet, or a source was not read. It also shows where actions may be missing because time is not proved, where a rule
    sent no message, where an older version of it ran, and what is not known. A stop of the service only delays alerts:
    the actions of that time are read and matched later.
    """
    if blind:
        if paths or gaps:
            raise click.UsageError("--blind is about the rules that ran: omit --gaps, files and folders")
        _show_blind(config, since, form)
        return
    if since is not None:
        raise click.UsageError("--since is for --blind: add --blind")
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


def _show_blind(config: str, since: datetime | None, form: str) -> None:
    from actionwatch.service.blindness import WINDOW, read_blindness

    loaded = load(config, ()).found
    now = utc_now()
    with reading_store(config) as (settings, connection):
        found = read_blindness(connection, settings, loaded.rules, since or now - WINDOW, now)
    print_document(_blind_document(found), form, as_text=lambda: _print_blind(found))
    print_faults(loaded.faults)


def _blind_document(found: Blindness) -> dict[str, object]:
    rules = [
        {
            "id": rule.id,
            "name": rule.name,
            "state": rule.state,
            "blind_seconds": found.blind_time(rule).total_seconds(),
            "spans": _span_documents(rule.spans),
        }
        for rule in found.rules
    ]
    return {"from": found.start, "to": found.end, "every_rule": _span_documents(found.every), "rules": rules}


def _span_documents(spans: Sequence[BlindSpan]) -> list[dict[str, object]]:
    return [{"from": span.start, "to": span.end, "effect": span.effect, "why": span.why} for span in spans]


def _print_blind(found: Blindness) -> None:
    rows = [("every rule", span) for span in found.every]
    rows += [(rule.name, span) for rule in found.rules for span in rule.spans]
    print_table(
        ("rule", "from", "to", "effect", "why"),
        [(name, span.start, span.end, span.effect.value, local_times(span.why)) for name, span in rows],
        nothing="",
        cut=("why", "rule"),
    )
    blind = [rule for rule in found.rules if found.blind_time(rule)]
    echo(
        f"{spell_time(found.start)} to {spell_time(found.end)}: {counted(len(blind), 'rule')} of {len(found.rules)} "
        f"could not fire on some actions{_longest(found, blind)}"
    )


def _longest(found: Blindness, blind: Sequence[RuleBlindness]) -> str:
    if not blind:
        return ""
    longest = max(blind, key=found.blind_time)
    return f", longest {longest.name}: {spell_duration(found.blind_time(longest))}"
