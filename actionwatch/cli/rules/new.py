"""`rules new`: a few questions, and a rule with its tests."""

from __future__ import annotations

import re
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from actionwatch.rules.lists import Lists
    from actionwatch.text.timeintervals import TimeInterval

LEVELS = ("informational", "low", "medium", "high", "critical")
SCHEMA_LINE = "# yaml-language-server: $schema=../schemas/rule.schema.json"
NEAR = 3  # kinds that are offered where a word is none
# Lower case, as a rule's plain strings are compared.
SOMEBODY = ("eve", "mallory", "trudy", "oscar", "0", "somebody-else@example.com")
SATURDAY_NIGHT = datetime(2026, 3, 7, 23, tzinfo=UTC)
MAX_HOURS = 366 * 24


@click.command("new")
@click.option("--title", help="What the rule finds, in a few words.")
@click.option("--name", help="What routes and commands call it.  [default: made of the title]")
@click.option("--kind", "kinds", multiple=True, metavar="K", help="The kind it is about (repeatable).")
@click.option("--level", type=click.Choice(LEVELS), help="How bad a match is.  [default: medium]")
@click.option("--except-user", "users", multiple=True, metavar="U", help="Not when this user does it (repeatable).")
@click.option("--cluster", metavar="C", help="Only on this cluster, by id or name; wildcards work.")
@click.option(
    "--group-by", "group_by", multiple=True, metavar="FIELD", help="One alert for all that agree in this field."
)
@click.option("--outside", metavar="INTERVAL", help="Only outside this time interval, such as business-hours.")
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), default=Path("rules"), show_default=True)
@click.option("--print", "is_printed", is_flag=True, help="Print the rule instead of writing a file.")
@click.pass_obj
def command(config: str, /, folder: Path, is_printed: bool, **given: Any) -> None:
    """Write a rule with two tests: one that alerts, one that does not. Asks for what the options leave open on a terminal."""
    from actionwatch.cli.rules.loaded_rules import surroundings

    answers = _ask(given, folder)
    lists, kinds, intervals, _ = surroundings(config, [Path()])
    text = render(**answers, at=_outside(intervals.get(answers["outside"] or "")))
    _check(text, lists, kinds, intervals)
    if is_printed:
        click.echo(text, nl=False)
        return
    path = folder / f"{answers['name']}.yml"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:  # x: never overwrite
            file.write(text)
    except FileExistsError as exc:
        raise click.ClickException(f"{path} is there already: choose another --name") from exc
    except OSError as exc:
        raise click.ClickException(f"cannot write {path}: {exc.strerror}") from exc
    click.echo(f"wrote {path}\nNext: actionwatch rules test {path}\n      actionwatch rules backtest {path}")


def render(
    *,
    title: str,
    name: str,
    kinds: Sequence[str],
    level: str,
    users: Sequence[str],
    cluster: str | None,
    group_by: Sequence[str],
    outside: str | None,
    at: datetime,
) -> str:
    """Write the rule's text, keys in the order in which people read them. `at`: when it is to alert, if that matters."""
    import yaml

    def flow(value: Any) -> str:
        text: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000, sort_keys=False)
        return text.removesuffix("...\n").strip()

    selection: dict[str, Any] = {"actionKind": kinds[0] if len(kinds) == 1 else list(kinds)}
    if cluster:
        selection["cluster"] = cluster
    hit: dict[str, Any] = {"at": f"{at:%Y-%m-%dT%H:%M:%SZ}"} if outside else {}
    hit |= {"actionKind": kinds[0], "userName": _somebody_else(users)}
    if cluster:
        hit["cluster"] = _like(cluster)
    miss = {**hit, "userName": _like(users[0])} if users else {**hit, "actionKind": _something_else(kinds)}
    lines = [
        SCHEMA_LINE,
        f"title: {flow(title)}",
        f"id: {uuid.uuid4()}",
        f"name: {name}",
        "status: experimental",
        f"level: {level}",
        "logsource: {product: instaclustr, service: user_actions}",
        "detection:",
        f"  action: {flow(selection)}",
        *([f"  expected: {flow(_expected(users))}"] if users else []),
        f"  condition: action{' and not expected' if users else ''}",
        *([f"when: {flow({'outside': [outside]})}"] if outside else []),
        "alert:",
        '  title: "{{ userName }}: {{ actionKind }} on {{ cluster }}"',
        *([f"  group_by: {flow(list(group_by))}"] if group_by else []),
        "  fields: [timestamp, userName, account.name, cluster.name, clusterId, description]",
        "  runbook: |",
        "    1. Ask the user whether this was meant.",
        "tests:",
        "  - name: it happens",
        f"    event: {flow(hit)}",
        "    expect: alert",
        f"  - name: {'an expected user does it' if users else 'something else happens'}",
        f"    event: {flow(miss)}",
        "    expect: nothing",
    ]
    return "\n".join(lines) + "\n"


def _like(pattern: str) -> str:
    """Give a text that a pattern with wildcards means."""
    return pattern.replace("*", "x").replace("?", "x")


def _somebody_else(users: Sequence[str]) -> str:
    """Name somebody whom none of these patterns means."""
    from sigma.types import SigmaString

    from actionwatch.rules.compile import folded_check

    meant = [folded_check(SigmaString(user)) for user in users]
    for name in SOMEBODY:
        if not any(is_meant(name) for is_meant in meant):
            return name
    raise click.UsageError(f"nobody is left whose actions would alert: {', '.join(users)}")


