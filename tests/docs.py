"""Write the generated pages: `python -m tests.docs`. A test fails if one of them is outdated."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click

from actionwatch.base.model import Mode
from actionwatch.cli import COMMANDS, group
from actionwatch.notifiers.base import notifier_module, notifier_types
from actionwatch.rules.model import Rule
from actionwatch.settings import keys, stream_keys, web_keys
from actionwatch.settings.keys import Retention, RetryPolicy
from actionwatch.settings.schema import FILE_SUFFIX, SchemaGenerator, key_descriptions
from actionwatch.settings.timeintervals import PeriodOptions
from actionwatch.streams.driver import driver_module, driver_types
from actionwatch.text.options import Options
from tests.benchmarks import noise

COMMANDS_FILE = Path(__file__).parent.parent / "docs" / "commands.md"
PACK_FILE = COMMANDS_FILE.with_name("rule-pack.md")
CONFIGURATION_FILE = COMMANDS_FILE.with_name("configuration.md")
KEYS_TABLE = re.compile(r"<!-- keys of (\w+)((?: \w+)*) -->\n.*?(?=<!-- end of table -->)", re.DOTALL)
TABLE_BEGIN, TABLE_END = "stale -->\n", "<!-- end of table -->"
INTRODUCTION = """\
# Commands

`actionwatch COMMAND -h` explains a command and its options. `source <(actionwatch completion bash)` makes a shell complete
them, with kinds and the names of rules, receivers, sources and streams (`completion --help` has the lines for zsh and fish).

Every command that prints data accepts `-o table|json|jsonl`, and every one that reads the configuration `-c FILE` (default:
`$ACTIONWATCH_CONFIG`, then `actionwatch.yaml`), before or after the command. Exit status: 0 success, 1 the command failed or
found something, 2 usage or configuration error (with file:line:column), 130 interrupted.

A time is RFC 3339 or a duration before now (`7d`). A time without a zone is local; a date means its midnight. Commands show
times in the local zone, with its name; `-o json` and exports have UTC. The local zone is that of the process, as for `date`:
`TZ`, or else the zone of the machine. `time_zone` in the configuration is the zone of messages, and does not affect commands.

This table is generated from the help by `python -m tests.docs`; a test fails if it is outdated.
"""


def every_command() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield each command with its path, groups before their commands, in the order of the overview; no hidden ones."""
    context = click.Context(group, info_name="actionwatch")
    for name in COMMANDS:
        command = group.get_command(context, name)
        assert command is not None
        yield (name,), command
        if isinstance(command, click.Group):
            for below in command.list_commands(context):
                if not command.commands[below].hidden:
                    yield (name, below), command.commands[below]


def commands_page() -> str:
    """Return the text of docs/commands.md."""
    rows = [f"| `{_usage(path, command)}` | {_short(command)} |" for path, command in every_command()]
    return "\n".join([INTRODUCTION, "| command | |", "| --- | --- |", *rows, ""])


def _usage(path: tuple[str, ...], command: click.Command) -> str:
    pieces = command.collect_usage_pieces(click.Context(command))
    arguments = [each for each in pieces if each != "[OPTIONS]" and not isinstance(command, click.Group)]
    return " ".join([*path, *arguments]).replace("|", "\\|")


def _short(command: click.Command) -> str:
    """Return the first paragraph of the help of a command."""
    return " ".join(inspect.cleandoc(command.help or "").split("\n\n")[0].split()).replace("|", "\\|")


def configuration_page() -> str:
    """Return the text of docs/configuration.md with new tables of keys.

    The comment before a table names its section: a class of `settings/keys.py`, `web_keys.py` or `stream_keys.py`, or a type of
    receivers or streams; and the keys, if not all.
    """
    receivers = {kind: notifier_module(kind).Options for kind in notifier_types()}
    drivers = {kind: driver_module(kind).Options for kind in driver_types()}
    sections = {**vars(keys), **vars(web_keys), **vars(stream_keys), **receivers, **drivers}

    def table(found: re.Match[str]) -> str:
        name, chosen = found[1], found[2].split()
        model: type[Options] = sections.get(name, PeriodOptions)
        rows = [row for key, row in _key_rows(model) if not chosen or key in chosen]
        head = found[0].partition("\n")[0]
        return f"{head}\n\n| key | default | meaning |\n| --- | --- | --- |\n{''.join(rows)}\n"

    return KEYS_TABLE.sub(table, CONFIGURATION_FILE.read_text())


def _key_rows(model: type[Options], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield each key with its row; instead of a key with a section, the rows of the section in it."""
    schema = model.model_json_schema(schema_generator=SchemaGenerator)
    properties = (
        schema.get("properties") or schema["$defs"][model.__name__]["properties"]
    )  # the latter if it is recursive
    descriptions = key_descriptions(model)
    for field in sorted(model.model_fields, key=lambda name: name not in model.__annotations__):  # inherited keys last
        info = model.model_fields[field]
        key = info.alias or field
        if isinstance(info.default, Retention | RetryPolicy):
            yield from _key_rows(type(info.default), f"{prefix}{key}.")
        elif not _is_file_of_another(key, properties):
            name = f"`{prefix}{key}`" + (
                f", `{prefix}{key}{FILE_SUFFIX}`" if f"{key}{FILE_SUFFIX}" in properties else ""
            )
            meaning = " ".join(descriptions.get(field, "").split()).removesuffix(".")
            default = "required" if info.is_required() else _spelled(properties[key].get("default"))
            yield key, f"| {name} | {default} | {meaning} |\n"


def _is_file_of_another(key: str, properties: Mapping[str, object]) -> bool:
    return key.endswith(FILE_SUFFIX) and key.removesuffix(FILE_SUFFIX) in properties


def _spelled(default: object) -> str:
    if default is None or default == []:
        return ""
    if isinstance(default, float):
        return f"`{default:g}`"
    return f"`{default}`" if isinstance(default, str) else f"`{json.dumps(default)}`".replace('"', "")


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
    CONFIGURATION_FILE.write_text(configuration_page())
    shipped = noise.shipped_rules()
    PACK_FILE.write_text(pack_page(shipped, noise.measure(shipped)))
    print(f"wrote {COMMANDS_FILE}, {CONFIGURATION_FILE} and {PACK_FILE}")
