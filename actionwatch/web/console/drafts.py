"""Try a draft of rules: the alerts that it would have opened for the stored records. Nothing is saved or sent."""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from actionwatch.base.clock import MICROSECOND, Spans
from actionwatch.base.durations import parse_duration
from actionwatch.queries import rules
from actionwatch.rules.trial import TrialEvent, TrialProgress, TrialRefused, TrialResult, TrialRule
from actionwatch.store import alerts, rule_versions
from actionwatch.web.connections import Bound, BoundedStream
from actionwatch.web.console.charts import Chart, draw_bars
from actionwatch.web.console.forms import Fields, check_is_ours
from actionwatch.web.console.page import render, text_of
from actionwatch.web.headers import UNBUFFERED
from actionwatch.web.parts import Parts

_TIMES = ("1d", "7d", "30d", "90d")
_MAX_COUNTED = 10_000  # alerts of a rule in use, next to those of its draft
_USUAL_TIME = "7d"
MAX_DRAFTS = 4  # that are tried or wait
_TOO_MANY = f"{MAX_DRAFTS} drafts are tried or wait, which is the maximum: try again when one has ended"
_PLACED = re.compile(r"draft\.yml:(\d+):\d+: (.*)", re.DOTALL)  # a fault of a file with the name of `service/trial.py`
_AROUND = 1  # lines shown before and after one with a fault
_PROGRESS = (
    "<!-- progress -->"  # where the steps are, in the template: no text of a person has it, because `<` is escaped
)
EXAMPLE = """\
title: Cluster deleted
name: cluster_deleted_draft
level: high
logsource: {product: instaclustr, service: user_actions}
detection:
  selection: {actionKind: DELETE_CLUSTER}
  condition: selection
alert:
  title: '{{ userName }} deleted {{ cluster.name or "a cluster" }}'
"""


def show(request: Request, parts: Parts) -> Response:
    """Show the form, with the YAML of the rule `rule` if there is one."""
    name = request.query_params.get("rule")
    text = EXAMPLE
    if name is not None:
        rule = rules.find(parts.configuration.rules(), name)
        with parts.database.read() as connection:
            stored = rule_versions.read(connection, rule.name.id)
        if stored is None:
            raise HTTPException(
                404, f"the YAML of {name} is not stored yet: the service stores it when it uses the rule"
            )
        text = parts.configuration.text_of(stored.file, stored.line, stored.document) or stored.document
    is_new = name is None
    return render(
        request, "draft.html", parts.clock(), text=text, span=_USUAL_TIME, times=_TIMES, trial=None, is_new=is_new
    )


def submit(request: Request, parts: Parts, fields: Fields) -> Response:
    """Try the draft, and show the progress until the result is there."""
    check_is_ours(request, fields)
    text, span = fields.get("text", "").replace("\r\n", "\n"), fields.get("span", "")
    if span not in _TIMES:
        raise HTTPException(400, f"span: {span!r} is not accepted: use one of {', '.join(_TIMES)}")
    now = parts.clock()
    trial = _Trial(parts)
    shown = {"text": text, "span": span, "times": _TIMES, "trial": trial, "most": _MAX_COUNTED, "is_new": False}
    page = functools.partial(text_of, request, "draft.html", now, **shown)
    events = parts.configuration.try_draft(text, now - parse_duration(span))
    headers = {"content-type": "text/html; charset=utf-8", **UNBUFFERED}
    return BoundedStream(Bound("draft", MAX_DRAFTS, _TOO_MANY), _sent(request, now, trial, page, events), headers)


async def _sent(
    request: Request, now: datetime, trial: _Trial, page: Callable[[], str], events: AsyncGenerator[TrialEvent, None]
) -> AsyncIterator[bytes]:
    """Yield the page up to the progress, each step, and the rest with the result. No thread waits for any of them.

    A part for each event, even if there is nothing to show: it ends a response whose client has left.
    """
    async with contextlib.aclosing(events):
        yield (await run_in_threadpool(page)).partition(_PROGRESS)[0].encode()
        async for event in events:
            if isinstance(event, TrialProgress):
                step = text_of(request, "draft_step.html", now, step=event) if event.record_count else ""
                yield f"{step}\n".encode()
            else:
                trial.take_event(event)
    yield (await run_in_threadpool(page)).partition(_PROGRESS)[2].encode()


@dataclass(frozen=True, slots=True)
class MarkedLine:
    """A line of a draft by its number, with the faults at it."""

    number: int
    text: str
    faults: tuple[str, ...]


@dataclass
class _Trial:
    """A trial whose page is sent: before it ends, there is neither a result nor a fault."""

    parts: Parts
    result: TrialResult | None = None
    faults: list[str] = field(default_factory=list)

    def take_event(self, event: TrialResult | TrialRefused) -> None:
        """Take the end of the trial."""
        if isinstance(event, TrialResult):
            self.result = event
        else:
            self.faults = event.faults

    def marked(self, text: str) -> list[MarkedLine]:
        """Return the lines of the draft that have a fault, and the lines around them. Empty if no fault names a line."""
        by_line: dict[int, list[str]] = {}
        for fault in self.faults:
            if found := _PLACED.fullmatch(fault):
                by_line.setdefault(int(found[1]), []).append(found[2])
        lines = text.splitlines()
        near = {number for line in by_line for number in range(line - _AROUND, line + _AROUND + 1)}
        numbers = sorted(number for number in near if 1 <= number <= len(lines) or number in by_line)
        return [
            MarkedLine(number, lines[number - 1] if number <= len(lines) else "", tuple(by_line.get(number, ())))
            for number in numbers
        ]

    @property
    def unplaced(self) -> list[str]:
        """The faults that name no line of the draft."""
        return [fault for fault in self.faults if not _PLACED.fullmatch(fault)]

    def chart(self, rule: TrialRule) -> Chart:
        """Draw the alerts of a rule over time."""
        assert self.result is not None  # noqa: S101  # nosec B101
        spans = Spans.between(self.result.start, self.result.end, len(rule.counts))
        return draw_bars(spans, [{rule.level: count} for count in rule.counts], [rule.level])

    def opened(self, rule: TrialRule) -> int | None:
        """Return how many alerts the rule in use with the name of one opened in that time; None without such a rule."""
        assert self.result is not None  # noqa: S101  # nosec B101
        if rule.name not in {each.name.name for each in self.parts.configuration.rules()}:
            return None
        span = Spans.between(self.result.start, self.result.end + MICROSECOND, 1)
        with self.parts.database.read() as connection:
            (counts,) = alerts.count_by_time(connection, span, _MAX_COUNTED, rule.name)
        return sum(counts.values())

    def per_day(self, rule: TrialRule) -> float | None:
        """Return the alerts of a rule a day; None for less than one day."""
        assert self.result is not None  # noqa: S101  # nosec B101
        days = (self.result.end - self.result.start) / timedelta(days=1)
        return rule.alert_count / days if days >= 1 else None