def _something_else(kinds: Sequence[str]) -> str:
    """Name a kind that the rule is not about."""
    from actionwatch.instaclustr.kinds import KINDS

    return next(kind for kind in ("BACKUP", *KINDS, "SOMETHING_ELSE") if kind not in kinds)


def _outside(interval: TimeInterval | None) -> datetime:
    """Find an hour outside of a time interval: on a Saturday night, if that will do."""
    hours = (SATURDAY_NIGHT + timedelta(hours=number) for number in range(MAX_HOURS))
    return next((at for at in hours if interval is None or not interval.holds(at)), SATURDAY_NIGHT)


def _expected(users: Sequence[str]) -> dict[str, list[str]]:
    """Say whom to expect: where all names end in a wildcard, by the modifier that says so."""
    stems = [user.removesuffix("*") for user in users]
    if all(user.endswith("*") for user in users) and not any({"*", "?"} & set(stem) or not stem for stem in stems):
        return {"userName|startswith": stems}
    return {"userName": list(users)}


def _ask(given: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Take the options; ask for what is missing where somebody is there to answer.

    An answer that will not do is asked for again at once: nobody likes to begin anew at the last question.
    """
    is_asking = not (given["title"] and given["kinds"])
    if is_asking and not sys.stdin.isatty():
        raise click.UsageError("nobody is here to ask: give at least --title and --kind")
    answers = {**given, "users": list(given["users"]), "group_by": list(given["group_by"])}
    answers["kinds"] = [_known(kind) for kind in given["kinds"]]
    if not is_asking:
        answers["name"] = _name(given["name"] or _named_after(given["title"]))
        answers["level"] = given["level"] or "medium"
        return answers
    click.echo("A few questions; the file can be changed afterwards. Ctrl-C leaves without writing anything.\n")
    title = answers["title"] = given["title"] or click.prompt(
        "What does the rule find, in a few words?", prompt_suffix=" "
    )
    answers["name"] = given["name"] or _prompt(
        "Its name, for routes and commands", _free_name(folder), _named_after(title)
    )
    answers["kinds"] = answers["kinds"] or _prompt("Which kinds is it about? (several: with commas)", _kinds)
    answers["level"] = given["level"] or click.prompt("How bad is it?", type=click.Choice(LEVELS), default="medium")
    answers["users"] = answers["users"] or _prompt("Which users may do it? (with commas; Enter: nobody)", _users, "")
    answers["group_by"] = answers["group_by"] or _prompt(
        "One alert for all that agree in which fields? (Enter: one a record)", _fields, ""
    )
    return answers


def _prompt(question: str, read: Callable[[str], Any], default: str | None = None) -> Any:
    """Ask until `read` takes the answer."""
    suffix = ": " if default else " "
    return click.prompt(question, default, value_proc=read, show_default=bool(default), prompt_suffix=suffix)


def _named_after(title: str) -> str:
    return re.sub(r"\W+", "_", title.lower(), flags=re.ASCII).strip("_") or "rule"


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][\w.-]*", text, re.ASCII):
        raise click.UsageError("a name is made of letters, digits, _, . and -")
    return text


def _free_name(folder: Path) -> Callable[[str], str]:
    def read(text: str) -> str:
        path = folder / f"{_name(text.strip())}.yml"
        if path.exists():
            raise click.UsageError(f"{path} is there already: choose another name")
        return text.strip()

    return read


def _kinds(text: str) -> list[str]:
    from actionwatch.instaclustr.kinds import normalise_kind

    words = _words(text)
    for word in words:
        if (doubt := _doubt(word)) and not click.confirm(f"{doubt} Take it as it is?", err=True):
            raise click.UsageError("which kinds, then?")
    if not words:
        raise click.UsageError("name at least one, such as DELETE_CLUSTER")
    return [normalise_kind(word) for word in words]


def _users(text: str) -> list[str]:
    words = _words(text)
    _somebody_else(words)
    return words


def _fields(text: str) -> list[str]:
    from actionwatch.rules.fields import FIELDS, field_named
    from actionwatch.rules.report import suggest

    words = _words(text)
    for word in words:
        if field_named(word) is None:
            raise click.UsageError(f"unknown field '{word}': {suggest(word, FIELDS, 'fields are')}")
    return words


def _known(kind: str) -> str:
    """Take a kind as it is given, and say so where nobody knows it."""
    from actionwatch.instaclustr.kinds import normalise_kind

    if doubt := _doubt(kind):
        click.echo(doubt, err=True)
    return normalise_kind(kind)


def _doubt(kind: str) -> str:
    """Say that a kind is not documented, and which ones are like it; nothing where it is."""
    from difflib import get_close_matches

    from actionwatch.instaclustr.kinds import KINDS, normalise_kind

    name = normalise_kind(kind)
    if name in KINDS:
        return ""
    near = get_close_matches(name, KINDS, n=NEAR, cutoff=0.6) or [each for each in KINDS if name in each][:NEAR]
    return f"No documented kind is {name}{': did you mean ' + ', '.join(near) + '?' if near else '.'}"


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _check(text: str, lists: Lists, kinds: Sequence[str], intervals: Mapping[str, TimeInterval]) -> None:
    """Refuse to write what would not load. Raises: ConfigError."""
    from actionwatch.base.errors import ConfigError
    from actionwatch.rules.load import build_rules
    from actionwatch.text.yaml_document import read_text

    built = build_rules(read_text(text, "the new rule"), lists=lists, known_kinds=kinds, time_intervals=intervals)
    if built.faults:
        raise ConfigError(*built.faults)
