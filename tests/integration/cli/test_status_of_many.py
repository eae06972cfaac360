"""`status` with many sources: totals and exceptions, filters, and the same JSON as with few."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from actionwatch.base.clock import utc_now
from actionwatch.base.source_labels import use_labels
from actionwatch.queries.source_health import MANY
from actionwatch.service import app, configuration
from actionwatch.store import marks, polls, self_alerts
from actionwatch.store.database import Database
from tests.builders import make_marks
from tests.integration.cli.conftest import Called, call

NAMES = [f"org-{number:02}" for number in range(30)]
REFUSED, SILENT = "org-17", "org-20"
KEYS = ["name", "mark", "seen_through", "proved_through", "last_poll", "records"]


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Path]:
    """A configuration of many sources with labels, whose store was written by a service that just stopped."""
    keys = "organisation_id: o, username: u, api_key: k"
    lines = [f"- {{name: {name}, {keys}, labels: {{customer: c{name[-1]}}}}}\n" for name in NAMES]
    (tmp_path / "sources.yml").write_text("".join(lines))
    (tmp_path / "rules").mkdir()
    path = tmp_path / "actionwatch.yaml"
    path.write_text(f"sources: {{file: sources.yml}}\nstore: {{url: 'sqlite:///{tmp_path}/actionwatch.db'}}\n")
    app.open_store(configuration.read_settings(path)).close()
    now = utc_now()
    with closing(Database(f"sqlite:///{tmp_path}/actionwatch.db")) as database, database.write() as connection:
        for name in NAMES:
            marks.write(connection, make_marks(name=name, mark=now, seen_through=now, proved_through=now))
            for _ in range(3 if name == SILENT else 0):
                polls.note_poll(connection, name, now, "the upstream answered 503")
            if name != SILENT:
                polls.note_poll(connection, name, now, None)
        opened = self_alerts.OpenSelfAlert("key_refused", REFUSED, now - timedelta(hours=1), "401", "a new key", "x")
        self_alerts.insert(connection, opened)
    yield path
    use_labels({})


def status(config: Path, *arguments: str) -> Called:
    """Call the command."""
    return call("-c", str(config), "status", *arguments)


def rows(called: Called) -> list[str]:
    """Return the names of the sources in the table."""
    return re.findall(r"^(org-\d\d) ", called.out, re.MULTILINE)


def test_totals_and_exceptions_are_shown_worst_first(config: Path) -> None:
    """With more than twenty sources, the text counts them by state and lists those that need attention."""
    called = status(config)
    assert called.status == 1
    assert "30 sources: 1 refused, 1 silent, 28 current" in called.out
    assert rows(called) == [REFUSED, SILENT]
    assert re.search(r"^org-17 +refused +0 ", called.out, re.MULTILINE)
    assert re.search(r"^org-03 +0 +never +\d", status(config, "--source", "org-03").out, re.MULTILINE), (
        "it has no newest record"
    )
    assert re.search(r"key_refused: org-17, since 1h\S* ago: 401", called.out)


def test_all_shows_each_source(config: Path) -> None:
    """`--all` shows each source as a few are shown."""
    assert rows(status(config, "--all")) == NAMES


def test_filters_choose_sources_and_their_troubles(config: Path) -> None:
    """Names and labels choose sources; with a few, each is shown, and only their troubles count."""
    healthy = status(config, "--source", "org-03", "--source", "org-05")
    assert (healthy.status, rows(healthy)) == (0, ["org-03", "org-05"])
    assert "key_refused" not in healthy.out
    of_customer = status(config, "--label", "customer=c7")
    assert (of_customer.status, rows(of_customer)) == (1, ["org-07", "org-17", "org-27"])
    assert rows(status(config, "--label", "customer=c7", "--label", "source!=org-17")) == ["org-07", "org-27"]
    assert rows(status(config, "--label", "customer=~c7|c8", "--source", "org-08")) == ["org-08"]


def test_json_has_every_source(config: Path) -> None:
    """Scripts get the same document with many sources as with few, with the same filters; exceptions also have their state."""
    found = status(config, "-o", "json").json
    assert [each["name"] for each in found["sources"]] == NAMES
    assert {each["name"]: each["state"] for each in found["sources"] if "state" in each} == {
        REFUSED: "refused",
        SILENT: "silent",
    }
    assert all(list(each)[: len(KEYS)] == KEYS for each in found["sources"])
    (trouble,) = [each for each in found["troubles"] if each["trouble"] == "key_refused"]
    assert (trouble["subject"], trouble["what"]) == (REFUSED, "401")
    chosen = status(config, "--label", "customer=c3", "-o", "json")
    assert [each["name"] for each in chosen.json["sources"]] == ["org-03", "org-13", "org-23"]
    assert (chosen.status, chosen.json["troubles"]) == (0, [])


def test_mistakes_are_refused(config: Path) -> None:
    """A misspelt name or label is a usage error, because nothing found would look like success."""
    for arguments, message in (
        (["--source", "org-99"], "no source is named org-99"),
        (["--label", "customer"], "not a matcher"),
        (["--label", "customer=nobody"], "no source has customer=nobody: there are: c0, c1, c2"),
        (["--label", "custmer=c1"], "no source has the label custmer: did you mean 'customer'?"),
        (
            ["--label", "customer=c1", "--label", "customer=c2"],
            "customer=c1 customer=c2: correct them, or leave one out",
        ),
    ):
        called = status(config, *arguments)
        assert called.status == 2, arguments
        assert message in called.err


def test_many_exceptions_and_troubles_are_cut(config: Path) -> None:
    """While nothing is polled, the text shows twenty sources, three troubles of a kind, and how many more there are."""
    long_ago = polls.Poll(utc_now() - timedelta(days=1), 0, None)
    with closing(Database(f"sqlite:///{config.parent}/actionwatch.db")) as database, database.write() as connection:
        polls.write(connection, dict.fromkeys(NAMES, long_ago))
    called = status(config)
    assert "30 sources: 1 refused, 29 silent" in called.out
    assert len(rows(called)) == MANY
    assert "and 10 more that are not current: --all shows all sources" in called.out
    assert called.out.count("service_stopped: ") == 3
    assert "and 27 more like these: -o json has all" in called.out
    assert called.out.count("remedy: start the service") == 1
    assert len(status(config, "-o", "json").json["troubles"]) == len(NAMES) + 1
