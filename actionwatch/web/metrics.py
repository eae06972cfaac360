"""`/metrics` in the Prometheus format, read from the store at each scrape, so that metrics survive a restart.

The first scrape imports this module: the client library takes 3 MB, and not every service is scraped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate

from prometheus_client import generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from sqlalchemy import Connection
from starlette.responses import Response

from actionwatch import __version__
from actionwatch.alerts.self_alerts import OF_SOURCES
from actionwatch.base.lateness import LAG_BOUNDS, Lateness, never_late
from actionwatch.base.source_labels import labels_of
from actionwatch.queries.source_health import SourceHealth, survey
from actionwatch.queries.status import SourceState, judge_sources, read_sources
from actionwatch.queries.streams import read_streams
from actionwatch.settings import Stream
from actionwatch.store import (
    alerts,
    delivery_latency,
    outbox,
    positions,
    receivers,
    record_counts,
    self_alerts,
)
from actionwatch.store.database import Database
from actionwatch.store.membership import is_tail_role
from actionwatch.text.log_writer import WRITER

_SOURCE = ("source",)
_RECEIVER = ("receiver",)
_STREAM = ("stream",)


def scrape(collector: StoreCollector) -> Response:
    """Return the response to one scrape."""
    return Response(generate_latest(collector), media_type=CONTENT_TYPE_LATEST)


@dataclass(frozen=True, slots=True)
class StoreCollector:
    """Collects the metrics of these sources and streams only, because the lag of a removed one would grow forever.

    `sources` are the intervals of their polls, by name. Without `by_source`, there are only totals of them. `roles` returns for
    each role whether this process has it.
    """

    database: Database
    sources: Mapping[str, timedelta]
    clock: Callable[[], datetime]
    roles: Callable[[], Mapping[str, bool]] = dict
    streams: Sequence[Stream] = ()
    by_source: bool = True
    lateness: Callable[[], Lateness] = never_late

    def collect(self) -> Iterator[Metric]:
        """Read the store once and yield all metrics."""
        now = self.clock()
        with self.database.read() as connection:
            sources, troubles = read_sources(connection, self.sources), self_alerts.read_all(connection)
            if self.by_source:
                yield from _sources(sources, now)
            yield from _all_sources(judge_sources(sources, self.sources, troubles, now), sources, now)
            yield from _records(connection)
            yield from _alerts(connection)
            yield from _receivers(connection, now)
            yield from _streams(connection, self.streams, now)
            yield from _latencies(connection)
            yield _troubles(troubles, () if self.by_source else self.sources)
        yield _poll_lags(self.lateness())
        yield InfoMetricFamily("actionwatch", "The version of actionwatch", value={"version": __version__})
        held = GaugeMetricFamily(
            "actionwatch_role_held", "1 for each role that this process has, else 0", labels=("role",)
        )
        for role, is_held in self.roles().items():
            if self.by_source or not is_tail_role(role):
                held.add_metric([role], is_held)
        yield held
        yield CounterMetricFamily(
            "actionwatch_log_lines_dropped",
            "Lines of the log dropped since the start because nobody read them",
            value=WRITER.dropped_count,
        )


def _poll_lags(lateness: Lateness) -> Metric:
    counts = accumulate(lateness.buckets)
    bounds = [*(str(bound) for bound in LAG_BOUNDS), "+Inf"]
    lags = HistogramMetricFamily("actionwatch_poll_lag_seconds", "How late polls of this process began")
    lags.add_metric([], list(zip(bounds, counts, strict=True)), lateness.total)
    return lags


def _sources(sources: Sequence[SourceState], now: datetime) -> Iterator[Metric]:
    info = InfoMetricFamily("actionwatch_source", "The labels of the source", labels=_SOURCE)
    for source in sources:
        info.add_metric([source.name], dict(labels_of(source.name)))
    yield info
    seen = GaugeMetricFamily(
        "actionwatch_seen_through_lag_seconds",
        "Time between seen through and now, by the upstream's clock",
        labels=_SOURCE,
    )
    proved = GaugeMetricFamily(
        "actionwatch_proved_through_lag_seconds",
        "Time between proved through and now, by the upstream's clock",
        labels=_SOURCE,
    )
    failures = GaugeMetricFamily("actionwatch_poll_failures", "Consecutive failed polls", labels=_SOURCE)
    for source in sources:
        if source.marks is not None:
            there = source.upstream_time(now)
            seen.add_metric([source.name], (there - source.marks.seen_through).total_seconds())
            proved.add_metric([source.name], (there - source.marks.proved_through).total_seconds())
        if source.poll is not None:
            failures.add_metric([source.name], source.poll.failures)
    yield from (seen, proved, failures)


def _all_sources(
    healths: Mapping[str, SourceHealth], sources: Sequence[SourceState], now: datetime
) -> Iterator[Metric]:
    counts = GaugeMetricFamily("actionwatch_sources", "Sources in each state", labels=("state",))
    for health, count in survey(healths).totals.items():
        counts.add_metric([health.value], count)
    yield counts
    began = [(source.upstream_time(now), source.marks) for source in sources if source.marks]
    yield GaugeMetricFamily(
        "actionwatch_seen_through_lag_largest_seconds",
        "The largest time between seen through and now, of all sources that were read",
        value=max(((there - marks.seen_through).total_seconds() for there, marks in began), default=0),
    )
    yield GaugeMetricFamily(
        "actionwatch_proved_through_lag_largest_seconds",
        "The largest time between proved through and now, of all sources that were read",
        value=max(((there - marks.proved_through).total_seconds() for there, marks in began), default=0),
    )


def _records(connection: Connection) -> Iterator[Metric]:
    stored = record_counts.count_ever_stored(connection)
    unmatched = stored - positions.read_handled(connection, positions.MATCHED)
    uncorrelated = stored - positions.read_handled(connection, positions.CORRELATED)
    yield CounterMetricFamily("actionwatch_records_stored", "Records stored since the store was created", value=stored)
    yield GaugeMetricFamily("actionwatch_records_unmatched", "Stored records that are not matched yet", value=unmatched)
    yield GaugeMetricFamily(
        "actionwatch_records_uncorrelated", "Stored records that are not correlated yet", value=uncorrelated
    )


def _alerts(connection: Connection) -> Iterator[Metric]:
    metric = GaugeMetricFamily("actionwatch_alerts", "Alerts in the store", labels=("level", "status"))
    for (level, status), count in alerts.count(connection).items():
        metric.add_metric([level.word, status.value], count)
    yield metric


def _receivers(connection: Connection, now: datetime) -> Iterator[Metric]:
    pending = GaugeMetricFamily("actionwatch_deliveries_pending", "Pending deliveries", labels=_RECEIVER)
    dead = GaugeMetricFamily("actionwatch_deliveries_dead", "Dead letters", labels=_RECEIVER)
    failing = GaugeMetricFamily(
        "actionwatch_receiver_failing_seconds",
        "How long the receiver has been failing; 0 if it is not",
        labels=_RECEIVER,
    )
    for name, queue in outbox.count_queues(connection).items():
        pending.add_metric([name], queue.pending)
        dead.add_metric([name], queue.dead)
    for name, health in receivers.read_all(connection).items():
        failing.add_metric([name], (now - health.failing_since).total_seconds() if health.failing_since else 0)
    yield from (pending, dead, failing)


def _streams(connection: Connection, configured: Sequence[Stream], now: datetime) -> Iterator[Metric]:
    lag = GaugeMetricFamily(
        "actionwatch_stream_lag_seconds", "How long the oldest message of the stream has been waiting", labels=_STREAM
    )
    waiting = GaugeMetricFamily("actionwatch_stream_waiting", "Messages that wait to be sent", labels=_STREAM)
    refused = GaugeMetricFamily("actionwatch_stream_refused", "Messages that the destination refused", labels=_STREAM)
    sent = CounterMetricFamily("actionwatch_stream_sent", "Messages that the destination accepted", labels=_STREAM)
    for state in read_streams(connection, configured, now):
        lag.add_metric([state.name], state.lag.total_seconds())
        waiting.add_metric([state.name], state.waiting_count)
        refused.add_metric([state.name], state.refused_count)
        sent.add_metric([state.name], state.health.sent_count)
    yield from (lag, waiting, refused, sent)


def _latencies(connection: Connection) -> Iterator[Metric]:
    metric = HistogramMetricFamily(
        "actionwatch_alert_latency_seconds",
        "Time from the poll that brought a record until a receiver accepted its alert",
        labels=("receiver",),
    )
    for found in delivery_latency.read_all(connection):
        below, buckets = 0, []
        for bound in delivery_latency.BOUNDS:
            below += found.buckets.get(bound, 0)
            buckets.append((str(float(bound)), below))
        buckets.append(("+Inf", below + found.buckets.get(delivery_latency.BEYOND, 0)))
        metric.add_metric([found.receiver], buckets, found.total.total_seconds())
    yield metric


def _troubles(opened: Iterable[self_alerts.OpenSelfAlert], together: Collection[str]) -> Metric:
    """Count the open self-alerts. Those about the sources that are counted `together` are one number for each trouble."""
    metric = GaugeMetricFamily("actionwatch_troubles", "Open self-alerts", labels=("trouble", "subject"))
    counts = Counter((each.trouble, _subject(each, together)) for each in opened)
    for labels, count in counts.items():
        metric.add_metric(labels, count)
    return metric


def _subject(opened: self_alerts.OpenSelfAlert, together: Collection[str]) -> str:
    """Return what a self-alert is about. A step of a source has the name of the source as its second word."""
    its = {opened.subject, opened.subject.partition(" ")[2]}
    is_of_source = opened.trouble in OF_SOURCES or opened.trouble == "step_failing"
    return "sources" if is_of_source and not its.isdisjoint(together) else opened.subject
