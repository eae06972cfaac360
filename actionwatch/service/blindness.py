"""Find when each rule could not have fired, from what the store knows: for `rules coverage --blind` and the console."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection

from actionwatch.alerts.silences import hides_rule
from actionwatch.base.model import Silence
from actionwatch.base.rule_state import RuleEntry, RuleState
from actionwatch.matching.source_progress import SourceProgress, read_progress
from actionwatch.queries.status import read_sources
from actionwatch.rules.blindness import (
    NOT_LOADED,
    Blindness,
    BlindSpan,
    Effect,
    RuleBlindness,
    learning_spans,
    merged,
    spans_of_entries,
)
from actionwatch.rules.correlations.sources import SourceNames, sources_of
from actionwatch.rules.model import Rule
from actionwatch.service.stretches import read_stretches
from actionwatch.settings import Settings, Source
from actionwatch.store import marks, rule_history, silences
from actionwatch.tail.planning import lag_limit

WINDOW = timedelta(days=7)  # by default


def read_blindness(
    connection: Connection, settings: Settings, rules: Sequence[Rule], since: datetime, now: datetime
) -> Blindness:
    """Return the blind intervals since a time of every rule that ran, and of `rules`, which are those of the files.

    The end is the time through which everything was read and matched, if that is recent.
    """
    end = max(since, _horizon(connection, settings, now))
    every = [span for source in settings.sources for span in _spans_of_source(connection, settings, source, since, now)]
    every += _unmatched(connection, settings, now)
    names = SourceNames(sources_of(rules), ())
    progress = read_progress(connection, [source.name for source in settings.sources], names)
    history = rule_history.read_since(connection, since)
    stored = silences.read_all(connection)
    by_id = {rule.name.id: rule for rule in rules if not rule.is_silent}
    found = []
    for rule_id in dict.fromkeys([*by_id, *history]):
        entries = history.get(rule_id, [])
        if not _is_alerting(by_id.get(rule_id), entries):
            continue
        name = by_id[rule_id].name.name if rule_id in by_id else entries[-1].name
        spans = [*_spans_of_rule(by_id.get(rule_id), entries, progress, since, end), *_silenced(name, stored)]
        state = entries[-1].state if entries else None
        found.append(RuleBlindness(rule_id, name, state, tuple(merged(spans, since, end))))
    return Blindness(
        since, end, tuple(merged(every, since, end)), tuple(sorted(found, key=lambda each: (each.name, each.id)))
    )


def _is_alerting(rule: Rule | None, entries: Sequence[RuleEntry]) -> bool:
    """Return whether a document is, or was, a rule that alerts: no filter, and not always the feeder of a correlation."""
    states = {entry.state for entry in entries}
    return rule is not None or not states <= {RuleState.FILTER, RuleState.FEEDS, RuleState.REMOVED}


def _spans_of_rule(
    rule: Rule | None, entries: Sequence[RuleEntry], progress: SourceProgress, since: datetime, end: datetime
) -> Iterator[BlindSpan]:
    if not entries:
        yield BlindSpan(since, end, Effect.BLIND, NOT_LOADED)
        return
    yield from spans_of_entries(entries, since, end)
    if rule is not None and rule.correlation is not None:
        yield from learning_spans(rule.correlation, progress.begins(rule.correlation), since, end)


def _silenced(name: str, stored: Sequence[Silence]) -> Iterator[BlindSpan]:
    for silence in stored:
        if hides_rule(silence, name):
            why = f"silenced by {silence.author}: {silence.comment}"
            yield BlindSpan(silence.starts_at, silence.ends_at, Effect.QUIET, why)


def _spans_of_source(
    connection: Connection, settings: Settings, source: Source, since: datetime, now: datetime
) -> Iterator[BlindSpan]:
    """Yield the intervals in which no rule could fire because of a source, and those in which actions may be missing."""
    name, known = source.name, marks.read(connection, source.name)
    if known is None:
        yield BlindSpan(since, now, Effect.BLIND, f"{name} was not read yet")
        return
    yield BlindSpan(since, known.begins_at, Effect.BLIND, f"{name} begins later")
    backlog = f"{name}: older than the first start, so that rules learn from it and do not alert"
    yield BlindSpan(known.begins_at, known.alerts_from, Effect.BLIND, backlog)
    kept = now - settings.store.retention.receipts
    yield BlindSpan(since, kept, Effect.UNKNOWN, f"{name}: retention deleted the receipts")
    for stretch in read_stretches(connection, name, settings, since):
        if not stretch.is_proved:
            yield BlindSpan(stretch.start, stretch.end, Effect.DOUBT, f"{name} is not proved: {stretch.why}")
    yield BlindSpan(known.seen_through, now, Effect.BLIND, f"{name} is not read yet")


def _unmatched(connection: Connection, settings: Settings, now: datetime) -> Iterator[BlindSpan]:
    known, matched = marks.read_all(connection), _matched_through(connection, settings)
    seen = [known[source.name].seen_through for source in settings.sources if source.name in known]
    if matched is not None and matched < min(seen):
        yield BlindSpan(matched, now, Effect.BLIND, "records are stored, and not matched yet")


def _matched_through(connection: Connection, settings: Settings) -> datetime | None:
    return rule_history.matched_through(connection, [source.name for source in settings.sources])


def _horizon(connection: Connection, settings: Settings, now: datetime) -> datetime:
    """Return the end of what is reported: the time through which all is read and matched, unless that is too long ago.

    The last seconds are never read yet, and they are no trouble. Times of the upstream's clock count.
    """
    matched = _matched_through(connection, settings)
    lags = {source.name: lag_limit(source.poll_interval) for source in settings.sources}
    for each in read_sources(connection, lags):
        if matched is None or each.marks is None or each.upstream_time(now) - matched > lags[each.name]:
            return now
    return now if matched is None else min(matched, now)
