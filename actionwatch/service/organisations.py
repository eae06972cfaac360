"""Check which source reads which organisation: a name keeps its organisation, and two names may share one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from actionwatch.base.errors import ConfigError, Fault
from actionwatch.base.ids import UUID
from actionwatch.instaclustr.identity import canonical_organisation
from actionwatch.settings import Settings
from actionwatch.text.yaml_document import read_file

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
    raise ConfigError(
        *(
            document.fault(
                ("sources", index, "organisation_id"),
                f"the store knows '{settings.sources[index].name}' as a source of the organisation {before}",
                "give this source another name; to continue with the other organisation, restore its id",
            )
            for index, before in others
        )
    )


def shared_organisations(settings: Settings, config: Path) -> Iterator[Fault]:
    """Return a note for each source that reads the same organisation as an earlier one."""
    document, *_ = read_file(config)
    first: dict[str, str] = {}
    for index, source in enumerate(settings.sources):
        other = first.setdefault(canonical_organisation(source.organisation_id), source.name)
        if other != source.name:
            yield document.fault(
                ("sources", index, "organisation_id"),
                f"'{source.name}' reads the same organisation as '{other}'",
                "each action counts once, for the source that stored it first: do not match or group by 'source'",
            )


def doubtful_organisations(settings: Settings, config: Path) -> Iterator[Fault]:
    """Return a note for each source whose organisation id is not a UUID, as those of the upstream are."""
    document, *_ = read_file(config)
    for index, source in enumerate(settings.sources):
        if not UUID.fullmatch(source.organisation_id):
            yield document.fault(
                ("sources", index, "organisation_id"),
                f"'{source.organisation_id}' is not a UUID: it may be the name of the organisation",
                "copy the id from the console of Instaclustr",
            )
