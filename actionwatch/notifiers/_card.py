"""Draw one message as a card on a terminal. Not in console.py, because rich is large and most commands print no card.

▌ CRITICAL  Cluster payments-prod deleted  ×3
▌ eve@example.com · DELETE_CLUSTER · payments-prod in acme-payments
▌ 2026-11-25 09:00:43 UTC · since 08:59:01
▌ cluster_deleted · opened
▌ https://watch.example.com/alerts/3c1dff7a-5f0c-5b6e-8a41-9d41c07e2b1e
▌ also open: cluster_created 9d41c07e
▌ → Ask eve@example.com whether this was planned.

▌ HIGH  12 alerts were silenced
▌ 4 high · 8 low
▌ 12 firewall_opened suppressed by silence 3f2a91c0 of sam: load test, ask sam
▌ high  Firewall rules of staging opened  ×2  9d41c07e
▌ … and 11 more
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

from actionwatch.base.durations import spell_duration
from actionwatch.base.model import LEVELS, MESSAGE_TYPES, Event, Message
from actionwatch.text.escaping import one_line, shorten, steps
from actionwatch.text.payloads import explain_command, short_id, shown_labels
from actionwatch.text.times import spell_time

_BAR = "▌ "
_SEPARATOR = " · "
_MAX_TITLE_CHARS = 300
_MAX_LISTED = 10  # alerts of a summary: a card must be readable at a glance
_MAX_CAUSES = 3  # of a summary: most have one
_MAX_VALUE_CHARS = 120  # a long name must not push the others off the card

# Readable on dark and on light backgrounds; rich maps each to another one of a terminal with 16 colours.
_COLOURS = {
    "critical": Style(color="#c81e6e", bold=True),
    "high": Style(color="#f76b15", bold=True),
    "medium": Style(color="#d9a514", bold=True),
    "low": Style(color="#3b9eff", bold=True),
    "informational": Style(color="#8b8d98", bold=True),
}
_RESOLVED = Style(color="#30a46c", bold=True)
_QUIET = Style(dim=True)
_STRONG = Style(bold=True)


class _Spelling:
    """The spelling of texts on a stream with an encoding."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding

    def times(self, alert: Mapping[str, Any]) -> str:
        """Return how many records an alert has, if more than one."""
        count = alert.get("count") or 1
        return self.plain(f"  ×{count}") if count != 1 else ""

    def join(self, *parts: str) -> str:
        """Join parts of a line."""
        return self.plain(_SEPARATOR).join(parts)

    def value(self, value: Any, limit: int = _MAX_VALUE_CHARS) -> str:
        """Show an untrusted value on one line, with control characters as escapes."""
        return self.plain(one_line(shorten(str(value), limit)))

    def plain(self, text: str) -> str:
        """Escape characters that the encoding of the stream lacks: an ASCII terminal must not cost an alert."""
        return text.encode(self._encoding, "backslashreplace").decode(self._encoding)


