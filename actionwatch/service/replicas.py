"""Compare what the replicas run with. A difference that lasts becomes the self-alert `replicas_differ`.

Each replica publishes a digest of its configuration and of its rules, lists, templates and silences. What may differ
from machine to machine (`web`, `log`) does not count.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import yaml

from actionwatch.alerts.self_alerts import SelfAlerts
from actionwatch.base.durations import spell_duration
from actionwatch.base.files import file_states, read_regular
from actionwatch.settings import Settings
from actionwatch.store.membership import Roster
from actionwatch.text.yaml_document import MAX_BYTES

LOOK_EVERY = timedelta(seconds=10)
DIFFER_AFTER = timedelta(minutes=5)  # the time in which a change reaches all machines
TROUBLE = "replicas_differ"
SUBJECT = "configuration, rules, lists, templates or silences"
_REMEDY = (
    "bring the same files to all machines, then send SIGHUP to each; 'actionwatch status' shows which replica "
    "runs with which files. Only the rules and routes of the leader count until then"
)
_OF_MACHINES = ("web", "log")


class ReplicaWatch:
    """Says what this replica runs with, and on the leader compares all of them."""

    def __init__(
        self,
        config: Path,
        settings: Settings,
        self_alerts: SelfAlerts,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        """`config` is the file whose content `settings` are."""
        self._self_alerts = self_alerts
        self._elapsed = elapsed
        self._config = config
        self._seen: list[dict[str, tuple[int, ...]]] | None
        """The states of the files of the last digest."""
        self.use(settings)
        self._digest = ""
        self._since: float | None = None

    def use(self, settings: Settings) -> None:
        """Compare the configuration as it is now, which the service has just begun to use."""
        self._configuration = _configuration(self._config)
        self._paths = [*settings.rules, settings.lists, settings.templates, settings.silences]
        self._paths += [settings.source_files.path] if settings.source_files is not None else []
        self._seen = None

    def digest(self) -> str:
        """Return the digest of the configuration in use and of the files as they are now. 64 bits tell accidents apart."""
        states = [file_states([path]) for path in self._paths]
        if states != self._seen:
            found = hashlib.sha256(self._configuration)
            for path, files in zip(self._paths, states, strict=True):
                for name in sorted(each for each, state in files.items() if state):  # a missing folder is an empty one
                    content = _read(Path(name))
                    found.update(f"{os.path.relpath(name, path)}\0{len(content)}\0".encode(errors="surrogateescape"))
                    found.update(content)
            self._digest, self._seen = found.hexdigest()[:16], states
        return self._digest

    def compare(self, roster: Roster) -> None:
        """Report a difference that lasts, and settle one that is over."""
        known = {replica: digest for replica, digest in roster.digests.items() if digest}
        if len(set(known.values())) < 2:
            self._since = None
            self._self_alerts.settle_trouble(TROUBLE, SUBJECT)
            return
        now = self._elapsed()
        self._since = now if self._since is None else self._since
        if now - self._since >= DIFFER_AFTER.total_seconds():
            which = ", ".join(f"{roster.hosts[replica]}: {digest[:8]}" for replica, digest in known.items())
            what = f"replicas have run with different files for {spell_duration(DIFFER_AFTER)} ({which})"
            self._self_alerts.report(TROUBLE, SUBJECT, what, _REMEDY)


def _configuration(path: Path) -> bytes:
    """Return the content of the configuration file, without what may differ from machine to machine."""
    text = path.read_bytes()
    with contextlib.suppress(yaml.YAMLError, TypeError, ValueError):
        document = yaml.load(text, Loader=yaml.CSafeLoader)
        if isinstance(document, dict):
            kept = {key: value for key, value in document.items() if key not in _OF_MACHINES}
            return json.dumps(kept, sort_keys=True, default=str).encode()
    return text


def _read(path: Path) -> bytes:
    """Return the content of a file; nothing if no rule, list, template or silence is read from it either."""
    with contextlib.suppress(OSError):
        return read_regular(path, MAX_BYTES)
    return b""
