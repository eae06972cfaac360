"""Read the configuration and open the store for a command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from actionwatch.settings import Settings, Source
    from actionwatch.store.database import Database, StoreReader


def read_settings(config: str) -> Settings:
    """Read the configuration for an interactive command, which logs only errors.

    Raises: ConfigError, with every fault.
    """
    from actionwatch.service import configuration
    from actionwatch.text import logs

    settings = configuration.read_settings(Path(config))
    logs.set_up("error", settings.log.format, list(logs.secrets_in(settings)))
    return settings


@contextmanager
def opened_store(config: str) -> Iterator[tuple[Settings, StoreReader]]:
    """Read the configuration and open its store read-only. Never creates or changes a store.

    Raises: ConfigError; StoreMissing, SchemaMismatch, StoreError.
    """
    from actionwatch.store.database import StoreReader

    settings = read_settings(config)
    with closing(StoreReader.open(settings.store.url)) as store:
        yield settings, store


@contextmanager
def changed_store(config: str) -> Iterator[tuple[Settings, Database]]:
    """Open the existing store for writing. Never creates a store, and never upgrades one that a running service uses.

    Raises: ConfigError; StoreMissing, SchemaMismatch, StoreError.
    """
    from actionwatch.store.database import Database, StoreReader

    settings = read_settings(config)
    StoreReader.open(settings.store.url).close()
    with closing(Database(settings.store.url)) as database:
        yield settings, database


def warn_if_nothing_runs(store: StoreReader) -> None:
    """Warn on stderr if no service is running to deliver the messages that a command queued."""
    if not store.is_owned():
        click.echo(
            "note: no service is running on this store: 'actionwatch run' sends the messages when it starts", err=True
        )


def chosen_source(config: str, name: str | None) -> Source:
    """Return the source with this name, or the only source if the name is None."""
    return named_source(read_settings(config), name)


def named_source(settings: Settings, name: str | None) -> Source:
    """Return the source with this name from the settings, or the only source if the name is None."""
    sources = {source.name: source for source in settings.sources}
    if name is None and len(sources) == 1:
        return next(iter(sources.values()))
    if name is None:
        raise click.UsageError(f"several sources are configured: choose one with --source: {', '.join(sources)}")
    if name not in sources:
        raise click.UsageError(f"no source is named {name}: the sources are {', '.join(sources)}")
    return sources[name]
