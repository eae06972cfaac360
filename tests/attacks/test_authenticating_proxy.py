"""The header of an authenticating proxy makes nobody somebody else: not from other addresses, not twice, not in disguise."""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Any

import httpx
import pytest

from actionwatch.base.access import AccessRole
from actionwatch.base.model import Status
from actionwatch.store import alerts
from actionwatch.store.database import Database
from actionwatch.web.attempts import MAX_ATTEMPTS
from actionwatch.web.proxy import TrustedProxy
from tests import http_client
from tests.attacks.test_console import OWN_NAMES
from tests.builders import make_alert
from tests.fixtures import database
from tests.integration.web.console_kit import Served, give_token, session, sign_in

__all__ = ["database"]
USER, GROUPS = "x-forwarded-user", "x-forwarded-groups"
ALERT = "/alerts/alert-1"
OURS = {"sec-fetch-site": "same-origin"}


def proxied(database: Database, **values: Any) -> Served:
    """A console behind a proxy at 127.0.0.1; other addresses of this machine are strangers."""
    given: dict[str, Any] = {
        "addresses": [ip_network("127.0.0.1/32")],
        "user_header": USER,
        "groups_header": GROUPS,
        "operators": ("sam",),
        "operator_groups": ("on-call",),
        "hosts": frozenset({"watch.example.com"}),
    }
    with database.write() as connection:
        alerts.insert_new(connection, [(make_alert("alert-1"), "g")])
    return Served(database, open_to=None, proxy=TrustedProxy(**{**given, **values}))


def stranger(url: httpx.URL) -> httpx.Client:
    """A client at another address."""
    return http_client.client(base_url=url, transport=httpx.HTTPTransport(local_address="127.0.0.2"))


def decide(client: httpx.Client, headers: dict[str, str]) -> httpx.Response:
    """Send the form of the alert."""
    return client.post(f"{ALERT}/decision", data={"action": "ack", "author": "kim"}, headers=headers)


def acked_by(database: Database) -> str | None:
    """Return who acknowledged the alert."""
    with database.read() as connection:
        alert = alerts.read(connection, "alert-1")
    assert alert is not None
    assert (alert.status is Status.ACKED) is (alert.acked_by is not None)
    return alert.acked_by


def test_the_proxy_says_who_it_is(database: Database) -> None:
    """The header names the author; who is neither an operator nor in a group of them only reads."""
    with proxied(database).open() as client:
        page = client.get(ALERT, headers={USER: "rita", GROUPS: "staff, admins"})
        assert "rita, reader" in page.text
        assert decide(client, {**OURS, USER: "rita", GROUPS: "staff"}).status_code == 403
        page = client.get(ALERT, headers={USER: "kim", GROUPS: "staff,on-call"})
        assert "kim, operator" in page.text
        assert "Sign out" not in page.text
        assert acked_by(database) is None
        assert decide(client, {**OURS, USER: "sam"}).status_code == 303
    assert acked_by(database) == "sam"


def test_groups_of_a_client_are_not_added(database: Database) -> None:
    """A header of groups that a client sent beside that of the proxy makes nobody an operator."""
    with proxied(database).open() as client:
        sent = [(USER, "rita"), (GROUPS, "staff"), (GROUPS, "on-call"), *OURS.items()]
        refused = client.post(f"{ALERT}/decision", data={"action": "ack"}, headers=sent)
        assert (refused.status_code, f"{GROUPS} was sent 2 times" in refused.text) == (400, True)
    assert acked_by(database) is None


def test_the_header_counts_only_from_the_proxy(database: Database) -> None:
    """From another address the header is refused, also where the request claims to come from the proxy."""
    with proxied(database).open() as client, stranger(client.base_url) as other:
        claims: tuple[dict[str, str], ...] = (
            {},
            {"x-forwarded-for": "127.0.0.1"},
            {"forwarded": "for=127.0.0.1"},
            {"x-real-ip": "127.0.0.1"},
        )
        for claim in claims:
            refused = other.get("/", headers={USER: "sam", **claim})
            assert (refused.status_code, "not from 127.0.0.2" in refused.text) == (403, True)
            assert decide(other, {**OURS, USER: "sam", **claim}).status_code == 403
        assert other.get("/").status_code == 401
        assert other.get("/", headers={"accept": "text/html"}).headers["location"] == "/sign-in?next=%2F"
    assert acked_by(database) is None


def test_listener_does_not_believe_forwarded_addresses(database: Database) -> None:
    """A process of this machine cannot take the address of a proxy elsewhere by saying so."""
    with proxied(database, addresses=[ip_network("192.0.2.7/32")]).open() as client:
        assert client.get("/", headers={USER: "sam", "x-forwarded-for": "192.0.2.7"}).status_code == 403


