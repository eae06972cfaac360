"""Load the configuration file: read, expand the environment, validate, and report every fault at once.

The caller, `service/configuration.py`, passes in the notifiers, the drivers of streams and the matcher syntax, which this
package must not import.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actionwatch.base.errors import ConfigError, Fault
from actionwatch.settings.expand import Expansion
from actionwatch.settings.faults import Reader
from actionwatch.settings.keys import Receiver, ReceiverOptions, Settings
from actionwatch.settings.sources import read_sources, what_is_too_short
from actionwatch.settings.stream_keys import Stream, StreamOptions
from actionwatch.text.options import Options
from actionwatch.text.suggestions import did_you_mean
from actionwatch.text.yaml_document import Document, Place, read_file


@dataclass(frozen=True, slots=True)
class Types:
    """The types of receivers or streams, and the options of each. `options` is called only for types in use."""

    names: Sequence[str]
    options: Callable[[str], type[Options]]


def load_settings(
    path: Path,
    *,
    environ: Mapping[str, str],
    receiver_types: Types,
    stream_types: Types,
    check_matcher: Callable[[str], object],
    record_fields: Sequence[str] | None = None,
    alert_labels: Sequence[str] = (),
) -> Settings:
    """Load the configuration file at `path`.

    `check_matcher` raises ValueError for an invalid matcher. `record_fields` are the fields that `field_aliases` may extend.
    `alert_labels` are the labels that sources cannot have, because all alerts have them.

    Raises: ConfigError with every fault, in the order of the file.
    """
    document = _read(path)
    expansion = Expansion(document, environ)
    data = expansion.expand(document.value)
    if not isinstance(data, dict):
        raise ConfigError(document.fault((), "the file must contain keys and values", "start from `actionwatch init`"))
    context = {
        **source_context(path, record_fields, alert_labels),
        "receiver_names": list(dict.fromkeys(_names(data, "receivers"))),
        "interval_names": _names(data, "time_intervals"),
        "check_matcher": check_matcher,
    }
    sources = read_sources(data.pop("sources", None), expansion, context)
    reader = Reader(document, {**context, "source_files": sources.files}, expansion.places)
    receivers, faults = _read_typed(data, reader, _RECEIVERS, receiver_types)
    streams, more = _read_typed(data, reader, _STREAMS, stream_types)
    settings, others = reader.read(
        Settings, _prepared(data, {"sources": sources.sources, "receivers": receivers, "streams": streams})
    )
    faults += [*sources.faults, *more, *others, *expansion.faults, *_across(data, document)]
    if settings is not None and (short := what_is_too_short(settings, sources.sources)):
        faults.append(document.fault(("store", "retention", "records"), *short))
    if faults or settings is None:
        in_order = sorted(faults, key=lambda fault: (fault.file != document.file, fault.file, fault.line, fault.column))
        raise ConfigError(*in_order)
    return settings


def source_context(
    path: Path, record_fields: Sequence[str] | None = None, alert_labels: Sequence[str] = ()
) -> dict[str, Any]:
    """Return what the keys of sources need to be checked, for `load_sources`; the rest is as for `load_settings`."""
    return {
        "folder": path.absolute().parent,
        "record_fields": list(record_fields) if record_fields is not None else None,
        "alert_labels": alert_labels,
    }


def _read(path: Path) -> Document:
    if not path.exists():
        raise ConfigError(Fault(str(path), 0, 0, "there is no such file", "name it with -c, or run `actionwatch init`"))
    documents = read_file(path)
    if len(documents) > 1:
        raise ConfigError(documents[1].fault((), "a second document", "remove the line ---"))
    return documents[0] if documents else Document(str(path), {})


def _prepared(data: dict[str, Any], read: Mapping[str, Sequence[Options]]) -> dict[str, Any]:
    """Insert the sections that were read, and an empty store section so that its defaults are resolved."""
    prepared = {"store": {}, **data}
    return prepared | {
        name: items for name, items in read.items() if name == "sources" or isinstance(data.get(name), list)
    }


@dataclass(frozen=True, slots=True)
class _Section:
    """A list of items that have exactly one type each, which is a key with the options of the type."""

    name: str
    noun: str
    options: type[Options]
    item: type[Options]


_RECEIVERS = _Section("receivers", "receiver", ReceiverOptions, Receiver)
_STREAMS = _Section("streams", "stream", StreamOptions, Stream)


def _read_typed(
    data: dict[str, Any], reader: Reader, section: _Section, types: Types
) -> tuple[list[Options], list[Fault]]:
    """Read each item's keys and the options of its type. Return only complete items."""
    items: list[Options] = []
    faults: list[Fault] = []
    listed = data.get(section.name)
    for index, item in enumerate(listed if isinstance(listed, list) else []):
        place: Place = (section.name, index)
        given = [key for key in types.names if key in item] if isinstance(item, dict) else []
        rest = {key: value for key, value in item.items() if key not in given} if isinstance(item, dict) else item
        keys, found = reader.read(section.options, rest, place, types.names)
        faults += [*found, *_type_faults(item, given, section, types.names, place, reader.document)]
        for name in given:
            written = {} if item[name] is None else item[name]  # `console:` needs no options
            options, found = reader.read(types.options(name), written, (*place, name))
            faults += found
            if keys is not None and options is not None:
                whole = {**rest, "type": name, "options": options}
                items.append(section.item.model_validate(whole, context=reader.context))
    return items, faults


