"""`reload`: make the running service load its files and its configuration, and wait for the result."""

from __future__ import annotations

import os
import signal
import time
from contextlib import closing
from typing import TYPE_CHECKING

import click

from actionwatch.cli import EXIT_FAILED
from actionwatch.cli.context import read_settings
from actionwatch.cli.options import output_option
from actionwatch.cli.output import echo, print_document

if TYPE_CHECKING:
    from actionwatch.service.announcement import Reloaded, RunningService
    from actionwatch.store.database import StoreReader

WAIT_SECONDS = 120.0  # the service stops within 10 s and starts within some; a large store takes longer to match
LOOK_SECONDS = 0.1


@click.command()
@output_option
@click.pass_obj
def command(config: str, form: str) -> int:
    """Make the running service load rules, lists, templates, silences and the configuration, and print what changed.

    Waits until the service has loaded them. Exits with 1 if the service refused the configuration, or a file is broken: then
    the previous version stays in use. A broken configuration is reported with exit status 2, before the service is asked.
    """
    from actionwatch.store.database import StoreReader

    settings = read_settings(config)
    with closing(StoreReader.open(settings.store.url)) as store:
        result = _reload(store)
    document = {"changes": list(result.lines), "faults": list(result.faults)}
    print_document(document, form, as_text=lambda: _print(result))
    return EXIT_FAILED if result.faults else 0


def _print(result: Reloaded) -> None:
    for line in result.lines:
        echo(line)
    for fault in result.faults:
        echo(fault, err=True)


def _reload(store: StoreReader) -> Reloaded:
    """Ask the service that runs on a store, and wait until a reload ends that began after this."""
    from actionwatch.service.announcement import process_space, read_announcement

    service = read_announcement(store.read_note())
    if service is None:
        starts = "the service is starting or 'run --once' works on it: try again"
        runs = "'actionwatch run' starts one. If you changed store.url, restart the service"
        raise click.ClickException(
            f"the store {store.path} is busy, but {starts}"
            if store.is_owned()
            else f"no service is running on the store {store.path}: {runs}"
        )
    if service.process_space != process_space():
        raise click.ClickException("the service runs in another container: run this command there, or send it SIGHUP")
    _signal(service, signal.SIGHUP)
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        found = read_announcement(store.read_note())
        if found is not None and found.last.number > service.reloads_begun:
            return found.last
        if found is None:  # it restarts with the new configuration, or it ended
            _signal(service, 0)
        time.sleep(LOOK_SECONDS)
    raise click.ClickException(f"the service did not finish reloading within {WAIT_SECONDS:g} s: see its log")


def _signal(service: RunningService, number: int) -> None:
    """Send a signal to the service; 0 only checks that it lives."""
    try:
        os.kill(service.process, number)
    except ProcessLookupError as exc:
        raise click.ClickException("the service ended before it finished reloading: see its log") from exc
    except PermissionError as exc:
        what = f"the service belongs to another user (process {service.process})"
        raise click.ClickException(f"{what}: run this command as that user, or as root") from exc
