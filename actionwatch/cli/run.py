"""`run`: run the service, or a single round of it."""

from __future__ import annotations

import contextlib
import gc
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from actionwatch import __version__
from actionwatch.base.durations import spell_duration
from actionwatch.base.freed_memory import return_large_blocks
from actionwatch.base.model import Mode
from actionwatch.base.plurals import counted, is_or_are
from actionwatch.cli import COLLECTION, EXIT_FAILED
from actionwatch.cli.options import duration
from actionwatch.cli.output import console, echo, progress_bar, spell
from actionwatch.service.signals import ENDING, asked_by_signals
from actionwatch.text.times import spell_time

if TYPE_CHECKING:
    from datetime import datetime

    from rich.progress import TaskID

    from actionwatch.service.app import App
    from actionwatch.store.backlog_progress import Backlog
    from actionwatch.store.outbox import Queue, Waiting


@click.command()
@click.option("--once", is_flag=True, help="Poll each source once, match, deliver what is due, then stop. For cron.")
@click.option(
    "--wait",
    type=duration,
    default="0s",
    show_default=True,
    help="With --once: wait for retries that are due within this time.",
)
@click.pass_obj
def command(config: str, once: bool, wait: timedelta) -> int:
    """Run the service until SIGTERM or SIGINT, which stop it cleanly within 10 seconds.

    The service reloads changed rules, lists and templates within a second, and a changed configuration on SIGHUP. It does not
    start with a broken configuration (exit status 2). For a broken rule, it runs the last good version and raises an alert.

    With --once, exits with 1 if a step failed: a source could not be polled, a message that was due did not reach its receiver,
    or dead letters are left. Messages that are due later are listed, and are not a failure.

    On a terminal, prints in six lines what it watches, with the address of the console. The log shows only warnings there,
    unless log.level is set, because alerts can appear on the same screen.
    """
    gc.set_threshold(*COLLECTION)  # it runs long, and its memory counts
    return_large_blocks()
    if wait and not once:
        raise click.UsageError("--wait requires --once")
    if once:
        with asked_by_signals({signal.SIGHUP: "reload"}):  # ignore it: the next run reads everything again
            return _run_once(Path(config), wait)
    with asked_by_signals({**ENDING, signal.SIGHUP: "reload"}) as asked:
        from actionwatch.service import app, configuration, serve

        settings = configuration.read_settings(Path(config))
        app.set_up_logs(settings)
        serve.serve(Path(config), settings, asked, _Terminal() if sys.stdout.isatty() else None)
    return 0


class _Terminal:
    """The view of the service on a terminal. Elsewhere, the log has the same."""

    def started(self, app: App, url: str) -> None:
        """Print what the service does."""
        out = console()
        for line in _first_lines(app, url):
            out.print(spell(line), no_wrap=True, overflow="ellipsis", markup=False)
        out.print()

    def stopping(self) -> None:
        """Print what the end waits for."""
        echo("stopping: polls and messages that have begun end first, within 10 seconds")


def _first_lines(built: App, url: str) -> Iterator[str]:
    settings, rules = built.settings, built.rules
    watched = (f"{source.name} every {spell_duration(source.poll_interval)}" for source in settings.sources)
    yield f"actionwatch {__version__} watches {', '.join(watched)}"
    modes = Counter(rule.mode for rule in rules.rules)
    meanings = {Mode.LIVE: "live", Mode.SHADOW: "shadow (stored, not delivered)", Mode.OFF: "off"}
    counts = [f"{modes[mode]} {word}" for mode, word in meanings.items() if modes[mode] or mode is Mode.LIVE]
    if broken := {fault.file for fault in rules.faults}:
        counts.append(f"{counted(len(broken), 'broken file')}: 'actionwatch rules check' shows why")
    yield f"rules:  {', '.join(counts)}"
    receivers = (f"{receiver.name} ({receiver.type})" for receiver in settings.receivers)
    yield f"alerts: {', '.join(receivers) or 'no receivers: alerts are stored but not sent'}"
    yield f"page:   {url}/ shows whether everything is seen, and what needs attention"
    yield f"health: {url}/readyz; 'actionwatch status' shows progress"
    is_quiet = settings.log.level == "auto" and sys.stderr.isatty()
    yield f"stop:   Ctrl-C{'; the log shows only warnings here: log.level changes that' if is_quiet else ''}"


def _run_once(config: Path, wait: timedelta) -> int:
    from actionwatch.service import app, configuration, once, organisations
    from actionwatch.store import outbox

    settings = configuration.read_settings(config)
    app.set_up_logs(settings)
    with contextlib.closing(app.App(settings)) as built:
        organisations.refuse_other_organisations(settings, config, built.database)
        with showing_backlogs() as built.tails.on_backlog:
            done = once.run_once(built, wait)
        with built.database.read() as connection:
            queues, waiting = outbox.count_queues(connection), outbox.read_waiting(connection)
    failures = [*done.failures, *_undelivered(waiting, queues, done.due_until)]
    for failure in failures:
        echo(f"actionwatch: {failure}", err=True)
    for line in waiting:
        if not _is_late(line, done.due_until):
            echo(
                f"{line.receiver}: {counted(line.count, 'message')} not due yet, the next at {spell_time(line.due_at)}"
            )
    return EXIT_FAILED if failures else 0


def _undelivered(waiting: Sequence[Waiting], queues: Mapping[str, Queue], due_until: datetime) -> Iterator[str]:
    """Return a line for each receiver that did not get a message that was due."""
    for line in waiting:
        if _is_late(line, due_until):
            verb = is_or_are(line.count)
            retried = f"failed and {verb} retried at {spell_time(line.due_at)}"
            why = retried if line.has_failed else f"{verb} due and not sent"
            yield f"{line.receiver}: {counted(line.count, 'message')} {why}: 'actionwatch deliveries list' shows why"
    for name, queue in queues.items():
        if queue.dead:
            yield f"{name}: {counted(queue.dead, 'message')} given up: 'actionwatch deliveries retry' or 'drop' them"


def _is_late(line: Waiting, due_until: datetime) -> bool:
    return line.has_failed or line.due_at <= due_until


@contextlib.contextmanager
def showing_backlogs() -> Iterator[Callable[[Backlog], None]]:
    """Show a progress bar for each source that catches up, on a terminal but not in a pipe."""
    with progress_bar() as bar:
        tasks: dict[str, TaskID] = {}

        def show(backlog: Backlog) -> None:
            if bar is None:
                return
            if backlog.source not in tasks:
                tasks[backlog.source] = bar.add_task(backlog.source, total=1.0)
            what = f"{backlog.source}: {counted(backlog.record_count, 'record')}"
            bar.update(tasks[backlog.source], completed=backlog.share, description=what)

        yield show
