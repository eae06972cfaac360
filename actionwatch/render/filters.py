"""The template filters in addition to those of Jinja. docs/receivers.md describes them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from functools import partial
from typing import Any

from actionwatch.base.clock import EPOCH
from actionwatch.base.durations import spell_duration
from actionwatch.base.model import LEVELS
from actionwatch.text.escaping import one_line, shorten, steps
from actionwatch.text.payloads import explain_command, short_id
from actionwatch.text.phrases import deed, label, sentence
from actionwatch.text.steps import spend, weigh
from actionwatch.text.times import spell_both, spell_time

# Colours and emojis of levels and of resolved alerts.
_LEVEL_LOOKS = {
    "critical": ("#d32f2f", "🔴"),
    "high": ("#f4511e", "🟠"),
    "medium": ("#f9a825", "🟡"),
    "low": ("#1e88e5", "🔵"),
    "informational": ("#757575", "⚪"),
}
_RESOLVED_LOOK = ("#2e7d32", "✅")
_MAX_BARS = 24
_MAX_FORM_CHARS = (
    100  # of the format of a time: each can have widths, which Python bounds to 256 characters for each of these
)
_MAX_NAME_CHARS = 120  # of each name in a sentence, so that the others stay visible
_COMPARED_CHARS = 200  # the end of a long text may be cut where it is shown first
_ALERT_STEPS = 32  # to read its time
_STEPS = tuple(timedelta(hours=hours) for hours in (1, 3, 6, 24, 7 * 24, 28 * 24, 364 * 24))


class JsonText(str):
    """A text that is JSON already. A `.json` template prints it unchanged."""

    __slots__ = ()


class SlackMarkup(str):
    """A text in Slack's markup, such as a date. It is escaped for JSON but not for Slack."""

    __slots__ = ()


class Link(str):
    """A URL of the console. It is printed as it is, where other URLs are defused."""

    __slots__ = ()


def shown(value: Any) -> str:
    """Convert a value to text; None becomes an empty text."""
    return "" if value is None else str(value)


def _shorten(value: Any, limit: int) -> str:
    if not isinstance(value, str):
        spend(4 * weigh(value))
    return shorten(shown(value), limit)


def _moment(value: Any) -> datetime:
    at = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return at.astimezone(UTC)


def _utc(value: Any) -> str:
    return f"{_moment(value):%Y-%m-%d %H:%M:%S} UTC"


def _local(zone: tzinfo, value: Any, form: str | None = None) -> str:
    if form is None:
        return spell_both(_moment(value), zone)
    return spell_time(_moment(value), zone, _short(form))


def _date(value: Any, form: str = "%Y-%m-%d") -> str:
    return _moment(value).strftime(_short(form))


def _short(form: str) -> str:
    if len(form) > _MAX_FORM_CHARS:
        raise ValueError(f"a format of a time has at most {_MAX_FORM_CHARS} characters")
    return form


def _slack_date(value: Any, form: str = "{date_short_pretty} {time_secs}") -> SlackMarkup:
    """Format a time that Slack shows in the time zone of the reader, with UTC as the fallback."""
    at = _moment(value)
    safe_form = re.sub(r"[<>|^]", "", form)
    return SlackMarkup(f"<!date^{int(at.timestamp())}^{safe_form}|{_utc(at)}>")


def _duration(value: Any) -> str:
    return spell_duration(value if isinstance(value, timedelta) else timedelta(seconds=float(value)))


def _look(alert: Mapping[str, Any] | str) -> tuple[str, str]:
    """Return the colour and the emoji of an alert or a level."""
    if isinstance(alert, Mapping) and alert.get("status") == "resolved":
        return _RESOLVED_LOOK
    level = alert if isinstance(alert, str) else str(alert.get("level"))
    return _LEVEL_LOOKS.get(level, _LEVEL_LOOKS["informational"])


def _entity(value: Any) -> str:
    """Return the name of an account or a cluster, or its id, or an empty text."""
    return str(value.get("name") or value.get("id") or "") if isinstance(value, Mapping) else ""


def _sentence(record: Mapping[str, Any]) -> str:
    """Say who did what in a record, with the kind after it."""
    names = (shorten(_entity(record.get(key)), _MAX_NAME_CHARS) for key in ("cluster", "account"))
    user, kind = (shorten(shown(record.get(key)), _MAX_NAME_CHARS) for key in ("userName", "actionKind"))
    return sentence(user, kind, *names)


def unless_in(value: Any, text: Any) -> str:
    """Return a text, or nothing if the other text contains it: a message says everything once."""
    words = " ".join(shown(value).split())
    return "" if words[:_COMPARED_CHARS] in " ".join(shown(text).split()) else shown(value)


def _bars(levels: Mapping[str, int]) -> list[dict[str, Any]]:
    """Convert the `levels` of a summary into bars, the most severe first: `level`, `count`, `percent` of the longest."""
    counts = {word: levels[word] for word in reversed(LEVELS) if levels.get(word)}
    longest = max(counts.values(), default=1)
    return [{"level": word, "count": count, "percent": _percent(count, longest)} for word, count in counts.items()]


def _timeline(alerts: Collection[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Count alerts by start time in at most 24 equal steps of an hour or more; empty if there would be only one.

    Each step has `at` (its start), `step` (seconds), `count` and `percent` of the highest. Steps without alerts are included.
    """
    spend(_ALERT_STEPS * len(alerts))
    moments = sorted(_moment(alert["first_at"]) for alert in alerts)
    if not moments:
        return []
    step = next((step for step in _STEPS if _slots(moments, step) <= _MAX_BARS), _STEPS[-1])
    start, slots = _floor(moments[0], step), min(_slots(moments, step), _MAX_BARS)
    counts = [0] * slots
    for moment in moments:
        counts[min((moment - start) // step, slots - 1)] += 1
    seconds = int(step.total_seconds())
    bars = [
        {"at": start + step * number, "step": seconds, "count": count, "percent": _percent(count, max(counts))}
        for number, count in enumerate(counts)
    ]
    return bars if len(bars) > 1 else []


def _slots(moments: list[datetime], step: timedelta) -> int:
    return (moments[-1] - _floor(moments[0], step)) // step + 1


def _floor(moment: datetime, step: timedelta) -> datetime:
    return moment - (moment - EPOCH) % step


def _percent(count: int, longest: int) -> int:
    return max(round(100 * count / longest), 1) if count else 0


def filters_for(zone: tzinfo) -> dict[str, Callable[..., Any]]:
    """Return the filters for readers in a time zone."""
    return {**_FILTERS, "local": partial(_local, zone)}


_FILTERS: dict[str, Callable[..., Any]] = {
    "shorten": _shorten,
    "line": lambda text: one_line(shown(text)),
    "utc": _utc,
    "date": _date,
    "slack_date": _slack_date,
    "duration": _duration,
    "steps": lambda text: steps(shown(text)),
    "colour": lambda alert: _look(alert)[0],
    "sign": lambda alert: _look(alert)[1],
    "entity": _entity,
    "short_id": lambda name: short_id(shown(name)),
    "explain_command": lambda alert_id: explain_command(shown(alert_id)),
    "sentence": _sentence,
    "deed": lambda kind, name="": deed(shown(kind), shown(name)),
    "label": lambda name: label(shown(name)),
    "unless_in": unless_in,
    "bars": _bars,
    "timeline": _timeline,
}

GLANCING = frozenset({"bars", "colour", "entity", "sentence", "shorten", "sign", "timeline"})
"""Filters that read a few members of their value, or charge what they read."""
