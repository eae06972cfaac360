"""A fleet: `python -m tests.benchmarks fleet [SOURCES] [MINUTES] [OUTAGE] [REPLICAS]`.

The real service, with the shipped rules and one more, polls SOURCES organisations (1,000) of an emulator every 10 seconds for
MINUTES (15). Each logs an action a minute, and one in eight opens an alert, which a webhook receives. In the middle, the
emulator answers each request with 503 for OUTAGE minutes (5; 0: never). With REPLICAS (0: one process on SQLite), so many
processes share a store in PostgreSQL, and instead of an outage one of them is killed.

The emulator notes each request, so that the gaps between polls do not depend on what the service says. Gaps, lateness and CPU
leave out the outage, with the time until each source was read again; or half a minute after the kill, which has a row. What is
lost is printed, and logs and store are kept. The emulator, the webhook and the database are processes on the same cores.
The exit status is 1 if a figure misses its target.
"""

from __future__ import annotations

import contextlib
import itertools
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from actionwatch.base.clock import from_micros, to_micros
from actionwatch.base.model import SELF_RULE_NAME
from tests import postgresql
from tests.benchmarks.deliveries.receiver import Arrivals, receiving
from tests.benchmarks.fleet.processes import Samples
from tests.benchmarks.fleet.upstream import Origin, origin
from tests.benchmarks.growth import RULES
from tests.children import Process, kill, run_child
from tests.end_to_end import kit

INTERVAL = 10.0
WARM_SECONDS = 60.0  # after each source was read once: the first sweeps, and memory that stays
AFTER_KILL_SECONDS = 30.0
ONE_POLL_SECONDS = INTERVAL / 4  # requests of a source that are closer belong to one poll
KIND = "CREATE_KAFKA_TOPIC"
RULE = f"""
title: A topic was created
id: 7c3f5a8e-6a51-4d0b-9a43-1d1f0c1e7f10
name: fleet_topic
status: stable
logsource: {{product: instaclustr, service: user_actions}}
detection:
  selection:
    actionKind: {KIND}
  condition: selection
level: high
alert:
  title: "{{{{ userName }}}} created a topic on {{{{ cluster.name }}}}"
"""
CONFIG = """
sources: {{file: "{sources}", defaults: {{poll_interval: 10s}}}}
receivers:
  - name: soar
    webhook: {{url: "{url}", signing_key: {key}}}
time_intervals:
  - {{name: business-hours, time_intervals: [{{times: [{{start_time: "08:00", end_time: "18:00"}}]}}]}}
store: {{url: "{store}"}}
web: {{listen: "127.0.0.1:0"}}
log: {{format: json}}
"""
SENT = """
SELECT delivery.id, record.organisation_id, record.occurred_at FROM delivery
JOIN alert ON alert.id = delivery.alert_id JOIN alert_record ON alert_record.alert_id = alert.id
JOIN record ON record.id = alert_record.record_id WHERE alert.rule_name = 'fleet_topic'
"""

Query = Callable[[str], list[Any]]


@dataclass
class Table:
    """The figures, with their targets."""

    is_met: bool = True

    def add(self, what: str, value: float, unit: str, most: float | None = None) -> None:
        """Print a figure. `most`: the largest value that meets the target; None if it has none."""
        is_met = most is None or value <= most
        self.is_met = self.is_met and is_met
        target = "" if most is None else f"at most {most:,.6g}{unit}"
        print(f"  {what:<58} {value:>10,.1f}{unit:<5} {target:<18} {'' if is_met else 'MISSED'}".rstrip(), flush=True)


@dataclass
class Run:
    """A fleet that runs: its processes, their store, and what happened when, on the monotonic clock."""

    folder: Path
    origin: Origin
    processes: list[Process]
    query: Query
    database: str
    """The URL of their database in PostgreSQL; empty if they use a file."""
    began: float
    read_once: float = 0.0
    out: tuple[float, float] | None = None
    """The times that the figures leave out."""
    ended: float = 0.0
    samples: Samples = field(init=False)

    def __post_init__(self) -> None:
        self.samples = Samples([each.pid for each in self.processes])

    @property
    def spans(self) -> list[tuple[float, float]]:
        """Return the times that count."""
        start = self.read_once + WARM_SECONDS
        return [(start, self.ended)] if self.out is None else [(start, self.out[0]), (self.out[1], self.ended)]


