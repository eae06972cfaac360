"""Times for people: with their zone, and also in UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from actionwatch.text.times import common_zone, local_times, spell_both

AT = datetime(2026, 11, 25, 9, 0, 43, tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "at", "words"),
    [
        ("UTC", AT, "2026-11-25 09:00:43 UTC"),
        ("Australia/Sydney", AT, "2026-11-25 20:00:43 AEDT (09:00:43 UTC)"),
        ("America/Sao_Paulo", AT, "2026-11-25 06:00:43 UTC-03 (09:00:43 UTC)"),
        ("Australia/Sydney", AT.replace(hour=22), "2026-11-26 09:00:43 AEDT (2026-11-25 22:00:43 UTC)"),
    ],
)
def test_a_time_has_its_zone_and_utc(zone: str, at: datetime, words: str) -> None:
    """A time is shown with its zone and in UTC, with the date where it differs."""
    assert spell_both(at, ZoneInfo(zone)) == words


def test_instants_in_a_text_become_local(sydney: None) -> None:
    """An instant in a text is spelled in the local zone, with its fraction; what is no instant stays."""
    text = "complete only through 2026-11-25T09:00:43.500Z, not 2026-99-25T09:00:43Z (2026-06-25T09:00:43.000Z)"
    local = "complete only through 2026-11-25 20:00:43.5 AEDT, not 2026-99-25T09:00:43Z (2026-06-25 19:00:43 AEST)"
    assert local_times(text) == local


def test_common_zone(sydney: None) -> None:
    """Times have a common zone unless the change to summer time lies between them."""
    assert common_zone([AT, AT]) == "AEDT"
    assert common_zone([AT, AT.replace(month=6)]) == ""
