"""SIGHUP makes the service load everything, and `status` says what that changed; `receivers test` needs no reload."""

from __future__ import annotations

import contextlib
import re
import signal
from datetime import UTC, datetime
from typing import Any

import pytest

from actionwatch.service import configuration
from actionwatch.service.announcement import Announcement, read_last_reload
from actionwatch.service.app import open_store
from tests.end_to_end import kit
from tests.end_to_end.conftest import post, soar, up, webhook
from tests.integration.cli.conftest import Called, Desk, call
from tests.integration.notifiers.http_end import HttpEnd, Reply
from tests.waiting import wait_until

__all__ = ["post", "soar", "up", "webhook"]


def _second(webhook: HttpEnd) -> str:
    return f"  - name: second\n    webhook: {{url: '{webhook.url}/hook', signing_key: {kit.KEY}}}\n"


def _call(post: kit.Post, *arguments: str) -> Called:
    return call("-c", str(post.folder / "actionwatch.yaml"), *arguments)


def _reload(post: kit.Post, service: kit.Service) -> dict[str, Any]:
    """Send SIGHUP, and return the reload that `status` shows then."""
    before = _last_reload(post)
    service.process.send_signal(signal.SIGHUP)
    return wait_until(lambda: (found := _last_reload(post)) != before and found, "the reload in 'status'")


def _last_reload(post: kit.Post) -> Any:
    return _call(post, "status", "-o", "json").json["last_reload"]


def test_receiver_can_be_tested_before_the_service_knows_it(post: kit.Post, soar: kit.Soar, webhook: HttpEnd) -> None:
    """With a running service, a receiver that was just added gets a test message: no dead letter, no alert. Then reload."""
    with post.service() as service:
        service.wait_until_up()
        post.write(webhook, more_receivers=_second(webhook))
        tested = _call(post, "receivers", "test", "second")
        assert (tested.status, tested.err) == (
            0,
            "note: the running service has an older configuration: on SIGHUP, it loads this one\n",
        )
        assert "second accepted the test message" in tested.out
        refusing = soar.answer
        soar.answer = lambda: Reply(503, b"try later")
        refused = _call(post, "receivers", "test", "second")
        soar.answer = refusing
        assert refused.status == 1
        assert "try later" in refused.err
        found = _reload(post, service)
        assert (found["lines"], found["faults"]) == (["receiver second added", "1 rule loaded"], [])
        assert re.search(r"reloaded .* ago: receiver second added; 1 rule loaded", _call(post, "status").out)
        assert _call(post, "receivers", "test", "second").err == ""
        post.upstream.delete_cluster("eve@example.com")
        wait_until(lambda: len(soar.find(user="eve@example.com")) == 2, "the alert at both receivers")
        service.end()
    assert post.query("SELECT receiver, status, why, ref FROM delivery WHERE event = 'test' ORDER BY created_at") == [
        ("second", "sent", None, None),
        ("second", "suppressed", "dropped", "receivers test"),
        ("second", "sent", None, None),
    ]
    assert post.query("SELECT * FROM self_alert") == []


def test_status_reports_what_was_not_loaded(post: kit.Post, soar: kit.Soar, webhook: HttpEnd) -> None:
    """A broken configuration, one that cannot start, and a broken rule are reported; the previous version stays in use."""
    config = post.folder / "actionwatch.yaml"
    good = config.read_text()
    with post.service() as service:
        service.wait_until_up()
        assert _last_reload(post) is None
        unchanged = ["the configuration did not change", "1 rule loaded"]
        assert _reload(post, service)["lines"] == unchanged
        config.write_text(good.replace("127.0.0.1:0", webhook.url.removeprefix("http://")))
        refused = _reload(post, service)
        assert refused["lines"] == ["the previous configuration stays in use", "1 rule loaded"]
        assert "the service cannot start with it: cannot listen on" in refused["faults"][0]
        config.write_text(good)
        (post.folder / "rules" / "broken.yml").write_text("title: [")
        rule = _reload(post, service)
        assert rule["lines"] == unchanged
        assert "broken.yml:2:1: not YAML" in rule["faults"][0]
        assert "broken.yml:2:1: not YAML" in _call(post, "status").out
        service.end()
    assert _last_reload(post) is None


def test_status_says_which_rules_changed_also_if_they_were_noticed_before(post: kit.Post) -> None:
    """Added, changed and removed rules are named once, each with its file, although the service had loaded them already."""
    rules = post.folder / "rules"
    (first,) = rules.iterdir()
    with post.service() as service:
        service.wait_until_up()
        (rules / "other.yml").write_text(
            re.sub(r"name: (.*)", r"name: other_\1", re.sub(r"\nid: .", "\nid: 9", first.read_text()))
        )
        service.wait_for("rules_reloaded")
        first.write_text(re.sub(r"level: \w+", "level: low", first.read_text()))
        reported = _reload(post, service)["lines"]
        assert reported[:2] == ["the configuration did not change", "2 rules loaded"]
        assert [re.sub(r"loaded \d\d:\d\d:\d\d .*", "loaded", line) for line in reported[2:]] == [
            f"added other_cluster_deleted ({rules / 'other.yml'}), loaded",
            f"changed cluster_deleted ({first}), loaded",
        ]
        assert _reload(post, service)["lines"] == reported[:2]
        (rules / "other.yml").unlink()
        assert any(
            line.startswith(f"removed other_cluster_deleted ({rules / 'other.yml'})")
            for line in _reload(post, service)["lines"]
        )
        service.end()


@pytest.mark.parametrize("note", [b"", b"{", b"[]", b'{"configuration": "1"}', b"\xff"])
def test_unfinished_note_counts_as_none(desk: Desk, note: bytes) -> None:
    """A note that is being written, or is from another version, is no error."""
    database = open_store(configuration.read_settings(desk.config))
    with contextlib.closing(database), database.joined() as ownership:
        ownership.write(note)
        assert desk.call("status", "-o", "json").json["last_reload"] is None


def test_newest_reload_of_the_replicas_is_shown(desk: Desk) -> None:
    """Each replica keeps the note of its own reloads."""
    database = open_store(configuration.read_settings(desk.config))
    with contextlib.closing(database), database.joined() as ownership:
        announcement = Announcement(())
        announcement.start(ownership)
        assert read_last_reload(database.peers.roster()) is None
        announcement.end_reload(["first"], [])
        announcement.end_reload(["second"], ["a fault"])
        found = read_last_reload(database.peers.roster())
        assert found is not None
        assert (found.lines, found.faults, found.at <= datetime.now(UTC)) == (("second",), ("a fault",), True)


def test_changed_configuration_is_reported_in_the_store(desk: Desk) -> None:
    """The lock file of a running service is not emptied by a second process that does not get the lock."""
    database = open_store(configuration.read_settings(desk.config))
    with contextlib.closing(database), database.joined() as ownership:
        ownership.write(b"note")
        assert desk.call("run", "--once").status == 1
        assert list(database.peers.roster().notes.values()) == [b"note"]
    with contextlib.closing(desk.open_store()) as database, database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM delivery").scalar() == 0