def main(count: int = 1000, minutes: int = 15, outage_minutes: int = 5, replicas: int = 0) -> None:
    """Print the figures of a run."""
    table = Table()
    with tempfile.TemporaryDirectory() as name, receiving() as url, contextlib.ExitStack() as stack:
        folder, arrivals = Path(name), Arrivals(url)
        emulator = stack.enter_context(origin(count, folder / "sources.yml"))
        run = _start(folder, url, emulator, replicas, stack)
        run.read_once = _wait_for_each(run, count, run.began)
        table.add("from the start to the last first poll", run.read_once - run.began, " s", 20)
        table.add("CPU until then", run.samples.cpu_seconds, " s")
        middle = run.read_once + WARM_SECONDS + minutes * 60 / 2
        run.samples.wait_until(middle - outage_minutes * 60 / 2 - 20 if not replicas else middle - 20)
        table.add("status: the median of three", statistics.median(_status_seconds(run) for _ in range(3)), " s", 1)
        if replicas:
            _kill_one(run, table, count)
        elif outage_minutes:
            _fail(run, table, count, outage_minutes)
        run.samples.wait_until(run.read_once + WARM_SECONDS + minutes * 60)
        run.ended = time.monotonic()
        run.samples.wait_until(_wait_for_each(run, count, run.ended) + 2 * INTERVAL)  # the last records arrive
        _add_figures(run, table, replicas)
        _add_evidence(run, table, arrivals.take(), bool(outage_minutes) and not replicas)
    sys.exit(not table.is_met)


def _start(folder: Path, url: str, emulator: Origin, replicas: int, stack: contextlib.ExitStack) -> Run:
    stores = [f"sqlite:///{folder}/store.db"]
    query = _querying(lambda: sqlite3.connect(f"file:{folder}/store.db?mode=ro", uri=True, timeout=60))
    database = ""
    if replicas:
        server = stack.enter_context(postgresql.other_database("fleet"))
        database = server.replace("+psycopg", "")
        stores, query = [server] * replicas, _querying(lambda: psycopg.connect(database))
    began, processes = time.monotonic(), []
    for number, store in enumerate(stores):
        place = folder / f"replica{number}"
        shutil.copytree(RULES, place / "rules")
        (place / "rules" / "fleet_topic.yml").write_text(RULE)
        config = CONFIG.format(sources=folder / "sources.yml", url=url, key=kit.KEY, store=store)
        (place / "actionwatch.yaml").write_text(config)
        log = stack.enter_context((place / "log").open("w"))
        processes.append(stack.enter_context(kit.started("run", folder=place, stdout=log, stderr=log)))
    return Run(folder, emulator, processes, query, database, began)


def _querying(connect: Callable[[], Any]) -> Query:
    def query(statement: str) -> list[Any]:
        with contextlib.closing(connect()) as connection:
            return list(connection.execute(statement).fetchall())

    return query


def _wait_for_each(run: Run, count: int, since: float) -> float:
    """Wait until each source was read, and return when the last one was."""
    while True:
        reads = run.origin.reads()
        found = [next((at for at, is_answered in each if is_answered and at >= since), None) for each in reads.values()]
        firsts = [at for at in found if at is not None]
        if len(firsts) == count:
            return max(firsts)
        ended = [each.args for each in run.processes if each.poll() not in (None, -9)]
        if ended or time.monotonic() - since > 600:
            logs = "".join(path.read_text()[-3000:] for path in run.folder.glob("replica*/log"))
            raise AssertionError(f"{len(firsts)} of {count} sources were read; {logs}")
        run.samples.wait_until(time.monotonic() + 1)


def _status_seconds(run: Run) -> float:
    began = time.monotonic()
    kit.finished("status", folder=run.folder / "replica0")
    return time.monotonic() - began


