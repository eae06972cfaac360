"""How many alerts the shipped rules raise in the quiet month of the emulator, in which nothing unusual happens.

`python -m tests.benchmarks noise [DAYS] [SEED]`. The last 30 days of a longer quiet time are counted, so that rules that
learn for 90 days have finished. It uses the code of `rules backtest`; the same seed gives the same alerts.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from actionwatch.base.model import Alert, Level, Mode, Record
from actionwatch.cli.rules.spool import Spool
from actionwatch.emulator.log import Action
from actionwatch.emulator.scenario import build_simulation
from actionwatch.emulator.state import Organisation
from actionwatch.emulator.wire import record as wire_record
from actionwatch.instaclustr.records import RecordReader
from actionwatch.instaclustr.wire import parse_page
from actionwatch.rules.correlations.sources import VerifiedTime
from actionwatch.rules.load import load_rules
from actionwatch.rules.model import Rule
from actionwatch.service import configuration
from actionwatch.service.simulation import replay
from actionwatch.text.timeintervals import TimeInterval
from tests.emulated import quiet_month

FOLDER = Path(__file__).parents[2] / "rules"
NOW = datetime(2026, 12, 1, tzinfo=UTC)
MONTH_DAYS = 30
LEARNED_DAYS = 91


@dataclass(frozen=True)
class Noise:
    """The alerts of so many days, of rules that are live and of those in shadow mode."""

    days: int
    records: int
    alerts: Sequence[Alert]
    in_shadow: Sequence[Alert]

    def per_day(self, least: Level) -> float:
        """Return the alerts per day of this level and above."""
        return sum(alert.level >= least for alert in self.alerts) / self.days

    def by_rule(self) -> Counter[str]:
        """Count the alerts of each rule, also in shadow mode."""
        return Counter(alert.rule.name for alert in (*self.alerts, *self.in_shadow))


def main(days: int = MONTH_DAYS, seed: int = 1) -> None:
    """Print alerts per day, by rule and by level."""
    started = time.perf_counter()
    rules = shipped_rules()
    noise = measure(rules, days, seed)
    counts = noise.by_rule()
    levels = {rule.name.name: rule.level.word for rule in rules}
    modes = {rule.name.name: " (shadow)" for rule in rules if rule.mode is Mode.SHADOW}
    print(f"{len(rules)} rules, {noise.records:,} records in {days} quiet days, seed {seed}\n")
    for name, count in counts.most_common():
        print(f"  {name:<36} {levels[name]:<14} {count:>4}  {count / days:>6.2f} a day{modes.get(name, '')}")
    print(f"  {len(rules) - len(counts)} rules: none\n")
    for level in sorted(Level, reverse=True):
        print(f"  {level.word:<14} {sum(alert.level is level for alert in noise.alerts) / days:>6.2f} a day")
    print(f"  {'high and above':<14} {noise.per_day(Level.HIGH):>6.2f} a day\n  {time.perf_counter() - started:.1f} s")


def shipped_rules(intervals: dict[str, TimeInterval] | None = None) -> tuple[Rule, ...]:
    """Load the shipped rules with the configuration that `init` writes."""
    loaded = load_rules(
        [FOLDER],
        lists=None,
        known_kinds=configuration.documented_kinds(),
        time_intervals=intervals or configuration.usual_intervals(),
    )
    assert not loaded.faults, loaded.faults
    return loaded.rules


def measure(rules: Sequence[Rule], days: int = MONTH_DAYS, seed: int = 1) -> Noise:
    """Raise the alerts of a quiet time, without those that were raised while rules were learning."""
    organisation = build_simulation(quiet_month(seed, days=days + LEARNED_DAYS), lambda: NOW).organisation
    records = as_records(organisation, organisation.truth())
    begin, counted_from = NOW - timedelta(days=days + LEARNED_DAYS), NOW - timedelta(days=days)
    alerts = [alert for alert in raised(rules, records, begin, NOW) if alert.first_at >= counted_from]
    shadow = {rule.name.id for rule in rules if rule.mode is Mode.SHADOW}
    return Noise(
        days=days,
        records=sum(record.occurred_at >= counted_from for record in records),
        alerts=[alert for alert in alerts if alert.rule.id not in shadow],
        in_shadow=[alert for alert in alerts if alert.rule.id in shadow],
    )


def raised(rules: Sequence[Rule], records: Sequence[Record], begin: datetime, end: datetime) -> Sequence[Alert]:
    """Run the rules on records of a time that is known completely; those in shadow mode as if they were live."""
    live = [replace(rule, mode=Mode.LIVE) for rule in rules]
    in_order = sorted(records, key=lambda record: (record.occurred_at, record.key))
    outcome = replay(live, in_order, begin=lambda *_: begin, verified=VerifiedTime(end))
    assert not outcome.failures, outcome.failures
    return outcome.alerts


def as_records(organisation: Organisation, actions: Sequence[Action]) -> list[Record]:
    """Send actions over HTTP and read them like the service."""
    sent = msgspec.json.encode([wire_record(action, organisation) for action in actions])
    page = parse_page(sent, RecordReader("quiet", organisation_id="org"), NOW)
    with Spool() as spool:
        spool.add(msgspec.structs.replace(record, seen_at=record.occurred_at) for record in page.records)
        return list(spool)
