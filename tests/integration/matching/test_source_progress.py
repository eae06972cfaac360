"""The progress of sources: what each group of a rule waits for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from actionwatch.base.clock import to_micros
from actionwatch.base.source_labels import use_labels
from actionwatch.matching.correlating import Correlating
from actionwatch.matching.matcher import RecordMatcher
from actionwatch.matching.source_progress import CommonProgress, SourceProgress, read_progress
from actionwatch.rules.correlations.order import running
from actionwatch.rules.correlations.sources import SourceNames, sources_of
from actionwatch.rules.engine import Engine
from actionwatch.rules.model import Correlation
from actionwatch.store import marks
from actionwatch.store.database import Database
from tests.builders import NOON, make_marks, make_record
from tests.integration.kit import Post
from tests.integration.matching.test_correlation import HEAD, MINUTE, only, rules_of, see
from tests.integration.matching.test_rule_feeding import fed_by, names, stepping

HOUR = timedelta(hours=1)
STEPS = "detection: {made: {actionKind: CREATE_CLUSTER}, gone: {actionKind: DELETE_CLUSTER}}\n"
OPEN_END = (
    STEPS
    + "correlation: {type: temporal, rules: [made, gone], group-by: [BY], timespan: 10m,"
    + " condition: made and not gone}\n"
)
SCOPE = "alert: {{sources: [{0}]}}\n"
EACH = HEAD.format("each") + OPEN_END.replace("BY", "userName, source")
ALL = HEAD.format("all") + OPEN_END.replace("BY", "userName")
BY_CUSTOMER = HEAD.format("customer") + OPEN_END.replace("BY", "source.labels.customer")
ONE = HEAD.format("one") + OPEN_END.replace("BY", "userName") + SCOPE.format("acme")
GOLD = HEAD.format("gold") + OPEN_END.replace("BY", "userName") + SCOPE.format("'tier=\"gold\"'")
RENAMED = HEAD.format("renamed") + OPEN_END.replace("BY", "source, userName").replace(
    "timespan", "aliases: {source: {made: userName, gone: userName}}, timespan"
)
MISSING = (
    HEAD.format("missing")
    + "detection: {s: {actionKind: BACKUP}, condition: s}\n"
    + "correlation: {type: event_count, group-by: [source], timespan: 30m, condition: {lt: 1},"
    + " expect-groups: {source: [acme, beta]}}\n"
)
NEW = (
    HEAD.format("new")
    + "detection: {s: {actionKind: DELETE_CLUSTER}, condition: s}\n"
    + "correlation: {type: new_term, group-by: [source], fields: [userName], history: 1h, cold-start: learn}\n"
)
NONE = SourceNames({}, ())
LABELS = {"acme": {"customer": "acme", "tier": "gold"}, "acme-test": {"customer": "acme"}, "beta": {"tier": "gold"}}


@pytest.fixture(autouse=True)
def labels() -> Iterator[None]:
    """Give sources labels."""
    use_labels(LABELS)
    yield
    use_labels({})


def progress_of(
    text: str, spans: dict[str, int], names: Sequence[str] = tuple(LABELS)
) -> tuple[SourceProgress, Correlation]:
    """Return the progress of sources that are proved up to some hours after noon, and the last of some rules."""
    rules = rules_of(text)
    at = {name: (to_micros(NOON), to_micros(NOON + hours * HOUR), to_micros(NOON)) for name, hours in spans.items()}
    return SourceProgress(at, SourceNames(sources_of(rules), names)), running(rules)[-1]


def test_the_slowest_source_counts(database: Database) -> None:
    """If a rule keeps no sources apart, the slowest one counts; while one of them was never read, there is no progress."""
    with database.write() as connection:
        for hours, name in enumerate(("acme", "beta")):
            at = NOON - timedelta(hours=hours)
            marks.write(connection, make_marks(name=name, begins_at=at, alerts_from=at, proved_through=at))
    with database.read() as connection:
        assert read_progress(connection, ["beta"], NONE).of_rule("any").verified == NOON - timedelta(hours=1)
        both = read_progress(connection, ["acme", "beta"], NONE)
        common = both.of_rule("any")
        assert (common.begin, common.verified, common.alerts_from) == (NOON, NOON - timedelta(hours=1), NOON)
        assert both.newest == NOON
        assert read_progress(connection, None, NONE).of_rule("any") == common
        with_new = read_progress(connection, ["acme", "new"], NONE)
        assert with_new.of_rule("any") == CommonProgress(names=("acme", "new"))
        assert with_new.newest == NOON
        assert (with_new.knows("acme"), with_new.knows("new"), with_new.knows("removed")) == (True, False, True)


@pytest.mark.parametrize(
    ("text", "group", "hours"),
    [
        (ALL, ("eve",), 1),
        (EACH, ("eve", "acme"), 3),
        (EACH, ("eve", "beta"), 1),
        (EACH, ("eve", "removed"), 1),
        (BY_CUSTOMER, ("acme",), 2),
        (BY_CUSTOMER, (None,), 1),
        (BY_CUSTOMER, ("other",), 1),
        (ONE, ("eve",), 3),
        (GOLD, ("eve",), 1),
        (RENAMED, ("acme", "eve"), 1),
    ],
)
def test_each_group_waits_for_its_sources(text: str, group: tuple[str | None, ...], hours: int) -> None:
    """A group waits for the sources whose records it can have, and for all for which the rules below it wait."""
    progress, rule = progress_of(text, {"acme": 3, "acme-test": 2, "beta": 1})
    assert progress.of(rule, group) == NOON + hours * HOUR


def test_groups_of_a_removed_source_wait_for_the_sources_of_their_own_rule() -> None:
    """Rules for other sources, which have the same group, change nothing about it, whichever is asked first."""
    own = EACH + SCOPE.format("acme")
    gold = own.replace("each", "gold").replace("[acme]", "['tier=\"gold\"']")
    progress, last = progress_of(f"{own}---\n{gold}", {"acme": 3, "acme-test": 2, "beta": 1})
    first = running(rules_of(own))[-1]
    group = ("eve", "removed")
    for _ in range(2):
        assert progress.of(first, group) == NOON + 3 * HOUR
        assert progress.of(last, group) == NOON + HOUR


def test_a_source_that_was_never_read_holds_back_its_own_groups_only() -> None:
    """Other groups have their verified time; a rule for some sources does not know others."""
    for text, group, hours in (
        (ALL, ("eve",), None),
        (EACH, ("eve", "acme"), 3),
        (EACH, ("eve", "beta"), None),
        (ONE, ("eve",), 3),
        (GOLD, ("eve",), None),
    ):
        progress, rule = progress_of(text, {"acme": 3, "acme-test": 2})
        assert progress.of(rule, group) == (None if hours is None else NOON + hours * HOUR), text


def test_progress_is_cut_and_joined() -> None:
    """While records wait, nothing is verified after the first of them; what was verified stays so."""
    progress, rule = progress_of(EACH, {"acme": 3, "acme-test": 2, "beta": 1})
    cut = progress.until(NOON + 2 * HOUR)
    assert [cut.of(rule, ("eve", name)) for name in LABELS] == [NOON + n * HOUR for n in (2, 2, 1)]
    later, _ = progress_of(EACH, {"acme": 1, "acme-test": 4, "beta": 1})
    assert [cut.joined(later).of(rule, ("eve", name)) for name in LABELS] == [NOON + n * HOUR for n in (2, 4, 1)]
    assert cut.newest == NOON + 2 * HOUR
    assert SourceProgress({}, NONE).newest is None


def test_what_is_missing_in_one_source_is_reported_while_another_one_is_behind(post: Post) -> None:
    """Of two rules, the one that keeps sources apart alerts; the other one waits for the source that lags."""
    rules = rules_of(f"{EACH}---\n{ALL}")
    post.store(make_record(1, action_kind="CREATE_CLUSTER"))
    see(post.database, NOON + HOUR)
    see(post.database, NOON, name="beta")
    step = stepping(post, rules)
    step.run_once()
    assert names(post) == ["each"]
    before = step.step_count
    step.run_once()
    assert step.step_count == before  # what waits for the other source costs no transaction
    see(post.database, NOON + HOUR, name="beta")
    step.run_once()
    assert names(post) == ["all", "each"]


def test_a_new_source_lets_no_other_source_learn_again(post: Post) -> None:
    """A source that is added learns for itself, and the rule reads no older records again."""
    rules = rules_of(NEW)
    post.store(make_record(1, user_name="bob", minutes=10), make_record(2, user_name="eve", minutes=70))
    see(post.database, NOON + 2 * HOUR)
    step = stepping(post, rules)
    step.run_once()
    assert [alert.user for alert in post.alerts().values()] == ["eve"]
    see(post.database, NOON + 3 * HOUR, name="beta", begins=NOON + 2 * HOUR, alerts_from=NOON + 2 * HOUR)
    post.store(
        make_record(3, user_name="kim", minutes=150, source="beta"),
        make_record(4, user_name="lee", minutes=150),
        make_record(5, user_name="kim", minutes=190, source="beta"),
        make_record(6, user_name="ann", minutes=190, source="beta"),
    )
    assert fed_by(step) == (0, [])
    assert sorted(alert.user or "" for alert in post.alerts().values()) == ["ann", "eve", "lee"]
    fresh = stepping(post, rules)
    assert fed_by(fresh) == (0, [])
    assert len(post.alerts()) == 3


def test_an_expected_source_is_missing_from_its_own_beginning(post: Post) -> None:
    """A group that is expected of a source waits until this is read, then for one timespan; its alert has the labels."""
    rules = rules_of(MISSING)
    see(post.database, NOON + HOUR)
    correlating = Correlating(rules, post.addressing, sources=lambda: ["acme", "beta"])
    step = RecordMatcher(post.database, Engine(rules), post.addressing, post.clock, correlating=correlating)
    step.run_once()
    alert = only(post)
    assert (alert.source, alert.group, alert.labels) == ("acme", {"source": "acme"}, LABELS["acme"])
    see(post.database, NOON + 5 * HOUR, name="beta", begins=NOON + 5 * HOUR, alerts_from=NOON + 5 * HOUR)
    step.run_once()
    assert len(post.alerts()) == 1
    see(post.database, NOON + 5 * HOUR + 30 * MINUTE, name="beta", begins=NOON + 5 * HOUR, alerts_from=NOON + 5 * HOUR)
    step.run_once()
    assert sorted(alert.source for alert in post.alerts().values()) == ["acme", "beta"]


def test_the_alert_of_a_rule_for_some_sources_names_them(post: Post) -> None:
    """An alert without records names the sources of its rule, and has the labels on which they agree."""
    text = MISSING.replace("[source]", "[userName]").replace("source: [acme, beta]", "userName: [eve]")
    rules = rules_of(text + SCOPE.format("'tier=\"gold\"'"))
    for name in LABELS:
        see(post.database, NOON + HOUR, name=name)
    stepping(post, rules).run_once()
    alert = only(post)
    assert (alert.source, alert.labels) == ("acme, beta", {"tier": "gold"})


def test_many_sources_are_counted(post: Post) -> None:
    """An alert about what is missing everywhere names a few sources, and counts many: nobody reads a thousand names."""
    rules = rules_of(MISSING.replace("[source]", "[userName]").replace("source: [acme, beta]", "userName: [eve]"))
    for number in range(6):
        see(post.database, NOON + HOUR, name=f"org-{number}")
    stepping(post, rules).run_once()
    assert only(post).source == "6 sources"


def test_names_of_sources_follow_labels(post: Post) -> None:
    """After labels or names have changed, a rule waits for other sources; until then nothing is looked up again."""
    rules = rules_of(GOLD)
    for hours, name in enumerate(LABELS):
        see(post.database, NOON + hours * HOUR, name=name)
    known = SourceNames(sources_of(rules), ())
    with post.database.read() as connection:
        before = read_progress(connection, list(LABELS), known)
        assert before.of(running(rules)[0], ("eve",)) == NOON
        assert read_progress(connection, list(LABELS), before.names).names is before.names
        use_labels({**LABELS, "acme": {"tier": "silver"}})
        after = read_progress(connection, list(LABELS), before.names)
        assert after.of(running(rules)[0], ("eve",)) == NOON + 2 * HOUR
        assert read_progress(connection, ["acme-test", "beta"], after.names).names.sources == ("acme-test", "beta")


def test_a_rule_that_groups_by_other_fields_from_now_on_is_judged_at_once(post: Post) -> None:
    """What was verified for the rules of before is read for those of now: a group may have fewer fields."""
    before, now = rules_of(EACH), rules_of(EACH.replace("userName, source", "userName"))
    see(post.database, NOON)
    step = stepping(post, before)
    step.run_once()
    post.store(make_record(1, action_kind="CREATE_CLUSTER", minutes=1))
    see(post.database, NOON + HOUR)
    step.use(Engine(now), Correlating(now, post.addressing))
    step.run_once()
    assert names(post) == ["each"]
    post.store(make_record(2, action_kind="CREATE_CLUSTER", minutes=61, user_name="bob"))
    see(post.database, NOON + 2 * HOUR)
    step.use(Engine(before), Correlating(before, post.addressing))
    step.run_once()
    assert names(post) == ["each", "each"]


@pytest.mark.parametrize("now", [EACH, EACH.replace("userName, source", "userName, clusterId")])
def test_what_waits_from_before_a_rule_had_more_fields_does_not_stop_the_matcher(post: Post, now: str) -> None:
    """An alert that waits is of a group of an earlier version of its rule: it is forgotten."""
    post.store(make_record(1, action_kind="CREATE_CLUSTER", minutes=1))
    see(post.database, NOON + 2 * MINUTE)
    stepping(post, rules_of(ALL.replace("all", "each"))).run_once()
    step = stepping(post, rules_of(now))
    step.run_once()
    see(post.database, NOON + HOUR)
    step.run_once()
    post.store(make_record(2, action_kind="CREATE_CLUSTER", minutes=61, user_name="bob"))
    see(post.database, NOON + 2 * HOUR)
    step.run_once()
    assert [alert.user for alert in post.alerts().values()][-1] == "bob"


@pytest.mark.parametrize("now", [EACH, EACH.replace("userName, source", "userName, clusterId")])
def test_what_a_leader_with_older_rules_left_waiting_does_not_stop_the_returning_one(post: Post, now: str) -> None:
    """Another process leads for a while with a rule that groups by fewer fields: what waits of its groups is forgotten."""
    see(post.database, NOON)
    returning = stepping(post, rules_of(now))
    returning.run_once()
    other = stepping(post, rules_of(ALL.replace("all", "each")))
    for number in range(1, 3):
        post.store(make_record(number, action_kind="CREATE_CLUSTER", minutes=number))
        see(post.database, NOON + 2 * MINUTE)
        other.run_once()
    post.store(make_record(3, action_kind="CREATE_CLUSTER", minutes=30, user_name="bob"))
    see(post.database, NOON + HOUR)
    returning.run_once()
    assert only(post).user == "bob"


def test_groups_of_a_renamed_source_begin_with_its_name(database: Database) -> None:
    """Records before have a former name. Groups without a name of a source begin where their sources do."""
    with database.write() as connection:
        for name, hours in (("first", 1), ("beta", 5)):
            at = NOON + hours * HOUR
            marks.write(connection, make_marks(name=name, begins_at=NOON, seen_through=at, proved_through=at))
        for before, name, hours in (("first", "second", 3), ("second", "acme", 4)):
            known = marks.read(connection, before)
            assert known is not None
            marks.write(connection, replace(marks.rename(connection, known, name), seen_through=NOON + hours * HOUR))
    cases = (EACH, ("eve", "acme"), 3), (EACH, ("eve", "beta"), 0), (ALL, ("eve",), 0), (BY_CUSTOMER, ("acme",), 0)
    for text, group, hours in cases:
        rules = rules_of(text)
        with database.read() as connection:
            progress = read_progress(connection, ["acme", "beta"], SourceNames(sources_of(rules), ()))
        for each in (
            progress,
            progress.until(NOON + 2 * HOUR),
            progress.named(SourceNames(sources_of(rules), ["acme", "beta"])),
        ):
            assert each.of_group(running(rules)[-1], group).begin == NOON + hours * HOUR, text
