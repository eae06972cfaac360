"""SIGHUP, and what it makes of a configuration."""

from __future__ import annotations

import signal
import socket
import time

import pytest

from tests.end_to_end import kit
from tests.end_to_end.conftest import bytecode_kept, post, soar, up, webhook
from tests.integration.reload.kit import CREATED, Site, put, rule, wait_for

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
        wait_for("a first poll", site.is_settled)
        site.act()
        wait_for("an alert", lambda: _has(site, 1))
        assert _routed(site) == ["screen"]
        site.more = f"{TWO}rules: [rules, more]\n"
        site.write()
        asked.ask("reload")
        wait_for("the other rules", lambda: len(site.versions()) == 2)
        site.act(CREATED)
        wait_for("an alert of the other folder", lambda: _has(site, 2))
        assert _routed(site) == ["screen", "second"]
        assert {version.name for version in site.versions()} == {"plain", "two"}
    capsys.readouterr()


def test_a_broken_configuration_leaves_the_old_one(site: Site) -> None:
    """It is told, with where; rules are reloaded all the same; mended, it is settled."""
    site.write({"rules/one.yml": rule()})
    good = site.config.read_text()
    with site.served() as asked:
        wait_for("a first poll", site.is_settled)
        site.config.write_text(good + "nonsense: true\n")
        asked.ask("reload")
        wait_for("the trouble", lambda: site.config.name in site.broken())
        assert "nonsense" in site.broken()[site.config.name].what
        assert site.broken()[site.config.name].what.endswith("The configuration from before stays in use")
        put(site.rules / "one.yml", rule(kind=CREATED))
        asked.ask("reload")
        wait_for("the changed rule", lambda: CREATED in site.versions()[0].document)
        time.sleep(0.2)  # noted, it is used next
        site.act(CREATED)
        wait_for("an alert", lambda: _has(site, 1))
        site.config.write_text(good)
        asked.ask("reload")
        wait_for("the end of the trouble", lambda: not site.broken())


def test_a_configuration_it_does_not_start_with(site: Site) -> None:
    """The port is taken: the one from before is started again, and says so; with a free port it starts."""
    site.write({"rules/one.yml": rule()})
    with socket.create_server(("127.0.0.1", 0)) as taken, site.served() as asked:
        wait_for("a first poll", site.is_settled)
        site.write(port=taken.getsockname()[1])
        asked.ask("reload")
        wait_for("the trouble", lambda: site.config.name in site.broken())
        assert "does not start" in site.broken()[site.config.name].what
        site.act()
        wait_for("an alert", lambda: _has(site, 1))
        site.write(level="critical")  # still broken, in another way
        asked.ask("reload")
        site.write(level="warning")
        asked.ask("reload")
        wait_for("the end of the trouble", lambda: not site.broken())
        site.act(user="mallory")
        wait_for("an alert", lambda: _has(site, 2))


def test_the_process_reloads_on_sighup_and_never_dies_of_it(post: kit.Post, soar: kit.Soar) -> None:
    """The installed service: SIGHUPs from its start on, a changed rule, a broken one, a kill, a start with what ran."""
    path = post.folder / "rules" / "cluster_deleted.yml"
    with post.service() as service:
        service.wait_until_up()
        for _ in range(20):
            service.process.send_signal(signal.SIGHUP)
        path.write_text(kit.RULE.replace("deleted {{", "removed {{"))
        service.process.send_signal(signal.SIGHUP)
        kit.wait_for("the reload", lambda: '"changed": ["cluster_deleted"]' in service.log.read_text())
        post.upstream.delete_cluster("alice")
        kit.wait_for("the message", lambda: soar.find(user="alice"))
        assert soar.find(user="alice")[0].data["title"].startswith("alice removed")
        path.write_text("title: [")
        kit.wait_for("the self alert", lambda: soar.find(trouble="rule_broken", type="alert.opened"))
        service.kill()
    with post.service() as service:
        service.wait_until_up()
        post.upstream.delete_cluster("bob")
        kit.wait_for("the message", lambda: soar.find(user="bob"))
        assert soar.find(user="bob")[0].data["title"].startswith("bob removed")
        config = post.folder / "actionwatch.yaml"
        config.write_text(config.read_text().replace("level: info", "level: debug") + "extra_kinds: [NEW_KIND]\n")
        service.process.send_signal(signal.SIGHUP)
        kit.wait_for("a second start", lambda: service.log.read_text().count('"service_started"') == 2)
        path.write_text(kit.RULE)
        kit.wait_for("the end of the trouble", lambda: soar.find(trouble="rule_broken", type="alert.resolved"))
        post.upstream.delete_cluster("carol")
        kit.wait_for("the message", lambda: soar.find(user="carol"))
        service.process.send_signal(signal.SIGHUP)
        service.end()
    # Killed, it may not have noted that the message was taken: it comes again, under the same id.
    assert len({arrival.id for arrival in soar.find(trouble="rule_broken", type="alert.opened")}) == 1


def _has(site: Site, count: int) -> bool:
    return len(site.alerts()) == count
