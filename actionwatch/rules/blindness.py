"""Find the intervals of action times in which a rule could not have fired, by its versions and the sources. Pure.

`service/blindness.py` reads what these functions need from the store.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import zip_longest

from actionwatch.base.durations import spell_duration
from actionwatch.base.model import Mode
from actionwatch.base.rule_state import EntryOrigin, RuleEntry, RuleState
from actionwatch.rules.model import Correlation, CorrelationType, Rule


class Effect(StrEnum):
    """The effect of an interval on an action in it, the worst first."""

    BLIND = "cannot fire"
    UNKNOWN = "not known"
    DOUBT = "may miss actions"
    QUIET = "sends no message"
    OLDER = "an older version runs"


@dataclass(frozen=True, slots=True)
class BlindSpan:
    """An interval of the times of actions, what it means for a rule, and why."""

    start: datetime
    end: datetime
    effect: Effect
    why: str


@dataclass(frozen=True, slots=True)
class RuleBlindness:
    """The intervals of one rule, without those of every rule; `state` is its last one, None if no service ever ran it."""

    id: str
    name: str
    state: RuleState | None
    spans: tuple[BlindSpan, ...]

    @property
    def own_time(self) -> timedelta:
        """For how long this rule alone could not fire, or it is not known whether it could."""
        return _blind_time(self.spans)

    @property
    def worst(self) -> Effect | None:
        """The worst effect of any of its intervals; None if it has none. The console shows it."""
        found = {span.effect for span in self.spans}
        return next((effect for effect in Effect if effect in found), None)


@dataclass(frozen=True, slots=True)
class Blindness:
    """The intervals of every rule, because of the sources, and those of each rule, between two times of actions."""

    start: datetime
    end: datetime
    every: tuple[BlindSpan, ...]
    rules: tuple[RuleBlindness, ...]

    def blind_time(self, rule: RuleBlindness) -> timedelta:
        """Return for how long a rule could not fire for any reason, or it is not known whether it could."""
        return _blind_time((*self.every, *rule.spans))


NOT_LOADED = "no service has loaded it yet"
_MEANINGS: Mapping[RuleState, tuple[Effect, str]] = {
    RuleState.OFF: (Effect.BLIND, "mode: off"),
    RuleState.SHADOW: (Effect.QUIET, "mode: shadow"),
    RuleState.FEEDS: (Effect.BLIND, "it only fed correlations"),
    RuleState.REMOVED: (Effect.BLIND, "it was removed"),
    RuleState.BROKEN: (Effect.BLIND, "its file was broken, and no version of it ran"),
}


def spans_of_entries(entries: Sequence[RuleEntry], start: datetime, end: datetime) -> list[BlindSpan]:
    """Return the intervals between two times that the history of one rule shows, oldest first.

    Where either of two entries may apply to an action, both count. `entries` are in order; the first one is the last that
    applied to everything at `start`, if there is one.
    """
    first = entries[0]
    found: list[BlindSpan] = []
    if first.origin is EntryOrigin.ADDED:
        found.append(BlindSpan(start, first.begins_at, Effect.BLIND, "it was not loaded yet"))
    else:
        found.append(BlindSpan(start, first.begins_at, Effect.UNKNOWN, "no service recorded what ran"))
    for each, following in zip_longest(entries, entries[1:]):
        until = following.begins_at if following else end
        found += _spans_of(each, until)
        if following and following.origin is EntryOrigin.FOUND:
            why = "a service that does not record what runs changed it"
            found.append(BlindSpan(each.may_begin_at, until, Effect.UNKNOWN, why))
    return merged(found, start, end)


def _spans_of(entry: RuleEntry, until: datetime) -> Iterator[BlindSpan]:
    if entry.state in _MEANINGS:
        effect, why = _MEANINGS[entry.state]
        yield BlindSpan(entry.may_begin_at, until, effect, entry.why or why)
    elif entry.is_held:
        yield BlindSpan(entry.may_begin_at, until, Effect.OLDER, f"the file is broken: {entry.file}")


def learning_spans(
    rule: Correlation, begins: Sequence[datetime | None], start: datetime, end: datetime
) -> Iterator[BlindSpan]:
    """Yield when a rule only learned, within two times: all of it, and then some of its groups.

    `begins` are when the streams of its groups begin; None: not yet.
    """
    if rule.type is CorrelationType.NEW_TERM and rule.is_learning:
        what = "what happened before"
    elif rule.type is CorrelationType.SPIKE:
        what = "how much is usual"
    else:
        return
    known = sorted(end if begin is None else begin + rule.reach for begin in begins) or [end]
    length = spell_duration(rule.reach)
    why = f"it learns {what}, for {length} from the beginning of the sources"
    yield BlindSpan(start, known[0], Effect.BLIND, why)
    why = f"it learns {what}, for {length} from the beginning of each source, and some began later"
    yield BlindSpan(known[0], known[-1], Effect.DOUBT, why)


def starved(rules: Iterable[Rule]) -> dict[str, str]:
    """Return the correlations that cannot fire because a rule that feeds them is off, by id, with the name of that rule."""
    owners = {part.name.id: each for each in rules if each.correlation for part in each.correlation.parts}
    known = owners | {rule.name.id: rule for rule in rules}
    found: dict[str, str] = {}
    pending = [rule for rule in rules if rule.correlation is not None]
    is_more = True
    while is_more:
        is_more = False
        for rule in pending:
            if rule.name.id not in found and (feeder := _first_off(rule, known, found)):
                found[rule.name.id] = feeder
                is_more = True
    return found


def _first_off(rule: Rule, known: Mapping[str, Rule], starving: Mapping[str, str]) -> str | None:
    correlation = rule.correlation
    if correlation is None:
        return None
    needed = {place for pattern in correlation.patterns for place in pattern.wanted} or range(len(correlation.steps))
    for place in sorted(needed):
        feeder = known.get(correlation.steps[place].rule_id)
        if feeder is not None and feeder is not rule:
            if feeder.mode is Mode.OFF:
                return feeder.name.name
            if feeder.name.id in starving:
                return starving[feeder.name.id]
    return None


def merged(spans: Iterable[BlindSpan], start: datetime, end: datetime) -> list[BlindSpan]:
    """Return intervals within two times, oldest first. Those that touch and say the same are one."""
    found: list[BlindSpan] = []
    newest: dict[tuple[Effect, str], int] = {}
    clipped = (replace(each, start=max(each.start, start), end=min(each.end, end)) for each in spans)
    for span in sorted((each for each in clipped if each.start < each.end), key=lambda each: each.start):
        place = newest.get((span.effect, span.why))
        if place is not None and span.start <= found[place].end:
            found[place] = replace(found[place], end=max(found[place].end, span.end))
            continue
        newest[span.effect, span.why] = len(found)
        found.append(span)
    return found


def _blind_time(spans: Iterable[BlindSpan]) -> timedelta:
    return union(span for span in spans if span.effect in (Effect.BLIND, Effect.UNKNOWN))


def union(spans: Iterable[BlindSpan]) -> timedelta:
    """Return how long any of these intervals lasts."""
    total, through = timedelta(0), None
    for span in sorted(spans, key=lambda each: each.start):
        start = span.start if through is None else max(span.start, through)
        total += max(span.end - start, timedelta(0))
        through = span.end if through is None else max(through, span.end)
    return total
