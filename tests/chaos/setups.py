"""The configuration of a schedule: receivers of every type, routes, rules; and how a reload changes it."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta

from actionwatch.alerts.policy import GlobalPolicy, ReceiverPolicy, Storm
from actionwatch.alerts.routes import Route
from actionwatch.base.model import Escalation, Match, Record
from actionwatch.matching.addressing import Addressing
from actionwatch.text.crontab import parse_crontab
from actionwatch.text.timeintervals import Period, TimeInterval
from tests.integration.kit import KindRule
from tests.upstreams import HOOK

SIESTA = TimeInterval("siesta", (Period(times=((12 * 60 + 5, 12 * 60 + 25), (14 * 60, 14 * 60 + 30))),))
POLICIES = {
    HOOK: ReceiverPolicy(),
    "digest": ReceiverPolicy(digest=parse_crontab("*/20 * * * *")),
    "storm": ReceiverPolicy(storm=Storm(1, timedelta(minutes=1))),
    "muted": ReceiverPolicy(),
    "relieved": ReceiverPolicy(fallback=HOOK, fallback_after=timedelta(minutes=2)),
    "oncall": ReceiverPolicy(),
}
"""What each kind of receiver wants. `muted` is routed to with a mute interval, `oncall` only by an escalation."""


@dataclass
class EscalatingRule(KindRule):
    """A rule whose alerts go to the person on call if nobody acknowledges them."""

    escalate_to: str | None = None

    def match(self, record: Record) -> Match:
        """Make the match of a record."""
        if self.escalate_to is None:
            return super().match(record)
        return replace(super().match(record), escalation=Escalation(timedelta(minutes=3), self.escalate_to))


@dataclass(frozen=True)
class Setup:
    """One configuration. `names` gives each type of receiver its name; a type that is missing is not configured."""

    names: dict[str, str] = field(default_factory=lambda: {HOOK: HOOK})
    is_escalated: bool = False
    is_second_rule_on: bool = True
    is_siesta_known: bool = True

    @property
    def rules(self) -> list[KindRule]:
        """The rules that run."""
        to = self.names.get("oncall") if self.is_escalated else None
        rules: list[KindRule] = [EscalatingRule("DELETE_CLUSTER", "cluster_deleted", escalate_to=to)]
        if self.is_second_rule_on:
            rules.append(KindRule("DELETE_KAFKA_TOPIC", "topics_deleted", realert=timedelta(minutes=15)))
        return rules

    @property
    def addressing(self) -> Addressing:
        """The routing tree."""
        routed = tuple(name for kind, name in self.names.items() if kind not in ("muted", "oncall"))
        muted = self.names.get("muted")
        children = (Route((muted,), is_continued=True, mutes=("siesta",)), Route(routed)) if muted else ()
        return Addressing(Route(routed, routes=children), self.policies)

    @property
    def policies(self) -> dict[str, ReceiverPolicy]:
        """The policy of each receiver, by name."""
        return {
            name: replace(POLICIES[kind], fallback=self.names[HOOK]) if POLICIES[kind].fallback else POLICIES[kind]
            for kind, name in self.names.items()
        }

    @property
    def global_policy(self) -> GlobalPolicy:
        """The policy for all receivers."""
        return GlobalPolicy(intervals={"siesta": SIESTA} if self.is_siesta_known else {})

    def renamed(self) -> Setup:
        """Return the configuration with every receiver renamed, without the second rule and the mute interval."""
        names = {kind: _renamed(name) for kind, name in self.names.items()}
        return replace(self, names=names, is_second_rule_on=False, is_siesta_known=False)

    def changed(self, chance: random.Random) -> Setup:
        """Return a configuration after a reload, for example with a receiver renamed, removed or added."""
        match chance.randrange(6):
            case 0 | 1:
                kind = chance.choice(sorted(self.names))
                return replace(self, names={**self.names, kind: _renamed(self.names[kind])})
            case 2:
                others = sorted(self.names.keys() - {HOOK})
                gone = chance.choice(others) if others else None
                return replace(self, names={kind: name for kind, name in self.names.items() if kind != gone})
            case 3:
                kind = chance.choice(sorted(POLICIES))
                return replace(self, names={kind: kind, **self.names})
            case 4:
                return replace(self, is_second_rule_on=not self.is_second_rule_on)
            case _:
                return replace(self, is_siesta_known=not self.is_siesta_known)


def plain() -> Setup:
    """Return the configuration for a schedule about the tail only."""
    return Setup()


def varied(chance: random.Random) -> Setup:
    """Return a configuration with some types of receivers."""
    kinds: Iterable[str] = chance.sample(sorted(POLICIES.keys() - {HOOK}), chance.randint(1, 4))
    return Setup({HOOK: HOOK} | {kind: kind for kind in kinds}, is_escalated="oncall" in kinds)


def _renamed(name: str) -> str:
    """Return the next version of a name: `hook`, `hook-2`, `hook-3`."""
    stem, _, number = name.partition("-")
    return f"{stem}-{int(number or 1) + 1}"
