"""Do streams delay alerts? `python -m tests.benchmarks streams [MINUTES] [RATE] [COUNT]`.

A real service with the shipped rules, and one that opens an alert for each 100th record, polls each second a server that shows
RATE new records a second (500 by default): first alone, then with COUNT streams (10) to a Valkey server. Each third one sends
alerts, the others send all records. Prints how long alerts took from the action to their delivery, the CPU of the service, and
how far the streams were behind at the end.
"""

from __future__ import annotations

import shutil
import sqlite3
import statistics
import tempfile
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path

from tests.benchmarks.growth import RULES
from tests.benchmarks.soak import CONFIG
from tests.benchmarks.start import TICKS, ticks
from tests.benchmarks.upstream import upstream
from tests.debian import find
from tests.end_to_end import kit
from tests.integration.notifiers.http_end import HttpEnd, Reply
from tests.integration.streams.ends.server import ServerProcess, free_port

BACKLOG = timedelta(minutes=1)
WARM_SECONDS = 75  # until the streams have sent the backlog
LATENCIES = "SELECT first_sent_at - happened_at FROM alert WHERE rule_name = 'program_acts' AND first_sent_at > ?"
RULE = """\
title: A program acts
name: program_acts
logsource: {product: instaclustr, service: user_actions}
detection: {selection: {userName|endswith: '-77'}, condition: selection}
level: high
alert: {title: a program}
"""
BEHIND = "SELECT stream, (SELECT max(id) FROM record) - row_id FROM stream_position WHERE feed = 'record'"


def main(minutes: int = 3, rate: int = 500, count: int = 10) -> None:
    """Print two lines, without streams and with them."""
    for streams in (0, count):
        with tempfile.TemporaryDirectory() as name:
            _measure(Path(name), minutes, rate, streams)


def _measure(folder: Path, minutes: int, rate: int, count: int) -> None:
    port = free_port()
    span = BACKLOG + timedelta(minutes=minutes + 2)
    command: list[str | Path] = [
        find("valkey-server", "valkey-server"),
        "--port",
        str(port),
        "--appendonly",
        "yes",
        "--dir",
        folder,
    ]
    broker = ServerProcess(command, port, folder)
    broker.start()
    end = HttpEnd(lambda _: Reply(200))
    try:
        with upstream(int(rate * span.total_seconds()), BACKLOG / timedelta(days=1), span - BACKLOG, "usual") as served:
            shutil.copytree(RULES, folder / "rules")
            (folder / "rules" / "program_acts.yml").write_text(RULE)
            config = CONFIG.format(url=served.url, organisation=served.organisation_id)
            config = config.replace("start: 5m", "start: 1m, poll_interval: 1s").replace(
                "level: debug", "level: warning"
            )
            config += f"receivers:\n  - name: hook\n    webhook: {{url: '{end.url}'}}\n    storm: off\n"
            config += "".join(["streams:\n" if count else "", *(_stream(number, port) for number in range(count))])
            (folder / "actionwatch.yaml").write_text(config)
            with (
                (folder / "log").open("w") as out,
                kit.started("run", folder=folder, stderr=out, stdout=out) as process,
            ):
                time.sleep(WARM_SECONDS)
                began, before = time.time(), ticks(process.pid)
                time.sleep(minutes * 60)
                cpu = (ticks(process.pid) - before) / TICKS / minutes / 60
                _print(folder, count, began, cpu)
    finally:
        end.close()
        broker.stop()


def _stream(number: int, port: int) -> str:
    what = "alerts" if number % 3 == 2 else "records"
    url = f"redis://127.0.0.1:{port}"
    return f"  - name: s{number}\n    redis: {{url: '{url}', stream: bench-{number}}}\n    what: {what}\n"


def _print(folder: Path, count: int, began: float, cpu: float) -> None:
    with closing(sqlite3.connect(folder / "actionwatch.db")) as connection:
        micros = int(began * 1e6)
        found = [row[0] / 1e6 for row in connection.execute(LATENCIES, (micros,))]
        behind = [row[1] for row in connection.execute(BEHIND)]
        sent = connection.execute("SELECT sum(sent_count) FROM stream").fetchone()[0]
    p99 = statistics.quantiles(found, n=100)[-1] if len(found) > 1 else 0.0
    print(
        f"  {count:>2} streams: {len(found)} alerts, median {statistics.median(found or [0.0]):.2f} s, p99 {p99:.2f} s; "
        f"{cpu:.2f} of a core; {sent or 0:,} messages sent, at most {max(behind, default=0):,} records behind",
        flush=True,
    )
