"""What people read of a correlation's alert: title, body, group and level, also where no record ever came."""

from __future__ import annotations

import unicodedata

from actionwatch.base.model import Level
from tests.cases import in_one_test
from tests.unit.rules.correlation.kit import HEAD, MINUTE, loaded, record_at, run

BACKUP = "detection: {s: {actionKind: BACKUP}, condition: s}\n"
COUNT = "correlation: {type: event_count, group-by: [%s], timespan: 10m, condition: {gte: %s}}\n"
MISSING = "correlation: {type: event_count, group-by: [%s], timespan: 10m, condition: {lt: 1}, expect-groups: {%s}}\n"
TITLE = "alert: {title: '{{ FIELD }} by {{ userName }}'}\n"
T = "2026-03-04T12:%s:00.000Z"


@in_one_test(
    ("field", "shown"),
    [
        ("source", "source"),
        ("userName", "userName"),
        ("domainType", "domainType"),
        ("crudOperation", "crudOperation"),
        ("scope", "scope"),
        ("description", "description"),
        ("actionKind", "actionKind"),
        ("clusterId", "cluster.id"),
        ("cluster.name", "cluster.name"),
        ("cluster", "cluster.name"),
        ("account.id", "account.id"),
        ("account.name", "account.name"),
        ("organisation.id", "organisation.id"),
        ("organisation.name", "organisation.name"),
    ],
)
def test_an_alert_without_any_record_shows_its_group(field: str, shown: str) -> None:
    """An absence that was never ended by a record has the values of its group, and nothing else."""
    text = HEAD + BACKUP + MISSING % (field, f"{field}: [x]") + TITLE.replace("FIELD", shown)
    (alert,) = run(loaded(text), [], begin=0, verified=15, until=15)
    assert alert.title == f"x by {'x' if field == 'userName' else 'unknown'}"
    assert alert.group == {field: "x"}
    assert alert.body == f"Nothing for {field} x so far: expected within 10m, due at {T % 10}."


def test_the_body_of_an_absence_says_since_when() -> None:
    """The newest record before the absence shows its time, and its values fill the title."""
    text = HEAD + BACKUP + MISSING % ("userName", "userName: [eve]") + "alert: {title: '{{ cluster.name }}'}\n"
    records = [record_at(2, cluster="c-1", cluster_name="orders"), record_at(5, "CREATE_CLUSTER")]
    (alert,) = run(loaded(text), records, begin=0, verified=15, until=15)
    assert (alert.title, alert.count) == ("orders", 0)
    assert alert.body == f"Nothing for userName eve since {T % '02'}: expected within 10m, due at {T % 12}."


def test_an_alert_is_repeated_after_the_timespan_of_its_rule() -> None:
    """Without `realert`, the timespan counts; the title can show the count."""
    text = HEAD + BACKUP + COUNT % ("userName", 2) + "alert: {title: '{{ count }} of {{ group.userName }}'}\n"
    (alert,) = run(loaded(text), [record_at(1), record_at(2)])
    assert (alert.title, alert.realert) == ("2 of eve", 10 * MINUTE)


def test_the_body_counts_the_records_and_shows_the_newest() -> None:
    """Several records are counted; a single one is described alone. A value that is absent is unknown."""
    records = [record_at(1, cluster="c-1", description="first"), record_at(3, cluster="c-1", description="second")]
    (alert,) = run(loaded(HEAD + BACKUP + COUNT % ("clusterId, account.id", 2)), records)
    newest = "eve backed up cluster c-1 (BACKUP): second"
    head = f"2 records for clusterId c-1, account.id unknown from {T % '01'} to {T % '03'}. The newest: "
    assert alert.body == head + newest
    (alert,) = run(loaded(HEAD + BACKUP + COUNT % ("userName", 1)), records[1:])
    assert alert.body == newest


