"""The upstream's clock, as its `Date` header shows it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from actionwatch.instaclustr.wire import Page
from actionwatch.tail.state import ServerClock
from tests.builders import NOON, Clock


@pytest.mark.parametrize(
    ("seconds", "skew"),
    [(0, 0), (4.5, 0), (4.501, 5.001), (-5.5, 0), (-5.501, -5.001), (3600, 3600.5)],
)
def test_only_a_difference_beyond_the_resolution_of_the_header_counts(seconds: float, skew: float) -> None:
    """The header corrects our clock if they differ by more than five seconds; a response without it changes nothing."""
    clock = Clock()
    server = ServerClock(clock)
    server.compare(Page((), None, None, NOON, server_date=NOON + timedelta(seconds=seconds)))
    assert (server.skew, server.now()) == (timedelta(seconds=skew), NOON + timedelta(seconds=skew))
    server.compare(Page((), None, None, NOON))
    assert server.skew == timedelta(seconds=skew)
    clock.advance(hours=1)
    assert server.now() == NOON + timedelta(hours=1, seconds=skew)
