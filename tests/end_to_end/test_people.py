"""Decisions made with commands while the service runs, and the resulting messages."""

from __future__ import annotations

import json
from typing import Any

from tests.end_to_end import kit
from tests.integration.notifiers.http_end import HttpEnd, Reply
from tests.waiting import wait_until


def json_of(post: kit.Post, *arguments: str) -> Any:
    """Return the JSON output of a command."""
    done = kit.called(*arguments, "-o", "json", folder=post.folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def output_of(post: kit.Post, *arguments: str) -> str:
    """Run a command. Return its output."""
    done = kit.called(*arguments, folder=post.folder)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def about(soar: kit.Soar, user: str) -> list[kit.Arrival]:
    """Return the messages about a user's actions in the order of arrival, without self-alerts."""
    return [
        arrival
        for arrival in list(soar.arrivals)
        if any(record["userName"] == user for record in arrival.data.get("records", []))
    ]


def types(soar: kit.Soar, user: str) -> list[str]:
    """Return the types of these messages."""
    return [arrival.type for arrival in about(soar, user)]


def test_operator_actions_while_the_service_runs(post: kit.Post, webhook: HttpEnd, soar: kit.Soar) -> None:
    """Alerts are acknowledged, resolved, silenced and replayed with commands while the service delivers the messages."""
    with post.service() as service:
        service.wait_until_up()
        post.upstream.delete_cluster("eve@example.com")
        wait_until(lambda: types(soar, "eve@example.com") == ["alert.opened"], "the opening")
        alert_id = about(soar, "eve@example.com")[0].data["id"]
        assert "sam" in output_of(post, "alerts", "ack", alert_id[:8], "--author", "sam")
        wait_until(lambda: about(soar, "eve@example.com")[-1].data["acked_by"] == "sam", "the acknowledgement")
        assert "sam" in output_of(post, "alerts", "ack", alert_id, "--author", "bob")
        assert "bob" in output_of(post, "alerts", "resolve", alert_id, "--author", "bob")
        whole = ["alert.opened", "alert.updated", "alert.resolved"]
        wait_until(lambda: types(soar, "eve@example.com") == whole, "the end")

        silence_id = output_of(
            post, "silences", "add", "userName=bob@example.com", "--for", "1h", "--comment", "a test", "--author", "sam"
        )
        post.upstream.delete_cluster("bob@example.com")
        wait_until(lambda: post.query("SELECT id FROM delivery WHERE status = 'suppressed'"), "the silenced row")
        output_of(post, "silences", "expire", silence_id[:8])
        summary = wait_until(lambda: [a for a in list(soar.arrivals) if a.type == "alerts.summary"], "the summary")[0]
        assert summary.data["causes"] == [
            {"ref": silence_id, "author": "sam", "comment": "a test", "count": 1, "rules": {"cluster_deleted": 1}}
        ]
        assert types(soar, "bob@example.com") == []

        soar.answer = lambda: Reply(400)
        post.upstream.delete_cluster("amy@example.com")
        dead = wait_until(lambda: json_of(post, "deliveries", "list", "--dead"), "the dead letter")[-1]
        output_of(post, "alerts", "resolve", dead["alert"], "--author", "sam")
        wait_until(lambda: post.query("SELECT id FROM delivery WHERE why = 'untold'"), "the suppressed resolve")
        soar.answer = lambda: Reply(204)
        soar.arrivals.clear()
        output_of(post, "deliveries", "retry", dead["id"])
        wait_until(lambda: types(soar, "amy@example.com") == ["alert.opened", "alert.resolved"], "both")
        assert about(soar, "amy@example.com")[0].id == dead["id"]
    assert all(arrival.is_genuine for arrival in soar.arrivals)
