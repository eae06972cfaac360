"""The common progress of sources, and how it names them."""

from __future__ import annotations

from datetime import timedelta

from actionwatch.matching.source_progress import SourceProgress, read_progress
from actionwatch.store import marks
from actionwatch.store.database import Database
from tests.builders import NOON, make_marks


def test_the_slowest_source_counts(database: Database) -> None:
    """The progress of several sources is that of the slowest; while one of them was never read, there is none."""
    with database.write() as connection:
        for hours, name in enumerate(("acme", "beta")):
            at = NOON - timedelta(hours=hours)
            marks.write(connection, make_marks(name=name, begins_at=at, alerts_from=at, proved_through=at))
    with database.read() as connection:
        assert read_progress(connection, ["beta"]).verified == NOON - timedelta(hours=1)
        both = read_progress(connection, ["acme", "beta"])
        assert (both.begin, both.verified, both.alerts_from) == (NOON, NOON - timedelta(hours=1), NOON)
        assert read_progress(connection, None) == both
        assert read_progress(connection, ["acme", "new"]) == SourceProgress()


def test_many_sources_are_counted() -> None:
    """An alert about what is missing everywhere names a few sources, and counts many: nobody reads a thousand names."""
    names = [f"org-{number}" for number in range(1000)]
    assert SourceProgress(names=tuple(names[:5])).spelled_sources == "org-0, org-1, org-2, org-3, org-4"
    assert SourceProgress(names=tuple(names)).spelled_sources == "1,000 sources"
