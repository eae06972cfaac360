"""The silences: those that are active or to come, those that are over, and one by the beginning of its id."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from actionwatch.base.model import Silence
from actionwatch.queries.pages import Page, only
from actionwatch.store import silences
from actionwatch.store.statements import PageKey

STATES = ("current", "expired")


def page(connection: Connection, state: str, now: datetime, limit: int, after: PageKey | None = None) -> Page[Silence]:
    """Return the next silences in a state, last end first, after a place. Current ones have only one page."""
    if state == "expired":
        return Page(*silences.read_expired(connection, now, limit, after))
    return Page(silences.read_current(connection, now) if after is None else ())


def find(connection: Connection, beginning: str) -> Silence:
    """Return the silence whose id starts with this. Raises: NotFound."""
    return only(silences.read_by_prefix(connection, beginning), "silence", beginning, "silences list --all")
