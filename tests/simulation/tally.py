"""The totals of schedules."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Tally:
    """The totals of all schedules."""

    schedules: int = 0
    kills: int = 0
    starts_ended: int = 0
    """Starts that a death or a full disk ended."""
    failed_commits: int = 0
    polls: int = 0
    proved: int = 0
    unproved: int = 0
    records: int = 0
    repeated: int = 0
    """Records that were stored again because a field came, went and came again: `record_doubted` (docs/proof.md)."""
    alerts: int = 0
    messages: int = 0
    receipts: int = 0
    clock_steps: int = 0
    reloads: int = 0
    field_changes: int = 0
    stores_moved: int = 0
    behind: int = 0
    """Comparisons of correlations while one source was refused and another one was not."""
    retentions: int = 0
    """Schedules in which the rows were judged that retention leaves."""
    states: set[str] = field(default_factory=set)
    """The states that rows of deliveries were in, when all faults ended and at the end."""

    def add(self, other: Tally) -> None:
        """Add the totals of other schedules."""
        for name, value in vars(other).items():
            setattr(self, name, value | self.states if name == "states" else getattr(self, name) + value)

    def line(self) -> str:
        """Describe the totals in one line."""
        named = (f"{count} {name.replace('_', ' ')}" for name, count in vars(self).items() if name != "states")
        return ", ".join(named)
