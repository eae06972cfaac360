"""The `tests` block of a rule: events and expectations. `case_runner.py` runs the tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from actionwatch.base.durations import MAX_DURATION, parse_duration
from actionwatch.base.model import LEVELS, Level
from actionwatch.rules.fields import FIELDS, LABELS, RAW, spell
from actionwatch.rules.report import Report
from actionwatch.rules.selections import ReadContext, check_field
from actionwatch.text.suggestions import did_you_mean, suggest
from actionwatch.text.yaml_document import Place

KEYS = ("name", "event", "events", "until", "verified_until", "history", "lists", "expect")
EVENT_KEYS = ("at", "repeat", "every", "seen_at")
EXPECT_KEYS = (
    "alerts", "events", "group", "late", "title", "body", "level", "labels", "first_at", "last_at", "resolved_at",
)  # fmt: skip
# Between these times, adding or subtracting a duration cannot overflow.
_EARLIEST, _LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
MAX_EVENTS = 20_000  # of one test; use a backtest for more

Moment = timedelta | datetime
"""A duration from the start of the test (may be negative), or a time."""


@dataclass(frozen=True, slots=True)
class TestEvent:
    """One entry of `events`: `repeat` records with these fields, `every` apart."""

    fields: Mapping[str, Any]
    at: Moment = timedelta(0)
    repeat: int = 1
    every: timedelta = timedelta(0)
    seen_at: Moment | None = None


@dataclass(frozen=True, slots=True)
class Expectation:
    """The expected result. `alerts` is the number of alerts (None: at least one). One alert must meet all other fields."""

    alerts: int | None = None
    events: int | None = None
    group: Mapping[str, str | None] = field(default_factory=dict)
    late: bool | timedelta | None = None
    texts: Mapping[str, str] = field(default_factory=dict)
    """Title and body."""
    level: Level | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    times: Mapping[str, Moment | None] = field(default_factory=dict)
    """First, last and resolved; None if the alert must not be resolved."""


@dataclass(frozen=True, slots=True)
class Case:
    """One test. None means that the key is missing; `case_runner.py` defines the defaults."""

    name: str
    events: tuple[TestEvent, ...]
    expect: Expectation
    line: int
    until: Moment | None = None
    verified_until: Moment | None = None
    history: timedelta | None = None
    lists: Mapping[str, tuple[str, ...]] | None = None


def read_cases(
    value: Any, report: Report, context: ReadContext, aliases: frozenset[str] = frozenset()
) -> tuple[Case, ...]:
    """Read the block and add its faults to the report. `aliases` are names in a group that are not fields."""
    if not isinstance(value, list):
        report.fault(("tests",), "'tests' must be a list", "for example: [{event: {…}, expect: alert}]")
        return ()
    cases = (_read_case(item, ("tests", index), report, context, aliases) for index, item in enumerate(value))
    return tuple(case for case in cases if case is not None)


def _read_case(value: Any, place: Place, report: Report, context: ReadContext, aliases: frozenset[str]) -> Case | None:
    if not isinstance(value, dict):
        report.fault(place, "a test must be a mapping", f"keys: {', '.join(KEYS)}")
        return None
    report.check_keys(value, place, KEYS)
    before = len(report.faults)
    name = value.get("name", f"test {int(place[-1]) + 1}")
    if not isinstance(name, str) or not name.strip():
        report.fault((*place, "name"), "'name' must be a string", "describe what the test shows")
    case = Case(
        name=str(name),
        events=_read_events(value, place, report, context),
        expect=_read_expectation(value, place, report, aliases),
        line=report.document.position(place)[0],
        until=_read_moment(value, "until", place, report),
        verified_until=_read_moment(value, "verified_until", place, report),
        history=_read_span(value, "history", place, report),
        lists=_read_lists(value["lists"], (*place, "lists"), report) if "lists" in value else None,
    )
    return case if len(report.faults) == before else None


def _read_events(value: Mapping[str, Any], place: Place, report: Report, context: ReadContext) -> tuple[TestEvent, ...]:
    if ("event" in value) == ("events" in value):
        what = "a test has 'event' or 'events', not both" if "event" in value else "a test needs an 'event' or 'events'"
        report.fault(place, what, "write: event: {actionKind: …}")
        return ()
    if "event" in value:
        found = [_read_event(value["event"], (*place, "event"), report, context)]
    elif isinstance(value["events"], list):
        where = (*place, "events")
        found = [_read_event(item, (*where, i), report, context) for i, item in enumerate(value["events"])]
    else:
        report.fault((*place, "events"), "'events' must be a list", "start each event with '- '")
        return ()
    events = tuple(each for each in found if each is not None)
    if sum(each.repeat for each in events) > MAX_EVENTS:
        report.fault(place, f"the test has more than {MAX_EVENTS} records", "use rules backtest")
    return events


def _read_event(value: Any, place: Place, report: Report, context: ReadContext) -> TestEvent | None:
    if not isinstance(value, dict):
        remedy = "for example: {actionKind: DELETE_CLUSTER, userName: eve}"
        report.fault(place, "an event must be a mapping of fields", remedy)
        return None
    fields = {key: item for key, item in value.items() if key not in EVENT_KEYS}
    for name, item in fields.items():
        _check_value(name, item, (*place, str(name)), report, context)
    repeat = value.get("repeat", 1)
    if isinstance(repeat, bool) or not isinstance(repeat, int) or not 1 <= repeat <= MAX_EVENTS:
        report.fault((*place, "repeat"), f"'repeat' must be a number from 1 to {MAX_EVENTS}")
        repeat = 1
    every = _read_span(value, "every", place, report) or timedelta(0)
    if every > MAX_DURATION / repeat:
        report.fault((*place, "every"), "the last of these records is more than a century away")
        every = timedelta(0)
    at = _read_moment(value, "at" if "at" in value else "timestamp", place, report) or timedelta(0)
    fields.pop("timestamp", None)
    seen_at = _read_moment(value, "seen_at", place, report)
    if isinstance(seen_at, timedelta) and isinstance(at, timedelta) and seen_at < at:
        remedy = "actionwatch cannot receive a record before it occurs"
        report.fault((*place, "seen_at"), "'seen_at' is before 'at'", remedy)
    return TestEvent(fields=fields, at=at, repeat=repeat, every=every, seen_at=seen_at)


def _check_value(name: Any, item: Any, place: Place, report: Report, context: ReadContext) -> None:
    if not isinstance(name, str) or (name not in FIELDS and not name.startswith((RAW, LABELS))):
        if near := did_you_mean(str(name), EVENT_KEYS):
            report.fault(place, f"unknown field '{name}'", near)
        else:
            check_field(name, place, report)
        return
    if name.startswith((RAW, LABELS)):
        check_field(name, place, report)
    if not name.startswith(RAW) and isinstance(item, dict | list):
        report.fault(place, f"'{name}' must be a string", "write one value")
    known = context.known_values.get(name)
    if known and isinstance(item, str) and item.upper() not in map(str.upper, known):
        report.note_fault(place, f"no known {name} is '{item}'", suggest(item, known, "known are"))


def _read_expectation(value: Mapping[str, Any], place: Place, report: Report, aliases: frozenset[str]) -> Expectation:
    expect, where = value.get("expect"), (*place, "expect")
    if expect == "alert":
        return Expectation()
    if expect == "nothing":
        return Expectation(alerts=0)
    if not isinstance(expect, dict) or not expect:
        what = "a test needs 'expect'" if "expect" not in value else f"unknown expectation '{expect}'"
        report.fault(where if "expect" in value else place, what, "expect: alert, nothing, or {alerts: 2, group: {…}}")
        return Expectation()
    report.check_keys(expect, where, EXPECT_KEYS)
    return Expectation(
        alerts=_read_count(expect, "alerts", where, report),
        events=_read_count(expect, "events", where, report),
        group=_read_group(expect, where, report, aliases),
        late=_read_late(expect, where, report),
        texts={key: str(expect[key]) for key in ("title", "body") if key in expect},
        level=report.choose(LEVELS, expect["level"], "level", (*where, "level")) if "level" in expect else None,
        labels={key: text or "" for key, text in _read_texts(expect, "labels", where, report).items()},
        times=_read_times(expect, where, report),
    )


def _read_group(
    expect: Mapping[str, Any], place: Place, report: Report, aliases: frozenset[str]
) -> dict[str, str | None]:
    found = _read_texts(expect, "group", place, report, is_null_allowed=True)
    return {
        name: text
        for name, text in found.items()
        if name in aliases or check_field(name, (*place, "group", name), report)
    }


def _read_times(expect: Mapping[str, Any], place: Place, report: Report) -> dict[str, Moment | None]:
    times: dict[str, Moment | None] = {}
    for key in ("first_at", "last_at", "resolved_at"):
        if key == "resolved_at" and key in expect and expect[key] is None:
            times[key] = None
        elif (moment := _read_moment(expect, key, place, report)) is not None:
            times[key] = moment
    return times


def _read_count(value: Mapping[str, Any], key: str, place: Place, report: Report) -> int | None:
    count = value.get(key)
    if key in value and (isinstance(count, bool) or not isinstance(count, int) or count < 0):
        report.fault((*place, key), f"'{key}' must be a whole number, 0 or more")
        return None
    return count


def _read_texts(
    value: Mapping[str, Any], key: str, place: Place, report: Report, *, is_null_allowed: bool = False
) -> dict[str, str | None]:
    texts = value.get(key, {})
    if not isinstance(texts, dict):
        report.fault((*place, key), f"'{key}' must map names to strings", "for example: {userName: eve}")
        return {}
    found: dict[str, str | None] = {}
    for name, text in texts.items():
        if isinstance(text, dict | list) or (text is None and not is_null_allowed):
            report.fault((*place, key, str(name)), f"'{name}' must be a string")
        else:
            found[str(name)] = None if text is None else spell(text)
    return found


def _read_late(value: Mapping[str, Any], place: Place, report: Report) -> bool | timedelta | None:
    late = value.get("late")
    if isinstance(late, str) and not late[:1].isdigit():
        what = "'late' must be true, false or a duration"
        report.fault((*place, "late"), what, "for example: late: true, or late: 45m")
        return None
    return late if late is None or isinstance(late, bool) else _read_span(value, "late", place, report)


def _read_span(value: Mapping[str, Any], key: str, place: Place, report: Report) -> timedelta | None:
    if key not in value:
        return None
    return report.parse(parse_duration, "0s" if value[key] in (0, "0") else value[key], (*place, key))


def _read_moment(value: Mapping[str, Any], key: str, place: Place, report: Report) -> Moment | None:
    """Read a duration from the test's start, negative allowed, or an RFC 3339 time."""
    text = value.get(key)
    if key not in value:
        return None
    try:
        if text in (0, "0") and not isinstance(text, bool):
            return timedelta(0)
        if isinstance(text, str) and ":" in text:
            at = datetime.fromisoformat(text.strip().upper())
            at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
            if _EARLIEST <= at <= _LATEST:
                return at
            raise ValueError("centuries away")
        if isinstance(text, str) and text.strip().startswith("-"):
            return -parse_duration(text.strip()[1:])
        return parse_duration(text)
    except (ValueError, OverflowError):
        remedy = "write a duration from the test's start, such as 5m or -1h, or a time: 2026-11-25T09:00:00Z"
        report.fault((*place, key), f"'{key}' is not a time", remedy)
        return None


def _read_lists(value: Any, place: Place, report: Report) -> Mapping[str, tuple[str, ...]]:
    if not isinstance(value, dict):
        report.fault(place, "'lists' must map names to lists", "for example: {admins: [root]}")
        return {}
    lists: dict[str, tuple[str, ...]] = {}
    for name, items in value.items():
        if isinstance(items, list) and not any(item is None or isinstance(item, dict | list | bool) for item in items):
            lists[str(name)] = tuple(str(item) for item in items)
        else:
            report.fault((*place, str(name)), f"the list '{name}' must contain strings", "write: [a, b]")
    return lists
