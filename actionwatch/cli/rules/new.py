"""`rules new`: write a rule with its tests from options or a few questions."""

from __future__ import annotations

import re
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click

from actionwatch.base.errors import ConfigError
from actionwatch.base.model import LEVELS
from actionwatch.cli import completing
from actionwatch.cli.init import write_new
from actionwatch.cli.options import FOLDER
from actionwatch.cli.output import confirm, echo
from actionwatch.cli.rules.loaded_rules import read_context
from actionwatch.instaclustr.kinds import KINDS, normalise_kind
from actionwatch.rules.fields import FIELDS, field_named
from actionwatch.text.suggestions import suggest
from actionwatch.text.timeintervals import TimeInterval

SCHEMA_LINE = "# yaml-language-server: $schema=../schemas/rule.schema.json"
NEAR = 3  # kinds to suggest for an unknown word
# In lower case, like the strings that rules compare.
SOMEBODY = ("eve", "mallory", "trudy", "oscar", "0", "somebody-else@example.com")
SATURDAY_NIGHT = datetime(2026, 3, 7, 23, tzinfo=UTC)
MAX_HOURS = 366 * 24


@click.command("new")
@click.option("--title", help="What the rule detects, in a few words.")
@click.option("--name", help="The name for routes and commands.  [default: derived from the title]")
@click.option("--kind", "kinds", multiple=True, metavar="K", shell_complete=completing.kinds,
              help="A kind that the rule matches (repeatable).")  # fmt: skip
@click.option("--level", type=click.Choice(list(LEVELS)), help="The level of the alert.  [default: medium]")
@click.option("--except-user", "users", multiple=True, metavar="U", help="Exclude this user (repeatable).")
@click.option("--cluster", metavar="C", help="Only this cluster, by id or name, with wildcards.")
@click.option(
    "--group-by",
    "group_by",
    multiple=True,
    metavar="FIELD",
    help="Group matches with the same value of this field into one alert (repeatable).",
)
@click.option("--outside", metavar="INTERVAL", help="Only outside this time interval, such as business-hours.")
@click.option("--folder", type=FOLDER, default=Path("rules"), show_default=True, help="The folder to write to.")
@click.option("--print", "is_printed", is_flag=True, help="Print the rule instead of writing a file.")
@click.pass_obj
def command(config: str, /, folder: Path, is_printed: bool, **given: Any) -> None:
    """Write a rule with two tests: one that alerts, one that does not. On a terminal, asks for missing options."""
    from actionwatch.text.yaml_document import read_text

    answers = _ask(given, folder)
    context = read_context(config, [Path()])
    text = _render(answers, _outside(context.time_intervals.get(answers["outside"] or "")))
    if faults := context.build(read_text(text, "the new rule")).faults:
        raise ConfigError(*faults)
    if is_printed:
        echo(text, nl=False)
        return
    path = folder / f"{answers['name']}.yml"
    if not write_new(text.encode(), path):
        raise click.ClickException(f"{path} exists: choose another --name")
    echo(f"wrote {path}\nNext: actionwatch rules test {path}\n      actionwatch rules backtest {path}")


def _render(answers: Mapping[str, Any], at: datetime) -> str:
    """Return the text of the rule. `at` is a time at which it alerts, if that matters."""
    kinds, users, outside, group_by = (answers[name] for name in ("kinds", "users", "outside", "group_by"))
    hit, miss = _events(answers, at)
    selection = {"actionKind": kinds[0] if len(kinds) == 1 else kinds}
    if answers["cluster"]:
        selection["cluster"] = answers["cluster"]
    lines = [
        SCHEMA_LINE,
        f"title: {_flow(answers['title'])}",
        f"id: {uuid.uuid4()}",
        f"name: {answers['name']}",
        "status: experimental",
        f"level: {answers['level']}",
        "logsource: {product: instaclustr, service: user_actions}",
        "detection:",
        f"  action: {_flow(selection)}",
        f"  expected: {_flow(_expected(users))}" if users else "",
        f"  condition: action{' and not expected' if users else ''}",
        f"when: {_flow({'outside': [outside]})}" if outside else "",
        "alert:",
        '  title: "{{ userName }}: {{ actionKind }} on {{ cluster }}"',
        f"  group_by: {_flow(list(group_by))}" if group_by else "",
        "  fields: [timestamp, userName, account.name, cluster.name, clusterId, description]",
        "  runbook: |",
        "    1. Ask the user whether this was meant.",
        "tests:",
        "  - name: it happens",
        f"    event: {_flow(hit)}",
        "    expect: alert",
        f"  - name: {'an expected user does it' if users else 'something else happens'}",
        f"    event: {_flow(miss)}",
        "    expect: nothing",
    ]
    return "".join(f"{line}\n" for line in lines if line)


def _events(answers: Mapping[str, Any], at: datetime) -> tuple[dict[str, str], dict[str, str]]:
    """Return an event that alerts and one that does not."""
    kinds, users, cluster = answers["kinds"], answers["users"], answers["cluster"]
    hit = {"at": f"{at:%Y-%m-%dT%H:%M:%SZ}"} if answers["outside"] else {}
    hit |= {"actionKind": kinds[0], "userName": _somebody_else(users)}
    if cluster:
        hit["cluster"] = _like(cluster)
    other_kind = next(kind for kind in ("BACKUP", *KINDS, "SOMETHING_ELSE") if kind not in kinds)
    return hit, {**hit, "userName": _like(users[0])} if users else {**hit, "actionKind": other_kind}


