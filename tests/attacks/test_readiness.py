"""Strangers learn from the probes that something is wrong, and nothing of the database, its errors, or what steps print."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from actionwatch.base.access import new_secret
from actionwatch.base.reasons import Reason
from actionwatch.service.readiness import Readiness
from actionwatch.service.roles import Roles
from actionwatch.service.step_watch import StepWatch
from actionwatch.store.database import Database
from actionwatch.web.access import Access
from actionwatch.web.routes import health_routes, waiting_routes
from tests import http_client
from tests.attacks.test_console import TOKEN
from tests.fixtures import database
from tests.integration.kit import Post
from tests.integration.web.console_kit import Served, give_token, serving, session, sign_in

__all__ = ["database"]
BEARER = {"authorization": f"Bearer {TOKEN}"}
SECRET = "db.internal as watch"


def reasons(access: Access, headers: dict[str, str], *given: str) -> list[str]:
    """Ask for the readiness of a service that is not ready for these reasons."""
    with serving(health_routes(dict, lambda: given), "127.0.0.1", 0, access) as url:
        answer = http_client.get(f"{url}/readyz", headers=headers)
    assert (answer.status_code, answer.json()["ready"]) == (503, False)
    found: list[str] = answer.json()["reasons"]
    return found


def failing(database: Database) -> Iterator[str]:
    """Return the reasons of a service whose store lacks a table, and one of whose steps fails."""
    steps = StepWatch(Post(database).troubles)
    steps.add("match")
    with database.write() as connection:
        connection.exec_driver_sql("DROP TABLE poll")

    def fail() -> None:
        raise RuntimeError(SECRET)

    for _ in range(5):
        steps.attempt("match", fail)
    readiness = Readiness(database, lambda: {"acme": timedelta(seconds=30)}, dict, steps, Roles([]))
    readiness.look()
    return readiness.reasons()


def test_strangers_see_no_error(database: Database) -> None:
    """Without a valid token, the errors of the store and of steps are cut off; with one, they are shown."""
    secret = give_token(database)
    with Served(database).open(TOKEN) as client:
        signed_in = session(client, secret)
    given = list(failing(database))
    access = Served(database).access(TOKEN)
    for headers in (
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": f"Bearer {new_secret()}"},
        {"cookie": "a=b"},
    ):
        shown = reasons(access, headers, *given)
        assert "the store does not work" in shown
        assert "step match: it fails" in shown
        assert not [each for each in shown if SECRET in each or "poll" in each]
    for headers in (BEARER, {"authorization": f"Bearer {secret}"}, signed_in):
        assert reasons(access, headers, *given) == given


def test_an_open_listener_shows_all_to_this_machine(database: Database) -> None:
    """Where this machine reads the console without a token, it reads the reasons too, but not through a proxy."""
    access, given = Served(database).access(), Reason(f"the store failed: {SECRET}", "the store does not work")
    assert reasons(access, {}, given) == [given]
    assert reasons(access, {"forwarded": "for=203.0.113.7"}, given) == ["the store does not work"]


def test_a_text_that_nobody_checked_is_not_shown() -> None:
    """A reason without a text for strangers is not shown to them."""
    assert reasons(Access(TOKEN), {}, SECRET) == ["a reason that only people with a token see"]
    assert reasons(Access(TOKEN), BEARER, SECRET) == [SECRET]


@pytest.mark.parametrize("headers", [{}, BEARER])
def test_the_reason_of_a_process_that_waits_is_for_people(headers: dict[str, str]) -> None:
    """While a process waits for its store, only people with the token see where that is."""
    with serving(waiting_routes(SECRET), "127.0.0.1", 0, Access(TOKEN)) as url:
        found = http_client.get(f"{url}/readyz", headers=headers).json()["reasons"]
    assert found == ([SECRET] if headers else ["the store does not answer"])


def test_a_broken_store_shows_strangers_no_error(database: Database) -> None:
    """Where the store cannot check a token, a cookie or a form, the response has no text of the database."""
    with Served(database, open_to=None).open() as client:
        with database.write() as connection:
            connection.exec_driver_sql("DROP TABLE token")
            connection.exec_driver_sql("DROP TABLE session")
        bearer = client.get("/", headers={"authorization": f"Bearer {new_secret()}"})
        cookie = client.get("/api/v1/status", headers={"cookie": "__Host-actionwatch=x"})
        for answer in (bearer, cookie, sign_in(client, new_secret())):
            assert (answer.status_code, "does not answer" in answer.text, "no such" in answer.text) == (
                503,
                True,
                False,
            )
