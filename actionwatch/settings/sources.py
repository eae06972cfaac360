"""Read the sources: from a list in the configuration, from a file with such a list, or from a folder with one file for each.

`load.py` reads them with the rest of the configuration, and `load_sources` reads only them again, while the service runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from actionwatch.base.durations import spell_duration
from actionwatch.base.errors import ConfigError, Fault
from actionwatch.settings.expand import Expansion
from actionwatch.settings.faults import Reader
from actionwatch.settings.keys import OWN_KEYS, Settings, Source, SourceFiles
from actionwatch.text.yaml_document import Document, Place, read_file

_SUFFIXES = (".yml", ".yaml")
_PAIRS = {"api_key": "api_key_file", "api_key_file": "api_key"}  # a source that sets one does not inherit the other
_REMEDY = "add one, as `actionwatch init` shows"


@dataclass(frozen=True, slots=True)
class ReadSources:
    """The valid sources, and the faults of the others."""

    sources: tuple[Source, ...] = ()
    files: SourceFiles | None = None
    """Where they are, if not in the configuration file."""
    faults: list[Fault] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Item:
    """A source as written, with the variables expanded. Faults at places in `settled` are already reported."""

    document: Document
    place: Place
    value: Any
    settled: frozenset[Place] = frozenset()


def read_sources(data: Any, expansion: Expansion, context: Mapping[str, Any]) -> ReadSources:
    """Read the value `data` of the key `sources`, which `expansion` has expanded."""
    document, settled = expansion.document, frozenset(expansion.places)
    if not data:
        return ReadSources(faults=[document.fault(("sources",), "no source is configured", _REMEDY)])
    if isinstance(data, list):
        items = [_Item(document, ("sources", index), value, settled) for index, value in enumerate(data)]
        sources, faults = _read_items(items, context)
        return ReadSources(sources, None, faults)
    if not isinstance(data, dict):
        remedy = "list the sources, or write {file: sources.yml} or {folder: sources}"
        return ReadSources(faults=[document.fault(("sources",), "sources: must be a list or a mapping", remedy)])
    files, faults = Reader(document, context, settled).read(SourceFiles, data, ("sources",))
    wrong = _default_faults(data.get("defaults"), Reader(document, context, settled))
    if files is None:
        return ReadSources(faults=[*faults, *wrong])
    sources, faults = _read_files(files, expansion.environ, context, are_defaults_wrong=bool(wrong))
    return ReadSources(sources, files, [*wrong, *faults])


def load_sources(settings: Settings, *, environ: Mapping[str, str], context: Mapping[str, Any]) -> tuple[Source, ...]:
    """Read the sources of valid settings again, from the same file or folder and with the same defaults.

    `context` is that of `load.py`. Sources that the configuration lists itself are returned as they are.

    Raises: ConfigError with every fault, each with its place in the file of the source.
    """
    files = settings.source_files
    if files is None:
        return settings.sources
    sources, faults = _read_files(files, environ, context)
    if short := what_is_too_short(settings, sources):
        faults.append(Fault(str(files.path), 0, 0, *short))
    if faults:
        raise ConfigError(*faults)
    return sources


def source_places(settings: Settings, document: Document) -> Sequence[tuple[Document, Place]]:
    """Return where each source is written; `document` is that of the configuration file."""
    files = settings.source_files
    if files is None:
        return [(document, ("sources", index)) for index in range(len(settings.sources))]
    items, _ = _written(files)
    if len(items) != len(settings.sources):  # the files have changed since
        return [(Document(str(files.path), {}), ())] * len(settings.sources)
    return [(item.document, item.place) for item in items]


def what_is_too_short(settings: Settings, sources: Sequence[Source]) -> tuple[str, str] | None:
    """Refuse a retention shorter than the sweeps: deleted records would come back as late ones and alert again.

    Returns: what is wrong and the remedy.
    """
    reach = max((source.overlap + sum(source.sweeps, timedelta(0)) for source in sources), default=timedelta(0))
    if settings.store.retention.records >= reach:
        return None
    what = f"records must be kept as long as polls and sweeps reach back, which is {spell_duration(reach)}"
    return what, "keep them longer, or shorten sweeps"


def _default_faults(defaults: Any, reader: Reader) -> list[Fault]:
    """Check the defaults once, and not in each source that has them: as those of a source that is valid otherwise."""
    place: Place = ("sources", "defaults")
    if not isinstance(defaults, dict):
        return []  # `SourceFiles` reports it
    remedy = "write it in each source"
    own = [key for key in OWN_KEYS if key in defaults]
    faults = [reader.document.fault((*place, key), f"each source has its own '{key}'", remedy) for key in own]
    value = {key: item for key, item in defaults.items() if key not in OWN_KEYS}
    if isinstance(value.get("api_key_file"), str) and "{name}" in value["api_key_file"]:
        del value["api_key_file"]  # another file for each source
    valid = {"name": "name", "organisation_id": "id", "username": "user"}
    if not _PAIRS.keys() & value.keys():
        valid["api_key"] = "key"
    return [*faults, *reader.read(Source, {**valid, **value}, place)[1]]


def _read_files(
    files: SourceFiles, environ: Mapping[str, str], context: Mapping[str, Any], *, are_defaults_wrong: bool = False
) -> tuple[tuple[Source, ...], list[Fault]]:
    """Read the sources of a file or folder. Faults in the order of the files."""
    written, faults = _written(files)
    items: list[_Item] = []
    defaults = {key: value for key, value in files.defaults.items() if key not in OWN_KEYS}
    expansions: dict[str, Expansion] = {}
    for each in written:
        expansion = expansions.setdefault(each.document.file, Expansion(each.document, environ))
        value = expansion.expand(each.value, each.place)
        if not isinstance(value, dict):
            faults.append(each.document.fault(each.place, "a source must have keys and values", "write name: acme"))
            continue
        if files.folder is not None:
            value = {"name": Path(each.document.file).stem, **value}
        merged = _with_defaults(value, defaults)
        inherited = {(*each.place, key) for key in defaults if key not in value} if are_defaults_wrong else set()
        items.append(replace(each, value=merged, settled=frozenset(expansion.places | inherited)))
    sources, more = _read_items(items, context)
    faults += [*more, *(fault for expansion in expansions.values() for fault in expansion.faults)]
    return sources, sorted(faults, key=lambda fault: (fault.file, fault.line, fault.column))


def _with_defaults(value: dict[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Add what a source does not set; to its labels, the other labels."""
    inherited = {key: item for key, item in defaults.items() if _PAIRS.get(key) not in value}
    merged = {**inherited, **value}
    if isinstance(labels := value.get("labels"), dict) and isinstance(others := defaults.get("labels"), dict):
        merged["labels"] = {**others, **labels}
    return merged


