"""`emulator`: the upstream's stand-in, on loopback."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8090, show_default=True, help="0: a free one.")
@click.option("--scenario", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="What happens, as YAML.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same organisation.")
def command(port: int, scenario: Path | None, seed: int) -> None:
    """Run the upstream's API, all four operations, over an organisation that lives. Ends with SIGINT or SIGTERM.

    Without a scenario it plays the demo's. It listens on loopback only; user and key are `demo` and `demo-key`.
    """
    from actionwatch import emulator

    try:
        chosen = emulator.load_scenario(scenario) if scenario else emulator.demo_scenario(datetime.now(UTC), seed)
    except emulator.ScenarioError as exc:
        raise click.UsageError(str(exc)) from exc
    life = emulator.bring_to_life(chosen)
    organisation = life.organisation

    def announce(url: str) -> None:
        click.echo(f"base_url: {url}")
        click.echo(f"organisation_id: {organisation.id}")
        click.echo(f"username: {emulator.DEMO_USER}")
        click.echo(f"api_key: {emulator.DEMO_KEY}")
        click.echo(f"ready: {len(organisation)} actions so far; Ctrl-C ends it")

    with emulator.living(life):
        emulator.serve_forever(emulator.create_app(organisation), port=port, announce=announce)
