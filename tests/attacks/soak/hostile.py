"""Hostile values: a JSON document is changed in a few places, as a seed decides."""

from __future__ import annotations

import json
import random
from typing import Any

TEXTS = (
    "",
    " ",
    "\0",
    "\x1b[2J",
    "\u202eevil",
    "\ud800",
    "*",
    "{{ 7 * 7 }}",
    "<!channel>",
    "=?utf-8?q?=0d=0aBcc:_eve?=",
    "9999-12-31T23:59:59.999999999Z",
    "0001-01-01T00:00:00+23:59",
    "2026-02-30T00:00:00Z",
    "2026-11-25T12:00:00",
    "1e400",
    "-1",
    "DELETE_CLUSTER",
    "UNKNOWN_KIND",
)
NUMBERS = (0, -1, 1, 2**31, 2**63, -(2**63) - 1, 10**30, 1.5, -0.0, 1e308, 1699190130000, 253402300800000)
RAW = ("NaN", "-Infinity", "1e999", "9" * 5_000, '{"a":1,"a":2}', "\\", '"\\ud800"', "[" * 40 + "]" * 40)
SMALL_CHARS = 2_000  # of what is repeated often: the attack itself needs memory in the same process
MOST_PLACES = 50  # within one list, so that a large one attracts not all changes
_PLACE = "\u2603raw{}\u2603"


def value(chance: random.Random) -> Any:
    """Return a value that is unlikely at most places."""
    return chance.choice(
        [
            None,
            chance.random() < 0.5,
            chance.choice(NUMBERS),
            chance.choice(TEXTS),
            chance.choice(TEXTS) * chance.choice([2, 3_000]),
            "x" * chance.choice([300, 70_000, 1_000_000]),
            _PLACE.format(chance.randrange(len(RAW))),
            [],
            {},
            [chance.choice(TEXTS)] * chance.choice([1, 2_000]),
            {f"k{number}": chance.choice(NUMBERS) for number in range(chance.choice([1, 2_000]))},
            _nested(chance.choice([3, 99, 101, 400])),
        ]
    )


def changed(chance: random.Random, document: Any, times: int) -> Any:
    """Return a copy of a document with so many changes: a value replaced, removed, repeated, or under another name."""
    document = json.loads(json.dumps(document))
    for _ in range(times):
        places = list(_places(document))
        if not places:
            return value(chance)
        container, key = chance.choice(places)
        match chance.randrange(6):
            case 0:
                del container[key]
            case 1 if isinstance(container, list):
                is_small = len(json.dumps(container[key])) < SMALL_CHARS
                container[key:key] = [container[key]] * chance.choice([1, 3, 500 if is_small else 1])
            case 2 if isinstance(container, dict):
                container[chance.choice(TEXTS)] = container.pop(key)
            case _:
                container[key] = value(chance)
    return document


def text(document: Any) -> str:
    """Return a document as JSON, or as nearly JSON where a change needs that."""
    written = json.dumps(document)
    for number, raw in enumerate(RAW):
        written = written.replace(json.dumps(_PLACE.format(number)), raw)
    return written


def _places(document: Any) -> list[tuple[Any, Any]]:
    keys: list[Any] = []
    if isinstance(document, dict):
        keys = list(document)[:MOST_PLACES]
    elif isinstance(document, list):
        keys = list(range(min(len(document), MOST_PLACES)))
    here = [(document, key) for key in keys]
    return here + [place for container, key in here for place in _places(container[key])]


def _nested(levels: int) -> Any:
    made: Any = "deep"
    for level in range(levels):
        made = [made] if level % 2 else {"a": made}
    return made
