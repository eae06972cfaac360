"""Names and prefixes wherever ids are taken, filters, and decisions about several alerts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from actionwatch.queries.alerts import SEARCHED
from tests.integration.cli.conftest import Desk, call

RULE_ID = "11111111-1111-4111-8111-111111111111"


def alert_ids(desk: Desk, *arguments: str) -> list[str]:
    """Return the ids of the alerts that `alerts list` prints, newest first."""
    called = desk.call("alerts", "list", "-o", "json", *arguments)
    assert called.status == 0, called.err
    return [alert["id"] for alert in called.json]


def test_actions_resolve_the_name_of_a_cluster(desk: Desk) -> None:
    """`actions --cluster NAME` finds the actions of every cluster that had the name, deleted or not, also for counts."""
    desk.act("DELETE_CLUSTER", 9)
    desk.cluster = desk.organisation.inventory.add_cluster("payments-prod", account=desk.account)
    desk.act("CREATE_CLUSTER", 8)
    other = desk.organisation.inventory.add_cluster("other", account=desk.account)
    desk.cluster, again = other, desk.cluster
    desk.act("CREATE_CLUSTER", 7)
    without = desk.call("actions", "--cluster", "payments-prod")
    assert (without.status, without.out) == (1, "")
    assert "without a store, no name is known, and the upstream takes only the id of a cluster" in without.err
    assert desk.call("run", "--once").status == 0
    found = desk.call("actions", "--cluster", "payments-prod", "-o", "json").json
    assert sorted(action["actionKind"] for action in found) == ["CREATE_CLUSTER", "DELETE_CLUSTER"]
    assert len(desk.call("actions", "--cluster", "payments-prod", "--limit", "1", "-o", "json").json) == 1
    assert len(desk.call("actions", "--cluster", again.id, "-o", "json").json) == 1
    counts = desk.call("actions", "--cluster", "payments-prod", "--counts", "-o", "json").json
    assert counts == {"CREATE_CLUSTER": 1, "DELETE_CLUSTER": 1}
    unknown = desk.call("actions", "--cluster", "payments-prd")
    assert (unknown.status, unknown.out) == (1, "")
    assert "no stored record names the cluster payments-prd: did you mean 'payments-prod'?" in unknown.err


def test_an_account_is_unlinked_by_name(desk: Desk) -> None:
    """`accounts unlink` accepts the name of a linked account; a misspelt name changes nothing."""
    misspelt = desk.call("accounts", "unlink", "payment", "--yes")
    assert misspelt.status == 1
    assert "no linked account has the id or name payment: did you mean 'payments'?" in misspelt.err
    assert len(desk.organisation.inventory.accounts) == 1
    assert desk.call("accounts", "unlink", "payments", "--yes").out == f"{desk.account.id} is no longer linked\n"
    assert not desk.organisation.inventory.accounts


def test_alerts_are_filtered(filled: Desk) -> None:
    """Filters select by level, rule, status, user and cluster; a misspelt rule is noted."""
    both = alert_ids(filled)
    titles = {alert["id"]: alert["title"] for alert in filled.call("alerts", "list", "-o", "json").json}
    eve, mallory = sorted(both, key=titles.__getitem__)
    assert alert_ids(filled, "--level", "critical", "--level", "low") == both
    assert alert_ids(filled, "--level", "low") == []
    assert alert_ids(filled, "--status", "open", "--rule", "cluster_deleted") == both
    assert alert_ids(filled, "--status", "acked") == []
    assert alert_ids(filled, "--user", "EVE@example.com") == [eve]
    assert alert_ids(filled, "--cluster", "payments-prod", "--user", "mallory@example.com") == [mallory]
    assert alert_ids(filled, "--cluster", filled.cluster.id) == both
    unknown = filled.call("alerts", "list", "--rule", "cluster_delted")
    assert (unknown.status, unknown.out) == (0, "")
    assert "no matching alerts" in unknown.err
    assert "no rule is named cluster_delted: did you mean 'cluster_deleted'?" in unknown.err
    assert "no rule is named" not in filled.call("alerts", "list", "--rule", RULE_ID, "--level", "low").err
    assert filled.call("alerts", "list", "--level", "severe").status == 2


NEWER_ALERTS = """
WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :count)
INSERT INTO alert (
  id, rule_id, rule_name, rule_title, tags, level, title, body, labels, source, group_key, fields, realert, status, match_count,
  first_at, last_at, opened_at, happened_at, is_shadow
) SELECT 'made-' || n, 'made', 'made', 'Made', '[]', :level, 't', 'b', '{}', 'acme', 'made-' || n, '[]', 0, 'open', 1,
  n + :micros, n + :micros, n + :micros, n + :micros, false FROM numbers