def _fail(run: Run, table: Table, count: int, outage_minutes: int) -> None:
    out = time.monotonic()
    run.origin.fail()
    run.samples.wait_until(out + outage_minutes * 60)
    table.add("CPU during the outage", run.samples.cpu_percent(out, time.monotonic()), " %")
    run.origin.recover()
    recovered = time.monotonic()
    again = _wait_for_each(run, count, recovered)
    table.add("from the end of the outage until each source was read", again - recovered, " s")
    run.samples.wait_until(again + 2 * INTERVAL)
    run.out = out - INTERVAL, time.monotonic()


def _kill_one(run: Run, table: Table, count: int) -> None:
    """Kill the replica that started first, which probably leads."""
    before = _owners(run.query)
    shares = Counter(before.values())
    killed_at = time.monotonic()
    kill(run.processes[0])
    run.samples.wait_until(max(_wait_for_each(run, count, killed_at), killed_at + AFTER_KILL_SECONDS))
    after = _owners(run.query)
    gone = shares.keys() - set(after.values())
    orphans = {name for name, owner in before.items() if owner in gone}
    run.out = killed_at - INTERVAL, time.monotonic()
    table.add("largest share of the sources, before", 100 * max(shares.values()) / len(before), " %", 40)
    table.add("sources of the killed replica", len(orphans), "")
    kept = [name for name in before if name not in orphans]
    table.add("other sources that moved", sum(before[name] != after.get(name) for name in kept), "", 0)
    reads, names = run.origin.reads(), _organisations(run.query)
    gaps = [_longest(reads[names[name]], killed_at, run.out[1]) for name in orphans if name in names]
    table.add("longest gap between polls of its sources", max(gaps), " s", 30)
    gaps = [_longest(reads[names[name]], killed_at, run.out[1]) for name in kept if name in names]
    table.add("longest gap between polls of the other sources meanwhile", max(gaps), " s", 15)


def _owners(query: Query) -> dict[str, str]:
    rows = query(
        "SELECT name, owner FROM role JOIN replica ON owner = id WHERE name LIKE 'tail %' AND until > clock_timestamp()"
    )
    return {name.removeprefix("tail "): owner for name, owner in rows}


def _organisations(query: Query) -> dict[str, str]:
    return dict(query("SELECT name, organisation FROM source"))


def _longest(reads: Sequence[tuple[float, bool]], start: float, end: float) -> float:
    """Return the longest time between two reads of which the second is within a span."""
    return max(later - at for (at, _), (later, _) in itertools.pairwise(reads) if start <= later <= end)


