"""SIGHUP reloads the configuration."""

from __future__ import annotations

import contextlib
import signal
import socket
from datetime import timedelta

import pytest

from actionwatch.base.model import Status
from actionwatch.emulator.app import create_app
from actionwatch.emulator.server import running
from actionwatch.emulator.state import Organisation
from actionwatch.service import configuration_watch, jobs
from actionwatch.service.app import App
from actionwatch.service.configuration import read_settings
from actionwatch.service.once import run_once
from actionwatch.store import lease, self_alerts
from actionwatch.store.database import Database
from actionwatch.store.membership import LEADER
from tests import postgresql
from tests.builders import CLUSTER_DELETED_RULE
from tests.end_to_end import kit
from tests.end_to_end.conftest import post, soar, up, webhook
from tests.integration.reload.kit import CREATED, Site, put, rule
from tests.waiting import wait_until

__all__ = ["post", "soar", "up", "webhook"]
TWO = "receivers: [{name: screen, console: {}}, {name: second, console: {}}]\n"


def _routed(site: Site) -> list[str]:
    """Return the receivers of the newest alert."""
    alert = site.alerts()[-1]
    with site.read() as database, database.read() as connection:
        rows = connection.exec_driver_sql("SELECT receiver FROM delivery WHERE alert_id = ?", (alert.id,))
        return sorted(name for (name,) in rows)


