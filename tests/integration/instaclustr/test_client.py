"""The client with servers that refuse, break, return wrong data and redirect."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import struct
from datetime import timedelta
from typing import Any

import pytest

from actionwatch.base.errors import (
    AccessDenied,
    BadRequest,
    BadResponse,
    OversizedPage,
    RateLimited,
    SourceError,
    SourceUnavailable,
)
from actionwatch.base.model import LinkedAccount
from actionwatch.instaclustr.client import Client, RetryOptions
from actionwatch.instaclustr.origin import ConnectionOptions, Origin
from actionwatch.instaclustr.query import Query
from tests.cases import in_one_test
from tests.integration.instaclustr.upstream import (
    API_KEY,
    IMPATIENT,
    ReceivedRequest,
    Responder,
    Response,
    Upstream,
    actions,
    listing,
    respond,
)
from tests.integration.notifiers.http_end import dead_port
from tests.waiting import PATIENT, at_least, pause

ONCE = RetryOptions(attempts=1)
SWOLLEN = gzip.compress(b" " * (17 * 1024 * 1024), 1)


def failure(
    responder: Responder, retry: RetryOptions = ONCE, **changes: Any
) -> tuple[SourceError, list[ReceivedRequest]]:
    """Send a query, and return the error and the number of requests."""
    with Upstream(responder) as upstream, upstream.client(retry, **changes) as client:
        with pytest.raises(SourceError) as caught:
            client.counts(Query())
        return caught.value, list(upstream.asked)


def test_request_is_as_documented() -> None:
    """The request has the documented path, basic authentication, parameters and our User-Agent."""
    with Upstream(listing(actions(1))) as upstream, upstream.client(organisation_id="org/1 ä") as client:
        list(client.user_actions(Query(kinds=("BACKUP", "RESTORE"), keyword="a&b")))
        asked = upstream.asked[0]
    assert asked.method == "GET"
    assert asked.path == "/v1/organisations/org%2F1%20%C3%A4/user-actions"
    assert asked.params["actionKinds"] == ["BACKUP", "RESTORE"]
    assert asked.params["descriptionKeyword"] == ["a&b"]
    assert asked.headers["authorization"].startswith("Basic ")
    assert asked.headers["user-agent"].startswith("actionwatch/")


@in_one_test(
    ("response", "error", "message"),
    [
        (Response(401), AccessDenied, "whether the key was revoked"),
        (respond({"status": 401, "message": "Bad key", "errorDetails": "expired", "code": 7, "link": "x"}, 401),
         AccessDenied, "Bad key; expired"),
        (respond({"error": "not yours"}, 403), AccessDenied, "not yours"),
        (respond({"errors": [{"name": "InvalidId", "message": "no such organisation"}]}, 404), AccessDenied,
         "InvalidId: no such organisation"),
        (respond({"errors": {"startTime": "not a time"}}, 400), BadRequest, "startTime: not a time"),
        (respond({"message": "Rate Limit Exceeded"}, 429), RateLimited, "Rate Limit Exceeded"),
        (Response(502, b"<html><head><title>502 Bad Gateway</title></head></html>"), SourceUnavailable, "502 Bad Gateway"),
        (Response(503, b"<p>maintenance\x1b[31m</p>"), SourceUnavailable, "maintenance [31m"),
        (respond({"unknown": "form"}, 500), SourceUnavailable, '{"unknown": "form"}'),
        (Response(500, b"\xff\xfe"), SourceUnavailable, "HTTP 500"),
        (Response(408), SourceUnavailable, "HTTP 408"),
        (Response(418), BadRequest, "HTTP 418"),
        (Response(200, b"<html>log in</html>"), BadResponse, "markup"),
        (Response(200, b""), BadResponse, "empty"),
        (Response(204), BadResponse, "empty"),
        (respond({"error": "but 200"}), BadResponse, "without resources"),
        (Response(200, b'[{"resources": [{"action": "X"'), BadResponse, "not a page"),
    ],
)  # fmt: skip
def test_every_refusal_has_its_error(response: Response, error: type[SourceError], message: str) -> None:
    """Each failure has its type, and its text contains the explanation of the upstream and the remedy."""
    caught, asked = failure(lambda _: response)
    assert type(caught) is error
    assert message in str(caught)
    assert len(asked) == 1


def test_long_error_text_is_cut() -> None:
    """At most 500 characters of the upstream's text are kept."""
    caught, _ = failure(lambda _: respond({"message": "x" * 5000}, 500))
    assert caught.what.count("x") <= 500


def test_echoed_secret_is_not_shown() -> None:
    """The key is not in the error if the upstream echoes the request."""

    def echo(asked: ReceivedRequest) -> Response:
        return respond({"message": f"{asked.headers['authorization']} {API_KEY}"}, 500)

    def echo_well(asked: ReceivedRequest) -> Response:
        return Response(200, f"key {API_KEY}".encode())

    for responder in (echo, echo_well):
        caught, asked = failure(responder)
        assert API_KEY not in str(caught)
        assert asked[0].headers["authorization"].removeprefix("Basic ") not in str(caught)
        assert "[secret]" in str(caught)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status: int) -> None:
    """The other host receives nothing, and the error names it."""
    with Upstream(lambda _: respond([])) as other:
        target = other.url.replace("127.0.0.1", "localhost")
        caught, asked = failure(lambda _: Response(status, b"", {"location": f"{target}/v1?key=x"}), IMPATIENT)
        assert other.asked == []
    assert type(caught) is BadResponse
    assert "redirects to localhost" in str(caught)
    assert "key=x" not in str(caught)
    assert len(asked) == 1


