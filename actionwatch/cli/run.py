"""`run`: the service, or one round of it."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from actionwatch.cli import EXIT_FAILED
from actionwatch.cli.output import Span
from actionwatch.service.signals import ENDING, asked_by_signals

if TYPE_CHECKING:
    from rich.progress import TaskID

    from actionwatch.service.app import App
    from actionwatch.store.backlog_progress import Backlog


@click.command()
@click.option("--once", is_flag=True, help="Poll each source once, match, deliver what is due, then stop: for cron.")
@click.option(
    "--wait", type=Span(), default="0s", show_default=True, help="With --once: wait for retries due within this."
)
@click.pass_obj
def command(config: str, once: bool, wait: timedelta) -> int:
    """Run the service until SIGTERM or SIGINT, which end it cleanly within 10 seconds.

    Changed rules, lists and templates are taken up within a second, a changed configuration on SIGHUP. A broken
    configuration stops it from starting (exit 2), a broken rule goes on as it ran last; an alert says so.
    With --once, exit 1 when a source could not be polled or messages are left undelivered.
    """
    if wait and not once:
        raise click.UsageError("--wait goes with --once")
    if once:
        with asked_by_signals({signal.SIGHUP: "reload"}):  # it ends by itself, and reads everything anew the next time
            return _run_once(Path(config), wait)
    with asked_by_signals({**ENDING, signal.SIGHUP: "reload"}) as asked:
        from actionwatch.service import app, configuration, service

        settings = configuration.read_settings(Path(config))
        app.set_up_logs(settings)
        service.serve(Path(config), settings, asked)
    return 0


def _run_once(config: Path, wait: timedelta) -> int:
    from actionwatch.service import app, configuration

    settings = configuration.read_settings(config)
    app.set_up_logs(settings)
    with contextlib.closing(app.App(settings)) as built:
        return _round(built, wait)


def _round(built: App, wait: timedelta) -> int:
    from actionwatch.service import service
    from actionwatch.store import outbox

    with showing_backlogs() as built.on_backlog:
        reports = service.run_once(built, wait)
    with built.database.read() as connection:
        queues = outbox.count_queues(connection)
    waiting, dead = (sum(getattr(queue, name) for queue in queues.values()) for name in ("pending", "dead"))
    for report in reports:
        if report.error:
            click.echo(f"actionwatch: {report.error}", err=True)
    if waiting or dead:
        click.echo(f"actionwatch: {_left(waiting, dead)}: 'actionwatch deliveries list' shows them", err=True)
    return EXIT_FAILED if waiting or dead or any(report.error for report in reports) else 0


@contextlib.contextmanager
def showing_backlogs() -> Iterator[Callable[[Backlog], None]]:
    """Show a progress bar for each source that catches up, on a terminal; none in a pipe."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, TaskID] = {}

        def show(backlog: Backlog) -> None:
            if backlog.source not in tasks:
                tasks[backlog.source] = bar.add_task(backlog.source, total=1.0)
            what = f"{backlog.source}: {backlog.record_count:,} records"
            bar.update(tasks[backlog.source], completed=backlog.share, description=what)

        yield show


def _left(waiting: int, dead: int) -> str:
    parts = [f"{waiting} waiting"] if waiting else []
    parts += [f"{dead} given up"] if dead else []
    return f"messages not delivered: {', '.join(parts)}"
