"""Say in two sentences whether actionwatch sees everything, and what needs a person. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from actionwatch.alerts.self_alerts import BLIND_SPOTS
from actionwatch.base.model import Level
from actionwatch.base.plurals import counted


@dataclass(frozen=True, slots=True)
class Verdict:
    """The two sentences, and whether each is good news."""

    is_seeing: bool
    seeing: str
    is_quiet: bool
    needs: str


def assess(
    sources: Collection[str],
    unready: Sequence[str],
    troubles: Sequence[tuple[str, str]],
    open_counts: Mapping[Level, int],
    dead_count: int,
    *,
    most: int,
) -> Verdict:
    """Assess the service. `troubles` are the open self-alerts, as (trouble, what); a count of `most` may be more."""
    blind = [*unready, *(what for trouble, what in troubles if trouble in BLIND_SPOTS)]
    needs = [*_spell_alerts(open_counts, most)]
    if dead_count:
        needs.append(f"{counted(dead_count, 'dead letter')} {'waits' if dead_count == 1 else 'wait'} for a decision")
    return Verdict(
        is_seeing=not blind,
        seeing=_spell_seeing(sources, blind),
        is_quiet=not needs,
        needs=f"{'; '.join(needs)}." if needs else "Nothing needs a person.",
    )


def _spell_seeing(sources: Collection[str], blind: Sequence[str]) -> str:
    if blind:
        more = f" ({len(blind) - 1} more below or in /readyz)" if len(blind) > 1 else ""
        return f"actionwatch does not see everything: {blind[0]}{more}"
    which = "the source is" if len(sources) == 1 else f"all {counted(len(sources), 'source')} are"
    return f"actionwatch sees everything: {which} read and proved."


def _spell_alerts(open_counts: Mapping[Level, int], most: int) -> list[str]:
    """Spell the open alerts by level, the highest first."""
    held = {level: count for level, count in sorted(open_counts.items(), reverse=True) if count}
    if not held:
        return []
    parts = ", ".join(f"{count:,}{'+' if count >= most else ''} {level.word}" for level, count in held.items())
    total = sum(held.values())
    return [f"{counted(total, 'open alert')} {'needs' if total == 1 else 'need'} a person: {parts}"]
