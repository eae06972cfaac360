"""Interpret the values of a record's fields: its kind and its place. Read once for each layout and short value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from actionwatch.base.cache_keys import is_short
from actionwatch.base.ids import UUID
from actionwatch.base.model import NOTHING, Entity
from actionwatch.instaclustr.aliases import Plan, extend_aliases, plan_for
from actionwatch.instaclustr.identity import content
from actionwatch.instaclustr.kinds import (
    ACCOUNT,
    KINDS,
    OPERATIONS,
    ORGANISATION,
    UNNAMED_KIND,
    normalise_kind,
    severity_of,
)

# Real layouts and values repeat; an upstream that invents new ones must not fill the memory.
_MAX_PLANS = 1000
_MAX_LAYOUT_CHARS = 10_000  # of the names in a layout that is cached
_MAX_VALUES = 50_000  # of all layouts together
MAX_UNMAPPED_FIELDS = 1000  # names that are kept: records have about 20
_MAX_NAME_CHARS = 200  # of such a name

_KIND_PARTS = ("name", "kind", "action", "type")


class Classification(NamedTuple):
    """The classification by kind, domain type, operation and scope of a record."""

    kind: str
    severity: str
    domain_type: str | None
    operation: str | None
    scope: str | None


class Location(NamedTuple):
    """The place of an action. The ids are those in the record itself: known accounts change, and keys must not."""

    account: Entity
    cluster: Entity
    organisation: Entity
    account_id: str | None
    cluster_id: str | None


class FieldValues:
    """Reads values by the layout of their object. Safe to share between threads: a lost cache entry is computed again."""

    def __init__(self, aliases: Mapping[str, Sequence[str]]) -> None:
        """`aliases` are the configured `field_aliases`. Raises: ValueError, for an alias of an unknown field."""
        self.unmapped: set[str] = set()
        """The top-level fields so far that have no alias, at most 1,000."""
        self._aliases = extend_aliases(aliases)
        self.accounts: Mapping[str, str] = {}
        """The linked accounts, id to name. They show whether an account given as one string is an id or a name."""
        self._plans: dict[tuple[str, ...], Plan] = {}
        self._value_count = 0

    def know_accounts(self, accounts: Mapping[str, str]) -> None:
        """Replace the linked accounts, id to name."""
        self.accounts = accounts
        self._forget()  # the cached locations have the old accounts

    def plan(self, layout: tuple[str, ...]) -> Plan:
        """Return how it reads objects with these keys in this order."""
        plan = self._plans.get(layout)
        if plan is None:
            plan = plan_for(layout, self._aliases)
            if len(self._plans) >= _MAX_PLANS:
                self._forget()
            if sum(map(len, layout)) <= _MAX_LAYOUT_CHARS:
                self._plans[layout] = plan
            names = [name for name in plan.unmapped if len(name) <= _MAX_NAME_CHARS and name not in self.unmapped]
            self.unmapped.update(names[: max(MAX_UNMAPPED_FIELDS - len(self.unmapped), 0)])
        return plan

    def classify(self, fields: Mapping[str, Any], plan: Plan) -> Classification:
        """Combine the values of the record with the catalogue; the record takes precedence."""
        kind = normalise_kind(text_of(fields, plan.keys["kind"], _KIND_PARTS) or "") or UNNAMED_KIND
        known = KINDS.get(kind)
        domain_type = text_of(fields, plan.keys["domain_type"], ("name",))
        operation = (text_of(fields, plan.keys["operation"], ("name",)) or "").strip().upper()
        verb = operation.rpartition("_")[2]
        scope = _scope(domain_type, operation, text_of(fields, plan.keys["scope"], ("name",)))
        classified = Classification(
            kind=kind,
            severity=severity_of(kind),
            domain_type=domain_type,
            operation=verb if verb in OPERATIONS else known.operation if known else None,
            scope=scope or (known.scope if known else None),
        )
        self._remember(plan.classes, plan.class_values(fields), classified)
        return classified

    def locate(self, fields: Mapping[str, Any], plan: Plan) -> Location:
        """Return where it happened, with the names of accounts that are known."""
        domain_type = (text_of(fields, plan.keys["domain_type"], ("name",)) or "").strip().upper()
        account, account_id = self._resolve("account", fields, plan, domain_type)
        cluster, cluster_id = self._resolve("cluster", fields, plan, domain_type)
        organisation, _ = self._resolve("organisation", fields, plan, domain_type)
        place = Location(account, cluster, organisation, account_id, cluster_id)
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

    def _resolve(
        self, field: str, fields: Mapping[str, Any], plan: Plan, domain_type: str
    ) -> tuple[Entity, str | None]:
        """Return the account, cluster or organisation, and its id only if the record itself contains it."""
        known = self.accounts if field == "account" else {}
        given_id = text_of(fields, plan.keys[f"{field}_id"]) or None
        name = text_of(fields, plan.keys[f"{field}_name"]) or None
        known_id: str | None = None
        for key in plan.keys[field]:
            value = fields[key]
            if isinstance(value, dict):
                given_id = given_id or part_of(value, ("id", f"{field}id"))
                name = name or part_of(value, ("name", f"{field}name"))
            elif (text := _plain(value)) and UUID.fullmatch(text):
                given_id = given_id or text
            elif text in known or (text and name not in (None, text)):
                # If there is also a name, the text is the id. Not `given_id`: the key of a record must not change with aliases.
                known_id = known_id or text
            else:
                name = name or text or None
        if field != "organisation" and domain_type.startswith(field.upper()):
            given_id = given_id or text_of(fields, plan.keys["domain_id"]) or None
            name = name or text_of(fields, plan.keys["domain_name"]) or None
        entity_id = given_id or known_id
        name = name or known.get(entity_id or "")
        return (Entity(entity_id, name) if entity_id or name else NOTHING), given_id


def _scope(domain_type: str | None, operation: str, scope: str | None) -> str | None:
    """Return `organisation` if a value says so, `account` if there are other values, None if there are none."""
    prefix = operation.rpartition("_")[0]
    given = [text for text in (scope, domain_type, prefix) if text and text.strip()]
    if any(text.strip().upper().startswith("ORG") for text in given):
        return ORGANISATION
    return ACCOUNT if given else None


def text_of(fields: Mapping[str, Any], keys: Sequence[str], parts: Sequence[str] = ()) -> str | None:
    """Return the first of these fields with a text that is not blank; "" if there are only blank ones; else None."""
    blank: str | None = None
    for key in keys:
        value = fields[key]
        text = part_of(value, parts) if parts and isinstance(value, dict) else _plain(value)
        if text and not text.isspace():
            return text
        blank = text if blank is None else blank
    return blank


def part_of(value: Mapping[str, Any], parts: Sequence[str]) -> str | None:
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
