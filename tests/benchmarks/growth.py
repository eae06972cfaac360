"""What commands, an idle poll and a scrape cost on a store of a given size: `python -m tests.benchmarks growth [RECORDS]`.

The tail reads the records from a server, as in the benchmark `tail`. Alerts are added, one for ten records, at most 100,000.
Then each row is measured in its own process: wall time, CPU, and peak memory. To add a row, write a function that takes a
`Store` and returns a `Cost`, and name it in `ROWS`. Reads /proc: Linux only.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from actionwatch.base.clock import utc_now
from actionwatch.base.model import Alert
from actionwatch.service import app, configuration
from actionwatch.store import alerts, delivery_transitions, positions, records, tables
from actionwatch.store.database import Database, StoreReader
from actionwatch.web.metrics import StoreCollector, scrape
from tests.benchmarks.tails.ours import read_and_match
from tests.benchmarks.tails.report import measure
from tests.benchmarks.upstream import Served, upstream
from tests.builders import NOON, make_alert, make_delivery
from tests.end_to_end import kit
from tests.positions import move_to

RULES = Path(__file__).parents[2] / "rules"
MOST_ALERTS = 100_000
POLLS = 10
BATCH = 1000
CONFIG = """
sources:
  - {{name: bench, organisation_id: {organisation}, username: demo, api_key: demo-key, base_url: "{url}", start: 31d}}
log: {{level: error, format: text}}
"""
# Runs a command twice from a small process, because peak memory begins with that of the parent, and the first run compiles.
# Prints the seconds, CPU seconds and KiB of the second run.
_MEASURE = """
import os, subprocess, sys, time
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
started = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
_, _, used = os.wait4(process.pid, 0)
print(time.perf_counter() - started, used.ru_utime + used.ru_stime, used.ru_maxrss)
"""


@dataclass(frozen=True)
class Store:
    """A store that was filled, and the folder with its configuration."""

    folder: Path
    record_key: str
    alert_id: str
    count: int

    @property
    def config(self) -> Path:
        """The configuration of the service that filled it."""
        return self.folder / "actionwatch.yaml"

    @property
    def file(self) -> Path:
        """The database."""
        return self.folder / "actionwatch.db"


@dataclass(frozen=True)
class Cost:
    """What one row takes; None if it is not measured."""

    seconds: float | None = None
    cpu_seconds: float | None = None
    peak_mib: float | None = None
    note: str = ""


def main(count: int = 100_000) -> None:
    """Fill a store and print a table."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # commands are measured with compiled files
    with tempfile.TemporaryDirectory() as name, upstream(count) as served:
        store = fill_folder(Path(name), count, served)
        print(f"  {count:,} records, {min(count // 10, MOST_ALERTS):,} alerts")
        for title, row in ROWS.items():
            cost = row(store)
            print(
                f"  {title:<36} {_spell(cost.seconds, 's', 3)} {_spell(cost.cpu_seconds, 's CPU', 3)} "
                f"{_spell(cost.peak_mib, 'MiB', 0)} {cost.note}".rstrip(),
                flush=True,
            )


