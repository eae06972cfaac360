"""Coverage of the rules: the kinds of the catalogue by area, and the techniques of ATT&CK by tactic."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from actionwatch.base.model import Mode
from actionwatch.rules.model import Rule
from actionwatch.rules.prefilter import conditions_of, demanded_kinds

_TACTICS = {
    "initial-access": {"T1078.004": "Valid accounts: cloud", "T1199": "Trusted relationship"},
    "persistence": {
        "T1098": "Account manipulation",
        "T1098.001": "Additional cloud credentials",
        "T1098.003": "Additional cloud roles",
        "T1136": "Create account",
        "T1556": "Modify authentication process",
    },
    "privilege-escalation": {"T1548": "Abuse of elevation control", "T1484": "Domain or tenant policy modified"},
    "defense-evasion": {
        "T1562": "Impair defences",
        "T1562.007": "Cloud firewall disabled or modified",
        "T1578": "Modify cloud compute infrastructure",
    },
    "credential-access": {"T1528": "Steal application access token", "T1552": "Unsecured credentials"},
    "discovery": {
        "T1526": "Cloud service discovery",
        "T1580": "Cloud infrastructure discovery",
        "T1087": "Account discovery",
    },
    "lateral-movement": {"T1550": "Use of alternate authentication material"},
    "collection": {"T1530": "Data from cloud storage", "T1213": "Data from information repositories"},
    "exfiltration": {"T1537": "Transfer to another cloud account", "T1567": "Over a web service"},
    "impact": {
        "T1485": "Data destruction",
        "T1490": "Inhibit system recovery",
        "T1489": "Service stop",
        "T1496": "Resource hijacking",
        "T1531": "Account access removal",
        "T1498": "Denial of service",
    },
}
"""The techniques of ATT&CK's cloud matrices that are possible with access to the console of a managed database."""
TACTICS = tuple(_TACTICS)
_OTHER_NAMES = {
    "T1036": "Masquerading",
    "T1059.009": "Command and scripting interpreter: cloud API",
    "T1133": "External remote services",
    "T1486": "Data encrypted for impact",
    "T1657": "Financial theft",
    "T1666": "Modify cloud resource hierarchy",
}
"""Further techniques in the tags of the shipped rules."""


@dataclass(frozen=True, slots=True)
class KindRow:
    """A kind, with the names of the rules that can match it."""

    kind: str
    area: str
    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TechniqueRow:
    """A technique, with the names of the rules that have its tag or the tag of a sub-technique."""

    tactic: str
    technique: str
    name: str
    rules: tuple[str, ...]


def cover_kinds(rules: Sequence[Rule], areas: Mapping[str, str]) -> list[KindRow]:
    """Return the rules for each kind; `areas` maps kinds to areas. Rules that match every kind do not count."""
    by_kind: dict[str, list[str]] = {kind: [] for kind in areas}
    known = {rule.name.id: rule for rule in rules}
    for rule in _running(rules):
        for kind in dict.fromkeys(kind for each in conditions_of(rule, known) for kind in demanded_kinds(each, areas)):
            by_kind[kind].append(rule.name.name)
    return [KindRow(kind, area, tuple(by_kind[kind])) for kind, area in areas.items()]


def cover_techniques(rules: Sequence[Rule]) -> list[TechniqueRow]:
    """Return the rules for each technique. Other techniques in the tags of rules come last, with their tactic."""
    tagged: dict[str, list[str]] = {}
    tactic_of: dict[str, str] = {}
    for rule in _running(rules):
        tactics = tactics_of(rule)
        for technique in _techniques_of(rule):
            tagged.setdefault(technique, []).append(rule.name.name)
            tactic_of.setdefault(technique, tactics[0] if tactics else "other")
    rows = [
        TechniqueRow(tactic, technique, name, tuple(_under(technique, tagged)))
        for tactic, techniques_of in _TACTICS.items()
        for technique, name in techniques_of.items()
    ]
    known = {row.technique for row in rows}
    others = [technique for technique in sorted(tagged) if not {technique, technique.partition(".")[0]} & known]
    return rows + [
        TechniqueRow(tactic_of[each], each, _OTHER_NAMES.get(each, ""), tuple(tagged[each])) for each in others
    ]


def tactics_of(rule: Rule) -> list[str]:
    """Return the tactics in the tags of a rule."""
    return [word for tag in _attack_tags(rule) if (word := tag.replace("_", "-")) in _TACTICS]


def is_tagged(rule: Rule, technique: str) -> bool:
    """Return whether a rule has the tag of a technique, or of one of its sub-techniques."""
    return any(each == technique or each.startswith(f"{technique}.") for each in _techniques_of(rule))


def by_tactic(rows: Iterable[TechniqueRow]) -> dict[str, list[TechniqueRow]]:
    """Return the techniques of each tactic, for a matrix."""
    found: dict[str, list[TechniqueRow]] = {}
    for row in rows:
        found.setdefault(row.tactic, []).append(row)
    return found


def _under(technique: str, tagged: Mapping[str, Iterable[str]]) -> list[str]:
    found = [names for tag, names in tagged.items() if tag == technique or tag.startswith(f"{technique}.")]
    return list(dict.fromkeys(name for names in found for name in names))


def _techniques_of(rule: Rule) -> list[str]:
    return [tag.upper() for tag in _attack_tags(rule) if tag[:1] in "tT" and tag[1:2].isdigit()]


def _attack_tags(rule: Rule) -> list[str]:
    return [tag.removeprefix("attack.") for tag in rule.name.tags if tag.startswith("attack.")]


def _running(rules: Sequence[Rule]) -> list[Rule]:
    return [rule for rule in rules if rule.mode is not Mode.OFF and not rule.is_silent]
