"""Detect the troubles that no service may be left to record: a stopped service, overdue polls, a full disk, a missing store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from actionwatch.base.durations import spell_duration, spell_seconds
from actionwatch.base.errors import StoreError, StoreMissing
from actionwatch.store.membership import LastOwner

if TYPE_CHECKING:
    from pathlib import Path

    from actionwatch.queries.status import SourceState
    from actionwatch.settings import Source

_GRACE = timedelta(minutes=1)  # for the poll itself, and for cron, which starts at whole minutes
_ALLOWED: Mapping[LastOwner, tuple[int, timedelta]] = {
    LastOwner.ROUND: (2, _GRACE),  # the next cron run may be about to begin
    LastOwner.SERVICE: (3, timedelta(seconds=10)),
    LastOwner.KILLED: (0, timedelta(0)),
}
"""The intervals, and the time besides, that may have passed since the last poll where nothing runs, by what ran last."""
_REMEDIES = {
    "store_missing": "check store.url in the configuration, then start the service: 'actionwatch run'",
    "store_unreadable": "read the message; 'actionwatch run' of this version upgrades an older store",
    "service_stopped": "start the service: 'actionwatch run'. From cron, set poll_interval to the time between two runs",
    "poll_overdue": "read the log of the service; restart the service if the log does not explain it",
}

STOPPED = frozenset(_REMEDIES)
"""The troubles while which nothing is seen."""


@dataclass(frozen=True, slots=True)
class DetectedTrouble:
    """A trouble as `status` shows it; `since` is None if unknown."""

    trouble: str
    subject: str
    since: datetime | None
    what: str
    remedy: str


def unopened(error: StoreError) -> DetectedTrouble:
    """Return the trouble of a store that cannot be opened."""
    trouble = "store_missing" if isinstance(error, StoreMissing) else "store_unreadable"
    return DetectedTrouble(trouble, "store", None, str(error), _REMEDIES[trouble])


def late_polls(
    sources: Sequence[Source],
    states: Sequence[SourceState],
    *,
    is_running: bool,
    last_owner: LastOwner,
    now: datetime,
) -> Iterator[DetectedTrouble]:
    """Find the sources that were never polled, or whose last poll is overdue.

    Whether a process runs decides the wording and the limit only: between two runs of `run --once` nothing runs, and a running
    service may be stuck. `last_owner` is what ran last, if nothing does: a service that was killed is missed at once. A source
    that reads a backlog is rarely polled, so its progress counts. Each source has its state.
    """
    from actionwatch.store.polls import MISSED_POLLS

    trouble = "poll_overdue" if is_running else "service_stopped"
    runs = "the service is running but does not poll" if is_running else "no service is running on this store"
    runs += ", and the last one did not end by itself" if not is_running and last_owner is LastOwner.KILLED else ""
    intervals, grace = (MISSED_POLLS, _GRACE) if is_running else _ALLOWED[last_owner]
    for source, state in zip(sources, states, strict=True):
        last = state.last_progress_at
        if last is None:
            what = f"never polled: {runs}" if not is_running else "not polled yet"
            yield DetectedTrouble(trouble, source.name, None, what, _REMEDIES[trouble])
            continue
        backoff = state.poll.backoff if state.poll and is_running else timedelta(0)  # `run --once` does not wait
        allowed = source.poll_interval * intervals + grace + backoff
        if now - last > allowed:
            what = f"last polled {spell_seconds((now - last).total_seconds())} ago, with a poll_interval of "
            what += f"{spell_duration(source.poll_interval)}: {runs}"
            yield DetectedTrouble(trouble, source.name, last, what, _REMEDIES[trouble])
        elif last - now > _GRACE:
            ahead = spell_seconds((last - now).total_seconds())
            what = f"the last poll is {ahead} in the future: this machine's clock was set back"
            yield DetectedTrouble(trouble, source.name, None, what, "set this machine's clock (NTP)")


def full_disk(path: Path) -> Iterator[DetectedTrouble]:
    """Check the disk itself: on a full disk, the service cannot store an alert."""
    from actionwatch.service.disk import REMEDY, find_shortage

    what = find_shortage(path)
    if what is not None:
        yield DetectedTrouble("store_nearly_full", path.name, None, what, REMEDY)
