"""`rules`: list and check the rules; tools for rule authors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from actionwatch.base.plurals import counted
from actionwatch.cli import EXIT_FAILED
from actionwatch.cli.options import output_option, paths_argument
from actionwatch.cli.output import echo, level_text, print_faults, print_findings, print_items
from actionwatch.cli.rules import backtest, explain, test
from actionwatch.cli.rules.loaded_rules import load
from actionwatch.cli.schema import print_schema

if TYPE_CHECKING:
    from actionwatch.rules.model import Rule

_NAMES = ("id", "name", "title", "level", "mode", "when", "filters", "tags", "feeds_only", "tests", "file", "line")
_MODE_STYLES = {"shadow": "bold magenta", "off": "bold yellow"}
command = click.Group(help="List, check, test, explain and backtest the rules.")


for module in (test, explain, backtest):
    command.add_command(module.command)


@command.command("list")
@paths_argument
@output_option
@click.pass_obj
def list_rules(config: str, paths: tuple[Path, ...], form: str) -> int:
    """List the rules of the configuration, or of the given files and folders. Exits with 1 if a rule does not load."""
    loaded = load(config, paths).found
    print_items(
        loaded.rules,
        form,
        document=_document,
        columns=("level", "mode", "name", "title", "where"),
        row=_row,
        nothing="no rules",
        cut=("title", "where"),
        leave_out=("title",),
    )
    for mode, means in (("shadow", "evaluated and stored, but not delivered"), ("off", "not evaluated")):
        names = [rule.name.name for rule in loaded.rules if rule.mode == mode]
        if names and form == "table":
            echo(f"{counted(len(names), 'rule')} in mode {mode}: {means}: {', '.join(names)}", err=True, bold=True)
    print_faults(loaded.faults)
    return EXIT_FAILED if loaded.faults else 0


@command.command("check")
@paths_argument
@output_option
@click.pass_obj
def check_rules(config: str, paths: tuple[Path, ...], form: str) -> int:
    """Check the rules of the configuration, or of the given files and folders. Exits with 1 if a rule is broken.

    Notes describe what is valid but probably not intended; they do not fail the check.
    """
    from actionwatch.rules.lint import lint

    loaded = load(config, paths)
    found = loaded.found
    notes = [*found.notes, *lint(found, loaded.documents, loaded.context.known_kinds)]
    print_findings(found.faults, notes, form)
    if form == "table":
        counts = (counted(len(found.faults), "fault"), counted(len(notes), "note"))
        echo(", ".join([f"{counted(len(found.rules), 'rule')} loaded", *counts]))
    return EXIT_FAILED if found.faults else 0


@command.command("schema", hidden=True)
@click.option("--config", "is_config", is_flag=True, help="Print the schema of the configuration instead.")
def schema(is_config: bool) -> None:
    """Print the JSON Schema of rule files: the older name of `schema rules`."""
    print_schema("config" if is_config else "rules")


def _document(rule: Rule) -> dict[str, object]:
    from actionwatch.queries.rules import item

    facts = {
        **item(rule),
        "when": str(rule.when) if rule.when else None,
        "filters": [each.name.name for each in rule.filters],
        "feeds_only": rule.is_silent,
        "tests": len(rule.tests),
    }
    return {name: facts[name] for name in _NAMES}


def _row(rule: Rule) -> Sequence[Any]:
    from rich.text import Text

    # As in Sigma, a rule that only feeds a correlation opens no alert.
    word = f"{rule.mode.value}, feeds" if rule.is_silent else rule.mode.value
    mode = Text(word, style=_MODE_STYLES.get(rule.mode.value, "dim"))
    return level_text(rule.level.word), mode, rule.name.name, rule.name.title, f"{_relative(rule.file)}:{rule.line}"


def _relative(file: str) -> str:
    """Return the path of a file, relative to the working directory if possible."""
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else file
