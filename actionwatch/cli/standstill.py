"""What `status` must see for itself: nobody may be left who could write it into the store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from actionwatch.base.durations import spell_duration
from actionwatch.base.errors import StoreError, StoreMissing

if TYPE_CHECKING:
    from pathlib import Path

    from actionwatch.settings import Source
    from actionwatch.store.backlog_progress import Backlog
    from actionwatch.store.polls import Poll

POLLS_RUNNING = 5  # a running service polls late now and then: a slow upstream, a busy machine; /readyz counts as many
POLLS_STOPPED = 2  # where nothing runs, the next run of cron may still be about to begin
GRACE = timedelta(minutes=1)  # for the poll itself, and for cron, which begins at whole minutes

REMEDIES = {
    "store_missing": "check store.url in the configuration, then start the service: 'actionwatch run'",
    "store_unreadable": "see the message; 'actionwatch run' of this version upgrades an older store",
    "service_stopped": "start the service: 'actionwatch run'. From cron, set poll_interval to the time between two runs",
    "poll_overdue": "see the service's log; restart the service if nothing there explains it",
}


@dataclass(frozen=True, slots=True)
class Standstill:
    """A trouble as `status` shows it; `since` is None where nobody knows."""

    trouble: str
    subject: str
    since: datetime | None
    what: str
    remedy: str


def unopened(error: StoreError) -> Standstill:
    """Say that the store could not be opened."""
    trouble = "store_missing" if isinstance(error, StoreMissing) else "store_unreadable"
    return Standstill(trouble, "store", None, str(error), REMEDIES[trouble])


def late_polls(
    sources: Sequence[Source],
    polls: Mapping[str, Poll],
    backlogs: Mapping[str, Backlog],
    *,
    is_running: bool,
    now: datetime,
) -> Iterator[Standstill]:
    """Find the sources whose last poll is older than it should be, or that were never polled.

    Whether a process runs decides what is said and how late is too late, not whether it is a trouble: between two runs of
    `run --once` nothing runs, and a service that runs may be stuck. A source that reads a backlog is polled once in hours;
    its progress counts.
    """
    trouble = "poll_overdue" if is_running else "service_stopped"
    runs = "the service runs but does not poll" if is_running else "no service runs on this store"
    for source in sources:
        poll, backlog = polls.get(source.name), backlogs.get(source.name)
        seen = [at for at in (poll and poll.last_poll_at, backlog and backlog.noted_at) if at]
        if not seen:
            what = f"never polled: {runs}" if not is_running else "not polled yet"
            yield Standstill(trouble, source.name, None, what, REMEDIES[trouble])
            continue
        last = max(seen)
        allowed = source.poll_interval * (POLLS_RUNNING if is_running else POLLS_STOPPED) + GRACE
        if now - last > allowed:
            what = f"last polled {spell_duration(_rounded(now - last))} ago, with a poll_interval of "
            what += f"{spell_duration(source.poll_interval)}: {runs}"
            yield Standstill(trouble, source.name, last, what, REMEDIES[trouble])
        elif last - now > GRACE:
            what = f"the last poll lies {spell_duration(_rounded(last - now))} in the future: this machine's clock went back"
            yield Standstill(trouble, source.name, None, what, "set this machine's clock (NTP)")


def full_disk(path: Path) -> Iterator[Standstill]:
    """Look at the disk itself: the service can write no alert about a disk that is full."""
    from actionwatch.tail.health import REMEDIES as OF_SERVICE
    from actionwatch.tail.health import find_shortage

    what = find_shortage(path)
    if what is not None:
        yield Standstill("store_nearly_full", path.name, None, what, OF_SERVICE["store_nearly_full"])


def _rounded(span: timedelta) -> timedelta:
    return timedelta(seconds=round(span.total_seconds()))