@pytest.mark.parametrize(
    "given",
    [
        [b"sam", b"eve"],
        [b"sam", b"sam"],
        [b""],
        [b"sam,eve"],
        [b"sam\x85"],
        [b"\xff"],
        ["sam\u202e".encode()],
        [b"x" * 101],
    ],
)
def test_a_surprising_header_is_refused(database: Database, given: list[bytes]) -> None:
    """A header that is repeated, empty or not a name opens nothing, and the response says why."""
    with proxied(database).open() as client:
        refused = client.get("/", headers=[(USER.encode(), each) for each in given])
        assert (refused.status_code, USER in refused.text) == (400, True)


def test_names_are_utf_8(database: Database) -> None:
    """A name is what the proxy sent, in UTF-8."""
    with proxied(database, operators=("Zoë",)).open() as client:
        assert "Zoë, operator" in client.get("/", headers=[(USER.encode(), "Zoë".encode())]).text


def test_the_proxy_is_asked_by_a_known_name(database: Database) -> None:
    """A page whose host name leads to the proxy reads nothing there."""
    with proxied(database).open() as client:
        statuses = [
            client.get("/", headers={USER: "sam", "host": host}).status_code
            for host in ("watch.example.com", "localhost", "192.0.2.9:8080", "evil.example")
        ]
    assert statuses == [421, 200, 200, 421], "web.hosts is for the loopback listener too"


def test_another_site_sends_no_form_through_the_proxy(database: Database) -> None:
    """Behind a proxy there is no session: a form counts only if the browser says that a page of ours sent it."""
    with proxied(database).open() as client:
        for headers in (
            {},
            {"sec-fetch-site": "cross-site"},
            {"sec-fetch-site": "same-site"},
            {"sec-fetch-site": "none"},
        ):
            assert decide(client, {**headers, USER: "sam"}).status_code == 403, headers
    assert acked_by(database) is None


def test_the_header_counts_more_than_a_session(database: Database) -> None:
    """Who the proxy names is not who signed in before in the same browser; without the header, tokens count."""
    secret = give_token(database, "kim", AccessRole.OPERATOR)
    with proxied(database).open() as client:
        headers = session(client, secret)
        assert "kim, operator" in client.get("/", headers=headers).text
        assert "rita, reader" in client.get("/", headers={**headers, USER: "rita"}).text
        assert client.get("/", headers={"authorization": f"Bearer {secret}"}).status_code == 200


def test_attempts_behind_the_proxy_are_limited_by_client(database: Database) -> None:
    """The limit of one client behind the proxy does not stop the others, and a client cannot choose its address."""
    with proxied(database).open("open-sesame") as client:

        def attempt(forwarded: str, token: str) -> int:
            client.headers["x-forwarded-for"] = forwarded
            return sign_in(client, token).status_code

        for number in range(MAX_ATTEMPTS):
            assert attempt(f"198.51.100.{number}, 203.0.113.7", "wrong") == 403
        assert attempt("203.0.113.7", "open-sesame") == 429
        assert attempt("203.0.113.8", "open-sesame") == 303


def test_a_plain_proxy_states_addresses_only(database: Database) -> None:
    """Without user_header, the header of a person is nothing, and wrong tokens are counted by the client behind the proxy."""
    with proxied(database, user_header=None).open("open-sesame") as client:
        assert client.get("/", headers={USER: "sam", "accept": "*/*"}).status_code == 401
        for _ in range(MAX_ATTEMPTS):
            client.headers["x-forwarded-for"] = "203.0.113.7"
            assert sign_in(client, "wrong").status_code == 403
        assert sign_in(client, "open-sesame").status_code == 429
        client.headers["x-forwarded-for"] = "203.0.113.8"
        assert sign_in(client, "open-sesame").status_code == 303


@pytest.mark.parametrize("name", OWN_NAMES)
def test_nobody_has_our_name_by_a_proxy(database: Database, name: str) -> None:
    """The proxy names nobody as the service itself."""
    with proxied(database).open() as client:
        refused = client.get("/", headers=[(USER.encode(), name.encode())])
        assert (refused.status_code, "is the name of this service" in refused.text) == (403, True)


def test_a_typed_name_is_not_that_of_an_operator(database: Database) -> None:
    """Who signs in with the shared token cannot write the name of an operator behind the proxy."""
    with proxied(database).open("open-sesame") as client:
        headers = session(client, "open-sesame")
        form = re.search(r'name="form_token" value="(\w+)"', client.get(ALERT, headers=headers).text)
        assert form is not None
        given = {"action": "ack", "author": "SAM", "form_token": form[1]}
        refused = client.post(f"{ALERT}/decision", data=given, headers=headers)
    assert (refused.status_code, acked_by(database)) == (400, None)


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_names_of_groups_need_not_be_ascii(database: Database, encoding: str) -> None:
    """An operator is one also by a group whose name is not ASCII: in UTF-8 as names of people, or as older proxies send it."""
    groups = "x,Bereitschaft-Süd".encode(encoding)
    with proxied(database, operator_groups=["Bereitschaft-Süd"]).open() as client:
        page = client.get("/", headers=[(USER.encode(), "jürgen".encode()), (GROUPS.encode(), groups)])
    assert "jürgen, operator" in page.text
