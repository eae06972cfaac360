"""Silences: whom they keep quiet and when, which are refused, and the matchers that stand for an alert."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actionwatch.alerts.routes import RECORD_LABELS, Labels, alert_labels, parse_matcher
from actionwatch.alerts.silences import check_matchers, make_silence, matchers_of, silence_for
from actionwatch.base.model import Entity, RuleName, Silence
from tests.builders import NOON, make_alert, make_record

HOUR = timedelta(hours=1)
LABELS: Labels = {"rule": "cluster_deleted", "userName": "eve", "cluster": ("c-1", "payments")}


def silence(*matchers: str, start: datetime = NOON, end: datetime = NOON + HOUR, **changes: Any) -> Silence:
    """Make a silence of an hour."""
    given = {"author": "sam", "comment": "planned", "made_at": NOON, **changes}
    author, comment = given.pop("author"), given.pop("comment")
    return make_silence(matchers or ('rule="cluster_deleted"',), author, comment, start, end, **given)


@pytest.mark.parametrize(
    ("matchers", "is_silenced"),
    [
        (["rule=cluster_deleted"], True),
        (["rule=other"], False),
        (["rule=cluster_deleted", "userName=eve"], True),
        (["rule=cluster_deleted", "userName=bob"], False),  # all of them have to be met
        (["userName=~e.*"], True),
        (["userName=~v"], False),  # the whole value
        (["cluster=payments"], True),  # an entity goes by its id and by its name
        (["cluster=c-1"], True),
        (["cluster!=payments", "rule=cluster_deleted"], False),
        (["rule=cluster_deleted", "account=x"], False),
        (["rule=cluster_deleted", 'account=""'], True),  # what an alert lacks is the empty text
        (["rule=cluster_deleted", "account!=x"], True),
    ],
)
def test_all_matchers_have_to_be_met(matchers: list[str], is_silenced: bool) -> None:
    """An alert is hidden that one matcher does not mean, or told though all mean it."""
    found = silence_for(LABELS, [silence(*matchers)], NOON)
    assert (found is not None) is is_silenced


@pytest.mark.parametrize(("minutes", "is_silenced"), [(-1, False), (0, True), (59, True), (60, False), (61, False)])
def test_it_holds_from_its_start_up_to_its_end(minutes: int, is_silenced: bool) -> None:
    """The start belongs to a silence, the end does not."""
    found = silence_for(LABELS, [silence()], NOON + timedelta(minutes=minutes))
    assert (found is not None) is is_silenced


def test_the_one_that_ends_last_counts() -> None:
    """The summary comes, and says that all is told, while another silence still hides the alert."""
    short, long, other = silence(), silence(end=NOON + 2 * HOUR), silence("rule=other", end=NOON + 9 * HOUR)
    assert silence_for(LABELS, [short, long, other], NOON) == long
    assert silence_for(LABELS, [long, other, short], NOON) == long
    assert silence_for(LABELS, [short, long, other], NOON + HOUR) == long
    assert silence_for(LABELS, [], NOON) is None


@given(st.permutations([silence(comment=str(number)) for number in range(4)]))
def test_the_order_does_not_matter(silences: list[Silence]) -> None:
    """Of silences that end together, now one is named and now another."""
    assert silence_for(LABELS, silences, NOON) == max(silences, key=lambda each: each.id)


@pytest.mark.parametrize(
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
def test_matchers_that_are_refused(matchers: list[str], reason: str) -> None:
    """Somebody silences all there is, or nothing, without noticing."""
    with pytest.raises(ValueError, match=reason):
        check_matchers(matchers)
    with pytest.raises(ValueError, match=reason):
        make_silence(matchers, "sam", "planned", NOON, NOON + HOUR, made_at=NOON)


@pytest.mark.parametrize("matchers", [["rule=x"], ["rule!=x", "userName=~.+"], ["userName=~e.*"], ['a!=""']])
def test_matchers_that_are_taken(matchers: list[str]) -> None:
    """One matcher that does not hold for what has no labels is enough."""
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
def test_what_a_silence_needs(changes: dict[str, Any], reason: str) -> None:
    """A silence without a reason, an author or a length is made."""
    with pytest.raises(ValueError, match=reason):
        silence(**changes)


def test_equal_ones_made_at_one_time_are_one() -> None:
    """A command that is repeated by its shell silences twice; or one made later is taken for the first."""
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


# -- the matchers that stand for an alert --------------------------------------------------------------------------------


@pytest.mark.parametrize(
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
def test_what_stands_for_an_alert(changes: dict[str, Any], user: str | None, expected: tuple[str, ...]) -> None:
    """The button silences more than the alert's kind, or something else."""
    assert matchers_of(make_alert(**changes), make_record(user_name=user)) == expected


def test_an_alert_without_records() -> None:
    """Absence and troubles have no newest record to ask."""
    assert matchers_of(make_alert(group=None), None) == ('rule="cluster_deleted"',)


TEXTS = st.text(max_size=30)


@given(rule=st.text(min_size=1, max_size=20), user=TEXTS, cluster=TEXTS, other=TEXTS)
def test_the_button_silences_what_it_was_pressed_for(rule: str, user: str, cluster: str, other: str) -> None:
    """Whatever stands in the log, the silence holds for its alert, and for no other rule's or user's."""
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
def test_every_matcher_that_is_written_can_be_read(group: dict[str, str | None]) -> None:
    """A value with quotes, backslashes or line ends makes a silence that nobody can list."""
    read = {matcher.label: matcher.value for matcher in map(parse_matcher, matchers_of(make_alert(group=group), None))}
    known = {name: value or "" for name, value in group.items() if name in RECORD_LABELS}
    assert read == {"rule": "cluster_deleted", **known}
