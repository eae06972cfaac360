"""`run`: the service, or one round of it."""

from __future__ import annotations

import signal
import threading
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from actionwatch.cli import EXIT_FAILED
from actionwatch.cli.output import Span

if TYPE_CHECKING:
    from actionwatch.app import App


@click.command()
@click.option("--once", is_flag=True, help="Poll each source once, match, deliver what is due, then stop: for cron.")
@click.option(
    "--wait", type=Span(), default="0s", show_default=True, help="With --once: wait for retries due within this."
)
@click.pass_obj
def command(config: str, once: bool, wait: timedelta) -> int:
    """Run the service until SIGTERM or SIGINT, which end it cleanly within 10 seconds.

    A broken configuration stops it from starting (exit 2); a broken rule turns off that rule alone, and an alert says so. With
    --once, exit 1 when a source could not be polled or messages are left undelivered.
    """
    from actionwatch import app

    settings = app.read_settings(Path(config))
    app.set_up_logs(settings)
    built = app.App(settings)
    try:
        return _round(built, wait) if once else _serve(built)
    finally:
        built.close()


def _round(built: App, wait: timedelta) -> int:
    from actionwatch import app
    from actionwatch.store import outbox

    reports = app.run_once(built, wait)
    with built.database.read() as connection:
        waiting = sum(queue.pending + queue.dead for queue in outbox.count_queues(connection).values())
    for report in reports:
        if report.error:
            click.echo(f"actionwatch: {report.error}", err=True)
    return EXIT_FAILED if waiting or any(report.error for report in reports) else 0


def _serve(built: App) -> int:
    from actionwatch.app import Service

    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with Service(built).running():
        ended.wait()
    return 0
