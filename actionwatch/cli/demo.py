"""`demo`: the whole of actionwatch on an emulated organisation; needs no account, no network, no configuration."""

from __future__ import annotations

import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from actionwatch.cli.output import Span, spell
from actionwatch.options import spell_duration

if TYPE_CHECKING:
    from rich.console import Console

    from actionwatch.app import App
    from actionwatch.model import Record
    from actionwatch.store.database import Database

STREAM_SECONDS = 0.25  # how often new records are printed
CONFIGURATION = """\
# What `actionwatch demo` ran with. The emulator it points at ended with the demo.
sources:
  - name: demo
    organisation_id: {organisation_id}
    username: {username}
    api_key: {api_key}
    base_url: {base_url}
    poll_interval: 1s
    start: 2d               # read and learned from, not alerted
rules: [rules/]
receivers:
  - name: screen
    console: {{}}
web: {{listen: "127.0.0.1:{port}"}}
log: {{level: warning, format: text}}
"""


@click.command()
@click.option(
    "--for", "duration", type=Span(), default="60s", show_default=True, help="How long; 0: until interrupted."
)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="For the web listener.  [default: a free one]")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same organisation.")
@click.option(
    "--keep", type=click.Path(file_okay=False, path_type=Path), help="Keep configuration, rules and store here."
)
def command(duration: timedelta, port: int, seed: int, keep: Path | None) -> None:
    """See it work: an emulated organisation, the real service, real alerts.

    Starts the upstream's stand-in on loopback, with people who work and incidents that happen, and runs the service on it with
    the shipped rules. Needs no account, no network and no configuration; ends with a summary.
    """
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with _folder(keep) as folder, _organisation(seed) as upstream:
        config = _write_configuration(folder, upstream, port)
        _play(config, upstream, duration, ended)
    if keep:
        click.echo(f"kept: {keep.resolve()} (actionwatch -c {keep / 'actionwatch.yaml'} alerts list)")


@dataclass(frozen=True, slots=True)
class _Upstream:
    """The emulator under way."""

    url: str
    organisation: Any
    user_name: str
    api_key: str


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="actionwatch-demo-") as folder:
        yield Path(folder)


@contextmanager
def _organisation(seed: int) -> Iterator[_Upstream]:
    import secrets

    from actionwatch import emulator

    life = emulator.bring_to_life(emulator.demo_scenario(datetime.now(UTC), seed))
    key = secrets.token_hex(16)
    app = emulator.create_app(life.organisation, api_key=key)
    with emulator.living(life), emulator.running(app) as url:
        yield _Upstream(url, life.organisation, emulator.DEMO_USER, key)


def _write_configuration(folder: Path, upstream: _Upstream, port: int) -> Path:
    from actionwatch.app import shipped

    shutil.copytree(shipped("rules"), folder / "rules", dirs_exist_ok=True)
    config = folder / "actionwatch.yaml"
    config.write_text(
        CONFIGURATION.format(
            organisation_id=upstream.organisation.id,
            username=upstream.user_name,
            api_key=upstream.api_key,
            base_url=upstream.url,
            port=port,
        )
    )
    config.chmod(0o600)
    return config


def _play(config: Path, upstream: _Upstream, duration: timedelta, ended: threading.Event) -> None:
    from actionwatch import app

    settings = app.read_settings(config)
    app.set_up_logs(settings)
    built = app.App(settings)
    out = _console()
    started = time.monotonic()
    try:
        service = app.Service(built)
        with service.running(), _streaming(built.database, out):
            _greet(out, upstream, built, service.url, duration)
            ended.wait(duration.total_seconds() or None)
        _summarise(out, built, time.monotonic() - started)
    finally:
        built.close()


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False)


def _greet(out: Console, upstream: _Upstream, built: App, url: str, duration: timedelta) -> None:
    from rich.rule import Rule

    length = f"for {spell_duration(duration)}" if duration else "until you press Ctrl-C"
    out.print(Rule("[bold]actionwatch demo[/]", style="dim"))
    out.print(
        f"An emulated organisation, [bold]{upstream.organisation.name}[/], lives at {upstream.url} {length}: an hour of its "
        f"working day takes 12 seconds.\nThe real service tails its audit log once a second, with {len(built.rules.rules)} "
        f"shipped rules. Health and metrics: {url}/metrics"
    )
    out.print("[dim]· a record as it is stored      a card: an alert as it is delivered[/]")
    out.print(Rule(style="dim"))


@contextmanager
def _streaming(database: Database, out: Console) -> Iterator[None]:
    """Print every live record as it is stored, until the block ends."""
    from actionwatch.store import records

    is_over = threading.Event()

    def stream() -> None:
        position = 0
        while not is_over.wait(STREAM_SECONDS):
            with database.read() as connection:
                batch = records.read_after(connection, position, 1000)
            position = batch[-1].id if batch else position
            for record in sorted(batch, key=lambda record: record.occurred_at):
                if not record.is_backlog:
                    out.print(_line(record), overflow="ellipsis", no_wrap=True)

    thread = threading.Thread(target=stream, name="stream", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _line(record: Record) -> Any:
    from rich.text import Text

    where = record.cluster.name or record.account.name or ""
    parts = (f"{record.occurred_at:%H:%M:%S}", f"{record.action_kind:<32}", f"{record.user_name or '':<22}", where)
    return Text("· " + "  ".join(spell(part) for part in parts), style="dim")


def _summarise(out: Console, built: App, seconds: float) -> None:
    from rich.panel import Panel
    from rich.table import Table

    from actionwatch.store import alerts, marks, outbox, records

    with built.database.read() as connection:
        seen = sum(records.count_by_source(connection).values())
        proved = [found.proved_through for found in marks.read_all(connection).values()]
        by_level = alerts.count_by_level(connection)
        queues = outbox.count_queues(connection)
        sent = outbox.count_sent(connection)
        times = outbox.delivered_latencies(connection, 10_000)
    lag = max((datetime.now(UTC) - at for at in proved), default=timedelta(0))
    levels = ", ".join(f"{count} {level.word}" for level, count in sorted(by_level.items(), reverse=True))
    waiting = sum(queue.pending for queue in queues.values())
    dead = sum(queue.dead for queue in queues.values())
    table = Table.grid(padding=(0, 2))
    table.add_row("records seen", f"{seen:,}, 2 days of history among them")
    table.add_row("proved", f"complete through {spell_duration(lag)} ago: as many as the upstream counts, kind by kind")
    table.add_row("alerts", f"{sum(by_level.values())} ({levels})" if by_level else "none")
    table.add_row("delivered", f"{sent} messages, {waiting} waiting, {dead} given up")
    table.add_row("latency", _spell_latency(times))
    out.print(Panel(table, title=f"[bold]{spell_duration(timedelta(seconds=seconds))} of actionwatch[/]", expand=False))
    out.print(
        "Next: [bold]actionwatch init[/], three values in its file, [bold]actionwatch check[/], [bold]actionwatch run[/]."
    )


def _spell_latency(times: list[tuple[datetime, datetime, datetime]]) -> str:
    if not times:
        return "no alert yet"
    seconds = sorted((delivered - happened).total_seconds() for happened, _, delivered in times)
    middle = seconds[len(seconds) // 2]
    return f"{middle:.2f} s from action to delivery in the middle, {seconds[-1]:.2f} s at most (polls: once a second)"
