"""Say in two sentences whether actionwatch sees everything, and what needs a person. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from actionwatch.alerts.self_alerts import BLIND_SPOTS, TROUBLES
from actionwatch.base.model import Level
from actionwatch.base.plurals import counted
from actionwatch.text.times import spell_utc


class Sight(StrEnum):
    """The part of the log that actionwatch sees: `limited` is everything up to a time, or everything that is still there."""

    EVERYTHING = "everything"
    LIMITED = "limited"
    BLIND = "blind"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The two sentences, how much is seen, and whether nothing needs a person."""

    sight: Sight
    seeing: str
    is_quiet: bool
    needs: str

    @property
    def is_seeing(self) -> bool:
        """Whether everything is seen, at least up to a recent time."""
        return self.sight is not Sight.BLIND


@dataclass(frozen=True, slots=True)
class Failing:
    """A source whose last polls failed: how many in a row, and up to when it is read (None: never)."""

    source: str
    polls: int
    error: str
    seen_through: datetime | None


def assess(
    sources: Collection[str],
    unready: Sequence[str],
    troubles: Sequence[tuple[str, str]],
    failing: Sequence[Failing],
    open_counts: Mapping[Level, int],
    dead_count: int,
) -> Verdict:
    """Assess the service. `troubles` are the open self-alerts, as (trouble, what)."""
    needs = [*_spell_alerts(open_counts)]
    if dead_count:
        needs.append(f"{counted(dead_count, 'dead letter')} {'waits' if dead_count == 1 else 'wait'} for a decision")
    return Verdict(
        *judge_sight(sources, unready, troubles, failing),
        is_quiet=not needs,
        needs=f"{'; '.join(needs)}." if needs else "Nothing needs a person.",
    )


def judge_sight(
    sources: Collection[str],
    unready: Sequence[str],
    troubles: Sequence[tuple[str, str]],
    failing: Sequence[Failing],
    spell: Callable[[datetime], str] = spell_utc,
) -> tuple[Sight, str]:
    """Judge how much is seen, and say it: at once when a poll fails, and never without the critical self-alerts."""
    blind = [*unready, *(what for trouble, what in troubles if trouble in BLIND_SPOTS)]
    blind += [f"{each.source} was not read yet: {_spell_polls(each)}" for each in failing if not each.seen_through]
    if blind:
        return Sight.BLIND, f"actionwatch does not see everything: {_first(blind)}"
    limits = [*_spell_limits(failing, spell), *(what for trouble, what in troubles if _is_critical(trouble))]
    if limits:
        return Sight.LIMITED, f"actionwatch sees everything, but {_first(limits)}"
    which = "the source is" if len(sources) == 1 else f"all {counted(len(sources), 'source')} are"
    return Sight.EVERYTHING, f"actionwatch sees everything: {which} read and proved."


def _is_critical(trouble: str) -> bool:
    return trouble in TROUBLES and TROUBLES[trouble].level is Level.CRITICAL


def _first(reasons: Sequence[str]) -> str:
    more = f" ({len(reasons) - 1} more below or in /readyz)" if len(reasons) > 1 else ""
    return f"{reasons[0]}{more}"


def _spell_limits(failing: Sequence[Failing], spell: Callable[[datetime], str]) -> Iterator[str]:
    for each in failing:
        if each.seen_through:
            yield f"{each.source} only up to {spell(each.seen_through)}: {_spell_polls(each)}"


def _spell_polls(failing: Failing) -> str:
    which = "the last poll" if failing.polls == 1 else f"the last {counted(failing.polls, 'poll')}"
    return f"{which} failed: {failing.error}"


def _spell_alerts(open_counts: Mapping[Level, int]) -> list[str]:
    """Spell the open alerts by level, the highest first."""
    held = {level: count for level, count in sorted(open_counts.items(), reverse=True) if count}
    if not held:
        return []
    parts = ", ".join(f"{count:,} {level.word}" for level, count in held.items())
    total = sum(held.values())
    return [f"{counted(total, 'open alert')} {'needs' if total == 1 else 'need'} a person: {parts}"]
