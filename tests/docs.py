"""Write the pages that are generated: `python -m tests.docs`. A test fails when one of them is stale."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import click

from actionwatch.cli import COMMANDS, group

COMMANDS_FILE = Path(__file__).parent.parent / "docs" / "commands.md"
WIDTH = 100
INTRODUCTION = """\
# Commands

Generated from `--help` by `python -m tests.docs`; a test fails when it is stale.

Whatever reads takes `-o table|json|jsonl`. Times take RFC 3339 or a duration back (`7d`). Exit status: 0 done, 1 the work
failed or found something, 2 usage or configuration error (with file:line:column), 130 interrupted.
"""


def every_command() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Give each command with its path, groups before what is in them, in the order of the overview."""
    context = click.Context(group, info_name="actionwatch")
    for name in COMMANDS:
        command = group.get_command(context, name)
        assert command is not None
        yield (name,), command
        if isinstance(command, click.Group):
            for below in command.list_commands(context):
                yield (name, below), command.commands[below]


def commands_page() -> str:
    """Make docs/commands.md."""
    parts = [INTRODUCTION, f"```\n{_help((), group)}\n```\n"]
    for path, command in every_command():
        parts.append(f"{'#' * (len(path) + 1)} actionwatch {' '.join(path)}\n")
        parts.append(
            f"{inspect.cleandoc(command.help or '')}\n"
            if isinstance(command, click.Group)
            else f"```\n{_help(path, command)}\n```\n"
        )
    return "\n".join(parts)


def _help(path: tuple[str, ...], command: click.Command) -> str:
    settings = {"terminal_width": WIDTH, "max_content_width": WIDTH, "help_option_names": ["-h", "--help"]}
    context = click.Context(command, info_name=" ".join(["actionwatch", *path]), **settings)  # type: ignore[arg-type]
    return command.get_help(context)


if __name__ == "__main__":
    COMMANDS_FILE.write_text(commands_page())
    print(f"wrote {COMMANDS_FILE}")
