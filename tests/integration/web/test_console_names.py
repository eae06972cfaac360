"""Pages show names where the store knows them; the id is in the title, and in what people copy."""

from __future__ import annotations

import html
import re
import uuid
from collections.abc import Iterator
from datetime import timedelta

import httpx
import pytest

from actionwatch.base.model import Entity, Level, Silence
from actionwatch.queries import names
from actionwatch.store import alert_history, alerts, delivery_transitions, records, silences
from actionwatch.store.database import Database
from tests.builders import NOON, make_alert, make_delivery, make_record
from tests.cases import in_one_test
from tests.integration.web.console_kit import Served, form_token, give_token, session

HOUR = timedelta(hours=1)
CLUSTER, ACCOUNT, ABOVE, HIDING, GONE = (str(uuid.UUID(int=number)) for number in range(1, 6))
ALERT = "/alerts/one"


@pytest.fixture
def web(database: Database) -> Iterator[httpx.Client]:
    """Serve an alert whose messages a silence, another alert and a lost silence held back, with ids that have names."""
    group = {"userName": "eve", "cluster": CLUSTER, "account": ACCOUNT}
    record = make_record(
        user_name="eve", cluster=Entity(CLUSTER, "payments"), account=Entity(ACCOUNT, "Production <1>")
    )
    silence = Silence(HIDING, (f'cluster="{CLUSTER}"',), "kim", "move of payments", NOON - HOUR, NOON + HOUR)
    rows = [make_delivery("one", receiver) for receiver in ("hook", "mail", "chat")]
    stops = [("silence", HIDING, "silence"), ("inhibition", ABOVE, None), ("silence", GONE, "silence")]
    with database.write() as connection:
        records.insert_new(connection, [record])
        shown = make_alert("one", group=group, user="eve", cluster="payments")
        above = make_alert(ABOVE, title="All clusters deleted", level=Level.CRITICAL)
        alerts.insert_new(connection, [(shown, "g"), (above, "h")])
        alerts.join(connection, [("one", 1, NOON)])
        silences.write(connection, silence)
        delivery_transitions.enqueue(connection, rows)
        delivery_transitions.suppress(
            connection,
            [delivery_transitions.Suppression(row, *stop) for row, stop in zip(rows, stops, strict=True)],
        )
        line = f"silence {HIDING} by kim: move of payments"
        alert_history.append(connection, [alert_history.Entry(NOON, "one", "gate to hook", line)])
    with Served(database, open_to=None).open() as client:
        client.headers.update(session(client, give_token(database)))
        yield client


def seen(page: str) -> str:
    """Return what people see of the content of a page, without attributes, scripts and what forms hold."""
    return html.unescape(re.sub(r"<[^>]*>", "", page.split("<main", 1)[1].split("<footer", 1)[0]))


def hovered(page: str) -> set[str]:
    """Return the texts in titles."""
    return {html.unescape(text) for text in re.findall(r'title="([^"]*)"', page)}


def test_an_alert_names_what_held_its_messages_back(web: httpx.Client) -> None:
    """Its page has the reason of the silence and the title of the other alert; their ids, and that of the cluster, on hover."""
    page = web.get(ALERT).text
    text = seen(page)
    assert "hook: not sent, because of silence: move of payments (kim)" in text
    assert "mail: not sent, because of inhibition: All clusters deleted" in text
    assert f'<a class="ref" href="/alerts/{ABOVE}" title="{ABOVE}">All clusters deleted</a>' in page
    assert "Production <1>" in text
    assert [each for each in (CLUSTER, ACCOUNT, ABOVE, HIDING) if each in text] == []
    assert {CLUSTER, ACCOUNT, ABOVE, HIDING} <= hovered(page)
    assert f"chat: not sent, because of silence: {GONE}" in text, "nothing is known of a silence that retention deleted"
    assert f"silence {HIDING[:8]} by kim" in text


def test_deliveries_name_what_holds_them(web: httpx.Client) -> None:
    """The list of messages that wait for a summary has the same names."""
    page = web.get("/deliveries?state=held").text
    assert "silence: move of payments (kim)" in seen(page)
    assert HIDING not in seen(page)
    assert HIDING in hovered(page)


@in_one_test("path", [ALERT, "/alerts"])
def test_the_preview_of_a_silence_has_names(web: httpx.Client, path: str) -> None:
    """It names the cluster and the account of its matchers, which are on hover as they are."""
    form = {"action": "silence", "span": "1h", "comment": "ask sam", "id": "one", "form_token": form_token(web, path)}
    page = web.post(f"{ALERT}/decision" if path == ALERT else path, data=form).text
    text = seen(page).split("with ", 1)[1]
    assert text.startswith('rule="cluster_deleted" userName="eve" cluster="payments" account="Production <1>".')
    exact = f'rule="cluster_deleted" userName="eve" cluster="{CLUSTER}" account="{ACCOUNT}"'
    assert exact in hovered(page)


@in_one_test("path", ["/silences", "/"])
def test_silences_have_names(web: httpx.Client, path: str) -> None:
    """The list and the overview name the cluster, also in the name of a checkbox."""
    page = web.get(path).text
    assert 'cluster="payments"' in seen(page)
    assert CLUSTER not in seen(page)
    assert f'cluster="{CLUSTER}"' in hovered(page)
    assert path == "/" or 'Select cluster="payments"' in html.unescape(page)


def test_text_that_is_no_matcher_stays(database: Database) -> None:
    """A damaged store may have any text as a matcher."""
    broken = Silence("x", ("cluster", 'cluster="'), "kim", "x", NOON, NOON + HOUR)
    with database.read() as connection:
        assert names.of_silences(connection, [broken]) == {}
    assert names.spell_matchers(broken.matchers, {"": "x"}) == 'cluster cluster="'