def _flow(value: Any) -> str:
    """Return YAML on one line."""
    import yaml

    text: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000, sort_keys=False)
    return text.removesuffix("...\n").strip()


def _like(pattern: str) -> str:
    """Return a text that matches a pattern with wildcards."""
    return pattern.replace("*", "x").replace("?", "x")


def _somebody_else(users: Sequence[str]) -> str:
    """Return a user name that matches none of these patterns."""
    from sigma.types import SigmaString

    from actionwatch.rules.compile import folded_check

    checks = [folded_check(SigmaString(user)) for user in users]
    for name in SOMEBODY:
        if not any(matches(name) for matches in checks):
            return name
    raise click.UsageError(f"the rule can never alert: {', '.join(users)} exclude every user")


def _outside(interval: TimeInterval | None) -> datetime:
    """Find an hour outside a time interval, preferably on a Saturday night."""
    hours = (SATURDAY_NIGHT + timedelta(hours=number) for number in range(MAX_HOURS))
    return next((at for at in hours if interval is None or not interval.holds(at)), SATURDAY_NIGHT)


def _expected(users: Sequence[str]) -> dict[str, list[str]]:
    """Return the selection of the expected users, with `startswith` if all names end in a wildcard."""
    stems = [user.removesuffix("*") for user in users]
    if all(user.endswith("*") for user in users) and not any({"*", "?"} & set(stem) or not stem for stem in stems):
        return {"userName|startswith": stems}
    return {"userName": list(users)}


def _ask(given: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the options, and ask for missing ones on a terminal. An invalid answer is asked for again at once."""
    answers = {**given, "kinds": [_known(kind) for kind in given["kinds"]]}
    if given["title"] and given["kinds"]:
        answers["name"] = _name(given["name"] or _named_after(given["title"]))
        answers["level"] = given["level"] or "medium"
        return answers
    if not sys.stdin.isatty():
        raise click.UsageError("standard input is not a terminal: give at least --title and --kind")
    echo("Answer a few questions. You can edit the file afterwards. Ctrl-C cancels without writing.\n")
    answers["title"] = given["title"] or click.prompt("What does the rule detect, in a few words?", prompt_suffix=" ")
    questions: dict[str, tuple[str, Any, str | None]] = {
        "name": ("Name for routes and commands", _free_name(folder), _named_after(answers["title"])),
        "kinds": ("Which kinds does it match? (separated by commas)", _kinds, None),
        "level": ("Level", click.Choice(list(LEVELS)), "medium"),
        "users": ("Which users may do this? (separated by commas; Enter: none)", _users, ""),
        "group_by": ("Group alerts by which fields? (separated by commas; Enter: one alert per record)", _fields, ""),
    }
    for name, (question, read, default) in questions.items():
        suffix = ": " if default else " "
        answers[name] = answers[name] or click.prompt(
            question, default, type=read, show_default=bool(default), prompt_suffix=suffix
        )
    return answers


def _named_after(title: str) -> str:
    return re.sub(r"\W+", "_", title.lower(), flags=re.ASCII).strip("_") or "rule"


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][\w.-]*", text, re.ASCII):
        raise click.UsageError("a name consists of letters, digits, _, . and -")
    return text


def _free_name(folder: Path) -> Callable[[str], str]:
    def read(text: str) -> str:
        path = folder / f"{_name(text.strip())}.yml"
        if path.exists():
            raise click.UsageError(f"{path} exists: choose another name")
        return text.strip()

    return read


def _kinds(text: str) -> list[str]:
    words = _words(text)
    for word in words:
        if (doubt := _doubt(word)) and not confirm(f"{doubt} Use it anyway?", err=True):
            raise click.UsageError("enter the kinds again")
    if not words:
        raise click.UsageError("enter at least one kind, such as DELETE_CLUSTER")
    return [normalise_kind(word) for word in words]


def _users(text: str) -> list[str]:
    words = _words(text)
    _somebody_else(words)
    return words


def _fields(text: str) -> list[str]:
    words = _words(text)
    for word in words:
        if field_named(word) is None:
            raise click.UsageError(f"unknown field '{word}': {suggest(word, FIELDS, 'fields are')}")
    return words


def _known(kind: str) -> str:
    """Return the normalised kind, and warn if it is not documented."""
    if doubt := _doubt(kind):
        echo(doubt, err=True)
    return normalise_kind(kind)


def _doubt(kind: str) -> str:
    """Return a warning with similar kinds if a kind is not documented, otherwise an empty text."""
    name = normalise_kind(kind)
    if name in KINDS:
        return ""
    near = get_close_matches(name, KINDS, n=NEAR, cutoff=0.6) or [each for each in KINDS if name in each][:NEAR]
    return f"{name} is not a documented kind{': did you mean ' + ', '.join(near) + '?' if near else '.'}"


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]
