"""`rules new`: write a rule with its tests from options or a few questions."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from actionwatch.base.errors import ConfigError
from actionwatch.base.model import LEVELS, Mode
from actionwatch.cli import EXIT_FAILED, completing
from actionwatch.cli.init import write_new
from actionwatch.cli.options import FOLDER, duration
from actionwatch.cli.output import echo, spell
from actionwatch.cli.rules.draft import MAX_COUNT, Draft, contradiction, render
from actionwatch.cli.rules.interview import Interview, check_kind, check_name, named_after, words
from actionwatch.cli.rules.loaded_rules import read_context
from actionwatch.cli.rules.preview import DraftPreview
from actionwatch.instaclustr.kinds import KINDS
from actionwatch.service.rule_context import LoadedRules, RuleContext

if TYPE_CHECKING:
    from actionwatch.rules.model import Rule


@click.command("new")
@click.option("--title", help="What the rule detects, in a few words.")
@click.option("--name", help="The name for routes and commands.  [default: derived from the title]")
@click.option("--kind", "kinds", multiple=True, metavar="K", shell_complete=completing.kinds,
              help="A kind that the rule matches (repeatable).")  # fmt: skip
@click.option("--level", type=click.Choice(list(LEVELS)), help="The level of the alert.  [default: medium]")
@click.option("--except-user", "users", multiple=True, metavar="U", help="Exclude this user (repeatable).")
@click.option("--cluster", metavar="C", help="Only this cluster, by id or name, with wildcards.")
@click.option("--outside", metavar="INTERVAL", help="Only outside this time interval, such as business-hours.")
@click.option(
    "--count", type=click.IntRange(2, MAX_COUNT), metavar="N", help="Alert if N records occur --within a time."
)
@click.option("--distinct", metavar="FIELD", help="With --count: count the different values of this field.")
@click.option("--then", "then", multiple=True, metavar="K[,K…]", shell_complete=completing.kinds,
              help="Alert if one of these kinds follows --within a time (repeatable: a further step).")  # fmt: skip
@click.option("--missing", "is_missing", is_flag=True, help="Alert if no record occurs --within a time.")
@click.option("--within", type=duration, metavar="TIME", help="The time of --count, --then and --missing, such as 10m.")
@click.option(
    "--group-by",
    "group_by",
    multiple=True,
    metavar="FIELD",
    help="Group matches with the same value of this field into one alert (repeatable). Counts, sequences and absences are "
    "separate for each value.",
)
@click.option("--expect", multiple=True, metavar="VALUE",
              help="With --missing and --group-by: a value that must occur (repeatable), or @LIST.")  # fmt: skip
@click.option("--folder", type=FOLDER, default=Path("rules"), show_default=True, help="The folder to write to.")
@click.option("--print", "is_printed", is_flag=True, help="Print the rule instead of writing a file.")
@click.pass_obj
def command(config: str, /, folder: Path, is_printed: bool, **given: Any) -> int:
    """Write a rule with its tests. On a terminal, asks for missing options.

    The rule matches each record of some kinds, counts them, or detects that others follow (a sequence) or that none occurs (an
    absence). Shows how often it would have fired on the records of the store. Writes nothing unless the rule loads and passes
    its tests.

    \b
    actionwatch rules new --title "Restarts in a row" --kind RESTART_CLUSTER --count 5 --within 10m --group-by userName
    actionwatch rules new --title "Backups stopped" --kind BACKUP --missing --within 26h
    """
    context = read_context(config, [folder])
    with DraftPreview(config) as preview:
        if given["title"] and given["kinds"]:
            draft = _draft_of(given, context)
            text, rules = _build(draft, context)
            for line in preview.describe(rules).splitlines():
                echo(line, err=True)
        elif not sys.stdin.isatty():
            raise click.UsageError("standard input is not a terminal: give at least --title and --kind")
        else:
            finished = Interview(
                given, folder, context.known_kinds, lambda draft: _build(draft, context), preview
            ).hold()
            if finished is None:
                echo("Nothing was written.")
                return EXIT_FAILED
            draft, text = finished
    if is_printed:
        echo(text, nl=False)
        return 0
    path = folder / f"{draft.name}.yml"
    if not write_new(text.encode(), path):
        raise click.ClickException(f"{path} exists: choose another --name")
    shown = spell(path)
    echo(f"wrote {shown}\nNext: actionwatch rules test {shown}\n      actionwatch rules backtest {shown}")
    return 0


def _draft_of(given: dict[str, Any], context: RuleContext) -> Draft:
    """Make the draft that the options describe. Raises: click.UsageError."""
    if given["within"] is not None and (given["within"] < timedelta(seconds=1) or given["within"].microseconds):
        raise click.UsageError("--within is a whole number of seconds, at least 1s")
    known = context.known_kinds
    return Draft(
        **{name: value for name, value in given.items() if value is not None}
        | {
            "name": check_name(given["name"] or named_after(given["title"])),
            "kinds": tuple(check_kind(kind, known) for kind in given["kinds"]),
            "then": tuple(tuple(check_kind(kind, known) for kind in words(step)) for step in given["then"]),
        }
    )


def _build(draft: Draft, context: RuleContext) -> tuple[str, Sequence[Rule]]:
    """Return the text of a draft and its rules, which load and pass their tests.

    Raises: click.UsageError, ConfigError; click.ClickException, if a test of the draft fails.
    """
    from actionwatch.rules.case_runner import CaseRunner
    from actionwatch.service.simulation import simulate
    from actionwatch.text.yaml_document import read_text

    if problem := contradiction(draft):
        raise click.UsageError(problem)
    text = render(draft, context.time_intervals.get(draft.outside or ""))
    documents = tuple(read_text(text, "the new rule"))
    loaded = LoadedRules(context.build(documents), documents, context)
    if loaded.found.faults:
        raise ConfigError(*loaded.found.faults)
    rules = [replace(rule, mode=Mode.LIVE) for rule in loaded.found.rules]
    runner = CaseRunner(rules, simulate, KINDS, context.lists, loaded.rebuild)
    for failed in (result for rule in rules for result in runner.run(rule) if result.problems):
        what = f"its test '{failed.case.name}' fails: {'; '.join(failed.problems)}"
        raise click.ClickException(f"the rule would not do what it says: {what}")
    return text, rules
