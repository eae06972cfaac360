"""Read reviewed silences, and copy them into the store.

They are in every `*.yml` and `*.yaml` of a folder, each with one silence or a list. A silence that was removed from its file
ends. The silences of a broken file stay as they are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from actionwatch.alerts.silences import EVER, make_silence
from actionwatch.base.errors import ConfigError, Fault
from actionwatch.base.model import Silence
from actionwatch.settings import Settings
from actionwatch.settings.faults import Reader
from actionwatch.settings.keys import SilenceOptions
from actionwatch.text.matchers import parse_matcher
from actionwatch.text.yaml_document import Document, Place, read_file

if TYPE_CHECKING:
    from actionwatch.store.database import Database


def read_silences(settings: Settings) -> tuple[list[Silence], list[Fault]]:
    """Read the reviewed silences of a configuration. Return those of valid files, and every fault. The folder is optional."""
    found: list[Silence] = []
    faults: list[Fault] = []
    for path in _paths(settings):
        try:
            read = [_read(document) for document in read_file(path, settings.silences)]
        except ConfigError as exc:
            faults += exc.faults
            continue
        wrong = [fault for _, some in read for fault in some]
        faults += wrong
        if not wrong:
            found += [silence for some, _ in read for silence in some]
    return found, faults


def read_matchers(settings: Settings) -> Iterator[tuple[Document, Place, tuple[str, ...]]]:
    """Yield the matchers of each valid silence in the files, with their place."""
    for path in _paths(settings):
        with contextlib.suppress(ConfigError):  # `read_silences` returns its faults
            for document in read_file(path, settings.silences):
                for place, given, _ in _items(document):
                    if given is not None:
                        yield document, (*place, "matchers"), given.matchers


def _paths(settings: Settings) -> list[Path]:
    return sorted(path for path in settings.silences.glob("*") if path.suffix in (".yml", ".yaml"))


def _items(document: Document) -> Iterator[tuple[Place, SilenceOptions | None, list[Fault]]]:
    """Yield each silence of a document with its place and its faults; None if it is not valid."""
    is_list = isinstance(document.value, list)
    for index, item in enumerate(document.value if is_list else [document.value]):
        place = (index,) if is_list else ()
        yield place, *Reader(document, {"check_matcher": parse_matcher}).read(SilenceOptions, item, place)


def _read(document: Document) -> tuple[list[Silence], list[Fault]]:
    found: list[Silence] = []
    faults: list[Fault] = []
    for place, given, wrong in _items(document):
        faults += wrong
        if given is None:
            continue
        try:
            starts_at = given.starts_at or EVER
            found.append(
                make_silence(
                    given.matchers,
                    given.author,
                    given.comment,
                    starts_at,
                    given.ends_at,
                    made_at=EVER,
                    file=document.file,
                )
            )
        except ValueError as exc:  # the options are valid one by one, but the matchers together silence everything
            what, _, remedy = str(exc).partition(": ")
            faults.append(document.fault((*place, "matchers"), f"matchers: {what}", remedy))
    return found, faults


class SilenceFiles:
    """Copies the silences of the reviewed files into the store."""

    def __init__(self, settings: Settings, database: Database, clock: Callable[[], datetime]) -> None:
        self._settings = settings
        self._database = database
        self._clock = clock
        self._last: tuple[list[Silence], list[Fault]] | None = None

    @property
    def broken(self) -> set[str]:
        """The files that were broken at the last reading."""
        return {fault.file for fault in self._last[1]} if self._last else set()

    def run_once(self) -> list[Fault]:
        """Read the files and store the changes. Return the faults."""
        from actionwatch.store import silences  # only here: `check` reads silences too, and opens no store

        found, faults = read_silences(self._settings)
        if (found, faults) != self._last:
            now = self._clock()
            with self._database.write() as connection:
                dated = _dated(found, silences.read_all(connection), now)
                silences.replace_of_files(connection, dated, {fault.file for fault in faults}, now)
            self._last = (found, faults)
        return faults


def merge(stored: Sequence[Silence], found: Sequence[Silence], broken: Collection[str], now: datetime) -> list[Silence]:
    """Return the silences as the store contains them after loading the files, last end first."""
    dated = _dated(found, stored, now)
    named = {silence.id for silence in dated}
    others = [
        silence
        if silence.file is None or silence.file in broken
        else replace(silence, ends_at=min(silence.ends_at, now))
        for silence in stored
        if silence.id not in named
    ]
    return sorted(sorted([*dated, *others], key=lambda one: one.id), key=lambda one: one.ends_at, reverse=True)


def _dated(found: Iterable[Silence], stored: Iterable[Silence], now: datetime) -> list[Silence]:
    """Set the start of silences without one to when they were first seen."""
    begun = {silence.id: silence.starts_at for silence in stored}
    return [
        replace(silence, starts_at=begun.get(silence.id, now)) if silence.starts_at == EVER else silence
        for silence in found
    ]
