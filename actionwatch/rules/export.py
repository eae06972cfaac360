"""Give rules back to any Sigma tool: what Sigma has no word for is left out, and said."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from actionwatch.model import Mode
from actionwatch.rules.document import METADATA
from actionwatch.rules.engine import Rule
from actionwatch.rules.filters import Filter

SIGMA_CORRELATION = ("type", "rules", "group-by", "timespan", "condition", "aliases", "generate")
SIGMA_TYPES = (
    "event_count", "value_count", "value_sum", "value_avg", "value_percentile", "value_median", "temporal", "temporal_ordered",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Exported:
    """Sigma documents of one of ours, and what they do not say."""

    documents: tuple[Mapping[str, Any], ...]
    lost: tuple[str, ...] = ()


def export_rules(rules: Iterable[Rule], filters: Iterable[Filter], now: datetime) -> Iterator[Exported]:
    """Export rules and filters; those that are off, or have expired, are left out."""
    for rule in rules:
        if rule.mode is Mode.OFF:
            yield Exported((), (f"{rule.name.name}: is off, and left out",))
        elif rule.document is not None:
            yield _rule(rule, rule.document.value)
    for each in filters:
        if each.expires <= now:
            yield Exported((), (f"{each.name.name}: has expired, and is left out",))
        else:
            yield _filter(each, each.report.document.value)


def _rule(rule: Rule, value: Mapping[str, Any]) -> Exported:
    lost = []
    if rule.when is not None:
        lost.append(f"{rule.name.name}: Sigma has no 'when': the rule will match at any time")
    if rule.mode is Mode.SHADOW:
        lost.append(f"{rule.name.name}: Sigma has no 'mode': the rule will alert")
    if "correlation" in value:
        return _correlation(rule, value, tuple(lost))
    detection = {key: item for key, item in value["detection"].items() if not str(key).startswith("x-")}
    return Exported(({**_head(value, rule), "logsource": value["logsource"], "detection": detection},), tuple(lost))


def _correlation(rule: Rule, value: Mapping[str, Any], lost: tuple[str, ...]) -> Exported:
    """Give a correlation in Sigma's multi-document form: the detections that feed it, each by itself, then the correlation."""
    block = value["correlation"]
    if block.get("type") not in SIGMA_TYPES or "expect-groups" in block:
        what = "absence" if "expect-groups" in block else f"type '{block.get('type')}'"
        return Exported((), (f"{rule.name.name}: Sigma has no {what}: the rule is left out",))
    parts, names = _parts(rule, value)
    told = {key: _renamed(block[key], names) for key in SIGMA_CORRELATION if key in block}
    if parts and "rules" not in block:
        told["rules"] = [part["name"] for part in parts]
    return Exported((*parts, {**_head(value, rule), "correlation": told}), lost)


def _parts(rule: Rule, value: Mapping[str, Any]) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Split the detection off; gives its rules, and what they are called now by what they were called."""
    detection = value.get("detection")
    if not isinstance(detection, dict):
        return [], {}
    logsource, stem = value["logsource"], re.sub(r"\W", "_", rule.name.name)
    selections = [name for name in detection if name != "condition"]
    if "rules" not in value["correlation"]:
        split = {f"{stem}_events": (detection, "events")}
        names = {}
    else:
        named = value["correlation"]["rules"]
        chosen = [named] if isinstance(named, str) else named
        split = {
            f"{stem}_{name}".replace("-", "_"): ({name: detection[name], "condition": name}, name)
            for name in selections
            if name in chosen
        }
        names = {name: part for part, (_, name) in split.items()}
    parts = [
        {"title": f"{rule.name.title}: {word}"[:256], "name": name, "level": "informational", "logsource": logsource,
         "detection": {**detected}}
        for name, (detected, word) in split.items()
    ]  # fmt: skip
    return parts, names


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """Call the parts by their new names, in lists, keys and conditions alike."""
    if isinstance(value, str):
        return re.sub(r"[\w-]+", lambda found: names.get(found[0], found[0]), value)
    if isinstance(value, list):
        return [_renamed(item, names) for item in value]
    if isinstance(value, dict):
        return {names.get(key, key): _renamed(item, names) for key, item in value.items()}
    return value


def _head(value: Mapping[str, Any], rule: Rule) -> dict[str, Any]:
    head = {key: value[key] for key in METADATA if key in value}
    head.setdefault("name", rule.name.name)
    head.setdefault("level", rule.level.word)
    return head


def _filter(each: Filter, value: Mapping[str, Any]) -> Exported:
    head = {key: value[key] for key in METADATA if key in value}
    head.setdefault("author", each.owner)
    head.setdefault("description", f"{each.reason} (until {value['expires']})")
    lost = f"{each.name.name}: Sigma has no 'expires': the filter will not end on {value['expires']}"
    return Exported(({**head, "logsource": value["logsource"], "filter": value["filter"]},), (lost,))
