"""Which names the upstream may give to the fields of a record: the one table, and the plan made from it for a layout.

Only two of the names have been seen (`action`, `domainType`); the rest are plausible, and a configuration can add to them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from actionwatch.instaclustr.identity import content

# Our field -> its names upstream, the likeliest first; compared without regard to case. The keys are what `field_aliases`
# in the configuration may extend. `account`, `cluster` and `organisation` take a string, an id or a name, or an object.
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

ENTITIES = ("account", "cluster", "organisation")
CLASS_FIELDS = ("kind", "domain_type", "operation", "scope")

Getter = Callable[[Mapping[str, Any]], Any]


def extend_aliases(extra: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Put configured names before the built-in ones, all in lower case.

    Raises: ValueError, naming a field that we do not have.
    """
    for name in extra:
        if name not in ALIASES:
            raise ValueError(f"there is no field {name!r} to give another name; there are {', '.join(FIELDS)}")
    return {name: tuple(alias.lower() for alias in (*extra.get(name, ()), *known)) for name, known in ALIASES.items()}


@dataclass(frozen=True, slots=True)
class Plan:
    """How to read every object that has one layout, that is, the same keys in the same order.

    Each getter takes the decoded object and gives the values of some keys: one value bare, several as a tuple.
    """

    all_keys: tuple[str, ...]
    keys: Mapping[str, tuple[str, ...]]
    """Of each of our fields, the keys that may hold it, the likeliest first."""
    unmapped: tuple[str, ...]
    """The keys that no field takes."""
    is_simple: bool
    """Time, user and description have one key each, the upstream id one or none; no account or the like is told as a whole."""
    told_core: Getter
    """Four values; of a simple layout: time, user, description and, where `has_id`, the upstream id."""
    has_id: bool
    told_class: Getter
    """What says kind, domain type, operation and scope."""
    told_place: Getter
    """What says account, cluster and organisation."""
    layout: bytes
    """The names of the keys that make the identity where there is no id, spelt; `told_stable` gives their values."""
    told_stable: Getter
    classes: dict[Any, Any] = field(default_factory=dict)
    """For the reader: what it made of each value of `told_class`; likewise below."""
    places: dict[Any, Any] = field(default_factory=dict)


def plan_for(layout: tuple[str, ...], aliases: Mapping[str, tuple[str, ...]]) -> Plan:
    """Work out once how to read objects of this layout; `aliases` as `extend_aliases` gives them."""
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
        told_core=_getter(core) if is_simple else lambda _: (None, None, None, None),
        has_id=bool(keys["upstream_id"]),
        told_class=_getter([key for name in CLASS_FIELDS for key in keys[name]]),
        told_place=_getter(_place_keys(keys)),
        layout=content(stable),
        told_stable=_getter(stable),
    )


def _is_simple(keys: Mapping[str, tuple[str, ...]]) -> bool:
    is_one = all(len(keys[name]) == 1 for name in ("time", "user", "description")) and len(keys["upstream_id"]) <= 1
    return is_one and not any(keys[name] for name in ENTITIES)


def _place_keys(keys: Mapping[str, tuple[str, ...]]) -> list[str]:
    domain = [*keys["domain_id"], *keys["domain_name"]]
    places = [key for name in ENTITIES for part in ("_id", "_name", "") for key in keys[name + part]]
    return [*places, *domain, *keys["domain_type"]] if domain else places


def _rewritable(keys: Mapping[str, tuple[str, ...]]) -> set[str]:
    """Name the keys that hold a name which may be rewritten later, where an id stands beside it."""
    found: set[str] = set()
    for name in ENTITIES:
        if keys[f"{name}_id"]:
            found.update(keys[f"{name}_name"], keys[name])
    if keys["domain_id"]:
        found.update(keys["domain_name"])
    return found


def _getter(names: Sequence[str]) -> Getter:
    return itemgetter(*names) if names else lambda _: None
