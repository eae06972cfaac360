"""Turn the JSON object of one user action into a `Record`; pure. Called by `wire.parse_page` for every item of a page.

Any object makes a record: what cannot be found or read is absent, and the text of the whole object is kept. All that can be
worked out from the layout alone is worked out once (`aliases.Plan`), so that a million records take seconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import repeat
from typing import Any, NamedTuple

from actionwatch.base.model import NOTHING, Entity, Record
from actionwatch.instaclustr.aliases import ENTITIES, Plan, extend_aliases, plan_for
from actionwatch.instaclustr.identity import canonical_organisation, content, organisation_hash, record_key
from actionwatch.instaclustr.instants import microseconds, parse_instant, usual_instants
from actionwatch.instaclustr.kinds import (
    ACCOUNT,
    KINDS,
    OPERATIONS,
    ORGANISATION,
    UNNAMED_KIND,
    normalise_kind,
    severity_of,
)

# Real layouts and values repeat; an upstream that makes them up must not fill the memory.
MAX_PLANS = 1000
MAX_VALUES = 10_000

_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
_USER_PARTS = ("name", "username", "email")
_KIND_PARTS = ("name", "kind", "action", "type")


class _Classification(NamedTuple):
    """What kind, domain type, operation and scope of a record say together."""

    kind: str
    severity: str
    domain_type: str | None
    operation: str | None
    scope: str | None


class _Location(NamedTuple):
    """Where it happened. The ids are those the record itself tells: what we know of accounts changes, keys must not."""

    account: Entity
    cluster: Entity
    organisation: Entity
    account_id: str | None
    cluster_id: str | None


class RecordReader:
    """Reads the objects of one source. Threads may share it: what its caches lose can be made again."""

    def __init__(
        self,
        source: str,
        *,
        organisation_id: str,
        aliases: Mapping[str, Sequence[str]] | None = None,
        known_accounts: Mapping[str, str] | None = None,
    ) -> None:
        """Prepare for one source; `aliases` are the configuration's `field_aliases`, `known_accounts` maps id to name.

        `organisation_id` is the configured one: it is part of every record's key.

        Raises: ValueError, for an alias of a field that we do not have.
        """
        self.source = source
        self.organisation = canonical_organisation(organisation_id)
        self._organisation_hash = organisation_hash(self.organisation)
        self._unmapped: set[str] = set()
        self._settled: frozenset[str] | None = None
        self._aliases = extend_aliases(aliases or {})
        self._known_accounts: Mapping[str, str] = dict(known_accounts or {})
        self._plans: dict[tuple[str, ...], Plan] = {}

    @property
    def unmapped_fields(self) -> frozenset[str]:
        """Every top-level field met so far that no alias takes: kept in the raw record, read by rules as `raw.…` alone."""
        return frozenset(self._unmapped)

    def settle_identity(self, names: Iterable[str]) -> None:
        """Let no other field that we do not map count towards identity: one added later must not make new records."""
        self._settled = frozenset(names)

    @property
    def known_accounts(self) -> Mapping[str, str]:
        """The linked accounts, id to name, by which an account told as one string is taken for the one or the other."""
        return self._known_accounts

    def know_accounts(self, accounts: Mapping[str, str]) -> None:
        """Replace the linked accounts, id to name. Keys of records do not depend on them."""
        self._known_accounts = dict(accounts)
        self._plans = {}  # they remember places by the old ones

    def read_all(self, objects: Sequence[Mapping[str, Any]], texts: Sequence[str], seen_at: datetime) -> list[Record]:
        """Read many objects, decoded (`objects`) and to the letter (`texts`, as many), in their order.

        A record without a readable time takes `seen_at` for it and says so; its key does not depend on that.
        """
        told = [fields if all(fields.values()) else self._without_nulls(fields) for fields in objects]
        numbers_of: dict[tuple[str, ...], list[int]] = {}
        for number, layout in enumerate(map(tuple, told)):
            numbers_of.setdefault(layout, []).append(number)
        found: dict[int, Record] = {}
        for layout, numbers in numbers_of.items():
            alike = [told[number] for number in numbers]
            raws = [texts[number] for number in numbers]
            found.update(zip(numbers, self._read_alike(self._plan(layout), alike, raws, seen_at), strict=True))
        return [found[number] for number in range(len(told))]

    def _without_nulls(self, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """Leave out what is null: it says what an absent field says, and must not change the identity either."""
        if None not in fields.values():
            return fields
        self._plan(tuple(fields))  # what is null was met all the same
        return {key: value for key, value in fields.items() if value is not None}

    def _read_alike(
        self, plan: Plan, objects: Sequence[Mapping[str, Any]], texts: Sequence[str], seen_at: datetime
    ) -> Iterable[Record]:
        """Read objects of one layout: column by column where their values are the usual texts, else one by one."""
        columns = _usual_columns(plan, objects)
        if columns is None:
            return [self._read_one(plan, fields, raw, seen_at) for fields, raw in zip(objects, texts, strict=True)]
        instants, users, descriptions, ids, classes, places = columns
        judged = [each or self._classify(fields, plan) for each, fields in zip(classes, objects, strict=True)]
        located = [each or self._locate(fields, plan) for each, fields in zip(places, objects, strict=True)]
        kinds, severities, domain_types, operations, scopes = zip(*judged, strict=True)
        accounts, clusters, organisations, account_ids, cluster_ids = zip(*located, strict=True)
        micros = [microseconds(at) for at in instants]
        if plan.has_id:
            stable: Iterable[bytes] = map(
                _stable_of_id, ids, kinds, micros, users, descriptions, account_ids, cluster_ids
            )
        else:
            counted = self._counted(plan)
            stable = (counted.layout + content(values) for values in map(counted.told_stable, objects))
        # By position: by name, a record takes five times as long, as long as all the reading above.
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
        """Read an object whatever its values are."""
        try:
            judged = plan.classes.get(plan.told_class(fields)) or self._classify(fields, plan)
            place = plan.places.get(plan.told_place(fields)) or self._locate(fields, plan)
        except TypeError:  # a list or an object where a text would be usual: nothing to look up by
            judged, place = self._classify(fields, plan), self._locate(fields, plan)
        occurred_at, user, description, upstream_id = _read_core(fields, plan)
        instant = None if occurred_at is None else microseconds(occurred_at)
        if upstream_id:
            stable = _stable_of_id(
                upstream_id, judged.kind, instant, user, description, place.account_id, place.cluster_id
            )
        else:
            stable = self._stable(fields, plan)
        return Record(
            key=record_key(instant, stable, self._organisation_hash),
            source=self.source,
            occurred_at=occurred_at or seen_at,
            seen_at=seen_at,
            action_kind=judged.kind,
            raw=raw,
            domain_type=judged.domain_type,
            user_name=user,
            description=description,
            account=place.account,
            cluster=place.cluster,
            organisation=place.organisation,
            operation=judged.operation,
            scope=judged.scope,
            severity=judged.severity,
            upstream_id=upstream_id,
            is_time_readable=occurred_at is not None,
        )

    def _plan(self, layout: tuple[str, ...]) -> Plan:
        plan = self._plans.get(layout)
        if plan is None:
            plan = plan_for(layout, self._aliases)
            self._unmapped.update(plan.unmapped)
            _remember(self._plans, layout, plan, MAX_PLANS)
        return plan

    def _classify(self, fields: Mapping[str, Any], plan: Plan) -> _Classification:
        keys = plan.keys
        judged = _judge(
            _text(fields, keys["kind"], _KIND_PARTS),
            _text(fields, keys["domain_type"], ("name",)),
            _text(fields, keys["operation"], ("name",)),
            _text(fields, keys["scope"], ("name",)),
        )
        _remember(plan.classes, plan.told_class(fields), judged, MAX_VALUES)
        return judged

    def _locate(self, fields: Mapping[str, Any], plan: Plan) -> _Location:
        domain_type = (_text(fields, plan.keys["domain_type"], ("name",)) or "").strip().upper()
        account, account_id = self._resolve("account", fields, plan, domain_type)
        cluster, cluster_id = self._resolve("cluster", fields, plan, domain_type)
        organisation, _ = self._resolve("organisation", fields, plan, domain_type)
        place = _Location(account, cluster, organisation, account_id, cluster_id)
        _remember(plan.places, plan.told_place(fields), place, MAX_VALUES)
        return place

    def _stable(self, fields: Mapping[str, Any], plan: Plan) -> bytes:
        """Spell what makes the identity where there is no upstream id: all but names that may be rewritten later."""
        plan = self._counted(plan)
        for name in ENTITIES:
            for key in plan.keys[name]:
                fields = _without_name(fields, key, name)
        return plan.layout + content(plan.told_stable(fields))

    def _counted(self, plan: Plan) -> Plan:
        """Return the plan of those fields that count towards identity; its getters take objects of the whole layout too."""
        if self._settled is None or self._settled.issuperset(plan.unmapped):
            return plan
        added = frozenset(plan.unmapped) - self._settled
        return self._plan(tuple(key for key in plan.all_keys if key not in added))

    def _resolve(
        self, field: str, fields: Mapping[str, Any], plan: Plan, domain_type: str
    ) -> tuple[Entity, str | None]:
        """Return the account, cluster or organisation, and its id as far as the record itself tells it: what we know changes."""
        known = self._known_accounts if field == "account" else {}
        told_id = _text(fields, plan.keys[f"{field}_id"]) or None
        name = _text(fields, plan.keys[f"{field}_name"]) or None
        known_id: str | None = None
        for key in plan.keys[field]:
            value = fields[key]
            if isinstance(value, dict):
                told_id = told_id or _part(value, ("id", f"{field}id"))
                name = name or _part(value, ("name", f"{field}name"))
            elif (text := _plain(value)) and _UUID.fullmatch(text):
                told_id = told_id or text
            elif text in known:
                known_id = known_id or text
            else:
                name = name or text or None
        if field != "organisation" and domain_type.startswith(field.upper()):
            told_id = told_id or _text(fields, plan.keys["domain_id"]) or None
            name = name or _text(fields, plan.keys["domain_name"]) or None
        entity_id = told_id or known_id
        name = name or known.get(entity_id or "")
        return (Entity(entity_id, name) if entity_id or name else NOTHING), told_id


def _usual_columns(plan: Plan, objects: Sequence[Mapping[str, Any]]) -> tuple[Sequence[Any], ...] | None:
    """Return times, users, descriptions, upstream ids, and what is known of classes and places (None: nothing yet).

    None, where a value is not what it usually is: then every form of every value has to be looked for.
    """
    if not plan.is_simple:
        return None
    times, users, descriptions, ids = zip(*map(plan.told_core, objects), strict=True)
    if {str} != {*map(type, users), *map(type, descriptions), *map(type, ids)} or not all(ids):
        return None
    instants = usual_instants(times)
    if instants is None:
        return None
    try:
        classes = list(map(plan.classes.get, map(plan.told_class, objects)))
        places = list(map(plan.places.get, map(plan.told_place, objects)))
    except TypeError:  # a list or an object where a text would be usual
        return None
    return instants, users, descriptions, ids, classes, places


def _stable_of_id(
    upstream_id: str,
    kind: str,
    instant: int | None,
    user: str | None,
    description: str | None,
    account_id: str | None,
    cluster_id: str | None,
) -> bytes:
    """Spell what makes the identity where there is an upstream id.

    More than the id, so that ids which are not unique in fact lose nothing; no more than these, so that a field that changes
    later makes no double.
    """
    return content((upstream_id, kind, instant, user, description, account_id, cluster_id))


def _remember(cache: dict[Any, Any], told: Any, made: object, limit: int) -> None:
    """Keep what was made of some texts; not of numbers and booleans, among which 1, 1.0 and true are one key."""
    if not all(value is None or isinstance(value, str) for value in (told if isinstance(told, tuple) else (told,))):
        return
    if len(cache) >= limit:
        cache.clear()
    cache[told] = made


def _judge(kind: str | None, domain_type: str | None, operation: str | None, scope: str | None) -> _Classification:
    """Join what the record tells with the catalogue: what is told wins."""
    name = normalise_kind(kind or "") or UNNAMED_KIND
    known = KINDS.get(name)
    told_operation = (operation or "").strip().upper()
    last = told_operation.rpartition("_")[2]
    return _Classification(
        kind=name,
        severity=severity_of(name),
        domain_type=domain_type,
        operation=last if last in OPERATIONS else known.operation if known else None,
        scope=_scope(domain_type, told_operation, scope) or (known.scope if known else None),
    )


def _scope(domain_type: str | None, operation: str, scope: str | None) -> str | None:
    """Say `organisation` where anything told says so, `account` where it says otherwise, None where nothing is told."""
    prefix = operation.rpartition("_")[0]
    told = [text for text in (scope, domain_type, prefix) if text and text.strip()]
    if any(text.strip().upper().startswith("ORG") for text in told):
        return ORGANISATION
    return ACCOUNT if told else None


def _read_core(fields: Mapping[str, Any], plan: Plan) -> tuple[datetime | None, str | None, str | None, str | None]:
    """Return time, user, description and upstream id, each from the first of its keys that holds one."""
    occurred_at: datetime | None = None
    for key in plan.keys["time"]:
        occurred_at = occurred_at or parse_instant(fields[key])
    user = _text(fields, plan.keys["user"], _USER_PARTS)
    return occurred_at, user, _text(fields, plan.keys["description"]), _text(fields, plan.keys["upstream_id"]) or None


def _without_name(fields: Mapping[str, Any], key: str, name: str) -> Mapping[str, Any]:
    """Leave the name out of an account, cluster or organisation told as an object that has an id too."""
    value = fields[key]
    if not isinstance(value, dict) or not _part(value, ("id", f"{name}id")):
        return fields
    return {**fields, key: {part: held for part, held in value.items() if part.lower() not in ("name", f"{name}name")}}


def _text(fields: Mapping[str, Any], keys: Sequence[str], parts: Sequence[str] = ()) -> str | None:
    """Return the first of these fields that holds words, as text; "" where one was blank and none held any; else None."""
    blank: str | None = None
    for key in keys:
        value = fields[key]
        text = _part(value, parts) if parts and isinstance(value, dict) else _plain(value)
        if text and not text.isspace():
            return text
        blank = text if blank is None else blank
    return blank


def _part(value: Mapping[str, Any], parts: Sequence[str]) -> str | None:
    """Return the first of these parts of an object that holds words, whatever the case of its name."""
    by_name = {key.lower(): held for key, held in value.items() if held is not None}
    for part in parts:
        text = _plain(by_name.get(part))
        if text:
            return text
    return None


def _plain(value: Any) -> str | None:
    """Spell a value as text; what has parts stays JSON, so that people see all of it."""
    if value is None or isinstance(value, str):
        return value
    return content(value).decode()
