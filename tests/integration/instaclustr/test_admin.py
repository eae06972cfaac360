"""The two writing operations against a real server."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from actionwatch.base.errors import AccessDenied, BadRequest, BadResponse, RateLimited, SourceError, SourceUnavailable
from actionwatch.instaclustr.admin import Admin
from tests.integration.instaclustr.upstream import Answered, Upstream, answer


def test_an_account_is_created() -> None:
    """The name goes into the body, the id comes back."""
    with Upstream(lambda _: answer({"accountId": "acc-9"})) as upstream, Admin(upstream.connection()) as admin:
        assert admin.create_account("New “team”") == "acc-9"
        (asked,) = upstream.asked
    assert (asked.method, asked.path) == ("POST", "/v1/organisations/org-1/linked-accounts")
    assert json.loads(asked.body) == {"accountName": "New “team”"}
    assert asked.headers["content-type"] == "application/json"


def test_an_account_is_unlinked() -> None:
    """Any id is one segment of the path."""
    with Upstream(lambda _: answer([{"id": "org-1"}])) as upstream, Admin(upstream.connection()) as admin:
        admin.unlink_account("a/../b?c")
        (asked,) = upstream.asked
    assert (asked.method, asked.path) == ("DELETE", "/v1/organisations/org-1/linked-accounts/a%2F..%2Fb%3Fc")
    assert asked.body == b""


@pytest.mark.parametrize("account_id", ["", " ", ".", ".."])
def test_what_is_no_id_is_refused_here(account_id: str) -> None:
    """It would name another path."""
    with Upstream(lambda _: answer([])) as upstream, Admin(upstream.connection()) as admin:
        with pytest.raises(BadRequest):
            admin.unlink_account(account_id)
        assert upstream.asked == []


def test_an_account_needs_a_name() -> None:
    """A blank one is refused before it is sent."""
    with Upstream(lambda _: answer([])) as upstream, Admin(upstream.connection()) as admin:
        with pytest.raises(BadRequest, match="needs a name"):
            admin.create_account(" ")
        assert upstream.asked == []


@pytest.mark.parametrize(
    ("answered", "error", "said"),
    [
        (answer({"errors": {"accountName": "is taken"}}, 400), BadRequest, "accountName: is taken"),
        (answer({"message": "no such account"}, 404), BadRequest, "no such account"),
        (Answered(401), AccessDenied, "whether the key was revoked"),
        (Answered(403), AccessDenied, "denied access"),
        (Answered(429), RateLimited, "rate"),
        (Answered(500), SourceUnavailable, "may have executed"),
        (Answered(307, b"", {"location": "https://elsewhere.example/x"}), BadResponse, "elsewhere.example"),
    ],
)
def test_a_refusal_is_told_and_never_repeated(answered: Answered, error: type[SourceError], said: str) -> None:
    """One request, and an error with the upstream's words."""
    calls: list[Callable[[Admin], object]] = [
        lambda admin: admin.create_account("x"),
        lambda admin: admin.unlink_account("x"),
    ]
    for call in calls:
        with Upstream(lambda _: answered) as upstream, Admin(upstream.connection()) as admin:
            with pytest.raises(error) as caught:
                call(admin)
            assert len(upstream.asked) == 1
        assert said in str(caught.value)


def test_a_lost_answer_is_not_asked_for_again() -> None:
    """The request may have arrived: a person looks first."""

    def hang_up(handler: Any) -> None:
        handler.connection.close()

    with Upstream(lambda _: Answered(wire=hang_up)) as upstream, Admin(upstream.connection()) as admin:
        with pytest.raises(SourceUnavailable, match="accounts list"):
            admin.create_account("x")
        assert len(upstream.asked) == 1


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"accountId": 7}', b"<html>"])
def test_an_answer_without_an_id_is_told(body: bytes) -> None:
    """The account may be there all the same."""
    with (
        Upstream(lambda _: Answered(200, body)) as upstream,
        Admin(upstream.connection()) as admin,
        pytest.raises(BadResponse, match="may have executed"),
    ):
        admin.create_account("x")