"""


def test_filtered_alerts_are_searched_among_the_newest_unless_since_is_given(desk: Desk) -> None:
    """A filter looks at a bounded number of alerts, and reports how far back; without a filter or with --since, at all."""
    desk.act("DELETE_CLUSTER", 50)
    assert desk.call("run", "--once").status == 0
    search = ["alerts", "list", "--status", "open", "--user", "alice@example.com", "-o", "json"]
    assert (len(desk.call(*search).json), desk.call(*search).err) == (1, "")
    micros = int(datetime.now(UTC).timestamp() * 1_000_000)
    desk.change(NEWER_ALERTS, count=SEARCHED, micros=micros, level=1)
    found = desk.call(*search)
    assert found.json == []
    assert "note: the newest 20,000 alerts were searched, back to " in found.err
    assert "use --since to search further back" in found.err
    assert (len(desk.call(*search, "--since", "1d").json), desk.call(*search, "--since", "1d").err) == (1, "")
    assert desk.call("alerts", "list", "--rule", "made", "--limit", "3").err == ""
    assert desk.call("alerts", "list", "--limit", "3").err == ""


def test_a_search_of_open_alerts_reports_the_level_that_it_reached(desk: Desk) -> None:
    """Open alerts are searched the worst first: the note says that lower levels were not, and --since searches them."""
    desk.act("DELETE_CLUSTER", 50)
    assert desk.call("run", "--once").status == 0
    micros = int(datetime.now(UTC).timestamp() * 1_000_000)
    desk.change(NEWER_ALERTS, count=SEARCHED, micros=micros, level=4)
    desk.change("UPDATE alert SET level = 3 WHERE rule_id <> 'made'")
    search = ["alerts", "list", "--user", "alice@example.com", "-o", "json"]
    found = desk.call(*search)
    assert found.json == []
    assert (
        "only the first 20,000 open alerts were searched, the worst first: down to level critical, back to "
        in found.err
    )
    assert "use --since to search further back, and in lower levels" in found.err
    assert (len(desk.call(*search, "--since", "1d").json), desk.call(*search, "--since", "1d").err) == (1, "")


def test_several_alerts_are_decided_with_a_comment(desk: Desk) -> None:
    """`ack` and `resolve` take several ids. The comment is kept in the history, also if somebody decided before."""
    desk.act("DELETE_CLUSTER", 9, "eve")
    desk.act("DELETE_CLUSTER", 8, "bob")
    assert desk.call("run", "--once").status == 0
    one, other = alert_ids(desk)
    wrong = desk.call("alerts", "ack", one[:8], "nope", "--author", "sam")
    assert (wrong.status, wrong.out) == (1, "")
    assert alert_ids(desk, "--status", "open") == [one, other]
    acked = desk.call("alerts", "ack", one[:8], other, one, "--author", "sam", "--comment", "planned\x1b[8m, CHG-1")
    assert acked.status == 0
    assert acked.out == f"{one} is acknowledged by sam\n{other} is acknowledged by sam\n"
    assert alert_ids(desk, "--status", "acked") == [one, other]
    assert desk.call("alerts", "resolve", one, "--author", "kim", "--comment", "done").status == 0
    late = desk.call("alerts", "ack", one, other, "--author", "lee", "--comment", "me too")
    assert (late.status, late.out) == (1, f"{other} is acknowledged by sam\n")
    assert "was resolved by kim: it can no longer be acknowledged; the comment is kept" in late.err
    history = desk.call("alerts", "show", one, "-o", "json").json["history"]
    decisions = [
        (line["stage"], line["what"]) for line in history if line["stage"] in ("acknowledged", "resolved", "commented")
    ]
    assert decisions == [
        ("acknowledged", "by sam: planned\\x1b[8m, CHG-1"),
        ("resolved", "by kim: done"),
        ("commented", "by lee: me too"),
    ]
    assert "by kim: done" in desk.call("alerts", "show", one).out
    assert "by kim: done" in desk.call("explain", one).out


def test_records_around_another(filled: Desk) -> None:
    """`records list --around KEY 1h` lists what the user of a record did around it, or what happened to another subject."""
    records = {record["actionKind"]: record["key"] for record in filled.call("records", "list", "-o", "json").json}

    def around(kind: str, span: str, *arguments: str) -> list[str]:
        called = filled.call("records", "list", "--around", records[kind][:16], span, "-o", "json", *arguments)
        assert called.status == 0, called.err
        return [record["actionKind"] for record in called.json]

    assert around("LIST_KAFKA_ACLS", "15m") == ["LIST_KAFKA_ACLS", "CHANGE_CLUSTER_FIREWALL_RULES"]
    assert around("LIST_KAFKA_ACLS", "5m") == ["LIST_KAFKA_ACLS"]
    assert around("CREATE_CLUSTER", "15m", "--cluster", "payments-prod") == ["DELETE_CLUSTER", "CREATE_CLUSTER"]
    for arguments, reason in (
        (["zzz", "1h"], "no stored record has the key zzz: see 'actionwatch records list'"),
        (["0", "1h"], "several stored record keys start with 0"),
        ([records["CREATE_CLUSTER"], "soon"], "is not a duration"),
        ([records["CREATE_CLUSTER"], "1h", "--since", "1d"], "omit --since and --until"),
        ([records["CREATE_CLUSTER"], "999999d"], "must not be longer than a century"),
    ):
        wrong = filled.call("records", "list", "--around", *arguments)
        assert wrong.status in (1, 2)
        assert reason in wrong.err


def test_record_without_a_user_has_everybody_around(desk: Desk) -> None:
    """Around a record without a user, the records of all users are listed, with a note."""
    desk.act("DELETE_CLUSTER", 9, "eve")
    desk.organisation.append("CREATE_CLUSTER", at=datetime.now(UTC) - timedelta(minutes=8), user_name="")
    assert desk.call("run", "--once").status == 0
    key = desk.call("records", "list", "--kind", "CREATE_CLUSTER", "-o", "json").json[0]["key"]
    found = desk.call("records", "list", "--around", key, "1h", "-o", "json")
    assert len(found.json) == 2
    assert "this record has no user" in found.err


def test_a_short_key_names_a_record_everywhere(filled: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal shows a short key, and a note names the columns that do not fit; commands accept the key."""
    monkeypatch.setenv("COLUMNS", "80")
    shown = filled.call("records", "list", "--kind", "CREATE_CLUSTER", is_terminal=True)
    (key,) = [word for word in shown.out.split() if word.startswith("000")]
    assert len(key) == 16
    assert "note: no room for account, cluster: widen the terminal, or use -o json\n" in shown.err
    assert filled.call("explain", key).status == 0
    assert filled.call("rules", "explain", key, "cluster_deleted").status == 0
    monkeypatch.setenv("COLUMNS", "300")
    assert filled.call("records", "list", is_terminal=True).err == ""
    assert filled.call("records", "list").err == ""


@pytest.mark.parametrize("arguments", [["alerts", "show"], ["explain"], ["alerts", "list", "--user"]], ids=" ".join)
def test_an_argument_that_is_not_utf_8_is_refused(filled: Desk, arguments: list[str]) -> None:
    """A byte that is not UTF-8 is a usage error on one line, not a traceback."""
    wrong = call("-c", str(filled.config), *arguments, "\udcff")
    assert (wrong.status, wrong.out) == (2, "")
    assert wrong.err.startswith("actionwatch: an argument is not UTF-8: ")
    assert len(wrong.err.splitlines()) == 1
