"""The two writing operations: they change the organisation and leave a trace."""

import pytest

from actionwatch.emulator.app import DEMO_KEY, DEMO_USER, create_app
from actionwatch.emulator.server import running
from actionwatch.emulator.state import Organisation
from tests import http_client
from tests.cases import in_one_test
from tests.emulator.conftest import World


def test_linked_accounts_have_every_field_seen(world: World) -> None:
    """An account is sent with the twelve fields of the vendor's sample."""
    (account,) = world.client.get("/linked-accounts").json()
    assert (account["accountId"], account["accountName"]) == (world.account.id, "payments")
    assert len(account) == 12
    assert {type(value) for key, value in account.items() if key.startswith("is") or "Has" in key} == {bool}


def test_linking_adds_an_account_and_is_logged(world: World) -> None:
    """A new account is listed at once with the returned id, and the log contains who linked it."""
    answer = world.client.post("/linked-accounts", json={"accountName": "orders", "validationMessages": {}})
    assert answer.status_code == 200
    names = {account["accountId"]: account["accountName"] for account in world.client.get("/linked-accounts").json()}
    assert names[answer.json()["accountId"]] == "orders"
    (record,) = world.client.get("/user-actions").json()[0]["resources"]
    assert (record["action"], record["userName"], record["accountName"]) == ("LINK_ACCOUNT", DEMO_USER, "orders")


@in_one_test(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b"[]",
        b"null",
        b"{}",
        b'{"accountName": null}',
        b'{"accountName": ""}',
        b'{"accountName": " "}',
        b'{"accountName": 1}',
        b'{"accountName": "payments"}',
        b'{"accountName": "x", "validationMessages": []}',
        b'{"accountName": "' + b"x" * 256 + b'"}',
    ],
)
def test_linking_with_invalid_parameters_is_400(shared: World, body: bytes) -> None:
    """An invalid or taken account name changes nothing."""
    answer = shared.client.post("/linked-accounts", content=body)
    assert (answer.status_code, answer.json()["status"]) == (400, 400)
    assert (len(shared.organisation.inventory.accounts), len(shared.organisation)) == (1, 0)


def test_huge_body_is_refused(shared: World) -> None:
    """A body that is far too large is not read completely."""
    assert shared.client.post("/linked-accounts", content=b"x" * 100_000).status_code == 413


def test_linking_without_permission_is_400() -> None:
    """A user who may not create accounts gets the documented 400."""
    organisation = Organisation()
    with running(create_app(organisation, may_write=False)) as url:
        path = f"{url}/v1/organisations/{organisation.id}/linked-accounts"
        assert http_client.post(path, auth=(DEMO_USER, DEMO_KEY), json={"accountName": "x"}).status_code == 400


def test_unlinking_removes_an_account_once_and_is_logged(world: World) -> None:
    """An unlinked account is gone, so that a second unlinking finds nothing."""
    path = f"/linked-accounts/{world.account.id}"
    answers = [world.client.delete(path) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 404]
    assert [one["id"] for one in answers[0].json()] == [world.account.id]
    assert world.client.get("/linked-accounts").json() == []
    assert world.kinds() == ["UNLINK_ACCOUNT"]


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("POST", ""), ("DELETE", "/x")])
def test_other_organisation_is_404(shared: World, method: str, path: str) -> None:
    """These operations return 404 for an organisation that does not belong to the key."""
    url = f"{shared.url}/v1/organisations/other/linked-accounts{path}"
    assert shared.client.request(method, url, json={"accountName": "x"}).status_code == 404


def test_writing_needs_the_key(world: World) -> None:
    """Without the key nothing is written."""
    url = str(world.client.base_url) + "linked-accounts"
    answers = [http_client.post(url, json={"accountName": "x"}), http_client.delete(f"{url}/{world.account.id}")]
    assert [answer.status_code for answer in answers] == [401, 401]
    assert len(world.organisation.inventory.accounts) == 1
