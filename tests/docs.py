"""Write the generated pages: `python -m tests.docs`. A test fails if one of them is outdated."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from actionwatch.base.model import Mode
from actionwatch.cli import COMMANDS, group
from actionwatch.rules.model import Rule
from tests.benchmarks import noise

COMMANDS_FILE = Path(__file__).parent.parent / "docs" / "commands.md"
PACK_FILE = COMMANDS_FILE.with_name("rule-pack.md")
TABLE_BEGIN, TABLE_END = "stale -->\n", "<!-- end of table -->"
WIDTH = 100
INTRODUCTION = """\
# Commands

Generated from `--help` by `python -m tests.docs`; a test fails if it is outdated.

Every command that prints data accepts `-o table|json|jsonl`. A time is RFC 3339 or a duration before now (`7d`). Exit status:
0 success, 1 the command failed or found something, 2 usage or configuration error (with file:line:column), 130 interrupted.
"""


def every_command() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield each command with its path, groups before their commands, in the order of the overview."""
    context = click.Context(group, info_name="actionwatch")
    for name in COMMANDS:
        command = group.get_command(context, name)
        assert command is not None
        yield (name,), command
        if isinstance(command, click.Group):
            for below in command.list_commands(context):
                yield (name, below), command.commands[below]


def commands_page() -> str:
    """Return the text of docs/commands.md."""
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


def pack_page(rules: Sequence[Rule], measured: noise.Noise) -> str:
    """Return the text of docs/rule-pack.md with a new table of the shipped rules."""
    before, _, rest = PACK_FILE.read_text().partition(TABLE_BEGIN)
    counts = measured.by_rule()
    rows = [_pack_row(rule, counts[rule.name.name] / measured.days) for rule in rules if not rule.is_silent]
    head = f"**{len(rows)} rules.**\n\n| rule | level | watches | ATT&CK | noise |\n| --- | --- | --- | --- | --- |\n"
    return f"{before}{TABLE_BEGIN}\n{head}{''.join(sorted(rows))}\n{TABLE_END}{rest.partition(TABLE_END)[2]}"


def _pack_row(rule: Rule, per_day: float) -> str:
    levels = sorted({rule.level, *(level for level, _ in rule.alert.levels)})
    level = " – ".join(dict.fromkeys([levels[0].word, levels[-1].word]))
    level += " (shadow)" if rule.mode is Mode.SHADOW else ""
    tags = (tag.removeprefix("attack.") for tag in rule.name.tags)
    techniques = ", ".join(tag.upper() for tag in tags if tag[:1] == "t" and tag[1:2].isdigit())
    word = "none" if not per_day else "daily" if per_day >= 1 else "weekly" if per_day * 7 >= 1 else "rare"
    return f"| `{rule.name.name}` | {level} | {rule.name.title} | {techniques} | {word} |\n"


if __name__ == "__main__":
    COMMANDS_FILE.write_text(commands_page())
    shipped = noise.shipped_rules()
    PACK_FILE.write_text(pack_page(shipped, noise.measure(shipped)))
    print(f"wrote {COMMANDS_FILE} and {PACK_FILE}")
