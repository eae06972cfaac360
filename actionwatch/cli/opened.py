"""Open what a command works on, and close it after."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from actionwatch.settings import Settings, Source
    from actionwatch.store.database import Database


@contextmanager
def opened_store(config: str) -> Iterator[tuple[Settings, Database]]:
    """Read the configuration and open its store until the block ends."""
    from actionwatch import app

    settings = app.read_settings(Path(config))
    database = app.open_store(settings)
    try:
        yield settings, database
    finally:
        database.close()


def chosen_source(config: str, name: str | None) -> Source:
    """Give the source of that name; without one, the only source there is."""
    from actionwatch import app

    sources = {source.name: source for source in app.read_settings(Path(config)).sources}
    if name is None and len(sources) == 1:
        return next(iter(sources.values()))
    if name is None:
        raise click.UsageError(f"several sources are configured: choose one with --source: {', '.join(sources)}")
    if name not in sources:
        raise click.UsageError(f"no source is named {name}: there are {', '.join(sources)}")
    return sources[name]
