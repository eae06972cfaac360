"""Faults of a record: names of fields, forms of times, ids."""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

from actionwatch.emulator.catalogue import operation_of
from actionwatch.emulator.log import to_ms
from actionwatch.emulator.wire import Json

_SYDNEY_ISH = timezone(timedelta(hours=10))
_PADDING_NS = 7919  # makes digits below the milliseconds of the log; equal for equal instants

ABSENT = "absent"
ACTION_NAMES: Final = ("action", "actionKind", "kind", "actionType", "type")
DOMAIN_NAMES: Final = ("domainType", "domain", "level", "scope", ABSENT)
TIME_NAMES: Final = (
    *("timestamp", "time", "actionTime", "timeCreated", "created"),
    *("createdAt", "date", "eventTime", ABSENT),
)
USER_NAMES: Final = (
    *("userName", "username", "user", "userId", "actor", "performedBy", "createdBy", "email"),
    *("user.name", "user.username", "user.email", "actor.name", ABSENT),
)
DESCRIPTION_NAMES: Final = ("description", "details", "message", "summary", ABSENT)
ID_NAMES: Final = ("id", "actionId", "uuid", "userActionId")
ORGANISATION_NAMES: Final = ("organisation", "organization", ABSENT)


def rename(field: str) -> Callable[[Json, str], Json]:
    """Rename a field; `a.b` puts it into an object, `absent` removes it."""

    def change(record: Json, name: str) -> Json:
        if name == ABSENT:
            return without(record, field)
        outer, _, inner = name.partition(".")
        return {
            outer if key == field else key: {inner: value} if key == field and inner else value
            for key, value in record.items()
        }

    return change


def without(fields: Json, *names: str) -> Json:
    return {key: value for key, value in fields.items() if key not in names}


# Action kinds and operations

LABELS: Final[dict[str, Callable[[str], str]]] = {
    "words": lambda kind: kind.replace("_", " ").capitalize(),
    "hyphens": lambda kind: kind.replace("_", "-").lower(),
    "lower": str.lower,
    "padded": lambda kind: f"  {kind} ",
}
OPERATION_NAMES: Final = ("crudOperation", "operation", "crud", "bare")


def label(record: Json, form: str) -> Json:
    return {**record, "action": LABELS[form](str(record["action"]))}


def add_operation(record: Json, name: str) -> Json:
    """Add the operation: with its prefix under one of three names, or only the verb."""
    operation = operation_of(str(record["action"]))
    if name == "bare":
        return {**record, "operation": operation and operation.rpartition("_")[2]}
    return {**record, name: operation}


# Accounts, clusters, the organisation

NAMINGS: Final[dict[str, Callable[[str, object, object], Json]]] = {
    "id_only": lambda what, identity, _: {f"{what}Id": identity},
    "name_only": lambda what, _, name: {f"{what}Name": name},
    "string_id": lambda what, identity, _: {what: identity},
    "string_name": lambda what, _, name: {what: name},
    "object": lambda what, identity, name: {what: identity and {"id": identity, "name": name}},
    "domain": lambda _, identity, name: {"domainId": identity, "domainName": name},
    ABSENT: lambda _what, _identity, _name: {},
}


def name(what: str) -> Callable[[Json, str], Json]:
    """Change how an account or a cluster is given; `domain` changes only records of that domain type."""

    def change(record: Json, form: str) -> Json:
        if form == "domain" and record["domainType"] != what.upper():
            return record
        identity, known_as = record.get(f"{what}Id"), record.get(f"{what}Name")
        return {**without(record, f"{what}Id", f"{what}Name"), **NAMINGS[form](what, identity, known_as)}

    return change


def name_organisation(record: Json, stem: str) -> Json:
    rest = without(record, "organisationId", "organisationName")
    if stem == ABSENT:
        return rest
    return {**rest, f"{stem}Id": record["organisationId"], f"{stem}Name": record["organisationName"]}


def rewrite_names(record: Json, suffix: str) -> Json:
    """Rename accounts and clusters, in old records too."""
    return {**record, **{key: f"{record[key]}{suffix}" for key in ("accountName", "clusterName") if record.get(key)}}


def new_id(name: object) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, str(name)))


# Time


def _nanoseconds(at: datetime) -> int:
    ms = to_ms(at)
    return ms * 1_000_000 + ms * _PADDING_NS % 1_000_000


def _iso(digits: int, zone: timezone = UTC, suffix: str = "Z") -> Callable[[datetime], str]:
    def write(at: datetime) -> str:
        fraction = f".{_nanoseconds(at) % 10**9:09d}"[: digits + 1] if digits else ""
        return f"{at.astimezone(zone):%Y-%m-%dT%H:%M:%S}{fraction}{suffix}"

    return write


_NUMBERS: Final = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


def _number(divisor: int, form: type[int] | type[str]) -> Callable[[datetime], int | str]:
    return lambda at: form(_nanoseconds(at) // divisor)


TIME_FORMS: Final[dict[str, Callable[[datetime], object]]] = {
    **{unit: _number(divisor, int) for unit, divisor in _NUMBERS.items()},
    **{f"{unit}_text": _number(divisor, str) for unit, divisor in _NUMBERS.items()},
    **{f"iso_{digits}": _iso(digits) for digits in range(10)},
    "iso_sydney": _iso(3, _SYDNEY_ISH, "+10:00"),
    "iso_basic_sydney": _iso(3, _SYDNEY_ISH, "+1000"),
    "iso_basic_utc": _iso(3, UTC, "+0000"),
    "iso_no_zone": _iso(3, UTC, ""),
    "iso_blank": lambda at: _iso(3)(at).replace("T", " "),
    "unreadable": lambda _: "last Tuesday",
    "empty": lambda _: "",
    "null": lambda _: None,
}


def write_time(record: Json, form: str) -> Json:
    return {**record, "timestamp": TIME_FORMS[form](datetime.fromisoformat(str(record["timestamp"])))}


# The record as a whole

CASES: Final[dict[str, Callable[[str], str]]] = {
    "lower": str.lower,
    "upper": str.upper,
    "pascal": lambda key: key[:1].upper() + key[1:],
}
NESTED: Final[Json] = {"nested": [1, "two", None, {"deep": True}]}