def test_changed_configuration_is_loaded_completely(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """New receivers and another folder of rules apply together, and no record in between is lost."""
    site.write({"rules/one.yml": rule(), "more/two.yml": rule("two", CREATED)})
    with site.served() as asked:
        wait_until(site.is_settled, "a first poll")
        site.act()
        wait_until(lambda: _has(site, 1), "an alert")
        assert _routed(site) == ["screen"]
        site.more = f"{TWO}rules: [rules, more]\n"
        site.write()
        asked.ask("reload")
        wait_until(lambda: len(site.versions()) == 2, "the other rules")
        site.act(CREATED)
        wait_until(lambda: _has(site, 2), "an alert of the other folder")
        assert _routed(site) == ["screen", "second"]
        assert {version.name for version in site.versions()} == {"plain", "two"}
    capsys.readouterr()


def test_broken_configuration_keeps_the_old_one(site: Site) -> None:
    """The error is reported with its location, and rules are still reloaded. After the fix the self-alert resolves."""
    site.write({"rules/one.yml": rule()})
    good = site.config.read_text()
    with site.served() as asked:
        wait_until(site.is_settled, "a first poll")
        site.config.write_text(good + "nonsense: true\n")
        asked.ask("reload")
        wait_until(lambda: site.config.name in site.broken(), "the trouble")
        assert "nonsense" in site.broken()[site.config.name].what
        assert site.broken()[site.config.name].what.endswith("The previous configuration stays in use")
        put(site.rules / "one.yml", rule(kind=CREATED))
        asked.ask("reload")
        wait_until(lambda: _acted(site), "an alert by the changed rule")
        site.config.write_text(good)
        asked.ask("reload")
        wait_until(lambda: not site.broken(), "the end of the trouble")


def test_configuration_that_cannot_start_is_rolled_back(site: Site) -> None:
    """If the port is in use, the previous configuration runs again and the error is reported; with a free port it starts."""
    site.write({"rules/one.yml": rule()})
    with socket.create_server(("127.0.0.1", 0)) as taken, site.served() as asked:
        wait_until(site.is_settled, "a first poll")
        site.write(port=taken.getsockname()[1])
        asked.ask("reload")
        wait_until(lambda: site.config.name in site.broken(), "the trouble")
        assert "cannot start" in site.broken()[site.config.name].what
        site.act()
        wait_until(lambda: _has(site, 1), "an alert")
        site.write(level="critical")  # still broken, for another reason
        asked.ask("reload")
        site.write(level="warning")
        asked.ask("reload")
        wait_until(lambda: not site.broken(), "the end of the trouble")
        site.act(user="mallory")
        wait_until(lambda: _has(site, 2), "an alert")


def test_replica_that_does_not_lead_reports_what_it_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replica whose leader is another one falls back too. Only the leader reports files, so it reports the difference."""
    monkeypatch.setattr(lease, "SPAN", timedelta(hours=1))
    monkeypatch.setattr(configuration_watch, "DIFFERS_AFTER", timedelta(seconds=0.01))  # not at the first look

    def differences() -> list[str]:
        with leader.read() as connection:
            return [each.what for each in self_alerts.read_all(connection) if each.trouble == "config_differs"]

    with (
        postgresql.other_database("follower_test") as url,
        contextlib.closing(Database(url)) as leader,
        socket.create_server(("127.0.0.1", 0)) as taken,
    ):
        leader.upgrade()
        site.more += f"store: {{url: '{url}'}}\n"
        site.write({"rules/one.yml": rule()})
        with leader.joined() as membership:
            assert membership.take_roles([LEADER])
            with site.served() as asked:
                wait_until(lambda: len(leader.peers.roster().hosts) == 2, "the other replica")
                monkeypatch.setattr(jobs, "LOOK_EVERY", timedelta(seconds=0.1))  # of the service that starts next
                site.write(port=taken.getsockname()[1])
                asked.ask("reload")
                wait_until(differences, "the report")
                assert differences() == ["the service runs with an older configuration: web changed"]


def test_process_reloads_on_sighup(post: kit.Post, soar: kit.Soar) -> None:
    """The installed service survives SIGHUP from its start on, with changed and broken rules, and a kill and restart."""
    path = post.folder / "rules" / "cluster_deleted.yml"
    with post.service() as service:
        service.wait_until_up()
        for _ in range(20):
            service.process.send_signal(signal.SIGHUP)
        path.write_text(CLUSTER_DELETED_RULE.replace("deleted {{", "removed {{"))
        service.process.send_signal(signal.SIGHUP)
        wait_until(lambda: '"changed": ["cluster_deleted"]' in service.log.read_text(), "the reload")
        post.upstream.delete_cluster("alice")
        soar.wait_for(user="alice")
        assert soar.find(user="alice")[0].data["title"].startswith("alice removed")
        path.write_text("title: [")
        soar.wait_for(trouble="rule_broken", type="alert.opened")
        service.kill()
    with post.service() as service:
        service.wait_until_up()
        post.upstream.delete_cluster("bob")
        soar.wait_for(user="bob")
        assert soar.find(user="bob")[0].data["title"].startswith("bob removed")
        config = post.folder / "actionwatch.yaml"
        config.write_text(config.read_text().replace("level: info", "level: debug") + "extra_kinds: [NEW_KIND]\n")
        service.process.send_signal(signal.SIGHUP)
        wait_until(lambda: service.log.read_text().count('"service_started"') == 2, "a second start")
        path.write_text(CLUSTER_DELETED_RULE)
        soar.wait_for(trouble="rule_broken", type="alert.resolved")
        post.upstream.delete_cluster("carol")
        soar.wait_for(user="carol")
        service.process.send_signal(signal.SIGHUP)
        service.end()
    # The killed process may not have recorded the sent message: it is sent again under the same id.
    assert len({arrival.id for arrival in soar.find(trouble="rule_broken", type="alert.opened")}) == 1


def _acted(site: Site) -> bool:
    """Log one more action. Return whether all actions so far have alerted."""
    site.act(CREATED)
    wait_until(site.is_settled, "its matching")
    return bool(site.alerts())


def _has(site: Site, count: int) -> bool:
    return len(site.alerts()) == count


def test_self_alerts_of_a_removed_source_or_file_resolve(site: Site) -> None:
    """A self-alert about a removed source or file resolves, with the reason."""
    site.write({"rules/one.yml": rule(), "rules/two.yml": rule("two", key="actionKnd")})
    site.act("BRAND_NEW_KIND")
    site.act("ANOTHER_NEW_KIND")
    with contextlib.closing(App(read_settings(site.config, {}))) as app:
        run_once(app, timedelta(0))
        app.self_alerts.report("key_refused", "acme", "401", "")
    assert {alert.labels["trouble"] for alert in site.self_alerts()} == {"key_refused", "rule_broken", "unknown_kind"}
    (site.rules / "two.yml").unlink()
    other = Organisation(id="99999999-2222-4333-8444-555555555555")
    with running(create_app(other)) as url:
        site.organisation, site.url = other, url
        site.write()
        site.config.write_text(site.config.read_text().replace("name: acme", "name: beta"))
        with contextlib.closing(App(read_settings(site.config, {}))) as app:
            run_once(app, timedelta(0))
    over = {alert.labels["trouble"]: alert.body for alert in site.self_alerts() if alert.status is Status.RESOLVED}
    assert over["key_refused"] == "401\n\nResolved: the source acme is no longer configured"
    assert over["rule_broken"].endswith("Resolved: the file was removed")
    assert over["unknown_kind"].endswith("Resolved: the source acme is no longer configured")
    assert {alert.status for alert in site.self_alerts()} == {Status.RESOLVED}


def _run_once_as(site: Site, name: str, more: str = "") -> None:
    """Run one round with another name of the source, and more lines in the configuration."""
    site.write()
    site.config.write_text(site.config.read_text().replace("name: acme", f"name: {name}") + more)
    with contextlib.closing(App(read_settings(site.config, {}))) as app:
        run_once(app, timedelta(0))


def _unknown_kinds(site: Site) -> list[tuple[str, bool]]:
    """Return what was ever reported about unknown kinds, oldest first, and whether it is still open."""
    found = [alert for alert in site.self_alerts() if alert.labels["trouble"] == "unknown_kind"]
    ordered = sorted(found, key=lambda alert: alert.opened_at)
    return [(alert.body.partition(":")[0], alert.status is Status.OPEN) for alert in ordered]


def test_unknown_kinds_move_with_a_renamed_source(site: Site) -> None:
    """The kinds of a renamed source are reported once more, for its new name, though no record of them is read again."""
    site.write({"rules/one.yml": rule()})
    site.act("BRAND_NEW_KIND", minutes_ago=60)  # before the overlap of the next poll
    site.act(minutes_ago=10)
    for name in ("acme", "beta", "beta"):
        _run_once_as(site, name)
    assert _unknown_kinds(site) == [
        ("records of 1 unknown kind come from acme", False),
        ("records of 1 unknown kind come from beta", True),
    ]


def test_unknown_kinds_of_a_source_that_comes_back_are_reported_again(site: Site) -> None:
    """A source that was removed and comes back still has its unknown kinds, and a declared one resolves its alert."""
    site.write({"rules/one.yml": rule()})
    site.act("BRAND_NEW_KIND", minutes_ago=60)
    _run_once_as(site, "acme")
    other, url = Organisation(id="99999999-2222-4333-8444-555555555555"), site.url
    ours = site.organisation
    with running(create_app(other)) as site.url:
        site.organisation = other
        _run_once_as(site, "elsewhere")
    site.organisation, site.url = ours, url
    for _ in range(2):
        _run_once_as(site, "acme")
    what = "records of 1 unknown kind come from acme"
    assert _unknown_kinds(site) == [(what, False), (what, True)]
    _run_once_as(site, "acme", "extra_kinds: [BRAND_NEW_KIND]\n")
    assert _unknown_kinds(site) == [(what, False), (what, False)]


def test_a_start_uses_the_newest_configuration(site: Site) -> None:
    """What a killed service reported about its configuration ends with the next start, whatever the file is called now."""
    site.write({"rules/one.yml": rule()})
    with contextlib.closing(App(read_settings(site.config, {}))) as app:
        app.database.upgrade()
        app.self_alerts.report(
            "config_differs", "/etc/old.yaml", "the service runs with an older configuration", "reload"
        )
    _run_once_as(site, "acme")
    with site.read() as database, database.read() as connection:
        assert self_alerts.read_all(connection) == []


def test_pending_messages_of_a_renamed_receiver_become_dead_letters(site: Site) -> None:
    """After a reload no message waits for the old name. It is a dead letter, reported to the receiver with the new name."""
    site.write({"rules/one.yml": rule()})
    with site.served() as asked:
        wait_until(site.is_settled, "a first poll")
        site.act()
        wait_until(lambda: _has(site, 1), "an alert")
        site.more = "receivers: [{name: second, console: {}}]\n"
        site.write()
        asked.ask("reload")
        wait_until(lambda: ("screen", "dead", "no longer configured") in _rows(site), "the dead letter")
        wait_until(lambda: any(alert.labels["trouble"] == "dead_letters" for alert in site.self_alerts()), "its report")
        assert not [row for row in _rows(site) if row[:2] == ("screen", "pending")]


def _rows(site: Site) -> list[tuple[str, str, str | None]]:
    with site.read() as database, database.read() as connection:
        return [tuple(row) for row in connection.exec_driver_sql("SELECT receiver, status, why FROM delivery")]
