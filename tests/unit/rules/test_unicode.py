"""Unicode: comparisons ignore the normal form of names, and ignore case where this is documented."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actionwatch.alerts.inhibition import InhibitRule, Labelled, inhibitor_of
from actionwatch.alerts.ledger import grouping_key
from actionwatch.base.model import Entity, Record
from actionwatch.base.unicode import canonical
from actionwatch.rules.conditions import fold
from actionwatch.rules.correlations.sources import VerifiedTime
from actionwatch.rules.engine import Engine
from actionwatch.service.simulation import replay
from actionwatch.text.matchers import Labels, parse_matcher
from tests.builders import NOON, make_alert, make_match, make_record
from tests.cases import in_one_test
from tests.unit.rules.builders import detection_rule, is_met, record, rules_of

NAME = "Jos\u00e9"
FORMS = [normalize("NFC", NAME), normalize("NFD", NAME)]
PAIRS = list(itertools.product(FORMS, FORMS))


@given(st.text())
def test_forms_are_equal(text: str) -> None:
    """Two normal forms of a text are equal, with and without case, however often they are normalised."""
    texts = {normalize(form, text) for form in ("NFC", "NFD")} | {text}
    assert len({canonical(each) for each in texts}) == 1
    assert len({fold(each) for each in texts}) == 1
    assert fold(fold(text)) == fold(text)


@given(st.text(alphabet=st.characters(codec="ascii")))
def test_ascii_is_left_alone(text: str) -> None:
    """ASCII text is returned unchanged and not copied."""
    assert canonical(text) is text


ITEMS: list[tuple[str, str]] = [
    ("userName", "{}"), ("userName|contains", "{}"), ("userName|startswith", "{}"), ("userName|endswith", "{}"),
    ("userName|cased", "{}"), ("userName|re", "^{}$"), ("userName|re|i", "{}"), ("userName", "*{}"), ("userName", "J?s{}"),
    ("description", "*{}*"), ("description|re", "by {}$"), ("description|cased|contains", "{}"),
    ("userName|fieldref", "cluster.name"), ("raw.who", "{}"),
]  # fmt: skip


@in_one_test(("recorded", "written"), PAIRS)
@in_one_test(("key", "value"), ITEMS)
def test_condition_ignores_the_normal_form(key: str, value: str, recorded: str, written: str) -> None:
    """A condition matches a name in another normal form."""
    wanted = value.format(written if "J?s" not in value else written[3:])
    by = record(user=recorded, description=f"by {recorded}", cluster=Entity(None, written), raw={"who": recorded})
    assert is_met({key: wanted}, by)
    assert not is_met({key: wanted}, record(user="Jose", description="by Jose", raw={"who": "Jose"}))


@pytest.mark.parametrize(("recorded", "written"), PAIRS)
def test_keywords_and_lists_ignore_the_normal_form(recorded: str, written: str) -> None:
    """Keywords and items of lists match names in another normal form."""
    assert is_met([written], record(user="eve", description=f"by {recorded}"))
    assert is_met({"userName|expand": "%people%"}, record(user=recorded), lists={"people": (written,)})


def test_only_cased_distinguishes_case() -> None:
    """Plain text matches without case, `cased` with case."""
    assert is_met({"userName": FORMS[0].upper()}, record(user=FORMS[1]))
    assert not is_met({"userName|cased": FORMS[0].upper()}, record(user=FORMS[1]))


def test_groups_of_a_plain_rule_ignore_the_normal_form() -> None:
    """Two normal forms of a user are one group, two cases are two, and the alert shows the user as written."""
    keys = [grouping_key(make_match(make_record(user_name=name))) for name in (*FORMS, NAME.lower())]
    assert keys[0] == keys[1] != keys[2]
    loaded = rules_of(detection_rule({"s": {"source": "acme"}, "condition": "s"}, alert={"group_by": ["userName"]}))
    (match,) = Engine(loaded.rules).evaluate([record(user=FORMS[1])])
    assert match.group == {"userName": FORMS[1]}


def fired(records: list[Record], **correlation: Any) -> list[Any]:
    """Run a correlation over deletions."""
    detection = {"s": {"actionKind": "DELETE_CLUSTER"}, "condition": "s"}
    loaded = rules_of(detection_rule(detection, name="n", correlation=correlation))
    assert loaded.faults == ()
    verified = VerifiedTime(NOON + timedelta(hours=1))
    outcome = replay(loaded.rules, records, begin=lambda *_: NOON - timedelta(days=9), verified=verified)
    return list(outcome.alerts)


def of_users(*names: str) -> list[Record]:
    """Make a deletion by each of these users, one minute apart."""
    return [make_record(n, minutes=n, user_name=name) for n, name in enumerate(names)]


def test_groups_of_a_correlation_ignore_the_normal_form() -> None:
    """A burst in two normal forms reaches its threshold, and shows the user as the newest record writes it."""
    burst: dict[str, Any] = {
        "type": "event_count",
        "group-by": ["userName"],
        "timespan": "10m",
        "condition": {"gte": 2},
    }
    for one, other in PAIRS:
        (alert,) = fired(of_users(one, other), **burst)
        assert alert.group == {"userName": other}
    assert fired(of_users(NAME, NAME.lower()), **burst) == []


def test_values_and_terms_ignore_the_normal_form() -> None:
    """A second normal form of a value is the same value, and of a known term the same term."""
    distinct = {"type": "value_count", "timespan": "10m", "condition": {"field": "userName", "gte": 2}}
    assert fired(of_users(*FORMS), **distinct) == []
    assert len(fired(of_users(NAME, NAME.lower()), **distinct)) == 1
    new = {"type": "new_term", "fields": ["userName"], "history": "1d", "cold-start": "alert"}
    assert len(fired(of_users(*FORMS), **new)) == 1


def test_expected_groups_ignore_the_normal_form() -> None:
    """An expected group matches records in another normal form."""
    for expected, recorded in PAIRS:
        absence = {"type": "event_count", "group-by": ["userName"], "timespan": "2h", "condition": {"lt": 1},
                   "expect-groups": {"userName": [expected]}}  # fmt: skip
        seen = [make_record(n, minutes=60 * n, user_name=recorded) for n in range(-216, 1)]
        assert fired(seen, **absence) == []


@pytest.mark.parametrize(("recorded", "written"), PAIRS)
def test_matchers_ignore_the_normal_form(recorded: str, written: str) -> None:
    """Routes and silences match labels in another normal form."""
    labels: Labels = {"userName": recorded, "account": ("acc-1", recorded)}
    for text in (f'userName="{written}"', f'userName=~"J.*{written[3:]}"', f'account="{written}"'):
        assert parse_matcher(text).is_met(labels)
    assert not parse_matcher(f'userName!="{written}"').is_met(labels)
    assert not parse_matcher(f'userName="{written.lower()}"').is_met(labels)


@pytest.mark.parametrize(("recorded", "written"), PAIRS)
def test_inhibition_ignores_the_normal_form(recorded: str, written: str) -> None:
    """Labels that must be equal are equal in different normal forms."""
    rule = InhibitRule((parse_matcher('rule="a"'),), (parse_matcher('rule="b"'),), ("userName",))
    source = Labelled(make_alert("1"), {"rule": "a", "userName": recorded})
    assert inhibitor_of(Labelled(make_alert("2"), {"rule": "b", "userName": written}), [rule], [source])
    assert not inhibitor_of(Labelled(make_alert("2"), {"rule": "b", "userName": "Jose"}), [rule], [source])
