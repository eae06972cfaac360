"""Last good versions: what runs in place of rule documents that are broken, and of files that cannot be read at all.

Pure: the documents as they are now and those that ran last come in; what is to run comes out, as one whole.
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
    """A document that runs: its rule's or filter's id and name, and the operator's lists that it names.

    `mode` is None for a filter.
    """

    id: str
    name: str
    document: Document
    lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    mode: Mode | None = Mode.LIVE

    def is_as(self, other: Version) -> bool:
        """Say whether both say the same, wherever they stand."""
        return (self.document.value, self.lists) == (other.document.value, other.lists)


@dataclass(frozen=True, slots=True)
class Running:
    """What is to run. The faults of `rules` are those of the files as they are; `held` names, by file, what runs as before."""

    rules: Rules
    lists: Lists
    versions: tuple[Version, ...]
    held: Mapping[str, tuple[str, ...]]


def stand_in(read: ReadFiles, lists: Lists, last: Sequence[Version], build: Build) -> Running:
    """Build what is to run: every sound document, and for the others what of theirs ran last, if it still loads.

    A list that is broken keeps its values; one that is gone has them only for what would break without it.
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
        # First what is broken by itself, since what else fell may have fallen with it.
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
    """Give the lists that a document names, by `%name%` or `list: name`; one too many does no harm."""
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
    """Say whether a file is one of these, or in a folder that is."""
    return file in others or any(str(folder) in others for folder in PurePath(file).parents)


@dataclass(slots=True)
class _Told:
    """The faults of the documents as they are now, each document's once: what stands in has no faults to be told."""

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
    """Put what ran last in place of these documents; note what stands in.

    It goes behind the others: of two namesakes the second is refused, and that must not be the one that is sound.
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
    """Find what ran last of a document: by its id, else, within its file, by its name or title."""
    words = list(_words(document))
    by_id = next((each for word in words for each in last if each.id == word and each.id not in taken), None)
    if by_id is not None:
        return by_id
    near = [each for each in last if each.document.file == document.file and each.id not in taken]
    return next((each for word in words for each in near if word in _words(each.document)), None)


def _orphans(document: Document, last: Sequence[Version], taken: Collection[str]) -> list[Version]:
    """Give all that ran of a file and is not in it any more, where a document does not even say which rule it is."""
    if isinstance(document.value, dict) and _uuid(document.value.get("id")):
        return []  # it does, and never ran
    return [each for each in last if each.document.file == document.file and each.id not in taken]


def _words(document: Document) -> Iterator[str]:
    """Give what a document may be known by, the surest first: its id, its name, its title."""
    value = document.value
    if not isinstance(value, dict):
        return
    if identity := _uuid(value.get("id")):
        yield identity
    if isinstance(value.get("name"), str):
        yield value["name"]
    if isinstance(value.get("title"), str):
        yield re.sub(r"\W+", "_", value["title"].lower()).strip("_")  # as a rule without a name is called


def _uuid(text: Any) -> str:
    try:
        return str(UUID(text)) if isinstance(text, str) else ""
    except ValueError:
        return ""


def _running(built: Rules) -> set[str]:
    return {each.name.id for each in built.rules} | {each.name.id for each in built.filters}


def _with(lists: Lists, last: Sequence[Version], names: Collection[str]) -> Lists:
    """Give these of the lists the values they had, where they have none now."""
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
