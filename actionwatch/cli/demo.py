"""`demo`: run the real service on an emulated organisation, without account, network or configuration."""

from __future__ import annotations

import functools
import os
import shutil
import socket
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from actionwatch.base.clock import utc_now
from actionwatch.base.durations import spell_duration
from actionwatch.base.model import Level, Record
from actionwatch.base.plurals import counted
from actionwatch.cli import demo_stream
from actionwatch.cli.init import FIRST, OWN_FILES
from actionwatch.cli.options import FOLDER, duration
from actionwatch.cli.output import console, echo, spell
from actionwatch.emulator.simulation import playing
from actionwatch.service.signals import ENDING, Asked, asked_by_signals
from actionwatch.text.times import common_zone, spell_time

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from actionwatch.emulator.fleet import Member
    from actionwatch.service.app import App

_ROOMY = 96  # from this width on, the columns of all records are aligned
_PIPE_WIDTH = 100
_CONFIGURATION = """\
# The configuration of `actionwatch demo`. Its emulator stopped with the demo.
{sources}\
rules: [rules/]
receivers:
  - name: screen
    console: {{}}
time_intervals:
  - name: business-hours
    time_intervals:
      - {{weekdays: ["monday:friday"], times: [{{start_time: "08:00", end_time: "18:00"}}], location: {time_zone}}}
web: {{listen: "127.0.0.1:{port}", url: "http://127.0.0.1:{port}"}}
log: {{level: warning, format: text}}
"""

_ONE_SOURCE = """\
sources:
  - name: {name}
    organisation_id: {organisation_id}
    username: {username}
    api_key: {api_key}
    base_url: {base_url}
    poll_interval: 1s
    start: 2d               # stored and used by rules, without alerts
"""
_MANY_SOURCES = """\
sources:
  folder: sources/          # a file for each source
  defaults:
    username: {username}
    base_url: {base_url}
    poll_interval: 5s
    start: 2d               # stored and used by rules, without alerts
"""
_SOURCE = """\
organisation_id: {organisation_id}
api_key: {api_key}
labels: {{customer: {customer}, tier: {tier}}}
"""
_EVERY = timedelta(seconds=30)  # an action in each of many organisations
_UNUSUAL_IN = 20  # so that alerts of several customers come within a minute


@click.command()
@click.option(
    "--for", "duration", type=duration, default="60s", show_default=True, help="How long to run; 0: until interrupted."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    help="Port of the console, health and metrics.  [default: a free port]",
)
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same organisation.")
@click.option("--keep", metavar="DIR", type=FOLDER, help="Keep the configuration, rules and store in this folder.")
@click.option(
    "--stream",
    type=click.Choice(demo_stream.TYPES),
    help="Also send every record to a broker on this machine, and show what arrives there: docs/streams.md.",
)
@click.option(
    "--organisations",
    "count",
    type=click.IntRange(1, 1000),
    default=1,
    help="Watch so many organisations of several customers: a source with labels for each.  [default: 1]",
)
def command(duration: timedelta, port: int, seed: int, keep: Path | None, stream: str | None, count: int) -> None:
    """Run the real service on an emulated organisation and print real alerts.

    Starts an emulator of the upstream on loopback, with users at work and incidents, and runs the service against it with the
    shipped rules. Needs no account, no network and no configuration. Ends with a summary.
    """
    port = _free_port(port)
    with asked_by_signals(ENDING) as ended, _folder(keep) as folder, _emulator(seed, count) as upstream:
        config = _write_configuration(folder, upstream, port, stream)
        _play(config, upstream.organisations, duration, ended)
    if keep:
        listing = " ".join(("actionwatch", "-c", spell(keep / "actionwatch.yaml"), "alerts", "list"))
        echo(f"Kept in {spell(keep)}: try `{listing}`.")


def _free_port(port: int) -> int:
    """Return this port, or a free one for 0: cards link to it, so that the configuration needs it.

    Report one in use before the start: the service's own error refers to a configuration that the user did not write.
    """
    try:
        with socket.create_server(("127.0.0.1", port)) as found:
            return int(found.getsockname()[1])
    except OSError as exc:
        raise click.ClickException(
            f"cannot listen on 127.0.0.1:{port}: {os.strerror(exc.errno or 0)}: choose another --port"
        ) from exc


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="actionwatch-demo-") as folder:
            yield Path(folder)
        return
    try:
        keep.mkdir(parents=True, exist_ok=True)
        is_empty = not any(keep.iterdir())
    except OSError as exc:
        raise click.ClickException(f"cannot write to {keep}: {exc.strerror}") from exc
    if not is_empty:
        # It may contain a configuration, or the store of an earlier demo with marks of another upstream.
        raise click.UsageError(f"{keep} is not empty: name an empty or a new folder")
    yield keep


