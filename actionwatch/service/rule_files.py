"""Load the rule files all at once, with the last good version of each broken document.

Called at the start of `run` and by each reload.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import structlog
import yaml

from actionwatch.base.files import file_state
from actionwatch.base.model import Mode
from actionwatch.rules.document import read_document
from actionwatch.rules.last_good import Running, RunningDocument, with_last_good
from actionwatch.rules.lists import Lists, lists_of
from actionwatch.rules.load import ReadFiles, Rules, build_rules, read_documents
from actionwatch.rules.model import Filter, Rule, RuleVersion
from actionwatch.rules.report import Report
from actionwatch.rules.selections import ReadContext
from actionwatch.rules.versions import content_of
from actionwatch.service.configuration import known_kinds, known_lists, time_intervals
from actionwatch.service.rule_recording import Doing, doings, record
from actionwatch.settings import Settings
from actionwatch.store import correlations, rule_versions
from actionwatch.store.database import Database
from actionwatch.store.rule_versions import StoredVersion
from actionwatch.text.yaml_document import Document, read_file

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class AppliedRules:
    """The running rules, and the names of those that were added, changed and removed."""

    running: Running
    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]

    @property
    def is_changed(self) -> bool:
        """Whether anything was added, changed or removed."""
        return bool(self.added or self.changed or self.removed)


class RuleFiles:
    """The rule files and lists of one process. Nothing else writes which versions run."""

    def __init__(self, settings: Settings, database: Database, clock: Callable[[], datetime]) -> None:
        self._settings = settings
        self._database = database
        self._clock = clock
        self._cache = _Cache()
        self._last: tuple[RunningDocument, ...] | None = None
        self._doings: Mapping[str, Doing] = {}

    def read_files(self) -> tuple[ReadFiles, Lists]:
        """Read the files that changed since the last call; take the others from the cache."""
        self._cache.start_reading()
        return read_documents(self._settings.rules, self._cache.read_file), known_lists(self._settings)

    def apply(self, reading: tuple[ReadFiles, Lists]) -> AppliedRules:
        """Decide which versions run, and store them. The caller makes the service use them."""
        is_start = self._last is None
        last = tuple(map(_from_store, self._stored())) if self._last is None else self._last
        running = with_last_good(*reading, last, self._build)
        before = {version.id: version for version in last}
        now = {version.id: version for version in running.versions}
        changed = [
            each
            for each in now.values()
            if each.id in before and each.version.content != before[each.id].version.content
        ]
        moved = [each for each in now.values() if each.id in before and _place(each) != _place(before[each.id])]
        added = [each for each in now.values() if each.id not in before]
        removed = [each for each in before.values() if each.id not in now]
        doing = doings(running)
        if is_start or added or changed or removed or moved or doing != self._doings:
            with self._database.write() as connection:
                at = self._clock()
                rule_versions.write(connection, _to_store([*added, *changed], at))
                for each in moved:
                    rule_versions.move(connection, each.id, *_place(each))
                record(connection, running, doing, at)
                rule_versions.delete(connection, [each.id for each in removed])
                # A rule that comes back is new: it must not fire for records that it did not see while it was gone.
                correlations.forget_versions(connection, before.keys() & now.keys())
        self._last, self._doings = running.versions, doing
        self._cache.keep([version.document for version in running.versions])
        names = [tuple(each.name for each in some) for some in (added, changed, removed)]
        return AppliedRules(running, *names)

    def _build(self, documents: Sequence[Document], lists: Lists) -> Rules:
        return build_rules(
            documents,
            lists=lists,
            known_kinds=known_kinds(self._settings),
            time_intervals=time_intervals(self._settings),
            now=self._clock(),
            read=self._cache.read_document,
        )

    def _stored(self) -> list[StoredVersion]:
        with self._database.read() as connection:
            return rule_versions.read_all(connection)


class _Cache:
    """The files that were read and the rules that were built before, so that the cost of a reload depends on what changed.

    Reading a rule takes 15 ms and building it 4 ms, and a thousand rules must reload within a second.
    """

    def __init__(self) -> None:
        self._files: dict[Path, tuple[object, list[Document]]] = {}
        self._before = self._files
        self._made: dict[int, tuple[Document, object, Rule, Report]] = {}

    def read_file(self, path: Path, folder: Path | None) -> list[Document]:
        """Read a rule file, unless it is unchanged; `folder` as for `read_bounded`.

        Raises: ConfigError.
        """
        try:
            state = file_state(path.stat())
        except OSError:
            return read_file(path, folder)
        known = self._before.get(path)
        if known is None or known[0] != state:
            known = (state, read_file(path, folder))
        self._files[path] = known
        return known[1]

    def read_document(self, report: Report, context: ReadContext) -> Rule | Filter | None:
        """Build the rule of the report's document, unless it was built before with the same lists."""
        document = report.document
        lists = lists_of(document.value, context.lists.values)
        known = self._made.get(id(document))
        if known is not None and known[1] == lists:
            report.notes += known[3].notes
            return known[2]
        found = read_document(report, context)
        if isinstance(found, Rule) and not report.faults:
            kept = replace(report, notes=list(report.notes))
            self._made[id(document)] = (document, lists, found, kept)
        return found

    def start_reading(self) -> None:
        """Start reading all files. A file that is not read this time is forgotten the next time."""
        self._before, self._files = self._files, {}

    def keep(self, documents: Sequence[Document]) -> None:
        """Forget the rules of all other documents."""
        kept = set(map(id, documents))
        self._made = {key: made for key, made in self._made.items() if key in kept}


def _place(version: RunningDocument) -> tuple[str, int]:
    return version.document.file, version.document.position(())[0]


def _to_store(versions: Sequence[RunningDocument], at: datetime) -> list[StoredVersion]:
    stored = []
    for version in versions:
        file, line = _place(version)
        try:
            texts = [_dump(version.document.value), _dump({name: list(items) for name, items in version.lists.items()})]
        except (yaml.YAMLError, UnicodeError, RecursionError) as exc:
            # The rule runs, but a restart with a broken file cannot fall back to this version.
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


def _from_store(stored: StoredVersion) -> RunningDocument:
    # Written by _dump with the same library. Only text/yaml_document.py may read what people wrote.
    value, lists = (yaml.load(text, Loader=yaml.CSafeLoader) for text in (stored.document, stored.lists))
    document = Document(stored.file, value, {(): (stored.line, 1)})
    mode = None if stored.mode is None else Mode(stored.mode)
    values = {name: tuple(items) for name, items in lists.items()}
    return RunningDocument(stored.rule_id, stored.name, document, RuleVersion(content_of(value, values)), values, mode)


def _dump(value: object) -> str:
    return str(yaml.dump(value, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True))
