"""The possible names of record fields, and the plan for reading a layout.

Only two of the names are confirmed (`action`, `domainType`). The others are plausible, and the configuration can add more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from actionwatch.instaclustr.identity import content

# Our field -> its upstream names, the most likely first, ignoring case. `field_aliases` in the configuration can extend each.
# `account`, `cluster` and `organisation` can be an object, or a string with an id or a name.
ALIASES: Mapping[str, tuple[str, ...]] = {
    "kind": ("action", "actionKind", "kind", "actionType", "type"),
    "domain_type": ("domainType", "domain", "level", "scope"),
    "time": ("timestamp", "time", "actionTime", "timeCreated", "created", "createdAt", "date", "eventTime"),
    "user": ("userName", "username", "user", "userId", "actor", "performedBy", "createdBy", "email"),
    "description": ("description", "details", "message", "summary"),
    "account_id": ("accountId",),
    "account_name": ("accountName",),
    "account": ("account",),
    "cluster_id": ("clusterId",),
    "cluster_name": ("clusterName",),
    "cluster": ("cluster",),
    "organisation_id": ("organisationId", "organizationId"),
    "organisation_name": ("organisationName", "organizationName"),
    "organisation": ("organisation", "organization"),
    "domain_id": ("domainId",),
    "domain_name": ("domainName",),
    "operation": ("crudOperation", "operation", "crud"),
    "scope": (),
    "upstream_id": ("id", "actionId", "uuid", "userActionId"),
}
FIELDS = tuple(ALIASES)
_IN_LOWER_CASE = {name: tuple(map(str.lower, known)) for name, known in ALIASES.items()}

ENTITIES = ("account", "cluster", "organisation")
_CLASS_FIELDS = ("kind", "domain_type", "operation", "scope")

Getter = Callable[[Mapping[str, Any]], Any]


def extend_aliases(extra: Mapping[str, Sequence[str]]) -> Mapping[str, tuple[str, ...]]:
    """Put configured names before the built-in ones, all in lower case. Sources without any share the built-in ones.

    Raises: ValueError, for an unknown field.
    """
    for name in extra:
        if name not in ALIASES:
            raise ValueError(f"unknown field {name!r}: use one of {', '.join(FIELDS)}")
    if not extra:
        return _IN_LOWER_CASE
    return {name: (*map(str.lower, extra.get(name, ())), *known) for name, known in _IN_LOWER_CASE.items()}


@dataclass(frozen=True, slots=True)
class Plan:
    """The way to read objects of one layout, that is, with the same keys in the same order.

    Each getter returns the values of some keys of a decoded object: one value alone, several as a tuple.
    """

    all_keys: tuple[str, ...]
    keys: Mapping[str, tuple[str, ...]]
    """For each of our fields the possible keys, the most likely first."""
    unmapped: tuple[str, ...]
    """The keys without an alias."""
    is_simple: bool
    """Time, user and description have one key each, the upstream id at most one; no entity is a single value."""
    core_values: Getter
    """Four values of a simple layout: time, user, description and, if `has_id`, the upstream id."""
    has_id: bool
    class_values: Getter
    """The values for kind, domain type, operation and scope."""
    entity_values: Getter
    """The values for account, cluster and organisation."""
    layout: bytes
    """The encoded names of the keys that make the identity without an upstream id."""
    identity_values: Getter
    classes: dict[Any, Any] = field(default_factory=dict)
    """A cache of the reader: `class_values` -> classification."""
    locations: dict[Any, Any] = field(default_factory=dict)
    """A cache of the reader: `entity_values` -> location."""


def plan_for(layout: tuple[str, ...], aliases: Mapping[str, tuple[str, ...]]) -> Plan:
    """Compute how to read objects of this layout. `aliases` are from `extend_aliases`."""
    by_name: dict[str, list[str]] = {}
    for key in layout:
        by_name.setdefault(key.lower(), []).append(key)
    keys = {
        name: tuple(dict.fromkeys(key for alias in names for key in by_name.get(alias, ())))
        for name, names in aliases.items()
    }
    taken = {key for found in keys.values() for key in found}
    stable = sorted(set(layout) - _rewritable(keys))
    is_simple = _is_simple(keys)
    core = [*keys["time"], *keys["user"], *keys["description"], *keys["upstream_id"]]
    core += core[-1:] * (4 - len(core))
    return Plan(
        all_keys=layout,
        keys=keys,
        unmapped=tuple(key for key in layout if key not in taken),
        is_simple=is_simple,
        core_values=_getter(core) if is_simple else lambda _: (None, None, None, None),
        has_id=bool(keys["upstream_id"]),
        class_values=_getter([key for name in _CLASS_FIELDS for key in keys[name]]),
        entity_values=_getter(_place_keys(keys)),
        layout=content(stable),
        identity_values=_getter(stable),
    )


def _is_simple(keys: Mapping[str, tuple[str, ...]]) -> bool:
    is_one = all(len(keys[name]) == 1 for name in ("time", "user", "description")) and len(keys["upstream_id"]) <= 1
    return is_one and not any(keys[name] for name in ENTITIES)


def _place_keys(keys: Mapping[str, tuple[str, ...]]) -> list[str]:
    domain = [*keys["domain_id"], *keys["domain_name"]]
    places = [key for name in ENTITIES for part in ("_id", "_name", "") for key in keys[name + part]]
    return [*places, *domain, *keys["domain_type"]] if domain else places


def _rewritable(keys: Mapping[str, tuple[str, ...]]) -> set[str]:
    """Return the keys of names that may be rewritten later and that have an id in the same record."""
    found: set[str] = set()
    for name in ENTITIES:
        if keys[f"{name}_id"]:
            found.update(keys[f"{name}_name"], keys[name])
    if keys["domain_id"]:
        found.update(keys["domain_name"])
    return found


def _getter(names: Sequence[str]) -> Getter:
    return itemgetter(*names) if names else lambda _: None
