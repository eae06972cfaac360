"""The groups in which a correlation expects records: `expect-groups`, with values or lists."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from math import prod
from typing import Any

from actionwatch.base.model import Group
from actionwatch.base.unicode import canonical
from actionwatch.rules.correlations.reading.limits import PLACE, is_absence
from actionwatch.rules.model import CorrelationType, Threshold
from actionwatch.rules.report import Report
from actionwatch.rules.selections import ReadContext
from actionwatch.text.suggestions import suggest
from actionwatch.text.yaml_document import Place

_MAX_EXPECTED = 10_000  # expected groups; each has a state from the start


def read_expected(
    type_: CorrelationType,
    value: Mapping[str, Any],
    threshold: Threshold | None,
    group_by: tuple[str, ...],
    context: ReadContext,
    report: Report,
) -> tuple[Group, ...] | None:
    if type_ is not CorrelationType.EVENT_COUNT:
        return None
    place = (*PLACE, "expect-groups")
    choices_by_field = value.get("expect-groups")
    if not is_absence(threshold):
        if "expect-groups" in value and threshold is not None:
            report.fault(place, "'expect-groups' is only for absence", "write: condition: {lt: 1}")
        return None
    if choices_by_field is None and not group_by:
        return ((),)
    example = f"expect-groups: {{{', '.join(f'{name}: {{list: NAME}}' for name in group_by)}}}"
    if not isinstance(choices_by_field, dict):
        what = "absence in groups needs 'expect-groups': a missing group does not appear in the log"
        report.fault(place, what, example)
        return ()
    choices = []
    for name in choices_by_field:
        if name not in group_by:
            report.fault((*place, str(name)), f"'{name}' is not in 'group-by'", suggest(str(name), group_by, "it has"))
    for name in group_by:
        if name not in choices_by_field:
            report.fault(place, f"'expect-groups' does not contain '{name}'", example)
        else:
            choices.append(_read_choice(choices_by_field[name], (*place, name), context, report))
    if prod(map(len, choices)) > _MAX_EXPECTED:
        report.fault(place, f"there are more than {_MAX_EXPECTED} groups", "use fewer groups per rule")
        return ()
    return tuple(dict.fromkeys(itertools.product(*(map(canonical, choice) for choice in choices))))


def _read_choice(value: Any, place: Place, context: ReadContext, report: Report) -> tuple[str, ...]:
    lists = context.lists
    if isinstance(value, list) and value and not any(isinstance(each, dict | list | bool | None) for each in value):
        return tuple(map(str, value))
    if not isinstance(value, dict) or list(value) != ["list"] or not isinstance(value["list"], str):
        report.fault(place, "name the expected values", "{list: NAME}, or values: [a, b]")
        return ()
    name = value["list"]
    if name in lists.values:
        if not lists.values[name]:
            report.note_fault(
                place, f"the list '{name}' is empty: no groups are expected", "write one value per line to its file"
            )
        return lists.values[name]
    if name in lists.broken:
        report.fault(place, f"the list '{name}' has faults")
    else:
        report.fault(place, f"there is no list named '{name}'", suggest(name, lists.values, "lists"))
    return ()
