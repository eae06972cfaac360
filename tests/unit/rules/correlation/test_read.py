"""Loading correlations: every fault with its location, references between documents, and silent rules."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actionwatch.rules.correlations.reading.block import ALL_KEYS
from actionwatch.rules.engine import Engine
from actionwatch.rules.lists import Lists
from actionwatch.rules.load import Rules, build_rules
from actionwatch.rules.model import Correlation, CorrelationType, Pattern, Threshold
from actionwatch.text.timeintervals import TimeInterval
from actionwatch.text.yaml_document import read_text
from tests.cases import in_one_test
from tests.unit.rules.builders import KINDS, record, rules_in, rules_of
from tests.unit.rules.correlation.kit import HEAD, record_at, run

DETECTION = "detection: {s: {actionKind: BACKUP}, condition: s}\n"
TWO = "detection: {a: {actionKind: BACKUP}, b: {actionKind: CREATE_CLUSTER}}\n"
COUNT = "type: event_count, group-by: [userName], timespan: 10m, condition: {gte: 5}"
ORDER = "type: temporal_ordered, rules: [a, b], group-by: [userName], timespan: 10m"
ABSENCE = "type: event_count, group-by: [userName], timespan: 1h, condition: {lt: 1}"
TERM = "type: new_term, fields: [userName], history: 9d"
SPIKE = "type: spike, timespan: 1h, condition: {factor: 3, min: 10}"

FAULTS: list[tuple[str, str, str]] = [
    (DETECTION, "5", "'correlation' must be a mapping"),
    (DETECTION, "{}", "a correlation needs a 'type'"),
    (DETECTION, "{type: event_cuont}", "unknown type 'event_cuont': did you mean 'event_count'?"),
    (DETECTION, f"{{{COUNT}, timspan: 5m}}", "unknown key 'timspan': did you mean 'timespan'?"),
    (DETECTION, f"{{{COUNT}, history: 5d}}", "'history' is not a key of 'event_count'"),
    (DETECTION, f"{{{TERM}, timespan: 5d}}", "'timespan' is not a key of 'new_term'"),
    (DETECTION, COUNT.replace("10m", "ten").join("{}"), "'timespan' must be a whole number with a unit"),
    (DETECTION, COUNT.replace("10m", "0m").join("{}"), "'timespan' must be a whole number with a unit"),
    (DETECTION, COUNT.replace("10m", "99y").join("{}"), "'timespan' is longer than ten years"),
    (DETECTION, COUNT.replace(", timespan: 10m", "").join("{}"), "'event_count' needs 'timespan'"),
    (DETECTION, COUNT.replace(", condition: {gte: 5}", "").join("{}"), "'event_count' needs a 'condition'"),
    (DETECTION, COUNT.replace("gte: 5", "gte: 5, eq: 9").join("{}"), "a condition needs one comparison, or a lower"),
    (DETECTION, COUNT.replace("gte: 5", "gt: 2, gte: 5").join("{}"), "a condition needs one comparison, or a lower"),
    (DETECTION, COUNT.replace("gte: 5", "gt: 2, gte: 2, lt: 5").join("{}"), "a condition needs one comparison, or a lower"),
    (DETECTION, COUNT.replace("gte: 5", "gte: 5, lt: 5").join("{}"), "no number meets both bounds"),
    (DETECTION, COUNT.replace("gte: 5", "gt: 5, lt: 6").join("{}"), "no count meets this condition"),
    (DETECTION, COUNT.replace("gte: 5", "gt: 0, lt: 1").join("{}"), "no count meets this condition"),
    (DETECTION, COUNT.replace("gte: 5", "gt: 0, lte: x").join("{}"), "'x' is not a number"),
    (DETECTION, COUNT.replace("gte: 5", "gte: many").join("{}"), "'many' is not a number"),
    (DETECTION, COUNT.replace("gte: 5", "gte: true").join("{}"), "'True' is not a number"),
    (DETECTION, COUNT.replace("gte: 5", "get: 5").join("{}"), "unknown key 'get': did you mean 'gt'?"),
    (DETECTION, COUNT.replace("gte: 5", "gte: 0").join("{}"), "every record meets this condition"),
    (DETECTION, COUNT.replace("gte: 5", "lt: 5").join("{}"), "a count below a threshold can only detect absence"),
    (DETECTION, COUNT.replace("userName", "usrName").join("{}"), "unknown field 'usrName': did you mean 'userName'?"),
    (DETECTION, COUNT.replace("[userName]", "[]").join("{}"), "'group-by' must be a list of fields"),
    (DETECTION, f"{{{COUNT}, generate: maybe}}", "'generate' must be true or false"),
    (DETECTION, f"{{{COUNT}, rules: [t]}}", "no selection of this document is named 't': selections: s"),
    (DETECTION, f"{{{COUNT}, rules: [s, s]}}", "'s' occurs twice"),
    (DETECTION, f"{{{COUNT}, rules: 5}}", "'rules' must list names or ids of rules"),
    (DETECTION, f"{{{COUNT}, expect-groups: {{userName: [a]}}}}", "'expect-groups' is only for absence"),
    (DETECTION, f"{{{ABSENCE}}}", "absence in groups needs 'expect-groups'"),
    (DETECTION, f"{{{ABSENCE}, expect-groups: {{source: [a]}}}}", "'source' is not in 'group-by'"),
    (DETECTION, f"{{{ABSENCE}, expect-groups: {{userName: {{list: prd}}}}}}", "there is no list named 'prd': did you"),
    (DETECTION, f"{{{ABSENCE}, expect-groups: {{userName: eve}}}}", "name the expected values"),
    (DETECTION, "{type: value_count, timespan: 1h, condition: {gte: 2}}", "'value_count' needs a 'field' in its condition"),
    (DETECTION, "{type: value_count, timespan: 1h, condition: {field: raw.n}}", "a condition needs one comparison, or a lower"),
    (DETECTION, "{type: value_count, timespan: 1h, condition: {field: n, gte: 2}}", "unknown field 'n'"),
    (DETECTION, "{type: value_sum, timespan: 1h, condition: {field: raw.n, gte: 2}}", "unknown type 'value_sum'"),
    (DETECTION, "{type: new_term, history: 9d}", "'new_term' needs 'fields'"),
    (DETECTION, "{type: new_term, fields: [userName]}", "'new_term' needs 'history'"),
    (DETECTION, f"{{{TERM}, baseline: t}}", "no selection of this document is named 't'"),
    (DETECTION, f"{{{TERM}, cold-start: wait}}", "unknown cold-start 'wait'"),
    (DETECTION, SPIKE.replace("factor: 3", "factor: 0").join("{}"), "a spike needs a 'factor' above 0"),
    (DETECTION, SPIKE.replace("min: 10", "min: 0").join("{}"), "'min' must be a whole number of 1 or more"),
    (DETECTION, f"{{{SPIKE}, windows: 0}}", "'windows' must be a number from 1 to 1000"),
    (TWO, f"{{{ORDER}, condition: a and c}}", "the condition names 'c', which is not among the rules"),
    (TWO, f"{{{ORDER}, condition: a}}", "the condition does not name 'b', which is one of the rules"),
    (TWO, f"{{{ORDER}, condition: a b}}", "cannot parse the condition"),
    (TWO, f"{{{ORDER}, condition: not a and not b}}", "only 'not' can meet the condition"),
    (TWO, f"{{{ORDER}, condition: a or not b}}", "only 'not' can meet the condition"),
    (TWO, f"{{{ORDER}, condition: a and b and not a}}", "the condition can never hold"),
    (TWO, f"{{{ORDER}, condition: {'(' * 16}a and b{')' * 16}}}", "the condition nests too deeply"),
    (TWO, f"{{{ORDER}, condition: {'not ' * 60}a and b}}", "the condition nests too deeply"),
    (TWO, f"{{{ORDER}, condition: {{gte: 3}}}}", "'temporal_ordered' counts how many of its rules match: 1 to 2"),
    (TWO, f"{{{ORDER}, condition: {{lt: 2}}}}", "'temporal_ordered' counts how many of its rules match: 1 to 2"),
    (TWO, f"{{{ORDER}, condition: 5}}", "'condition' must be a string or a comparison"),
    (TWO, f"{{{ORDER}, aliases: {{who: {{c: userName}}}}}}", "'c' is not among the rules"),
    (TWO, f"{{{ORDER}, aliases: {{who: {{a: usrName}}}}}}", "unknown field 'usrName'"),
    (TWO, ORDER.replace("userName", "who").join("{}").replace("}", ", aliases: {who: {a: userName}}}"),
     "the alias 'who' has no field for 'b'"),
    (DETECTION + "alert: {group_by: [source]}\n", f"{{{COUNT}}}", "'alert.group_by' of a correlation is its 'group-by'"),
    ("", f"{{{COUNT}}}", "a correlation needs 'rules' or a 'detection'"),
    ("", f"{{{COUNT}, rules: nobody}}", "no rule has the name or id 'nobody'"),
    ("", f"{{{COUNT}, rules: t}}", "'t' is a correlation"),
]  # fmt: skip


@in_one_test(("rest", "block", "beginning"), FAULTS)
def test_faults_have_a_location_and_a_remedy(rest: str, block: str, beginning: str) -> None:
    """The rule is not loaded, and the first fault shows its location and a remedy."""
    found = rules_in(HEAD + rest + f"correlation: {block}\n", Lists({"prod": ("eve",)}))
    assert found.rules == ()
    whats = [f"{fault.what}: {fault.remedy}" for fault in found.faults]
    assert any(what.startswith(beginning) for what in whats), whats
    assert all(fault.line > 0 and fault.file == "r.yml" for fault in found.faults)


PAIR = ABSENCE.replace("[userName]", "[userName, source]")
EXPECTED_FAULTS: list[tuple[str, int, str]] = [
    # One mistake, one fault, at its own line.
    (f"{ABSENCE},\n expect-groups: 5", 6, "absence in groups needs 'expect-groups'"),
    (ABSENCE, 5, "absence in groups needs 'expect-groups'"),
    (f"{ABSENCE.replace('lt: 1', 'lt: many')},\n expect-groups: {{userName: [eve]}}", 5, "'many' is not a number"),
    (f"{ABSENCE.replace('group-by: [userName], ', '')},\n expect-groups: {{userName: [a]}}", 6, "'userName' is not in"),
    (f"{PAIR},\n expect-groups: {{userName: [eve]}}", 6, "'expect-groups' does not contain 'source'"),
    (f"{ABSENCE},\n expect-groups: {{userName: []}}", 6, "name the expected values"),
    (f"{ABSENCE},\n expect-groups: {{userName: [eve, [bob]]}}", 6, "name the expected values"),
    (f"{ABSENCE},\n expect-groups: {{userName: [eve, null]}}", 6, "name the expected values"),
    (f"{ABSENCE},\n expect-groups: {{userName: [true]}}", 6, "name the expected values"),
    (f"{ABSENCE},\n expect-groups: {{userName: {{list: prod, more: 1}}}}", 6, "name the expected values"),
    (f"{ABSENCE},\n expect-groups: {{userName: {{list: [prod]}}}}", 6, "name the expected values"),
    (f"{ABSENCE},\n expect-groups: {{userName: 5}}", 6, "name the expected values"),
    (f"{ABSENCE},\n expect-groups: {{userName: {{list: torn}}}}", 6, "the list 'torn' has faults"),
    (f"{PAIR},\n expect-groups: {{userName: {{list: many}}, source: [a, b]}}", 6, "there are more than 10000 groups"),
]


@in_one_test(("block", "line", "beginning"), EXPECTED_FAULTS)
def test_mistake_in_expected_groups_is_reported_once(block: str, line: int, beginning: str) -> None:
    """A mistake in `expect-groups` is reported once, at its line."""
    lists = Lists({"prod": ("eve",), "many": tuple(map(str, range(5001)))}, frozenset({"torn"}))
    found = rules_in(HEAD + DETECTION + f"correlation: {{{block}}}\n", lists)
    assert found.rules == ()
    assert [(fault.line, fault.what.startswith(beginning)) for fault in found.faults] == [(line, True)], found.faults


def test_ten_thousand_groups_may_be_expected() -> None:
    """The limit on expected groups accepts the number that the message allows."""
    found = rules_in(
        HEAD + DETECTION + f"correlation: {{{PAIR}, expect-groups: {{userName: {{list: many}}, source: [a, b]}}}}\n",
        Lists({"many": tuple(map(str, range(5000)))}),
    )
    assert found.faults == ()


def test_an_empty_list_of_expected_groups_is_noted() -> None:
    """A rule that expects no groups, because its list is empty, loads with a note."""
    text = HEAD + DETECTION + f"correlation: {{{ABSENCE}, expect-groups: {{userName: {{list: none}}}}}}\n"
    (note,) = rules_in(text, Lists({"none": ()})).notes
    assert note.what == "the list 'none' is empty: no groups are expected"
    assert rules_in(text, Lists({"none": ("eve",)})).notes == ()


MANY_RULES = [f"r{number}" for number in range(12)]
MANY = "detection: {" + ", ".join(f"{name}: {{actionKind: BACKUP}}" for name in MANY_RULES) + "}\n"
WINDOWS = SPIKE + ", windows: "
ANY = f"type: temporal, timespan: 1h, rules: [{', '.join(MANY_RULES)}], condition: "
PAIRS = " and ".join(f"({one} or {other})" for one, other in zip(MANY_RULES[::2], MANY_RULES[1::2], strict=True))
TRIPLES = " and ".join(f"({' or '.join(MANY_RULES[place : place + 3])})" for place in range(0, 12, 3))
ROUND = "a" + " and (a and b)" * 16

LIMITS: list[tuple[str, str, str]] = [
    (DETECTION, f"{WINDOWS}1", ""),
    (DETECTION, f"{WINDOWS}1000", ""),
    (DETECTION, f"{WINDOWS}1001", "'windows' must be a number from 1 to 1000"),
    (DETECTION, f"{WINDOWS}true", "'windows' must be a number from 1 to 1000"),
    (DETECTION, f"{WINDOWS}many", "'windows' must be a number from 1 to 1000"),
    (DETECTION, f"{WINDOWS}9".replace("1h", "366d"), ""),
    (
        DETECTION,
        f"{WINDOWS}10".replace("1h", "366d"),
        "11 timespans, the spike's own included, are longer than ten years",
    ),
    (DETECTION, SPIKE.replace("1h", "5y"), "8 timespans, the spike's own included, are longer than ten years"),
    (DETECTION, SPIKE.replace("1h", "99y"), "'timespan' is longer than ten years"),
    (TWO, f"{SPIKE}, rules: [a]", ""),
    (DETECTION, SPIKE.replace("min: 10", "min: 1"), ""),
    (DETECTION, SPIKE.replace("min: 10", "min: true"), "'min' must be a whole number of 1 or more"),
    (DETECTION, SPIKE.replace("min: 10", "min: 2.5"), "'min' must be a whole number of 1 or more"),
    (DETECTION, SPIKE.replace("factor: 3", "factor: true"), "a spike needs a 'factor' above 0"),
    (DETECTION, SPIKE.replace("factor: 3, min: 10", ""), "'condition' must contain a comparison"),
    (DETECTION, COUNT.replace("gte: 5", "eq: 5"), ""),
    (DETECTION, COUNT.replace("gte: 5", "eq: -1"), "no count meets this"),
    (DETECTION, COUNT.replace("gte: 5", "eq: 2.5"), "no count meets this"),
    (DETECTION, COUNT.replace("gte: 5", "gte: 1"), ""),
    (DETECTION, COUNT.replace("gte: 5", "gt: 0"), ""),
    (DETECTION, COUNT.replace("gte: 5", "neq: 2"), "every record meets this condition"),
    (DETECTION, COUNT.replace("10m", "3660d"), ""),
    (DETECTION, COUNT.replace("10m", "3661d"), "'timespan' is longer than ten years"),
    (TWO, f"{ORDER}, condition: {{gt: 1}}", ""),
    (TWO, f"{ORDER}, aliases: {{userName: {{a: source}}}}", ""),  # `b` has the field with this name
    (TWO, f"{ORDER}, condition: {{gt: 2}}", "'temporal_ordered' counts how many of its rules match: 1 to 2"),
    (TWO, f"{ORDER}, condition: {{gte: 1.5}}", "'temporal_ordered' counts how many of its rules match: 1 to 2"),
    (TWO, f"{ORDER}, condition: ''", "the condition does not name 'a'"),
    (TWO, f"{ORDER}, condition: {'(' * 15}a and b{')' * 15}", ""),
    (TWO, f"{ORDER}, condition: {ROUND}", ""),  # sixteen, but none nested
    (TWO, f"{ORDER}, condition: {'a or ' * 399}b", ""),
    (TWO, f"{ORDER}, condition: {'a or ' * 400}b", "the condition is longer than 2000 characters"),
    (MANY, f"{ANY}{{gte: 10}}", ""),
    (MANY, f"{ANY}{{gte: 6}}", "this condition can be met in more than 300 ways"),
    (MANY, f"{ANY}{PAIRS}", ""),
    (MANY, f"{ANY}({PAIRS}) and ({TRIPLES})", "the condition can be met in more than 300 ways"),
]


@in_one_test(("rest", "block", "beginning"), LIMITS)
def test_largest_allowed_numbers_are_accepted(rest: str, block: str, beginning: str) -> None:
    """The largest allowed number is accepted, and the next one is a fault."""
    found = rules_in(HEAD + rest + f"correlation: {{{block}}}\n")
    assert [fault.what[: len(beginning)] for fault in found.faults] == ([beginning] if beginning else []), found.faults


def test_condition_with_many_repetitions_keeps_all_alternatives() -> None:
    """A condition with many repetitions is accepted and keeps all alternatives."""
    text = " and ".join(["(a or b)"] * 12)
    (rule,) = rules_in(HEAD + TWO + f"correlation: {{{ORDER}, condition: {text}}}\n").rules[:1]
    assert rule.correlation is not None
    assert set(rule.correlation.patterns) == {Pattern((0,)), Pattern((1,)), Pattern((0, 1))}


TIMED = "type: temporal, group-by: [userName], timespan: 10m"
ALERT = "alert: {group_by: [source]}\n"
EXACT_FAULTS: list[tuple[str, str, int, str, str]] = [
    # The text before the block, the block, and line, beginning and remedy of the only fault.
    (DETECTION, f"{COUNT},\n timspan: 5m", 6, "unknown key 'timspan'", "did you mean 'timespan'?"),
    (DETECTION, f"{COUNT},\n fields: [usrName]", 6, "'fields' is not a key of 'event_count'", "keys: type, rules, "),
    (DETECTION, f"{COUNT},\n rules: []", 6, "'rules' must list names or ids of rules", "for example: [rule_a"),
    (DETECTION, f"{COUNT},\n rules: [s, '']", 6, "'rules' must list names or ids of rules", "for example: [rule_a"),
    (DETECTION, f"{COUNT},\n rules: [s, 5]", 6, "'rules' must list names or ids of rules", "for example: [rule_a"),
    (DETECTION, COUNT.replace("[userName]", "[userName, 5]"), 5, "'group-by' must be a list of fields", "for example"),
    (DETECTION, COUNT.replace("[userName]", "[userName, userName]"), 5, "'userName' occurs twice", "remove one"),
    (DETECTION, f"{TERM},\n baseline: [s]", 6, "'baseline' must be a selection, or any", ""),
    (DETECTION, "type: new_term, group-by: [source], history: 9d,\n fields: [usrName]", 6, "unknown field 'usrName'",
     "did you mean 'userName'?"),
    (DETECTION, f"{TERM},\n group-by: [sourc]", 6, "unknown field 'sourc'", "did you mean"),
    (TWO, f"{TERM},\n rules: [a, b]", 6, "'new_term' takes one rule", "name one"),
    (TWO, f"{SPIKE},\n rules: [a, b]", 6, "'spike' takes one rule", "name one"),
    (TWO, f"{ORDER},\n aliases: 5", 6, "'aliases' must be a mapping", "for example"),
    (TWO, f"{ORDER},\n aliases: {{who: {{}}}}", 6, "an alias must name a field for each rule", "{rule_a: userName}"),
    (TWO, f"{ORDER},\n aliases: {{who: userName}}", 6, "an alias must name a field for each rule", "{rule_a: userN"),
    (DETECTION + "when: {during: [early]}\n", "type: event_count, timespan: 1h, condition: {lt: 1}", 5,
     "a rule about absence cannot use 'when'", "remove it"),
    ("", f"{TIMED}, rules: 5,\n condition: a and b", 4, "'rules' must list names or ids of rules", "for example"),
    # What depends on the rules is not checked without them.
    (TWO, f"{TIMED},\n rules: 5, condition: a and b", 6, "'rules' must list names or ids of rules", "for example"),
    (TWO, f"{TIMED},\n rules: [], condition: {{gte: 2}}", 6, "'rules' must list names or ids of rules", "for example"),
    (DETECTION, f"{TERM},\n rules: 5, baseline: t", 6, "'rules' must list names or ids of rules", "for example"),
    (TWO, COUNT.replace("userName", "who") + ",\n rules: 5, aliases: {who: {a: userName}}", 6,
     "'rules' must list names or ids of rules", "for example"),
    (TWO, f"{ORDER},\n condition: not a and not b", 6, "only 'not' can meet the condition", "use absence: type: event"),
    (TWO, f"{ORDER},\n condition: a b", 6, "cannot parse the condition", ""),
    (DETECTION + ALERT, COUNT, 5, "'alert.group_by' of a correlation is its 'group-by': userName", "use 'group-by' of the"),
    (DETECTION + ALERT, COUNT.replace("group-by: [userName], ", ""), 5, "'alert.group_by' of a correlation is",
     "use 'group-by' of the"),
    (DETECTION, "type: spike, timespan: 1h", 5, "'spike' needs a 'condition'", "for example: condition: {factor: 3, m"),
    (DETECTION, "type: spike, timespan: 1h,\n condition: {min: 3}", 6, "a spike needs a 'factor' above 0", "for exam"),
    (DETECTION, "type: spike, timespan: 1h,\n condition: {factor: .inf}", 6, "a spike needs a 'factor' above 0", "for"),
    (DETECTION, "type: event_count, timespan: 1h", 5, "'event_count' needs a 'condition'", "for example: condition: {gt"),
    (DETECTION, "type: event_count, timespan: 1h,\n condition: {}", 6, "'condition' must contain a comparison",
     "for example: condition: {gte: 5}"),
    (DETECTION, "type: event_count, timespan: 1h,\n condition: 5", 6, "'condition' must contain a comparison",
     "for example: condition: {gte: 5}"),
    (DETECTION, f"{SPIKE.removesuffix('}')},\n mni: 3}}", 6, "unknown key 'mni'", "did you mean 'min'?"),
    (TWO, f"{ORDER},\n condition: {{gte: 2, field: source}}", 6, "unknown key 'field'", ""),
    (TWO, f"{ORDER},\n condition: {{gte: many}}", 6, "'many' is not a number", "for example: gte: 5"),
    (DETECTION, COUNT.replace("gte: 5", "gte: .inf"), 5, "'inf' is not a number", "for example: gte: 5"),
    (DETECTION, COUNT.replace("gte: 5", "lte: 5"), 5, "a count below a threshold can only detect absence", "write: con"),
    (DETECTION, COUNT.replace("gte: 5", "gte: 5, field: raw.n"), 5, "unknown key 'field'", ""),
    (DETECTION, "type: value_count, timespan: 1h, condition: {gte: 2, field: []}", 5,
     "'field' must be a field or several", ""),
    (DETECTION, "timespan: 1h, condition: {gte: 2, field: raw.n},\n type: value_sum", 6, "unknown type 'value_sum'",
     "use 'event_count' or 'value_count': nothing else is measured"),
    (DETECTION, "type: spike, timespan: 1h, condition: {\n min: 3, factor: 0}", 6, "a spike needs a 'factor' above 0", ""),
    (DETECTION, f"{SPIKE},\n windows: 1000".replace("1h", "5y"), 6, "1001 timespans", "use a shorter 'timespan', or fewer"),
    ("", f"{COUNT}, rules: [\n nobody]", 5, "no rule has the name or id 'nobody'", ""),
    ("", f"{COUNT},\n rules: nobody", 5, "no rule has the name or id 'nobody'", ""),
    ("", f"{TIMED},\n condition: nobody", 5, "no rule has the name or id 'nobody'", ""),
    (DETECTION, f"{TERM},\n baseline: t", 6, "no selection of this document is named 't'", "selections: s"),
    ("detection: {s: {actionKind: BACKUP}, any: {actionKind: BACKUP}, condition: s}\n", f"{TERM},\n baseline: any", 6,
     "'baseline: any' means every record", "rename the selection"),
]  # fmt: skip


def rules_at(text: str, *intervals: str) -> Rules:
    """Load rules that can name these time intervals."""
    times = {name: TimeInterval(name, ()) for name in intervals}
    return build_rules(read_text(text, "r.yml"), lists=Lists(), known_kinds=KINDS, time_intervals=times)


@in_one_test(("rest", "block", "line", "what", "remedy"), EXACT_FAULTS)
def test_one_mistake_is_one_fault_at_its_line(rest: str, block: str, line: int, what: str, remedy: str) -> None:
    """A mistake is reported once, at its line, with the remedy that fits it."""
    text = HEAD + rest + f"correlation: {{{block}}}\n"
    found = rules_at(text, "early")
    assert found.rules == ()
    (fault,) = found.faults
    assert (fault.line, fault.what[: len(what)], fault.remedy[: len(remedy)]) == (line, what, remedy)


def test_every_fault_of_a_block_is_reported() -> None:
    """A fault hides no other fault of the block."""
    block = "type: event_count, aliases: {who: {}, what: {}}, timespan: ten, condition: a and b"
    assert [fault.what for fault in rules_in(HEAD + f"correlation: {{{block}}}\n").faults] == [
        "a correlation needs 'rules' or a 'detection'",
        "an alias must name a field for each rule",
        "an alias must name a field for each rule",
        "'condition' must contain a comparison",
        "'timespan' must be a whole number with a unit",
    ]


SETTINGS: list[tuple[str, dict[str, Any]]] = [
    (COUNT, {"threshold": Threshold("gte", 5), "timespan": timedelta(minutes=10), "group_by": ("userName",)}),
    (TERM, {"fields": ("userName",), "history": timedelta(days=9)}),
    (TERM + ", cold-start: alert", {"fields": ("userName",), "history": timedelta(days=9), "is_learning": False}),
    (SPIKE, {"timespan": timedelta(hours=1), "factor": 3, "minimum": 10, "windows": 7}),
    ("type: spike, timespan: 1h, condition: {factor: 0.5}, windows: 3",
     {"timespan": timedelta(hours=1), "factor": 0.5, "minimum": 1, "windows": 3}),
    ("type: value_count, timespan: 1h, condition: {field: [raw.n, raw.m], gt: 2}",
     {"timespan": timedelta(hours=1), "threshold": Threshold("gt", 2), "value_fields": ("raw.n", "raw.m")}),
    (ABSENCE + ", expect-groups: {userName: [eve, bob]}",
     {"threshold": Threshold("lt", 1), "timespan": timedelta(hours=1), "group_by": ("userName",),
      "expected": (("eve",), ("bob",))}),
]  # fmt: skip


@in_one_test(("block", "expected"), SETTINGS)
def test_settings_that_a_type_does_not_use_keep_their_defaults(block: str, expected: dict[str, Any]) -> None:
    """A correlation has the settings of its block, and the default of every other setting."""
    (rule,) = rules_in(HEAD + DETECTION + f"correlation: {{{block}}}\n").rules
    defaults = {
        each.name: each.default
        for each in dataclasses.fields(Correlation)
        if each.default is not dataclasses.MISSING and each.name not in ("realert", "parts", "version")
    }
    assert {name: getattr(rule.correlation, name) for name in defaults} == {**defaults, **expected}


@in_one_test(
    ("condition", "expected"),
    [
        ("", [Pattern((0, 1, 2))]),
        (", condition: {gte: 1}", [Pattern((0,)), Pattern((1,)), Pattern((2,))]),
        (", condition: {gt: 1}", [Pattern((0, 1)), Pattern((0, 2)), Pattern((1, 2))]),
        (", condition: {eq: 2}", [Pattern((0, 1)), Pattern((0, 2)), Pattern((1, 2))]),
        (", condition: a and (b or not c)", [Pattern((0, 1)), Pattern((0,), (2,))]),
        (", condition: b and not (a or c)", [Pattern((1,), (0, 2))]),
        (", condition: c and not (a and b)", [Pattern((2,), (0,)), Pattern((2,), (1,))]),
        (", condition: (a and not a) or (b and not c)", [Pattern((1,), (2,))]),
    ],
)
def test_condition_becomes_sets_of_rules(condition: str, expected: list[Pattern]) -> None:
    """A condition over three rules becomes the sets of rules that must and must not match."""
    three = "detection: {a: {actionKind: BACKUP}, b: {userName: eve}, c: {userName: bob}}\n"
    found = rules_in(HEAD + three + f"correlation: {{{TIMED}, rules: [a, b, c]{condition}}}\n")
    assert found.faults == ()
    (rule,) = found.rules
    assert rule.correlation is not None
    assert list(rule.correlation.patterns) == expected


def test_an_alias_names_a_field_for_each_rule() -> None:
    """A step has the field of its rule. The full name of a rule takes precedence over its last part."""
    own = "aliases: {who: {a: userName, b: description}, other: {b: source}}"
    shorthand = HEAD + TWO + f"correlation: {{{ORDER.replace('userName', 'who')}, {own}}}\n"
    both = "aliases: {who: {t.a: userName, a: source}, only: {t.a: source}}"
    other = f"{{type: temporal, timespan: 1h, rules: [t.a, a], group-by: [who], {both}}}"
    plain = HEAD.replace("title: T\nname: t", "title: A\nname: a") + DETECTION
    found = rules_in("---\n".join([shorthand, plain, f"title: O\nname: o\ncorrelation: {other}\n"]))
    assert found.faults == ()
    by_name = {rule.name.name: rule.correlation for rule in found.rules if rule.correlation is not None}
    assert [step.aliases for step in by_name["t"].steps] == [
        {"who": "userName"},
        {"who": "description", "other": "source"},
    ]
    assert [step.aliases for step in by_name["o"].steps] == [
        {"who": "userName", "only": "source"},
        {"who": "source"},
    ]


@in_one_test(
    ("changed", "is_new"),
    [
        (("timespan: 10m, condition: {gte: 5}", "condition: {gte: 5}, timespan: 10m"), False),
        (("{actionKind: BACKUP}", "{actionKind: BACKUP, description: 2026-01-01}"), True),
        (("title: T", "title: U"), False),
        (("level: low", "level: high"), False),
        (("realert: 3m", "realert: 4m"), False),
        (("BACKUP", "CREATE_CLUSTER"), True),
        (("gte: 5", "gte: 6"), True),
        (("[early]", "[late]"), True),
    ],
)
def test_version_changes_only_with_what_affects_alerts(changed: tuple[str, str], is_new: bool) -> None:
    """The version of a correlation changes with its detection, block and times, and not with its wording."""
    more = "level: low\nalert: {realert: 3m}\nwhen: {during: [early]}\n"
    text = HEAD + DETECTION + f"correlation: {{{COUNT}}}\n" + more
    versions = []
    for each in (text, text.replace(*changed)):
        loaded = rules_at(each, "early", "late")
        assert loaded.faults == ()
        (rule,) = loaded.rules
        assert rule.correlation is not None
        versions.append(rule.correlation.version.matching)
    assert text.replace(*changed) != text
    assert (versions[0] != versions[1]) is is_new


@pytest.mark.parametrize(
    ("condition", "is_absence"),
    [("lt: 1", True), ("lte: 0", True), ("eq: 0", True), ("eq: 1", False), ("gt: 0", False)],
)
def test_condition_that_no_record_meets_is_absence(condition: str, is_absence: bool) -> None:
    """Only a condition that no record meets makes a rule about absence."""
    block = f"{{type: event_count, timespan: 1h, condition: {{{condition}}}}}"
    (rule,) = rules_in(HEAD + DETECTION + f"correlation: {block}\n").rules
    assert rule.correlation is not None
    assert rule.correlation.is_absence is is_absence


def test_few_values_are_no_absence() -> None:
    """A rule that compares values with `lt: 1` is no rule about absence."""
    block = "{type: value_count, timespan: 1h, condition: {field: raw.n, lt: 1}}"
    (rule,) = rules_in(HEAD + DETECTION + f"correlation: {block}\n").rules
    assert rule.correlation is not None
    assert not rule.correlation.is_absence


def test_fault_in_a_feeding_rule_disables_the_rules_above_it() -> None:
    """A correlation loads only if the rules that feed it load; other rules load anyway."""
    text = "---\n".join(
        [
            HEAD.replace("name: t", "name: a") + DETECTION + "levle: high\n",
            "title: b\nname: b\ncorrelation: {type: event_count, rules: a, timespan: 1h, condition: {gte: 2}}\n",
            "title: c\nname: c\ncorrelation: {type: event_count, rules: b, timespan: 1h, condition: {gte: 2}}\n",
            HEAD.replace("name: t", "name: d").replace("title: T", "title: D") + DETECTION,
        ]
    )
    found = rules_in(text)
    assert [rule.name.name for rule in found.rules] == ["d"]
    assert [fault.what for fault in found.faults] == [
        "unknown key 'levle'", "no rule has the name or id 'a'", "'b' is a correlation",
    ]  # fmt: skip


def test_unknown_feeding_rule_is_reported_once_where_it_is_named() -> None:
    """A rule that does not exist is reported once, at the key that names it: `rules`, or the baseline of new terms."""
    feeder = HEAD.replace("name: t", "name: a").replace("title: T", "title: A") + DETECTION
    above = "title: b\nname: b\ncorrelation:\n  type: new_term\n  fields: [userName]\n  history: 9d\n"
    for more, line in (("  rules: nobody\n", 12), ("  rules: a\n  baseline: nobody\n", 13)):
        found = rules_in(f"{feeder}---\n{above}{more}")
        assert [rule.name.name for rule in found.rules] == ["a"]
        assert [(fault.line, fault.what) for fault in found.faults] == [(line, "no rule has the name or id 'nobody'")]


def test_own_keys_may_be_numbers_and_texts() -> None:
    """A key that is reserved for users may hold any mapping, also one that cannot be sorted."""
    text = f"{HEAD}{DETECTION}correlation: {{{COUNT}, x-owners: {{1: eve, b: bob}}}}\n"
    found = rules_in(text)
    assert found.faults == ()
    (correlation,) = (rule.correlation for rule in found.rules)
    assert correlation is not None
    assert correlation.version.matching


def test_version_changes_with_the_rules_below() -> None:
    """The version of a correlation changes with the detection of a rule that feeds it."""
    feeder = HEAD.replace("name: t", "name: a").replace("title: T", "title: A") + DETECTION
    above = "title: b\nname: b\ncorrelation: {type: event_count, rules: [a], timespan: 1h, condition: {gte: 2}}\n"
    versions = [
        [
            rule.correlation.version.matching
            for rule in rules_in(f"{each}---\n{above}").rules
            if rule.correlation is not None
        ]
        for each in (feeder, feeder.replace("BACKUP", "CREATE_CLUSTER"), feeder.replace("title: A", "title: C"))
    ]
    assert versions[0] != versions[1]
    assert versions[0] == versions[2]


def test_feeding_rules_do_not_alert_unless_configured() -> None:
    """A rule that only feeds others does not alert; a note reports it if the level is high or above."""
    feeder = HEAD.replace("name: t", "name: a") + DETECTION + "level: high\n"
    above = "title: b\nname: b\ncorrelation: {type: event_count, rules: [a], timespan: 1h, condition: {gte: 2}}\n"
    found = rules_in(f"{above}---\n{feeder}")
    assert [(rule.name.name, rule.is_silent) for rule in found.rules] == [("b", False), ("a", True)]
    assert [(note.line, note.what) for note in found.notes] == [(3, "this silences 'a' (high): it only feeds 'b'")]
    assert Engine(found.rules).evaluate([record("BACKUP")]) == []
    loud = rules_in(above.replace("condition:", "generate: true, condition:") + "---\n" + feeder)
    assert [rule.is_silent for rule in loud.rules] == [False, False]
    assert loud.notes == ()
    assert len(Engine(loud.rules).evaluate([record("BACKUP")])) == 1


def test_rules_are_found_by_name_and_id_and_selection() -> None:
    """References take a name, an id in any case, and the selection of another document's shorthand."""
    identity = "1f0c6a0e-7a0b-4d50-9f9c-0d1f6c1d2a01"
    text = "---\n".join(
        [
            HEAD.replace("name: t", "name: my-rule") + DETECTION + f"id: {identity}\n",
            HEAD.replace("title: T", "title: U") + TWO + f"correlation: {{{ORDER}}}\n",
            f"title: b\nname: b\ncorrelation: {{type: temporal, rules: [{identity.upper()}, t.a], timespan: 1h}}\n",
            "title: c\nname: c\ncorrelation: {type: temporal, timespan: 1h, condition: my-rule and not d}\n",
            HEAD.replace("name: t", "name: d").replace("title: T", "title: D") + DETECTION,
        ]
    )
    found = rules_in(text)
    assert found.faults == ()
    by_name = {rule.name.name: rule.correlation for rule in found.rules}
    assert by_name["b"] is not None
    assert by_name["c"] is not None
    assert [step.rule_id for step in by_name["b"].steps] == [identity, "t.a"]
    assert [step.rule_id for step in by_name["c"].steps] == [identity, "d"]
    assert by_name["c"].patterns == (Pattern((0,), (1,)),)