def fill_folder(folder: Path, count: int, served: Served) -> Store:
    (folder / "rules").mkdir()
    (folder / "actionwatch.yaml").write_text(CONFIG.format(url=served.url, organisation=served.organisation_id))
    _in_process("fill", folder, count)
    reader = StoreReader.open(f"sqlite:///{folder / 'actionwatch.db'}")
    with reader.read() as connection:
        (record,) = records.read_after(connection, count // 2, 1)
        (alert,) = alerts.read_newest(connection, 1)
    reader.close()
    return Store(folder, record.key, alert.id, count)


def _command(*arguments: str) -> Callable[[Store], Cost]:
    def run(store: Store) -> Cost:
        given = [argument.format(key=store.record_key, alert=store.alert_id) for argument in arguments]
        command = [sys.executable, "-c", _MEASURE, str(kit.COMMAND), "-c", str(store.config), *given]
        out = subprocess.run(
            command, cwd=store.folder, env=kit.environment(), stdout=subprocess.PIPE, text=True, check=True
        )
        seconds, cpu, kib = map(float, out.stdout.split())
        return Cost(seconds, cpu, kib / 1024)

    return run


def _step(name: str) -> Callable[[Store], Cost]:
    def run(store: Store) -> Cost:
        found = _in_process(name, store.folder)
        details = found["details"]
        number = details.pop("runs")
        note = ", ".join(f"{value} {key}" for key, value in details.items())
        return Cost(found["seconds"] / number, found["cpu"] / number, found["peak_kib"] / 1024, note)

    return run


def _stateful(name: str) -> Callable[[Store], Cost]:
    """Match with the shipped rules, in a copy of the store that no rule has seen. The next rows continue there."""

    def run(store: Store) -> Cost:
        folder = store.folder / "stateful"
        if not folder.exists():
            folder.mkdir()
            shutil.copytree(RULES, folder / "rules")
            shutil.copy(store.config, folder)
            shutil.copy(store.file, folder)
            database = Database(f"sqlite:///{folder / store.file.name}")
            with database.write() as connection:
                connection.execute(tables.POSITION.delete())
            database.close()
        found = _in_process(name, folder)
        each = found["cpu"] / store.count * 1e6
        note = f"{each:,.0f} µs of CPU a record, {found['before_kib'] / 1024:,.0f} MiB before"
        return Cost(found["seconds"], found["cpu"], found["peak_kib"] / 1024, note)

    return run


def _follow(store: Store) -> Cost:
    """Read all records again into an empty store, while the shipped rules learn them."""
    folder = store.folder / "following"
    folder.mkdir()
    shutil.copytree(RULES, folder / "rules")
    shutil.copy(store.config, folder)
    found = _in_process("follow", folder)
    note = f"{found['cpu'] / store.count * 1e6:,.0f} µs of CPU a record, with the tail"
    return Cost(found["seconds"], found["cpu"], found["peak_kib"] / 1024, note)


def _size(store: Store) -> Cost:
    sizes = sum(path.stat().st_size for path in store.folder.glob("actionwatch.db*"))
    return Cost(note=f"{sizes / 2**20:,.0f} MiB")


ROWS: Mapping[str, Callable[[Store], Cost]] = {
    "disk": _size,
    "idle poll": _step("poll"),
    "/metrics": _step("scrape"),
    "status": _command("status"),
    "records list": _command("records", "list"),
    "records list, nothing found": _command("records", "list", "--user", "nobody"),
    "records receipts": _command("records", "receipts"),
    "records proof": _command("records", "proof"),
    "alerts list": _command("alerts", "list"),
    "deliveries list": _command("deliveries", "list"),
    "explain RECORD-KEY": _command("explain", "{key}"),
    "explain ALERT-ID": _command("explain", "{alert}"),
    "rules backtest, one day": _command("rules", "backtest", str(RULES), "--since", "1d"),
    "reading and learning, shipped rules": _follow,
    "learning, shipped rules": _stateful("match"),
    "restart from the saved state": _stateful("match"),
    "restart with one changed rule": _stateful("change"),
    "all correlations fed again": _stateful("feed_again"),
}


def _in_process(name: str, folder: Path, *arguments: int) -> Any:
    """Run one of `STEPS` in a new process. Return what `measure` prints."""
    command = [sys.executable, "-m", "tests.benchmarks.growth", name, str(folder), *map(str, arguments)]
    out = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(out.stdout.rpartition("RESULT")[2])


def _fill_store(folder: Path, count: int) -> dict[str, int]:
    service = open_app(folder)
    service.tails.begin(*service.tails.sources)
    report = next(iter(service.tails.steps.values())).run_once()
    assert report.error is None, report
    database = service.database
    alert_count = min(count // 10, MOST_ALERTS)
    for start in range(0, alert_count, BATCH):
        numbers = range(start, min(start + BATCH, alert_count))
        with database.write() as connection:
            alerts.insert_new(connection, [(_alert(number), f"group {number}") for number in numbers])
            alerts.join(connection, [(_alert(number).id, number * 10 + 1, NOON) for number in numbers])
            sent = [make_delivery(_alert(number).id) for number in numbers]
            delivery_transitions.enqueue(connection, sent)
            delivery_transitions.sent(connection, "hook", "sender", {delivery.id: None for delivery in sent}, NOON)
    with database.write() as connection:
        for step in (positions.MATCHED, positions.CORRELATED):
            move_to(connection, step, records.newest_id(connection))
    service.close()
    return {"runs": 1}


def _alert(number: int) -> Alert:
    times = ("first_at", "last_at", "opened_at", "happened_at")
    return make_alert(f"alert-{number:06}", **dict.fromkeys(times, NOON + timedelta(seconds=number)))


def _poll(folder: Path) -> dict[str, int]:
    service = open_app(folder)
    service.tails.begin(*service.tails.sources)
    tail = next(iter(service.tails.steps.values()))
    requests = sum(tail.run_once().request_count for _ in range(POLLS))
    service.close()
    return {"runs": POLLS, "requests": requests}


def _scrape(folder: Path) -> dict[str, int]:
    database = Database(f"sqlite:///{folder / 'actionwatch.db'}")
    collector = StoreCollector(database, {"bench": timedelta(seconds=10)}, utc_now)
    for _ in range(POLLS):
        scrape(collector)
    database.close()
    return {"runs": POLLS}


def _match(folder: Path) -> dict[str, int]:
    service = open_app(folder)
    service.matcher.run_once()
    service.close()
    return {"runs": 1}


def _read_and_learn(folder: Path) -> dict[str, int]:
    service = open_app(folder)
    read_and_match(service)
    service.close()
    return {"runs": 1}


def _change(folder: Path) -> dict[str, int]:
    """Change a correlation that looks back for a day, and match."""
    file = folder / "rules" / "deletions_in_bulk.yml"
    file.write_text(file.read_text().replace("timespan: 10m", "timespan: 11m"))
    return _match(folder)


def _feed_again(folder: Path) -> dict[str, int]:
    database = Database(f"sqlite:///{folder / 'actionwatch.db'}")
    with database.write() as connection:
        connection.execute(tables.CORRELATION_VERSION.update().values(digest=None))
    database.close()
    return _match(folder)


def open_app(folder: Path) -> app.App:
    settings = configuration.read_settings(folder / "actionwatch.yaml")
    app.set_up_logs(settings)
    return app.App(settings)


def _spell(value: float | None, unit: str, digits: int) -> str:
    return " " * 12 if value is None else f"{value:>7.{digits}f} {unit:<6}"


if __name__ == "__main__":
    STEPS: Mapping[str, Callable[..., dict[str, int]]] = {
        "fill": _fill_store,
        "poll": _poll,
        "scrape": _scrape,
        "follow": _read_and_learn,
        "match": _match,
        "change": _change,
        "feed_again": _feed_again,
    }
    measure(lambda: STEPS[sys.argv[1]](Path(sys.argv[2]), *map(int, sys.argv[3:])))
