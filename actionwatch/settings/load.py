"""Load the configuration file: read, expand the environment, validate, and report every fault at once.

The caller, `service/configuration.py`, passes in the notifiers and the matcher syntax, which this package must not import.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from actionwatch.base.durations import spell_duration
from actionwatch.base.errors import ConfigError, Fault
from actionwatch.settings.expand import Expansion
from actionwatch.settings.faults import Reader
from actionwatch.settings.keys import Receiver, ReceiverOptions, Settings
from actionwatch.text.options import Options
from actionwatch.text.suggestions import did_you_mean
from actionwatch.text.yaml_document import Document, Place, read_file


def load_settings(
    path: Path,
    *,
    environ: Mapping[str, str],
    receiver_options: Callable[[str], type[Options]],
    receiver_types: Sequence[str],
    check_matcher: Callable[[str], object],
    record_fields: Sequence[str] | None = None,
) -> Settings:
    """Load the configuration file at `path`.

    `receiver_options` returns the model of a type in `receiver_types`, and is called only for types in use. `check_matcher`
    raises ValueError for an invalid matcher. `record_fields` are the fields that `field_aliases` may extend.

    Raises: ConfigError with every fault, in the order of the file.
    """
    document = _read(path)
    expansion = Expansion(document, environ)
    data = expansion.expand(document.value)
    if not isinstance(data, dict):
        raise ConfigError(document.fault((), "the file must contain keys and values", "start from `actionwatch init`"))
    context = {
        "receiver_names": list(dict.fromkeys(_names(data, "receivers"))),
        "interval_names": _names(data, "time_intervals"),
        "check_matcher": check_matcher,
        "record_fields": list(record_fields) if record_fields is not None else None,
    }
    reader = Reader(document, {"folder": path.absolute().parent, **context}, expansion.places)
    receivers, faults = _read_receivers(data, reader, receiver_options, receiver_types)
    settings, more = reader.read(Settings, _prepared(data, receivers))
    faults += [*more, *expansion.faults, *_across(data, document)]
    if settings is not None:
        faults += _short_retention(settings, document)
    if faults or settings is None:
        raise ConfigError(*sorted(faults, key=lambda fault: (fault.line, fault.column)))
    return settings


def _read(path: Path) -> Document:
    if not path.exists():
        raise ConfigError(Fault(str(path), 0, 0, "there is no such file", "name it with -c, or run `actionwatch init`"))
    documents = read_file(path)
    if len(documents) > 1:
        raise ConfigError(documents[1].fault((), "a second document", "remove the line ---"))
    return documents[0] if documents else Document(str(path), {})


def _prepared(data: dict[str, Any], receivers: list[Receiver]) -> dict[str, Any]:
    """Insert the receivers that were read, and an empty store section so that its defaults are resolved."""
    prepared = {"store": {}, **data}
    if isinstance(data.get("receivers"), list):
        prepared["receivers"] = receivers
    if not data.get("sources"):  # reported by `_across`
        prepared.pop("sources", None)
    return prepared


def _read_receivers(
    data: dict[str, Any], reader: Reader, receiver_options: Callable[[str], type[Options]], types: Sequence[str]
) -> tuple[list[Receiver], list[Fault]]:
    """Read each receiver's keys and the options of its type. Return only complete receivers."""
    receivers: list[Receiver] = []
    faults: list[Fault] = []
    listed = data.get("receivers")
    for index, item in enumerate(listed if isinstance(listed, list) else []):
        place: Place = ("receivers", index)
        given = [key for key in types if key in item] if isinstance(item, dict) else []
        rest = {key: value for key, value in item.items() if key not in given} if isinstance(item, dict) else item
        keys, found = reader.read(ReceiverOptions, rest, place, types)
        faults += [*found, *_type_faults(item, given, types, place, reader.document)]
        for name in given:
            written = {} if item[name] is None else item[name]  # `console:` needs no options
            options, found = reader.read(receiver_options(name), written, (*place, name))
            faults += found
            if keys is not None and options is not None:
                receivers.append(
                    Receiver.model_validate({**rest, "type": name, "options": options}, context=dict(reader.context))
                )
    return receivers, faults


def _type_faults(item: Any, given: list[str], types: Sequence[str], place: Place, document: Document) -> list[Fault]:
    """Require exactly one type; report nothing if an unknown key probably means a type."""
    if not isinstance(item, dict) or len(given) == 1:
        return []
    if given:
        what = f"a receiver has one type, not {' and '.join(given)}"
        return [document.fault((*place, given[1]), what, "make one receiver for each")]
    if any(did_you_mean(key, list(types)) for key in item if key not in ReceiverOptions.model_fields):
        return []
    return [document.fault(place, "the receiver has no type", f"add one of {', '.join(types)}")]


def _across(data: dict[str, Any], document: Document) -> list[Fault]:
    """Check what concerns several values: there is a source, names are unique, the root of the route has no matchers."""
    faults: list[Fault] = []
    if not data.get("sources"):
        faults.append(document.fault(("sources",), "no source is configured", "add one, as `actionwatch init` shows"))
    for section in ("sources", "receivers", "time_intervals"):
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


def _short_retention(settings: Settings, document: Document) -> list[Fault]:
    """Refuse a retention shorter than the sweeps: deleted records would come back as late ones and alert again."""
    reach = max(
        (source.overlap + sum(source.sweeps, timedelta(0)) for source in settings.sources), default=timedelta(0)
    )
    if settings.store.retention.records >= reach:
        return []
    what = f"records must be kept as long as polls and sweeps reach back, which is {spell_duration(reach)}"
    return [document.fault(("store", "retention", "records"), what, "keep them longer, or shorten sweeps")]


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
