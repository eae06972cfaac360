"""The API opens no door that the console keeps shut."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network

import httpx
import pytest

from actionwatch.base.access import AccessRole
from actionwatch.base.model import Status
from actionwatch.store import alerts
from actionwatch.store.database import Database
from actionwatch.web.attempts import MAX_ATTEMPTS
from actionwatch.web.proxy import TrustedProxy
from actionwatch.web.requests import MAX_BODY_BYTES
from tests.builders import make_alert
from tests.fixtures import database
from tests.integration.web.console_kit import Served, give_token, session

__all__ = ["database"]
SHARED = "open-sesame"
RESOLVE = "/api/v1/alerts/alert-1/resolve"
PATHS = ("alerts", "alerts/alert-1", "records", "deliveries", "silences", "rules", "status", "openapi.json", "nothing")


@pytest.fixture
def served(database: Database) -> Served:
    """A store with an alert, which nobody reads without a token."""
    with database.write() as connection:
        alerts.insert_new(connection, [(make_alert("alert-1"), "g")])
    return Served(database, open_to=None)


@pytest.fixture(autouse=True)
def nothing_is_decided(database: Database) -> Iterator[None]:
    """No test resolves the alert."""
    yield
    with database.read() as connection:
        alert = alerts.read(connection, "alert-1")
    assert alert is not None
    assert alert.status is Status.OPEN


def test_a_stranger_reads_nothing(served: Served) -> None:
    """Without a token each path is a problem document, also in a browser; wrong tokens are limited."""
    with served.open(SHARED) as client:
        for path in PATHS:
            refused = client.get(f"/api/v1/{path}")
            assert (refused.status_code, refused.headers["content-type"]) == (401, "application/problem+json"), path
            assert refused.headers["www-authenticate"] == "Bearer"
        bearer = {"authorization": "Bearer wrong"}
        statuses = [client.get("/api/v1/alerts", headers=bearer).status_code for _ in range(MAX_ATTEMPTS + 1)]
        assert statuses == [401] * MAX_ATTEMPTS + [429]
        assert client.post(RESOLVE, json={"author": "eve"}).status_code == 401


def test_an_open_listener_changes_nothing(served: Served) -> None:
    """Where reading is open, changing is not, and a proxy publishes neither."""
    served.open_to = AccessRole.READER
    with served.open() as client:
        assert client.get("/api/v1/alerts").status_code == 200
        assert client.post(RESOLVE, json={"author": "eve"}).status_code == 403
        for path in ("alerts", "openapi.json"):
            assert client.get(f"/api/v1/{path}", headers={"x-forwarded-for": "203.0.113.7"}).status_code == 403
        assert client.get("/api/v1/alerts", headers={"host": "evil.example"}).status_code == 421


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none"])
def test_another_site_decides_nothing(served: Served, database: Database, site: str) -> None:
    """A page of another site cannot use the session of a browser, or the proxy that signs a person in."""
    with served.open() as client:
        headers = session(client, give_token(database))
        assert client.post(RESOLVE, json={}, headers={**headers, "sec-fetch-site": site}).status_code == 403
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
            refused = client.post(RESOLVE, content=b"{}", headers={**headers, "content-type": kind})
            assert refused.status_code == 415, "a form of another site can have this type"
    served.proxy = TrustedProxy(
        addresses=[ip_network("127.0.0.1")], user_header="x-user", groups_header="x-groups", operators=["sam"]
    )
    with served.open() as client:
        for headers in ({"x-user": "sam"}, {"x-user": "sam", "sec-fetch-site": site}):
            assert client.post(RESOLVE, json={}, headers=headers).status_code == 403


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff", 400),
        (b"[" * (MAX_BODY_BYTES - 1), 400),
        (b'{"comment":' * 5000, 400),
        (b'{"comment":"\\ud800"}', 400),
        (b"{}" + b" " * MAX_BODY_BYTES, 413),
        (b'{"comment":"' + b"x" * 1001 + b'"}', 400),
    ],
)
def test_a_strange_body_is_refused(served: Served, database: Database, body: bytes, status: int) -> None:
    """A body that is not JSON, endless, or nested without end gets a problem document."""
    headers = {"authorization": f"Bearer {give_token(database)}", "content-type": "application/json"}
    with served.open() as client:
        refused: httpx.Response = client.post(RESOLVE, content=body, headers=headers)
    assert (refused.status_code, refused.headers["content-type"]) == (status, "application/problem+json")


@pytest.mark.parametrize("path", ["docs", "docs/oauth2-redirect", "redoc", "alerts/", "alerts//"])
def test_no_page_of_the_library_is_served(served: Served, database: Database, path: str) -> None:
    """FastAPI's own pages, which load scripts from the internet, do not exist, and no path leads to another one."""
    with served.open() as client:
        answer = client.get(f"/api/v1/{path}", headers={"authorization": f"Bearer {give_token(database)}"})
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


def test_documents_stay_on_their_origin(served: Served, database: Database) -> None:
    """No other site reads a document, and no cache keeps it."""
    with served.open() as client:
        answer = client.get("/api/v1/alerts", headers={"authorization": f"Bearer {give_token(database)}"})
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert not [name for name in answer.headers if name.startswith("access-control")]
