"""The reading operation, parameter by parameter, over a real socket."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from tests import http_client
from tests.cases import in_one_test
from tests.emulator.conftest import NOON, World, serve_world

NOON_MS = int(NOON.timestamp() * 1000)


@pytest.fixture(scope="module")
def furnished() -> Iterator[World]:
    """Serve one world to all tests that only read it: one action of each type, one minute apart."""
    with serve_world() as world:
        world.log("DELETE_CLUSTER", 0, user_name="eve", account=world.account)
        world.log("BACKUP", 1, description="nightly", account=world.account, cluster=world.cluster)
        world.log("LINK_ACCOUNT", 2)
        world.log("LOGIN", 3)
        yield world


@pytest.fixture(scope="module")
def paged() -> Iterator[World]:
    """Serve 1001 equal actions: one more than a page holds."""
    with serve_world() as world:
        world.log("BACKUP", times=1001)
        yield world


@pytest.fixture(scope="module")
def timed() -> Iterator[World]:
    """Serve three actions, a minute apart."""
    with serve_world() as world:
        for minute in range(3):
            world.log("BACKUP", minute, description=str(minute))
        yield world


@pytest.mark.parametrize(
    "auth", [None, ("demo", "wrong"), ("other", "demo-key"), ("demo", ""), ("demé", "clé")], ids=str
)
def test_wrong_key_is_401_with_an_empty_body(furnished: World, auth: tuple[str, str] | None) -> None:
    """The response to a wrong key contains no reason."""
    answer = http_client.get(str(furnished.client.base_url) + "user-actions", auth=auth)
    assert (answer.status_code, answer.content) == (401, b"")


@pytest.mark.parametrize("header", ["Basic", "Basic !!!", "Bearer ZGVtbzpkZW1vLWtleQ==", "Basic ZGVtbw==", "x"])
def test_malformed_authorisation_is_401(furnished: World, header: str) -> None:
    """A header that is no Basic authorisation is no authorisation."""
    answer = http_client.get(str(furnished.client.base_url) + "user-actions", headers={"Authorization": header})
    assert answer.status_code == 401


def test_other_organisation_is_403(furnished: World) -> None:
    """A key can read only the log of its organisation."""
    answer = furnished.client.get(f"{furnished.url}/v1/organisations/other/user-actions")
    assert (answer.status_code, answer.json()["status"]) == (403, 403)


def test_record_has_the_fields_of_the_documentation(world: World) -> None:
    """A record has the user, the action, the time and the object."""
    world.log(
        "DELETE_CLUSTER",
        user_name="eve",
        description="Deleted it",
        account=world.account,
        cluster=world.cluster,
    )
    (record,) = world.client.get("/user-actions").json()[0]["resources"]
    assert record == {
        "action": "DELETE_CLUSTER",
        "domainType": "CLUSTER",
        "timestamp": "2026-11-25T12:00:00.000Z",
        "userName": "eve",
        "description": "Deleted it",
        "organisationId": world.organisation.id,
        "organisationName": "Acme",
        "accountId": world.account.id,
        "accountName": "payments",
        "clusterId": world.cluster.id,
        "clusterName": "payments-prod-kafka",
    }


def test_empty_log_is_an_envelope_without_resources(world: World) -> None:
    """A response without records is an envelope and not an empty list."""
    assert world.request() == {
        "totalResults": 0,
        "startIndex": 0,
        "itemsPerPage": 0,
        "resources": [],
        "actionCounts": {},
    }


@pytest.mark.parametrize(
    ("query", "page"),
    [
        ("", 10),
        ("pageSize=1", 1),
        ("pageSize=999", 999),
        ("pageSize=1000", 1000),
        ("pageSize=1000&recordIndex=0", 1000),
        ("pageSize=1000&recordIndex=1", 1000),
        ("pageSize=1000&recordIndex=2", 999),
        ("recordIndex=1000", 1),
        ("recordIndex=1001", 0),
        ("recordIndex=2147483647&pageSize=1000", 0),
    ],
)
def test_page_within_its_bounds(paged: World, query: str, page: int) -> None:
    """Every documented size and offset returns its page, and the total is that of the log."""
    envelope = paged.request(query)
    assert (envelope["itemsPerPage"], envelope["totalResults"]) == (page, 1001)


@in_one_test(
    "query",
    [
        "pageSize=",
        "pageSize=0",
        "pageSize=1001",
        "pageSize=-1",
        "pageSize=ten",
        "pageSize=1.5",
        "pageSize=²",
        "pageSize=99999999999999999999",
        "recordIndex=-1",
        "recordIndex=2147483648",
        "recordIndex=x",
        "getActionCounts=maybe",
        "organisationLogsOnly=1",
        "startTime=",
        "startTime=yesterday",
        "startTime=2026-11-25",
        "startTime=2026-02-30T00:00:00Z",
        "startTime=0000-01-01T00:00:00Z",
        "endTime=2026-11-25T12:00:00 10:00",
        "endTime=1e3",
    ],
)
def test_value_out_of_its_range_is_400(furnished: World, query: str) -> None:
    """A value that the documentation does not allow is refused, and the body names the parameter."""
    answer = furnished.client.get(f"/user-actions?{query}")
    assert answer.status_code == 400
    assert answer.json()["message"].startswith(query.split("=")[0])


def test_pages_are_newest_first_without_gaps(world: World) -> None:
    """The pages in order are the log backwards, including equal times."""
    for minute in (3, 1, 2, 2):
        world.log("BACKUP", minute, description=str(world.organisation.clock()) + str(len(world.organisation)))
    whole = world.client.get("/user-actions").json()[0]["resources"]
    parts = [world.client.get(f"/user-actions?pageSize=1&recordIndex={n}").json()[0]["resources"] for n in range(4)]
    assert [record for part in parts for record in part] == whole
    assert [record["timestamp"] for record in whole] == sorted((r["timestamp"] for r in whole), reverse=True)


@in_one_test(
    ("query", "minutes"),
    [
        (f"startTime={NOON_MS}", [2, 1, 0]),
        (f"startTime={NOON_MS + 1}", [2, 1]),
        (f"endTime={NOON_MS + 120_000}", [2, 1, 0]),
        (f"endTime={NOON_MS + 119_999}", [1, 0]),
        ("startTime=2026-11-25T12:01:00Z&endTime=2026-11-25T12:01:00Z", [1]),
        ("startTime=2026-11-25T12:01:00", [2, 1]),
        ("startTime=2026-11-25T12:00:00.001Z", [2, 1]),
        ("startTime=2026-11-25T22:01:00%2B10:00", [2, 1]),
        ("startTime=2026-11-25T22:01:00%2B1000", [2, 1]),
        ("startTime=2026-11-25T12:02:00Z&endTime=2026-11-25T12:01:00Z", []),
        ("startTime=-1&endTime=0", []),
        ("startTime=999999999999999999", []),
    ],
)
def test_window_includes_both_bounds(timed: World, query: str, minutes: list[int]) -> None:
    """Both bounds belong to the window, as milliseconds and in ISO format."""
    envelope = timed.client.get(f"/user-actions?{query}").json()[0]
    assert [int(record["description"]) for record in envelope["resources"]] == minutes
    assert envelope["actionCounts"] == ({"BACKUP": len(minutes)} if minutes else {})


@in_one_test(
    ("query", "expected"),
    [
        ("actionKinds=BACKUP", ["BACKUP"]),
        ("actionKinds=BACKUP&actionKinds=LINK_ACCOUNT", ["LINK_ACCOUNT", "BACKUP"]),
        ("actionKinds=BACKUP&actionKinds=BACKUP", ["BACKUP"]),
        ("actionKinds=BACKUP&actionKinds=BAKCUP", ["BACKUP"]),
        ("actionKinds=BAKCUP", ["LOGIN", "LINK_ACCOUNT", "BACKUP", "DELETE_CLUSTER"]),
        ("actionKinds=", ["LOGIN", "LINK_ACCOUNT", "BACKUP", "DELETE_CLUSTER"]),
        ("actionKinds=RESTORE", []),
        ("actionKinds=LOGIN", ["LOGIN", "LINK_ACCOUNT", "BACKUP", "DELETE_CLUSTER"]),
        ("crudOperations=ACCOUNT_LEVEL_USER_ACTIONS_DELETE", ["DELETE_CLUSTER"]),
        ("crudOperations=ORG_LEVEL_USER_ACTIONS_CREATE", ["LINK_ACCOUNT"]),
        ("crudOperations=ORG_LEVEL_USER_ACTIONS_READ", ["LOGIN", "LINK_ACCOUNT", "BACKUP", "DELETE_CLUSTER"]),
        ("crudOperations=ORG_LEVEL_USER_ACTIONS_CREATE&actionKinds=BACKUP", []),
        ("organisationLogsOnly=true", ["LINK_ACCOUNT"]),
        ("organisationLogsOnly=false", ["LOGIN", "LINK_ACCOUNT", "BACKUP", "DELETE_CLUSTER"]),
        ("accountLogsOnly=TRUE", ["LOGIN", "BACKUP", "DELETE_CLUSTER"]),
        ("accountLogsOnly=true&organisationLogsOnly=true", []),
        ("userName=eve", ["DELETE_CLUSTER"]),
        ("userName=ev", []),
        ("descriptionKeyword=NIGHTLY", ["BACKUP"]),
        ("account=payments", ["BACKUP", "DELETE_CLUSTER"]),
        ("account=nobody", []),
        ("clusterId=payments-prod-kafka", []),
        ("account=&clusterId=&userName=&descriptionKeyword=", ["LOGIN", "LINK_ACCOUNT", "BACKUP", "DELETE_CLUSTER"]),
        ("unknown=1", ["LOGIN", "LINK_ACCOUNT", "BACKUP", "DELETE_CLUSTER"]),
    ],
)
def test_filters_restrict_the_result(furnished: World, query: str, expected: list[str]) -> None:
    """Each filter restricts the result; an invalid kind or operation is ignored, and alone it filters nothing."""
    assert furnished.kinds(query) == expected
    assert furnished.request(query)["totalResults"] == len(expected)
    assert furnished.request(query)["actionCounts"] == dict.fromkeys(sorted(expected), 1)


def test_account_and_cluster_are_found_by_id(furnished: World) -> None:
    """An account is found by its id and its name, a cluster by its id."""
    assert furnished.kinds(f"account={furnished.account.id}") == ["BACKUP", "DELETE_CLUSTER"]
    assert furnished.kinds(f"clusterId={furnished.cluster.id}") == ["BACKUP"]


def test_counts_are_sent_unless_declined(world: World) -> None:
    """`getActionCounts` defaults to true, and counts the whole selection, not the page."""
    world.log("BACKUP", times=5)
    assert world.request("pageSize=1")["actionCounts"] == {"BACKUP": 5}
    assert "actionCounts" not in world.request("getActionCounts=false")


def test_equal_actions_stay_equal_and_separate(world: World) -> None:
    """Two identical actions at one time are two identical records."""
    world.log("BACKUP", times=2)
    first, second = world.client.get("/user-actions").json()[0]["resources"]
    assert first == second


def test_late_action_appears_only_once_it_is_appended(world: World) -> None:
    """A late record has the position of its time, in a window that was returned without it before."""
    world.log("BACKUP", 10)
    query = f"endTime={NOON_MS + 600_000}&userName=alice@example.com"
    assert world.kinds(query) == ["BACKUP"]
    world.log("RESTORE", 5)
    assert world.kinds(query) == ["BACKUP", "RESTORE"]


def test_date_header_is_the_emulators_clock(world: World) -> None:
    """There is one `Date`, which follows the organisation's clock, also in errors."""
    world.clock.now += timedelta(hours=1)
    answers = [world.client.get("/user-actions"), world.client.get(f"{world.url}/nowhere")]
    assert [answer.headers.get_list("date") for answer in answers] == [["Wed, 25 Nov 2026 13:00:00 GMT"]] * 2


def test_unknown_path_or_method_is_refused(world: World) -> None:
    """Any request except the four operations is refused in the format of the other errors."""
    answers = [world.client.get("/users"), world.client.put("/linked-accounts"), world.client.post("/user-actions")]
    assert [(answer.status_code, answer.json()["status"]) for answer in answers] == [(404,) * 2, (405,) * 2, (405,) * 2]