@in_one_test(
    ("block", "alert", "expected"),
    [
        (COUNT, "", 10),
        (COUNT, "alert: {realert: 3m}\n", 3),
        (COUNT, "alert: {group_by: [userName]}\n", 10),
        (SPIKE + ", windows: 2", "", 120),
        (TERM, "", 0),
        (TERM, "alert: {realert: 3m}\n", 0),
        (TERM, "alert: {group_by: [userName], realert: 3m}\n", 0),
        (ABSENCE + ", expect-groups: {userName: [eve]}", "", 0),
    ],
)
def test_default_realert_depends_on_the_type(block: str, alert: str, expected: int) -> None:
    """An alert stays open for the timespan, a spike's for all its windows, unless the rule sets another time."""
    found = rules_in(HEAD + DETECTION + f"correlation: {{{block}}}\n" + alert)
    assert (found.faults, found.notes) == ((), ())
    (rule,) = found.rules
    assert rule.correlation is not None
    assert rule.correlation.realert == timedelta(minutes=expected)


_KEYS = st.sampled_from(["gte", "lt", "field", "factor", "min", "list", "s", "userName", "a"])
_JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 9) | st.floats() | st.sampled_from(
        ["", "a", "s", "userName", "10m", "a and not b", "any", "learn", "gte", "not", "((", "t", "cluster", "🜁"]
    ),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(_KEYS, inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
_BLOCK = st.fixed_dictionaries(
    {"type": st.sampled_from(list(CorrelationType)) | _JUNK}, optional={key: _JUNK for key in ALL_KEYS if key != "type"}
)


@settings(max_examples=250)
@given(_BLOCK | _JUNK, st.booleans())
def test_any_values_give_a_fault_or_a_valid_rule(block: Any, is_shorthand: bool) -> None:
    """Any values under any keys give a fault with a location or a rule that runs, never a crash."""
    detection = {"a": {"actionKind": "BACKUP"}, "s": {"userName": "eve"}, "condition": "a"}
    head = {"title": "T", "name": "t", "logsource": {"product": "instaclustr"}, "correlation": block}
    found = rules_of({**head, "detection": detection} if is_shorthand else head)
    assert bool(found.rules) is not bool(found.faults)
    if found.rules:
        run(found.rules, [record_at(number) for number in range(3)])
