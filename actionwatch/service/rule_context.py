"""Rules and the input that they were read with, so that they can be built again with other lists or other documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from actionwatch.base.clock import utc_now
from actionwatch.text.timeintervals import TimeInterval

if TYPE_CHECKING:
    from actionwatch.rules.lists import Lists
    from actionwatch.rules.load import Rules
    from actionwatch.rules.model import Rule
    from actionwatch.settings import Settings
    from actionwatch.text.yaml_document import Document


@dataclass(frozen=True, slots=True)
class RuleContext:
    """The files and folders of the rules, and what they are read with. `settings` is None without a usable configuration."""

    paths: Sequence[Path]
    lists: Lists
    known_kinds: Sequence[str]
    time_intervals: Mapping[str, TimeInterval]
    settings: Settings | None

    def build(self, documents: Sequence[Document]) -> Rules:
        """Build the rules of documents; faults are in the result."""
        from actionwatch.rules.load import build_rules

        return build_rules(
            documents,
            lists=self.lists,
            known_kinds=self.known_kinds,
            time_intervals=self.time_intervals,
            now=utc_now(),
        )


@dataclass(frozen=True, slots=True)
class LoadedRules:
    """The rules in some documents, and what they were read with."""

    found: Rules
    documents: tuple[Document, ...]
    context: RuleContext

    def rebuild(self, lists: Mapping[str, tuple[str, ...]]) -> Sequence[Rule]:
        """Build the rules again with other lists in place of those with the same name."""
        from actionwatch.rules.lists import Lists

        changed = Lists({**self.context.lists.values, **lists})
        return replace(self.context, lists=changed).build(self.documents).rules
