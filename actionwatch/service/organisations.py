"""Check which source reads which organisation: a name keeps its organisation, and two names may share one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from actionwatch.base.errors import ConfigError, Fault
from actionwatch.base.ids import UUID
from actionwatch.instaclustr.identity import canonical_organisation
from actionwatch.settings import Settings
from actionwatch.settings.sources import source_places
from actionwatch.text.yaml_document import Document, Place, read_file

if TYPE_CHECKING:
    from actionwatch.store.database import Database


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
        (index, known[source.name].organisation)
        for index, source in enumerate(settings.sources)
        if source.name in known and known[source.name].organisation != canonical_organisation(source.organisation_id)
    ]
    if not others:
        return
    document, *_ = read_file(config)
    places = source_places(settings, document)
    raise ConfigError(
        *(
            _fault(
                places[index],
                f"the store knows '{settings.sources[index].name}' as a source of the organisation {before}",
                "give this source another name; to continue with the other organisation, restore its id",
            )
            for index, before in others
        )
    )


def notes_on_organisations(settings: Settings, document: Document) -> Iterator[Fault]:
    """Return a note for each source whose organisation is doubtful; `document` is that of the configuration file."""
    first: dict[str, str] = {}
    for source, place in zip(settings.sources, source_places(settings, document), strict=True):
        other = first.setdefault(canonical_organisation(source.organisation_id), source.name)
        if other != source.name:
            yield _fault(
                place,
                f"'{source.name}' reads the same organisation as '{other}'",
                "each action counts once, for the source that stored it first: do not match or group by 'source'",
            )

        if not UUID.fullmatch(source.organisation_id):
            yield _fault(
                place,
                f"'{source.organisation_id}' is not a UUID: it may be the name of the organisation",
                "copy the id from the console of Instaclustr",
            )


def _fault(place: tuple[Document, Place], what: str, remedy: str) -> Fault:
    document, source = place
    return document.fault((*source, "organisation_id"), what, remedy)
