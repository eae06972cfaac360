"""Queries: the parameters that are sent, and the local filters."""

from datetime import UTC, datetime, timedelta
from typing import Any

from actionwatch.base.model import Entity, Record
from actionwatch.instaclustr.query import Query
from tests.cases import in_one_test

AT = datetime(2026, 1, 1, 12, tzinfo=UTC)


def record(**changes: Any) -> Record:
    plain: dict[str, Any] = {
        "key": "k", "source": "acme", "occurred_at": AT, "seen_at": AT, "action_kind": "CREATE_CLUSTER", "raw": "{}",
        "user_name": "Eve@x.org", "description": "Created the Ledger cluster", "account": Entity("acc-1", "Payments"),
        "cluster": Entity("c-1", "ledger"), "operation": "CREATE", "scope": "account",
    }  # fmt: skip
    return Record(**{**plain, **changes})


def sent(query: Query) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in query.parameters():
        found.setdefault(name, []).append(value)
    found.pop("getActionCounts")
    return found


@in_one_test(
    ("query", "parameters"),
    [
        (Query(), {}),
        (Query(start=AT, end=AT), {"startTime": ["1767268800000"], "endTime": ["1767268800000"]}),
        (
            Query(start=AT + timedelta(microseconds=1), end=AT + timedelta(microseconds=1)),
            {"startTime": ["1767268800000"], "endTime": ["1767268800001"]},
        ),
        (Query(kinds=("CREATE_CLUSTER", "delete cluster")), {"actionKinds": ["CREATE_CLUSTER", "DELETE_CLUSTER"]}),
        (Query(kinds=("CREATE_CLUSTER", "LOGIN")), {}),
        (Query(keyword="a b", account="Pay", cluster_id="c", user_name="eve"),
         {"descriptionKeyword": ["a b"], "account": ["Pay"], "clusterId": ["c"], "userName": ["eve"]}),
        (Query(operations=("delete",)),
         {"crudOperations": ["ACCOUNT_LEVEL_USER_ACTIONS_DELETE", "ORG_LEVEL_USER_ACTIONS_DELETE"]}),
        (Query(operations=("READ",)), {"crudOperations": ["ACCOUNT_LEVEL_USER_ACTIONS_READ"]}),
        (Query(operations=("READ",), scope="organisation"), {}),
        (Query(operations=("CREATE",), scope="organisation"), {"crudOperations": ["ORG_LEVEL_USER_ACTIONS_CREATE"]}),
        (Query(scope="organisation"), {"organisationLogsOnly": ["true"]}),
        (Query(scope="account"), {"accountLogsOnly": ["true"]}),
    ],
)  # fmt: skip
def test_filters_become_parameters(query: Query, parameters: dict[str, list[str]]) -> None:
    """Only documented values are sent, lists repeat their name, and times are milliseconds, rounded outwards."""
    assert sent(query) == parameters


def test_counts_are_requested_or_declined() -> None:
    """The query always contains the parameter, because the upstream's default of true causes needless work."""
    assert ("getActionCounts", "false") in Query().parameters()
    assert ("getActionCounts", "true") in Query(with_counts=True).parameters()


@in_one_test(
    ("query", "matches"),
    [
        (Query(), True),
        (Query(start=AT, end=AT), True),
        (Query(start=AT + timedelta(seconds=1)), False),
        (Query(end=AT - timedelta(seconds=1)), False),
        (Query(kinds=("create cluster",)), True),
        (Query(kinds=("DELETE_CLUSTER",)), False),
        (Query(keyword="LEDGER"), True),
        (Query(keyword="topic"), False),
        (Query(account="ACC-1"), True),
        (Query(account="payments"), True),
        (Query(account="other"), False),
        (Query(account=""), False),
        (Query(cluster_id="C-1"), True),
        (Query(cluster_id="ledger"), False),
        (Query(operations=("create",)), True),
        (Query(operations=("READ",)), False),
        (Query(scope="account"), True),
        (Query(scope="organisation"), False),
        (Query(user_name="eve@X.org"), True),
        (Query(user_name="eve"), False),
        (Query(kinds=("CREATE_CLUSTER",), user_name="bob"), False),
    ],
)
def test_responses_are_filtered_locally(query: Query, matches: bool) -> None:
    """An upstream that ignores a misspelt filter does not cause a wrong result."""
    assert query.matches(record()) is matches


def test_record_that_cannot_be_filtered_is_kept() -> None:
    """A record without a readable time, or with only the name of a cluster, is left to the upstream's filter."""
    assert Query(start=AT, end=AT).matches(record(is_time_readable=False, occurred_at=AT + timedelta(days=1)))
    assert Query(cluster_id="c-9").matches(record(cluster=Entity(None, "ledger")))
    assert not Query(cluster_id="c-9").matches(record(cluster=Entity()))


def test_account_is_found_by_id_or_name() -> None:
    """An id finds records that have only the name, and the reverse."""
    accounts = {"acc-1": "Payments"}
    assert Query(account="acc-1").matches(record(account=Entity(None, "Payments")), accounts)
    assert Query(account="payments").matches(record(account=Entity("acc-1")), accounts)
    assert not Query(account="acc-2").matches(record(), accounts)
