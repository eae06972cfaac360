"""Every variant of the response, each once, as it is sent: queries, records, envelopes."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from actionwatch.emulator.faults.fault import parse_fault
from tests import http_client
from tests.cases import in_one_test
from tests.emulated import OF_RESPONSES, every_variant
from tests.emulator.conftest import World, serve_world
from tests.emulator.test_user_actions import NOON_MS

Envelope = dict[str, Any]
Records = list[dict[str, Any]]
MINUTE = 60_000


@pytest.fixture(scope="module")
def logged() -> Iterator[World]:
    """Serve four actions, one minute apart, and in the last minute three with the same time.

    Newest first these are: three BACKUP without an account (minute 3), LINK_ACCOUNT (2), DELETE_CLUSTER by eve (1), RESTORE
    of the account (0.25).

    """
    with serve_world() as world:
        world.log("RESTORE", 0.25, account=world.account, description="r")
        world.log("DELETE_CLUSTER", 1, user_name="eve", account=world.account, cluster=world.cluster)
        world.log("LINK_ACCOUNT", 2)
        for number in range(3):
            world.log("BACKUP", 3, description=f"tie {number}")
        yield world


@pytest.fixture
def request_page(logged: World) -> Iterator[Callable[..., Any]]:
    """Request a page with these faults, and end them."""

    def requested(*faults: str, query: str = "") -> Any:
        logged.faults.set(*faults)
        answer = logged.client.get(f"/user-actions?{query}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    yield requested
    logged.faults.clear()


KINDS = ["BACKUP", "BACKUP", "BACKUP", "LINK_ACCOUNT", "DELETE_CLUSTER", "RESTORE"]
TIES = ["tie 2", "tie 1", "tie 0"]
COUNTS = {"BACKUP": 3, "DELETE_CLUSTER": 1, "LINK_ACCOUNT": 1, "RESTORE": 1}

QUERIES: dict[str, tuple[str, list[str]]] = {
    "bounds:inclusive": (f"startTime={NOON_MS + MINUTE}&endTime={NOON_MS + 2 * MINUTE}", KINDS[3:5]),
    "bounds:exclusive_start": (f"startTime={NOON_MS + MINUTE}&endTime={NOON_MS + 2 * MINUTE}", KINDS[3:4]),
    "bounds:exclusive_end": (f"startTime={NOON_MS + MINUTE}&endTime={NOON_MS + 2 * MINUTE}", KINDS[4:5]),
    "bounds:exclusive": (f"startTime={NOON_MS + MINUTE}&endTime={NOON_MS + 2 * MINUTE}", []),
    "bounds_truncated": (f"startTime={NOON_MS + MINUTE + 999}&endTime={NOON_MS + MINUTE + 999}", KINDS[4:5]),
    "bounds_truncated:1m": (f"endTime={NOON_MS + MINUTE - 1}", []),
    "times_ignored:both": (f"startTime={NOON_MS + MINUTE}&endTime={NOON_MS + 2 * MINUTE}", KINDS),
    "times_ignored:start": (f"startTime={NOON_MS + MINUTE}&endTime={NOON_MS + 2 * MINUTE}", KINDS[3:]),
    "times_ignored:end": (f"startTime={NOON_MS + MINUTE}&endTime={NOON_MS + 2 * MINUTE}", KINDS[:5]),
    "filter_ignored:all": ("actionKinds=RESTORE&userName=x&descriptionKeyword=x", KINDS),
    "filter_ignored:actionKinds": ("actionKinds=RESTORE&userName=eve", KINDS[4:5]),
    "filter_ignored:crudOperations": ("crudOperations=ORG_LEVEL_USER_ACTIONS_CREATE&userName=eve", KINDS[4:5]),
    "filter_ignored:account": ("account=none&userName=eve", KINDS[4:5]),
    "filter_ignored:clusterId": ("clusterId=none&userName=eve", KINDS[4:5]),
    "filter_ignored:userName": ("userName=none&descriptionKeyword=r", KINDS[5:]),
    "filter_ignored:descriptionKeyword": ("descriptionKeyword=none&userName=eve", KINDS[4:5]),
    "filter_ignored:organisationLogsOnly": ("organisationLogsOnly=true&userName=eve", KINDS[4:5]),
    "filter_ignored:accountLogsOnly": ("accountLogsOnly=true&actionKinds=LINK_ACCOUNT", KINDS[3:4]),
    "page_clamped": ("pageSize=1000", KINDS),
    "page_clamped:2": ("pageSize=1000", KINDS[:2]),
    "page_size_ignored": ("pageSize=1", KINDS),
    "index_ignored": ("recordIndex=4", KINDS),
    "index_of_pages": ("recordIndex=1&pageSize=2", KINDS[2:4]),
    "order:descending": ("", KINDS),
    "order:ascending": ("", KINDS[::-1]),
}


@in_one_test("fault", QUERIES)
def test_query_is_changed_by_the_fault(request_page: Callable[..., Any], fault: str) -> None:
    """The page is that of the query as the fault changes it."""
    query, expected = QUERIES[fault]
    (envelope,) = request_page(fault, query=query)
    assert [record["action"] for record in envelope["resources"]] == expected


@pytest.mark.parametrize(("seconds", "expected"), [(119, KINDS[5:]), (120, KINDS[4:]), (121, KINDS[4:])])
def test_bounds_are_excluded_after_they_are_rounded(
    request_page: Callable[..., Any], seconds: int, expected: list[str]
) -> None:
    """A record at the whole minute to which an end is rounded is not shown, also if the end was later."""
    query = f"startTime={NOON_MS}&endTime={NOON_MS + 1000 * seconds}"
    (envelope,) = request_page("bounds_truncated:1m", "bounds:exclusive", query=query)
    assert [record["action"] for record in envelope["resources"]] == expected


def test_counts_are_sent_although_declined(request_page: Callable[..., Any]) -> None:
    """`getActionCounts=false` has no effect."""
    assert request_page("counts_always", query="getActionCounts=false")[0]["actionCounts"] == COUNTS


def test_order_shuffled_is_the_same_for_all_pages(request_page: Callable[..., Any]) -> None:
    """A stable order makes pages consistent; another seed gives another order."""
    whole = _descriptions(request_page("order:shuffled"))
    parts = [
        one
        for at in range(6)
        for one in _descriptions(request_page("order:shuffled", query=f"pageSize=1&recordIndex={at}"))
    ]
    assert parts == whole
    assert len({tuple(_descriptions(request_page(f"order:shuffled,seed={seed}"))) for seed in range(5)}) > 1


@pytest.mark.parametrize(("fault", "tail"), [("order:reshuffled", None), ("order:ties", ["", "", "r"])])
def test_order_that_changes_with_each_request(logged: World, fault: str, tail: list[str] | None) -> None:
    """The same query has another order each time, of everything or only among equal times. A second run repeats the orders."""
    runs = []
    for _ in range(2):
        logged.faults.set(fault)
        runs.append([_descriptions(logged.client.get("/user-actions").json()) for _ in range(8)])
    logged.faults.clear()
    assert runs[0] == runs[1]
    assert len({tuple(order[:3]) for order in runs[0]}) > 1
    assert all(sorted(order) == sorted([*TIES, "", "", "r"]) for order in runs[0])
    if tail is not None:
        assert all(order[3:] == tail for order in runs[0])


# Records: newest first, LINK_ACCOUNT is number 3 and DELETE_CLUSTER number 4.

NAMES = {
    "action_name": ("action", "DELETE_CLUSTER"),
    "domain_name": ("domainType", "CLUSTER"),
    "time_name": ("timestamp", "2026-11-25T12:01:00.000Z"),
    "user_name": ("userName", "eve"),
    "description_name": ("description", ""),
}


@in_one_test("fault", [one for one in every_variant() if one.partition(":")[0] in NAMES])
def test_field_has_another_name(request_page: Callable[..., Any], fault: str) -> None:
    """The value has the new name, in an object if the name has a dot, and not the old name."""
    kind, _, name = fault.partition(":")
    field, value = NAMES[kind]
    record = _record(request_page(fault))
    outer, _, inner = name.partition(".")
    assert len(record) == (10 if name == "absent" else 11)
    assert (field in record) == (outer == field)
    if name != "absent":
        assert record[outer] == ({inner: value} if inner else value)


TIMES: dict[str, object] = {
    "s": 1795608060,
    "ms": 1795608060000,
    "us": 1795608060000000,
    "ns": 1795608060000000000,
    "s_text": "1795608060",
    "ms_text": "1795608060000",
    "us_text": "1795608060000000",
    "ns_text": "1795608060000000000",
    "iso_0": "2026-11-25T12:01:00Z",
    **{f"iso_{digits}": f"2026-11-25T12:01:00.{'0' * digits}Z" for digits in range(1, 10)},
    "iso_sydney": "2026-11-25T22:01:00.000+10:00",
    "iso_basic_sydney": "2026-11-25T22:01:00.000+1000",
    "iso_basic_utc": "2026-11-25T12:01:00.000+0000",
    "iso_no_zone": "2026-11-25T12:01:00.000",
    "iso_blank": "2026-11-25 12:01:00.000Z",
    "unreadable": "last Tuesday",
    "empty": "",
    "null": None,
}


@in_one_test("form", TIMES)
def test_time_has_another_format(request_page: Callable[..., Any], form: str) -> None:
    """The same time in another format, up to the digits below a millisecond, which the log lacks."""
    found, expected = _record(request_page(f"time_form:{form}"))["timestamp"], TIMES[form]
    below_ms = {
        "us": 3,
        "us_text": 3,
        "ns": 6,
        "ns_text": 6,
        **{f"iso_{digits}": digits - 3 for digits in range(4, 10)},
    }
    digits = below_ms.get(form, 0)
    assert type(found) is type(expected)
    assert _cut(found, digits) == _cut(expected, digits)


def _cut(value: object, digits: int) -> str:
    return re.sub(rf"\d{{{digits}}}(Z?)$", r"\1", str(value))


def test_equal_times_have_equal_digits_below_a_millisecond(request_page: Callable[..., Any]) -> None:
    """Equal times stay equal, and the digits are not zero for every record."""
    times = [record["timestamp"] for record in request_page("time_form:iso_9")[0]["resources"]]
    assert len(set(times[:3])) == 1
    assert all(len(time) == len("2026-11-25T12:03:00.123456789Z") for time in times)


ACCOUNT = {"id_only": "accountId", "name_only": "accountName", "string_id": "account", "string_name": "account"}


@in_one_test("what", ["account", "cluster"])
@in_one_test("form", ["id_only", "name_only", "string_id", "string_name", "object", "domain", "absent"])
def test_account_and_cluster_have_another_format(
    request_page: Callable[..., Any], logged: World, what: str, form: str
) -> None:
    """Exactly the fields of that format exist; `domain` only if the record is about that object."""
    named = logged.account if what == "account" else logged.cluster
    record = _record(request_page(f"{what}:{form}"), number=5 if (what, form) == ("account", "domain") else 4)
    found = {key: value for key, value in record.items() if key.startswith((what, "domainI", "domainN"))}
    assert (
        found
        == {
            "id_only": {f"{what}Id": named.id},
            "name_only": {f"{what}Name": named.name},
            "string_id": {what: named.id},
            "string_name": {what: named.name},
            "object": {what: {"id": named.id, "name": named.name}},
            "domain": {"domainId": named.id, "domainName": named.name},
            "absent": {},
        }[form]
    )
    other = _record(request_page(f"{what}:{form}"), number=3)
    assert (f"{what}Id" in other) == (form in ("id_only", "domain"))
    assert other.get(what) is None


RECORDS: dict[str, Callable[[dict[str, Any], World], bool]] = {
    "names_rewritten": lambda r, _: (
        (r["accountName"], r["clusterName"])
        == (
            "payments (renamed)",
            "payments-prod-kafka (renamed)",
        )
    ),
    "id:id": lambda r, _: len(r["id"]) == 36,
    "id:actionId": lambda r, _: len(r["actionId"]) == 36,
    "id:uuid": lambda r, _: len(r["uuid"]) == 36,
    "id:userActionId": lambda r, _: len(r["userActionId"]) == 36,
    "id_repeated": lambda r, _: len(r["id"]) == 36,
    "operation_name:crudOperation": lambda r, _: r["crudOperation"] == "ACCOUNT_LEVEL_USER_ACTIONS_DELETE",
    "operation_name:operation": lambda r, _: r["operation"] == "ACCOUNT_LEVEL_USER_ACTIONS_DELETE",
    "operation_name:crud": lambda r, _: r["crud"] == "ACCOUNT_LEVEL_USER_ACTIONS_DELETE",
    "operation_name:bare": lambda r, _: r["operation"] == "DELETE",
    "action_label:words": lambda r, _: r["action"] == "Delete cluster",
    "action_label:hyphens": lambda r, _: r["action"] == "delete-cluster",
    "action_label:lower": lambda r, _: r["action"] == "delete_cluster",
    "action_label:padded": lambda r, _: r["action"] == "  DELETE_CLUSTER ",
    "organisation:organisation": lambda r, w: r["organisationId"] == w.organisation.id,
    "organisation:organization": lambda r, w: r["organizationId"] == w.organisation.id and "organisationId" not in r,
    "organisation:absent": lambda r, _: not any(key.startswith("organi") for key in r),
    "unknown_field": lambda r, _: r["correlationData"]["nested"][3] == {"deep": True},
    "nulls_dropped": lambda r, _: None not in r.values(),
    "field_case:lower": lambda r, _: r["username"] == "eve",
    "field_case:upper": lambda r, _: r["USERNAME"] == "eve",
    "field_case:pascal": lambda r, _: r["UserName"] == "eve",
}


@in_one_test("fault", RECORDS)
def test_record_has_another_format(request_page: Callable[..., Any], logged: World, fault: str) -> None:
    """The record of the deleted cluster shows the fault."""
    assert RECORDS[fault](_record(request_page(fault)), logged)


def test_ids_are_unique_and_stable(request_page: Callable[..., Any]) -> None:
    """A record has the same id in every response, equal records have different ids, and two share a repeated id."""
    ids = [record["id"] for record in request_page("id")[0]["resources"]]
    assert len(set(ids)) == 6
    assert [record["id"] for record in request_page("id", query="pageSize=2&recordIndex=3")[0]["resources"]] == ids[3:5]
    assert len({record["id"] for record in request_page("id_repeated:2")[0]["resources"]}) == 3


def test_nulls_are_omitted(request_page: Callable[..., Any]) -> None:
    """Fields without a value are missing."""
    assert "clusterId" not in _record(request_page("nulls_dropped"), number=3)


# Envelopes

ENVELOPES: dict[str, Callable[[Envelope], bool]] = {
    "total:null": lambda e: e["totalResults"] is None,
    "total:string": lambda e: e["totalResults"] == "6",
    "total:zero": lambda e: e["totalResults"] == 0 and len(e["resources"]) == 4,
    "total:more": lambda e: e["totalResults"] == 7,
    "total:fewer": lambda e: e["totalResults"] == 5,
    "total:page": lambda e: e["totalResults"] == 4,
    "total:absent": lambda e: "totalResults" not in e,
    "counts:null": lambda e: e["actionCounts"] is None,
    "counts:empty": lambda e: e["actionCounts"] == {},
    "counts:page": lambda e: e["actionCounts"] == {"BACKUP": 3, "LINK_ACCOUNT": 1},
    "counts:more": lambda e: e["actionCounts"] == {kind: count + 1 for kind, count in COUNTS.items()},
    "counts:fewer": lambda e: e["actionCounts"] == {"DELETE_CLUSTER": 1, "LINK_ACCOUNT": 1, "RESTORE": 1},
    "counts:string": lambda e: e["actionCounts"] == {kind: str(count) for kind, count in COUNTS.items()},
    **{
        f"counts:{kind}_{number}": lambda e, kind=kind, number=number: (  # type: ignore[misc]
            {one[kind]: one[number] for one in e["actionCounts"]} == COUNTS
        )
        for kind in ("action", "kind", "name")
        for number in ("count", "total")
    },
    "counts:absent": lambda e: "actionCounts" not in e,
    "counts_name": lambda e: e["counts"] == COUNTS and "actionCounts" not in e,
    "counts_name:summary": lambda e: e["summary"] == COUNTS,
    "indices_absent": lambda e: not {"startIndex", "itemsPerPage"} & set(e),
    "resources:Resources": lambda e: len(e["Resources"]) == 4 and "resources" not in e,
    "resources:null": lambda e: e["resources"] is None,
    "resources:absent": lambda e: "resources" not in e,
    "resources:null_when_empty": lambda e: len(e["resources"]) == 4,
    "resources:absent_when_empty": lambda e: len(e["resources"]) == 4,
    "odd_record:null": lambda e: e["resources"][4:] == [None],
    "odd_record:text": lambda e: e["resources"][4:] == ["record"],
    "odd_record:number": lambda e: e["resources"][4:] == [7],
    "odd_record:list": lambda e: e["resources"][4:] == [[]],
    "odd_record:object": lambda e: e["resources"][4:] == [{}],
}


@in_one_test("fault", ENVELOPES)
def test_envelope_has_another_value(request_page: Callable[..., Any], fault: str) -> None:
    """The only envelope of a page of four (of six) shows the fault."""
    (envelope,) = request_page(fault, query="pageSize=4")
    assert ENVELOPES[fault](envelope)


def test_empty_page_has_no_resources(request_page: Callable[..., Any]) -> None:
    """On an empty page, the list is null or absent."""
    assert request_page("resources:null_when_empty", query="userName=none")[0]["resources"] is None
    assert "resources" not in request_page("resources:absent_when_empty", query="userName=none")[0]


SHAPES: dict[str, Callable[[Any, Any], bool]] = {
    "envelope:listed": lambda full, empty: len(full) == len(empty) == 1,
    "envelope:bare": lambda full, empty: (len(full["resources"]), empty["totalResults"]) == (6, 0),
    "envelope:records": lambda full, empty: ([r["action"] for r in full], empty) == (KINDS, []),
    "envelope:empty_list": lambda full, empty: (full[0]["totalResults"], empty) == (6, []),
    "envelope:several": lambda full, empty: (
        [e["itemsPerPage"] for e in full] == [2, 2, 2]
        and [r["action"] for e in full for r in e["resources"]] == KINDS
        and len(empty) == 1
    ),
}


@pytest.mark.parametrize("fault", SHAPES)
def test_envelope_has_another_format(request_page: Callable[..., Any], fault: str) -> None:
    """A full page and an empty one have the format of the fault."""
    assert SHAPES[fault](request_page(fault), request_page(fault, query="userName=none"))


# Composition


def test_faults_compose(request_page: Callable[..., Any], logged: World) -> None:
    """Several faults all apply, in the order of the table and not in that of the request_page."""
    shape = ("envelope:bare", "resources:Resources", "counts:kind_total", "counts_name:tally", "total:string")
    record_form = ("user_name:user.email", "time_form:s", "time_name:date", "account:object")
    envelope = request_page(*shape, *record_form, "order:ascending", "page_clamped:3", query="pageSize=100")
    assert envelope["totalResults"] == "6"
    assert envelope["tally"][0] == {"kind": "BACKUP", "total": 3}
    record = envelope["Resources"][1]
    assert len(envelope["Resources"]) == 3
    assert (record["action"], record["date"], record["user"]) == ("DELETE_CLUSTER", TIMES["s"], {"email": "eve"})
    assert record["account"] == {"id": logged.account.id, "name": "payments"}
    layers = [one.fault.kind.effect.layer for one in logged.faults.running]
    assert layers == sorted(layers)


def test_faults_of_the_response_do_not_affect_other_operations(logged: World) -> None:
    """Another format of the log does not affect the accounts."""
    logged.faults.set("envelope:bare", "page_clamped:1")
    assert isinstance(logged.client.get("/linked-accounts").json(), list)
    assert logged.faults.running[0].played == 0
    logged.faults.clear()


def test_truth_is_untouched(request_page: Callable[..., Any], logged: World) -> None:
    """Faults do not change the truth."""
    request_page("time_form:unreadable", "names_rewritten", "user_name:absent", "order:ascending", "total:zero")
    truth = http_client.get(f"{logged.url}/_emulator/truth").text.splitlines()
    assert len(truth) == 6
    assert '"timestamp":"2026-11-25T12:01:00.000Z","userName":"eve"' in truth[1]


TESTED = {
    *QUERIES,
    *RECORDS,
    *ENVELOPES,
    *SHAPES,
    *(f"time_form:{form}" for form in TIMES),
    *(f"order:{order}" for order in ("shuffled", "reshuffled", "ties")),
    *(f"{what}:{form}" for what in ("account", "cluster") for form in [*ACCOUNT, "object", "domain", "absent"]),
    "counts_always",
}


def test_every_variant_of_the_response_is_tested() -> None:
    """Every fault of the response has a test here. Those of the log and of the transport are tested in their files."""
    elsewhere = {*OF_RESPONSES, "coarse_time", "twins", "late", "vanish", "appear", *NAMES}
    expected = {one for one in every_variant() if one.partition(":")[0] not in elsewhere}
    assert {str(parse_fault(one)) for one in expected} <= {str(parse_fault(one)) for one in TESTED}


def _record(answer: Any, number: int = 4) -> dict[str, Any]:
    return dict(answer[0]["resources"][number])


def _descriptions(answer: Any) -> list[str]:
    return [record["description"] for record in answer[0]["resources"]]
