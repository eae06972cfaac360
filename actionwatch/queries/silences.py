"""The silences: those that are active or to come, those that are over, one by its id, and what one would have hidden."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from actionwatch.alerts.routes import RECORD_LABELS, alert_labels, newest_labels
from actionwatch.alerts.silences import is_matched
from actionwatch.base.durations import spell_duration
from actionwatch.base.model import Silence
from actionwatch.base.plurals import counted
from actionwatch.queries.pages import Page, only
from actionwatch.store import alerts, records, silences
from actionwatch.store.statements import PageKey
from actionwatch.text.matchers import parse_matcher

STATES = ("current", "expired")
_PREVIEWED = timedelta(days=7)
_MOST_PREVIEWED = 5000  # alerts; to look at more would take seconds


def page(connection: Connection, state: str, now: datetime, limit: int, after: PageKey | None = None) -> Page[Silence]:
    """Return the next silences in a state, last end first, after a place. Current ones have only one page."""
    if state == "expired":
        return Page(*silences.read_expired(connection, now, limit, after))
    return Page(silences.read_current(connection, now) if after is None else ())


def find(connection: Connection, beginning: str) -> Silence:
    """Return the silence whose id starts with this. Raises: NotFound."""
    return only(silences.read_by_prefix(connection, beginning), "silence", beginning, "silences list --all")


@dataclass(frozen=True, slots=True)
class SilencePreview:
    """The number of recent alerts, and of those of each rule that a silence would have hidden, most first.

    `is_cut` if only the newest `_MOST_PREVIEWED` alerts were looked at.
    """

    alert_count: int
    hidden: dict[str, int]
    is_cut: bool

    def __str__(self) -> str:
        """Say what it would have hidden."""
        which = "newest " if self.is_cut else ""
        of = f"the {which}{counted(self.alert_count, 'alert')} of the last {spell_duration(_PREVIEWED)}"
        if not self.hidden:
            return f"it would have hidden none of {of}"
        rules = ", ".join(f"{count} {name}" for name, count in self.hidden.items())
        return f"it would have hidden {sum(self.hidden.values())} of {of}: {rules}"


def preview(connection: Connection, made: Sequence[Silence], now: datetime) -> list[SilencePreview]:
    """Match each silence with the alerts that opened within `_PREVIEWED`, by their newest record. Shadow rules do not count."""
    found = alerts.read_newest(connection, _MOST_PREVIEWED, alerts.AlertFilter(since=now - _PREVIEWED))
    delivered = [(alert, alert_labels(alert, None)) for alert in found if not alert.is_shadow]
    # Most alerts are excluded without their records.
    early = [[text for text in each.matchers if parse_matcher(text).label not in RECORD_LABELS] for each in made]
    near = [[alert for alert, labels in delivered if is_matched(texts, labels)] for texts in early]
    is_done = [len(texts) == len(each.matchers) for texts, each in zip(early, made, strict=True)]
    open_ = {alert.id: alert for some, done in zip(near, is_done, strict=True) if not done for alert in some}
    newest = records.read_of_alerts(connection, list(open_), 1)
    labels = {alert.id: newest_labels(alert, newest) for alert in open_.values()}
    hidden = [
        some if done else [alert for alert in some if is_matched(silence.matchers, labels[alert.id])]
        for silence, some, done in zip(made, near, is_done, strict=True)
    ]
    counts = [Counter(alert.rule.name for alert in some) for some in hidden]
    is_cut = len(found) == _MOST_PREVIEWED
    return [SilencePreview(len(delivered), dict(each.most_common()), is_cut) for each in counts]
