"""The configuration of a simulated service: its files, and how a reload changes them."""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from actionwatch.emulator.app import DEMO_KEY, DEMO_USER
from actionwatch.notifiers import webhook
from actionwatch.notifiers.base import DigestOptions
from actionwatch.service.configuration import read_settings
from actionwatch.settings import Receiver, Settings
from tests.simulation.correlations import CORRELATIONS
from tests.simulation.network import HOOKS, UPSTREAMS

FIRST, SECOND = UPSTREAMS
HOOK, DIGEST = "hook", "digest"
RECEIVERS: dict[str, dict[str, Any]] = {
    HOOK: {},
    "stormy": {"storm": {"above": 1, "per": "1m"}},
    "muted": {},
    "relieved": {"fallback_after": "2m"},
    "oncall": {},
    DIGEST: {},
}
"""What each kind of receiver wants. `muted` is routed to with a mute interval, `oncall` only by an escalation."""
SWEEPS = ("30m", "2h")
RULES = {"deleted": "DELETE_CLUSTER", "topics": "DELETE_KAFKA_TOPIC"}
"""The kind that each rule matches."""
_RULE = """\
title: Rule {name}
id: {id}
name: {name}
status: stable
level: high
logsource: {{product: instaclustr, service: user_actions}}
detection: {{s: {{actionKind: {kind}}}, condition: s}}
alert: {{{alert}}}
"""
_GROUPED = "group_by: [userName], realert: 15m"
_SIESTA = [{"times": [{"start_time": "12:05", "end_time": "12:25"}, {"start_time": "14:00", "end_time": "14:30"}]}]
_INHIBITING = [{"source_matchers": ['rule="deleted"'], "target_matchers": ['rule="topics"'], "equal": ["userName"]}]


