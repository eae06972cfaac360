"""Each page, form and operation: who may send it, from which site, and that it reads the clock once.

A new one is in these tables as soon as the console or the API has its route.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import httpx
import pytest

from actionwatch.base.access import AccessRole
from actionwatch.base.model import Silence
from actionwatch.store import alert_history, silences
from actionwatch.store.database import Database
from tests.builders import CLUSTER_DELETED_RULE, Clock
from tests.cases import in_one_test
from tests.integration.web.console_kit import Served, give_token, session
from tests.integration.web.every_request import (
    OPERATIONS,
    PAGES,
    SUBMISSIONS,
    Sent,
    Subject,
    add_subject,
    token_of_forms,
)
from tests.unit.rules.builders import rules_in

EVERY = [*PAGES, *OPERATIONS, *SUBMISSIONS]
DECISIONS = [each for each in EVERY if each.is_decision]
CHANGE_NOTHING = ("/api/v1/silences/preview", "/api/v1/alerts/{alert}/reopen")  # the alert is open
SIGNING = {"POST /sign-in": 403, "POST /sign-out": 303}
"""The status of requests about signing in: nobody has the token that is sent."""
SITES = ("cross-site", "same-site", "none")


class MovingClock(Clock):
    """A clock that moves on by a second whenever somebody reads it."""

    count = 0

    def __call__(self) -> datetime:
        self.count += 1
        self.advance(seconds=1)
        return super().__call__()


@pytest.fixture
def clock() -> MovingClock:
    """The clock of the pages and the operations."""
    return MovingClock()


@pytest.fixture
def served(database: Database, clock: MovingClock) -> Served:
    """A console that nobody reads without a token."""
    options: dict[str, Any] = {"clock": clock, "doubts": doubts}
    return Served(database, open_to=None, rules=rules_in(CLUSTER_DELETED_RULE).rules, options=options)


def doubts(made: Silence, now: datetime) -> list[str]:
    """Doubt a silence as the service does."""
    return ["it would start in the past"] if made.starts_at < now else []


@pytest.fixture
def subject(database: Database) -> Subject:
    """What all requests of a test are about."""
    return add_subject(database, 1)


@pytest.fixture
def client(served: Served) -> Iterator[httpx.Client]:
    """A browser without a session."""
    with served.open() as found:
        yield found


@pytest.fixture
def operator(client: httpx.Client, database: Database) -> httpx.Client:
    """The browser of sam, an operator."""
    client.headers.update(session(client, give_token(database)))
    return client


@pytest.fixture(params=["rita has the role reader", "without a token nothing can be changed here"])
def watching(request: pytest.FixtureRequest, served: Served, database: Database) -> Iterator[tuple[httpx.Client, str]]:
    """Somebody who may only read, on a listener with tokens and on one that is open, and what a refusal says."""
    is_reader = request.param.startswith("rita")
    served.open_to = None if is_reader else AccessRole.READER
    with served.open() as client:
        if is_reader:
            client.headers.update(session(client, give_token(database, "rita", AccessRole.READER)))
        yield client, request.param


def decided(database: Database) -> dict[str, list[str]]:
    """Return everything that decisions change."""
    with database.read() as connection:
        return {
            name: sorted(str(row) for row in connection.exec_driver_sql(f"SELECT * FROM {name}"))
            for name in ("alert", "alert_history", "delivery", "silence")
        }


@in_one_test("sent", [each for each in EVERY if not each.is_open])
def test_a_stranger_gets_nothing(client: httpx.Client, database: Database, subject: Subject, sent: Sent) -> None:
    """Without a token a person is led to the form for it, and a program is refused; nothing changes."""
    before = decided(database)
    answer = sent.send(client, subject)
    if sent in PAGES:
        assert (answer.status_code, answer.headers["location"][:14]) == (303, "/sign-in?next=")
        answer = sent.send(client, subject, accept="*/*")
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    is_problem = answer.headers["content-type"] == "application/problem+json"
    assert (is_problem, decided(database)) == (sent in OPERATIONS, before)


@in_one_test("sent", EVERY)
def test_who_may_only_read_changes_nothing(
    watching: tuple[httpx.Client, str], database: Database, subject: Subject, sent: Sent
) -> None:
    """All pages and documents open, without a form to decide; what is sent all the same is refused, with what helps."""
    client, refusal = watching
    before, token = decided(database), token_of_forms(client)
    answer = sent.send(client, subject, token)
    if sent.is_decision:
        assert (answer.status_code, refusal in answer.text) == (403, True), answer.text
    elif status := SIGNING.get(f"{sent.method} {sent.path}"):
        assert (answer.status_code, answer.headers.get("location")) == (status, "/sign-in" if status == 303 else None)
    else:
        assert answer.is_success or answer.status_code == 303, answer.text
        assert "<textarea" not in answer.text
        assert 'name="action"' not in answer.text
    assert decided(database) == before


@pytest.fixture
def other_token(served: Served, database: Database) -> Iterator[str]:
    """The token of the forms of another session."""
    with served.open() as client:
        client.headers.update(session(client, give_token(database, "kim")))
        yield token_of_forms(client)


@in_one_test("sent", [*DECISIONS, *(each for each in SUBMISSIONS if not each.is_decision)])
def test_another_site_sends_nothing(
    operator: httpx.Client, database: Database, subject: Subject, other_token: str, sent: Sent
) -> None:
    """In the browser of an operator, a form without the token of the session, or of another site, is refused."""
    before, token = decided(database), token_of_forms(operator)
    for site in SITES:
        answer = sent.send(operator, subject, token, **{"sec-fetch-site": site})
        assert (answer.status_code, "another site sent this form" in answer.text) == (403, True)
    if sent.fields is not None and sent.path not in ("/sign-in", "/sign-out"):
        for wrong in ("", token[:-1], "é" * 64, other_token):
            assert sent.send(operator, subject, wrong).status_code == 403
        assert operator.get(subject.name_in(sent.path), params=subject.name_in(sent.fields)).status_code < 500
    assert decided(database) == before


def times_of(database: Database, subject: Subject) -> set[datetime]:
    """Return the times of what people decided about a subject."""
    with database.read() as connection:
        stored = silences.read_all(connection)
        entries = [line.at for line in alert_history.read(connection, subject.alert) if line.stage != "dead"]
    starts = [each.starts_at for each in stored if each.id == subject.new]
    return {*entries, *starts, *(each.ends_at for each in stored if each.id == subject.silence and each.ended_by)}


@in_one_test("number, sent", enumerate(OPERATIONS))
def test_each_operation_reads_the_clock_once(
    operator: httpx.Client, clock: MovingClock, database: Database, number: int, sent: Sent
) -> None:
    """Each operation of the API succeeds, and everything that it stores has the time of the request."""
    subject, before = add_subject(database, number), clock.count
    body = {name: value for name, value in (sent.body or {}).items() if name != "author"}
    answer = Sent(sent.method, sent.path, body=body if sent.body else None).send(operator, subject)
    assert answer.is_success, answer.text
    assert clock.count == before + 1
    assert times_of(database, subject) == (
        {clock.now} if sent.is_decision and sent.path not in CHANGE_NOTHING else set()
    )


@in_one_test("number, sent", enumerate(SUBMISSIONS))
def test_each_form_reads_the_clock_once(
    operator: httpx.Client, clock: MovingClock, database: Database, number: int, sent: Sent
) -> None:
    """Each form of the console succeeds, and no time in it is in the past when it is checked."""
    subject, token = add_subject(database, number), token_of_forms(operator)
    before = clock.count
    answer = sent.send(operator, subject, token)
    status = SIGNING.get(f"{sent.method} {sent.path}")
    assert answer.status_code in ({status} if status else {200, 303}), answer.text
    assert "in the past" not in answer.text
    assert clock.count == before + 1


@in_one_test("sent", PAGES)
def test_each_page_reads_the_clock_once(
    operator: httpx.Client, clock: MovingClock, subject: Subject, sent: Sent
) -> None:
    """Each page, also with a time before now in its query, has one time."""
    before = clock.count
    operator.get(f"{subject.name_in(sent.path).partition('?')[0]}?since=7d")
    assert clock.count == before + 1