def _add_figures(run: Run, table: Table, replicas: int) -> None:
    spans = run.spans
    used = [(run.samples.cpu_percent(*span), span[1] - span[0]) for span in spans]
    cpu = sum(share * length for share, length in used) / sum(length for _, length in used)
    table.add("CPU of all replicas" if replicas else "CPU", cpu, " %", None if replicas else 60)
    gaps = sorted(gap for each in run.origin.reads().values() for gap in _gaps(each, spans))
    table.add("gap between the polls of a source, p50", statistics.median(gaps), " s")
    table.add("gap between the polls of a source, p99", statistics.quantiles(gaps, n=100)[-1], " s", INTERVAL + 2)
    table.add("the longest", gaps[-1], " s")
    table.add("threads of a process, at most", run.samples.most_threads(), "", 60)
    memory = run.samples.memory_by_minute(run.read_once + WARM_SECONDS, run.ended)
    print(f"  memory by minute: {', '.join(f'{each:.0f}' for each in memory)} MiB")
    table.add("memory of a process, at most", max(memory), " MiB", 200)
    later = memory[-max(len(memory) // 3, 3) :]  # after what happens in the middle, which is one step
    if len(later) > 2:
        slope = statistics.linear_regression(range(len(later)), later).slope
        table.add("growth of memory in a minute, in the last third", slope, " MiB", 1)


def _gaps(reads: Sequence[tuple[float, bool]], spans: Sequence[tuple[float, float]]) -> Iterator[float]:
    """Yield the gaps between polls within spans. Requests soon after another one belong to its poll."""
    for start, end in spans:
        before = None
        for at in (at for at, _ in reads if start <= at <= end):
            if before is None or at - before > ONE_POLL_SECONDS:
                if before is not None:
                    yield at - before
                before = at


def _keep(run: Run) -> None:
    """Keep the logs, and the store, of a run that lost something."""
    kept = Path(tempfile.mkdtemp(prefix="fleet-"))
    shutil.copytree(run.folder, kept, dirs_exist_ok=True)
    if run.database:
        dump = [f"{postgresql.programs()}/pg_dump", "--format=custom", f"--file={kept}/store.dump", run.database]
        subprocess.run(dump, check=True)
    print(f"    kept: {kept}")


def _add_evidence(run: Run, table: Table, arrivals: dict[str, float], is_outage: bool) -> None:
    """Compare the logs with the store and with what arrived."""
    offset = time.time() - time.monotonic()
    since, until = (datetime.fromtimestamp(at + offset, UTC) for at in (run.read_once, run.ended))
    logged = [
        (each["organisationId"], to_micros(datetime.fromisoformat(each["timestamp"])), each["action"])
        for each in run.origin.records(since, until)
    ]
    # A source can begin after it was first read: its replica may lose it during its first poll.
    begins: dict[str, int] = dict(run.query("SELECT organisation, begins_at FROM source"))
    due = [each for each in logged if each[1] >= begins[each[0]]]
    between = f"occurred_at BETWEEN {to_micros(since)} AND {to_micros(until)}"
    stored = Counter(
        tuple(row) for row in run.query(f"SELECT organisation_id, occurred_at, action_kind FROM record WHERE {between}")
    )
    table.add("records in the logs, since each source began", len(due), "")
    lost = Counter(due) - stored
    table.add("of them lost", lost.total(), "", 0)
    table.add("stored twice, or not in a log", (stored - Counter(logged)).total(), "", 0)
    for name, at, kind in sorted(lost, key=lambda each: each[1]):
        print(f"    {from_micros(at)} {kind} of {name}, which begins at {from_micros(begins[name])}")
    older = [(begins[name] - at) / 1e6 for name, at, _ in logged if at < begins[name]]
    table.add("records before their source began, after all were read once", len(older), "")
    if older:
        table.add("the longest time of one of them before that beginning", max(older), " s")
    sent = run.query(f"{SENT} AND record.{between}")
    wanted = Counter((organisation, at) for organisation, at, kind in due if kind == KIND)
    arrived = Counter((organisation, at) for name, organisation, at in sent if name in arrivals)
    table.add("alerts", wanted.total(), "")
    table.add("of them lost", (wanted - arrived).total(), "", 0)
    table.add("alerts sent twice", (arrived - wanted).total(), "", 0)
    if lost or wanted - arrived:
        _keep(run)
    late = [(arrivals[name] - (at / 1e6 - offset), at / 1e6 - offset) for name, _, at in sent if name in arrivals]
    counted = sorted(seconds for seconds, at in late if any(start <= at <= end for start, end in run.spans))
    table.add("from a record to the arrival of its alert, p50", statistics.median(counted), " s")
    table.add(
        "from a record to the arrival of its alert, p99", statistics.quantiles(counted, n=100)[-1], " s", INTERVAL + 2
    )
    table.add("the longest of all, with the outage or the kill", max(seconds for seconds, _ in late), " s")
    troubles = run.query(f"SELECT title, opened_at FROM alert WHERE rule_name = '{SELF_RULE_NAME}' ORDER BY opened_at")
    for title, opened in troubles:
        print(f"    self-alert after {from_micros(opened).timestamp() - offset - run.began:,.0f} s: {title}")
    table.add("self-alerts, besides that of the outage", abs(len(troubles) - is_outage), "", 0)
    bounds = "--since", since.isoformat(), "--until", (until - timedelta(seconds=INTERVAL)).isoformat()
    began = time.monotonic()
    proof = run_child(
        [kit.COMMAND, "records", "proof", *bounds], limit=600, cwd=run.folder / "replica0", env=kit.environment()
    )
    table.add("records proof", time.monotonic() - began, " s")
    if proof.returncode:
        print(proof.stdout[-2000:], proof.stderr[-2000:])
    table.add("sources with a time that is not proved, or an error", proof.returncode, "", 0)