@in_one_test(("status", "attempts"), [(500, 4), (429, 4), (408, 4), (401, 1), (403, 1), (404, 1), (400, 1)])
def test_only_temporary_errors_are_retried(status: int, attempts: int) -> None:
    """A temporary error is attempted four times, and another error once."""
    _, asked = failure(lambda _: Response(status), IMPATIENT)
    assert len(asked) == attempts


def test_retry_that_succeeds_is_a_response() -> None:
    """If the second attempt succeeds, its response is returned."""
    honest = listing(actions(1))
    faults = [Response(503), Response(429)]
    with Upstream(lambda asked: faults.pop() if faults else honest(asked)) as upstream, upstream.client() as client:
        assert len(client.counts(Query()).records) == 1
        assert len(upstream.asked) == 3


@pytest.mark.parametrize("status", [429, 503])
def test_short_retry_after_is_honoured(status: int) -> None:
    """A Retry-After is honoured, to the second."""
    honest = listing(actions(1))
    faults = [Response(status, b"", {"retry-after": "1"})]
    with (
        Upstream(lambda asked: faults.pop() if faults else honest(asked)) as upstream,
        upstream.client() as client,
        at_least(1),
    ):
        client.counts(Query())


@pytest.mark.parametrize("status", [429, 503])
def test_long_retry_after_is_left_to_the_caller(status: int) -> None:
    """The client does not wait for a long Retry-After; the caller decides."""
    caught, asked = failure(lambda _: Response(status, b"", {"retry-after": "3600"}), IMPATIENT)
    assert isinstance(caught, RateLimited | SourceUnavailable)
    assert caught.retry_after == timedelta(hours=1)
    assert len(asked) == 1


@in_one_test("value", ["soon", "", "²", "-5", "9" * 5000, "Mon, 01 Jan 0001 00:00:00 +2359"])
def test_unreadable_retry_after_is_ignored(value: str) -> None:
    """If Retry-After is unreadable, the client's own delay applies."""
    header = value.encode("latin-1", "replace")

    def wire(handler: Any) -> None:
        handler.wfile.write(b"HTTP/1.0 429 Slow\r\nDate: " + header + b"\r\nRetry-After: " + header + b"\r\n\r\n")

    caught, asked = failure(lambda _: Response(wire=wire), IMPATIENT)
    assert isinstance(caught, RateLimited)
    assert len(asked) == 4 or caught.retry_after is not None


def drip(handler: Any) -> None:
    handler.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n")
    with contextlib.suppress(OSError):  # until the client leaves
        while True:
            handler.wfile.write(b" ")
            pause(0.05)


def hang(handler: Any) -> None:
    handler.rfile.read()  # until the client leaves


def truncate(handler: Any) -> None:
    handler.wfile.write(b"HTTP/1.0 200 OK\r\nContent-Length: 500\r\n\r\n[{")


def truncate_chunks(handler: Any) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n")


def reset(handler: Any) -> None:
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


