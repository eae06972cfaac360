"""Reload changed rules, lists and templates while the service runs, all together.

`watch` checks the files every 0.4 s, which takes 0.4 ms for a hundred files. Kernel notifications miss a changed symlink above
the folder, a new folder, and changes on network file systems, so polling is needed anyway. Broken files keep their last good
version and are reported.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from actionwatch.base.errors import Fault
from actionwatch.base.plurals import counted
from actionwatch.render.template_folders import read_texts
from actionwatch.rules.last_good import Running, is_within
from actionwatch.rules.lists import list_folders
from actionwatch.service.app import App
from actionwatch.service.broken_files import BrokenFiles, spell_faults
from actionwatch.service.rule_changes import spell_changes
from actionwatch.service.rule_files import RuleFiles
from actionwatch.service.silence_files import SilenceFiles
from actionwatch.service.template_files import TemplateFiles
from actionwatch.service.watched_files import LOOK_SECONDS, WatchedFiles
from actionwatch.store import marks

RETRY_SECONDS = 5.0  # after an error that the files did not cause, such as a busy store
_READINGS = 5  # of files that change while they are read

log = structlog.get_logger()


class Reloader:
    """Loads changed files into the running service. Safe to share between threads.

    The leader applies rules, lists and silences, for all replicas, and reports what is broken. The others need only templates.
    """

    def __init__(self, app: App, refused: Fault | None = None) -> None:
        self._app = app
        self._refused = refused
        self._lock = threading.Lock()
        settings = app.settings
        self._files = WatchedFiles([*settings.rules, settings.lists, settings.templates])
        self.broken_files = BrokenFiles(app.leading_alerts)
        self._reported: set[str]
        self._faults: list[Fault] = []
        self._silence_faults: list[Fault] = []
        self.summary = ""
        """What is loaded, for people. What changed in the rules is in their history."""
        self._forget()

    def start(self) -> None:
        """Load the files before anything is matched. Report what is broken, and settle what no longer is."""
        with self._lock:
            self._forget()
            _settle_removed(self._app)
            broken = self._load()
            self._silence_faults = self._silences.run_once()
            others = [*self._silence_faults, *([self._refused] if self._refused else [])]
            self.broken_files.report({fault.file: spell_faults([fault]) for fault in others})
            self.broken_files.report(broken)
            self._reported = set(broken)
            still_broken = {*broken, *(fault.file for fault in others)}
            self.broken_files.settle_others(still_broken)

    def follow(self) -> None:
        """Use changed templates, on a replica that does not lead; rules are read when a page shows them."""
        with self._lock:
            if self._files.are_changed():
                states = self._files.states()
                self._templates.apply(read_texts(self._app.settings.templates), is_kept=False)
                self._files.loaded = states
                self._app.forget_rules()
                self.summary = "templates loaded: the leader loads rules, lists and silences"

    def run_once(self) -> None:
        """Load the files."""
        with self._lock:
            self._reload()

    def look(self) -> None:
        """Load the files if any of them changed."""
        with self._lock:
            if self._files.are_changed():
                self._reload()

    def changed_rules(self, after: int | None) -> tuple[list[str], int]:
        """Return a line for each rule that changed behind an entry of its history (None: no line), and the newest entry."""
        with self._app.database.read() as connection:
            return spell_changes(connection, after)

    @property
    def faults(self) -> list[str]:
        """What is wrong with rules, lists, templates and silences, each with its place."""
        return [str(fault) for fault in (*self._faults, *self._silence_faults)]

    def load_silences(self) -> None:
        """Load the changed silence files, and report the broken ones."""
        before = self._silences.broken
        faults = self._silence_faults = self._silences.run_once()
        for file in before - {fault.file for fault in faults}:
            self.broken_files.settle_file(file)
        self.broken_files.report_silences(faults)

    def watch(
        self,
        stopping: threading.Event,
        attempt: Callable[[Callable[[], object]], bool],
        leads: Callable[[], bool],
    ) -> None:
        """Reload when a file changes, until `stopping` is set; for use in a separate thread.

        `attempt` calls what it is given and returns whether that succeeded. `leads` returns whether this is the leader.
        """
        while not stopping.wait(LOOK_SECONDS):
            if not attempt(self.look if leads() else self.follow):
                stopping.wait(RETRY_SECONDS)

    def _forget(self) -> None:
        """Forget what this process applied: the store says what runs, because another replica may have led since."""
        app = self._app
        self._rules = RuleFiles(app.settings, app.leading, app.clock)
        self._silences = SilenceFiles(app.settings, app.leading, app.clock)
        self._templates = TemplateFiles(app.settings.templates, app.renderer, app.leading, app.leading_alerts)
        self._files.loaded, self._reported, self._is_started = {}, set(), False

    def _reload(self) -> None:
        try:
            broken = self._load()
            self.broken_files.report(broken)
            for file in self._reported - broken.keys():
                self.broken_files.settle_file(file)
        except BaseException:
            self._files.loaded, self._is_started = {}, False  # do everything again next time
            raise
        self._reported = set(broken)

    def _load(self) -> dict[str, str]:
        """Load rules, lists and templates and use them. Return the messages to report, by file."""
        began = time.monotonic()
        for _ in range(_READINGS):
            seen = self._files.states()
            reading, texts = self._rules.read_files(), read_texts(self._app.settings.templates)
            # Files that changed while they were read may not belong together: read them again.
            if self._files.states() == seen:
                break
        applied = self._rules.apply(reading)
        running = applied.running
        template_faults = self._templates.apply(texts)
        if applied.is_changed or not self._is_started:
            self._app.use(running.rules)
            if applied.is_changed and not self._is_started:  # later, the matching step does that when it uses them
                self._app.rule_failures.settle_failures()
            seconds = round(time.monotonic() - began, 3)
            log.info(
                "rules_reloaded" if self._is_started else "rules_loaded",
                rules=len(running.rules.rules), added=applied.added, changed=applied.changed, removed=applied.removed,
                seconds=seconds,
            )  # fmt: skip
        self._files.loaded, self._is_started = seen, True
        self.summary = f"{counted(len(running.rules.rules), 'rule')} loaded"
        faults = [*running.rules.faults, *template_faults]
        for fault in faults:
            if fault not in self._faults:
                log.error("rule_broken", fault=str(fault))
        self._faults = faults
        return {
            file: f"{spell_faults([fault for fault in faults if fault.file == file])}. {self._fallback(file, running)}"
            for file in dict.fromkeys(fault.file for fault in faults)
        }

    def _fallback(self, file: str, running: Running) -> str:
        """Return what runs until a file is fixed."""
        held = [name for other, names in running.held.items() if is_within(other, {file}) for name in names]
        path = Path(file)
        if held:
            return f"Until it is fixed, the last good version runs: {', '.join(held)}"
        settings = self._app.settings
        if path.is_relative_to(settings.templates):
            is_held = file in self._templates.held
            return (
                "Its last good version is used" if is_held else "The shipped template or a plain text is used instead"
            )
        if path.parent in list_folders(settings.lists, settings.rules) and path.stem in running.lists.values:
            return "Its last values are used"
        return "It is off until it is fixed"

    def settle_sources(self) -> None:
        """Settle the self-alerts of removed sources, while the service runs."""
        with self._lock:
            _settle_removed(self._app)


def _settle_removed(app: App) -> None:
    """Settle the self-alerts of removed sources and receivers, and of a configuration that is in use now."""
    names = app.source_names()
    app.leading_alerts.settle_removed(names, [receiver.name for receiver in app.settings.receivers])
    app.leading_alerts.settle_others("config_differs", set())  # perhaps of a file with another name
    # Of the kind of store from which this one was copied.
    app.leading_alerts.settle_others("store_nearly_full" if app.database.is_shared else "replicas_differ", set())
    with app.leading.write() as connection:
        marks.forget_reports(connection, names)
