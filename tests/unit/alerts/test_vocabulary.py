"""Matchers that are probably wrong: labels and values that no alert has, and matchers that decide nothing."""

from __future__ import annotations

from actionwatch.alerts.vocabulary import Vocabulary
from tests.cases import in_one_test

KNOWN = Vocabulary(
    {
        "level": ["informational", "low", "medium", "high", "critical"],
        "rule": ["cluster_deleted", "api_key_created", "actionwatch_self"],
        "team": ["dba", "kafka", ""],
    },
    ["userName", "cluster"],
)


@in_one_test(
    ("matchers", "expected"),
    [
        (['level="severe"'], "'severe' is no level: there are: informational, low, medium, high, critical"),
        (['level="crit"'], "'crit' is no level: did you mean 'critical'?"),
        (['level!="hihg"'], "'hihg' is no level: did you mean 'high'?"),
        (['level=~"critical|hihg"'], "'hihg' is no level: did you mean 'high'?"),
        (['rule="cluster_deletd"'], "'cluster_deletd' is no rule: did you mean 'cluster_deleted'?"),
        (['usrName="eve"'], "no alert has the label 'usrName': did you mean 'userName'?"),
        (['weather="dry"'], "no alert has the label 'weather': labels are: level, rule, team, userName, cluster"),
        (
            ['level=~"critical|high|medium|low|informational"'],
            'level=~"critical|high|medium|low|informational" matches every alert: remove it, or name fewer values',
        ),
        (['level=~".*"'], 'level=~".*" matches every alert: remove it, or name fewer values'),
        (['level!=""'], 'level!="" matches every alert: remove it, or name fewer values'),
        (['level=""'], 'level="" matches no alert: correct it'),
        (['rule=~"clusters_.*"'], 'rule=~"clusters_.*" matches no alert: correct it'),
        (['userName=~".*"'], 'userName=~".*" matches every alert: remove it, or name fewer values'),
        (['userName!~".*"'], 'userName!~".*" matches no alert: correct it'),
        (
            ['level="high"', 'userName="eve"', 'level="low"'],
            "level=\"low\" matches no alert that the other matchers of 'level' match: all must match",
        ),
    ],
)
def test_doubtful_matchers(matchers: list[str], expected: str) -> None:
    """A matcher that refers to nothing or decides nothing is named, with what was probably meant."""
    (doubt,) = KNOWN.doubts(matchers)
    assert str(doubt).startswith(expected)
    assert doubt.index == len(matchers) - 1


@in_one_test(
    "matchers",
    [
        ['level="high"'], ['level=~"high|critical"', 'level!="critical"'], ['level!~"low|medium"'], ['rule=~"cluster_.*"'],
        ['team=""'], ['team=~".+"'], ['team!="dba"'], ['userName=~"ci-.*"'], ['userName!~"ci-.*"'], ['userName!=""'],
        ['userName="anybody"'], ['cluster=~".*-prod"', 'cluster!="x"'], [],
    ],
)  # fmt: skip
def test_sensible_matchers(matchers: list[str]) -> None:
    """Nothing is doubtful about matchers that select some of the alerts."""
    assert KNOWN.doubts(matchers) == []


def test_a_known_label_has_no_fault() -> None:
    """The name of a label is checked alone too, with a remedy that is short if there are many labels."""
    assert [KNOWN.check_label(name) for name in ("level", "userName")] == ["", ""]
    many = Vocabulary({}, [f"label{number}" for number in range(20)])
    assert many.check_label("weather") == (
        "no alert has the label 'weather': docs/configuration.md lists the labels under route"
    )
    (doubt,) = Vocabulary({"rule": [f"rule{number}" for number in range(20)]}, []).doubts(["rule=weather"])
    assert str(doubt) == "'weather' is no rule: correct it"


def test_every_doubt_is_reported() -> None:
    """All matchers are looked at, each with its place."""
    doubts = KNOWN.doubts(["rule=nothing", "level=high", "lvel=high", "level=~.*"])
    assert [doubt.index for doubt in doubts] == [0, 2, 3]