def _written(files: SourceFiles) -> tuple[list[_Item], list[Fault]]:
    """Return the sources as they are written, and the faults of files that cannot be read as some."""
    if files.folder is None:
        return _listed(files.path)
    paths = sorted(_paths(files.folder))
    if not paths:
        remedy = "add a file for each source, or correct the path"
        return [], [Fault(str(files.folder), 0, 0, "there is no *.yml or *.yaml in this folder", remedy)]
    items: list[_Item] = []
    faults: list[Fault] = []
    for path in paths:
        try:
            documents = read_file(path, files.folder)
        except ConfigError as exc:
            faults += exc.faults
            continue
        if len(documents) == 1:
            items.append(_Item(documents[0], (), documents[0].value))
        elif documents:
            faults.append(documents[1].fault((), "a second source", "write one file for each source"))
        else:
            faults.append(Fault(str(path), 0, 0, "the file is empty", "write the keys of a source, or remove the file"))
    return items, faults


def _listed(path: Path) -> tuple[list[_Item], list[Fault]]:
    """Return the sources in a list that is a file."""
    try:
        documents = read_file(path)
    except ConfigError as exc:
        return [], list(exc.faults)
    if len(documents) > 1:
        return [], [documents[1].fault((), "a second document", "remove the line ---")]
    document = documents[0] if documents else Document(str(path), [])
    if not isinstance(document.value, list):
        return [], [document.fault((), "the file must be a list of sources", "begin each source with '- name: '")]
    if not document.value:
        return [], [document.fault((), "no source is configured", _REMEDY)]
    return [_Item(document, (index,), value) for index, value in enumerate(document.value)], []


def _paths(folder: Path) -> Iterator[Path]:
    for path in folder.glob("*"):
        if path.suffix in _SUFFIXES and not path.name.startswith(".") and not path.is_dir():
            yield path


def _read_items(items: Sequence[_Item], context: Mapping[str, Any]) -> tuple[tuple[Source, ...], list[Fault]]:
    """Validate each source by itself, and that their names are unique."""
    sources: list[Source] = []
    faults: list[Fault] = []
    first: dict[str, _Item] = {}
    for item in items:
        source, found = Reader(item.document, context, item.settled).read(Source, item.value, item.place)
        faults += found
        if source is not None:
            sources.append(source)
        name = item.value.get("name") if isinstance(item.value, dict) else None
        if not isinstance(name, str):
            continue
        other = first.setdefault(name.strip(), item)
        if other is not item:
            where = "sources" if other.document is item.document else other.document.file
            what = f"'{name.strip()}' is already used in {where}"
            faults.append(item.document.fault((*item.place, "name"), what, "choose another name"))
    return tuple(sources), faults
