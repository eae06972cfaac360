"""`emulator`: run an emulator of the upstream on loopback."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from actionwatch.base.clock import utc_now
from actionwatch.base.plurals import counted
from actionwatch.cli.options import FILE, NEW_FILE, output_option
from actionwatch.cli.output import echo, print_items, print_table, spell
from actionwatch.emulator.fleet import Member, create_fleet, sources_of
from actionwatch.emulator.simulation import playing

if TYPE_CHECKING:
    from starlette.types import ASGIApp

_MINUTE = timedelta(minutes=1)
_HEAD = "# Written by `actionwatch emulator --write-sources`, which replaces this file.\n"


def rate(value: str) -> timedelta:
    """Parse a rate such as 1/m. Return the time between two actions. `--help` shows the name of this function."""
    from actionwatch.settings.validators import parse_rate

    try:
        return timedelta(seconds=1 / (parse_rate(value) or 1))
    except (ValueError, OverflowError) as exc:
        raise click.BadParameter(f"{value!r} is {exc}") from exc


@click.command()
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8090, show_default=True, help="Port to listen on; 0: a free port."
)
@click.option("--scenario", type=FILE, help="The YAML file that describes what happens.")
@click.option(
    "--seed", type=int, help="The same seed gives the same organisation.  [default: 1, or that of the scenario]"
)
@click.option(
    "--fault",
    "faults",
    metavar="FAULT",
    multiple=True,
    help="A fault that is active from the start, besides those of the scenario (repeatable).",
)
@click.option(
    "--organisations",
    "count",
    type=click.IntRange(1, 100_000),
    help="Serve so many small organisations, each with its own key, instead of an active one.",
)
@click.option("--rate", "every", type=rate, help="The actions of each of them: 1/m, 10/h.  [default: 1/m]")
@click.option(
    "--write-sources", "sources", metavar="FILE", type=NEW_FILE, help="Write them as a file for `sources: {file: …}`."
)
@click.option("--list-faults", "is_list", is_flag=True, help="Print all faults and exit.")
@output_option
def command(
    port: int,
    scenario: Path | None,
    seed: int | None,
    faults: tuple[str, ...],
    count: int | None,
    every: timedelta | None,
    sources: Path | None,
    is_list: bool,
    form: str,
) -> None:
    """Run the upstream's API with all four operations and an active organisation. Stops on SIGINT or SIGTERM.

    Without --scenario, it uses that of the demo. It listens on loopback only; user and key are `demo` and `demo-key`. Write
    a fault as NAME[:ARGUMENT][,LIMIT…], such as rate_limited:5s,every=10. Limits are times, every, for, operation and seed.

    Its log is in memory. The next start has another one, so give the service a new store too: in the store of before, the
    records that it knows would count as deleted upstream.

    With --organisations, they do routine actions at a steady rate, and faults apply to all of them. The same seed gives the
    same organisations and keys.
    """
    if is_list:
        _list_faults(form)
    elif count is None and (every or sources):
        raise click.UsageError("--rate and --write-sources are about --organisations: add it")
    elif count is None:
        _run_organisation(port, scenario, seed, faults)
    elif scenario:
        raise click.UsageError("--organisations follow no scenario: use one of the two")
    else:
        _run_fleet(port, create_fleet(count, every or _MINUTE, seed=1 if seed is None else seed), faults, sources)


def _run_organisation(port: int, scenario: Path | None, seed: int | None, faults: tuple[str, ...]) -> None:
    from msgspec.structs import replace

    from actionwatch.emulator.app import DEMO_KEY, DEMO_USER, create_app
    from actionwatch.emulator.faults.fault import FaultError
    from actionwatch.emulator.scenario import ScenarioError, build_simulation, demo_scenario, load_scenario

    try:
        plan = load_scenario(scenario) if scenario else demo_scenario(utc_now())
        simulation = build_simulation(plan if seed is None else replace(plan, seed=seed))
        app = create_app(simulation.organisation, faults=(*plan.faults, *faults))
    except (ScenarioError, FaultError) as exc:
        raise click.UsageError(str(exc)) from exc
    organisation = simulation.organisation

    def announce(url: str) -> None:
        echo(f"base_url: {url}")
        echo(f"organisation_id: {organisation.id}")
        echo(f"username: {DEMO_USER}")
        echo(f"api_key: {DEMO_KEY}")
        echo(f"ready: {counted(len(organisation), 'action')} so far, in memory; Ctrl-C stops it")

    with playing(simulation):
        _serve(app, port, announce)


def _run_fleet(port: int, members: list[Member], faults: tuple[str, ...], sources: Path | None) -> None:
    from actionwatch.emulator.app import create_app
    from actionwatch.emulator.faults.fault import FaultError

    first, *others = members
    try:
        app = create_app(
            first.organisation, user_name=first.user_name, api_key=first.api_key, faults=faults, others=others
        )
    except FaultError as exc:
        raise click.UsageError(str(exc)) from exc
    if sources is not None:
        _check_replaceable(sources)

    def announce(url: str) -> None:
        echo(f"base_url: {url}")
        if sources is not None:
            sources.touch(mode=0o600)
            sources.write_text(_HEAD + sources_of(members, url))
            echo(f"sources: {spell(sources)}")
        else:
            echo(sources_of(members, url).rstrip())
        echo(f"ready: {counted(len(members), 'organisation')}, in memory; Ctrl-C stops it")

    _serve(app, port, announce)


def _check_replaceable(path: Path) -> None:
    """Refuse a file that this command did not write: it may hold real keys."""
    try:
        if path.exists() and not path.read_text(encoding="utf-8", errors="replace").startswith(_HEAD):
            raise click.UsageError(f"{path} is not a file that this command wrote: name another one")
    except OSError as exc:
        raise click.ClickException(f"cannot write to {path}: {exc.strerror}") from exc


def _serve(app: ASGIApp, port: int, announce: Callable[[str], None]) -> None:
    from actionwatch.emulator.server import serve_forever

    try:
        serve_forever(app, port=port, announce=announce)
    except OSError as exc:
        reason = os.strerror(exc.errno or 0)
        raise click.ClickException(f"cannot listen on 127.0.0.1:{port}: {reason}: choose another --port") from exc


def _list_faults(form: str) -> None:
    from actionwatch.emulator.faults.fault import described

    rows = [(name, does, argument) for name, argument, does, _ in described()]
    if form == "table":
        print_table(("fault", "what it does", "argument"), rows, cut=("what it does", "argument"), is_wrapped=True)
    else:
        print_items(rows, form, document=lambda row: {"fault": row[0], "does": row[1], "argument": row[2]})
