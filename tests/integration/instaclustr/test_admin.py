"""The two writing operations, with a real server."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from actionwatch.base.errors import AccessDenied, BadRequest, BadResponse, RateLimited, SourceError, SourceUnavailable
from actionwatch.instaclustr.admin import create_account, unlink_account
from actionwatch.instaclustr.origin import ConnectionOptions
from tests.cases import in_one_test
from tests.integration.instaclustr.upstream import Response, Upstream, respond


def test_an_account_is_created() -> None:
    """The name is sent in the body, and the id is returned."""
    with Upstream(lambda _: respond({"accountId": "acc-9"})) as upstream:
        assert create_account(upstream.connection(), "New “team”") == "acc-9"
        (asked,) = upstream.asked
    assert (asked.method, asked.path) == ("POST", "/v1/organisations/org-1/linked-accounts")
    assert json.loads(asked.body) == {"accountName": "New “team”"}
    assert asked.headers["content-type"] == "application/json"


def test_an_account_is_unlinked() -> None:
    """Any id is one segment of the path."""
    with Upstream(lambda _: respond([{"id": "org-1"}])) as upstream:
        unlink_account(upstream.connection(), "a/../b?c")
        (asked,) = upstream.asked
    assert (asked.method, asked.path) == ("DELETE", "/v1/organisations/org-1/linked-accounts/a%2F..%2Fb%3Fc")
    assert asked.body == b""


@pytest.mark.parametrize("account_id", ["", " ", ".", ".."])
def test_invalid_id_is_refused_before_the_request(account_id: str) -> None:
    """An invalid id, which would name another path, is refused before the request."""
    with Upstream(lambda _: respond([])) as upstream:
        with pytest.raises(BadRequest):
            unlink_account(upstream.connection(), account_id)
        assert upstream.asked == []


def test_an_account_needs_a_name() -> None:
    """A blank name is refused before the request."""
    with Upstream(lambda _: respond([])) as upstream:
        with pytest.raises(BadRequest, match="needs a name"):
            create_account(upstream.connection(), " ")
        assert upstream.asked == []


@in_one_test(
    ("response", "error", "message"),
    [
        (respond({"errors": {"accountName": "is taken"}}, 400), BadRequest, "accountName: is taken"),
        (respond({"message": "no such account"}, 404), BadRequest, "no such account"),
        (Response(401), AccessDenied, "whether the key was revoked"),
        (Response(403), AccessDenied, "denied access"),
        (Response(429), RateLimited, "rate"),
        (Response(500), SourceUnavailable, "may have executed"),
        (Response(307, b"", {"location": "https://elsewhere.example/x"}), BadResponse, "elsewhere.example"),
    ],
)
def test_refusal_is_reported_and_not_retried(response: Response, error: type[SourceError], message: str) -> None:
    """A refusal is one request, and an error with the upstream's text."""
    calls: list[Callable[[ConnectionOptions, str], object]] = [create_account, unlink_account]
    for call in calls:
        with Upstream(lambda _: response) as upstream:
            with pytest.raises(error) as caught:
                call(upstream.connection(), "x")
            assert len(upstream.asked) == 1
        assert message in str(caught.value)


def test_request_without_a_response_is_not_retried() -> None:
    """The request may have succeeded, so the user must check first."""

    def hang_up(handler: Any) -> None:
        handler.connection.close()

    with Upstream(lambda _: Response(wire=hang_up)) as upstream:
        with pytest.raises(SourceUnavailable, match="accounts list"):
            create_account(upstream.connection(), "x")
        assert len(upstream.asked) == 1


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"accountId": 7}', b"<html>"])
def test_response_without_an_id_is_an_error(body: bytes) -> None:
    """A response without an id is an error that says that the account may exist."""
    with (
        Upstream(lambda _: Response(200, body)) as upstream,
        pytest.raises(BadResponse, match="may have executed"),
    ):
        create_account(upstream.connection(), "x")