@dataclass(frozen=True, slots=True)
class _Upstream:
    """The emulated organisations: the first has people at work and incidents."""

    members: Sequence[Member]
    base_url: str

    @property
    def organisations(self) -> str:
        """The organisations, for people."""
        first, *others = self.members
        name = f"An emulated organisation, [bold]{first.organisation.name}[/]"
        return f"{name}, and {counted(len(others), 'other')}, run" if others else f"{name}, runs"

    def sources(self, folder: Path) -> str:
        """Return the section `sources`. Of many, write each into a file."""
        keys = [
            {
                "name": member.name,
                "organisation_id": member.organisation.id,
                "username": member.user_name,
                "api_key": member.api_key,
                "base_url": self.base_url,
                "customer": member.customer,
                "tier": member.tier,
            }
            for member in self.members
        ]
        if len(keys) == 1:
            return _ONE_SOURCE.format(**keys[0])
        (folder / "sources").mkdir()
        for each in keys:
            path = folder / "sources" / f"{each['name']}.yml"
            path.touch(mode=0o600)
            path.write_text(_SOURCE.format(**each))
        return _MANY_SOURCES.format(**keys[0])


@contextmanager
def _emulator(seed: int, count: int) -> Iterator[_Upstream]:
    import secrets

    from actionwatch.emulator.app import DEMO_USER, create_app
    from actionwatch.emulator.fleet import Member, create_fleet
    from actionwatch.emulator.scenario import build_simulation, demo_scenario
    from actionwatch.emulator.server import running

    simulation = build_simulation(demo_scenario(utc_now(), seed))
    key = secrets.token_hex(16)
    first = Member(simulation.organisation, "demo", DEMO_USER, key, "demo", "gold")
    others = create_fleet(count - 1, _EVERY, seed=seed, unusual_in=_UNUSUAL_IN)
    with playing(simulation), running(create_app(first.organisation, api_key=key, others=others)) as url:
        yield _Upstream([first, *others], url)


def _write_configuration(folder: Path, upstream: _Upstream, port: int, stream: str | None) -> Path:
    """Write the configuration and the rules. Inhibition is that of `init`, so that a deletion is one card here too."""
    import yaml

    from actionwatch.service.configuration import shipped

    first = yaml.safe_load((OWN_FILES / FIRST).read_text(encoding="utf-8"))
    inhibition = yaml.safe_dump({"inhibit_rules": first["inhibit_rules"]}, sort_keys=False)
    shutil.copytree(shipped("rules"), folder / "rules", dirs_exist_ok=True)
    config = folder / FIRST
    config.touch(mode=0o600)
    streams = demo_stream.configuration_of(stream, utc_now()) if stream else ""
    zone = upstream.members[0].organisation.time_zone
    text = _CONFIGURATION.format(port=port, time_zone=zone, sources=upstream.sources(folder))
    config.write_text(text + inhibition + streams)
    return config


def _play(config: Path, organisations: str, duration: timedelta, ended: Asked) -> None:
    from actionwatch.service import app, configuration, service

    settings = configuration.read_settings(config)
    app.set_up_logs(settings)
    out = console(_PIPE_WIDTH)
    with closing(_streaming_app(settings, out, ended)) as built:
        started = time.monotonic()
        # Its organisation is emulated.
        running = service.Service(built, on_death=ended.ask, open_to_actions=True)
        consuming = demo_stream.consuming(functools.partial(_show_arrival, out)) if settings.streams else nullcontext()
        with consuming, running.running():
            _greet(out, organisations, built, running.url, duration)
            ended.wait(duration.total_seconds() or None)
            running.threads.check()
        _summarise(out, built, time.monotonic() - started)


def _streaming_app(settings: Any, out: Console, ended: Asked) -> App:
    """Build the service's App so that each record is printed when it is stored, before its alerts."""
    from actionwatch.service import app
    from actionwatch.store import records

    built = app.App(settings)
    lock = threading.Lock()
    printed_through = 0

    def print_stored() -> None:
        nonlocal printed_through
        with lock, built.database.read() as connection:
            batch = records.read_after(connection, printed_through, 100_000)
            printed_through = batch[-1].id if batch else printed_through
        live = sorted((record for record in batch if not record.is_backlog), key=lambda record: record.occurred_at)
        try:
            for record in live:
                out.print(_line(record, out.width), overflow="ellipsis", no_wrap=True)
        except OSError:
            ended.ask()  # the reader of the output is gone
        built.record_signal.set()

    built.tails.on_stored = print_stored
    return built


def _show_arrival(out: Console, text: str) -> None:
    out.print(f"» {text}", style="cyan", overflow="ellipsis", no_wrap=True)


