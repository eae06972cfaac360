"""The explanation of a correlation: the groups that count a record, the hits before it, and the resulting alert."""

from __future__ import annotations

from collections.abc import Sequence

from actionwatch.base.model import Record
from actionwatch.rules.correlations.context import StreamBounds
from actionwatch.rules.correlations.correlator import Correlator
from actionwatch.rules.correlations.memory_rows import MemoryRows
from actionwatch.rules.correlations.sources import VerifiedTime
from actionwatch.rules.correlations.view import View, views_of
from actionwatch.rules.explain import counted, explain
from actionwatch.rules.model import Rule
from tests.cases import in_one_test
from tests.unit.rules.correlation.kit import HEAD, START, loaded, record_at, run

BACKUP = "detection: {s: {actionKind: BACKUP}, condition: s}\n"
BURST = BACKUP + "correlation: {type: event_count, group-by: [userName], timespan: 10m, condition: {gte: 3}}\n"
STEPS = (
    "detection: {a: {actionKind: BACKUP}, b: {actionKind: CREATE_CLUSTER}}\n"
    "correlation: {type: temporal_ordered, rules: [a, b], group-by: [userName], timespan: 10m%s}\n"
)
NEW = BACKUP + "correlation: {type: new_term, fields: [userName], history: 30m}\n"
MISSING = BACKUP + "correlation: {type: event_count, timespan: 10m, condition: {lt: 1}}\n"
OTHERS = (
    "title: A\nname: a\nlogsource: {product: instaclustr}\n" + BACKUP + "---\ntitle: T\nname: t\n"
    "correlation: {type: value_count, rules: [a], timespan: 1h, condition: {field: clusterId, gte: 2}}\n"
)
A, B = "BACKUP", "CREATE_CLUSTER"


def views_after(rule: Rule, rules: Sequence[Rule], earlier: Sequence[Record], record: Record) -> list[View]:
    """Return the groups that count a record, after the records before it."""
    assert rule.correlation is not None
    bounds = StreamBounds(begin=lambda *_: START)
    correlator = Correlator([rule, *(each for each in rules if each.correlation is None)], bounds)
    rows = MemoryRows(correlator.rules)
    for number, spans in correlator.begin().items():
        correlator.take_again(rows, number, spans, VerifiedTime(None))
    correlator.take_hits(rows, correlator.hits(earlier), VerifiedTime(record.occurred_at))
    return views_of(rule.correlation, rules, rows, record, bounds)


def line_about(text: str, earlier: Sequence[Record], record: Record) -> str:
    """Return the line about the only group that counts a record."""
    rules = loaded(text if text.startswith("title") else HEAD + text)
    (rule,) = [each for each in rules if each.name.name == "t"]
    assert rule.correlation is not None
    (line,) = counted(rule.correlation, views_after(rule, rules, earlier, record))
    group = ("eve",) if rule.correlation.group_fields else ()
    return line.replace(rule.correlation.alert_id(group, "000.00"), "ID")


def on(*minutes: float, kind: str = A) -> list[Record]:
    """Make records whose keys are their minutes."""
    return [record_at(minute, kind, key=f"{minute:06.2f}") for minute in minutes]


@in_one_test(
    ("text", "earlier", "record", "expected"),
    [
        (BURST, on(0, 1), on(2), "2 records before it, 3 records with it; opens the alert ID"),
        (BURST, on(0), on(2), "1 record before it, 2 records with it; no alert"),
        (BURST, on(0, 1, 2), on(3), "3 records before it, 4 records with it; joins the alert ID, open since {2}"),
        (BURST, on(0, 1, 2), on(13), "0 records before it, 1 record with it; no alert"),
        (STEPS % "", on(0), on(2, kind=B), "1 of 2 steps: a before it, 2 of 2 steps: a, b with it; opens the alert ID"),
        (
            STEPS % ", condition: a and not b",
            [],
            on(0),
            "0 of 2 steps before it, 1 of 2 steps: a with it; opens the alert ID unless a record follows by {10}",
        ),
        (NEW, [], on(0), "0 records before it, 1 record with it; no alert: the rule was still learning"),
    ],
)
def test_line_shows_counts_and_the_alert(text: str, earlier: list[Record], record: list[Record], expected: str) -> None:
    """The line shows the count before and with the record, and the alert: opened, joined, pending, or why there is none."""
    for minute in (2, 10):
        expected = expected.replace(f"{{{minute}}}", f"2026-03-04T12:{minute:02}:00.000Z")
    assert line_about(text, earlier, record[0]) == f"group userName=eve: {expected}"


