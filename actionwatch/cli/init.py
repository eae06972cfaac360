"""`init`: a folder to start from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click


@click.command()
@click.argument("folder", metavar="[DIR]", type=click.Path(file_okay=False, path_type=Path), default=Path())
def command(folder: Path) -> None:
    """Write a commented configuration, the shipped rules, and compose and systemd examples. Never overwrites."""
    written = skipped = 0
    for source, name in _files():
        target = folder / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:  # x: never overwrite
                file.write(source.read_bytes())
        except FileExistsError:
            click.echo(f"kept     {target} (was there)")
            skipped += 1
            continue
        except OSError as exc:
            raise click.ClickException(f"cannot write {target}: {exc.strerror}") from exc
        click.echo(f"wrote    {target}")
        written += 1
    click.echo(
        f"{written} written, {skipped} kept. Next: set the three values at the top of {folder / 'actionwatch.yaml'},"
    )
    click.echo("then `actionwatch check` and `actionwatch run`.")


def _files() -> Iterator[tuple[Path, Path]]:
    """Give each file to write, and its name in the new folder."""
    from actionwatch.app import shipped

    own = Path(__file__).parent.parent / "_init"
    for path in sorted(own.iterdir()):
        if path.is_file() and path.suffix != ".py":
            yield path, Path(path.name)
    for path in sorted(shipped("rules").rglob("*.yml")):
        yield path, Path("rules") / path.relative_to(shipped("rules"))
