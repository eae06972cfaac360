"""Read the state of the store and its surroundings, also while no service runs, and return it as JSON. For `status`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any

import msgspec

from actionwatch.base.clock import utc_now
from actionwatch.base.model import Mode, Silence
from actionwatch.cli.detected_troubles import STOPPED, DetectedTrouble, full_disk, late_polls
from actionwatch.queries.replicas import Replica, list_replicas
from actionwatch.queries.source_health import SourceHealth
from actionwatch.queries.status import (
    ReceiverState,
    SourceState,
    failing,
    judge_sources,
    read_receivers,
    read_sources,
)
from actionwatch.queries.verdict import Sight, judge_sight
from actionwatch.service import configuration
from actionwatch.service.announcement import Reloaded, read_last_reload
from actionwatch.settings import Receiver, Settings, Source
from actionwatch.store import record_counts, rule_versions, self_alerts, silences
from actionwatch.store.backlog_progress import Backlog
from actionwatch.store.database import StoreReader
from actionwatch.store.polls import Poll
from actionwatch.text.payloads import silence_document
from actionwatch.text.times import local_times, spell_time

_LATENESS_RECORDS = 10_000  # the newest ones of all sources, to measure how late records appear


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The state of the store and its surroundings."""

    sources: Sequence[SourceState]
    healths: Mapping[str, SourceHealth]
    receivers: Sequence[ReceiverState[Receiver]]
    running: Mapping[str, int] = field(default_factory=dict)
    late: Mapping[str, tuple[timedelta, list[timedelta]]] = field(default_factory=dict)
    silences: Sequence[Silence] = ()
    is_running: bool | None = None
    """Whether a service runs on the store; None if the store does not say."""
    replicas: Sequence[Replica] | None = None
    """None for a store that is not shared."""
    last_reload: Reloaded | None = None
    """The newest one of the services that run."""
    troubles: Sequence[self_alerts.OpenSelfAlert | DetectedTrouble]


def take_snapshot(
    settings: Settings, store: StoreReader, chosen: Sequence[Source] | None = None, *, has_lateness: bool = True
) -> Snapshot:
    """Read the store, and detect what no service may be left to record: that none runs, that the disk is full.

    Other sources than the `chosen` ones (None: all are), and their troubles, are left out. How late records appear takes long
    to read, and only people see it.
    """
    chosen = settings.sources if chosen is None else chosen
    now, intervals = utc_now(), {source.name: source.poll_interval for source in chosen}
    others = {source.name for source in settings.sources} - intervals.keys()
    with store.read() as connection:
        late_by = record_counts.lateness(connection, _LATENESS_RECORDS) if has_lateness else {}
        sources = read_sources(connection, intervals)
        opened = [each for each in self_alerts.read_all(connection) if each.subject not in others]
        roster = store.peers.roster()
        is_running = bool(roster.hosts)
        late = late_polls(chosen, sources, is_running=is_running, last_owner=roster.last, now=now)
        known = {trouble.trouble for trouble in opened}
        around = [each for each in (*late, *(full_disk(store.path) if store.path else ())) if each.trouble not in known]
        troubles = [*around, *opened]
        return Snapshot(
            sources=sources,
            healths=judge_sources(sources, intervals, troubles, now),
            receivers=read_receivers(connection, settings.receivers),
            running=rule_versions.count_modes(connection),
            late={source.name: (source.overlap, late_by.get(source.name, [])) for source in chosen},
            silences=silences.read_active(connection, now),
            is_running=is_running,
            replicas=list_replicas(roster) if store.is_shared else None,
            last_reload=read_last_reload(roster),
            troubles=troubles,
        )


def without_store(settings: Settings, chosen: Sequence[Source], trouble: DetectedTrouble) -> Snapshot:
    """Return the state without a store."""
    return Snapshot(
        sources=[SourceState(each.name) for each in chosen],
        healths={each.name: SourceHealth.SILENT for each in chosen},
        receivers=[ReceiverState(each.name, each) for each in settings.receivers],
        troubles=[trouble],
    )


def describe(settings: Settings, found: Snapshot) -> dict[str, Any]:
    """Return the JSON of the contract."""
    sight, seeing = _judge(found)
    return {
        "sight": sight.value,
        "seeing": seeing,
        "sources": [
            {
                **each.document(),
                **({"backlog": _backlog(each.backlog)} if each.backlog else {}),
                **({"failing": _failing(each.poll)} if each.poll and each.poll.failures else {}),
                **({"state": health.value} if (health := found.healths[each.name]).needs_attention else {}),
            }
            for each in found.sources
        ],
        "receivers": [
            {
                "name": each.name,
                "pending": each.queue.pending,
                "dead": each.queue.dead,
                "last_sent": each.health.last_sent_at,
            }
            for each in found.receivers
        ],
        "rules": _count_rules(settings, found),
        "troubles": [
            {
                "trouble": each.trouble,
                "subject": each.subject,
                "since": each.since,
                "what": each.what,
                "remedy": each.remedy,
            }
            for each in found.troubles
        ],
        "silences": [silence_document(silence, utc_now()) for silence in found.silences],
        "last_reload": msgspec.structs.asdict(found.last_reload) if found.last_reload else None,
        **({"replicas": [asdict(each) for each in found.replicas]} if found.replicas is not None else {}),
    }


def _failing(poll: Poll) -> dict[str, Any]:
    """Return how a source fails, and when a running service polls it again at the earliest."""
    return {"polls": poll.failures, "error": poll.last_error, "resumes_at": poll.resumes_at}


def _backlog(backlog: Backlog) -> dict[str, Any]:
    """Return the progress of a source that catches up: range, share, rate and remaining time."""
    rate, remaining = backlog.records_per_second, backlog.remaining
    return {
        "from": backlog.starts_at,
        "to": backlog.ends_at,
        "through": backlog.through,
        "share": round(backlog.share, 3),
        "records": backlog.record_count,
        "records_per_second": None if rate is None else round(rate, 1),
        "remaining_seconds": None if remaining is None else round(remaining.total_seconds()),
    }


def _count_rules(settings: Settings, found: Snapshot) -> dict[str, int]:
    """Count the running rules and the broken files. Before the first run, count the rules of the files."""
    if found.running:
        broken = sum(trouble.trouble == "rule_broken" for trouble in found.troubles)
        return {**{mode.value: found.running.get(mode.value, 0) for mode in Mode}, "broken": broken}
    rules = configuration.read_rules(settings)
    counts = {mode.value: sum(rule.mode is mode for rule in rules.rules) for mode in Mode}
    return {**counts, "broken": len({fault.file for fault in rules.faults})}


def _judge(found: Snapshot) -> tuple[Sight, str]:
    """Judge how much is seen, with the troubles that only a command detects."""
    known = [(each.trouble, f"{each.subject}: {local_times(each.what)}") for each in found.troubles]
    unready = [what for trouble, what in known if trouble in STOPPED]
    return judge_sight([each.name for each in found.sources], unready, known, failing(found.sources), spell_time)