def swell(handler: Any) -> None:
    handler.wfile.write(b"HTTP/1.0 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + SWOLLEN)


def garble(handler: Any) -> None:
    handler.wfile.write(b"HTTP/1.0 200 OK\r\nContent-Encoding: gzip\r\n\r\nnot gzip")


def babble(handler: Any) -> None:
    handler.wfile.write(b"SSH-2.0-OpenSSH\r\n")


@in_one_test(
    ("wire", "message"),
    [
        (drip, "no response within the timeout"),
        (hang, "no response within the timeout"),
        (truncate, "no valid response"),
        (truncate_chunks, "no valid response"),
        (reset, "the connection broke"),
        (garble, "cannot be decompressed"),
        (babble, "no valid response"),
    ],
)
def test_incomplete_response_is_unavailable(wire: Any, message: str) -> None:
    """Every broken connection is a temporary error, and no partial response counts as a response."""
    timeout = timedelta(seconds=0.3) if wire in (drip, hang) else PATIENT
    caught, _ = failure(lambda _: Response(wire=wire), timeout=timeout)
    assert type(caught) is SourceUnavailable
    assert message in str(caught)


def test_swollen_response_is_not_retried() -> None:
    """A response above the limit is no temporary error: the same request would only get it again."""
    caught, asked = failure(lambda _: Response(wire=swell), IMPATIENT)
    assert type(caught) is OversizedPage
    assert "larger than" in caught.what
    assert len(asked) == 1


def test_closed_port_is_unavailable() -> None:
    """A closed port is retried, then reported with what to check."""
    with (
        dead_port() as port,
        Client(ConnectionOptions(f"http://127.0.0.1:{port}", "o", "u", "k"), source="acme", retry=IMPATIENT) as client,
        pytest.raises(SourceUnavailable, match="check base_url"),
    ):
        client.counts(Query())


def test_the_client_can_only_read() -> None:
    """Any request except the two listings is refused before a connection is opened."""
    with Upstream(lambda _: respond([])) as upstream:
        client = upstream.client()
        for method, path in [
            ("POST", client._accounts),
            ("DELETE", f"{client._accounts}/a"),
            ("PUT", client._actions),
            ("GET", "/v1/organisations/other/user-actions"),
            ("GET", f"{client._actions}/../linked-accounts"),
            ("GET", "http://elsewhere.example/"),
        ]:
            with pytest.raises(BadRequest, match="must not send"):
                client._origin.exchange(method, path)
        client.close()
        assert upstream.asked == []


def test_closed_client_sends_nothing() -> None:
    """A closed client sends nothing and raises an error of its type."""
    with Upstream(lambda _: respond([])) as upstream:
        client = upstream.client()
        client.counts(Query())
        client.close()
        with pytest.raises(SourceUnavailable, match="closed"):
            client.counts(Query())
        assert len(upstream.asked) == 1


@in_one_test(
    "changes",
    [
        {"base_url": "http://api.example.com"},
        {"base_url": "https://user:pass@api.example.com"},
        {"base_url": "ftp://api.example.com"},
        {"base_url": "https://api.example.com/?x=1"},
        {"base_url": "https://api.example.com/#x"},
        {"base_url": "https://"},
        {"organisation_id": ""},
        {"organisation_id": ".."},
    ],
)
def test_credentials_are_sent_only_to_a_valid_origin(changes: dict[str, str]) -> None:
    """The origin must be https, or loopback, with a host and an organisation."""
    plain = {"base_url": "https://api.example.com", "organisation_id": "o", "username": "u", "api_key": "k"}
    ConnectionOptions(**plain)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"must|not an id"):
        ConnectionOptions(**{**plain, **changes})  # type: ignore[arg-type]


def test_the_key_is_not_shown() -> None:
    """Neither the key nor a proxy's password is in the connection's repr."""
    shown = repr(ConnectionOptions("https://a.example", "o", "u", API_KEY, proxy="http://u:pw@proxy:1"))
    assert API_KEY not in shown
    assert "pw" not in shown


def test_a_base_url_may_have_a_path() -> None:
    """The base URL can have a path, for example behind a gateway."""
    with Upstream(lambda _: respond([])) as upstream, upstream.client(base_url=f"{upstream.url}/proxy/") as client:
        client.counts(Query())
        assert upstream.asked[0].path == "/proxy/v1/organisations/org-1/user-actions"


def test_linked_accounts_resolve_ids_and_names() -> None:
    """After the listing, an account given as one string is resolved by the known ids and names."""
    listed: list[dict[str, Any]] = [
        {"accountId": "acc-1", "accountName": "Payments", "isAccountInvoiced": True},
        {"accountId": "acc-2"},
    ]

    def responder(asked: ReceivedRequest) -> Response:
        if asked.path.endswith("/linked-accounts"):
            return respond(listed)
        return respond([{"action": "X", "account": "acc-1"}])

    with Upstream(responder) as upstream, upstream.client() as client:
        accounts = client.linked_accounts()
        assert accounts == [LinkedAccount("acc-1", "Payments", listed[0]), LinkedAccount("acc-2", "", listed[1])]
        account = client.counts(Query()).records[0].account
        assert (account.id, account.name) == ("acc-1", "Payments")


@in_one_test("document", [{"accounts": []}, None, [1], [{"accountName": "nameless"}], [[]], "x", {"message": "no"}])
def test_no_list_of_accounts_is_an_error(document: object) -> None:
    """A response without a list of accounts is an error, not an organisation without accounts."""
    with (
        Upstream(lambda _: respond(document)) as upstream,
        upstream.client() as client,
        pytest.raises(BadResponse, match="linked account"),
    ):
        client.linked_accounts()


def test_requests_are_spaced_after_a_limit() -> None:
    """After a rate limit, pages are not requested concurrently, because they would meet the limit again."""
    honest = listing(actions(60))
    faults = [Response(429)]
    with Upstream(lambda asked: faults.pop() if faults else honest(asked)) as upstream, upstream.client() as client:
        with at_least(5 * 0.04):
            assert sum(len(page.records) for page in client.user_actions(Query(), page_size=10)) == 60
        assert len(upstream.asked) == 7


def test_only_allowed_paths_are_requested() -> None:
    """An allowed path that ends in a slash accepts exactly one more segment."""
    with Upstream(lambda _: respond([])) as upstream:
        origin = Origin(upstream.connection(), allowed=[("DELETE", "/a/")])
        assert json.loads(origin.exchange("DELETE", "/a/b").body) == []
        for path in ("/a/", "/a", "/a/b/c", "/a/b/"):
            with pytest.raises(BadRequest):
                origin.exchange("DELETE", path)
        origin.close()
