"""The common part of all nouns: a page of a list, and the one item that the beginning of its name selects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from actionwatch.base.errors import NotFound
from actionwatch.base.model import Level
from actionwatch.store.statements import PageKey

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """A part of a list. `next` is the place after which the list continues; None at its end."""

    items: Sequence[Item]
    next: PageKey | None = None

    @property
    def oldest(self) -> datetime | None:
        """How far back everything was read, if the list continues and is ordered by time."""
        return max((each for each in self.next or () if isinstance(each, datetime)), default=None)

    @property
    def level(self) -> Level | None:
        """Down to which level the list was read, if it continues and is ordered by level, and then by time."""
        return next((each for each in self.next or () if isinstance(each, Level)), None)


def only(found: Sequence[Item], noun: str, beginning: str, see: str, name: str = "id") -> Item:
    """Return the item whose `name` is `beginning`, or the only one whose name starts with it.

    `found` are the first two, by their names. `see` is the command that lists them all. Raises: NotFound.
    """
    if not found:
        raise NotFound(f"no {noun} has the {name} {beginning}: see 'actionwatch {see}'; retention may have deleted it")
    if len(found) > 1 and getattr(found[0], name) != beginning:
        raise NotFound(f"several {noun} {name}s start with {beginning}: give a longer prefix")
    return found[0]