class Card:
    """One message: lines behind a bar in the colour of the level."""

    def __init__(self, message: Message, encoding: str = "utf-8") -> None:
        self._message = message
        self._data = message.data
        self._spelling = _Spelling(encoding)
        self._is_summary = message.type == MESSAGE_TYPES[Event.SUMMARY]
        is_over = message.data.get("status") == "resolved" or message.type == "alert.resolved"
        self._is_resolved = is_over and message.type != "receiver.test"
        self._colour = _RESOLVED if self._is_resolved else _COLOURS.get(message.level, _STRONG)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the lines with the bar before each, also before wrapped ones."""
        lines = Group(*(line for line in self._lines() if line.plain.strip()))
        inner = options.update(width=max(options.max_width - len(_BAR), 1), height=None)
        bar = self._spelling.plain(_BAR)
        for line in console.render_lines(lines, inner, pad=False):
            yield Segment(bar, self._colour)
            yield from line
            yield Segment.line()
        yield Segment.line()

    def _lines(self) -> list[Text]:
        if self._is_summary:
            return [self._headline(), *_summarise(self._message, self._spelling), self._link()]
        records = self._data.get("records") or []
        newest = records[-1] if records else {}
        about = [self._headline(), self._who_what_where(newest), self._when(), self._origin()]
        return [*about, self._note(), self._link(), self._inhibited(), self._advice()]

    def _headline(self) -> Text:
        level = self._message.level or ("summary" if self._is_summary else "")
        line = Text(overflow="fold")
        if self._message.type == "receiver.test":
            line.append(" TEST ", Style(reverse=True, bold=True)).append(" ")
        badge = "RESOLVED" if self._is_resolved else level.upper()
        if badge:
            line.append(f" {badge} ", self._colour + Style(reverse=True)).append(" ")
        line.append(self._spelling.value(self._message.headline, _MAX_TITLE_CHARS), _STRONG)
        return line if self._is_summary else line.append(self._spelling.times(self._data), self._colour)

    def _who_what_where(self, record: Mapping[str, Any]) -> Text:
        cluster, account = (_name(record.get(key)) for key in ("cluster", "account"))
        where = f"{cluster} in {account}" if cluster and account else cluster or account
        parts = [record.get("userName"), record.get("actionKind"), where]
        return Text(self._spelling.join(*(self._spelling.value(part) for part in parts if part)), overflow="fold")

    def _when(self) -> Text:
        if not self._data.get("last_at"):
            return Text()
        # Times are in the zone of the terminal. A pipe gets the same times, because the zone is written after them.
        last, first = (datetime.fromisoformat(self._data[name]).astimezone() for name in ("last_at", "first_at"))
        parts = [spell_time(last)]
        if first < last:
            parts.append(f"since {first:%H:%M:%S}" if first.date() == last.date() else f"since {first:%F %H:%M:%S}")
        if self._data.get("late"):
            late = self._data.get("late_by_seconds")
            parts.append(f"{spell_duration(timedelta(seconds=late))} late" if late else "late")
        return Text(self._spelling.join(*parts), _QUIET)

    def _origin(self) -> Text:
        rule = (self._data.get("rule") or {}).get("name") or ""
        line = Text(overflow="fold").append(self._spelling.value(rule), _QUIET)
        style = _RESOLVED if self._is_resolved else _QUIET
        line.append(self._spelling.plain(_SEPARATOR) if rule else "", _QUIET).append(self._state(), style)
        for name, value in shown_labels(self._data).items():
            line.append(self._spelling.plain(_SEPARATOR) + self._spelling.value(f"{name}={value}"), _QUIET)
        if (alert_id := self._data.get("id")) and not self._data.get("url"):
            line.append(self._spelling.plain(_SEPARATOR) + self._spelling.value(explain_command(str(alert_id))), _QUIET)
        return line

    def _state(self) -> str:
        """Name the state of the alert and who decided it: it may be newer than the event of a message that waited."""
        state, by = self._message.type.rpartition(".")[2], None
        if self._is_resolved:
            state, by = "resolved", self._data.get("resolved_by")
        elif self._data.get("status") == "acked" and state != "test":
            state, by = "acknowledged", self._data.get("acked_by")
        elif self._data.get("reopened_by"):
            state, by = "reopened", self._data.get("reopened_by")
        shown = f"{state} by {self._spelling.value(by)}" if by else state
        to = self._data.get("assigned_to")
        return f"{shown}, assigned to {self._spelling.value(to)}" if to else shown

    def _link(self) -> Text:
        """Show the page of the alert, or of the list, on its own line, so that terminals recognise the whole URL.

        It says all that `explain` prints: only a card without a page names that command.
        """
        return Text(self._spelling.plain(str(self._data.get("url") or "")), _QUIET, overflow="fold")

    def _inhibited(self) -> Text:
        """Name the alerts that have no card because this one inhibits them."""
        also = self._message.inhibited
        return (
            Text(self._spelling.value(f"also open: {also}", _MAX_TITLE_CHARS), _QUIET, overflow="fold")
            if also
            else Text()
        )

    def _note(self) -> Text:
        """Show the newest note of a person."""
        text = f"{self._data.get('noted_by')}: {self._data.get('note')}"
        return Text(self._spelling.value(text, _MAX_TITLE_CHARS) if self._data.get("note") else "", overflow="fold")

    def _advice(self) -> Text:
        """Return the first step of the runbook."""
        advice = steps(str(self._data.get("runbook") or ""))
        if not advice or self._is_resolved:
            return Text()
        first = self._spelling.value(advice[0], _MAX_TITLE_CHARS)
        return Text(overflow="fold").append(self._spelling.plain("→ "), _STRONG).append(first, Style(italic=True))


def _name(entity: Any) -> str:
    return str(entity.get("name") or entity.get("id") or "") if isinstance(entity, Mapping) else ""


def _summarise(message: Message, spelling: _Spelling) -> Iterator[Text]:
    """Yield what a summary says of its alerts."""
    yield _levels(message.data, spelling)
    yield from _causes(message, spelling)
    yield from _listed(message.data, spelling)
    yield _omitted(message.data, spelling)


def _levels(data: Mapping[str, Any], spelling: _Spelling) -> Text:
    """Count the alerts of a summary by level, the most severe first."""
    levels = data.get("levels") or {}
    parts = [f"{levels[word]} {word}" for word in reversed(LEVELS) if levels.get(word)]
    return Text(spelling.join(*parts), overflow="fold")


def _causes(message: Message, spelling: _Spelling) -> Iterator[Text]:
    for cause in message.causes[:_MAX_CAUSES]:
        yield Text(spelling.value(cause, _MAX_TITLE_CHARS), _QUIET, overflow="fold")


def _listed(data: Mapping[str, Any], spelling: _Spelling) -> Iterator[Text]:
    for alert in (data.get("alerts") or [])[:_MAX_LISTED]:
        level = str(alert.get("level") or "")
        style = _RESOLVED if alert.get("status") == "resolved" else _COLOURS.get(level, _STRONG)
        line = Text(overflow="fold").append(f"{spelling.value(level)}  ", style)
        line.append(spelling.value(alert.get("title"), _MAX_TITLE_CHARS)).append(spelling.times(alert), style)
        yield line.append(f"  {spelling.value(short_id(str(alert.get('id') or '')))}", _QUIET)


def _omitted(data: Mapping[str, Any], spelling: _Spelling) -> Text:
    shown = min(len(data.get("alerts") or []), _MAX_LISTED)
    more = int(data.get("count") or 0) - shown
    return Text(spelling.plain(f"… and {more} more"), _QUIET) if more > 0 else Text()
