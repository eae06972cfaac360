"""The page that tries a draft: with the real process on a real store, and what it shows while that runs."""

from __future__ import annotations

import asyncio
import html
import re
import sys
import threading
from collections.abc import AsyncGenerator
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import pytest

from actionwatch.rules.trial import TrialEvent, TrialProgress, TrialRefused
from actionwatch.service import trial
from actionwatch.store import alerts, rule_versions
from actionwatch.store.database import Database
from actionwatch.web import connections
from actionwatch.web.console.drafts import EXAMPLE
from tests.builders import CLUSTER_DELETED_RULE, NOON, make_alert, make_version
from tests.integration.service.test_trial import Place
from tests.integration.web.console_kit import Served
from tests.unit.rules.builders import rules_in
from tests.waiting import LIMIT, wait_for_event, wait_until

MARKUP = "<img src=x onerror=alert(1)>"

pytestmark = pytest.mark.usefixtures("unguarded")  # the trial opens the store in another process


@pytest.fixture
def place(tmp_path: Path, database: Database) -> Place:
    """A configuration, and a store with records."""
    return Place(tmp_path, database)


@pytest.fixture
def served(place: Place, monkeypatch: pytest.MonkeyPatch) -> Served:
    """A console that tries drafts as the service does. On a busy machine their process alone needs a minute to start."""
    monkeypatch.setattr(connections, "SERVE_SECONDS", LIMIT)
    return Served(place.database, options={"try_draft": place.trials.run})


def token_of(page: str) -> str:
    """Return the token of the form."""
    found = re.search(r'action="/draft#result"[^>]*>\s*<input type="hidden" name="form_token" value="([^"]*)"', page)
    assert found is not None
    return found[1]


def sent(client: httpx.Client, text: str, **changes: str) -> httpx.Response:
    """Send the form of the page."""
    fields = {"form_token": token_of(client.get("/draft").text), "text": text, "span": "1d", **changes}
    return client.post("/draft", data=fields)


def editor(page: str) -> str:
    """Return the text in the editor."""
    found = re.search(r"<textarea[^>]*>\n(.*?)</textarea>", page, re.DOTALL)
    assert found is not None
    return html.unescape(found[1])


def test_example_is_tried(place: Place, served: Served) -> None:
    """The example of the form is a rule, and its result has the alerts with links to their records."""
    place.store("eve", MARKUP)
    with served.open() as client:
        page = sent(client, EXAMPLE)
    assert page.status_code == 200
    assert "<strong>2 alerts</strong> of 2 records" in page.text
    assert "eve deleted a cluster" in page.text
    assert "&lt;img src=x" in page.text
    assert MARKUP not in page.text
    assert re.search(r'href="/records/[0-9a-f]{16}-[0-9a-f]{20}"', page.text)
    assert "The draft has no tests." in page.text
    assert editor(page.text) == EXAMPLE


def test_fault_is_shown_and_the_text_kept(place: Place, served: Served) -> None:
    """A broken draft comes back as it was written, with the place of the fault."""
    place.store("eve")
    text = f"title: [\r\n# {MARKUP}\u202e </textarea>\t\r\n"
    with served.open() as client:
        page = sent(client, text).text
    wrong = re.search(
        r'class="line wrong"><span class="number">(\d+)</span>.*?<p class="fault">([^<]*)</p>', page, re.DOTALL
    )
    assert wrong is not None, "the fault is at its line"
    assert (wrong[1], "not YAML" in wrong[2], "draft.yml" in wrong[2]) == ("3", True, False)
    assert editor(page) == text.replace("\r\n", "\n")
    assert MARKUP not in page


