"""`emulator`: run an emulator of the upstream on loopback."""

from __future__ import annotations

import os
from pathlib import Path

import click

from actionwatch.base.clock import utc_now
from actionwatch.base.plurals import counted
from actionwatch.cli.options import FILE, output_option
from actionwatch.cli.output import echo, print_items, print_table
from actionwatch.emulator.simulation import playing


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
@click.option("--list-faults", "is_list", is_flag=True, help="Print all faults and exit.")
@output_option
def command(
    port: int, scenario: Path | None, seed: int | None, faults: tuple[str, ...], is_list: bool, form: str
) -> None:
    """Run the upstream's API with all four operations and an active organisation. Stops on SIGINT or SIGTERM.

    Without --scenario, it uses that of the demo. It listens on loopback only; user and key are `demo` and `demo-key`. Write
    a fault as NAME[:ARGUMENT][,LIMIT…], such as rate_limited:5s,every=10. Limits are times, every, for, operation and seed.

    Its log is in memory. The next start has another one, so give the service a new store too: in the store of before, the
    records that it knows would count as deleted upstream.
    """
    if is_list:
        _list_faults(form)
        return
    from msgspec.structs import replace

    from actionwatch.emulator.app import DEMO_KEY, DEMO_USER, create_app
    from actionwatch.emulator.faults.fault import FaultError
    from actionwatch.emulator.scenario import ScenarioError, build_simulation, demo_scenario, load_scenario
    from actionwatch.emulator.server import serve_forever

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

    try:
        with playing(simulation):
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
