"""When a rule could not have fired: random histories against a model that follows the action of each minute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actionwatch.base.model import Mode
from actionwatch.base.rule_state import GONE, EntryOrigin, RuleEntry, RuleState
from actionwatch.rules.blindness import (
    Blindness,
    BlindSpan,
    Effect,
    RuleBlindness,
    learning_spans,
    merged,
    spans_of_entries,
    starved,
    union,
)
from actionwatch.service.rule_recording import Moment
from tests.builders import NOON
from tests.unit.rules.builders import rules_in

MINUTE = timedelta(minutes=1)
LENGTH = 60
STATES = (RuleState.LIVE, RuleState.OFF, RuleState.SHADOW, RuleState.REMOVED, RuleState.BROKEN)


def at(minute: int) -> datetime:
    """Return the time of a minute."""
    return NOON + minute * MINUTE


@dataclass
class Model:
    """One rule in a service that reads and matches one action a minute, and what matched each of them.

    `gone` are the minutes in which a service of an older version changed the rule, unrecorded.
    """

    state: RuleState | None = None
    entries: list[RuleEntry] = field(default_factory=list)
    matched_as: dict[int, RuleState | None] = field(default_factory=dict)
    read: int = 0
    matched: int = 0
    in_progress: RuleState | None = None
    has_progress: bool = False

    def change(self, now: int, state: RuleState, *, is_start: bool) -> None:
        """Let the rule do something else from now on, as `RuleFiles.apply` does."""
        if self.state is state or (self.state is None and state in GONE):
            return
        if not is_start and not self.has_progress:
            self.in_progress, self.has_progress = self.state, True  # a batch may be matched as it was before
        has_run = self.state is not None and self.state not in GONE
        moment = Moment.of(at(now), (at(self.matched), at(self.matched)), is_start=is_start)
        self.entries.append(
            RuleEntry(
                at=moment.at,
                rule_id="r",
                name="r",
                state=state,
                origin=EntryOrigin.CHANGED if has_run else EntryOrigin.ADDED,
                may_begin_at=moment.may_begin_at,
                begins_at=max([moment.begins_at, *(each.begins_at for each in self.entries[-1:])]),
            )
        )
        self.state = state

    def match(self, through: int, *, is_old: bool) -> None:
        """Match what was read up to a minute; `is_old`: by the batch that began before the last change."""
        state = self.in_progress if is_old and self.has_progress else self.state
        for minute in range(self.matched, min(through, self.read)):
            self.matched_as[minute] = state
        self.matched = max(self.matched, min(through, self.read))
        if not is_old:
            self.has_progress = False


@dataclass(frozen=True)
class Step:
    """What happens in one minute."""

    is_up: bool
    is_readable: bool
    matches: bool
    is_old: bool
    state: RuleState


STEP = st.builds(
    Step,
    is_up=st.sampled_from((True, True, True, False)),
    is_readable=st.sampled_from((True, True, False)),
    matches=st.sampled_from((True, True, False)),
    is_old=st.booleans(),
    state=st.sampled_from((RuleState.LIVE, *STATES)),
)


def play(steps: Sequence[Step]) -> Model:
    """Play the minutes one by one. While the service is down, nothing is read, and its start takes the newest files."""
    model, was_up = Model(), False
    for now, step in enumerate(steps, start=1):
        if step.is_up:
            model.change(now, step.state, is_start=not was_up)
            if not was_up:
                model.has_progress = False
            if model.has_progress:  # only what was read before the change can be in the batch in progress
                model.match(model.read, is_old=step.is_old)
                model.has_progress = False
            if step.is_readable:
                model.read = now
            if step.matches:
                model.match(model.read, is_old=False)
        was_up = step.is_up
    return model


def within(spans: Sequence[BlindSpan], minute: int) -> set[Effect]:
    """Return what intervals say about the action of a minute."""
    return {span.effect for span in spans if span.start <= at(minute) < span.end}


@given(st.lists(STEP, min_size=1, max_size=LENGTH))
def test_no_minute_without_a_match_is_left_out(steps: list[Step]) -> None:
    """Every action that met no live rule lies in an interval; one that did lies in none, except while a reload took effect."""
    model = play(steps)
    if not model.entries:
        return
    spans = spans_of_entries(model.entries, at(0), at(model.matched))
    unsure = [(each.may_begin_at, each.begins_at) for each in model.entries]
    for minute, state in model.matched_as.items():
        found = within(spans, minute)
        if any(start <= at(minute) < end for start, end in unsure):
            if state is not RuleState.LIVE:
                assert found, (minute, state, spans)
            continue
        expected = {None: {Effect.BLIND}, RuleState.LIVE: set(), RuleState.SHADOW: {Effect.QUIET}}
        assert found == expected.get(state, {Effect.BLIND}), (minute, state, spans)


@given(st.lists(STEP, min_size=1, max_size=LENGTH), st.integers(0, LENGTH))
def test_a_later_beginning_says_the_same(steps: list[Step], since: int) -> None:
    """What `read_since` returns is enough: without the entries that ended before the time, the rest says the same."""
    model = play(steps)
    ended = [place for place, each in enumerate(model.entries) if each.begins_at <= at(since)]
    kept = model.entries[ended[-1] if ended else 0 :]
    if kept:
        whole = spans_of_entries(model.entries, at(since), at(LENGTH))
        assert spans_of_entries(kept, at(since), at(LENGTH)) == whole


def entry(minute: int, state: RuleState = RuleState.LIVE, **changes: object) -> RuleEntry:
    """Make an entry that applies from a minute on."""
    given_: dict[str, object] = {
        "at": at(minute),
        "rule_id": "r",
        "name": "r",
        "state": state,
        "origin": EntryOrigin.CHANGED,
        "may_begin_at": at(minute),
        "begins_at": at(minute),
    }
    return RuleEntry(**{**given_, **changes})  # type: ignore[arg-type]


def test_time_before_the_first_entry_is_unknown_unless_the_rule_was_added() -> None:
    """Nothing is guessed about the time before the history begins, or while a service did not record it."""
    kept = spans_of_entries([entry(5)], at(0), at(9))
    assert kept == [BlindSpan(at(0), at(5), Effect.UNKNOWN, "no service recorded what ran")]
    added = spans_of_entries([entry(5, origin=EntryOrigin.ADDED)], at(0), at(9))
    assert [(each.effect, each.end) for each in added] == [(Effect.BLIND, at(5))]
    found = spans_of_entries([entry(0, origin=EntryOrigin.ADDED), entry(5, origin=EntryOrigin.FOUND)], at(0), at(9))
    assert [(each.effect, each.start, each.end) for each in found] == [(Effect.UNKNOWN, at(0), at(5))]


def test_older_version_is_named() -> None:
    """While a file is broken and an older version runs, the interval says so, and is not blind."""
    held = entry(3, is_held=True, file="a.yml")
    spans = spans_of_entries([entry(0, origin=EntryOrigin.ADDED), held, entry(6)], at(0), at(9))
    assert spans == [BlindSpan(at(3), at(6), Effect.OLDER, "the file is broken: a.yml")]


SPANS = st.lists(
    st.builds(
        lambda start, length, effect, why: BlindSpan(at(start), at(start + length), effect, why),
        st.integers(-9, LENGTH),
        st.integers(0, 20),
        st.sampled_from(list(Effect)),
        st.sampled_from("ab"),
    ),
    max_size=12,
)


@given(SPANS)
def test_merged_spans_and_their_union_against_minutes(spans: list[BlindSpan]) -> None:
    """Merging keeps the effects on each minute, each once, and the union counts each minute once."""
    start, end = at(0), at(LENGTH)
    found = merged(spans, start, end)
    for minute in range(LENGTH):
        before = {(each.effect, each.why) for each in spans if each.start <= at(minute) < each.end}
        after = [(each.effect, each.why) for each in found if each.start <= at(minute) < each.end]
        assert sorted(after) == sorted(before)
    assert union(found) == sum(bool(within(found, minute)) for minute in range(LENGTH)) * MINUTE
    assert all(start <= each.start < each.end <= end for each in found)


def test_blind_time_counts_what_blinds_every_rule() -> None:
    """The time of a rule includes that of every rule, once, and nothing that only delays or hides a message."""
    every = (BlindSpan(at(0), at(4), Effect.BLIND, "x"), BlindSpan(at(20), at(30), Effect.DOUBT, "z"))
    rule = RuleBlindness("r", "r", RuleState.LIVE, (BlindSpan(at(2), at(6), Effect.UNKNOWN, "y"),))
    quiet = RuleBlindness("q", "q", RuleState.SHADOW, (BlindSpan(at(0), at(60), Effect.QUIET, "q"),))
    found = Blindness(at(0), at(60), every, (rule, quiet))
    assert [found.blind_time(each) for each in (rule, quiet)] == [6 * MINUTE, 4 * MINUTE]
    assert [(each.own_time, each.worst) for each in (rule, quiet)] == [
        (4 * MINUTE, Effect.UNKNOWN),
        (timedelta(0), Effect.QUIET),
    ]


LOGSOURCE = "logsource: {product: instaclustr, service: user_actions}\n"


def feeder(name: str, mode: str, kind: str) -> str:
    """Write a rule for one kind."""
    head = f"title: {name}\nname: {name}\nmode: {mode}\n{LOGSOURCE}"
    return f"{head}detection: {{s: {{actionKind: {kind}}}, condition: s}}\n"


def rules_text(correlation: str, first: str, second: str) -> str:
    """Write a correlation over two rules with these modes."""
    pair = feeder("one", first, "BACKUP"), feeder("two", second, "DELETE_CLUSTER")
    return "---\n".join([*pair, f"title: Both\nname: both\n{correlation}\n"])


ORDERED = "correlation: {type: temporal_ordered, rules: [one, two], group-by: [userName], timespan: 5m}"
WITHOUT = (
    "correlation: {type: temporal, rules: [one, two], group-by: [userName], timespan: 5m, condition: two and not one}"
)


@pytest.mark.parametrize(
    ("correlation", "first", "second", "expected"),
    [
        (ORDERED, "live", "live", {}),
        (ORDERED, "off", "live", {"both": "one"}),
        (ORDERED, "live", "off", {"both": "two"}),
        (WITHOUT, "off", "live", {}),
        (WITHOUT, "live", "off", {"both": "two"}),
    ],
)
def test_correlation_starves_when_a_rule_that_it_needs_is_off(
    correlation: str, first: str, second: str, expected: dict[str, str]
) -> None:
    """A correlation cannot fire while a step that must occur is off; a step that must not occur does not matter."""
    rules = rules_in(rules_text(correlation, first, second)).rules
    names = {rule.name.id: rule.name.name for rule in rules}
    assert {names[rule_id]: needed for rule_id, needed in starved(rules).items()} == expected
    assert {rule.mode for rule in rules} <= {Mode.LIVE, Mode.OFF}


def _learning(text: str, *begins: datetime | None) -> list[tuple[Effect, datetime]]:
    (rule,) = (each for each in rules_in(text).rules if each.correlation is not None)
    assert rule.correlation is not None
    start, end = at(0), at(LENGTH * 48)
    return [
        (span.effect, span.end) for span in merged(learning_spans(rule.correlation, begins, start, end), start, end)
    ]


NEW_TERM = "title: New\nname: new\n" + LOGSOURCE + "detection: {s: {actionKind: BACKUP}, condition: s}\n"


@pytest.mark.parametrize(
    ("more", "is_learning"),
    [
        ("correlation: {type: new_term, fields: [userName], history: 1d, baseline: s}\n", True),
        ("correlation: {type: new_term, fields: [userName], history: 1d, baseline: s, cold-start: alert}\n", False),
        ("correlation: {type: spike, timespan: 3h, windows: 7, condition: {factor: 3, min: 10}}\n", True),
        ("correlation: {type: event_count, timespan: 1d, condition: {gte: 3}}\n", False),
    ],
)
def test_learning_rule_is_blind_until_its_history_is_known(more: str, is_learning: bool) -> None:
    """A rule that learns is blind until the stream is as old as what it compares with: here a day."""
    ends = [_learning(NEW_TERM + more, begin) for begin in (None, at(-LENGTH), at(-LENGTH * 48))]
    known = [[(Effect.BLIND, at(LENGTH * 48))], [(Effect.BLIND, at(-LENGTH + 24 * 60))], []]
    assert ends == (known if is_learning else [[]] * 3)


@pytest.mark.parametrize(
    ("begins", "expected"),
    [
        ((at(-LENGTH), at(0)), [(Effect.BLIND, at(23 * LENGTH)), (Effect.DOUBT, at(24 * LENGTH))]),
        ((at(0), at(-48 * LENGTH)), [(Effect.DOUBT, at(24 * LENGTH))]),
        ((None, at(-48 * LENGTH)), [(Effect.DOUBT, at(48 * LENGTH))]),
        ((at(0), at(0)), [(Effect.BLIND, at(24 * LENGTH))]),
        ((), [(Effect.BLIND, at(48 * LENGTH))]),
    ],
)
def test_rule_may_miss_actions_while_some_of_its_groups_learn(
    begins: tuple[datetime | None, ...], expected: list[tuple[Effect, datetime]]
) -> None:
    """A rule is blind until the first of its groups knows a day, and may miss actions until the last one does."""
    spike = "correlation: {type: spike, timespan: 3h, windows: 7, condition: {factor: 3, min: 10}}\n"
    assert _learning(NEW_TERM + spike, *begins) == expected
