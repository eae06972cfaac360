"""Load rules from files. Report every fault of every file at once, and use every valid rule despite faults in others."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from actionwatch.base.errors import ConfigError, Fault
from actionwatch.rules.correlations.reading.link import link, with_filters
from actionwatch.rules.document import read_document
from actionwatch.rules.filters import apply_filters, check_filters
from actionwatch.rules.lists import FOLDER as LISTS_FOLDER
from actionwatch.rules.lists import Lists, list_folders, read_lists
from actionwatch.rules.model import Filter, Rule
from actionwatch.rules.report import Report
from actionwatch.rules.selections import ReadContext
from actionwatch.rules.versions import with_versions
from actionwatch.text.timeintervals import TimeInterval
from actionwatch.text.yaml_document import Document, read_file

_SUFFIXES = (".yml", ".yaml")
_OPERATIONS = ("CREATE", "READ", "UPDATE", "DELETE")
_SCOPES = ("organisation", "account")


@dataclass(frozen=True, slots=True)
class Rules:
    """The content of the rule files.

    `faults` are documents, files or lists that cannot be used. `notes` are probable mistakes, such as an unknown kind or a rule
    for another product. `broken` are the documents whose own content has faults; `stranded` are the documents that name a
    rule which does not exist.
    """

    rules: tuple[Rule, ...] = ()
    faults: tuple[Fault, ...] = ()
    notes: tuple[Fault, ...] = ()
    filters: tuple[Filter, ...] = ()
    broken: tuple[Report, ...] = ()
    stranded: tuple[Report, ...] = ()


def load_rules(
    paths: Sequence[Path],
    *,
    lists: Path | None,
    known_kinds: Collection[str],
    time_intervals: Mapping[str, TimeInterval] | None = None,
    now: datetime | None = None,
) -> Rules:
    """Read files and folders (`*.yml`, `*.yaml`, folders in them too), in the order given, by name within a folder.

    `lists` is the folder of the operator's lists, in addition to those that come with the rules. `when` can name
    `time_intervals`. With `now`, expired filters are noted.
    """
    read, found = read_documents(paths), read_lists(list_folders(lists, paths))
    built = build_rules(read.documents, lists=found, known_kinds=known_kinds, time_intervals=time_intervals, now=now)
    return with_unread(built, read, found)


@dataclass(frozen=True, slots=True)
class ReadFiles:
    """The documents of rule files, not yet checked, and the faults of files that cannot be read."""

    documents: tuple[Document, ...]
    faults: tuple[Fault, ...]
    notes: tuple[Fault, ...]


def read_documents(
    paths: Sequence[Path], read: Callable[[Path, Path | None], Iterable[Document]] = read_file
) -> ReadFiles:
    """Read the same files and folders as `load_rules`. `read` can be a cache."""
    documents: list[Document] = []
    faults: list[Fault] = []
    notes: list[Fault] = []
    for path, folder in _rule_files(paths, faults, notes):
        try:
            documents.extend(read(path, folder))
        except ConfigError as exc:
            faults.extend(exc.faults)
    return ReadFiles(tuple(documents), tuple(faults), tuple(notes))


def with_unread(rules: Rules, read: ReadFiles, lists: Lists) -> Rules:
    """Add the faults and notes of the files and lists from which the rules were built."""
    return replace(rules, faults=(*read.faults, *lists.faults, *rules.faults), notes=(*read.notes, *rules.notes))


def build_rules(
    documents: Iterable[Document],
    *,
    lists: Lists,
    known_kinds: Collection[str],
    time_intervals: Mapping[str, TimeInterval] | None = None,
    now: datetime | None = None,
    read: Callable[[Report, ReadContext], Rule | Filter | None] = read_document,
) -> Rules:
    """Turn documents into rules. Skip documents with faults, and the second of two documents with one name or id.

    `read` can be a cache.
    """
    known_values = {"actionKind": tuple(known_kinds), "crudOperation": _OPERATIONS, "scope": _SCOPES}
    context = ReadContext(lists, known_values, time_intervals or {})
    rules: list[Rule] = []
    filters: list[Filter] = []
    reports: list[Report] = []
    reports_of: dict[str, Report] = {}
    for report, found in _read_each(documents, context, read):
        reports.append(report)
        if isinstance(found, Rule):
            rules.append(found)
            reports_of[found.name.id] = report
        elif found is not None:
            filters.append(found)
    broken = [report for report in reports if report.faults]
    rules = link(rules, reports_of)
    check_filters(filters, rules, now)
    sound = [each for each in filters if not each.report.faults]
    filtered = [with_filters(rule) for rule in apply_filters(rules, sound)]
    faults = [fault for report in reports for fault in report.faults]
    notes = [note for report in reports for note in report.notes]
    known_broken = set(map(id, broken))
    stranded = [report for report in reports if report.faults and id(report) not in known_broken]
    return Rules(
        with_versions(filtered, lists), tuple(faults), tuple(notes), tuple(sound), tuple(broken), tuple(stranded)
    )


def _read_each(
    documents: Iterable[Document],
    context: ReadContext,
    read: Callable[[Report, ReadContext], Rule | Filter | None],
) -> Iterator[tuple[Report, Rule | Filter | None]]:
    """Yield the report about each document, and what is in it; None if it cannot be used, or its name is taken."""
    taken: dict[tuple[str, str], Rule | Filter] = {}
    for document in documents:
        report = Report(document)
        found = read(report, context)
        yield report, found if found is not None and _is_unique(found, taken, report) else None


def _is_unique(rule: Rule | Filter, taken: dict[tuple[str, str], Rule | Filter], report: Report) -> bool:
    """Check that no document before has the same id or name, and report a fault otherwise."""
    keys = {"id": ("id", rule.name.id), "name": ("name", rule.name.name)}
    for key, identity in keys.items():
        first = taken.get(identity)
        if first is not None and (key == "name" or "id" in report.document.value):
            what = f"the {key} '{identity[1]}' is already used by the rule at {first.file}:{first.line}"
            report.fault((key,) if key in report.document.value else (), what, f"give this rule another {key}")
    if not report.faults:
        taken.update(dict.fromkeys(keys.values(), rule))
    return not report.faults


def _rule_files(paths: Sequence[Path], faults: list[Fault], notes: list[Fault]) -> Iterator[tuple[Path, Path | None]]:
    """Yield each file once, with the folder that contains it if that is what `paths` name.

    Skip hidden folders, because a mounted ConfigMap keeps a second copy of its files in one.
    """
    seen: set[str] = set()
    for path in paths:
        found = [path]
        if path.is_dir():
            found = sorted(_visible_files(path))
            if not found:
                notes.append(Fault(str(path), 0, 0, "no rule file in this folder", "rule files end in .yml or .yaml"))
        elif not path.exists():
            what = "there is no such file or folder"
            faults.append(Fault(str(path), 0, 0, what, "check 'rules' in the configuration"))
            continue
        elif path.suffix not in _SUFFIXES:
            faults.append(Fault(str(path), 0, 0, "not a rule file", "rule files end in .yml or .yaml: rename it"))
            continue
        for file in found:
            identity = os.path.realpath(file)
            if identity not in seen:
                seen.add(identity)
                yield file, path if file is not path else None


def _visible_files(folder: Path) -> Iterator[Path]:
    for file in folder.rglob("*"):
        parts = file.relative_to(folder).parts
        is_hidden = parts[0] == LISTS_FOLDER or any(part.startswith(".") for part in parts)
        if not is_hidden and file.suffix in _SUFFIXES and not file.is_dir():  # also report a broken link
            yield file
