"""`rules`: what is watched for."""

from __future__ import annotations

from pathlib import Path

import click

from actionwatch.cli import EXIT_FAILED
from actionwatch.cli.output import level_text, output_option, print_items
from actionwatch.errors import Fault


@click.group()
def command() -> None:
    """List and check the rules."""


@command.command("list")
@output_option
@click.pass_obj
def list_rules(config: str, form: str) -> int:
    """List the rules that load. Exit 1 where one does not."""
    from actionwatch import app

    loaded = app.read_rules(app.read_settings(Path(config)))
    print_items(
        loaded.rules,
        form,
        document=lambda rule: {
            "id": rule.name.id,
            "name": rule.name.name,
            "title": rule.name.title,
            "level": rule.level.word,
            "tags": list(rule.name.tags),
            "file": rule.file,
            "line": rule.line,
        },
        columns=("level", "name", "title", "where"),
        row=lambda rule: (level_text(rule.level.word), rule.name.name, rule.name.title, f"{rule.file}:{rule.line}"),
        nothing="no rules",
    )
    for fault in loaded.faults:
        click.echo(str(fault), err=True)
    return EXIT_FAILED if loaded.faults else 0


@command.command("check")
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path))
@output_option
@click.pass_obj
def check_rules(config: str, paths: tuple[Path, ...], form: str) -> int:
    """Check the rules of the configuration, or of these files and folders. Exit 1 where one is broken."""
    from actionwatch import app
    from actionwatch.instaclustr.kinds import KINDS
    from actionwatch.rules.load import load_rules

    if paths:
        # Rule authors have files, not always a configuration: what it would add is left out then.
        lists = paths[0].parent / "lists"
        loaded = load_rules(paths, lists=lists if lists.is_dir() else None, known_kinds=[*KINDS])
    else:
        loaded = app.read_rules(app.read_settings(Path(config)))
    if form == "table":
        for fault in (*loaded.notes, *loaded.faults):
            click.echo(f"{fault} (note)" if fault in loaded.notes else str(fault), err=True)
        click.echo(f"{len(loaded.rules)} rules are well, {len(loaded.faults)} faults, {len(loaded.notes)} notes")
    else:
        found = [("fault", fault) for fault in loaded.faults] + [("note", note) for note in loaded.notes]
        print_items(found, form, document=lambda item: fault_document(item[1], item[0]), columns=(), row=lambda _: ())
    return EXIT_FAILED if loaded.faults else 0


def fault_document(fault: Fault, kind: str) -> dict[str, object]:
    """Give a fault or note as JSON."""
    return {
        "kind": kind,
        "file": fault.file,
        "line": fault.line,
        "column": fault.column,
        "what": fault.what,
        "remedy": fault.remedy,
    }
