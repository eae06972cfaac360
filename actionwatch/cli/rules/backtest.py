"""`rules backtest`: report what rules would have fired."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from actionwatch.base.clock import Spans, utc_now
from actionwatch.base.durations import spell_duration
from actionwatch.base.errors import ConfigError
from actionwatch.base.model import Alert, Record
from actionwatch.base.plurals import counted
from actionwatch.cli import EXIT_FAILED, completing
from actionwatch.cli.options import FILE, output_option, time
from actionwatch.cli.output import echo, level_text, print_items, print_table
from actionwatch.cli.rules import record_source
from actionwatch.cli.rules.loaded_rules import load
from actionwatch.cli.rules.record_source import BacktestRecords, counting
from actionwatch.cli.rules.spool import Spool
from actionwatch.service.rule_context import LoadedRules
from actionwatch.text.payloads import instant, record_document
from actionwatch.text.suggestions import suggest
from actionwatch.text.times import spell_time

if TYPE_CHECKING:
    from actionwatch.rules.case_runner import SimulationResult
    from actionwatch.rules.model import Rule

BACK = timedelta(days=90)
_BARS = " ▁▂▃▄▅▆▇█"
HISTOGRAM_CHARS = 30
_IDLE_NAMED = 5  # rules that did not fire


@click.command("backtest")
@click.argument("rules", nargs=-1, shell_complete=completing.rules_and_files)
@click.option("--since", type=time, help="Start of the period.  [default: 90d before now; a file is read completely]")
@click.option("--until", type=time, help="End of the period.")
@click.option(
    "--records",
    "file",
    type=FILE,
    help="Read the records from this file: JSON lines in the format of the upstream or of 'records export'.",
)
@click.option(
    "--from",
    "origin",
    type=click.Choice(["store", "upstream"]),
    help="Where to read the records without --records.  [default: store]",
)
@click.option("--source", "source", metavar="NAME", shell_complete=completing.sources,
              help="Only this configured source.")  # fmt: skip
@click.option(
    "--max-alerts", type=click.IntRange(0), metavar="N", help="Exit with 1 if a rule opens more alerts than this."
)
@click.option("--all", "is_all", is_flag=True, help="Also list the rules that did not fire.")
@click.option("--with-configured", "is_joined", is_flag=True,
              help="Also load the configured rules: RULES can name and replace them.")  # fmt: skip
@output_option
@click.pass_obj
def command(
    config: str,
    /,
    rules: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
    file: Path | None,
    origin: str | None,
    source: str | None,
    max_alerts: int | None,
    is_all: bool,
    is_joined: bool,
    form: str,
) -> int:
    """Report what RULES would have fired: files, folders, or names of configured rules; without any, all configured rules.

    Reads the records of the store, of a file, or of the upstream, which is queried only for records that the rules can match.
    Rules in mode shadow or off run as if they were live. Nothing is stored or sent.
    """
    from actionwatch.rules.prefilter import prefilter_of

    for option, is_given in (("--from", origin), ("--source", source)):
        if file is not None and is_given:
            raise click.UsageError(f"--records and {option} exclude each other: omit one of them")
    loaded, chosen = _choose_rules(config, rules, is_joined=is_joined)
    span = record_source.TimeRange(since or (None if file else utc_now() - BACK), until)
    about = prefilter_of(chosen, loaded.found.rules)
    with Spool() as spool:
        if file is not None:
            found = record_source.from_file(spool, file, loaded.context.settings, span)
        elif origin == "upstream":
            found = record_source.from_upstream(spool, config, about, source, span)
        else:
            found = record_source.from_store(spool, config, about, source, span)
        for note in found.notes if found is not None else ():
            echo(f"note: {note}", err=True)
        outcome = run_rules(chosen, found)
        _show(chosen, outcome, found, form, is_all=is_all)
    return _check_noise(chosen, outcome.alerts, max_alerts)


def _choose_rules(config: str, names: Sequence[str], *, is_joined: bool = False) -> tuple[LoadedRules, list[Rule]]:
    """Load the rules of these files and folders, or those of the configuration that have these names; all live.

    `is_joined`: with files and folders, load the rules of the configuration too, which these can name and replace.

    Raises: ConfigError, where any of them is broken; click.ClickException, where there is no such rule.
    """
    from actionwatch.service.simulation import to_replay

    paths = [Path(name) for name in names if Path(name).exists()]
    plain = [name for name in names if not Path(name).exists()]
    if missing := [name for name in plain if "/" in name or Path(name).suffix in (".yml", ".yaml")]:
        raise click.UsageError(f"there is no file or folder {missing[0]}")
    if paths and plain:
        raise click.ClickException(f"there is no {plain[0]}: give files and folders or configured rules, not both")
    loaded = load(config, paths, joined=is_joined and bool(paths))
    if paths and (faults := [fault for fault in loaded.found.faults if not is_joined or _is_below(fault.file, paths)]):
        raise ConfigError(*faults)
    by_name = {key: rule for rule in loaded.found.rules for key in (rule.name.id, rule.name.name)}
    for name in plain:
        if name not in by_name:
            known = [rule.name.name for rule in loaded.found.rules]
            remedy = suggest(name, known, "rules are") or "see: actionwatch rules list"
            raise click.ClickException(f"no file or rule is named {name!r}: {remedy}")
    chosen = [by_name[name] for name in plain] if plain else list(loaded.found.rules)
    if is_joined and paths:
        chosen = [rule for rule in chosen if _is_below(rule.file, paths)]
        if not chosen:
            raise click.ClickException("the draft has no rule: a filter is tried with the rules to which it applies")
    return loaded, to_replay(chosen, loaded.found.rules)


def _is_below(file: str, paths: Sequence[Path]) -> bool:
    return any(Path(file).is_relative_to(path) for path in paths)


def _alert_document(alert: Alert, records: Sequence[Record]) -> dict[str, Any]:
    """Return an alert as JSON."""
    ends = [record_document(record) for record in (records[0], records[-1])] if records else [None] * 2
    return {
        "id": alert.id,
        "rule": {"id": alert.rule.id, "name": alert.rule.name},
        "level": alert.level.word,
        "group": dict(alert.group or {}),
        "count": alert.count,
        "first_at": instant(alert.first_at),
        "last_at": instant(alert.last_at),
        "late": alert.late_by is not None,
        "first_record": ends[0],
        "last_record": ends[1],
    }


def run_rules(rules: Sequence[Rule], found: BacktestRecords | None) -> SimulationResult:
    """Run rules over the records; report up to five failures of a rule."""
    from actionwatch.rules.case_runner import SimulationResult
    from actionwatch.service.simulation import replay

    if found is None:
        return SimulationResult((), {})
    with counting("running the rules", found.records.count) as advance:
        begin, verified = found.known_to(rules)
        outcome = replay(rules, _counted(found.records, advance), begin=begin, verified=verified)
    for failure in outcome.failures[:5]:
        echo(f"{failure.rule.name}: {failure.what} (record {failure.record_key})", err=True)
    return outcome


def _counted(records: Iterable[Record], advance: Callable[[int], None]) -> Iterator[Record]:
    """Yield the records, and advance the progress bar by thousands."""
    for number, record in enumerate(records, 1):
        yield record
        if number % 1000 == 0:
            advance(1000)


def _show(
    rules: Sequence[Rule], outcome: SimulationResult, found: BacktestRecords | None, form: str, *, is_all: bool
) -> None:
    """Print what fired, most first. Rules that did not fire are counted, and listed only on request."""
    alerts = outcome.alerts
    if form != "table":
        print_items(alerts, form, document=lambda alert: _alert_document(alert, outcome.records[alert.id]))
        return
    if found is None:
        echo("no records to run the rules on", err=True)
        return
    begin, end = found.begin, found.end
    days = max((end - begin).total_seconds() / 86_400, 1e-9)
    fired: dict[str, list[Alert]] = {rule.name.id: [] for rule in rules if not rule.is_silent}
    for alert in alerts:
        fired[alert.rule.id].append(alert)
    rows = []
    for rule in rules:
        own = fired.get(rule.name.id, [])
        if own or (is_all and not rule.is_silent):
            counts = (len(own), sum(alert.count for alert in own), f"{len(own) / days:.2f}" if days >= 1 else "")
            rows.append((level_text(rule.level.word), rule.name.name, *counts, histogram(own, begin, end)))
    rows.sort(key=lambda row: -row[2])
    columns = ("level", "rule", "alerts", "records", "per day", "over time")
    print_table(columns, rows, nothing="no rule fired", cut=("rule",))
    idle = [rule.name.name for rule in rules if fired.get(rule.name.id) == []]
    if idle and not is_all:
        named = f": {', '.join(idle)}" if len(idle) <= _IDLE_NAMED else " (--all lists them)"
        echo(f"{counted(len(idle), 'rule')} did not fire{named}")
    echo(
        f"{counted(len(alerts), 'alert')} from {counted(found.records.count, 'record')}, "
        f"{spell_time(begin)} to {spell_time(end)} (a bar is {spell_duration((end - begin) / HISTOGRAM_CHARS)})"
    )


def histogram(alerts: Sequence[Alert], begin: datetime, end: datetime) -> str:
    """Return the alerts over time as a row of bars."""
    counts = Spans.between(begin, end, HISTOGRAM_CHARS).count_each(alert.first_at for alert in alerts)
    top = max(counts)
    return "".join(_BARS[-(-count * (len(_BARS) - 1) // top)] if top else " " for count in counts).rstrip()


def _check_noise(rules: Sequence[Rule], alerts: Sequence[Alert], max_alerts: int | None) -> int:
    """Report the rules that open more than `max_alerts` alerts. Return the exit status."""
    if max_alerts is None:
        return 0
    counts = {rule.name.name: sum(alert.rule.id == rule.name.id for alert in alerts) for rule in rules}
    noisy = {name: count for name, count in counts.items() if count > max_alerts}
    for name, count in noisy.items():
        echo(f"{name}: {counted(count, 'alert')}, more than the allowed {max_alerts}", err=True)
    return EXIT_FAILED if noisy else 0