def _line(record: Record, width: int) -> Text:
    from rich.text import Text

    where = record.cluster.name or record.account.name or ""
    at, kind, user = f"{record.occurred_at.astimezone():%H:%M:%S}", spell(record.action_kind), spell(record.user_name)
    parts = (at, f"{kind:<30}", f"{user:<22}", where) if width >= _ROOMY else (at, f"{kind:<26}", f"{user:<17}", where)
    gap = "  " if width >= _ROOMY else " "
    return Text("· " + gap.join(spell(part) for part in parts), style="dim")


def _greet(out: Console, organisations: str, built: App, url: str, duration: timedelta) -> None:
    from rich.rule import Rule

    sources = built.settings.sources
    length = f"for {spell_duration(duration)} (Ctrl-C stops it)" if duration else "until you press Ctrl-C"
    out.print(Rule("[bold]actionwatch demo[/]", style="dim"))
    out.print(
        f"{organisations} at {sources[0].base_url} {length}.\n"
        "An hour of its working day takes 12 seconds. The real service tails "
        f"{'its audit log' if len(sources) == 1 else 'the audit logs'} {_often(built)}, with "
        f"{counted(len(built.rules.rules), 'shipped rule')}.\n"
        f"[bold]Open {url}/ in a browser[/] to see the same on a page. Health and metrics: {url}/readyz and /metrics\n"
        f"{_spell_hours(built, utc_now())}"
    )
    out.print(
        f"[dim]·[/] a record when it is stored (times in {common_zone([utc_now()])})    [dim]▌[/] an alert when it is delivered"
    )
    out.print(Rule(style="dim"))


def _often(built: App) -> str:
    interval = built.settings.sources[0].poll_interval
    return "once a second" if interval == timedelta(seconds=1) else f"every {spell_duration(interval)}"


def _spell_hours(built: App, now: datetime) -> str:
    """Say whose hours "outside business hours" is about. The head office is where it is night at the start of the demo."""
    (interval,) = built.settings.time_intervals
    zone = interval.interval.periods[0].location
    hours = f"Business hours are those of its head office ({zone}): Monday to Friday, 08:00 to 18:00"
    return f"{hours}. It is {now.astimezone(zone):%A, %H:%M} there: the office is closed."


def _summarise(out: Console, built: App, seconds: float) -> None:
    from rich.panel import Panel
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for name, value in _facts(built):
        table.add_row(name, value)
    out.print(Panel(table, title=f"[bold]{spell_duration(timedelta(seconds=seconds))} of actionwatch[/]", expand=False))
    out.print(
        "More of the demo: [bold]--for 0[/] runs until Ctrl-C, [bold]--keep DIR[/] keeps its store for the other commands.\n"
        "Next: [bold]actionwatch init[/], three environment variables, [bold]actionwatch check[/], [bold]actionwatch run[/]."
    )


def _facts(built: App) -> Iterator[tuple[str, str]]:
    """Return the lines of the summary, read from the store."""
    from actionwatch.store import alerts, marks, outbox, record_counts, self_alerts

    with built.database.read() as connection:
        seen = sum(record_counts.count_by_source(connection).values())
        proved = [found.proved_through for found in marks.read_all(connection).values()]
        matched = record_counts.count_joined(connection)
        by_level: Counter[Level] = Counter()
        for (level, _), count in alerts.count(connection).items():
            by_level[level] += count
        queues = outbox.count_queues(connection).values()
        sent = outbox.count_sent(connection)
        times = outbox.delivered_latencies(connection, 10_000)
        wrong = self_alerts.read_all(connection)
    yield "seen", f"{counted(seen, 'record')}, including two days of history"
    yield "proved", _spell_proof(proved)
    levels = ", ".join(f"{count} {level.word}" for level, count in sorted(by_level.items(), reverse=True))
    count = sum(by_level.values())
    made = f"{counted(matched, 'record')} made {counted(count, 'alert')}"
    yield (
        "matched",
        f"{made} ({levels})" if by_level else "no record matched a rule yet: the first incident follows within seconds",
    )
    waiting, dead = sum(queue.pending for queue in queues), sum(queue.dead for queue in queues)
    yield "delivered", f"{counted(sent, 'message')}, {waiting} waiting, {dead} given up"
    yield "latency", _spell_latency(times, _often(built))
    for trouble in wrong:
        yield "trouble", f"{trouble.trouble}: {trouble.subject}: {trouble.what}"


def _spell_proof(proved: list[datetime]) -> str:
    if not proved:
        return "nothing yet: the first poll is not complete"
    return f"complete through {spell_time(min(proved), form='%H:%M:%S')}: the upstream counts the same, kind by kind"


def _spell_latency(times: list[tuple[datetime, datetime, datetime]], often: str) -> str:
    if not times:
        return "no alert was delivered yet"
    seconds = sorted((delivered - happened).total_seconds() for happened, _, delivered in times)
    middle = seconds[len(seconds) // 2]
    return f"median {middle:.2f} s from action to delivery, {seconds[-1]:.2f} s at most, polling {often}"
