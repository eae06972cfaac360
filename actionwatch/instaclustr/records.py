"""Turn the JSON object of one user action into a `Record`; pure. Called by `wire.parse_page` for every item of a page.

Any object makes a record: what cannot be found or read is absent, and the text of the whole object is kept. All that can be
worked out from the layout alone is worked out once (`aliases.Plan`), so that a million records take seconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from actionwatch.instaclustr.aliases import ENTITIES, Plan, extend_aliases, plan_for
from actionwatch.instaclustr.identity import content, record_key
from actionwatch.instaclustr.instants import microseconds, parse_instant
from actionwatch.instaclustr.kinds import (
    ACCOUNT,
    KINDS,
    OPERATIONS,
    ORGANISATION,
    UNKNOWN_SEVERITY,
    UNNAMED_KIND,
    normalise_kind,
)
from actionwatch.model import NOTHING, Entity, Record

# Real layouts and values repeat; an upstream that makes them up must not fill the memory.
MAX_PLANS = 1000
MAX_VALUES = 10_000

_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
_USER_PARTS = ("name", "username", "email")
_KIND_PARTS = ("name", "kind", "action", "type")


class _Class(NamedTuple):
    """What kind, domain type, operation and scope of a record say together."""

    kind: str
    severity: str
    domain_type: str | None
    operation: str | None
    scope: str | None


class _Place(NamedTuple):
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
        aliases: Mapping[str, Sequence[str]] | None = None,
        known_accounts: Mapping[str, str] | None = None,
    ) -> None:
        """Prepare for one source; `aliases` are the configuration's `field_aliases`, `known_accounts` maps id to name.

        Raises: ValueError, for an alias of a field that we do not have.
        """
        self.source = source
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

    def read_all(self, objects: Iterable[Mapping[str, Any]], texts: Iterable[str], seen_at: datetime) -> list[Record]:
        """Read many objects, decoded (`objects`) and to the letter (`texts`, as many), in their order.

        A record without a readable time takes `seen_at` for it and says so; its key does not depend on that.
        """
        plans, source, records = self._plans, self.source, list[Record]()
        for fields, raw in zip(objects, texts, strict=True):
            layout = tuple(fields)
            plan = plans.get(layout) or self._plan(layout)
            try:
                judged = plan.classes.get(plan.told_class(fields)) or self._classify(fields, plan)
                place = plan.places.get(plan.told_place(fields)) or self._locate(fields, plan)
            except TypeError:  # a list or an object where a text would be usual: nothing to look up by
                judged, place = self._classify(fields, plan), self._locate(fields, plan)
            kind, severity, domain_type, operation, scope = judged
            account, cluster, organisation, account_id, cluster_id = place
            time, user, description, upstream_id = plan.told_core(fields)
            if (
                plan.is_simple
                and user.__class__ is description.__class__ is upstream_id.__class__ is str
                and upstream_id
            ):
                occurred_at = parse_instant(time)
                upstream_id = upstream_id if plan.has_id else None
            else:
                occurred_at, user, description, upstream_id = _read_core(fields, plan)
            instant = None if occurred_at is None else microseconds(occurred_at)
            if upstream_id:
                # More than the id, so that ids which are not unique in fact lose nothing; no more than these, so that a
                # field that changes later makes no double.
                stable = content((upstream_id, kind, instant, user, description, account_id, cluster_id))
            else:
                stable = self._stable(fields, plan)
            records.append(
                Record(
                    key=record_key(instant, stable),
                    source=source,
                    occurred_at=occurred_at or seen_at,
                    seen_at=seen_at,
                    action_kind=kind,
                    raw=raw,
                    domain_type=domain_type,
                    user_name=user,
                    description=description,
                    account=account,
                    cluster=cluster,
                    organisation=organisation,
                    operation=operation,
                    scope=scope,
                    severity=severity,
                    upstream_id=upstream_id,
                    is_time_readable=occurred_at is not None,
                )
            )
        return records

    def _plan(self, layout: tuple[str, ...]) -> Plan:
        plan = plan_for(layout, self._aliases)
        self._unmapped.update(plan.unmapped)
        _remember(self._plans, layout, plan, MAX_PLANS)
        return plan

    def _classify(self, fields: Mapping[str, Any], plan: Plan) -> _Class:
        keys = plan.keys
        judged = _judge(
            _text(fields, keys["kind"], _KIND_PARTS),
            _text(fields, keys["domain_type"], ("name",)),
            _text(fields, keys["operation"], ("name",)),
            _text(fields, keys["scope"], ("name",)),
        )
        _remember(plan.classes, plan.told_class(fields), judged, MAX_VALUES)
        return judged

    def _locate(self, fields: Mapping[str, Any], plan: Plan) -> _Place:
        domain_type = (_text(fields, plan.keys["domain_type"], ("name",)) or "").strip().upper()
        account, account_id = self._resolve("account", fields, plan, domain_type)
        cluster, cluster_id = self._resolve("cluster", fields, plan, domain_type)
        organisation, _ = self._resolve("organisation", fields, plan, domain_type)
        place = _Place(account, cluster, organisation, account_id, cluster_id)
        _remember(plan.places, plan.told_place(fields), place, MAX_VALUES)
        return place

    def _stable(self, fields: Mapping[str, Any], plan: Plan) -> bytes:
        """Spell what makes the identity where there is no upstream id: all but names that may be rewritten later."""
        if self._settled is not None and not self._settled.issuperset(plan.unmapped):
            added = frozenset(plan.unmapped) - self._settled
            fields = {key: value for key, value in fields.items() if key not in added}
            plan = self._plans.get(tuple(fields)) or self._plan(tuple(fields))
        values = plan.told_stable(fields)
        if values is None or (values.__class__ is tuple and None in values):
            # A null says what an absent field says, and must not change the identity either.
            fields = {key: value for key, value in fields.items() if value is not None}
            plan = self._plans.get(tuple(fields)) or self._plan(tuple(fields))
        for name in ENTITIES:
            for key in plan.keys[name]:
                fields = _without_name(fields, key, name)
        return plan.layout + content(plan.told_stable(fields))

    def _resolve(
        self, field: str, fields: Mapping[str, Any], plan: Plan, domain_type: str
    ) -> tuple[Entity, str | None]:
        """Give the account, cluster or organisation, and its id as far as the record itself tells it: what we know changes."""
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


def _remember(cache: dict[Any, Any], told: Any, made: object, limit: int) -> None:
    """Keep what was made of some texts; not of numbers and booleans, among which 1, 1.0 and true are one key."""
    if not all(value is None or isinstance(value, str) for value in (told if isinstance(told, tuple) else (told,))):
        return
    if len(cache) >= limit:
        cache.clear()
    cache[told] = made


def _judge(kind: str | None, domain_type: str | None, operation: str | None, scope: str | None) -> _Class:
    """Join what the record tells with the catalogue: what is told wins."""
    name = normalise_kind(kind or "") or UNNAMED_KIND
    known = KINDS.get(name)
    told_operation = (operation or "").strip().upper()
    last = told_operation.rpartition("_")[2]
    return _Class(
        kind=name,
        severity=known.severity if known else UNKNOWN_SEVERITY,
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
    """Give time, user, description and upstream id, each from the first of its keys that holds one."""
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
    """Give the first of these fields that holds words, as text; "" where one was blank and none held any; else None."""
    blank: str | None = None
    for key in keys:
        value = fields[key]
        text = _part(value, parts) if parts and isinstance(value, dict) else _plain(value)
        if text and not text.isspace():
            return text
        blank = text if blank is None else blank
    return blank


def _part(value: Mapping[str, Any], parts: Sequence[str]) -> str | None:
    """Give the first of these parts of an object that holds words, whatever the case of its name."""
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
