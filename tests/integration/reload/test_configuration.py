"""SIGHUP, and what it makes of a configuration."""

from __future__ import annotations

import signal
import socket

import pytest

from tests.end_to_end import kit
from tests.end_to_end.conftest import bytecode_kept, post, soar, up, webhook
from tests.integration.reload.kit import CREATED, Site, put, rule
from tests.waiting import wait_until

__all__ = ["bytecode_kept", "post", "soar", "up", "webhook"]
TWO = "receivers: [{name: screen, console: {}}, {name: second, console: {}}]\n"


def _routed(site: Site) -> list[str]:
    """Say whom the newest alert went to."""
    alert = site.alerts()[-1]
    with site.read() as database, database.read() as connection:
        rows = connection.exec_driver_sql("SELECT receiver FROM delivery WHERE alert_id = ?", (alert.id,))
        return sorted(name for (name,) in rows)


def test_a_changed_configuration_is_taken_up_whole(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """New receivers, another folder of rules: all of it counts, and nothing that came meanwhile is lost."""
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


def test_a_broken_configuration_leaves_the_old_one(site: Site) -> None:
    """It is told, with where; rules are reloaded all the same; mended, it is settled."""
    site.write({"rules/one.yml": rule()})
    good = site.config.read_text()
    with site.served() as asked:
        wait_until(site.is_settled, "a first poll")
        site.config.write_text(good + "nonsense: true\n")
        asked.ask("reload")
        wait_until(lambda: site.config.name in site.broken(), "the trouble")
        assert "nonsense" in site.broken()[site.config.name].what
        assert site.broken()[site.config.name].what.endswith("The configuration from before stays in use")
        put(site.rules / "one.yml", rule(kind=CREATED))
        asked.ask("reload")
        wait_until(lambda: _acted(site), "an alert by the changed rule")
        site.config.write_text(good)
        asked.ask("reload")
        wait_until(lambda: not site.broken(), "the end of the trouble")


def test_a_configuration_it_does_not_start_with(site: Site) -> None:
    """The port is taken: the one from before is started again, and says so; with a free port it starts."""
    site.write({"rules/one.yml": rule()})
    with socket.create_server(("127.0.0.1", 0)) as taken, site.served() as asked:
        wait_until(site.is_settled, "a first poll")
        site.write(port=taken.getsockname()[1])
        asked.ask("reload")
        wait_until(lambda: site.config.name in site.broken(), "the trouble")
        assert "does not start" in site.broken()[site.config.name].what
        site.act()
        wait_until(lambda: _has(site, 1), "an alert")
        site.write(level="critical")  # still broken, in another way
        asked.ask("reload")
        site.write(level="warning")
        asked.ask("reload")
        wait_until(lambda: not site.broken(), "the end of the trouble")
        site.act(user="mallory")
        wait_until(lambda: _has(site, 2), "an alert")


def test_the_process_reloads_on_sighup_and_never_dies_of_it(post: kit.Post, soar: kit.Soar) -> None:
    """The installed service: SIGHUPs from its start on, a changed rule, a broken one, a kill, a start with what ran."""
    path = post.folder / "rules" / "cluster_deleted.yml"
    with post.service() as service:
        service.wait_until_up()
        for _ in range(20):
            service.process.send_signal(signal.SIGHUP)
        path.write_text(kit.RULE.replace("deleted {{", "removed {{"))
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
        path.write_text(kit.RULE)
        soar.wait_for(trouble="rule_broken", type="alert.resolved")
        post.upstream.delete_cluster("carol")
        soar.wait_for(user="carol")
        service.process.send_signal(signal.SIGHUP)
        service.end()
    # Killed, it may not have noted that the message was taken: it comes again, under the same id.
    assert len({arrival.id for arrival in soar.find(trouble="rule_broken", type="alert.opened")}) == 1


def _acted(site: Site) -> bool:
    """Act once more; say whether any act so far was alerted on."""
    site.act(CREATED)
    wait_until(site.is_settled, "its matching")
    return bool(site.alerts())


def _has(site: Site, count: int) -> bool:
    return len(site.alerts()) == count
