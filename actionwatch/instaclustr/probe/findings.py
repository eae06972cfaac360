"""The findings of a probe: properties of the upstream, and what they mean for the proof."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class ProofImpact(StrEnum):
    """The effect of a finding on the proof that all records were read."""

    FINE = "fine"
    COSTS = "costs"
    PREVENTS = "prevents"


@dataclass(frozen=True, slots=True)
class ProbeFinding:
    """One property of the upstream. `says` contains names, types and forms, but never a value of a record.

    `configuration` maps keys of the configuration to suggested values.
    """

    subject: str
    says: str
    means: str = ""
    is_settled: bool = True
    weight: ProofImpact = ProofImpact.FINE
    configuration: Mapping[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        return {
            "subject": self.subject,
            "settled": self.is_settled,
            "says": self.says,
            "means": self.means,
            "proof": self.weight.value,
            "configuration": dict(self.configuration),
        }


def fine(subject: str, says: str, means: str = "", **configuration: Any) -> ProbeFinding:
    """Make a finding that does not affect the proof."""
    return ProbeFinding(subject, says, means, configuration=configuration)


def costly(subject: str, says: str, means: str) -> ProbeFinding:
    """Make a finding that makes the proof more expensive or weaker."""
    return ProbeFinding(subject, says, means, weight=ProofImpact.COSTS)


def fatal(subject: str, says: str, means: str) -> ProbeFinding:
    """Make a finding that makes the proof impossible."""
    return ProbeFinding(subject, says, means, weight=ProofImpact.PREVENTS)


def unsettled(subject: str, why: str, means: str = "") -> ProbeFinding:
    """Make a finding that says why a property is unknown."""
    return ProbeFinding(subject, why, means, is_settled=False)


def joined(words: Sequence[str], most: int = 60) -> str:
    rest = len(words) - most
    return ", ".join(words[:most]) + (f" and {rest} more" if rest > 0 else "")
