"""Convert the JSON object of a user action into a `Record`. Pure. `wire.parse_page` calls it for the items of a page.

Any object becomes a record: fields that are missing or unreadable are absent, and the text of the whole object is kept. What
depends only on the layout is computed once (`aliases.Plan`), so that a million records take seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import repeat
from typing import Any, NamedTuple

from actionwatch.base.cache_keys import is_short
from actionwatch.base.clock import to_micros
from actionwatch.base.ids import UUID
from actionwatch.base.model import NOTHING, Entity, Record
from actionwatch.instaclustr.aliases import ENTITIES, Plan, extend_aliases, plan_for
from actionwatch.instaclustr.identity import canonical_organisation, content, organisation_hash, record_key
from actionwatch.instaclustr.instants import parse_instant, usual_instants
from actionwatch.instaclustr.kinds import (
    ACCOUNT,
    KINDS,
    OPERATIONS,
    ORGANISATION,
    UNNAMED_KIND,
    normalise_kind,
    severity_of,
)
from actionwatch.text.raw_records import cut_record

# Real layouts and values repeat; an upstream that invents new ones must not fill the memory.
_MAX_PLANS = 1000
_MAX_LAYOUT_CHARS = 10_000  # of the names in a layout that is cached
_MAX_VALUES = 50_000  # of all layouts together
MAX_UNMAPPED_FIELDS = 1000  # names that are kept: records have about 20
_MAX_NAME_CHARS = 200  # of such a name
MAX_RECORD_CHARS = 32 * 1024  # of the raw text that is kept; a record of the vendor has about 1 KB

_USER_PARTS = ("name", "username", "email")
_KIND_PARTS = ("name", "kind", "action", "type")


class _Classification(NamedTuple):
    """The classification by kind, domain type, operation and scope of a record."""

    kind: str
    severity: str
    domain_type: str | None
    operation: str | None
    scope: str | None


class _Location(NamedTuple):
    """Where it happened. The ids are those in the record itself, because known accounts change and keys must not."""

    account: Entity
    cluster: Entity
    organisation: Entity
    account_id: str | None
    cluster_id: str | None


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
        self._unmapped: set[str] = set()
        self._settled: frozenset[str] | None = None
        self._aliases = extend_aliases(aliases or {})
        self._known_accounts: Mapping[str, str] = {}
        self._plans: dict[tuple[str, ...], Plan] = {}
        self._value_count = 0

    @property
    def unmapped_fields(self) -> frozenset[str]:
        """The top-level fields so far that have no alias, at most 1,000. Rules can read them as `raw.NAME`."""
        return frozenset(self._unmapped)

    def settle_identity(self, names: Iterable[str]) -> None:
        """Exclude all other unmapped fields from the identity, so that a new field does not make new records.

        Before, all of `unmapped_fields` count.
        """
        self._settled = frozenset(names)

    @property
    def known_accounts(self) -> Mapping[str, str]:
        """The linked accounts, id to name. They show whether an account given as one string is an id or a name."""
        return self._known_accounts

    def know_accounts(self, accounts: Mapping[str, str]) -> None:
        """Replace the linked accounts, id to name. Keys of records do not depend on them."""
        self._known_accounts = dict(accounts)
        self._forget()  # the cached locations have the old accounts

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
        classified = [each or self._classify(fields, plan) for each, fields in zip(classes, objects, strict=True)]
        located = [each or self._locate(fields, plan) for each, fields in zip(places, objects, strict=True)]
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
            classified = plan.classes.get(plan.class_values(fields)) or self._classify(fields, plan)
            place = plan.locations.get(plan.entity_values(fields)) or self._locate(fields, plan)
        except TypeError:  # a list or an object instead of a text cannot be a key
            classified, place = self._classify(fields, plan), self._locate(fields, plan)
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

    def plan(self, layout: tuple[str, ...]) -> Plan:
        """Return how it reads objects with these keys in this order."""
        plan = self._plans.get(layout)
        if plan is None:
            plan = plan_for(layout, self._aliases)
            if len(self._plans) >= _MAX_PLANS:
                self._forget()
            if sum(map(len, layout)) <= _MAX_LAYOUT_CHARS:
                self._plans[layout] = plan
            names = [name for name in plan.unmapped if len(name) <= _MAX_NAME_CHARS and name not in self._unmapped]
            self._unmapped.update(names[: max(MAX_UNMAPPED_FIELDS - len(self._unmapped), 0)])
        return plan

    def _classify(self, fields: Mapping[str, Any], plan: Plan) -> _Classification:
        """Combine the values of the record with the catalogue; the record takes precedence."""
        kind = normalise_kind(_text(fields, plan.keys["kind"], _KIND_PARTS) or "") or UNNAMED_KIND
        known = KINDS.get(kind)
        domain_type = _text(fields, plan.keys["domain_type"], ("name",))
        operation = (_text(fields, plan.keys["operation"], ("name",)) or "").strip().upper()
        verb = operation.rpartition("_")[2]
        scope = _scope(domain_type, operation, _text(fields, plan.keys["scope"], ("name",)))
        classified = _Classification(
            kind=kind,
            severity=severity_of(kind),
            domain_type=domain_type,
            operation=verb if verb in OPERATIONS else known.operation if known else None,
            scope=scope or (known.scope if known else None),
        )
        self._remember(plan.classes, plan.class_values(fields), classified)
        return classified

    def _locate(self, fields: Mapping[str, Any], plan: Plan) -> _Location:
        domain_type = (_text(fields, plan.keys["domain_type"], ("name",)) or "").strip().upper()
        account, account_id = self._resolve("account", fields, plan, domain_type)
        cluster, cluster_id = self._resolve("cluster", fields, plan, domain_type)
        organisation, _ = self._resolve("organisation", fields, plan, domain_type)
        place = _Location(account, cluster, organisation, account_id, cluster_id)
        self._remember(plan.locations, plan.entity_values(fields), place)
        return place

    def _remember(self, cache: dict[Any, Any], key: Any, made: object) -> None:
        """Cache a result for keys of short texts only: as keys, 1, 1.0 and true are equal."""
        values = key if isinstance(key, tuple) else (key,)
        if not all(value is None or isinstance(value, str) for value in values):
            return
        if not is_short(values):
            return
        if self._value_count >= _MAX_VALUES:
            self._forget()
        self._value_count += 1
        cache[key] = made

    def _forget(self) -> None:
        """Empty the caches."""
        self._plans = {}
        self._value_count = 0

    def _stable(self, fields: Mapping[str, Any], plan: Plan) -> bytes:
        """Encode the identity of a record without an upstream id: all content except names that may be rewritten later."""
        plan = self._counted(plan)
        for name in ENTITIES:
            for key in plan.keys[name]:
                fields = _without_name(fields, key, name)
        return plan.layout + content(plan.identity_values(fields))

    def _counted(self, plan: Plan) -> Plan:
        """Return the plan of the fields that count for the identity; its getters accept objects of the whole layout."""
        counted = self._unmapped if self._settled is None else self._settled
        if counted.issuperset(plan.unmapped):
            return plan
        added = frozenset(plan.unmapped) - counted
        return self.plan(tuple(key for key in plan.all_keys if key not in added))

    def _resolve(
        self, field: str, fields: Mapping[str, Any], plan: Plan, domain_type: str
    ) -> tuple[Entity, str | None]:
        """Return the account, cluster or organisation, and its id only if the record itself contains it."""
        known = self._known_accounts if field == "account" else {}
        given_id = _text(fields, plan.keys[f"{field}_id"]) or None
        name = _text(fields, plan.keys[f"{field}_name"]) or None
        known_id: str | None = None
        for key in plan.keys[field]:
            value = fields[key]
            if isinstance(value, dict):
                given_id = given_id or _part(value, ("id", f"{field}id"))
                name = name or _part(value, ("name", f"{field}name"))
            elif (text := _plain(value)) and UUID.fullmatch(text):
                given_id = given_id or text
            elif text in known or (text and name not in (None, text)):
                # If there is also a name, the text is the id. Not `given_id`: the key of a record must not change with aliases.
                known_id = known_id or text
            else:
                name = name or text or None
        if field != "organisation" and domain_type.startswith(field.upper()):
            given_id = given_id or _text(fields, plan.keys["domain_id"]) or None
            name = name or _text(fields, plan.keys["domain_name"]) or None
        entity_id = given_id or known_id
        name = name or known.get(entity_id or "")
        return (Entity(entity_id, name) if entity_id or name else NOTHING), given_id


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


def _scope(domain_type: str | None, operation: str, scope: str | None) -> str | None:
    """Return `organisation` if a value says so, `account` if there are other values, None if there are none."""
    prefix = operation.rpartition("_")[0]
    given = [text for text in (scope, domain_type, prefix) if text and text.strip()]
    if any(text.strip().upper().startswith("ORG") for text in given):
        return ORGANISATION
    return ACCOUNT if given else None


def _read_core(fields: Mapping[str, Any], plan: Plan) -> tuple[datetime | None, str | None, str | None, str | None]:
    """Return time, user, description and upstream id, each from the first key with a value."""
    occurred_at: datetime | None = None
    for key in plan.keys["time"]:
        occurred_at = occurred_at or parse_instant(fields[key])
    user = _text(fields, plan.keys["user"], _USER_PARTS)
    return occurred_at, user, _text(fields, plan.keys["description"]), _text(fields, plan.keys["upstream_id"]) or None


def _without_name(fields: Mapping[str, Any], key: str, name: str) -> Mapping[str, Any]:
    """Remove the name from an account, cluster or organisation object that also has an id."""
    value = fields[key]
    if not isinstance(value, dict) or not _part(value, ("id", f"{name}id")):
        return fields
    return {**fields, key: {part: held for part, held in value.items() if part.lower() not in ("name", f"{name}name")}}


def _text(fields: Mapping[str, Any], keys: Sequence[str], parts: Sequence[str] = ()) -> str | None:
    """Return the first of these fields with a text that is not blank; "" if there are only blank ones; else None."""
    blank: str | None = None
    for key in keys:
        value = fields[key]
        text = _part(value, parts) if parts and isinstance(value, dict) else _plain(value)
        if text and not text.isspace():
            return text
        blank = text if blank is None else blank
    return blank


def _part(value: Mapping[str, Any], parts: Sequence[str]) -> str | None:
    """Return the first of these members of an object with a text, ignoring the case of names."""
    by_name = {key.lower(): held for key, held in value.items() if held is not None}
    for part in parts:
        text = _plain(by_name.get(part))
        if text:
            return text
    return None


def _plain(value: Any) -> str | None:
    """Convert a value to text; objects and lists become JSON."""
    if value is None or isinstance(value, str):
        return value
    return content(value).decode()
