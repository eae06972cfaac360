"""Compute how far back polls, sweeps and stateful rules still need the stored records. Retention deletes nothing newer.

`prune.py` uses it, and `checking.py` reports rules that look back further than retention.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from actionwatch.matching.correlating import KEEP
from actionwatch.rules.correlations.live.order import in_feeding_order, lookbacks
from actionwatch.rules.model import Rule
from actionwatch.rules.prefilter import prefilter_of
from actionwatch.settings import Source
from actionwatch.store import marks, records, unproved_windows
from actionwatch.store.marks import Marks
from actionwatch.store.records import Needed
from actionwatch.store.unproved_windows import SECOND_LOOK, UnprovedWindow
from actionwatch.tail.cursor import COARSEST_UNIT
from actionwatch.tail.planning import reaches_back

ALWAYS = datetime.min.replace(tzinfo=UTC)
NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Lookback:
    """The records that must stay regardless of their age, and since when the findings of correlations must stay."""

    needed: tuple[Needed, ...] = ()
    found_since: datetime = NEVER


def look_back(connection: Connection, sources: Sequence[Source], rules: Sequence[Rule]) -> Lookback:
    """Return what polls and sweeps of these sources, and these rules after a restart, can still need."""
    known = marks.read_all(connection)
    asked = {
        source.name: oldest_asked(source, known[source.name], unproved_windows.read(connection, source.name))
        for source in sources
        if source.name in known
    }
    # The upstream returns these records again. A deleted one would be stored as new, and alert again.
    of_sources = [Needed(since, source=name) for name, since in asked.items()]
    if len(asked) < len(sources):
        moment = ALWAYS  # a source was not polled yet: it is unknown how far back the stored records matter
    else:
        newest = records.newest_time(connection, records.newest_id(connection))
        proved = [known[name].proved_through for name in asked]
        moment = min([*asked.values(), *proved, *([newest] if newest else [])], default=ALWAYS)
    by_id = {rule.name.id: rule for rule in rules}
    of_rules = [
        Needed(moment - span if moment > ALWAYS + span else ALWAYS, kinds=prefilter_of([by_id[rule_id]], rules).kinds)
        for rule_id, span in memories(rules).items()
    ]
    realert = max((rule.correlation.realert for rule in rules if rule.correlation), default=timedelta(0))
    found_since = min((each.since for each in of_rules), default=NEVER)
    if ALWAYS + realert < found_since < NEVER:
        found_since -= realert  # the first of several alerts that are reported as one may have fired that much earlier
    return Lookback((*of_sources, *of_rules), found_since)


def memories(rules: Sequence[Rule]) -> dict[str, timedelta]:
    """Return by rule id how far back each stateful rule must read the records after a restart."""
    remembering = in_feeding_order([rule.correlation for rule in rules if rule.correlation is not None])
    return {rule_id: span + KEEP for rule_id, span in lookbacks(remembering).items()}


def oldest_asked(source: Source, known: Marks, unproved: Iterable[UnprovedWindow]) -> datetime:
    """Return the time before which no poll and no sweep of a source queries the upstream."""
    unit = COARSEST_UNIT if known.bounds_unit is None else known.bounds_unit
    begin = known.mark - source.overlap - unit - reaches_back(source.sweeps, unit)
    asked = (one for one in unproved if one.reach == SECOND_LOOK or not one.failure_count or one.ends_at > begin)
    return min([begin, *(one.starts_at - unit for one in asked)])
