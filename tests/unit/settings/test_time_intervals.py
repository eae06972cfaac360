"""`time_intervals` of the configuration: the format of Alertmanager, with line and column of each fault."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from actionwatch.base.errors import ConfigError
from actionwatch.settings import Settings, Types, load_settings
from actionwatch.text.options import Options
from tests.cases import in_one_test

HEAD = "sources: [{name: a, organisation_id: b, username: c, api_key: d}]\n"
OFFICE = """\
time_intervals:
  - name: office
    time_intervals:
      - weekdays: ['monday:friday']
        times: [{start_time: '08:00', end_time: '18:00'}]
        location: Australia/Sydney
      - {days_of_month: ['-1'], months: [december, 3], years: ['2026:2027', 2030]}
"""


class _Any(Options, extra="allow"):
    """Accepts any options."""


def load(text: str, folder: Path) -> Settings:
    """Load a configuration that contains this."""
    (folder / "rules").mkdir(exist_ok=True)
    path = folder / "a.yaml"
    path.write_text(HEAD + text)
    types = Types(("console",), lambda _: _Any)
    return load_settings(path, environ={}, receiver_types=types, stream_types=types, check_matcher=lambda _: None)


def test_every_key_of_the_format_is_used(tmp_path: Path) -> None:
    """Every key of the format is used."""
    (options,) = load(OFFICE, tmp_path).time_intervals
    interval = options.interval
    assert interval.name == "office"
    assert interval.holds(datetime(2026, 3, 3, 22, tzinfo=UTC))  # nine o'clock on Wednesday in that zone
    assert not interval.holds(datetime(2026, 3, 4, 8, tzinfo=UTC))
    assert interval.holds(datetime(2026, 12, 31, 12, tzinfo=UTC))
    assert not interval.holds(datetime(2028, 12, 31, 12, tzinfo=UTC))


@in_one_test(
    ("text", "expected"),
    [
        (OFFICE.replace("friday", "fridy"), "5:20: weekdays: not a weekday: write one of monday"),
        (OFFICE.replace("18:00", "07:00"), "6:39: end_time: end_time must be after start_time"),
        (OFFICE.replace("18:00", "08:00"), "6:39: end_time: end_time must be after start_time"),
        (OFFICE.replace("'08:00'", "8"), "6:18: start_time: not a time of day: write hours and minutes in quotes"),
        (OFFICE.replace("Sydney", "Sidney"), "7:9: location: not a known time zone: did you mean 'Australia/Sydney'?"),
        (OFFICE.replace("times:", "tims:"), "6:9: unknown key 'tims': did you mean 'times'?"),
        (OFFICE.replace("'-1'", "'0'"), "8:26: days_of_month: a day of the month is"),
        (OFFICE.replace("- name: office", "- title: office"), "3:5: unknown key 'title'"),
        ("time_intervals: [{name: a, time_intervals: []}]\n", "2:28: time_intervals: must not be empty"),
        (OFFICE + "  - name: office\n    time_intervals: [{}]\n", "9:5: 'office' is already used in time_intervals"),
    ],
)
def test_fault_has_a_location(text: str, expected: str, tmp_path: Path) -> None:
    """Each fault has its location."""
    with pytest.raises(ConfigError) as caught:
        load(text, tmp_path)
    found = [str(fault).removeprefix(f"{tmp_path / 'a.yaml'}:") for fault in caught.value.faults]
    assert [each for each in found if each.startswith(expected)], found
