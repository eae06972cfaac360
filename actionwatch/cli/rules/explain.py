"""`rules explain`: show whether a rule matches a record, and why."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from actionwatch.base.model import Record
from actionwatch.cli import completing
from actionwatch.cli.context import reading_store
from actionwatch.cli.options import output_option
from actionwatch.cli.output import echo, print_document, print_faults, spell
from actionwatch.cli.rules.loaded_rules import load
from actionwatch.cli.rules.record_source import read_object, reader_for
from actionwatch.service.rule_context import LoadedRules
from actionwatch.text.suggestions import suggest
from actionwatch.text.times import local_times

if TYPE_CHECKING:
    from actionwatch.rules.correlations.view import View
    from actionwatch.rules.explain import Explanation
    from actionwatch.rules.model import Rule


@click.command("explain")
@click.argument("record", shell_complete=completing.files)
@click.argument("rule", shell_complete=completing.rules_and_files)
@output_option
@click.pass_obj
def command(config: str, record: str, rule: str, form: str) -> None:
    """Show whether RULE matches RECORD: the rule as a tree, each line with its result (+, -) and the record's value.

    For a correlation that runs also the groups in which the record counts, what counted there before it, and the resulting
    alert.

    RECORD is the key of a stored record (a unique prefix is enough), a JSON file, or - for standard input: an object in the
    format of the upstream or of `records export`. RULE is the name or id of a rule, or a rule file.
    """
    from actionwatch.rules.explain import explain, feeders_of

    path = Path(rule)
    is_file = path.suffix in (".yml", ".yaml")
    if is_file and not path.exists():
        raise click.UsageError(f"there is no rule file {rule}")
    loaded = load(config, [path] if is_file else [])
    rules = loaded.found.rules
    chosen = rules if is_file else tuple(each for each in rules if rule in (each.name.name, each.name.id))
    if not chosen:
        print_faults(loaded.found.faults)
        remedy = suggest(rule, [each.name.name for each in rules], "rules are") or "see: actionwatch rules list"
        raise click.ClickException(f"no rule has the name or id {rule!r}: {remedy}")
    found = _record(config, record)
    findings = [
        explain(
            each,
            found,
            loaded.context.lists,
            feeders=feeders_of(each, rules),
            views=_views(config, each, loaded, found),
        )
        for each in chosen
    ]
    documents = [finding.document() for finding in findings]
    print_document(documents[0] if len(documents) == 1 else documents, form, as_text=lambda: _print(found, findings))


def _views(config: str, rule: Rule, loaded: LoadedRules, record: Record) -> list[View] | None:
    """Return the correlation's groups, or None if the store does not have what it counted."""
    if rule.correlation is None or not record.id:
        return None
    from actionwatch.service.stored_views import views_from_store

    with reading_store(config) as (settings, connection):
        sources = [source.name for source in settings.sources]
        (views,) = views_from_store(connection, rule, loaded.found.rules, [record], sources)
    return views


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
        return read_object(value, reader_for(None))
    if "/" in where or Path(where).suffix in (".json", ".jsonl"):
        raise click.UsageError(f"there is no file {where}")
    from actionwatch.queries import records

    with reading_store(config) as (_, connection):
        return records.find(connection, where)


def _print(record: Record, findings: list[Explanation]) -> None:
    from actionwatch.rules.alert_text import plain_body

    echo(spell(plain_body(record)))
    for finding in findings:
        for line in finding.lines():
            echo(" " * (len(line) - len(line.lstrip())) + spell(local_times(line.lstrip())))
