"""Silences: what they match and when, which are rejected, and the matchers that the button makes from an alert."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actionwatch.alerts.routes import RECORD_LABELS, alert_labels
from actionwatch.alerts.silences import check_matchers, make_silence, matchers_of, silence_for
from actionwatch.base.model import Entity, RuleName, Silence
from actionwatch.text.matchers import Labels, parse_matcher
from tests.builders import NOON, make_alert, make_record
from tests.cases import in_one_test

HOUR = timedelta(hours=1)
LABELS: Labels = {"rule": "cluster_deleted", "userName": "eve", "cluster": ("c-1", "payments")}


def silence(*matchers: str, start: datetime = NOON, end: datetime = NOON + HOUR, **changes: Any) -> Silence:
    """Make a silence for an hour."""
    given = {"author": "sam", "comment": "planned", "made_at": NOON, **changes}
    author, comment = given.pop("author"), given.pop("comment")
    return make_silence(matchers or ('rule="cluster_deleted"',), author, comment, start, end, **given)


@in_one_test(
    ("matchers", "is_silenced"),
    [
        (["rule=cluster_deleted"], True),
        (["rule=other"], False),
        (["rule=cluster_deleted", "userName=eve"], True),
        (["rule=cluster_deleted", "userName=bob"], False),  # all must match
        (["userName=~e.*"], True),
        (["userName=~v"], False),  # the whole value
        (["cluster=payments"], True),  # an entity has its id and its name
        (["cluster=c-1"], True),
        (["cluster!=payments", "rule=cluster_deleted"], False),
        (["rule=cluster_deleted", "account=x"], False),
        (["rule=cluster_deleted", 'account=""'], True),  # an absent label is an empty text
        (["rule=cluster_deleted", "account!=x"], True),
    ],
)
def test_all_matchers_must_match(matchers: list[str], is_silenced: bool) -> None:
    """A silence applies to an alert exactly if all of its matchers match."""
    found = silence_for(LABELS, [silence(*matchers)], NOON)
    assert (found is not None) is is_silenced


@pytest.mark.parametrize(("minutes", "is_silenced"), [(-1, False), (0, True), (59, True), (60, False), (61, False)])
def test_silence_is_active_from_its_start_until_before_its_end(minutes: int, is_silenced: bool) -> None:
    """The start belongs to a silence, the end does not."""
    found = silence_for(LABELS, [silence()], NOON + timedelta(minutes=minutes))
    assert (found is not None) is is_silenced


def test_silence_that_ends_last_is_the_reason() -> None:
    """Of several silences, the one that ends last is the reason, so that the summary does not come too early."""
    short, long, other = silence(), silence(end=NOON + 2 * HOUR), silence("rule=other", end=NOON + 9 * HOUR)
    assert silence_for(LABELS, [short, long, other], NOON) == long
    assert silence_for(LABELS, [long, other, short], NOON) == long
    assert silence_for(LABELS, [short, long, other], NOON + HOUR) == long
    assert silence_for(LABELS, [], NOON) is None


@given(st.permutations([silence(comment=str(number)) for number in range(4)]))
def test_reason_does_not_depend_on_the_order(silences: list[Silence]) -> None:
    """Of silences that end together, the same one is always the reason."""
    assert silence_for(LABELS, silences, NOON) == max(silences, key=lambda each: each.id)


@in_one_test(
    ("matchers", "reason"),
    [
        ([], "needs a matcher"),
        (["rule"], "not a matcher"),
        (["rule=~("], "not a regular expression"),
        (['rule=~".*"'], "would silence every alert"),
        (['rule=""'], "would silence every alert"),
        (["userName!=eve"], "would silence every alert"),
        (["userName!=eve", "cluster!~x.*"], "would silence every alert"),
        (['a=""', "b!=c"], "would silence every alert"),
    ],
)
def test_matchers_that_match_everything_or_nothing_are_rejected(matchers: list[str], reason: str) -> None:
    """Matchers that match everything or nothing are rejected."""
    with pytest.raises(ValueError, match=reason):
        check_matchers(matchers)
    with pytest.raises(ValueError, match=reason):
        make_silence(matchers, "sam", "planned", NOON, NOON + HOUR, made_at=NOON)


@pytest.mark.parametrize("matchers", [["rule=x"], ["rule!=x", "userName=~.+"], ["userName=~e.*"], ['a!=""']])
def test_valid_matchers_are_accepted(matchers: list[str]) -> None:
    """One matcher that does not match an empty label is enough."""
    check_matchers(matchers)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"comment": ""}, "needs a reason"),
        ({"comment": " \n"}, "needs a reason"),
        ({"author": "\t"}, "needs an author"),
        ({"end": NOON}, "must end after it starts"),
        ({"end": NOON - HOUR}, "must end after it starts"),
    ],
)
def test_incomplete_silence_is_rejected(changes: dict[str, Any], reason: str) -> None:
    """A silence without comment, author or duration is rejected."""
    with pytest.raises(ValueError, match=reason):
        silence(**changes)


def test_equal_silences_of_one_time_have_one_id() -> None:
    """A command that the shell repeats makes one silence; a silence that is made later is another."""
    assert silence() == silence()
    different = [
        silence("rule=other"),
        silence(author="bob"),
        silence(comment="unplanned"),
        silence(end=NOON + 2 * HOUR),
        silence(start=NOON + timedelta(seconds=1)),
        silence(made_at=NOON + timedelta(seconds=1)),
    ]
    assert len({silence().id, *(each.id for each in different)}) == 7
    assert silence(author=" sam ", comment="\tplanned").author == "sam"


# -- the matchers of an alert ---------------------------------------------------------------------------------------------


@in_one_test(
    ("changes", "user", "expected"),
    [
        ({"group": {"userName": "eve"}}, "eve", ('rule="cluster_deleted"', 'userName="eve"')),
        ({"group": {"userName": None}}, None, ('rule="cluster_deleted"', 'userName=""')),
        ({"group": {"cluster": "c-1", "raw.x": "y"}}, "eve", ('rule="cluster_deleted"', 'cluster="c-1"')),
        ({"group": {"clusterId": "c-1"}}, "eve", ('rule="cluster_deleted"', 'cluster="c-1"')),
        (
            {"group": {"account.id": "a-1", "account.name": "payments", "source": "acme"}},
            "eve",
            ('rule="cluster_deleted"', 'account="a-1"', 'account="payments"', 'source="acme"'),
        ),
        ({"group": {"clusterId": None}}, "eve", ('rule="cluster_deleted"',)),  # it may have a name
        ({"group": {"cluster.name": None, "clusterId": "c-1"}}, "eve", ('rule="cluster_deleted"', 'cluster="c-1"')),
        ({"group": {}}, "eve", ('rule="cluster_deleted"',)),
        ({"group": None}, "eve", ('rule="cluster_deleted"', 'userName="eve"')),
        ({"group": None}, None, ('rule="cluster_deleted"', 'userName=""')),
        (
            {"labels": {"trouble": "key_refused"}, "source": "acme", "group": {"subject": "acme"}},
            None,
            ('rule="cluster_deleted"', 'trouble="key_refused"', 'source="acme"'),
        ),
    ],
)
def test_matchers_of_an_alert(changes: dict[str, Any], user: str | None, expected: tuple[str, ...]) -> None:
    """The button silences exactly the rule and the group of the alert."""
    assert matchers_of(make_alert(**changes), make_record(user_name=user)) == expected


def test_matchers_of_an_alert_without_records() -> None:
    """Absences and self-alerts, which have no newest record, have matchers too."""
    assert matchers_of(make_alert(group=None), None) == ('rule="cluster_deleted"',)


TEXTS = st.text(max_size=30)


@given(rule=st.text(min_size=1, max_size=20), user=TEXTS, cluster=TEXTS, other=TEXTS)
def test_matchers_of_an_alert_match_only_its_rule_and_user(rule: str, user: str, cluster: str, other: str) -> None:
    """Whatever text is in the log, the silence matches its alert, and no other rule or user."""
    alert = make_alert(rule=RuleName("id", rule, "Title"), group={"userName": user, "clusterId": cluster})
    record = make_record(user_name=user, cluster=Entity(cluster, other))
    made = silence(*matchers_of(alert, record))
    assert silence_for(alert_labels(alert, record), [made], NOON) == made
    assert silence_for(alert_labels(alert, None), [made], NOON) == made  # as absence, which has no record
    elsewhere = alert_labels(make_alert(rule=RuleName("id", f"{rule}x", "Title")), record)
    assert silence_for(elsewhere, [made], NOON) is None
    by_other = alert_labels(alert, make_record(user_name=f"{user}x", cluster=Entity(cluster, other)))
    assert silence_for(by_other, [made], NOON) is None


@given(st.dictionaries(st.sampled_from((*RECORD_LABELS, "subject", "raw.x")), st.none() | TEXTS))
def test_written_matchers_can_be_parsed(group: dict[str, str | None]) -> None:
    """A matcher with quotes, backslashes or line ends can be parsed again."""
    read = {matcher.label: matcher.value for matcher in map(parse_matcher, matchers_of(make_alert(group=group), None))}
    known = {name: value or "" for name, value in group.items() if name in RECORD_LABELS}
    assert read == {"rule": "cluster_deleted", **known}
