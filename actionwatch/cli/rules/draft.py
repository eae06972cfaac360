"""Write the text of a new rule, with its tests, from a few answers: for each record, a count, a sequence or an absence."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from actionwatch.base.durations import spell_duration
from actionwatch.instaclustr.kinds import KINDS
from actionwatch.text.timeintervals import TimeInterval

_SCHEMA_LINE = "# yaml-language-server: $schema=../schemas/rule.schema.json"
MAX_COUNT = 1000  # the tests of a rule about different values hold as many events
_LIST_MARK = "@"  # before the name of a list, in place of the values that must occur
# In lower case, like the strings that rules compare.
_SOMEBODY = ("eve", "mallory", "trudy", "oscar", "0", "somebody-else@example.com")
_SATURDAY_NIGHT = datetime(2026, 3, 7, 23, tzinfo=UTC)
_MAX_HOURS = 366 * 24
_UNITS = (("w", 604_800), ("d", 86_400), ("h", 3600), ("m", 60), ("s", 1))

Event = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """The answers. With none of `count`, `then` and `is_missing`, each record alerts; `within` belongs to these three.

    `then` are the steps that follow `kinds`. `expect` are the values of the field in `group_by` that must occur, or one name
    of a list after `@`.
    """

    title: str
    name: str
    kinds: tuple[str, ...]
    level: str = "medium"
    users: tuple[str, ...] = ()
    cluster: str | None = None
    outside: str | None = None
    count: int | None = None
    distinct: str | None = None
    then: tuple[tuple[str, ...], ...] = ()
    is_missing: bool = False
    within: timedelta | None = None
    group_by: tuple[str, ...] = ()
    expect: tuple[str, ...] = ()

    @property
    def is_correlation(self) -> bool:
        """Whether it is about several records, or about missing ones."""
        return bool(self.count or self.then or self.is_missing)

    @property
    def steps(self) -> tuple[tuple[str, ...], ...]:
        """The kinds of each step of a sequence."""
        return (self.kinds, *self.then)


def contradiction(draft: Draft) -> str:
    """Return why these answers do not make a rule, with the options to change; empty if they do."""
    if bool(draft.count) + bool(draft.then) + draft.is_missing > 1:
        return "--count, --then and --missing exclude each other: give one of them"
    if draft.is_correlation and draft.within is None:
        return "--count, --then and --missing need a time: add --within, such as --within 10m"
    if draft.within is not None and not draft.is_correlation:
        return "--within is the time of --count, --then or --missing: add one of them"
    if draft.distinct and not draft.count:
        return "--distinct needs --count: how many different values must occur?"
    if draft.then and len(draft.users) > 1:
        return "a sequence can exclude only one user: write a filter for more (docs/rules.md)"
    if draft.users and not somebody_else(draft.users):
        return f"the rule can never alert: {', '.join(draft.users)} exclude every user"
    return _absence_contradiction(draft)


def _absence_contradiction(draft: Draft) -> str:
    if draft.expect and not draft.is_missing:
        return "--expect belongs to --missing: it names what must occur"
    if not draft.is_missing:
        return ""
    if draft.outside:
        return "--missing cannot be limited by --outside: an absence lasts, it has no time of day"
    if len(draft.group_by) > 1:
        return "--missing takes one --group-by: the field whose values must each occur"
    if bool(draft.group_by) != bool(draft.expect):
        return "--group-by and --expect belong together: the field, and its values that must each occur"
    if any(value.startswith(_LIST_MARK) for value in draft.expect) and len(draft.expect) > 1:
        return "--expect takes one list or several values, not both"
    return ""


def render(draft: Draft, interval: TimeInterval | None = None) -> str:
    """Return the text of the rule. `interval` is the one that `outside` names."""
    lines = [
        _SCHEMA_LINE,
        f"title: {_flow(draft.title)}",
        f"id: {uuid.uuid4()}",
        f"name: {draft.name}",
        "status: experimental",
        f"level: {draft.level}",
        "logsource: {product: instaclustr, service: user_actions}",
        *_detection(draft),
        *_correlation(draft),
        *([f"when: {_flow({'outside': [draft.outside]})}"] if draft.outside else []),
        *_alert(draft),
        "tests:",
        *_tests(draft, _outside(interval) if draft.outside else None),
    ]
    return "".join(f"{line}\n" for line in lines)


def _detection(draft: Draft) -> Iterator[str]:
    yield "detection:"
    if draft.then:
        for number, kinds in enumerate(draft.steps, 1):
            yield f"  step_{number}: {_flow({**_selection(draft, kinds), **_unexpected(draft.users)})}"
        return
    yield f"  action: {_flow(_selection(draft, draft.kinds))}"
    if draft.users:
        yield f"  expected: {_flow(_condition('userName', draft.users))}"
    yield f"  condition: action{' and not expected' if draft.users else ''}"


def _selection(draft: Draft, kinds: Sequence[str]) -> dict[str, Any]:
    selection = {"actionKind": kinds[0] if len(kinds) == 1 else list(kinds)}
    return {**selection, **(_condition("cluster", [draft.cluster]) if draft.cluster else {})}


def _condition(field: str, patterns: Sequence[str]) -> dict[str, Any]:
    """Return the condition that a field matches a pattern, with `startswith` if all end in their only wildcard."""
    stems = [pattern.removesuffix("*") for pattern in patterns]
    if all(pattern.endswith("*") for pattern in patterns) and not any(
        {"*", "?"} & set(stem) or not stem for stem in stems
    ):
        field, patterns = f"{field}|startswith", stems
    return {field: patterns[0] if len(patterns) == 1 else list(patterns)}


def _unexpected(users: Sequence[str]) -> dict[str, Any]:
    """Return the condition that a step is not by the expected user: a step of a sequence has no `not`."""
    return {f"{field}|neq": user for field, user in _condition("userName", users).items()} if users else {}


def _correlation(draft: Draft) -> Iterator[str]:
    if not draft.is_correlation or draft.within is None:
        return
    grouped = {"group-by": list(draft.group_by)} if draft.group_by else {}
    window = {**grouped, "timespan": _timespan(draft.within)}
    if draft.then:
        names = [f"step_{number}" for number in range(1, len(draft.steps) + 1)]
        block: dict[str, Any] = {"type": "temporal_ordered", "rules": names, **window}
    elif draft.distinct:
        condition = {"field": draft.distinct, "gte": draft.count}
        block = {"type": "value_count", **window, "condition": condition}
    elif draft.count:
        block = {"type": "event_count", **window, "condition": {"gte": draft.count}}
    else:
        block = {"type": "event_count", **window, "condition": {"lt": 1}}
        if draft.expect:
            name = _list_name(draft)
            block["expect-groups"] = {draft.group_by[0]: {"list": name} if name else list(draft.expect)}
    yield f"correlation: {_flow(block)}"


def _list_name(draft: Draft) -> str:
    return draft.expect[0].removeprefix(_LIST_MARK) if draft.expect and draft.expect[0].startswith(_LIST_MARK) else ""


def _timespan(span: timedelta) -> str:
    """Format a timespan as Sigma accepts it: a whole number with one unit."""
    seconds = int(span.total_seconds())
    return next(f"{seconds // size}{unit}" for unit, size in _UNITS if seconds % size == 0)


def _alert(draft: Draft) -> Iterator[str]:
    deed = "{{ userName }} {{ actionKind | deed(cluster) }}"
    advice = "Ask the user, or a service user's owner, whether this was meant."
    if draft.is_missing:
        title = (
            f"{{{{ rule.title }}}}: {{{{ group['{draft.group_by[0]}'] }}}}" if draft.group_by else "{{ rule.title }}"
        )
        advice = "Find out why it did not happen."
    elif draft.then:
        title = f"{{{{ rule.title }}}}: {deed}"
    else:
        title = "{{ rule.title }}: {{ count }} records, the last by {{ userName }}" if draft.count else deed
    yield "alert:"
    yield f'  title: "{title}"'
    if draft.group_by and not draft.is_correlation:
        yield f"  group_by: {_flow(list(draft.group_by))}"
    yield "  fields: [timestamp, userName, account.name, cluster.name, clusterId, description]"
    yield "  runbook: |"
    yield f"    1. {advice}"


# -- tests ------------------------------------------------------------------------------------------------------------


def _tests(draft: Draft, at: datetime | None) -> Iterator[str]:
    """Write a test that alerts, and one that does not; a third one if some users are excepted."""
    if draft.is_missing:
        yield from _absence_tests(draft)
        return
    base: Event = {"at": f"{at:%Y-%m-%dT%H:%M:%SZ}"} if at else {}
    hit = {**base, **_event(draft, draft.kinds, somebody_else(draft.users))}
    if draft.then:
        steps = [{**hit, **_event(draft, kinds, hit["userName"])} for kinds in draft.steps]
        events, fewer = _spread(draft, steps), _spread(draft, steps)[:-1]
        why = "the last step is missing"
    elif draft.count:
        events, fewer = _counted(draft, hit, draft.count), _counted(draft, hit, draft.count - 1)
        why = "one fewer"
    else:
        other = next(kind for kind in ("BACKUP", *KINDS, "SOMETHING_ELSE") if kind not in draft.kinds)
        events, fewer, why = [hit], [{**hit, "actionKind": other}], "something else happens"
    yield from _test("it happens", events, "alert")
    yield from _test(why, fewer, "nothing")
    if draft.users and draft.distinct != "userName":
        yield from _test(
            "an expected user does it", [{**each, "userName": _like(draft.users[0])} for each in events], "nothing"
        )


def _absence_tests(draft: Draft) -> Iterator[str]:
    within = draft.within or timedelta(0)
    name = _list_name(draft)
    values = ["somewhere"] if name else draft.expect
    hit = _event(draft, draft.kinds, somebody_else(draft.users))
    once = [{**hit, draft.group_by[0]: value} for value in values] if draft.group_by else [hit]
    often = [{"repeat": 2, "every": _timespan(within), **each} for each in once]
    lists = [f"    lists: {_flow({name: list(values)})}"] if name else []
    yield from _test("it stops", once, "alert", *lists, f"    until: {_timespan(2 * within)}")
    yield from _test("it goes on", often, "nothing", *lists)


def _test(name: str, events: Sequence[Event], expect: str, *more: str) -> Iterator[str]:
    yield f"  - name: {name}"
    if len(events) == 1:
        yield f"    event: {_flow(events[0])}"
    else:
        yield "    events:"
        yield from (f"      - {_flow(event)}" for event in events)
    yield from more
    yield f"    expect: {expect}"


def _event(draft: Draft, kinds: Sequence[str], user: str) -> Event:
    """Return an event that is counted."""
    event = {"actionKind": kinds[0], "userName": user}
    return event | ({"cluster": _like(draft.cluster)} if draft.cluster else {})


def _counted(draft: Draft, hit: Event, count: int) -> list[Event]:
    """Return so many events that count, within the time."""
    if draft.distinct:
        return _spread(draft, [{**hit, draft.distinct: value} for value in _values(draft, draft.distinct)[:count]])
    pace = _pace(draft, count)
    apart = {"every": spell_duration(pace)} if pace and count > 1 and not draft.outside else {}
    return [{**({"repeat": count} if count > 1 else {}), **apart, **hit}]


def _values(draft: Draft, field: str) -> Sequence[str]:
    """Return different values of the field that is counted."""
    if field == "actionKind":
        return draft.kinds
    pattern = draft.cluster if draft.cluster and field in ("cluster", "cluster.name") else "value-*"
    return [_like(pattern.replace("*", str(number), 1)) for number in range(draft.count or 0)]


def _spread(draft: Draft, events: Sequence[Event]) -> list[Event]:
    """Spread events over the time; those at a fixed time, outside an interval, stay together."""
    pace = _pace(draft, len(events))
    return [
        {"at": spell_duration(number * pace), **event} if number and pace and not draft.outside else dict(event)
        for number, event in enumerate(events)
    ]


def _pace(draft: Draft, count: int) -> timedelta:
    """Return the time between so many events."""
    within = draft.within or timedelta(0)
    return timedelta(seconds=min(int(within.total_seconds()) // max(count, 1), 60))


def somebody_else(users: Sequence[str]) -> str:
    """Return a user name that matches none of these patterns; empty if they match every name."""
    from sigma.types import SigmaString

    from actionwatch.rules.compile import folded_check

    checks = [folded_check(SigmaString(user)) for user in users]
    return next((name for name in _SOMEBODY if not any(matches(name) for matches in checks)), "")


def _like(pattern: str) -> str:
    """Return a text that matches a pattern with wildcards."""
    return pattern.replace("*", "x").replace("?", "x")


def _outside(interval: TimeInterval | None) -> datetime:
    """Find an hour outside a time interval, preferably on a Saturday night."""
    hours = (_SATURDAY_NIGHT + timedelta(hours=number) for number in range(_MAX_HOURS))
    return next((at for at in hours if interval is None or not interval.holds(at)), _SATURDAY_NIGHT)


def _flow(value: Any) -> str:
    """Return YAML on one line."""
    import yaml

    text: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000, sort_keys=False)
    return text.removesuffix("...\n").strip()
