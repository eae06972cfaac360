"""Rules that keep sources apart: each source has the alerts that it would have alone, whatever the others do."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pytest

from actionwatch.base.clock import to_micros
from actionwatch.base.model import Record
from actionwatch.matching.source_progress import SourceProgress, Span
from actionwatch.rules.correlations.context import StreamBounds
from actionwatch.rules.correlations.correlator import Correlator
from actionwatch.rules.correlations.memory_rows import MemoryRows
from actionwatch.rules.correlations.sources import SourceNames, VerifiedTime, sources_of
from actionwatch.rules.model import Rule
from tests.unit.rules.correlation.kit import at, loaded, record_at
from tests.unit.rules.correlation.live import RULES

SOURCES = ("acme", "beta", "gamma")
KINDS = ("BACKUP", "BACKUP", "CREATE_CLUSTER", "DELETE_CLUSTER")
EXPECTED = ", ".join(SOURCES)


def _apart(text: str) -> Sequence[Rule]:
    """Return rules whose groups are of one source."""
    text = text.replace("expect-groups: {", f"expect-groups: {{source: [{EXPECTED}], ")
    text = text.replace("group-by: [", "group-by: [source, ")
    return loaded(text.replace("type: new_term, ", "type: new_term, group-by: [source], "))


APART = _apart(RULES)


@dataclass(frozen=True)
class Step:
    """Records that arrive, and how far the sources are then."""

    batch: Sequence[Record]
    spans: Mapping[str, Span]

    def of(self, source: str) -> Step:
        """Return what one source sees of it."""
        batch = [record for record in self.batch if record.source == source]
        return Step(batch, {name: span for name, span in self.spans.items() if name == source})


def _steps(chance: random.Random) -> list[Step]:
    """Draw how sources are read: each begins at its time, is proved up to another one, and one may stop, or never be read."""
    last = chance.choice((40, 90, 180))
    begins = {name: at(chance.choice((0, 0, 10, 30))) for name in SOURCES}
    stops = {name: chance.choice((-1, last // 3, 10_000, 10_000, 10_000)) for name in SOURCES}
    count = chance.randint(10, 90)
    drawn = [
        record_at(
            chance.randint(0, last),
            chance.choice(KINDS),
            user=chance.choice(("eve", "eve", "bob")),
            cluster=chance.choice("xy"),
            key=f"k{number:03}",
            source=chance.choice(SOURCES),
            id=number + 1,
        )
        for number in range(count)
    ]
    drawn.sort(
        key=lambda each: (each.occurred_at, each.key) if chance.random() < 0.8 else (at(chance.randint(0, last)), "")
    )
    steps, proved = [], dict.fromkeys(SOURCES, 0)
    size = chance.randint(1, 20)
    for place in range(0, count + 2 * size, size):
        batch = sorted(drawn[place : place + size], key=lambda each: (each.occurred_at, each.key))
        for name in SOURCES:
            now = last * 2 if place >= count else last * place // count
            proved[name] = min(max(proved[name], now - chance.randint(0, 20)), stops[name])
        spans = {
            name: (to_micros(begins[name]), to_micros(at(minute)), to_micros(begins[name]))
            for name, minute in proved.items()
            if minute >= 0
        }
        steps.append(Step(batch, spans))
    return steps


def _found(rules: Sequence[Rule], steps: Sequence[Step], names: Sequence[str]) -> dict[str, dict[str, object]]:
    """Return what a service finds in the end, by the source of the group and the id of the alert."""
    of_rules = sources_of(rules)
    progress = SourceProgress({}, SourceNames(of_rules, names))
    bounds = StreamBounds(
        begin=lambda rule, group: progress.of_group(rule, group).begin,
        alerts_from=lambda rule, group: progress.of_group(rule, group).alerts_from,
    )
    correlator = Correlator(rules, bounds)
    rows = MemoryRows(correlator.rules)
    for step in steps:
        before, progress = progress, SourceProgress(step.spans, progress.names)
        if not progress.has_beginning_of(before, correlator.rules):
            for number, groups in correlator.begin().items():
                correlator.take_again(rows, number, groups, VerifiedTime(None))
        rows.records.hold(correlator.take_hits(rows, correlator.hits(step.batch), progress))
    found: dict[str, dict[str, object]] = {name: {} for name in names}
    for known in rows.alerts:
        rule = next(each for each in correlator.rules if each.name.id == known.rule_id)
        source = rule.grouping(known.group)["source"] or ""
        if source in found and (known.is_current or known.is_noted):
            found[source][known.id] = (rule.name.name, known.group, known.values())
    return found


@pytest.mark.parametrize("seed", range(15))
def test_each_source_has_the_alerts_that_it_would_have_alone(seed: int) -> None:
    """Another source that begins, lags, stops or is never read changes nothing: no alert, and nothing that is reported."""
    steps = _steps(random.Random(seed))
    together = _found(APART, steps, SOURCES)
    for source in SOURCES:
        assert together[source] == _found(APART, [step.of(source) for step in steps], [source])[source]


def test_the_random_runs_have_what_they_are_about() -> None:
    """The rules keep sources apart; the runs have alerts that wait, that are reported, and sources that were never read."""
    assert all(its.place is not None for its in sources_of(APART).values())
    never = [seed for seed in range(15) if len(_steps(random.Random(seed))[-1].spans) < len(SOURCES)]
    assert len(never) > 3
    counts = [len(its) for its in _found(APART, _steps(random.Random(1)), SOURCES).values()]
    assert sum(counts) > 20
