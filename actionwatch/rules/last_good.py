"""Last good versions: they replace rule documents that are broken and files that cannot be read.

Pure: takes the current documents and the ones that ran last, and returns the rules to run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import PurePath
from typing import Any
from uuid import UUID

from actionwatch.base.errors import Fault
from actionwatch.base.model import Mode
from actionwatch.rules.lists import Lists
from actionwatch.rules.load import ReadFiles, Rules
from actionwatch.rules.report import Report
from actionwatch.text.yaml_document import Document

Build = Callable[[Sequence[Document], Lists], Rules]


@dataclass(frozen=True, slots=True)
class Version:
    """A document that runs: the id and name of its rule or filter, and the lists that it uses.

    `mode` is None for a filter.
    """

    id: str
    name: str
    document: Document
    lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    mode: Mode | None = Mode.LIVE

    def is_as(self, other: Version) -> bool:
        """Check whether both have the same content, even in different places."""
        return (self.document.value, self.lists) == (other.document.value, other.lists)


@dataclass(frozen=True, slots=True)
class Running:
    """The rules to run. The faults of `rules` are those of the current files. `held` names, by file, the older versions."""

    rules: Rules
    lists: Lists
    versions: tuple[Version, ...]
    held: Mapping[str, tuple[str, ...]]


def with_last_good(read: ReadFiles, lists: Lists, last: Sequence[Version], build: Build) -> Running:
    """Build the rules to run: every valid document, and for the others the version that ran last, if it still loads.

    A broken list keeps its values. A removed list keeps them only for the rules that need it.
    """
    fresh = set(chain.from_iterable(_words(document) for document in read.documents))
    unread = {fault.file for fault in read.faults}
    stale = [each.document for each in last if is_within(each.document.file, unread) and each.id not in fresh]
    documents = [*read.documents, *stale]
    known = _with(lists, last, lists.broken)
    built = first = build(documents, known)
    told = _Told({id(document) for document in read.documents})
    told.note(first.broken)
    replaced: set[int] = set(map(id, stale))
    if first.broken or first.stranded:
        # First replace what is broken itself, because the other faults may follow from it.
        known = _with(known, last, {name for each in last for name in each.lists})
        awaited = {word for report in first.stranded for word in list(_words(report.document))[:1]}
        documents = _replaced(documents, first.broken, last, _running(first) | awaited, replaced)
        built = second = build(documents, known)
        if second.broken or second.stranded:
            told.note((*second.broken, *second.stranded))
            documents = _replaced(documents, second.stranded, last, _running(second), replaced)
            built = build(documents, known)
            told.note((*built.broken, *built.stranded))
    versions = tuple(_versions(built, known))
    held: dict[str, list[str]] = {}
    for version in versions:
        if id(version.document) in replaced:
            held.setdefault(version.document.file, []).append(version.name)
    faults = (*read.faults, *lists.faults, *told.faults)
    rules = replace(built, faults=faults, notes=(*read.notes, *built.notes))
    return Running(rules, known, versions, {file: tuple(names) for file, names in held.items()})


def lists_of(value: Any, lists: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Return the lists that a document names by `%name%` or `list: name`. An additional list does no harm."""
    texts, names = set[str](), set[str]()
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            pending.extend(item.values())
            if isinstance(item.get("list"), str):
                names.add(item["list"])
        elif isinstance(item, list):
            pending.extend(item)
        elif isinstance(item, str) and "%" in item:
            texts.add(item)
    return {name: lists[name] for name in sorted(lists) if name in names or any(f"%{name}%" in text for text in texts)}


def is_within(file: str, others: Collection[str]) -> bool:
    """Check whether a file is one of these files or is in one of these folders."""
    return file in others or any(str(folder) in others for folder in PurePath(file).parents)


@dataclass(slots=True)
class _Told:
    """The faults of the current documents, once per document. The faults of replacements are not reported."""

    documents: Collection[int]
    faults: list[Fault] = field(default_factory=list)
    _noted: set[int] = field(default_factory=set)

    def note(self, reports: Iterable[Report]) -> None:
        for report in reports:
            if id(report.document) in self.documents and id(report.document) not in self._noted:
                self._noted.add(id(report.document))
                self.faults += report.faults


def _replaced(
    documents: Sequence[Document],
    reports: Iterable[Report],
    last: Sequence[Version],
    taken: Collection[str],
    replaced: set[int],
) -> list[Document]:
    """Replace these documents by their last versions, and add the replacements to `replaced`.

    Replacements come last, because the second of two documents with one name is refused, and the valid one must win.
    """
    fallen = {id(report.document): report.document for report in reports}
    claimed = set(taken)
    found: dict[int, list[Version]] = {}
    for key, document in fallen.items():
        version = _predecessor(document, last, claimed)
        if version is not None:
            claimed.add(version.id)
            found[key] = [version]
    for key, document in fallen.items():
        if key not in found:
            found[key] = _orphans(document, last, claimed)
            claimed.update(version.id for version in found[key])
    standing_in = [version.document for versions in found.values() for version in versions]
    replaced.update(map(id, standing_in))
    return [*(document for document in documents if id(document) not in found), *standing_in]


def _predecessor(document: Document, last: Sequence[Version], taken: Collection[str]) -> Version | None:
    """Find the last version of a document: by its id, otherwise by its name or title within its file."""
    words = list(_words(document))
    by_id = next((each for word in words for each in last if each.id == word and each.id not in taken), None)
    if by_id is not None:
        return by_id
    near = [each for each in last if each.document.file == document.file and each.id not in taken]
    return next((each for word in words for each in near if word in _words(each.document)), None)


def _orphans(document: Document, last: Sequence[Version], taken: Collection[str]) -> list[Version]:
    """Return all rules that ran from a file and are missing from it, for a document that does not identify its rule."""
    if isinstance(document.value, dict) and _uuid(document.value.get("id")):
        return []  # it has an id, and never ran
    return [each for each in last if each.document.file == document.file and each.id not in taken]


def _words(document: Document) -> Iterator[str]:
    """Yield what identifies a document, the most reliable first: its id, its name, its title."""
    value = document.value
    if not isinstance(value, dict):
        return
    if identity := _uuid(value.get("id")):
        yield identity
    if isinstance(value.get("name"), str):
        yield value["name"]
    if isinstance(value.get("title"), str):
        yield re.sub(r"\W+", "_", value["title"].lower()).strip("_")  # the default name of a rule


def _uuid(text: Any) -> str:
    try:
        return str(UUID(text)) if isinstance(text, str) else ""
    except ValueError:
        return ""


def _running(built: Rules) -> set[str]:
    return {each.name.id for each in built.rules} | {each.name.id for each in built.filters}


def _with(lists: Lists, last: Sequence[Version], names: Collection[str]) -> Lists:
    """Return the lists, where these names have their last values if they have none now."""
    had = {name: values for each in last for name, values in each.lists.items() if name in names}
    values = {**had, **lists.values}
    return Lists(values, frozenset(lists.broken - values.keys()), lists.faults)


def _versions(built: Rules, lists: Lists) -> Iterator[Version]:
    for rule in built.rules:
        if rule.document is not None:
            used = lists_of(rule.document.value, lists.values)
            yield Version(rule.name.id, rule.name.name, rule.document, used, rule.mode)
    for each in built.filters:
        document = each.report.document
        yield Version(each.name.id, each.name.name, document, lists_of(document.value, lists.values), None)