def _type_faults(
    item: Any, given: list[str], section: _Section, types: Sequence[str], place: Place, document: Document
) -> list[Fault]:
    """Require exactly one type; report nothing if an unknown key probably means a type."""
    if not isinstance(item, dict) or len(given) == 1:
        return []
    if given:
        what = f"a {section.noun} has one type, not {' and '.join(given)}"
        return [document.fault((*place, given[1]), what, f"make one {section.noun} for each")]
    if any(did_you_mean(key, list(types)) for key in item if key not in section.options.model_fields):
        return []
    return [document.fault(place, f"the {section.noun} has no type", f"add one of {', '.join(types)}")]


def _across(data: dict[str, Any], document: Document) -> list[Fault]:
    """Check what concerns several values: names are unique, the root of the route has no matchers."""
    faults: list[Fault] = []
    for section in ("receivers", "streams", "time_intervals"):
        seen: set[str] = set()
        for index, item in _items(data, section):
            name = item.get("name")
            if isinstance(name, str) and name.strip() in seen:
                what = f"'{name.strip()}' is already used in {section}"
                faults.append(document.fault((section, index, "name"), what, "choose another name"))
            elif isinstance(name, str):
                seen.add(name.strip())
    faults += _fallback_cycles(data, document)
    route = data.get("route")
    for key in ("matchers", "continue"):
        if isinstance(route, dict) and route.get(key):
            what = f"the root of the route has no '{key}'"
            faults.append(document.fault(("route", key), what, "every alert starts there; move it under routes"))
    return faults


def _fallback_cycles(data: dict[str, Any], document: Document) -> list[Fault]:
    """Refuse cycles of fallbacks: a failed message would be copied for ever."""
    fallbacks: dict[str, str] = {}
    places: dict[str, int] = {}
    for index, item in _items(data, "receivers"):
        if isinstance(item.get("name"), str) and isinstance(item.get("fallback"), str):
            fallbacks[item["name"].strip()], places[item["name"].strip()] = item["fallback"].strip(), index
    faults: list[Fault] = []
    reported: set[str] = set()
    for name in fallbacks:
        cycle, following = [name], fallbacks[name]
        while following in fallbacks and following not in cycle:
            cycle.append(following)
            following = fallbacks[following]
        if following == name and not reported & set(cycle):
            reported |= set(cycle)
            what = f"fallback: cycle: {' -> '.join([*cycle, name])}"
            faults.append(
                document.fault(("receivers", places[name], "fallback"), what, "remove the fallback of one of them")
            )
    return faults


def _names(data: dict[str, Any], section: str) -> list[str]:
    return [str(item["name"]).strip() for _, item in _items(data, section) if "name" in item]


def _items(data: dict[str, Any], section: str) -> list[tuple[int, dict[str, Any]]]:
    """Return the mappings in a list, each with its index."""
    listed = data.get(section)
    found = enumerate(listed) if isinstance(listed, list) else ()
    return [(index, item) for index, item in found if isinstance(item, dict)]
