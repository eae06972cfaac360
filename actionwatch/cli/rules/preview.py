"""Show how often the draft of a rule would have fired on the records of the store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Self

from actionwatch.base.clock import utc_now
from actionwatch.base.durations import spell_duration
from actionwatch.base.errors import ActionwatchError, ConfigError
from actionwatch.base.plurals import counted
from actionwatch.cli.rules import record_source
from actionwatch.cli.rules.backtest import BACK, HISTOGRAM_CHARS, histogram, run_rules
from actionwatch.cli.rules.spool import Spool

if TYPE_CHECKING:
    from actionwatch.cli.rules.record_source import BacktestRecords
    from actionwatch.rules.case_runner import SimulationResult
    from actionwatch.rules.model import Rule
    from actionwatch.rules.prefilter import Prefilter

UNKNOWN = "how often it would have fired is not known"
_NAMED = 3  # groups or users with the most alerts


class DraftPreview:
    """Runs drafts over the store. It keeps the records of the last draft, so that only other kinds are read again."""

    def __init__(self, config: str) -> None:
        self._config = config
        self._about: Prefilter | None = None
        self._spool = Spool()
        self._found: BacktestRecords | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._spool.__exit__()

    def describe(self, rules: Sequence[Rule]) -> str:
        """Return how often the rules would have fired, or why that is not known."""
        try:
            found = self._read(rules)
        except ConfigError as exc:
            return f"{UNKNOWN}: {exc.faults[0]}"
        except ActionwatchError as exc:
            return f"{UNKNOWN}: {exc}"
        if found is None:
            return f"{UNKNOWN}: the store has no records yet"
        outcome = run_rules(rules, found)
        alerts, span = outcome.alerts, found.end - found.begin
        days = span / timedelta(days=1)
        rate = f", {len(alerts) / days:.2f} per day" if alerts and days >= 1 else ""
        fired = f"{counted(len(alerts), 'alert') if alerts else 'no alert'}{rate}"
        could = f"{counted(found.records.count, 'record')} of these kinds"
        line = f"on the last {spell_duration(span)} of the store: {fired}, from {could}"
        bars = histogram(alerts, found.begin, found.end).ljust(HISTOGRAM_CHARS)
        return f"{line}\n│{bars}│ {_most(outcome)}" if alerts else line

    def _read(self, rules: Sequence[Rule]) -> BacktestRecords | None:
        from actionwatch.rules.prefilter import prefilter_of

        about = prefilter_of(rules, rules)
        if about != self._about:
            self._spool.__exit__()
            self._spool = Spool()
            span = record_source.TimeRange(utc_now() - BACK, None)
            self._found = record_source.from_store(self._spool, self._config, about, None, span)
            self._about = about
        return self._found


def _most(outcome: SimulationResult) -> str:
    """Name the groups, or else the users, with the most alerts."""
    names: Counter[str] = Counter()
    for alert in outcome.alerts:
        records = outcome.records[alert.id]
        group = [value for value in (alert.group or {}).values() if value]
        names[", ".join(group) or (records[-1].user_name if records else None) or "nobody"] += 1
    return "most: " + ", ".join(f"{name} {count}" for name, count in names.most_common(_NAMED))
