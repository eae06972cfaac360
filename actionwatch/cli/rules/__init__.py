"""`rules`: list and check the rules; tools for rule authors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from actionwatch.base.errors import Fault
from actionwatch.cli import EXIT_FAILED
from actionwatch.cli.output import level_text, output_option, print_faults, print_items, spell_count
from actionwatch.cli.rules import backtest, coverage, explain, export, new, schema, test

if TYPE_CHECKING:
    from actionwatch.rules.model import Rule

MODE_STYLES = {"shadow": "bold magenta", "off": "bold yellow"}


@click.group()
def command() -> None:
    """List, check, test, explain and backtest the rules."""


for module in (test, explain, backtest, new, schema, export, coverage):
    command.add_command(module.command)


@command.command("list")
@output_option
@click.pass_obj
def list_rules(config: str, form: str) -> int:
    """List the loaded rules. Exits with 1 if a rule does not load."""
    from actionwatch.service import configuration

    loaded = configuration.read_rules(configuration.read_settings(Path(config)))
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
            click.secho(
                f"{spell_count(len(names), 'rule')} in mode {mode}: {means}: {', '.join(names)}", err=True, bold=True
            )
    print_faults(loaded.faults)
    return EXIT_FAILED if loaded.faults else 0


@command.command("check")
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path))
@output_option
@click.pass_obj
def check_rules(config: str, paths: tuple[Path, ...], form: str) -> int:
    """Check the rules of the configuration, or of the given files and folders. Exits with 1 if one is broken.

    Notes describe what is valid but probably not intended; they do not fail the check.
    """
    from actionwatch.cli.rules.loaded_rules import load_pack
    from actionwatch.rules.lint import lint

    pack = load_pack(config, paths)
    loaded = pack.loaded
    notes = [*loaded.notes, *lint(loaded, pack.documents, pack.known_kinds)]
    if form == "table":
        parts = [spell_count(len(loaded.faults), "fault"), spell_count(len(notes), "note")]
        print_faults(notes, " (note)")
        print_faults(loaded.faults)
        click.echo(", ".join([spell_count(len(loaded.rules), "rule") + " loaded", *parts]))
    else:
        found = [("fault", fault) for fault in loaded.faults] + [("note", note) for note in notes]
        print_items(found, form, document=lambda item: fault_document(item[1], item[0]))
    return EXIT_FAILED if loaded.faults else 0


def fault_document(fault: Fault, kind: str) -> dict[str, object]:
    """Return a fault or a note as JSON."""
    return {
        "kind": kind,
        "file": fault.file,
        "line": fault.line,
        "column": fault.column,
        "what": fault.what,
        "remedy": fault.remedy,
    }


def _document(rule: Rule) -> dict[str, object]:
    return {
        "id": rule.name.id,
        "name": rule.name.name,
        "title": rule.name.title,
        "level": rule.level.word,
        "mode": rule.mode.value,
        "when": str(rule.when) if rule.when else None,
        "filters": [each.name.name for each in rule.filters],
        "tags": list(rule.name.tags),
        "feeds_only": rule.is_silent,
        "tests": len(rule.tests),
        "file": rule.file,
        "line": rule.line,
    }


def _row(rule: Rule) -> Sequence[Any]:
    from rich.text import Text

    # As in Sigma, a rule that only feeds a correlation opens no alert.
    word = f"{rule.mode.value}, feeds" if rule.is_silent else rule.mode.value
    mode = Text(word, style=MODE_STYLES.get(rule.mode.value, "dim"))
    return level_text(rule.level.word), mode, rule.name.name, rule.name.title, f"{_relative(rule.file)}:{rule.line}"


def _relative(file: str) -> str:
    """Return the path of a file, relative to the working directory if possible."""
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else file
