"""Times on a terminal are local, with their zone; JSON has UTC; times that are typed without a zone are local."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from actionwatch.cli import output
from tests.cases import in_one_test
from tests.integration.cli.conftest import Desk, Terminal, new_desk
from tests.integration.notifiers.http_end import Reply

IN_UTC = re.compile(r"UTC|\d\dZ\b|[+-]00:00")
IN_ZONE = re.compile(r"\b(AEDT|AEST)\b")
INSTANT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[^\"]*")
SHOWING_TIMES = [
    "actions", "records list", "records proof", "records receipts", "alerts list", "alerts show ALERT", "explain ALERT",
    "explain RECORD", "deliveries list", "deliveries show DELIVERY", "silences list", "status",
    "rules explain RECORD cluster_deleted", "rules backtest cluster_deleted --since 1d", "routes test --alert ALERT",
]  # fmt: skip
WITHOUT_TIMES = ("status", "rules explain RECORD cluster_deleted", "routes test --alert ALERT")
"""Commands that show a time only now and then, but never one in UTC."""
LISTED = {"ALERT": ("alerts", "id"), "RECORD": ("records", "key"), "DELIVERY": ("deliveries", "id")}


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A desk with two alerts, a dead letter and a silence."""
    with new_desk(tmp_path_factory.mktemp("busy")) as desk:
        desk.webhook.queue = [Reply(410)]
        desk.act("DELETE_CLUSTER", 40, "eve@example.com")
        desk.act("DELETE_CLUSTER", 30, "bob@example.com")
        assert desk.call("run", "--once").status == 1
        assert desk.call("silences", "add", "level=critical", "--for", "1h", "--comment", "load test").status == 0
        yield desk


def _words(desk: Desk, command: str) -> list[str]:
    return [_newest(desk, *LISTED[word]) if word in LISTED else word for word in command.split()]


def _newest(desk: Desk, noun: str, key: str) -> str:
    """Return the id of the first item of a list."""
    return str(desk.call(noun, "list", "-o", "json").json[0][key])


@in_one_test("command", SHOWING_TIMES)
def test_times_are_local_on_a_terminal_and_utc_in_json(command: str, busy: Desk, sydney: None) -> None:
    """Each command that shows times shows them in the local zone, with its name, and in UTC with `-o json`."""
    words = _words(busy, command)
    for is_terminal in (True, False):
        shown = busy.call(*words, is_terminal=is_terminal)
        ours = re.split(r"\n\S*message\S*\n", shown.out)[0]  # below it is a message as it was sent
        assert IN_UTC.findall(ours + shown.err) == []
        assert IN_ZONE.search(shown.out) or command in WITHOUT_TIMES, shown.out
    printed = busy.call(*words, "-o", "json").out
    assert IN_ZONE.search(printed) is None
    assert [found for found in INSTANT.findall(printed) if not IN_UTC.search(found)] == []


def test_a_time_without_a_zone_is_local(busy: Desk, sydney: None) -> None:
    """A typed time without a zone is local, for what was and for what comes; the time that a silence begins is shown."""
    at = datetime.fromisoformat(
        busy.call("records", "list", "--user", "eve@example.com", "-o", "json").json[0]["timestamp"]
    )
    local = at.astimezone()
    assert local.utcoffset() != timedelta(0)
    typed = f"{local:%Y-%m-%d %H:%M:%S}", f"{local + timedelta(seconds=1):%Y-%m-%dT%H:%M:%S}"
    for command in ("records list", "actions", "records export"):
        found = busy.call(*command.split(), "--since", typed[0], "--until", typed[1], "-o", "jsonl").jsonl
        assert [record["userName"] for record in found] == ["eve@example.com"]
    start = datetime.now().astimezone() + timedelta(days=1)
    options = ("--for", "1h", "--comment", "x", "--force", "--start", f"{start:%Y-%m-%d %H:%M}")
    added = busy.call("silences", "add", "level=low", *options, "-o", "json")
    assert added.json["starts_at"] == f"{start.astimezone(UTC):%Y-%m-%dT%H:%M}:00.000Z"
    ends = start + timedelta(hours=1)
    assert (
        f"note: active from {start:%Y-%m-%d %H:%M}:00 {start.tzname()} to {ends:%Y-%m-%d %H:%M}:00 {ends.tzname()}"
        in added.err
    )


def test_a_table_over_the_change_to_summer_time_names_both_zones(sydney: None) -> None:
    """If the times of a column have different zones, each time names its own."""
    times = [datetime(2026, month, 1, tzinfo=UTC) for month in (9, 11)]
    with contextlib.redirect_stdout(Terminal()) as out:
        output.print_table(("at", "n"), [(at, 1) for at in times])
    assert out.getvalue().split("\n")[1:3] == ["09-01 10:00:00 AEST  1", "11-01 11:00:00 AEDT  1"]
