"""`emulator`: run an emulator of the upstream on loopback."""

from __future__ import annotations

from pathlib import Path

import click

from actionwatch.base.clock import utc_now
from actionwatch.cli.output import print_table


@click.command()
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8090, show_default=True, help="Port to listen on; 0: a free port."
)
@click.option(
    "--scenario",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The YAML file that describes what happens.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same organisation.")
@click.option(
    "--fault", "faults", metavar="FAULT", multiple=True, help="A fault that is active from the start (repeatable)."
)
@click.option("--list-faults", "is_list", is_flag=True, help="Print all faults and exit.")
def command(port: int, scenario: Path | None, seed: int, faults: tuple[str, ...], is_list: bool) -> None:
    """Run the upstream's API with all four operations and an active organisation. Stops on SIGINT or SIGTERM.

    Without a scenario, it uses the one of the demo. It listens on loopback only; user and key are `demo` and `demo-key`. Write
    a fault as NAME[:ARGUMENT][,LIMIT…], such as rate_limited:5s,every=10. Limits are times, every, for, operation and seed.
    """
    from actionwatch import emulator

    if is_list:
        _list_faults()
        return
    try:
        chosen = emulator.load_scenario(scenario) if scenario else emulator.demo_scenario(utc_now(), seed)
        life = emulator.bring_to_life(chosen)
        app = emulator.create_app(life.organisation, faults=faults)
    except (emulator.ScenarioError, emulator.FaultError) as exc:
        raise click.UsageError(str(exc)) from exc
    organisation = life.organisation

    def announce(url: str) -> None:
        click.echo(f"base_url: {url}")
        click.echo(f"organisation_id: {organisation.id}")
        click.echo(f"username: {emulator.DEMO_USER}")
        click.echo(f"api_key: {emulator.DEMO_KEY}")
        click.echo(f"ready: {len(organisation)} actions so far; Ctrl-C stops it")

    try:
        with emulator.living(life):
            emulator.serve_forever(app, port=port, announce=announce)
    except OSError as exc:
        raise click.ClickException(f"cannot listen on 127.0.0.1:{port}: {exc.strerror}: choose another --port") from exc


def _list_faults() -> None:
    from actionwatch import emulator

    rows = [(name, does, argument) for name, argument, does, _ in emulator.described()]
    print_table(("fault", "what it does", "argument"), rows, cut=("what it does", "argument"), is_wrapped=True)
