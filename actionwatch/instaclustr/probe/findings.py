"""What a probe finds: one thing about the upstream, settled or not, and what it means for the proof."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class ProofImpact(StrEnum):
    """What a finding does to the proof that every record was seen."""

    FINE = "fine"
    COSTS = "costs"
    PREVENTS = "prevents"


@dataclass(frozen=True, slots=True)
class ProbeFinding:
    """One thing about the upstream. `says` holds names, types and forms, never a value that a record holds.

    `configuration` maps keys of the configuration to what `probe` suggests for them.
    """

    subject: str
    says: str
    means: str = ""
    is_settled: bool = True
    weight: ProofImpact = ProofImpact.FINE
    configuration: Mapping[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Return the finding as JSON."""
        return {
            "subject": self.subject,
            "settled": self.is_settled,
            "says": self.says,
            "means": self.means,
            "proof": self.weight.value,
            "configuration": dict(self.configuration),
        }


def fine(subject: str, says: str, means: str = "", **configuration: Any) -> ProbeFinding:
    """Settle something that the proof can live with."""
    return ProbeFinding(subject, says, means, configuration=configuration)


def costly(subject: str, says: str, means: str) -> ProbeFinding:
    """Settle something that makes the proof dearer or weaker, but not impossible."""
    return ProbeFinding(subject, says, means, weight=ProofImpact.COSTS)


def fatal(subject: str, says: str, means: str) -> ProbeFinding:
    """Settle something that makes the proof impossible."""
    return ProbeFinding(subject, says, means, weight=ProofImpact.PREVENTS)


def unsettled(subject: str, why: str, means: str = "") -> ProbeFinding:
    """Say why something cannot be settled now."""
    return ProbeFinding(subject, why, means, is_settled=False)


def joined(words: Sequence[str], most: int = 60) -> str:
    """List names, saying how many more there are."""
    rest = len(words) - most
    return ", ".join(words[:most]) + (f" and {rest} more" if rest > 0 else "")
