"""The names of what people would see only an id of: clusters and accounts in matchers, and what held a message back.

An id without a name here stays an id: retention deleted what had it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from sqlalchemy import Connection

from actionwatch.base.model import Record, Silence
from actionwatch.store import alerts, records, silences
from actionwatch.text.matchers import Matcher, parse_matcher

_LOOKED_AT = 1000  # newest alerts, whose groups have the ids in matchers
_ENTITIES = ("cluster", "account")


def of_records(found: Iterable[Record]) -> dict[str, str]:
    """Return the names of the clusters and accounts of records, by id."""
    entities = (entity for record in found for entity in (record.cluster, record.account))
    return {entity.id: entity.name for entity in entities if entity.id and entity.name}


def of_silences(connection: Connection, made: Iterable[Silence]) -> dict[str, str]:
    """Return the names of the clusters and accounts in the matchers of silences, by id."""
    matchers = (_of_entity(text) for each in made for text in each.matchers)
    return of_ids(connection, {each.value for each in matchers if each is not None})


def of_ids(connection: Connection, wanted: set[str]) -> dict[str, str]:
    """Return the names of clusters and accounts with these ids, as far as the newest alerts have them."""
    if not wanted:
        return {}
    of_id: dict[str, str] = {}
    for alert in alerts.read_newest(connection, _LOOKED_AT):
        for value in wanted.intersection((alert.group or {}).values()):
            of_id.setdefault(str(value), alert.id)
    newest = records.read_of_alerts(connection, set(of_id.values()), 1)
    return of_records(record for found in newest.values() for record in found)


def spell_matchers(matchers: Iterable[str], names: Mapping[str, str]) -> str:
    """Return matchers as a text, with the name of a cluster or an account in place of its id."""
    return " ".join(_spell(text, names) for text in matchers)


def _spell(text: str, names: Mapping[str, str]) -> str:
    matcher = _of_entity(text)
    return str(replace(matcher, value=names[matcher.value])) if matcher and matcher.value in names else text


def _of_entity(text: str) -> Matcher | None:
    """Return the matcher in a text if it is about a cluster or an account. A damaged store may hold any text."""
    try:
        found = parse_matcher(text)
    except ValueError:
        return None
    return found if found.label in _ENTITIES else None


def of_stops(connection: Connection, stops: Iterable[tuple[str | None, str | None]]) -> dict[str, str]:
    """Return the names of what gates refer to, by id: the author and the reason of a silence, the title of an alert."""
    ids: dict[str, set[str]] = {"silence": set(), "inhibition": set()}
    for why, ref in stops:
        if why in ids and ref:
            ids[why].add(ref)
    found = silences.read_many(connection, ids["silence"]).values()
    inhibiting = alerts.read_many(connection, ids["inhibition"]).values()
    named = {each.id: f"{each.comment} ({each.author})" for each in found}
    return named | {each.id: each.title for each in inhibiting}
