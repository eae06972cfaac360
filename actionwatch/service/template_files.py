"""Load the operator's templates all at once, with the last good version of each broken one.

Called at the start of `run` and by each reload.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from actionwatch.alerts.self_alerts import SelfAlerts
from actionwatch.base.errors import Fault
from actionwatch.delivery.health import CHANGED, TROUBLE
from actionwatch.render.renderer import Renderer
from actionwatch.store import template_versions
from actionwatch.store.database import Database

_ROUNDS = 3  # restoring a part may reveal an error in a template that includes it


class TemplateFiles:
    """The operator's folder, its renderer, and the store with the last good versions."""

    def __init__(self, folder: Path, renderer: Renderer, database: Database, self_alerts: SelfAlerts) -> None:
        self._folder = folder
        self._renderer = renderer
        self._database = database
        self._self_alerts = self_alerts
        self._read: tuple[dict[str, str], list[Fault]] | None = None
        self._last: Mapping[str, str] | None = None
        self._faults: list[Fault] = []
        self.held: frozenset[str] = frozenset()
        """The files whose last good text is used, named as in faults."""

    def apply(self, reading: tuple[dict[str, str], list[Fault]], *, is_kept: bool = True) -> list[Fault]:
        """Use the valid templates among those that `read_texts` read. Return the faults of the others.

        `is_kept`: store them as the last good ones. One replica does that for all.
        """
        if reading != self._read:
            if not is_kept:
                self._last = None  # another replica stores them
            self._apply(*reading, is_kept=is_kept)
            self._read = reading
        return self._faults

    def _apply(self, texts: Mapping[str, str], unread: list[Fault], *, is_kept: bool) -> None:
        if self._last is None:
            with self._database.read() as connection:
                self._last = template_versions.read_all(connection)
        last, used = self._last, dict(texts)
        held = {name for fault in unread if (name := self._name(fault)) in last}
        used |= {name: last[name] for name in held}
        first = faults = self._renderer.check_texts(used)
        for _ in range(_ROUNDS):
            broken = {self._name(fault) for fault in faults} & used.keys()
            better = {name for name in broken if name in last and last[name] != used[name]}
            if not better:
                break
            held |= better
            used |= {name: last[name] for name in better}
            faults = self._renderer.check_texts(used)
        sound = {name: text for name, text in used.items() if name not in {self._name(fault) for fault in faults}}
        self._renderer.use(used)
        self._faults = [*unread, *first]
        self.held = frozenset(str(self._folder / name) for name in held)
        if is_kept:
            self._keep(used, sound, last)
        self._last = sound

    def _keep(self, used: Mapping[str, str], sound: dict[str, str], last: Mapping[str, str]) -> None:
        """Store the valid texts, and settle what was reported about others."""
        # Before the texts are stored: a process that is killed in between leaves it to the next one.
        unchanged = {str(self._folder / name) for name in used} if sound == last else set()
        self._self_alerts.settle_others(TROUBLE, unchanged, lambda _: CHANGED)
        if sound != last:
            with self._database.write() as connection:
                template_versions.replace_all(connection, sound)

    def _name(self, fault: Fault) -> str:
        path = Path(fault.file)
        return path.relative_to(self._folder).as_posix() if path.is_relative_to(self._folder) else ""
