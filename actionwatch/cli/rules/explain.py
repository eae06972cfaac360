"""`rules explain`: show whether a rule matches a record, and why."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from actionwatch.base.model import Record
from actionwatch.cli.context import reading_store
from actionwatch.cli.options import output_option
from actionwatch.cli.output import print_document, print_faults, spell
from actionwatch.cli.rules.history import feeders_of, views_from_file, views_from_store
from actionwatch.cli.rules.loaded_rules import LoadedRules, load
from actionwatch.cli.rules.record_file import read_objects
from actionwatch.text.suggestions import suggest

if TYPE_CHECKING:
    from actionwatch.rules.correlations.live.view import View
    from actionwatch.rules.explain import Explanation
    from actionwatch.rules.model import Rule


@click.command("explain")
@click.argument("record")
@click.argument("rule")
@click.option(
    "--records",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="For a correlation: the records before RECORD, as JSON lines.  [default: the store, for a stored record]",
)
@output_option
@click.pass_obj
def command(config: str, record: str, rule: str, file: Path | None, form: str) -> None:
    """Show whether RULE matches RECORD: the rule as a tree, each line with its result (+, -) and the record's value.

    For a correlation also the groups in which the record counts, what counted there before it, and the resulting alert.

    RECORD is the key of a stored record, a JSON file, or - for standard input: an object in the format of the upstream or of
    `records export`. RULE is the name or id of a rule, or a rule file.
    """
    from actionwatch.rules.explain import explain

    path = Path(rule)
    is_file = path.suffix in (".yml", ".yaml")
    if is_file and not path.exists():
        raise click.UsageError(f"there is no rule file {rule}")
    loaded = load(config, [path] if is_file else [])
    chosen = loaded.found.rules if is_file else tuple(r for r in loaded.found.rules if rule in (r.name.name, r.name.id))
    if not chosen:
        print_faults(loaded.found.faults)
        raise click.ClickException(_no_rule(rule, loaded.found.rules))
    found = _record(config, record)
    rules = loaded.found.rules
    findings = [
        explain(
            each,
            found,
            loaded.context.lists,
            feeders=feeders_of(each, rules),
            views=_views(config, each, loaded, found, file),
        )
        for each in chosen
    ]
    documents = [finding.document() for finding in findings]
    print_document(documents[0] if len(documents) == 1 else documents, form, as_text=lambda: _print(found, findings))


def _views(config: str, rule: Rule, loaded: LoadedRules, record: Record, file: Path | None) -> list[View] | None:
    """Return the correlation's groups, or None if nothing is known about the time before the record."""
    if rule.correlation is None:
        return None
    if file is not None:
        return views_from_file(file, loaded.context.settings, rule, loaded.found.rules, record)
    if not record.id:
        return None
    with reading_store(config) as (_, connection):
        return views_from_store(connection, rule, loaded.found.rules, record)


def _no_rule(name: str, rules: tuple[Rule, ...]) -> str:
    remedy = suggest(name, [each.name.name for each in rules], "rules are") or "see: actionwatch rules list"
    return f"no rule has the name or id {name!r}: {remedy}"


def _record(config: str, where: str) -> Record:
    if where == "-" or Path(where).is_file():
        text = sys.stdin.read() if where == "-" else Path(where).read_text(encoding="utf-8", errors="replace")
        try:
            value: Any = json.loads(text)
        except (ValueError, RecursionError) as exc:
            raise click.ClickException(f"{where} is not JSON: {exc}") from exc
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if not isinstance(value, dict):
            raise click.ClickException(f"{where} must contain one JSON object")
        return read_objects([value])[0]
    if "/" in where or Path(where).suffix in (".json", ".jsonl"):
        raise click.UsageError(f"there is no file {where}")
    return _stored(config, where)


def _stored(config: str, key: str) -> Record:
    from actionwatch.store import records

    with reading_store(config) as (_, connection):
        found = records.read_by_key(connection, key)
    if found is None:
        raise click.ClickException(f"no stored record has the key {key!r}: see `actionwatch records list -o jsonl`")
    return found


def _print(record: Record, findings: list[Explanation]) -> None:
    from actionwatch.rules.alert_text import plain_body

    click.echo(spell(plain_body(record)))
    for finding in findings:
        for line in finding.lines():
            click.echo(" " * (len(line) - len(line.lstrip())) + spell(line.lstrip()))