@dataclass(frozen=True)
class Setup:
    """One configuration. `receivers` gives each kind of receiver its name; a kind that is missing is not configured.

    `sources` does the same for the sources, each of which has its own world.
    """

    sources: dict[str, str] = field(default_factory=lambda: {FIRST: FIRST})
    receivers: dict[str, str] = field(default_factory=lambda: {HOOK: HOOK})
    rules: tuple[str, ...] = tuple(RULES)
    correlations: tuple[str, ...] = ()
    is_inhibiting: bool = False
    page_size: int = 1000
    start: str = "now"
    overlap: str = "5m"
    interval: str = "30s"
    is_siesta_known: bool = True

    def configure(self, folder: Path, organisations: Mapping[str, str]) -> Settings:
        """Write the rules, and return the settings. `organisations` gives each kind of source its organisation."""
        rules = {kind: self._rule(kind) for kind in self.rules} | {
            name: CORRELATIONS[name] for name in self.correlations
        }
        for name in (*RULES, *CORRELATIONS):
            path, text = folder / "rules" / f"{name}.yml", rules.get(name)
            if text is None:
                path.unlink(missing_ok=True)
            elif not path.exists() or path.read_text() != text:
                path.write_text(text)
        return _read(json.dumps(self._document(folder, organisations)), folder)

    def _rule(self, kind: str) -> str:
        alert = _GROUPED
        if kind == "deleted":
            to = self.receivers.get("oncall")
            alert = f"escalate: {{after: 3m, unless: acked, to: {to}}}" if to else ""
        number = f"{tuple(RULES).index(kind):08}-0000-4000-8000-000000000000"
        return _RULE.format(name=kind, id=number, kind=RULES[kind], alert=alert)

    def _document(self, folder: Path, organisations: Mapping[str, str]) -> dict[str, Any]:
        routed = [name for kind, name in self.receivers.items() if kind not in ("muted", "oncall")]
        muted = self.receivers.get("muted")
        siesta = ["siesta"] if self.is_siesta_known else []
        children = [{"receiver": muted, "continue": True, "mute_time_intervals": siesta}, {"receivers": routed}]
        return {
            "sources": [
                {
                    "name": name,
                    "organisation_id": organisations[kind],
                    "username": DEMO_USER,
                    "api_key": DEMO_KEY,
                    "base_url": UPSTREAMS[kind],
                    "start": self.start,
                    "page_size": self.page_size,
                    "overlap": self.overlap,
                    "sweeps": list(SWEEPS),
                    "poll_interval": self.interval,
                }
                for kind, name in self.sources.items()
            ],
            "store": {"url": f"sqlite:///{folder}/store.db"},
            "rules": [f"{folder}/rules/"],
            "receivers": [self._receiver(kind, name) for kind, name in self.receivers.items()],
            "route": {"receivers": routed, "routes": children if muted else []},
            "time_intervals": [{"name": "siesta", "time_intervals": _SIESTA}] if siesta else [],
            "inhibit_rules": _INHIBITING if self.is_inhibiting else [],
        }

    def _receiver(self, kind: str, name: str) -> dict[str, Any]:
        options: dict[str, Any] = {"webhook": {"url": f"{HOOKS}/{name}"}}
        fallback = {"fallback": self.receivers[HOOK]} if kind == "relieved" else {}
        retry = {"retry": {"first": "1s", "give_up_after": "30m"}}
        return {"name": name, **options, **retry, **RECEIVERS[kind], **fallback}

    def renamed(self) -> Setup:
        """Return the configuration with everything renamed, without a rule and the mute interval."""
        receivers, sources = (
            {kind: _renamed(name) for kind, name in each.items()} for each in (self.receivers, self.sources)
        )
        return replace(self, sources=sources, receivers=receivers, rules=("deleted",), is_siesta_known=False)

    def without(self, kind: str) -> Setup:
        """Return the configuration without a kind of receiver, and without the second source."""
        receivers = {each: name for each, name in self.receivers.items() if each == HOOK or each != kind}
        return replace(self, receivers=receivers, sources={FIRST: self.sources[FIRST]})

    def toggled(self) -> Setup:
        """Return the configuration with the second rule on instead of off, or the other way round."""
        return replace(self, rules=("deleted",) if len(self.rules) > 1 else tuple(RULES))

    def changed(self, chance: random.Random) -> Setup:
        """Return a configuration after a reload, for example with a receiver renamed, removed or added."""
        kind = chance.choice(sorted(self.receivers))
        match chance.randrange(12):
            case 0 | 1:
                return replace(self, receivers={**self.receivers, kind: _renamed(self.receivers[kind])})
            case 2 if kind != HOOK:
                return replace(self, receivers={each: name for each, name in self.receivers.items() if each != kind})
            case 3 | 4:
                added = chance.choice(sorted(RECEIVERS))
                return replace(self, receivers={added: added, **self.receivers})
            case 5:
                return self.toggled()
            case 6:
                source = chance.choice(sorted(self.sources))
                return replace(self, sources={**self.sources, source: _renamed(self.sources[source])})
            case 7:
                return replace(self, page_size=chance.choice((4, 20)))
            case 8 | 9:
                first = {FIRST: self.sources[FIRST]}
                return replace(self, sources=first if SECOND in self.sources else {**first, SECOND: SECOND})
            case 10:
                some = self.correlations[:2] if len(self.correlations) > 2 else tuple(CORRELATIONS)
                return replace(self, correlations=some)
        return replace(self, is_siesta_known=not self.is_siesta_known)


class _WithDigest(webhook.Options):
    """A webhook that gets digests, because the simulation has no mail server."""

    digest: DigestOptions = DigestOptions(at="*/30 * * * *")


@functools.lru_cache(maxsize=1000)
def _read(text: str, folder: Path) -> Settings:
    path = folder / "actionwatch.yaml"
    path.write_text(text)
    settings = read_settings(path, {})
    receivers = [_digesting(each) if each.name.startswith(DIGEST) else each for each in settings.receivers]
    return settings.model_copy(update={"receivers": type(settings.receivers)(receivers)})


def _digesting(receiver: Receiver) -> Receiver:
    return receiver.model_copy(update={"options": _WithDigest.model_construct(**vars(receiver.options))})


def _renamed(name: str) -> str:
    """Return the next version of a name: `hook`, `hook-2`, `hook-3`."""
    stem, _, number = name.partition("-")
    return f"{stem}-{int(number or 1) + 1}"
