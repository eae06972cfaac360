"""Names of selections: actionwatch accepts what pySigma accepts, with the same meaning, and refuses the others."""

from __future__ import annotations

import itertools
from typing import Any

from sigma.conditions import ConditionAND, ConditionFieldEqualsValueExpression, ConditionNOT, ConditionOR
from sigma.exceptions import SigmaError
from sigma.rule.detection import SigmaDetections

from actionwatch.rules.condition_text import is_met, parse_phrase
from actionwatch.rules.engine import Engine
from tests.cases import in_one_test
from tests.unit.rules.builders import detection_rule, record, rules_of

CASES = [
    # keywords as names
    "any", "all", "of", "them", "1", "and", "or", "not",
    "any and a", "a and not any", "all or of", "them and a", "not them", "not 1", "a and and", "1 and of and them",
    "any of them", "all of them", "1 of them", "1 of any", "any of any", "all of all", "1 of of", "1 of of*", "all of them*",
    "1 of 1", "all of 1*", "1 of an*", "1 of not", "any of a* or any", "all of a* and all", "of of of", "1 of 1 of them",
    # names that begin with a keyword
    "not_x", "not not_x", "not-x", "notx", "and1", "and1 and or2", "or2 or not_x", "1st", "1st and not_x", "1 of 1st",
    "1 of 1s*", "allof", "all of allof", "anyone and allof", "1 of of1", "them2 and not them",
    # case
    "Any", "OR", "AND and a", "a AND of", "a OR of", "NOT a", "NOT", "a and NOT", "1 of A", "1 of Any", "1 OF them",
    "All of them", "1 of Them", "1 of THEM", "all of O*",
    # other characters
    "a.b", "a-b", "-a", "a b", "ä", "a:b", "1 of a.b", "1 of a*", "1 of a-b", "all of *a*", "1 of *", "_x", "1 of _x*",
    "1 of _*",
    "1 of a?", "1 of ä", "(any)", "(1 of them)", "1 of (them)", "not(a)", "a or(of)", "a,b", "a and", "", "of them",
    "timeframe",
]  # fmt: skip
NAMES = (
    "a", "any", "all", "of", "them", "1", "and", "or", "not", "not_x", "not-x", "notx", "and1", "or2", "1st", "allof", "anyone",
    "of1", "them2", "Any", "OR", "AND", "NOT", "Them", "a.b", "a-b", "-a", "a b", "ä", "a:b", "_x", "timeframe",
)  # fmt: skip

KEYWORDS = ("any", "all", "of", "them", "and", "1", "a.b", "Not", "not", "_x", "a b", "detection")


def holds(tree: Any, true: str) -> bool:
    """Run pySigma's own tree for one selection; each looks for its name in `userName`."""
    match tree:
        case ConditionAND():
            return all(holds(part, true) for part in tree.args)
        case ConditionOR():
            return any(holds(part, true) for part in tree.args)
        case ConditionNOT():
            return not holds(tree.args[0], true)
        case ConditionFieldEqualsValueExpression():
            return str(tree.value) == true
    raise AssertionError(tree)


def user_of(name: str) -> str:
    """Give each selection a different user, even if their names differ only in case."""
    return f"user{NAMES.index(name)}"


@in_one_test("condition", CASES)
@in_one_test("names", [NAMES, ("a", "of"), ("any", "a"), ("them",), ("not_x", "1st", "a")])
def test_names_are_those_of_pysigma(names: tuple[str, ...], condition: str) -> None:
    """A condition on these selections loads in both or in neither, with the same meaning."""
    detection: dict[str, Any] = {name: {"userName": user_of(name)} for name in names} | {"condition": condition}
    try:
        (parsed,) = SigmaDetections.from_dict(detection).parsed_condition
        tree = parsed.parse()
    except SigmaError:
        tree = None
    loaded = rules_of(detection_rule(detection))
    assert (loaded.faults == ()) == (tree is not None), loaded.faults
    if tree is None:
        return
    engine = Engine(loaded.rules)
    phrase = parse_phrase(condition, names)
    for name in names:
        expected = holds(tree, user_of(name))
        assert bool(engine.evaluate([record(user=user_of(name))])) is expected
        assert is_met(phrase, name.__eq__) is expected


@in_one_test(("one", "other"), list(itertools.pairwise(KEYWORDS)))
def test_shorthand_takes_the_same_names(one: str, other: str) -> None:
    """A correlation can count selections with the names of keywords."""
    detection = {one: {"userName": "a"}, other: {"userName": "b"}}
    block = {"type": "temporal", "rules": [one, other], "group-by": ["clusterId"], "timespan": "5m"}
    loaded = rules_of(detection_rule(detection, name="n", correlation=block))
    assert loaded.faults == ()
    (rule,) = loaded.rules
    assert rule.correlation is not None
    assert [part.name.name for part in rule.correlation.parts] == [f"n.{one}", f"n.{other}"]


def test_a_part_never_takes_the_place_of_a_selection() -> None:
    """`baseline: any` is refused next to a selection 'any', and a selection 'detection' is not the whole condition."""
    detection = {"any": {"userName": "a"}, "detection": {"userName": "b"}, "condition": "any or detection"}
    block = {"type": "new_term", "fields": ["userName"], "history": "1d"}
    loaded = rules_of(detection_rule(detection, name="n", correlation={**block, "baseline": "any"}))
    assert ["a selection is named 'any'" in fault.what for fault in loaded.faults] == [True]
    loaded = rules_of(detection_rule(detection, name="n", correlation={**block, "baseline": "detection"}))
    assert loaded.faults == ()
    correlation = loaded.rules[0].correlation
    assert correlation is not None
    users = {part.name.name: [user for user in "abc" if Engine([part], is_feeding=True).evaluate([record(user=user)])]
             for part in correlation.parts}  # fmt: skip
    assert users == {"n.detection_": ["a", "b"], "n.detection": ["b"]}
