"""The groups in which a correlation awaits something: `expect-groups`, written out or read from lists."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from math import prod
from typing import Any

from actionwatch.base.unicode import canonical
from actionwatch.rules.correlations.reading.limits import PLACE, is_absence
from actionwatch.rules.model import Group, Kind, Threshold
from actionwatch.rules.report import Report, suggest
from actionwatch.rules.selections import Surroundings
from actionwatch.text.yaml_document import Place

MAX_EXPECTED = 10_000  # groups in which something is awaited: each is watched from the start


def read_expected(
    kind: Kind,
    value: Mapping[str, Any],
    threshold: Threshold | None,
    group_by: tuple[str, ...],
    surroundings: Surroundings,
    report: Report,
) -> tuple[Group, ...] | None:
    if kind is not Kind.EVENT_COUNT:
        return None
    place = (*PLACE, "expect-groups")
    awaited = value.get("expect-groups")
    if not is_absence(threshold):
        if "expect-groups" in value and threshold is not None:
            report.fault(place, "'expect-groups' belongs to absence", "write: condition: {lt: 1}")
        return None
    if awaited is None and not group_by:
        return ((),)
    example = f"expect-groups: {{{', '.join(f'{name}: {{list: NAME}}' for name in group_by)}}}"
    if not isinstance(awaited, dict):
        what = "what should happen in every group needs 'expect-groups': an absent group tells nothing of itself"
        report.fault(place if "expect-groups" in value else PLACE, what, example)
        return ()
    choices = []
    for name in awaited:
        if name not in group_by:
            report.fault((*place, str(name)), f"'{name}' is not in 'group-by'", suggest(str(name), group_by, "it has"))
    for name in group_by:
        if name not in awaited:
            report.fault(place, f"'expect-groups' says nothing of '{name}'", example)
        else:
            choices.append(_read_awaited(awaited[name], (*place, name), surroundings, report))
    if prod(map(len, choices)) > MAX_EXPECTED:
        report.fault(place, f"these are more than {MAX_EXPECTED} groups", "watch fewer in one rule")
        return ()
    return tuple(dict.fromkeys(itertools.product(*(map(canonical, choice) for choice in choices))))


def _read_awaited(value: Any, place: Place, surroundings: Surroundings, report: Report) -> tuple[str, ...]:
    lists = surroundings.lists
    if isinstance(value, list) and value and not any(isinstance(each, dict | list | bool | None) for each in value):
        return tuple(map(str, value))
    if not isinstance(value, dict) or list(value) != ["list"] or not isinstance(value["list"], str):
        report.fault(place, "say which are awaited", "{list: NAME}, or values: [a, b]")
        return ()
    name = value["list"]
    if name in lists.values:
        if not lists.values[name]:
            report.note(
                place, f"the list '{name}' is empty: nothing is awaited", "write one value a line into its file"
            )
        return lists.values[name]
    if name in lists.broken:
        report.fault(place, f"the list '{name}' has faults of its own")
    else:
        report.fault(place, f"there is no list named '{name}'", suggest(name, lists.values, "lists"))
    return ()
