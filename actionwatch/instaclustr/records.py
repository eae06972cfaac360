"""Convert the JSON object of a user action into a `Record`. Pure. `wire.parse_page` calls it for the items of a page.

Any object becomes a record: fields that are missing or unreadable are absent, and the text of the whole object is kept. What
depends only on the layout is computed once (`aliases.Plan`), so that a million records take seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import repeat
from typing import Any

from actionwatch.base.clock import to_micros
from actionwatch.base.model import Record
from actionwatch.instaclustr.aliases import ENTITIES, Plan
from actionwatch.instaclustr.field_values import FieldValues, part_of, text_of
from actionwatch.instaclustr.identity import canonical_organisation, content, organisation_hash, record_key
from actionwatch.instaclustr.instants import parse_instant, usual_instants
from actionwatch.text.raw_records import cut_record

MAX_RECORD_CHARS = 32 * 1024  # of the raw text that is kept; a record of the vendor has about 1 KB

_USER_PARTS = ("name", "username", "email")


class RecordReader:
    """Reads the objects of one source. Safe to share between threads: a lost cache entry is computed again."""

    def __init__(
        self, source: str, *, organisation_id: str, aliases: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        """`aliases` are the configured `field_aliases`. `organisation_id` is the configured id, a part of every record key.

        Raises: ValueError, for an alias of an unknown field.
        """
        self.source = source
        self.organisation = canonical_organisation(organisation_id)
        self._organisation_hash = organisation_hash(self.organisation)
        self._settled: frozenset[str] | None = None
        self._values = FieldValues(aliases or {})

    @property
    def unmapped_fields(self) -> frozenset[str]:
        """The top-level fields so far that have no alias, at most 1,000. Rules can read them as `raw.NAME`."""
        return frozenset(self._values.unmapped)

    def plan(self, layout: tuple[str, ...]) -> Plan:
        """Return how it reads objects with these keys in this order."""
        return self._values.plan(layout)

    def settle_identity(self, names: Iterable[str]) -> None:
        """Exclude all other unmapped fields from the identity, so that a new field does not make new records.

        Before, all of `unmapped_fields` count.
        """
        self._settled = frozenset(names)

    @property
    def known_accounts(self) -> Mapping[str, str]:
        """The linked accounts, id to name. They show whether an account given as one string is an id or a name."""
        return self._values.accounts

    def know_accounts(self, accounts: Mapping[str, str]) -> None:
        """Replace the linked accounts, id to name. Keys of records do not depend on them."""
        self._values.know_accounts(dict(accounts))

    def read_all(self, objects: Sequence[Mapping[str, Any]], texts: Sequence[str], seen_at: datetime) -> list[Record]:
        """Convert objects into records, in their order. `texts` are the exact texts of the decoded `objects`.

        A record without a readable time gets `seen_at` as its time and is marked; its key does not depend on it. A record that
        is too large is cut; its key is that of the whole record.
        """
        present = [fields if all(fields.values()) else self._without_nulls(fields) for fields in objects]
        numbers_of: dict[tuple[str, ...], list[int]] = {}
        for number, layout in enumerate(map(tuple, present)):
            numbers_of.setdefault(layout, []).append(number)
        found: dict[int, Record] = {}
        for layout, numbers in numbers_of.items():
            alike = [present[number] for number in numbers]
            raws = [texts[number] for number in numbers]
            found.update(zip(numbers, self._read_alike(self.plan(layout), alike, raws, seen_at), strict=True))
        if max(map(len, texts), default=0) > MAX_RECORD_CHARS:
            return [cut_record(found[number], MAX_RECORD_CHARS) for number in range(len(present))]
        return [found[number] for number in range(len(present))]

    def _without_nulls(self, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """Leave out nulls: they mean the same as absent fields and must not change the identity."""
        if None not in fields.values():
            return fields
        self.plan(tuple(fields))  # to note the names of null fields too
        return {key: value for key, value in fields.items() if value is not None}

    def _read_alike(
        self, plan: Plan, objects: Sequence[Mapping[str, Any]], texts: Sequence[str], seen_at: datetime
    ) -> Iterable[Record]:
        """Convert objects of one layout: by columns if their values are the usual texts, else one by one."""
        columns = _usual_columns(plan, objects)
        if columns is None:
            return [self._read_one(plan, fields, raw, seen_at) for fields, raw in zip(objects, texts, strict=True)]
        instants, users, descriptions, ids, classes, places = columns
        classified = [
            each or self._values.classify(fields, plan) for each, fields in zip(classes, objects, strict=True)
        ]
        located = [each or self._values.locate(fields, plan) for each, fields in zip(places, objects, strict=True)]
        kinds, severities, domain_types, operations, scopes = zip(*classified, strict=True)
        accounts, clusters, organisations, account_ids, cluster_ids = zip(*located, strict=True)
        micros = [to_micros(at) for at in instants]
        if plan.has_id:
            # More than the id, so that ids that are not unique lose no record. No other fields, so that a field that changes
            # later makes no duplicate.
            identities = zip(ids, kinds, micros, users, descriptions, account_ids, cluster_ids, strict=True)
            stable: Iterable[bytes] = map(content, identities)
        else:
            counted = self._counted(plan)
            stable = (counted.layout + content(values) for values in map(counted.identity_values, objects))
        # Positional arguments: keyword arguments take five times as long, as long as all the reading above.
        return map(
            Record,
            map(record_key, micros, stable, repeat(self._organisation_hash)),
            repeat(self.source),
            instants,
            repeat(seen_at),
            kinds,
            texts,
            domain_types,
            users,
            descriptions,
            accounts,
            clusters,
            organisations,
            operations,
            scopes,
            severities,
            ids if plan.has_id else repeat(None),
        )

    def _read_one(self, plan: Plan, fields: Mapping[str, Any], raw: str, seen_at: datetime) -> Record:
        """Convert an object with any values."""
        try:
            classified = plan.classes.get(plan.class_values(fields)) or self._values.classify(fields, plan)
            place = plan.locations.get(plan.entity_values(fields)) or self._values.locate(fields, plan)
        except TypeError:  # a list or an object instead of a text cannot be a key
            classified, place = self._values.classify(fields, plan), self._values.locate(fields, plan)
        occurred_at, user, description, upstream_id = _read_core(fields, plan)
        instant = None if occurred_at is None else to_micros(occurred_at)
        if upstream_id:
            ids = place.account_id, place.cluster_id
            stable = content((upstream_id, classified.kind, instant, user, description, *ids))
        else:
            stable = self._stable(fields, plan)
        return Record(
            key=record_key(instant, stable, self._organisation_hash),
            source=self.source,
            occurred_at=occurred_at or seen_at,
            seen_at=seen_at,
            action_kind=classified.kind,
            raw=raw,
            domain_type=classified.domain_type,
            user_name=user,
            description=description,
            account=place.account,
            cluster=place.cluster,
            organisation=place.organisation,
            operation=classified.operation,
            scope=classified.scope,
            severity=classified.severity,
            upstream_id=upstream_id,
            is_time_readable=occurred_at is not None,
        )

    def _stable(self, fields: Mapping[str, Any], plan: Plan) -> bytes:
        """Encode the identity of a record without an upstream id: all content except names that may be rewritten later."""
        plan = self._counted(plan)
        for name in ENTITIES:
            for key in plan.keys[name]:
                fields = _without_name(fields, key, name)
        return plan.layout + content(plan.identity_values(fields))

    def _counted(self, plan: Plan) -> Plan:
        """Return the plan of the fields that count for the identity; its getters accept objects of the whole layout."""
        counted = self._values.unmapped if self._settled is None else self._settled
        if counted.issuperset(plan.unmapped):
            return plan
        added = frozenset(plan.unmapped) - counted
        return self.plan(tuple(key for key in plan.all_keys if key not in added))


def _usual_columns(plan: Plan, objects: Sequence[Mapping[str, Any]]) -> tuple[Sequence[Any], ...] | None:
    """Return times, users, descriptions, upstream ids, and cached classifications and locations (None if not cached).

    Returns: None, if a value has an unusual form, so that the objects must be read one by one.
    """
    if not plan.is_simple:
        return None
    times, users, descriptions, ids = zip(*map(plan.core_values, objects), strict=True)
    if {str} != {*map(type, users), *map(type, descriptions), *map(type, ids)} or not all(ids):
        return None
    instants = usual_instants(times)
    if instants is None:
        return None
    try:
        classes = list(map(plan.classes.get, map(plan.class_values, objects)))
        places = list(map(plan.locations.get, map(plan.entity_values, objects)))
    except TypeError:  # a list or an object instead of a text
        return None
    return instants, users, descriptions, ids, classes, places


def _read_core(fields: Mapping[str, Any], plan: Plan) -> tuple[datetime | None, str | None, str | None, str | None]:
    """Return time, user, description and upstream id, each from the first key with a value."""
    occurred_at: datetime | None = None
    for key in plan.keys["time"]:
        occurred_at = occurred_at or parse_instant(fields[key])
    user = text_of(fields, plan.keys["user"], _USER_PARTS)
    return (
        occurred_at,
        user,
        text_of(fields, plan.keys["description"]),
        text_of(fields, plan.keys["upstream_id"]) or None,
    )


def _without_name(fields: Mapping[str, Any], key: str, name: str) -> Mapping[str, Any]:
    """Remove the name from an account, cluster or organisation object that also has an id."""
    value = fields[key]
    if not isinstance(value, dict) or not part_of(value, ("id", f"{name}id")):
        return fields
    return {**fields, key: {part: held for part, held in value.items() if part.lower() not in ("name", f"{name}name")}}
