"""Files that change while the service runs."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from actionwatch.base.errors import StoreError
from actionwatch.base.model import Status
from actionwatch.service.app import App
from actionwatch.service.configuration import read_settings
from actionwatch.service.reload import Reloader
from actionwatch.service.watched_files import LOOK_SECONDS
from actionwatch.store import correlations
from tests.integration.cli.conftest import call
from tests.integration.notifiers.http_end import HttpEnd, Reply
from tests.integration.reload.kit import CREATED, DELETED, ConfigMap, Site, burst, put, rule
from tests.waiting import pause, wait_until

BROKEN = rule(key="actionKin")


def _swap_folder(path: Path, text: str) -> None:
    """Point the folder, a link, to another one."""
    folder = path.parent
    new = folder.with_name(f"release-{time.monotonic_ns()}")
    put(new / path.name, text)
    if not folder.is_symlink():
        folder.rename(folder.with_name("release-0"))
    link = folder.with_name("link")
    link.symlink_to(new.name)
    link.replace(folder)


def _append_in_place(path: Path, text: str) -> None:
    """Write slowly, like an editor or a copy over the network."""
    with path.open("w") as file:
        for half in (text[: len(text) // 2], text[len(text) // 2 :]):
            file.write(half)
            file.flush()
            pause(0.02)


@pytest.mark.parametrize("change", [put, _append_in_place, _swap_folder], ids=lambda each: each.__name__)
def test_changed_rule_applies_to_new_records(site: Site, change: Callable[[Path, str], object]) -> None:
    """However a file is changed, once or again, its rule applies to new records and not to older ones."""
    site.write({"rules/one.yml": rule()})
    with site.service():
        site.act(CREATED, "early")
        wait_until(site.is_settled, "its matching")
        for kind in (CREATED, DELETED):
            change(site.rules / "one.yml", rule(kind=kind))
            wait_until(lambda kind=kind: site.running() == {"plain": kind}, "the change")  # type: ignore[misc]
            site.act(kind)
            wait_until(lambda kind=kind: f"eve met plain for {kind}" in site.titles(), "its alert")  # type: ignore[misc]
        assert len(site.alerts()) == 2
        wait_until(lambda: not site.broken(), "the end of what a half-written file was", site.broken)


def test_one_check_per_second_finds_a_change(site: Site) -> None:
    """A change is found by one check, and checks are frequent enough to find it within one second."""
    site.write({"rules/one.yml": rule()})
    with contextlib.closing(App(read_settings(site.config, {}))) as site.app:
        reloader = Reloader(site.app)
        reloader.start()
        put(site.rules / "one.yml", rule(kind=CREATED))
        reloader.look()
        assert site.running() == {"plain": CREATED}
    assert LOOK_SECONDS + LOOK_SECONDS < 1  # until the check begins, and until the file no longer changes


def test_configmap_is_replaced_atomically(site: Site) -> None:
    """Both files change together, a third appears and disappears with its rule, and the hidden copies are not read."""
    (site.folder / "rules").mkdir()
    mounted = ConfigMap(site.rules)
    mounted.swap({"one.yml": rule("one"), "two.yml": rule("two")})
    site.write()
    with site.service():
        seen = [site.running()]
        mounted.swap({"one.yml": rule("one", CREATED), "two.yml": rule("two", CREATED), "three.yml": rule("three")})

        def is_there() -> bool:
            if site.running() != seen[-1]:
                seen.append(site.running())
            return "three" in site.running()

        wait_until(is_there, "the swap")
        assert seen == [{"one": DELETED, "two": DELETED}, {"one": CREATED, "two": CREATED, "three": DELETED}]
        mounted.swap({"one.yml": rule("one", CREATED), "two.yml": rule("two", CREATED)})
        wait_until(lambda: "three" not in site.running(), "the removal")
        assert not site.broken()


def test_folder_created_later_is_found(site: Site) -> None:
    """A folder of lists that did not exist is found when it appears, and so are subfolders of the rules."""
    by_list = rule("listed", '"%admins%"', "userName|expand")
    site.write({"rules/one.yml": rule()})
    with site.service():
        put(site.rules / "team" / "more.yml", by_list)
        wait_until(lambda: "more.yml" in site.broken(), "the broken rule")
        put(site.folder / "lists" / "admins.txt", "eve\n")
        wait_until(lambda: set(site.running()) == {"plain", "listed"}, "the list")
        wait_until(lambda: not site.broken(), "the end of the trouble")
        site.act(CREATED)
        wait_until(lambda: len(site.alerts()) == 1, "its alert")
        put(site.folder / "lists" / "admins.txt", "mallory\n")
        wait_until(lambda: site.versions()[1].lists == "admins:\n- mallory\n", "the change")
        put(site.folder / "lists" / "admins.yml", "- x")  # a second list with that name: both are rejected
        wait_until(lambda: "admins.yml" in site.broken(), "the broken list")
        assert "Its last values are used" in site.broken()["admins.yml"].what
        site.act(CREATED, "mallory")
        wait_until(lambda: len(site.alerts()) == 2, "its alert")


def test_broken_rule_keeps_its_last_good_version(site: Site) -> None:
    """The error is reported once with its location, the other rules of the file change, and a fix resolves the self-alert."""
    site.write({"rules/one.yml": f"{rule()}---\n{rule('other')}"})
    with site.service() as service:
        put(site.rules / "one.yml", f"{BROKEN}---\n{rule('other', CREATED)}")
        wait_until(lambda: "one.yml" in site.broken(), "the trouble")
        assert site.running() == {"plain": DELETED, "other": CREATED}
        text = site.broken()["one.yml"].what
        assert "line 4" in text
        assert text.endswith("Until it is fixed, the last good version runs: plain")
        site.act(DELETED)
        site.act(CREATED)
        wait_until(lambda: len(site.alerts()) == 2, "both alerts")
        put(site.rules / "one.yml", "title: [")
        service.reloader.look()
        assert site.running() == {"plain": DELETED, "other": CREATED}
        assert [alert.title for alert in site.self_alerts()] == [
            f"Not loaded because it is broken: {site.rules / 'one.yml'}"
        ]
        put(site.rules / "one.yml", rule(kind=CREATED))
        wait_until(lambda: site.running() == {"plain": CREATED}, "the fixed rule")
        wait_until(lambda: not site.broken(), "the end of the trouble")
        assert [alert.status for alert in site.self_alerts()] == [Status.RESOLVED]


def test_restart_with_a_broken_file_uses_the_stored_version(site: Site) -> None:
    """If a file breaks while the service runs or is stopped, the stored version runs, and the error is reported."""
    site.write({"rules/one.yml": rule(), "rules/two.yml": rule("two")})
    site.start_and_end()
    put(site.rules / "one.yml", BROKEN)
    put(site.rules / "two.yml", "title: [")
    for _ in range(2):
        site.start_and_end()
        assert site.running() == {"plain": DELETED, "two": DELETED}
        assert {name: found.what.rpartition(": ")[2] for name, found in site.broken().items()} == {
            "one.yml": "plain",
            "two.yml": "two",
        }
    with site.service():
        site.act()
        wait_until(lambda: len(site.alerts()) == 2, "both alerts")
    assert len(site.self_alerts()) == 2
    (site.rules / "two.yml").unlink()
    site.start_and_end()
    assert site.running() == {"plain": DELETED}
    assert set(site.broken()) == {"one.yml"}
    assert [found.name for found in site.versions()] == ["plain"]


def test_new_broken_rule_is_off(site: Site) -> None:
    """A new broken rule has no version to fall back on, and the self-alert reports that."""
    site.write({"rules/one.yml": rule(), "rules/new.yml": rule("new", key="actionKin")})
    site.start_and_end()
    assert site.running() == {"plain": DELETED}
    assert site.broken()["new.yml"].what.endswith("It is off until it is fixed")


def test_only_run_writes_versions(site: Site) -> None:
    """No other command changes the stored versions; `status` counts the running rules, not those in the files."""
    site.write({"rules/one.yml": rule(), "rules/two.yml": rule("two") + "mode: shadow\n"})
    called = call("-c", str(site.config), "run", "--once")
    assert called.status == 0, called.err
    before = site.versions()
    assert len(before) == 2
    put(site.rules / "one.yml", BROKEN)
    put(site.rules / "three.yml", rule("three"))
    for command in (
        ["check"],
        ["rules", "list"],
        ["rules", "check"],
        ["status"],
        ["rules", "test", "--min-tests", "0"],
    ):
        call("-c", str(site.config), *command)
    assert site.versions() == before
    counts = call("-c", str(site.config), "status", "-o", "json").json["rules"]
    assert counts == {"live": 1, "shadow": 1, "off": 0, "broken": 0}
    call("-c", str(site.config), "run", "--once")
    counts = call("-c", str(site.config), "status", "-o", "json").json["rules"]
    assert counts == {"live": 2, "shadow": 1, "off": 0, "broken": 1}


def test_broken_template_keeps_its_last_good_text(site: Site) -> None:
    """A changed template is used at once. A broken one keeps its last good text, also after a restart, and is reported."""
    path = site.folder / "templates" / "own.txt.j2"
    site.write({"templates/own.txt.j2": "first {{ type }}", "templates/..data/own.txt.j2": "{{"})

    def text() -> str:
        from tests.builders import make_message

        return site.app.renderer.render(("own.txt",), make_message())[0].texts["own.txt"]

    with site.service():
        assert text() == "first alert.opened"
        put(path, "second {{ type }}")
        wait_until(lambda: text() == "second alert.opened", "the change")
        put(path, "third {{ type")
        wait_until(lambda: "own.txt.j2" in site.broken(), "the trouble")
        assert text() == "second alert.opened"
        assert site.broken()["own.txt.j2"].what.endswith("Its last good version is used")
    site.start_and_end()
    assert text() == "second alert.opened"
    with site.service():
        put(path, "fourth")
        wait_until(lambda: text() == "fourth", "the change")
        wait_until(lambda: not site.broken(), "the end of the trouble")
        path.unlink()
        wait_until(lambda: text() != "fourth", "the removal")


GREEDY = (
    '{"text": "{% for r in records if r.description %}{% for a in r.description %}{% for b in r.description %}'
    '{% endfor %}{% endfor %}{% endfor %}"}'
)
"""Within the budget for the samples, and beyond it for a long description."""


def test_template_that_fails_for_a_message_is_reported_until_it_is_changed(site: Site) -> None:
    """A message beyond the budget of its template is sent with another text, and people see why until it is repaired."""
    with HttpEnd(lambda _: Reply(204)) as end:
        site.more = f"receivers: [{{name: screen, webhook: {{url: '{end.url}', format: own}}}}]\n"
        site.write({"rules/one.yml": rule(), "templates/own.json.j2": GREEDY})
        path = site.folder / "templates" / "own.json.j2"

        def delete(description: str) -> None:
            site.organisation.append(DELETED, user_name="eve", description=description, account=site.account)
            site.acted += 1

        def received(found: Callable[[dict[str, Any]], bool]) -> dict[str, Any] | None:
            return next((each.json for each in end.requests if found(each.json)), None)

        def status() -> dict[str, str]:
            found = call("-c", str(site.config), "status", "-o", "json")
            return {each["trouble"]: each["remedy"] for each in found.json["troubles"]}

        with site.service():
            assert not site.broken()
            delete("short")
            wait_until(lambda: received(lambda body: body == {"text": ""}), "the text of the template")
            assert not site.self_alerts()
            delete("long " * 1000)
            plain = wait_until(lambda: received(lambda body: body.get("type") == "alert.opened"), "the other text")
            assert plain["data"]["records"][0]["description"].startswith("long ")
            wait_until(site.self_alerts, "the self-alert")
            (alert,) = site.self_alerts()
            assert (alert.labels["trouble"], alert.source) == ("template_failing", str(path))
            assert "takes more than" in alert.body
        site.start_and_end()
        assert status()["template_failing"].startswith(
            "fix the template"
        )  # also after a restart, because it is as it was
        with site.service():
            put(path, '{"repaired": {{ headline | tojson }}}')
            wait_until(lambda: site.self_alerts()[0].status is Status.RESOLVED, "the end of the trouble")
            delete("longer " * 1000)
            wait_until(lambda: received(lambda body: "repaired" in body), "the text of the repaired template")
        assert "template_failing" not in status()
        (alert,) = site.self_alerts()
        assert alert.body.endswith("Resolved: the templates were changed")


def test_rule_that_fails_on_a_record_is_reported_until_it_is_changed(site: Site) -> None:
    """A title that fails for a record is replaced, and people see why until the rule is changed, also after a restart."""
    path = site.rules / "one.yml"
    failing = rule().replace("met", "{{ 1 // (description | length - 3) }}")

    def delete(description: str) -> None:
        site.organisation.append(DELETED, user_name="eve", description=description, account=site.account)
        site.acted += 1

    site.write({"rules/one.yml": failing, "rules/two.yml": rule("other", CREATED)})
    with site.service():
        delete("long enough")
        wait_until(lambda: len(site.alerts()) == 1, "the alert")
        assert not site.self_alerts()
        delete("odd")
        wait_until(lambda: len(site.alerts()) == 2, "the alert with a plain title")
        (alert,) = wait_until(site.self_alerts, "the self-alert")
        assert (alert.labels["trouble"], alert.source) == ("rule_failing", "plain")
        assert "alert.title" in alert.body
        delete("odd")
        wait_until(lambda: len(site.alerts()) == 3, "the next alert")
        assert [each.status for each in site.self_alerts()] == [Status.OPEN]
        put(path, rule())
        wait_until(lambda: site.self_alerts()[0].status is Status.RESOLVED, "the end of the trouble")
        assert site.self_alerts()[0].body.endswith("Resolved: the rules were loaded again")
        put(path, failing)
        wait_until(lambda: "1 //" in site.versions()[0].document, "the change back")
        delete("odd")
        wait_until(lambda: len(site.self_alerts()) == 2, "the next self-alert")
    put(path, rule())
    site.start_and_end()
    assert {each.status for each in site.self_alerts()} == {Status.RESOLVED}


def test_unreadable_file_keeps_its_rules(site: Site) -> None:
    """Rules in a missing folder or an unreadable file continue; an empty folder removes them."""
    site.write({"rules/one.yml": rule()})
    with site.service():
        away = site.folder / "away"
        site.rules.rename(away)
        wait_until(lambda: "rules" in site.broken(), "the trouble")
        assert site.running() == {"plain": DELETED}
        assert site.broken()["rules"].what.endswith("the last good version runs: plain")
        away.rename(site.rules)
        wait_until(lambda: not site.broken(), "the end of the trouble")
        (site.rules / "one.yml").write_bytes(b"\xff\xfe\x00")
        wait_until(lambda: "one.yml" in site.broken(), "the trouble")
        assert site.running() == {"plain": DELETED}
        (site.rules / "one.yml").unlink()
        wait_until(lambda: site.running() == {}, "the removal")
        wait_until(lambda: not site.broken(), "the end of the trouble")


def test_unchanged_content_is_not_reloaded(site: Site) -> None:
    """A touched file reloads no rules, and a change of another rule lets no correlation read records again."""
    site.write({"rules/one.yml": rule(), "rules/burst.yml": burst()})
    with site.service() as service:
        rules = site.app.rules
        wait_until(lambda: site.app.matcher.has_learned, "the first round")
        with site.app.database.read() as connection:
            fed = correlations.read_versions(connection)
        os.utime(site.rules / "one.yml")
        service.reloader.look()
        assert site.app.rules is rules
        put(site.rules / "one.yml", rule(kind=CREATED))
        wait_until(lambda: site.running()["plain"] == CREATED, "the change")
        site.act()
        wait_until(site.is_settled, "a round with the new rules")
        with site.app.database.read() as connection:
            assert correlations.read_versions(connection) == fed


def test_reload_is_retried_after_a_store_failure(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reload that could not be stored is not used until the store works again."""
    monkeypatch.setattr("actionwatch.service.reload.RETRY_SECONDS", 0.1)
    site.write({"rules/one.yml": rule()})
    with site.service() as service, site.read() as other:
        with contextlib.closing(App(read_settings(site.config, {}))):
            pass
        with other.write() as connection:
            connection.exec_driver_sql("ALTER TABLE rule_version RENAME TO away")
        put(site.rules / "one.yml", rule(kind=CREATED))
        with pytest.raises(StoreError):
            service.reloader.look()
        assert site.running() == {"plain": DELETED}
        with other.write() as connection:
            connection.exec_driver_sql("ALTER TABLE away RENAME TO rule_version")
        wait_until(lambda: site.running() == {"plain": CREATED}, "the change")