SPIKE = (
    BACKUP
    + "correlation: {type: spike, group-by: [userName], timespan: 5m, windows: 3, condition: {factor: 2, min: 3}}\n"
)


@in_one_test(
    ("text", "earlier", "record", "expected"),
    [
        (BURST, on(0, 1, 2), on(12), "3 records before it, 4 records with it"),  # the alert is open up to that instant
        (
            BURST,
            on(0, 1, 2),
            on(12.1),
            "0 records before it, 1 record with it",
        ),  # what an alert used counts for no other
        (BURST, on(0), on(10), "1 record before it, 2 records with it"),
        (BURST, on(0), on(10.1), "0 records before it, 1 record with it"),
        (BURST, on(0, 1, 2, 12.1), on(12.2), "1 record before it, 2 records with it"),
        (BURST + "alert: {realert: 1m}\n", on(0, 1, 2), on(5), "0 records before it, 1 record with it"),
        (SPIKE + "alert: {realert: 1m}\n", on(35, 36, 37), on(39), "3 records before it, 4 records with it"),
        (SPIKE, on(35, 36, 37), on(37.5), "3 records before it, 4 records with it"),
        (NEW, on(31, 40), on(69), "1 record before it, 2 records with it"),
    ],
)
def test_line_counts_what_a_window_holds(text: str, earlier: list[Record], record: list[Record], expected: str) -> None:
    """A window holds the records of an open alert, or else those within the timespan that no alert has used."""
    assert line_about(text, earlier, record[0]).startswith(f"group userName=eve: {expected}; ")


def test_a_window_of_values_shows_how_many_are_distinct() -> None:
    """The number of distinct values is shown with the number of records."""
    text = BACKUP + "correlation: {type: value_count, timespan: 1h, condition: {field: clusterId, gte: 5}}\n"
    (rule,) = rules = loaded(HEAD + text)
    records = [record_at(minute, cluster=cluster) for minute, cluster in ((0, "x"), (1, "y"), (2, "x"))]
    views = views_after(rule, rules, records[:2], records[2])
    assert "      - with it: value_count 2 of 3 records" in list(explain(rule, records[2], views=views).lines())
    first = list(explain(rule, records[0], views=views_after(rule, rules, [], records[0])).lines())
    assert any(line.endswith("before it: value_count 0 of 0 records") for line in first)
    assert views_after(rule, rules, [], record_at(3, B)) == []


def test_line_shows_the_end_of_an_absence() -> None:
    """The missing record ends the alert, and the line shows when it was due."""
    line = line_about(MISSING, on(0), on(30)[0])
    ended = "resolves the alert ID, due at 2026-03-04T12:10:00.000Z"
    assert line == f"all records: 0 records before it, 1 record with it; {ended}"
    assert line_about(MISSING, on(0, 30), on(35)[0]) == "all records: 1 record before it, 2 records with it; no alert"


def test_a_correlation_of_other_rules() -> None:
    """The explanation contains the rules that feed the correlation, and the measured value."""
    rules = loaded(OTHERS)
    rule = rules[-1]
    earlier = [record_at(0, cluster="c-1")]
    record = record_at(1, cluster="c-2")
    views = views_after(rule, rules, earlier, record)
    lines = list(explain(rule, record, feeders=rules[:1], views=views).lines())
    assert lines[0] == "+ t: T"
    assert lines[1] == "  + a: A"
    assert "  + correlation: value_count: gte 2 within 1h" in lines
    assert "      + with it: value_count 2 of 2 records" in lines
    (alert,) = run(rules, [*earlier, record])
    assert lines[-1] == f"      + opens the alert {alert.id}"


def test_record_that_is_not_counted() -> None:
    """The explanation reports a record that the rule does not count; without what it counted it claims nothing."""
    rules = loaded(HEAD + BURST)
    record = record_at(0, B)
    views = views_after(rules[0], rules, [], record)
    text = "correlation: event_count: gte 3 within 10m"
    assert f"  - {text}   <- this record counts in no group" in explain(rules[0], record, views=views).lines()
    assert (
        f"  ? {text}   <- not known: what it counted is not stored; see rules backtest"
        in explain(rules[0], record).lines()
    )
