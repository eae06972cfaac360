"""Last good versions: they replace rule documents that are broken and files that cannot be read.

Pure: takes the current documents and the ones that ran last, and returns the rules to run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import PurePath
from typing import Any
from uuid import UUID

from actionwatch.base.model import Mode
from actionwatch.rules.lists import Lists, lists_of
from actionwatch.rules.load import ReadFiles, Rules, with_unread
from actionwatch.rules.model import RuleVersion
from actionwatch.rules.report import Report
from actionwatch.text.yaml_document import Document

Build = Callable[[Sequence[Document], Lists], Rules]


@dataclass(frozen=True, slots=True)
class RunningDocument:
    """A document that runs: the id and name of its rule or filter, and the lists that it uses.

    `mode` is None for a filter.
    """

    id: str
    name: str
    document: Document
    version: RuleVersion
    lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    mode: Mode | None = Mode.LIVE


@dataclass(frozen=True, slots=True)
class Running:
    """The rules to run. The faults of `rules` are those of the current files. `held` names, by file, the older versions."""

    rules: Rules
    lists: Lists
    versions: tuple[RunningDocument, ...]
    held: Mapping[str, tuple[str, ...]]


def with_last_good(read: ReadFiles, lists: Lists, last: Sequence[RunningDocument], build: Build) -> Running:
    """Build the rules to run: every valid document, and for the others the version that ran last, if it still loads.

    A broken list keeps its values. A removed list keeps them only for the rules that need it.
    """
    fresh = set(chain.from_iterable(_identities(document) for document in read.documents))
    unread = {fault.file for fault in read.faults}
    replacements = [each.document for each in last if is_within(each.document.file, unread) and each.id not in fresh]
    documents = [*read.documents, *replacements]
    known = _with_values(lists, last, lists.broken)
    built = build(documents, known)
    reports = list(built.broken)
    if built.broken or built.stranded:
        # First replace what is broken itself, because the other faults may follow from it.
        known = _with_values(known, last, {name for each in last for name in each.lists})
        stranded = {identity for report in built.stranded for identity in list(_identities(report.document))[:1]}
        found = _replacements(built.broken, last, _running(built) | stranded)
        documents, replacements = _replaced(documents, found, replacements)
        built = build(documents, known)
        if built.broken or built.stranded:
            reports += [*built.broken, *built.stranded]
            found = _replacements(built.stranded, last, _running(built))
            documents, replacements = _replaced(documents, found, replacements)
            built = build(documents, known)
            reports += [*built.broken, *built.stranded]
    # Report the faults of each current document once, and not those of replacements.
    current = set(map(id, read.documents))
    faulty: dict[int, Report] = {}
    for report in reports:
        if id(report.document) in current:
            faulty.setdefault(id(report.document), report)
    faults = [fault for report in faulty.values() for fault in report.faults]
    versions = tuple(_versions(built, known))
    held: dict[str, tuple[str, ...]] = {}
    for version in versions:
        if any(version.document is each for each in replacements):
            held[version.document.file] = (*held.get(version.document.file, ()), version.name)
    return Running(with_unread(replace(built, faults=tuple(faults)), read, lists), known, versions, held)


def is_within(file: str, others: Collection[str]) -> bool:
    """Check whether a file is one of these files or is in one of these folders."""
    return file in others or any(str(folder) in others for folder in PurePath(file).parents)


def _replaced(
    documents: Sequence[Document], found: Mapping[int, Sequence[RunningDocument]], replacements: Sequence[Document]
) -> tuple[list[Document], list[Document]]:
    """Replace documents. Return all documents, and all replacements so far.

    Replacements come last, because the second of two documents with one name is refused, and the valid one must win.
    """
    new = [version.document for versions in found.values() for version in versions]
    return [*(document for document in documents if id(document) not in found), *new], [*replacements, *new]


def _replacements(
    reports: Iterable[Report], last: Sequence[RunningDocument], taken: Collection[str]
) -> dict[int, Sequence[RunningDocument]]:
    """Find the last versions of documents, by the identity of each document. `taken` are ids that already run."""
    documents = {id(report.document): report.document for report in reports}
    claimed = set(taken)
    found: dict[int, Sequence[RunningDocument]] = {}
    for find in (_predecessor, _orphans):
        for key, document in documents.items():
            if key not in found and (versions := find(document, last, claimed)):
                claimed.update(version.id for version in versions)
                found[key] = versions
    return {key: found.get(key, ()) for key in documents}


def _predecessor(
    document: Document, last: Sequence[RunningDocument], taken: Collection[str]
) -> Sequence[RunningDocument]:
    """Find the last version of a document: by its id, otherwise by its name or title within its file."""
    identities = list(_identities(document))
    by_id = [each for identity in identities for each in last if each.id == identity and each.id not in taken]
    near = [each for each in last if each.document.file == document.file and each.id not in taken]
    by_name = (each for identity in identities for each in near if identity in _identities(each.document))
    return by_id[:1] or list(islice(by_name, 1))


def _orphans(document: Document, last: Sequence[RunningDocument], taken: Collection[str]) -> Sequence[RunningDocument]:
    """Return all rules that ran from a file and are missing from it, for a document that does not identify its rule."""
    if isinstance(document.value, dict) and _uuid(document.value.get("id")):
        return []  # it has an id, and never ran
    return [each for each in last if each.document.file == document.file and each.id not in taken]


def _identities(document: Document) -> Iterator[str]:
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


def _with_values(lists: Lists, last: Sequence[RunningDocument], names: Collection[str]) -> Lists:
    """Return the lists, where these names have their last values if they have none now."""
    had = {name: values for each in last for name, values in each.lists.items() if name in names}
    values = {**had, **lists.values}
    return Lists(values, frozenset(lists.broken - values.keys()), lists.faults)


def _versions(built: Rules, lists: Lists) -> Iterator[RunningDocument]:
    for rule in built.rules:
        if rule.document is not None:
            used = lists_of(rule.document.value, lists.values)
            yield RunningDocument(rule.name.id, rule.name.name, rule.document, rule.version, used, rule.mode)
    for each in built.filters:
        document = each.report.document
        used = lists_of(document.value, lists.values)
        yield RunningDocument(each.name.id, each.name.name, document, each.version, used, None)
