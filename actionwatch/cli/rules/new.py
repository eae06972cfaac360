"""`rules new`: copy a commented example of a rule, with its tests."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

import click

from actionwatch.base.errors import ConfigError
from actionwatch.base.model import Mode
from actionwatch.cli import completing
from actionwatch.cli.init import write_new
from actionwatch.cli.options import FOLDER, output_option
from actionwatch.cli.output import echo, print_items, spell
from actionwatch.cli.rules.examples import BY_NAME, EXAMPLES, USUAL_INTERVAL, Example, copy
from actionwatch.cli.rules.loaded_rules import read_context
from actionwatch.instaclustr.kinds import KINDS, normalise_kind
from actionwatch.service.rule_context import LoadedRules, RuleContext

_NEAR = 3  # kinds to suggest for an unknown one


@click.command("new")
@click.argument("name", required=False)
@click.option("--from", "origin", type=click.Choice([*BY_NAME]), metavar="EXAMPLE", help="The example to copy.")
@click.option("--list", "is_list", is_flag=True, help="List the examples, with the options that each of them has.")
@click.option("--kind", metavar="K", shell_complete=completing.kinds, help="The kind, or the first one.")
@click.option("--user", metavar="U", help="The excluded user.")
@click.option("--cluster", metavar="C", help="The cluster, by id or name.")
@click.option("--during", metavar="INTERVAL", shell_complete=completing.intervals,
              help="The time interval of the configuration in which the rule alerts.")  # fmt: skip
@click.option("--folder", type=FOLDER, default=Path("rules"), show_default=True, help="The folder to write to.")
@click.option("--print", "is_printed", is_flag=True, help="Print the rule instead of writing a file.")
@output_option
@click.pass_obj
def command(
    config: str,
    /,
    name: str | None,
    origin: str | None,
    is_list: bool,
    folder: Path,
    is_printed: bool,
    form: str,
    **options: str | None,
) -> int:
    """Write a rule NAME with its tests: a commented example, to be edited.

    Writes nothing unless the rule loads and passes its tests, and overwrites nothing.

    \b
    actionwatch rules new --list
    actionwatch rules new topics_deleted --from burst --kind DELETE_KAFKA_TOPIC --user svc-terraform
    """
    if is_list:
        _print_examples(form)
        return 0
    if name is None or origin is None:
        raise click.UsageError("give a NAME and --from EXAMPLE; --list shows the examples")
    values = {option: value for option, value in options.items() if value is not None}
    text = _copy(BY_NAME[origin], _check_name(name), values, read_context(config, [folder]))
    if is_printed:
        echo(text, nl=False)
        return 0
    path = folder / f"{name}.yml"
    if not write_new(text.encode(), path):
        raise click.ClickException(f"{path} exists: choose another name")
    shown = spell(path)
    echo(f"wrote {shown}\nNext: edit it, then\n  actionwatch rules test {shown}\n  actionwatch rules backtest {shown}")
    return 0


def _print_examples(form: str) -> None:
    print_items(
        EXAMPLES,
        form,
        document=lambda each: {"example": each.name, "detects": each.detects, "options": [*each.values]},
        columns=("example", "detects", "options"),
        row=lambda each: (each.name, each.detects, " ".join(f"--{option}" for option in each.values)),
        cut=("detects",),
    )


def _copy(example: Example, name: str, values: dict[str, str], context: RuleContext) -> str:
    """Return the text of the new rule, which loads and passes its tests.

    Raises: click.UsageError, ConfigError; click.ClickException, if a test fails.
    """
    for option in values.keys() - example.values.keys():
        having = ", ".join(each.name for each in EXAMPLES if option in each.values)
        raise click.UsageError(f"the example '{example.name}' has no --{option}; these have it: {having}")
    if "kind" in values:
        values["kind"] = _check_kind(values["kind"], context.known_kinds)
    interval = context.time_intervals.get(values.get("during", USUAL_INTERVAL))
    try:
        text = copy(example, name, values, interval)
    except ValueError as exc:
        raise click.UsageError(str(exc)) from exc
    _check(text, f"{name}.yml", context)
    return text


def _check(text: str, file: str, context: RuleContext) -> None:
    from actionwatch.rules.case_runner import CaseRunner
    from actionwatch.service.simulation import simulate
    from actionwatch.text.yaml_document import read_text

    documents = tuple(read_text(text, file))
    loaded = LoadedRules(context.build(documents), documents, context)
    if loaded.found.faults:
        raise ConfigError(*loaded.found.faults)
    rules = [replace(rule, mode=Mode.LIVE) for rule in loaded.found.rules]
    runner = CaseRunner(rules, simulate, KINDS, context.lists, loaded.rebuild)
    for failed in (result for rule in rules for result in runner.run(rule) if result.problems):
        what = f"its test '{failed.case.name}' fails: {'; '.join(failed.problems)}"
        raise click.ClickException(f"the rule would not do what it says: {what}")


def _check_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][\w.-]*", text, re.ASCII):
        raise click.UsageError("a name consists of letters, digits, _, . and -")
    return text


def _check_kind(word: str, known: Sequence[str]) -> str:
    """Return the normalised kind. Raises: click.UsageError with similar kinds, if the upstream is not known to record it."""
    name = normalise_kind(word)
    if name in known:
        return name
    near = get_close_matches(name, known, n=_NEAR, cutoff=0.6) or [each for each in known if name in each][:_NEAR]
    hint = f"did you mean {', '.join(near)}? " if near else ""
    remedy = f"{hint}If your upstream records it, add it to extra_kinds in the configuration"
    raise click.UsageError(f"{name} is not a documented kind: {remedy}")
