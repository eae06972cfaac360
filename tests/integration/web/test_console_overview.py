"""The overview shows what the store has, in one reading, with bounded queries."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest

from actionwatch.alerts.silences import make_silence
from actionwatch.base.clock import Spans
from actionwatch.base.model import Level, Status, Stretch
from actionwatch.settings import Stream as StreamSettings
from actionwatch.store import (
    alerts,
    delivery_transitions,
    marks,
    polls,
    receivers,
    record_counts,
    records,
    self_alerts,
    silences,
    streams,
)
from actionwatch.store.database import Database
from actionwatch.store.membership import Roster
from actionwatch.text.options import Options
from tests.builders import NOON, make_alert, make_delivery, make_marks, make_record
from tests.cases import in_one_test
from tests.integration.web.console_kit import Served

HOUR = timedelta(hours=1)


@pytest.fixture
def served(database: Database) -> Served:
    """A console with a source that is read, an alert, a dead letter, a self-alert and a silence."""
    made = Served(database)
    dead = make_delivery("two")
    with database.write() as connection:
        marks.write(connection, make_marks(begins_at=NOON - 30 * HOUR, proved_through=NOON - HOUR))
        polls.note_poll(connection, "acme", NOON, None)
        records.insert_new(connection, [make_record(number, minutes=-number) for number in range(5)])
        shadow = make_alert("shadow", labels={"mode": "shadow"})
        low = make_alert("two", level=Level.LOW, opened_at=NOON - 3 * HOUR)
        done = make_alert("three", status=Status.RESOLVED)
        alerts.insert_new(connection, [(each, "g") for each in (make_alert("one"), low, done, shadow)])
        delivery_transitions.enqueue(connection, [make_delivery("one"), dead])
        delivery_transitions.bury(connection, dead, "x")
        receivers.note_failure(connection, "hook", NOON - HOUR, "503 from the receiver", None)
        opened = self_alerts.OpenSelfAlert("dead_letters", "hook", NOON, "1 message", "retry it, or drop it", "three")
        self_alerts.insert(connection, opened)
        end = NOON + HOUR
        silences.write(connection, make_silence(["rule=a"], "sam", "CHG-12", NOON - HOUR, end, made_at=NOON))
    made.stretches = [
        Stretch("acme", NOON - 10 * HOUR, NOON - 3 * HOUR, is_proved=True),
        Stretch("acme", NOON - 3 * HOUR, NOON - 2 * HOUR, is_proved=False, why="the counts differ"),
        Stretch("acme", NOON - 2 * HOUR, NOON - HOUR, is_proved=True),
        Stretch("acme", NOON - HOUR, NOON, is_proved=False, why="read, but not proved"),
    ]
    return made


def test_overview_names_the_replicas(served: Served) -> None:
    """On a shared store the page says which replicas run, what each does, with which files, and which one answers."""
    hosts = {"aaaaaa11": "web-1", "bbbbbb22": "web-2", "cccccc33": "<b>"}
    holders = {"leader": "aaaaaa11", "tail acme": "bbbbbb22"}
    served.options["roster"] = lambda: Roster("bbbbbb22", hosts, holders=holders, digests={"aaaaaa11": "0123456789"})
    with served.open() as client:
        text = " ".join(re.sub(r"<[^>]+>", " ", client.get("/").text).split())
    assert "(aaaaaa) leader 01234567" in text
    assert "(bbbbbb) shows this page tail acme ?" in text
    assert "&lt;b&gt; (cccccc) sends" in text
    served.options.clear()
    with served.open() as client:
        assert "Replicas" not in client.get("/").text


def test_overview_says_what_matters(served: Served) -> None:
    """One page has the two sentences, the proof of each source, charts, receivers, self-alerts with remedies, and silences."""
    with served.open() as client:
        answer = client.get("/")
    text = answer.text
    assert answer.status_code == 200
    assert "actionwatch sees everything: the source is read and proved." in text
    assert "2 open alerts need a person: 1 high, 1 low; 1 dead letter waits for a decision." in text, "no shadow alert"
    for expected in (
        "80 % of the time that was read is proved",
        "the counts differ",
        "dead_letters: hook",
        "retry it, or drop it",
        "503 from the receiver",
        "CHG-12",
        "1/s",
        'class="gap"',
        'class="seen"',
        "2026-11-25 12:00 UTC: 3 high",
        "2026-11-25 11:00 UTC: 4 records",
    ):
        assert expected in text, expected
    assert len(answer.content) < 100_000


def test_overview_shows_each_stream(database: Database) -> None:
    """The card of streams says what waits, and why one fails; without streams, there is none."""
    options = {"type": "files", "options": Options()}
    configured = [StreamSettings.model_validate({"name": name, **options}) for name in ("lake", "archive")]
    with database.write() as connection:
        failing = streams.Health(failing_since=NOON, last_error="<b>cannot connect")
        streams.write_health(connection, "lake", failing)
        streams.write_position(connection, "lake", "record", streams.Position(0))
        records.insert_new(connection, [make_record(1)])
    with Served(database, options={"streams": configured}).open() as client:
        text = client.get("/").text
    assert re.search(r"failing since .*: &lt;b&gt;cannot connect", text)
    assert '<td data-label="waiting" class="n">1</td>' in text
    with Served(database).open() as client:
        assert '<h2 id="streams">' not in client.get("/").text


def test_reasons_of_readiness_are_the_first_sentence(served: Served) -> None:
    """What makes the service not ready is named on the page."""
    served.unready += ["source acme: not polled yet", "the step match hangs"]
    with served.open() as client:
        text = client.get("/").text
    assert "actionwatch does not see everything: source acme: not polled yet (1 more below or in /readyz)" in text
    assert "<li>the step match hangs</li>" in text


@in_one_test("chosen", ["day", "week", "month"])
def test_overview_of_an_empty_store(database: Database, chosen: str) -> None:
    """A service that has not polled yet has a page too, over every range."""
    with Served(database).open() as client:
        answer = client.get("/", params={"range": chosen})
    assert answer.status_code == 200
    assert "Nothing was read yet." in answer.text


def test_counts_stop_at_their_limit(database: Database) -> None:
    """A bar of records ends at its limit, and the chart of alerts has the newest ones."""
    with database.write() as connection:
        records.insert_new(connection, [make_record(number) for number in range(9)])
        old = [(make_alert(f"old{number}", opened_at=NOON - HOUR), "g") for number in range(3)]
        alerts.insert_new(connection, [*old, (make_alert("new"), "g")])
    spans = Spans.until(NOON, HOUR, 3)
    with database.read() as connection:
        assert record_counts.count_by_time(connection, spans, 5) == [0, 0, 5]
        assert record_counts.count_by_time(connection, spans, 50) == [0, 0, 9]
        assert alerts.count_by_time(connection, spans, 3) == [{}, {Level.HIGH: 2}, {Level.HIGH: 1}]
        assert alerts.count_by_time(connection, spans, 3, rule="other") == [{}, {}, {}]


def test_static_files_are_in_the_package() -> None:
    """Each static file that a page names exists, and none is named twice."""
    from actionwatch.web.console.page import STATIC

    folder = Path(__file__).parents[3] / "actionwatch" / "web" / "console" / "static"
    assert {path.name for path in folder.iterdir()} == set(STATIC)
