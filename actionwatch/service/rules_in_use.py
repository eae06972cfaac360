"""The rules in use: the files as they are, each broken document as it last ran, taken up all at once.

Called at the start of `run` and by each reload; nothing else writes which versions run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Protocol

import structlog
import yaml

from actionwatch.base.model import Mode
from actionwatch.rules.document import read_document
from actionwatch.rules.last_good import Build, Running, Version, lists_of, with_last_good
from actionwatch.rules.lists import Lists
from actionwatch.rules.load import ReadFiles, Rules
from actionwatch.rules.model import Filter, Rule
from actionwatch.rules.report import Report
from actionwatch.rules.selections import ReadContext
from actionwatch.rules.versions import with_versions
from actionwatch.store import correlations, rule_versions
from actionwatch.store.database import Database
from actionwatch.store.rule_versions import StoredVersion
from actionwatch.text.yaml_document import Document, read_file

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class TakenUp:
    """What runs now, and by name what is other than before; `is_changed` where anything is."""

    running: Running
    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]

    @property
    def is_changed(self) -> bool:
        """Whether anything runs other than before."""
        return bool(self.added or self.changed or self.removed)


class Read(Protocol):
    """Reads the rule files and the lists, each rule file by the function it is given."""

    def __call__(self, read: Callable[[Path], list[Document]], /) -> tuple[ReadFiles, Lists]:
        """Read all."""
        ...


class Rulebook:
    """The rules of one process: `read` gives what the files say, `build` makes rules of documents."""

    def __init__(
        self,
        read: Read,
        build: Callable[[Sequence[Document], Lists, Memory], Rules],
        database: Database,
        clock: Callable[[], datetime],
    ) -> None:
        self._read = read
        self._memory = Memory()
        self._build: Build = lambda documents, lists: build(documents, lists, self._memory)
        self._database = database
        self._clock = clock
        self._last: tuple[Version, ...] | None = None

    def read(self) -> tuple[ReadFiles, Lists]:
        """Read the files, those that look as they did not again."""
        self._memory.turn()
        return self._read(self._memory.read_file)

    def take_up(self, reading: tuple[ReadFiles, Lists]) -> TakenUp:
        """Decide what runs and write it down; whoever calls this has it used."""
        last = self._last if self._last is not None else self._stored()
        running = with_last_good(*reading, last, self._build)
        running = replace(
            running, rules=replace(running.rules, rules=with_versions(running.rules.rules, running.lists))
        )
        before = {version.id: version for version in last}
        now = {version.id: version for version in running.versions}
        changed = [each for each in now.values() if each.id in before and not each.is_as(before[each.id])]
        moved = [each for each in now.values() if each.id in before and _place(each) != _place(before[each.id])]
        added = [each for each in now.values() if each.id not in before]
        removed = [each for each in before.values() if each.id not in now]
        if self._last is None or added or changed or removed or moved:
            at = self._clock()
            with self._database.write() as connection:
                rule_versions.delete(connection, [each.id for each in removed])
                rule_versions.write(connection, _to_store([*added, *changed], at))
                for each in moved:
                    rule_versions.move(connection, each.id, *_place(each))
                # A rule that was gone is new when it comes back: what it did not see meanwhile must not fire.
                correlations.forget_versions(connection, before.keys() & now.keys())
        self._last = running.versions
        self._memory.keep([version.document for version in running.versions])
        names = [tuple(each.name for each in some) for some in (added, changed, removed)]
        return TakenUp(running, *names)

    def _stored(self) -> tuple[Version, ...]:
        with self._database.read() as connection:
            return tuple(_from_store(each) for each in rule_versions.read_all(connection))


class Memory:
    """What was read and made before: a reload costs what changed, not what there is.

    A rule costs some 15 ms to read and 4 to build: a thousand would take far longer than the second they have.
    """

    def __init__(self) -> None:
        self._files: dict[Path, tuple[object, list[Document]]] = {}
        self._before = self._files
        self._made: dict[int, tuple[Document, object, Rule, Report]] = {}

    def read_file(self, path: Path) -> list[Document]:
        """Read a rule file, unless it is as it was.

        Raises: ConfigError, as `located.read_file`.
        """
        try:
            found = path.stat()
            state = (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino, found.st_dev)
        except OSError:
            return read_file(path)
        known = self._before.get(path)
        if known is None or known[0] != state:
            known = (state, read_file(path))
        self._files[path] = known
        return known[1]

    def read_document(self, report: Report, context: ReadContext) -> Rule | Filter | None:
        """Make a rule of the report's document, unless it was made before with the same lists."""
        document = report.document
        lists = lists_of(document.value, context.lists.values)
        known = self._made.get(id(document))
        if known is not None and known[1] == lists:
            report.notes += known[3].notes
            return known[2]
        found = read_document(report, context)
        if isinstance(found, Rule) and not report.faults:
            self._made[id(document)] = (document, lists, found, replace(report, notes=list(report.notes)))
        return found

    def turn(self) -> None:
        """Begin to read all files: what is not read this time is forgotten the next."""
        self._before, self._files = self._files, {}

    def keep(self, documents: Sequence[Document]) -> None:
        """Forget what was made of any other document."""
        kept = set(map(id, documents))
        self._made = {key: made for key, made in self._made.items() if key in kept}


def _place(version: Version) -> tuple[str, int]:
    return version.document.file, version.document.position(())[0]


def _to_store(versions: Sequence[Version], at: datetime) -> list[StoredVersion]:
    stored = []
    for version in versions:
        file, line = _place(version)
        try:
            texts = [_dump(version.document.value), _dump({name: list(items) for name, items in version.lists.items()})]
        except (yaml.YAMLError, UnicodeError, RecursionError) as exc:
            # It runs all the same; only a restart with a broken file could not fall back on it.
            log.warning("rule_version_not_kept", rule=version.name, error=str(exc))
            continue
        mode = None if version.mode is None else version.mode.value
        stored.append(
            StoredVersion(
                rule_id=version.id,
                name=version.name,
                file=file,
                line=line,
                mode=mode,
                document=texts[0],
                lists=texts[1],
                since=at,
            )
        )
    return stored


def _from_store(stored: StoredVersion) -> Version:
    # Written by us, in the dialect of one library: not a text that people wrote, which `located` alone may read.
    value, lists = (yaml.load(text, Loader=yaml.CSafeLoader) for text in (stored.document, stored.lists))
    document = Document(stored.file, value, {(): (stored.line, 1)})
    mode = None if stored.mode is None else Mode(stored.mode)
    return Version(stored.rule_id, stored.name, document, {name: tuple(items) for name, items in lists.items()}, mode)


def _dump(value: object) -> str:
    return str(yaml.dump(value, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True))
