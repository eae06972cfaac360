"""What a poll costs that finds nothing new: `python -m tests.benchmarks quiet_poll [SOURCES] [ROUNDS]`.

SOURCES tails, as the service builds them, read one organisation from an emulator in another process into one store. The log has
one record a minute. Each row is the mean of a poll: CPU of this process, SQL statements, transactions that write, requests.
*Quiet*: polls one after the other, and in 16 threads. *Full*: the poll of each minute that checks everything. *New*: one record
was added before each round.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import structlog

from actionwatch.base.clock import to_micros, utc_now
from actionwatch.service import app, configuration
from actionwatch.tail.source import SourceTail
from tests.end_to_end import kit
from tests.statements import statements, transactions

THREADS = 16
CONFIG = """
store: {{url: "{store}"}}
sources:
{sources}
log: {{level: error, format: text}}
"""
SOURCE = """
  - {{name: source{number}, organisation_id: {organisation}, username: {username}, api_key: {key}, base_url: "{url}",
     start: 2h}}
"""


def main(count: int = 50, rounds: int = 5, store: str = "") -> None:
    """Print a row for each kind of poll. `store`: the URL of an empty database; by default, a file."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with tempfile.TemporaryDirectory() as name, kit.upstream(Path(name)) as upstream:
        _log_a_record_a_minute(upstream)
        with _tails(Path(name), upstream, count, store) as tails:
            for _ in range(3):
                _poll_each(tails)
            print(f"  {count} sources, {rounds} rounds    CPU of a poll   statements   writes   requests", flush=True)
            _measure("quiet", tails, rounds, upstream, lambda: None)
            _measure(f"quiet, {THREADS} threads", tails, rounds, upstream, lambda: None, threads=THREADS)
            _measure("full", tails, rounds, upstream, lambda: _expire(tails))
            _measure("new record", tails, rounds, upstream, lambda: _log(upstream, timedelta(seconds=1)))


@contextlib.contextmanager
def _tails(folder: Path, upstream: kit.Upstream, count: int, store: str) -> Iterator[list[SourceTail]]:
    """Build the tails of as many sources, as the service does."""
    given = {"organisation": upstream.organisation_id, "username": upstream.username}
    given |= {"key": upstream.api_key, "url": upstream.base_url}
    listed = "".join(SOURCE.format(number=number, **given) for number in range(count))
    (folder / "rules").mkdir()
    config = folder / "actionwatch.yaml"
    config.write_text(CONFIG.format(sources=listed, store=store or f"sqlite:///{folder / 'store.db'}"))
    service = app.App(configuration.read_settings(config))
    service.tails.begin(*service.tails.sources)
    for watch in service.tails.account_watches.values():
        watch.run_once()
    yield list(service.tails.steps.values())
    service.close()


def _log_a_record_a_minute(upstream: kit.Upstream) -> None:
    for minutes in range(1, 60):
        _log(upstream, timedelta(minutes=minutes))


def _log(upstream: kit.Upstream, ago: timedelta) -> None:
    at = to_micros(utc_now() - ago) // 1000
    record = {"action": "CREATE_CLUSTER", "userName": "user@example.com", "at": at, "description": f"cluster {at}"}
    upstream.control("POST", "/actions", [record])


def _poll_each(tails: list[SourceTail]) -> None:
    for tail in tails:
        _poll(tail)


def _poll(tail: SourceTail) -> int:
    report = tail.run_once()
    assert report.error is None, report
    assert not report.unproved, report
    return report.new_count


def _expire(tails: list[SourceTail]) -> None:
    """Let the next poll of each be a full one."""
    for tail in tails:
        tail.follow_clock(timedelta(0))


def _measure(
    title: str,
    tails: list[SourceTail],
    rounds: int,
    upstream: kit.Upstream,
    before: Callable[[], None],
    threads: int = 0,
) -> None:
    cpu, new_count, requested = 0.0, 0, _requests(upstream)
    statement_count = write_count = 0
    run = ThreadPoolExecutor(threads).map if threads else map
    for number in range(rounds):
        before()
        if number % 2:  # what counts costs a part of a millisecond
            with statements() as found, transactions() as ended:
                new_count += sum(run(_poll, tails))
            statement_count += len([each for each in found if not each.startswith("PRAGMA")])
            write_count += ended.count("write")
        else:
            used = time.process_time()
            new_count += sum(run(_poll, tails))
            cpu += time.process_time() - used
    polls, counted = len(tails) * ((rounds + 1) // 2), len(tails) * (rounds // 2)
    requests = (_requests(upstream) - requested) / (polls + counted)
    print(
        f"  {title:<24} {cpu / polls * 1000:>9.2f} ms {statement_count / counted:>12.1f} {write_count / counted:>8.2f} "
        f"{requests:>10.2f}   {new_count} new",
        flush=True,
    )


def _requests(upstream: kit.Upstream) -> int:
    (traffic,) = upstream.control("GET", "/traffic")
    return sum(traffic["user_actions"].values())
