"""Report rules that fail on a record, although they passed the checks when they were loaded.

A condition that fails counts as not met, and a text that fails is replaced by a plain one, so that other rules continue.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog
from sqlalchemy import Connection

from actionwatch.matching.self_alerts import SelfAlertStore
from actionwatch.rules.engine import RuleFailure
from actionwatch.text.escaping import shorten, visible

_TROUBLE = "rule_failing"
_MAX_WHAT = 1000  # characters of an error, which may contain audit text
_REMEDY = (
    "fix the rule: it is loaded within a second, and 'actionwatch rules backtest' then shows what it missed. If the rule is "
    "right, report the error"
)

log = structlog.get_logger()


class FailureLog:
    """Writes the failures of rules to the log."""

    def report(self, _connection: Connection, failures: Sequence[RuleFailure]) -> None:
        """Report failures, in the transaction that commits what was matched."""
        for failure in failures:
            log.error("rule_failed", rule=failure.rule.name, record=failure.record_key, error=failure.what)

    def settle_failures(self) -> None:
        """Note that other rules are used from now on: the next failure is reported again."""


class RuleFailures(FailureLog):
    """Also opens a self-alert for each rule that fails. Only the matching step, and what starts it, use it."""

    def __init__(self, self_alerts: SelfAlertStore) -> None:
        self._self_alerts = self_alerts

    def report(self, connection: Connection, failures: Sequence[RuleFailure]) -> None:
        """Report failures, each rule with its first one. If the transaction is not committed, the records are matched again."""
        super().report(connection, failures)
        for name, failure in {each.rule.name: each for each in reversed(failures)}.items():
            error = shorten(visible(failure.what), _MAX_WHAT)
            what = f"on the record {failure.record_key}: {error}" if failure.record_key else error
            self._self_alerts.report_in(connection, _TROUBLE, name, what, _REMEDY)

    def settle_failures(self) -> None:
        """Settle what was reported. A rule may have failed because of a list or a filter, so that this includes all rules."""
        self._self_alerts.settle_others(_TROUBLE, set(), lambda _: "the rules were loaded again")
