"""Read the configuration and open the store for a command."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from actionwatch.base.plurals import counted
from actionwatch.base.source_labels import use_labels
from actionwatch.cli.output import echo
from actionwatch.text.suggestions import suggest

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from actionwatch.instaclustr.client import Client
    from actionwatch.settings import Receiver, Settings, Source, Stream
    from actionwatch.store.database import Database, StoreReader

Item = TypeVar("Item")
_MOST_LISTED = 12  # sources: of more, the names help nobody


def read_settings(config: str) -> Settings:
    """Read the configuration for a command that only reads: files, and the store. Such a command logs nothing.

    Raises: ConfigError, with every fault.
    """
    from actionwatch.service import configuration

    settings = configuration.read_settings(Path(config))
    use_labels(configuration.source_labels(settings.sources))
    return settings


def read_settings_to_act(config: str) -> Settings:
    """Read the configuration for a command that writes or connects: by parts that log. Only their errors are shown.

    Raises: ConfigError, with every fault.
    """
    from actionwatch.text import logs  # takes 0.1 s to import: commands that only read do without

    settings = read_settings(config)
    logs.set_up("error", settings.log.format, list(logs.secrets_in(settings)))
    return settings


@contextmanager
def reading_store(config: str) -> Iterator[tuple[Settings, Connection]]:
    """Read the configuration and open its store read-only, in one transaction. Never creates or changes a store.

    Raises: ConfigError; StoreMissing, SchemaMismatch, StoreError.
    """
    with open_reader(config) as (settings, store), store.read() as connection:
        yield settings, connection


@contextmanager
def open_reader(config: str) -> Iterator[tuple[Settings, StoreReader]]:
    """Read the configuration and open its store read-only, for several transactions. Never creates or changes a store.

    Raises: ConfigError; StoreMissing, SchemaMismatch, StoreError.
    """
    from actionwatch.store.database import StoreReader

    settings = read_settings(config)
    with closing(StoreReader.open(settings.store.url)) as store:
        yield settings, store


@contextmanager
def changing_store(config: str) -> Iterator[tuple[Settings, Database]]:
    """Open the existing store for writing. Never creates a store, and never upgrades one that a running service uses.

    Raises: ConfigError; StoreMissing, SchemaMismatch, StoreError.
    """
    from actionwatch.store.database import Database, StoreReader

    settings = read_settings_to_act(config)
    StoreReader.open(settings.store.url).close()
    with closing(Database(settings.store.url)) as database:
        yield settings, database


def warn_if_nothing_runs(database: Database) -> None:
    """Warn on stderr if no service is running to deliver the messages that a command queued."""
    if not database.is_owned():
        echo("note: no service is running on this store: 'actionwatch run' sends the messages when it starts", err=True)


def chosen_source(config: str, name: str | None) -> Source:
    """Return the source with this name, or the only source if the name is None."""
    return named_source(read_settings_to_act(config), name)


def reading_client(config: str, name: str | None) -> Client:
    """Build the client that reads from the upstream of the source with this name, or of the only source."""
    from actionwatch.service import upstream

    return upstream.reading_client(chosen_source(config, name))


def named_source(settings: Settings, name: str | None) -> Source:
    """Return the source with this name from the settings, or the only source if the name is None."""
    sources = {source.name: source for source in settings.sources}
    if name is None and len(sources) == 1:
        return next(iter(sources.values()))
    if name is None:
        which = ", ".join(sources) if len(sources) <= _MOST_LISTED else "'actionwatch status' lists them"
        raise click.UsageError(f"{counted(len(sources), 'source')} are configured: choose one with --source: {which}")
    return _named(sources, name, "source")


def unknown_label(settings: Settings, name: str, value: str) -> str | None:
    """Return why no source has a label, with the remedy; None if one has it."""
    labels = [item for source in settings.sources for item in source.labels.items()]
    values = {its for key, its in labels if key == name}
    if not values:
        remedy = suggest(name, sorted({key for key, _ in labels}), "labels are") or "add it to the labels of a source"
        return f"no source has the label {name}: {remedy}"
    if value not in values:
        return f"no source has {name}={value}: {suggest(value, sorted(values), 'there are') or 'add the source first'}"
    return None


def named_receiver(settings: Settings, name: str) -> Receiver:
    """Return the receiver with this name."""
    return _named({receiver.name: receiver for receiver in settings.receivers}, name, "receiver")


def named_stream(settings: Settings, name: str) -> Stream:
    """Return the stream with this name."""
    return _named({stream.name: stream for stream in settings.streams}, name, "stream")


def _named(items: Mapping[str, Item], name: str, noun: str) -> Item:
    if name not in items:
        remedy = suggest(name, items, f"the {noun}s are") or f"{counted(len(items), noun)} are configured"
        raise click.UsageError(f"no {noun} is named {name}: {remedy}")
    return items[name]
