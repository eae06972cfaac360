"""Faults of the envelope: counts, names, shapes."""

from collections import Counter
from collections.abc import Callable
from typing import Final

from actionwatch.emulator.log import LogPage
from actionwatch.emulator.wire import Json
from tests.emulator.faults.records import ABSENT, without

_MAX_ENVELOPES = 3


def _listed(kind: str, number: str) -> Callable[[dict[str, int], LogPage], object]:
    return lambda counts, _: [{kind: name, number: count} for name, count in counts.items()]


COUNTS: Final[dict[str, Callable[[dict[str, int], LogPage], object]]] = {
    "null": lambda _counts, _page: None,
    "empty": lambda _counts, _page: {},
    "page": lambda _, page: dict(Counter(action.kind for action in page.actions)),
    "more": lambda counts, _: {kind: count + 1 for kind, count in counts.items()},
    "fewer": lambda counts, _: dict(list(counts.items())[1:]),
    "string": lambda counts, _: {kind: str(count) for kind, count in counts.items()},
    **{
        f"{kind}_{number}": _listed(kind, number)
        for kind in ("action", "kind", "name")
        for number in ("count", "total")
    },
}


def count(envelope: Json, page: LogPage, form: str) -> Json:
    """Change or remove the counts, if they are requested."""
    if page.counts is None:
        return envelope
    if form == ABSENT:
        return without(envelope, "actionCounts")
    return {**envelope, "actionCounts": COUNTS[form](page.counts, page)}


RESOURCES: Final[dict[str, Callable[[Json, object], Json]]] = {
    "Resources": lambda rest, records: {**rest, "Resources": records},
    "null": lambda rest, _: {**rest, "resources": None},
    ABSENT: lambda rest, _: rest,
    "null_when_empty": lambda rest, records: {**rest, "resources": records or None},
    "absent_when_empty": lambda rest, records: {**rest, "resources": records} if records else rest,
}
ODD_RECORDS: Final[dict[str, object]] = {"null": None, "text": "record", "number": 7, "list": [], "object": {}}


def move_resources(envelope: Json, form: str) -> Json:
    return RESOURCES[form](without(envelope, "resources"), envelope.get("resources"))


def add_odd_record(envelope: Json, form: str) -> Json:
    records = envelope.get("resources")
    return {**envelope, "resources": [*(records if isinstance(records, list) else []), ODD_RECORDS[form]]}


def _records(envelope: Json) -> list[object]:
    found = envelope.get("resources", envelope.get("Resources"))
    return list(found) if isinstance(found, list) else []


def _several(envelope: Json) -> list[Json]:
    """Distribute the records over up to three envelopes, each with the total of all."""
    records = _records(envelope)
    key = "Resources" if "Resources" in envelope else "resources"
    size = max(1, -(-len(records) // _MAX_ENVELOPES))
    parts = [records[at : at + size] for at in range(0, len(records), size)]
    return [{**envelope, "itemsPerPage": len(part), key: part} for part in parts] or [envelope]


SHAPES: Final[dict[str, Callable[[Json], object]]] = {
    "listed": lambda envelope: [envelope],
    "bare": lambda envelope: envelope,
    "records": _records,
    "empty_list": lambda envelope: [envelope] if _records(envelope) else [],
    "several": _several,
}
