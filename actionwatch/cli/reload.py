"""`reload`: make the running service load its files and its configuration, and wait for the result."""

from __future__ import annotations

import os
import signal
import time
from contextlib import closing
from typing import TYPE_CHECKING

import click

from actionwatch.base.plurals import counted
from actionwatch.cli import EXIT_FAILED
from actionwatch.cli.context import read_settings
from actionwatch.cli.options import output_option
from actionwatch.cli.output import echo, print_document

if TYPE_CHECKING:
    from actionwatch.service.announcement import Reloaded, RunningService
    from actionwatch.store.database import StoreReader

_WAIT_SECONDS = 120.0  # the service stops within 10 s and starts within some; a large store takes longer to match
LOOK_SECONDS = 0.1


@click.command()
@output_option
@click.pass_obj
def command(config: str, form: str) -> int:
    """Make the running service load rules, lists, templates, silences and the configuration, and print what changed.

    Waits until the service has loaded them. Exits with 1 if the service refused the configuration, or a file is broken: then
    the previous version stays in use. A broken configuration is reported with exit status 2, and the service is not contacted.
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
    """Ask the services of this machine that run on a store, and wait until a reload of each ends that began after this."""
    from actionwatch.service.announcement import Reloaded, process_space, read_announcements

    services = read_announcements(store.peers.roster())
    if not services:
        starts = "the service is starting or 'run --once' works on it: try again"
        runs = "'actionwatch run' starts one. If you changed store.url, restart the service"
        raise click.ClickException(
            f"the store {store.name} is busy, but {starts}"
            if store.is_owned()
            else f"no service is running on the store {store.name}: {runs}"
        )
    here = [service for service in services if service.process_space == process_space()]
    if not here:
        raise click.ClickException(
            "the service runs in another container or on another machine: run this command there, or send it SIGHUP"
        )
    for service in here:
        _signal(service, signal.SIGHUP)
    results = [_wait(store, service) for service in here]
    lines = [line for result in results for line in result.lines]
    if elsewhere := len(services) - len(here):
        lines.append(
            f"{counted(elsewhere, 'replica')} on other machines or in other containers: run this command there too"
        )
    return Reloaded(
        0, tuple(dict.fromkeys(lines)), tuple(dict.fromkeys(fault for each in results for fault in each.faults))
    )


def _wait(store: StoreReader, service: RunningService) -> Reloaded:
    """Wait until a reload of a service ends that began after it wrote this note."""
    from actionwatch.service.announcement import read_announcements

    deadline = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < deadline:
        found = next((each for each in read_announcements(store.peers.roster()) if each.is_same(service)), None)
        if found is not None and found.last.number > service.reloads_begun:
            return found.last
        if found is None:  # it restarts with the new configuration, or it ended
            _signal(service, 0)
        time.sleep(LOOK_SECONDS)
    raise click.ClickException(f"the service did not finish reloading within {_WAIT_SECONDS:g} s: see its log")


def _signal(service: RunningService, number: int) -> None:
    """Send a signal to the service; 0 only checks that it lives."""
    try:
        os.kill(service.process, number)
    except ProcessLookupError as exc:
        raise click.ClickException("the service ended before it finished reloading: see its log") from exc
    except PermissionError as exc:
        what = f"the service belongs to another user (process {service.process})"
        raise click.ClickException(f"{what}: run this command as that user, or as root") from exc
