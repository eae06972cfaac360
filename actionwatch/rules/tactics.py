"""The tactics of ATT&CK in the tags of rules. The tags are those of Sigma: `attack.` and the name of a tactic."""

from __future__ import annotations

from actionwatch.rules.model import Rule

TACTICS = (
    "initial-access",
    "persistence",
    "privilege-escalation",
    "defense-evasion",
    "credential-access",
    "discovery",
    "lateral-movement",
    "collection",
    "exfiltration",
    "impact",
)
"""Those that are possible with access to the console of a managed database."""


def tactics_of(rule: Rule) -> list[str]:
    """Return the tactics in the tags of a rule."""
    words = [tag.removeprefix("attack.").replace("_", "-") for tag in rule.name.tags if tag.startswith("attack.")]
    return [word for word in words if word in TACTICS]
