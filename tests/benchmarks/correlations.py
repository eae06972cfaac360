"""What extreme groups cost: `python -m tests.benchmarks correlations [COUNT] [STORE]`; STORE: sqlite, postgresql.

*Groups*: COUNT records, each in its own group, all within the window of a rule; then one record more for some of them.
*Late*: COUNT hits in one window of one group, then one record that belongs into its middle, and how long the record of another
group waits meanwhile. *Fed again*: a correlation is changed on a store of COUNT records; while it reads them again, a record
that a plain rule matches comes ten times a second, and the time from its commit to that of its alert is measured.
Each row has its own process. Reads /proc: Linux only.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path

from sqlalchemy import text

from actionwatch.base.clock import from_micros, utc_now
from actionwatch.base.model import Record
from actionwatch.matching.correlating import Correlating
from actionwatch.matching.matcher import RecordMatcher
from actionwatch.rules.engine import Engine
from actionwatch.store import marks, records
from actionwatch.store.database import Database
from tests import postgresql
from tests.benchmarks.tails.report import measure
from tests.builders import NOON, make_marks, make_record, open_database
from tests.integration.kit import Post
from tests.unit.rules.builders import rules_in

PAGE = 1000
_OPENED = """
SELECT record.user_name, alert.opened_at FROM alert
JOIN alert_record ON alert_record.alert_id = alert.id JOIN record ON record.id = alert_record.record_id
WHERE alert.rule_name = 'plain'"""
RULES = """
title: Plain
name: plain
logsource: {{product: instaclustr, service: user_actions}}
level: low
detection: {{selection: {{actionKind: DELETE_CLUSTER}}, condition: selection}}
---
title: Busy
name: busy
logsource: {{product: instaclustr, service: user_actions}}
level: low
detection: {{selection: {{actionKind: BACKUP}}, condition: selection}}
correlation: {{type: event_count, group-by: [userName], timespan: {days}d, condition: {{gte: {least}}}}}
"""


def main(count: int = 1_000_000, store: str = "sqlite") -> None:
    """Print a row for each."""
    for name in ROWS:
        command = [sys.executable, "-m", "tests.benchmarks.correlations", name, str(count), store]
        out = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found = json.loads(out.stdout.rpartition("RESULT")[2])
        details = ", ".join(f"{value:,} {what}" for what, value in found["details"].items())
        print(f"  {name:<10} peak {found['peak_kib'] / 1024:,.0f} MiB; {details}", flush=True)


class _Bench:
    """A store, and what matches there."""

    def __init__(self, database: Database, count: int) -> None:
        self.database, self.count = database, count
        self.post = Post(database)
        self.end = NOON + timedelta(seconds=count)
        with database.write() as connection:
            times = dict.fromkeys(("mark", "seen_through", "proved_through"), NOON)
            marks.write(connection, make_marks(name="acme", begins_at=NOON, alerts_from=NOON, **times))

    def matcher(self, days: int, least: int, clock: Callable[[], datetime] | None = None) -> RecordMatcher:
        """Return a matcher with the two rules."""
        found = rules_in(RULES.format(days=days, least=least))
        assert not found.faults, found.faults
        rules = found.rules
        addressing = self.post.addressing
        correlating = Correlating(rules, addressing)
        clock = clock or self.post.clock
        return RecordMatcher(self.database, Engine(rules), addressing, clock, correlating=correlating)

    def fill(self, matcher: RecordMatcher, user: Callable[[int], str]) -> float:
        """Store and match `count` backups, a second apart. Return the CPU seconds of matching."""
        used = 0.0
        for start in range(0, self.count, PAGE):
            self.store([_backup(number, user(number)) for number in range(start, start + PAGE)])
            began = time.process_time()
            matcher.run_once()
            used += time.process_time() - began
        return used

    def store(self, page: list[Record]) -> None:
        """Store records."""
        with self.database.write() as connection:
            records.insert_new(connection, page)


def _backup(number: int, user: str, at: datetime | None = None) -> Record:
    happened = at or NOON + timedelta(seconds=number)
    return make_record(number, action_kind="BACKUP", user_name=user, occurred_at=happened)


def _groups(bench: _Bench) -> dict[str, int]:
    matcher = bench.matcher(days=31, least=2)
    used = bench.fill(matcher, "user{}@example.com".format)
    again = [bench.count // PAGE * number for number in range(PAGE)]
    bench.store([_backup(bench.count + number, f"user{user}@example.com") for number, user in enumerate(again)])
    began = time.process_time()
    opened = matcher.run_once()
    each = (time.process_time() - began) / PAGE
    return {
        "µs of CPU a record": round(used / bench.count * 1e6),
        "µs for the second record of a group": round(each * 1e6),
        "alerts of these": opened,
    }


def _late(bench: _Bench) -> dict[str, int]:
    matcher = bench.matcher(days=31, least=2 * bench.count)
    used = bench.fill(matcher, lambda number: "busy@example.com")
    waits = []
    for number in range(3):
        at = NOON + timedelta(seconds=bench.count * (number + 1) // 4)
        bench.store([_backup(bench.count + number, "busy@example.com", at)])
        began = time.monotonic()
        matcher.run_once()
        waits.append(time.monotonic() - began)
    return {"µs of CPU a record": round(used / bench.count * 1e6), "ms for a late record": round(max(waits) * 1000)}


def _fed_again(bench: _Bench) -> dict[str, int]:
    bench.fill(bench.matcher(days=31, least=10_000), lambda number: f"user{number % 1000}@example.com")
    matcher = bench.matcher(days=31, least=10_001, clock=utc_now)
    stored_at, is_done = dict[str, datetime](), threading.Event()

    def store() -> None:
        for number in count(10 * bench.count):
            if is_done.wait(0.1):
                return
            user = f"user{number}@example.com"
            record = make_record(number, occurred_at=bench.end, action_kind="DELETE_CLUSTER", user_name=user)
            bench.store([record])
            stored_at[record.user_name or ""] = utc_now()

    thread = threading.Thread(target=store)
    thread.start()
    began = time.monotonic()
    matcher.run_once()
    seconds = time.monotonic() - began
    is_done.set()
    thread.join()
    matcher.run_once()
    with bench.database.read() as connection:
        found = connection.execute(text(_OPENED)).all()
    waits = sorted((from_micros(opened_at) - stored_at[user]).total_seconds() * 1000 for user, opened_at in found)
    assert len(waits) == len(stored_at)
    return {
        "records fed again": matcher.fed_count,
        "seconds": round(seconds),
        "plain alerts meanwhile": len(waits),
        "ms until they were found (p50)": round(waits[len(waits) // 2]),
        "ms (p99)": round(waits[len(waits) * 99 // 100]),
    }


ROWS: Mapping[str, Callable[[_Bench], dict[str, int]]] = {"groups": _groups, "late": _late, "fed_again": _fed_again}


@contextmanager
def _opened(store: str) -> Iterator[Database]:
    if store == "postgresql":
        database = postgresql.open_store()
        try:
            yield database
        finally:
            database.close()
            postgresql.end()
        return
    with tempfile.TemporaryDirectory() as name:
        database = open_database(Path(name))
        yield database
        database.close()


def _run(name: str, size: str, store: str) -> dict[str, int]:
    with _opened(store) as database:
        return ROWS[name](_Bench(database, int(size)))


if __name__ == "__main__":
    measure(lambda: _run(*sys.argv[1:]))
