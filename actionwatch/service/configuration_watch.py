"""Compare the configuration on disk with the running one: report a difference that lasts, or reload by itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from actionwatch.alerts.self_alerts import SelfAlerts
from actionwatch.base.errors import ConfigError
from actionwatch.service.configuration import read_settings
from actionwatch.service.watched_files import WatchedFiles
from actionwatch.settings import Settings

LOOK_EVERY = timedelta(seconds=30)  # reading a configuration takes some milliseconds
DIFFERS_AFTER = timedelta(minutes=1)  # the time between saving a file and the command that reloads it
_QUIET_SECONDS = 0.05  # a file that is being written changes again within it
_TROUBLE = "config_differs"
_REMEDY = (
    "send the service SIGHUP (for example 'systemctl reload actionwatch'); with auto_reload: true, it reloads by itself"
)
_BROKEN_REMEDY = "'actionwatch check' shows every error; fix them, then send the service SIGHUP"


class ConfigurationWatch:
    """Watches the configuration file, and the secret files that it names, for one running service."""

    def __init__(
        self,
        config: Path,
        settings: Settings,
        self_alerts: SelfAlerts,
        ask: Callable[[str], object],
        refused: Settings | None = None,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        """`ask` requests what it is given: `reload`, or `sources` if only the files of sources, or their secrets, changed.

        `refused` is a configuration with which the service could not start.
        """
        self._config = config
        self._settings = settings
        self._self_alerts = self_alerts
        self._ask = ask
        self._refused = refused
        self._elapsed = elapsed
        self._since: float | None = None
        self.is_refused = refused is not None
        """Whether a refused configuration was already reported."""

    def use(self, settings: Settings) -> None:
        """Compare with a configuration that the service runs with from now on."""
        self._settings = settings

    def run_once(self) -> None:
        """Read the configuration once."""
        found = self._read()
        if found == self._settings:
            self._since = None
            self._self_alerts.settle_trouble(_TROUBLE, str(self._config))
            return
        if isinstance(found, Settings) and self._differs_in_source_files(found):
            self._ask("sources")
            return
        now = self._elapsed()
        self._since = now if self._since is None else self._since
        if self._settings.auto_reload and isinstance(found, Settings) and found != self._refused:
            time.sleep(_QUIET_SECONDS)
            if self._read() == found:
                self._ask("reload")
        if now - self._since >= DIFFERS_AFTER.total_seconds() and not self.is_refused:
            self._report(found)

    def _differs_in_source_files(self, found: Settings) -> bool:
        """Return whether only what is outside the configuration file differs: a source, or the key of one."""
        files = self._settings.source_files
        return files is not None and files == found.source_files and differ_only_in_sources(self._settings, found)

    def _read(self) -> Settings | str:
        """Return the configuration on disk, or what is wrong with it."""
        try:
            return read_settings(self._config)
        except ConfigError as exc:
            return "; ".join(str(fault) for fault in exc.faults)

    def _report(self, found: Settings | str) -> None:
        if isinstance(found, Settings):
            what = f"the service runs with an older configuration: {', '.join(changes(self._settings, found))}"
            self._self_alerts.report(_TROUBLE, str(self._config), what, _REMEDY)
        else:
            what = f"the service runs with an older configuration, because the one on disk is broken: {found}"
            self._self_alerts.report(_TROUBLE, str(self._config), what, _BROKEN_REMEDY)


class SourceFilesWatch:
    """Watches the files of sources. A change is used at once, like one of rules."""

    def __init__(self, files: Path, ask: Callable[[str], object]) -> None:
        """`ask` requests `sources`."""
        self._files = WatchedFiles([files])
        self._files.loaded = self._files.states()
        self._ask = ask

    def run_once(self) -> None:
        """Look at the files once."""
        if self._files.are_changed():
            self._files.loaded = self._files.states()
            self._ask("sources")


def differ_only_in_sources(before: Settings, after: Settings) -> bool:
    """Return whether two configurations have other sources from the same place, and nothing else differs."""
    places = [each.source_files.path if each.source_files else None for each in (before, after)]
    others = [name for name in Settings.model_fields if name != "sources"]
    is_rest_equal = all(getattr(before, name) == getattr(after, name) for name in others)
    return before != after and places[0] == places[1] and is_rest_equal


def changes(before: Settings, after: Settings) -> list[str]:
    """Name what differs between two configurations, never a value: values may be secret."""
    found: list[str] = []
    for key in Settings.model_fields:
        old, new = getattr(before, key), getattr(after, key)
        if old == new:
            continue
        if key in ("sources", "receivers"):
            found += _changed_items(key.removesuffix("s"), _by_name(old), _by_name(new)) or [f"the order of {key}"]
        else:
            found.append(f"{key} changed")
    return found


def _changed_items(noun: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    added = [f"{noun} {name} added" for name in new if name not in old]
    changed = [f"{noun} {name} changed" for name in new if name in old and old[name] != new[name]]
    return [*added, *changed, *(f"{noun} {name} removed" for name in old if name not in new)]


def _by_name(items: Sequence[Any]) -> dict[str, Any]:
    return {item.name: item for item in items}
