"""Open what a command works on, and close it after."""

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
    """Read the configuration for a command that answers a person: only errors are logged, and no secret.

    Raises: ConfigError, with every fault of it.
    """
    from actionwatch.service import configuration
    from actionwatch.text import logs

    settings = configuration.read_settings(Path(config))
    logs.set_up("error", settings.log.format, list(logs.secrets_in(settings)))
    return settings


@contextmanager
def opened_store(config: str) -> Iterator[tuple[Settings, StoreReader]]:
    """Read the configuration and open its store for reading until the block ends; never creates or changes a store.

    Raises: ConfigError; StoreMissing, SchemaMismatch, StoreError.
    """
    from actionwatch.store.database import StoreReader

    settings = read_settings(config)
    with closing(StoreReader.open(settings.store.url)) as store:
        yield settings, store


@contextmanager
def changed_store(config: str) -> Iterator[tuple[Settings, Database]]:
    """Open the existing store of a configuration to change it; never creates one, nor upgrades it under a service that runs.

    Raises: ConfigError; StoreMissing, SchemaMismatch, StoreError.
    """
    from actionwatch.store.database import Database, StoreReader

    settings = read_settings(config)
    StoreReader.open(settings.store.url).close()
    with closing(Database(settings.store.url)) as database:
        yield settings, database


def warn_if_nothing_runs(store: StoreReader) -> None:
    """Say on stderr that nobody delivers what a command just made due."""
    if not store.is_owned():
        click.echo("note: no service runs on this store: receivers are told when 'actionwatch run' runs next", err=True)


def chosen_source(config: str, name: str | None) -> Source:
    """Give the source of that name; without one, the only source there is."""
    return named_source(read_settings(config), name)


def named_source(settings: Settings, name: str | None) -> Source:
    """Give the source of that name in settings that were read already; without one, the only source there is."""
    sources = {source.name: source for source in settings.sources}
    if name is None and len(sources) == 1:
        return next(iter(sources.values()))
    if name is None:
        raise click.UsageError(f"several sources are configured: choose one with --source: {', '.join(sources)}")
    if name not in sources:
        raise click.UsageError(f"no source is named {name}: there are {', '.join(sources)}")
    return sources[name]