def test_rule_in_use_is_the_beginning(place: Place, served: Served) -> None:
    """The page of a rule leads to its YAML in the editor, and the result says what the rule in use did."""
    served.rules = rules_in(CLUSTER_DELETED_RULE).rules
    name = served.rules[0].name
    version = make_version(name.id, CLUSTER_DELETED_RULE, name=name.name)
    with place.database.write() as connection:
        rule_versions.write(connection, [version])
    with served.open() as client:
        page = client.get(f"/rules/{name.id}").text
        (target,) = re.findall(r'href="(/draft\?rule=[^"]+)"', page)
        assert "name: cluster_deleted" in editor(client.get(target).text)
        gone = client.get("/draft?rule=nothing")
    assert (gone.status_code, "no rule in use has the id or name nothing" in gone.text) == (404, True)


def test_progress_is_sent_while_it_runs(database: Database) -> None:
    """The page begins before the result is there; each line of progress comes when it happens."""
    may_end = threading.Event()

    async def slow(draft: str, since: datetime) -> AsyncGenerator[TrialEvent, None]:
        assert (draft, since) == ("slow: 1", NOON - timedelta(days=7))
        for count in (1, 2_000):
            yield TrialProgress(count, NOON)
        await asyncio.to_thread(wait_for_event, may_end, "the client to have read the progress")
        yield TrialRefused(["done"])

    served = Served(database, options={"try_draft": slow})
    with served.open() as client:
        fields = {"form_token": token_of(client.get("/draft").text), "text": "slow: 1", "span": "7d"}
        with client.stream("POST", "/draft", data=fields, timeout=LIMIT) as response:
            page = ""
            for piece in response.iter_text():
                page += piece
                if "1 record," in page and not may_end.is_set():
                    assert "done" not in page
                    may_end.set()
    assert "2,000 records" in page
    assert "<p>done</p>" in page


def test_progress_and_result_of_the_command(place: Place, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page shows what the command reports while it runs, in its order, and then its result."""
    eager = "import sys\nfrom actionwatch.cli import main\nfrom actionwatch.cli.rules import backtest_summary\n"
    eager += "backtest_summary._PROGRESS_SECONDS = 0\nmain(sys.argv[2:])"
    monkeypatch.setattr(trial, "_COMMAND", (sys.executable, "-c", eager))
    place.store("eve", "bob")
    with served.open() as client:
        page = sent(client, EXAMPLE).text
    shown = [
        "Reading the rules",
        "Read 1 record",
        "Read 2 records",
        "Ran on 1 record",
        "Ran on 2 records",
        "<strong>2 alerts",
    ]
    places = [page.find(each) for each in shown]
    assert -1 not in places
    assert places == sorted(places)


def test_client_that_leaves_ends_the_trial(place: Place, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial ends with its request, also while its process is silent, and the next one runs."""
    place.store("eve")
    with served.open() as client:
        fields = {"form_token": token_of(client.get("/draft").text), "text": EXAMPLE, "span": "1d"}
        with monkeypatch.context() as silent:
            silent.setattr(trial, "_COMMAND", (sys.executable, "-c", "import signal\nsignal.pause()"))
            with client.stream("POST", "/draft", data=fields, timeout=LIMIT) as response:
                assert "Reading the rules" in next(response.iter_text())
        wait_until(lambda: "1 alert" in sent(client, EXAMPLE).text, "the turn of the next one")


def test_rule_in_use_is_compared(place: Place, served: Served) -> None:
    """The alerts of the rule in use are those that it opened in the time of the trial."""
    place.store("eve")
    served.rules = rules_in(CLUSTER_DELETED_RULE).rules
    with place.database.write() as connection:
        for name, days in (("old", 20), ("new", 0)):
            opened = NOON - timedelta(days=days) + timedelta(minutes=1)
            rule = served.rules[0].name
            alerts.insert_new(connection, [(make_alert(name, rule=rule, opened_at=opened, last_at=NOON), name)])
    with served.open() as client:
        assert "The rule in use opened 1 alert in this time." in sent(client, CLUSTER_DELETED_RULE).text


def test_an_unknown_time_starts_no_process(served: Served) -> None:
    """The page says which times there are."""
    with served.open() as client:
        wrong = sent(client, EXAMPLE, span="10y")
    assert (wrong.status_code, "use one of 1d, 7d, 30d, 90d" in wrong.text) == (400, True)
