"""The configuration of a simulated service: its files, and how a reload changes them."""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from actionwatch.emulator.app import DEMO_KEY, DEMO_USER
from actionwatch.notifiers import webhook
from actionwatch.notifiers.base import DigestOptions
from actionwatch.service.configuration import read_settings
from actionwatch.settings import Receiver, Settings
from tests.builders import NOON
from tests.simulation.correlations import CORRELATIONS, USERS, rule_text
from tests.simulation.network import HOOKS, UPSTREAMS

FIRST, SECOND = UPSTREAMS
HOOK, DIGEST, SLACK = "hook", "digest", "slack"
RECEIVERS: dict[str, dict[str, Any]] = {
    HOOK: {},
    "stormy": {"storm": {"above": 1, "per": "1m"}},
    "muted": {},
    "relieved": {"fallback_after": "2m"},
    "oncall": {},
    DIGEST: {},
    SLACK: {},
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
_SILENCE = "{{matchers: [userName={user}], author: sam, comment: {name}, ends_at: {ends_at}}}\n"
SILENCES = {"holiday": (USERS[0], NOON + timedelta(minutes=80)), "planned": ("amy", NOON + timedelta(days=30))}
"""The user and the end of each. Only the removal of its file ends `planned`, which is about nobody."""
SLACK_TEXT = "{{ type }} {{ alert.id }} {{ alert.status }} {{ alert.count }}"
SLACK_TEMPLATE = "slack.json.j2"
FILES = {
    "rules/broken.yml": "title: [\n",
    "silences/broken.yml": "- matchers: [\n",
    "templates/email.txt.j2": "{{ nonsense\n",
    "templates/email.subject.j2": "{{ alert.title }}\n",
}
"""Other files, of which all but the last one are broken."""
BROKEN = tuple(FILES)[:-1]
FOLDERS = ("rules", "silences", "templates")
_INHIBITING = [{"source_matchers": ['rule="deleted"'], "target_matchers": ['rule="topics"'], "equal": ["userName"]}]


@dataclass(frozen=True)
class Setup:
    """One configuration. `receivers` gives each kind of receiver its name; a kind that is missing is not configured.

    `sources` does the same for the sources, each of which has its own world.
    """

    sources: dict[str, str] = field(default_factory=lambda: {FIRST: FIRST})
    customers: dict[str, str] = field(default_factory=dict)
    """The label `customer` of the sources that have one."""
    receivers: dict[str, str] = field(default_factory=lambda: {HOOK: HOOK})
    rules: tuple[str, ...] = tuple(RULES)
    correlations: tuple[str, ...] = ()
    people: tuple[str, ...] = USERS
    """Whom `missing` expects."""
    silences: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    is_inhibiting: bool = False
    page_size: int = 1000
    start: str = "now"
    overlap: str = "5m"
    interval: str = "30s"
    is_siesta_known: bool = True

    def configure(self, folder: Path, organisations: Mapping[str, str]) -> Settings:
        """Write the files, and return the settings. `organisations` gives each kind of source its organisation."""
        wanted = self.texts()
        for path in [path for name in FOLDERS for path in (folder / name).iterdir()]:
            if path.relative_to(folder).as_posix() not in wanted:
                path.unlink()
        for name, text in wanted.items():
            if not (folder / name).exists() or (folder / name).read_text() != text:
                (folder / name).write_text(text)
        return _read(json.dumps(self._document(folder, organisations)), folder)

    def customers_by_name(self) -> dict[str, str | None]:
        """Return the customer of each source, by its name."""
        return {name: self.customers.get(kind) for kind, name in self.sources.items()}

    def texts(self) -> dict[str, str]:
        """Return the text of each file beside the configuration."""
        silences = {name: SILENCES[name] for name in self.silences}
        return (
            {f"rules/{kind}.yml": self._rule(kind) for kind in self.rules}
            | {f"rules/{name}.yml": rule_text(name, self.people) for name in self.correlations}
            | {
                f"silences/{name}.yml": _SILENCE.format(name=name, user=user, ends_at=ends_at.isoformat())
                for name, (user, ends_at) in silences.items()
            }
            | {name: FILES[name] for name in self.files}
            | {f"templates/{SLACK_TEMPLATE}": f'{{"text": "{SLACK_TEXT}"}}\n'}
        )

    def _rule(self, kind: str) -> str:
        alert = _GROUPED
        if kind == "deleted":
            to = self.receivers.get("oncall")
            alert = f"escalate: {{after: 3m, unless: acked, to: {to}}}" if to else ""
        return _RULE.format(name=kind, id=rule_id(kind), kind=RULES[kind], alert=alert)

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
                    "labels": {"customer": self.customers[kind]} if kind in self.customers else {},
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
        if kind == SLACK:
            options = {"slack": {"token": "xoxb-1", "channel": "C1", "base_url": f"{HOOKS}/{name}/"}}
        fallback = {"fallback": self.receivers.get(DIGEST, self.receivers[HOOK])} if kind == "relieved" else {}
        retry = {"retry": {"first": "1s", "give_up_after": "30m"}}
        return {"name": name, **options, **retry, **RECEIVERS[kind], **fallback}

    def removed(self, chance: random.Random) -> Setup:
        """Return the configuration after a share of everything was removed or renamed."""
        share = chance.choice((0.2, 0.5, 1.0))

        def left(names: Iterable[str]) -> tuple[str, ...]:
            return tuple(name for name in names if chance.random() >= share)

        def renamed(names: Mapping[str, str], kept: str) -> dict[str, str]:
            others = left(each for each in names if each != kept)
            some = {each: name for each, name in names.items() if each == kept or each in others}
            return {each: _renamed(name) if chance.random() < share / 2 else name for each, name in some.items()}

        return replace(
            self,
            sources=renamed(self.sources, FIRST),
            receivers=renamed(self.receivers, HOOK),
            rules=left(self.rules),
            correlations=left(self.correlations),
            people=left(self.people) or USERS[:1],
            silences=left(self.silences),
            files=left(self.files),
            is_siesta_known=bool(left(("siesta",))),
        )

    def toggled(self) -> Setup:
        """Return the configuration with the second rule and some correlations on instead of off, or the other way round."""
        some = self.correlations[:2] if len(self.correlations) > 2 else tuple(CORRELATIONS)
        return replace(self, rules=("deleted",) if len(self.rules) > 1 else tuple(RULES), correlations=some)

    def with_files(self, chance: random.Random) -> Setup:
        """Return the configuration with some other files."""
        some = [chance.sample(sorted(names), chance.randint(0, len(names))) for names in (SILENCES, FILES, USERS)]
        silences, files, people = (tuple(sorted(names)) for names in some)
        return replace(self, silences=silences, files=files, people=people or USERS)

    def is_reloaded_after(self, before: Setup) -> bool:
        """Return whether only files beside the configuration have changed, so that a running service loads them."""
        names = ("rules", "correlations", "people", "silences", "files")
        return replace(before, **{name: getattr(self, name) for name in names}) == self

    def changed(self, chance: random.Random) -> Setup:
        """Return a configuration after a reload, for example with a receiver renamed, removed or added."""
        kind = chance.choice(sorted(self.receivers))
        match chance.randrange(14):
            case 0 | 1:
                return replace(self, receivers={**self.receivers, kind: _renamed(self.receivers[kind])})
            case 2 if kind != HOOK:
                return replace(self, receivers={each: name for each, name in self.receivers.items() if each != kind})
            case 3 | 4:
                added = chance.choice(sorted(RECEIVERS))
                return replace(self, receivers={added: added, **self.receivers})
            case 5 | 10:
                return self.toggled()
            case 11:
                return self.removed(chance)
            case 12:
                return self.with_files(chance)
            case 6:
                source = chance.choice(sorted(self.sources))
                return replace(self, sources={**self.sources, source: _renamed(self.sources[source])})
            case 7:
                return replace(self, page_size=chance.choice((4, 20)))
            case 8 | 9:
                first = {FIRST: self.sources[FIRST]}
                return replace(self, sources=first if SECOND in self.sources else {**first, SECOND: SECOND})
        return replace(self, is_siesta_known=not self.is_siesta_known)


def rule_id(name: str) -> str:
    """Return the id of a rule or correlation."""
    names, last = (tuple(RULES), 0) if name in RULES else (CORRELATIONS, 1)
    return f"{names.index(name):08}-0000-4000-8000-{last:012}"


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
