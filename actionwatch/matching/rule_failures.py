"""Report rules that fail on a record, although they passed the checks when they were loaded.

A condition that fails counts as not met, and a text that fails is replaced by a plain one, so that other rules go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import structlog

from actionwatch.alerts.self_alerts import SelfAlerts
from actionwatch.rules.engine import RuleFailure
from actionwatch.store import rule_versions, self_alerts
from actionwatch.store.database import Database

_TROUBLE = "rule_failing"
_REMEDY = (
    "fix the rule: it is loaded within a second, and 'actionwatch rules backtest' then shows what it missed. If the rule is "
    "right, report the error"
)

log = structlog.get_logger()


def log_failures(failures: Sequence[RuleFailure]) -> None:
    """Write failures to the log."""
    for failure in failures:
        log.error("rule_failed", rule=failure.rule.name, record=failure.record_key, error=failure.what)


class RuleFailures:
    """The self-alerts about rules that fail, one for each rule."""

    def __init__(self, database: Database, alerts: SelfAlerts) -> None:
        self._database = database
        self._alerts = alerts

    def report(self, failures: Sequence[RuleFailure]) -> None:
        """Log failures, and report each rule with its first one. Call it before what was matched is committed.

        If the process is killed in between, it matches the records again, and reports the same.
        """
        log_failures(failures)
        for name, failure in {each.rule.name: each for each in reversed(failures)}.items():
            what = f"on the record {failure.record_key}: {failure.what}" if failure.record_key else failure.what
            self._alerts.report(_TROUBLE, name, what, _REMEDY)

    def settle_changed(self) -> None:
        """Settle what was reported about rules that have changed since, or no longer run: the next failure reports it again.

        Call it when rules are loaded. The store knows since when each version runs, so that a restart forgets none.
        """
        with self._database.read() as connection:
            since: dict[str, datetime] = {each.name: each.since for each in rule_versions.read_all(connection)}
            opened = [each for each in self_alerts.read_all(connection) if each.trouble == _TROUBLE]
        unchanged = {each.subject for each in opened if each.subject in since and since[each.subject] <= each.since}
        self._alerts.settle_others(_TROUBLE, unchanged, lambda _: "the rule was changed, or no longer runs")
