"""What `init` writes makes one page of one deletion: the shipped rules with the shipped inhibition, from action to message."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.end_to_end import kit
from tests.integration.notifiers.http_end import HttpEnd
from tests.waiting import wait_until

KAFKA, OTHER = "storefront-prod-kafka", "storefront-prod-opensearch"
STEPS = ("ACCOUNT_MODIFY_LINK", "CHANGE_CLUSTER_SETTINGS", "DELETE_BACKUP_SCHEDULE", "ACCOUNT_GENERATE_API_KEY")
SEQUENCES = {f"{step}_then_cluster_delete" for step in ("backup_schedule", "settings", "key", "role")}


@pytest.fixture
def watch(tmp_path: Path, up: kit.Upstream, webhook: HttpEnd, monkeypatch: pytest.MonkeyPatch) -> kit.Post:
    """The folder that `init` writes, for a quiet emulator."""
    return watching(tmp_path, up, webhook, monkeypatch)


def watching(tmp_path: Path, up: kit.Upstream, webhook: HttpEnd, monkeypatch: pytest.MonkeyPatch) -> kit.Post:
    """Let `init` write a folder; the emulator becomes the source, and the webhook the receiver."""
    names = {"organisation_id": up.organisation_id, "username": up.username, "api_key": up.api_key}
    variables = {f"ACTIONWATCH_{name.upper()}": value for name, value in names.items()}
    variables["ACTIONWATCH_LISTEN"] = "127.0.0.1:0"
    monkeypatch.setattr(kit, "environment", lambda before=kit.environment: before(**variables))
    folder = tmp_path / "watch"
    assert kit.finished_warm("init", str(folder), folder=tmp_path).returncode == 0
    config = folder / "actionwatch.yaml"
    text = config.read_text()
    for before, after in (
        ("#base_url: https://api.instaclustr.com", f"base_url: {up.base_url}\n    poll_interval: 0.5s"),
        ("#alert_backlog: false", "alert_backlog: true"),
        ("#start: now", "start: 6h"),
        ("    console: {} ", f"    webhook: {{url: '{webhook.url}/hook', signing_key: {kit.KEY}}}"),
    ):
        assert before in text
        text = text.replace(before, after)
    config.write_text(text)
    return kit.Post(folder, up)


def act(up: kit.Upstream, *kinds: str, ago: timedelta = timedelta(0), cluster: str = KAFKA, user: str = "eve") -> None:
    """Let a user do these things to a cluster, a second apart, from some time ago on."""
    begin = datetime.now(UTC) - ago
    actions = [
        {
            "action": kind,
            "userName": user,
            "cluster": cluster,
            "at": (begin + timedelta(seconds=number)).isoformat(timespec="milliseconds"),
        }
        for number, kind in enumerate(kinds)
    ]
    up.control("POST", "/actions", actions)


def critical(soar: kit.Soar) -> list[kit.Arrival]:
    """Return the pages about critical alerts."""
    return [page for page in soar.find(type="alert.opened") if page.data["level"] == "critical"]


def test_one_deletion_is_one_page(up: kit.Upstream, soar: kit.Soar, watch: kit.Post) -> None:
    """A request, the deletion and four sequences that end in them are one page, which names what it inhibits.

    What follows joins it as an update. Another cluster is another page, also for a user whose sequences go on. Nothing is
    silent: the others are listed with the alert that inhibits them, and `explain` says so.
    """
    act(up, *STEPS, "REQUEST_CLUSTER_DELETE", ago=timedelta(minutes=10))
    with watch.service() as service:
        (page,) = soar.wait_for(type="alert.opened", rule="backup_schedule_then_cluster_delete")
        act(up, "DELETE_CLUSTER")
        soar.wait_for(type="alert.updated", rule="backup_schedule_then_cluster_delete")
        act(up, "DELETE_CLUSTER", cluster=OTHER)
        (second,) = soar.wait_for(type="alert.opened", rule="cluster_deleted", user="eve")
        act(up, "DELETE_CLUSTER", cluster=OTHER, user="bob")
        (third,) = soar.wait_for(type="alert.opened", rule="cluster_deleted", user="bob")
        service.end()
    assert critical(soar) == [page, second, third]
    named = {alert["rule"]: alert["id"] for alert in page.data["inhibits"]["alerts"]}
    assert named.keys() == (SEQUENCES | {"cluster_deleted"}) - {"backup_schedule_then_cluster_delete"}
    assert {alert["rule"] for alert in second.data["inhibits"]["alerts"]} == {
        "key_then_cluster_delete", "role_then_cluster_delete",
    }  # fmt: skip
    listed = kit.called("alerts", "list", "--level", "critical", "-o", "json", folder=watch.folder)
    alerts = {alert["id"]: alert for alert in json.loads(listed.stdout)}
    for name in named.values():
        assert {"receiver": "screen", "by": "inhibition", "ref": page.data["id"]} in alerts[name]["suppressed"]
    assert alerts[named["cluster_deleted"]]["count"] == 2
    shown = kit.called("explain", named["cluster_deleted"], folder=watch.folder)
    assert f"inhibited by alert {page.data['id']}" in shown.stdout


def test_each_incident_of_the_emulator_is_one_page(
    tmp_path: Path, soar: kit.Soar, webhook: HttpEnd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The two incidents of the emulator that delete a cluster are one critical page each."""
    incidents = ("key_then_cluster_deleted", "backup_schedule_then_cluster_deleted")
    planned = "".join(f"  - {{incident: {name}, at: 1m}}\n" for name in incidents)
    with kit.upstream(tmp_path, f"{kit.QUIET}seed: 3\nlapse: 3000\nincidents:\n{planned}") as up:
        wait_until(lambda: len(up.control("GET", "/truth")) >= 5, "the end of both incidents")
        watch = watching(tmp_path, up, webhook, monkeypatch)
        # A service whose first poll brings the backlog delivers what plain rules find while it builds the state of sequences.
        assert kit.called("run", "--once", folder=watch.folder).returncode == 0
        up.delete_cluster("bob@example.com")
        assert kit.called("run", "--once", folder=watch.folder).returncode == 0
    sequence, deletion, last = sorted(critical(soar), key=lambda page: str(page.data["rule"]["name"]))
    assert "bob@example.com" in last.data["title"]
    assert sequence.data["rule"]["name"] == "backup_schedule_then_cluster_delete"
    assert (sequence.data["count"], deletion.data["count"]) == (3, 1)
    assert [alert["rule"] for alert in sequence.data["inhibits"]["alerts"]] == ["cluster_deleted"]
    assert [alert["rule"] for alert in deletion.data["inhibits"]["alerts"]] == ["key_then_cluster_delete"]