def test_a_group_is_shown_as_its_newest_record_writes_it() -> None:
    """Names are compared in one form, and shown in the form of the newest record."""
    composed, decomposed = (unicodedata.normalize(form, "Ünal") for form in ("NFC", "NFD"))
    for first, second in ((composed, decomposed), (decomposed, composed)):
        records = [record_at(1, user=first, key="a"), record_at(2, user=second, key="b")]
        (alert,) = run(loaded(HEAD + BACKUP + COUNT % ("userName", 2)), records)
        assert alert.group == {"userName": second}


def test_an_alias_is_shown_as_its_newest_record_writes_it() -> None:
    """A field that only an alias names is shown like any other."""
    user = unicodedata.normalize("NFD", "Ünal")
    text = (
        f"title: A\nname: a\nlogsource: {{product: instaclustr}}\n{BACKUP}---\ntitle: T\nname: t\n"
        "correlation: {type: event_count, rules: [a], group-by: [who], timespan: 10m, condition: {gte: 1},"
        " aliases: {who: {a: userName}}}\n"
    )
    (alert,) = run(loaded(text), [record_at(1, user=user)])
    assert alert.group == {"who": user}


@in_one_test(
    ("levels", "expected"),
    [
        ("", Level.MEDIUM),
        ("level: high", Level.HIGH),
        ("level: low", Level.LOW),
        ("level: {critical: {cluster.id: prod}}", Level.CRITICAL),
        ("level: {low: {cluster.id: nothing}}", Level.MEDIUM),
    ],
)
@in_one_test("place", [0, 2])
def test_the_level_is_the_highest_of_all_records(levels: str, expected: Level, place: int) -> None:
    """Any record can raise the level: one that opened the alert, or one that joined it."""
    text = HEAD + "level: medium\n" + BACKUP + COUNT % ("userName", 2) + f"alert: {{realert: 7m, {levels}}}\n"
    records = [record_at(n, cluster="prod" if n == place else "test") for n in range(4)]
    (alert,) = run(loaded(text), records)
    assert (alert.level, alert.count, alert.realert) == (expected, 4, 7 * MINUTE)


def test_an_absence_may_have_levels_by_value_and_no_group() -> None:
    """Without any record, the values of the group decide the level, and without a group the text names none."""
    levels = "alert: {level: {critical: {userName: eve}}}\n"
    text = HEAD + "level: medium\n" + BACKUP + MISSING % ("userName", "userName: [eve, bob]") + levels
    alerts = run(loaded(text), [], begin=0, verified=15, until=15)
    assert {alert.group["userName"]: alert.level for alert in alerts if alert.group} == {
        "eve": Level.CRITICAL,
        "bob": Level.MEDIUM,
    }
    alone = BACKUP + "correlation: {type: event_count, timespan: 10m, condition: {lt: 1}}\n"
    (alert,) = run(loaded(HEAD + alone), [], begin=0, verified=15, until=15)
    assert alert.body == f"Nothing so far: expected within 10m, due at {T % 10}."


def test_the_id_of_a_cluster_is_no_other_id() -> None:
    """A group by `clusterId` fills the id of the cluster alone."""
    title = "alert: {title: '{{ account.id }} {{ organisation.id }} {{ cluster.id }} [{{ source }}]'}\n"
    text = HEAD + BACKUP + MISSING % ("clusterId", "clusterId: [x]") + title
    (alert,) = run(loaded(text), [], begin=0, verified=15, until=15)
    assert alert.title == "unknown unknown x []"


def test_an_expected_name_is_shown_as_its_newest_record_writes_it() -> None:
    """Of the id and the name of a cluster, the one that is expected is shown."""
    composed, decomposed = (unicodedata.normalize(form, "Ünal") for form in ("NFC", "NFD"))
    text = HEAD + BACKUP + MISSING % ("cluster", f"cluster: [{composed}]")
    records = [record_at(1, cluster="ç-1", cluster_name=decomposed)]
    (alert,) = run(loaded(text), records, begin=0, verified=12, until=12)
    assert alert.group == {"cluster": decomposed}
