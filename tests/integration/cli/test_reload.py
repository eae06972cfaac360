"""`reload` asks the service that runs, and waits for the result; `receivers test` needs no reload."""

from __future__ import annotations

import contextlib
import os
import re

import pytest

from actionwatch.service import configuration
from actionwatch.service.announcement import Announcement
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


def _reload(post: kit.Post) -> Called:
    return _call(post, "reload")


def test_receiver_can_be_tested_before_the_service_knows_it(post: kit.Post, soar: kit.Soar, webhook: HttpEnd) -> None:
    """With a running service, a receiver that was just added gets a test message: no dead letter, no alert. Then reload."""
    with post.service() as service:
        service.wait_until_up()
        post.write(webhook, more_receivers=_second(webhook))
        tested = _call(post, "receivers", "test", "second")
        assert (tested.status, tested.err) == (
            0,
            "note: the running service has an older configuration: 'actionwatch reload' loads this one\n",
        )
        assert "second accepted the test message" in tested.out
        refusing = soar.answer
        soar.answer = lambda: Reply(503, b"try later")
        refused = _call(post, "receivers", "test", "second")
        soar.answer = refusing
        assert refused.status == 1
        assert "try later" in refused.err
        found = _reload(post)
        assert (found.status, found.err) == (0, "")
        assert found.out == "receiver second added\n1 rule loaded\n"
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


def test_reload_reports_what_is_wrong(post: kit.Post, soar: kit.Soar, webhook: HttpEnd) -> None:
    """A broken configuration, one that cannot start, and a broken rule are reported, with the exit status of their kind."""
    config = post.folder / "actionwatch.yaml"
    good = config.read_text()
    assert "there is no store" in _reload(post).err
    with post.service() as service:
        service.wait_until_up()
        assert _reload(post).out == "the configuration did not change\n1 rule loaded\n"
        config.write_text(good + "nonsense: true\n")
        broken = _reload(post)
        assert (broken.status, broken.out) == (2, "")
        assert "unknown key 'nonsense'" in broken.err
        config.write_text(good.replace("127.0.0.1:0", webhook.url.removeprefix("http://")))
        refused = _reload(post)
        assert (refused.status, refused.out) == (1, "the previous configuration stays in use\n1 rule loaded\n")
        assert "the service cannot start with it: cannot listen on" in refused.err
        config.write_text(good)
        (post.folder / "rules" / "broken.yml").write_text("title: [")
        rule = _reload(post)
        assert (rule.status, rule.out) == (1, "the configuration did not change\n1 rule loaded\n")
        assert "broken.yml:2:1: not YAML" in rule.err
        service.end()
    ended = _reload(post)
    assert (ended.status, ended.out) == (1, "")
    assert "no service is running on the store" in ended.err


def test_reload_says_which_rules_changed_also_if_they_were_noticed_before(post: kit.Post) -> None:
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
        reported = _reload(post).out.splitlines()
        assert reported[:2] == ["the configuration did not change", "2 rules loaded"]
        assert [re.sub(r"loaded \d\d:\d\d:\d\d .*", "loaded", line) for line in reported[2:]] == [
            f"added other_cluster_deleted ({rules / 'other.yml'}), loaded",
            f"changed cluster_deleted ({first}), loaded",
        ]
        assert _reload(post).out.splitlines() == reported[:2]
        (rules / "other.yml").unlink()
        assert f"removed other_cluster_deleted ({rules / 'other.yml'})" in _reload(post).out
        service.end()


def test_reload_signals_only_a_service_in_its_own_process_space(desk: Desk) -> None:
    """A process number of another container may belong to any process here: it gets no signal. Neither does `run --once`."""
    database = open_store(configuration.read_settings(desk.config))
    with contextlib.closing(database), database.joined() as ownership:
        busy = desk.call("reload")
        assert (busy.status, "is busy" in busy.err) == (1, True)
        Announcement(()).start(ownership)
        (note,) = database.peers.roster().notes.values()
        assert f'"process":{os.getpid()},' in note.decode()
        ownership.write(note.replace(b'"process_space":"', b'"process_space":"1'))
        other = desk.call("reload")
        assert (other.status, "in another container or on another machine" in other.err) == (1, True)


@pytest.mark.parametrize("note", [b"", b"{", b"[]", b'{"process": "1"}', b"\xff"])
def test_unfinished_note_counts_as_none(desk: Desk, note: bytes) -> None:
    """A note that is being written, or is from another version, is no error."""
    database = open_store(configuration.read_settings(desk.config))
    with contextlib.closing(database), database.joined() as ownership:
        ownership.write(note)
        assert desk.call("reload").status == 1


def test_changed_configuration_is_reported_in_the_store(desk: Desk) -> None:
    """The lock file of a running service is not emptied by a second process that does not get the lock."""
    database = open_store(configuration.read_settings(desk.config))
    with contextlib.closing(database), database.joined() as ownership:
        ownership.write(b"note")
        assert desk.call("run", "--once").status == 1
        assert list(database.peers.roster().notes.values()) == [b"note"]
    with contextlib.closing(desk.open_store()) as database, database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM delivery").scalar() == 0
