"""Check which source reads which organisation: a name keeps its organisation, and two names may share one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from actionwatch.base.errors import ConfigError, Fault
from actionwatch.base.ids import UUID
from actionwatch.instaclustr.identity import canonical_organisation
from actionwatch.settings import Settings, Source
from actionwatch.settings.sources import source_places
from actionwatch.text.yaml_document import Document, read_file

if TYPE_CHECKING:
    from actionwatch.store.database import Database

_Doubt = tuple[int, str, str]  # the index of the source, what is wrong, and the remedy


def refuse_other_organisations(settings: Settings, config: Path, database: Database) -> None:
    """Refuse a source whose name belongs to another organisation in the store.

    Its marks, records and receipts describe the log of that organisation. Under the same name, the new log would start at the
    old mark, and the old records would count as deleted upstream.

    Raises: ConfigError, with every such source.
    """
    from actionwatch.store import marks  # only here: `check` imports this module, and opens no store

    with database.read() as connection:
        known = marks.read_all(connection)
    others = [
        (
            index,
            f"the store knows '{source.name}' as a source of the organisation {known[source.name].organisation}",
            "give this source another name; to continue with the other organisation, restore its id",
        )
        for index, source in enumerate(settings.sources)
        if source.name in known and known[source.name].organisation != canonical_organisation(source.organisation_id)
    ]
    if others:
        document, *_ = read_file(config)
        raise ConfigError(*_faults(others, settings, document))


def notes_on_organisations(settings: Settings, document: Document) -> list[Fault]:
    """Return a note for each source whose organisation is doubtful; `document` is that of the configuration file."""
    return _faults(list(_doubts(settings.sources)), settings, document)


def _doubts(sources: Sequence[Source]) -> Iterator[_Doubt]:
    first: dict[str, str] = {}
    for index, source in enumerate(sources):
        other = first.setdefault(canonical_organisation(source.organisation_id), source.name)
        if other != source.name:
            yield (
                index,
                f"'{source.name}' reads the same organisation as '{other}'",
                "each action counts once, for the source that stored it first: do not match or group by 'source'",
            )
        if not UUID.fullmatch(source.organisation_id):
            yield (
                index,
                f"'{source.organisation_id}' is not a UUID: it may be the name of the organisation",
                "copy the id from the console of Instaclustr",
            )


def _faults(doubts: Sequence[_Doubt], settings: Settings, document: Document) -> list[Fault]:
    """Return doubts as faults at their places. The files of sources are read again for these only."""
    places = source_places(settings, document) if doubts else []
    found: list[Fault] = []
    for index, what, remedy in doubts:
        file, place = places[index]
        found.append(file.fault((*place, "organisation_id"), what, remedy))
    return found
