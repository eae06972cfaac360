"""Changed files, under a service that runs."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from actionwatch.base.model import Status
from actionwatch.service.app import App
from actionwatch.service.configuration import read_settings
from tests.integration.cli.conftest import call
from tests.integration.reload.kit import CREATED, DELETED, ConfigMap, Site, burst, put, rule, wait_for

BROKEN = rule(key="actionKin")


def _swap_folder(path: Path, text: str) -> None:
    """Have the folder, a link, point to another one."""
    folder = path.parent
    new = folder.with_name(f"release-{time.monotonic_ns()}")
    put(new / path.name, text)
    if not folder.is_symlink():
        folder.rename(folder.with_name("release-0"))
    link = folder.with_name("link")
    link.symlink_to(new.name)
    link.replace(folder)


def _append_in_place(path: Path, text: str) -> None:
    """Write slowly, as an editor or a copy over the network does."""
    with path.open("w") as file:
        for half in (text[: len(text) // 2], text[len(text) // 2 :]):
            file.write(half)
            file.flush()
            time.sleep(0.02)


@pytest.mark.parametrize("change", [put, _append_in_place, _swap_folder], ids=lambda each: each.__name__)
def test_a_change_counts_within_a_second(site: Site, change: Callable[[Path, str], object]) -> None:
    """However a file is changed, the rule is matched as it is now, once and again; what came before is not matched again."""
    site.write({"rules/one.yml": rule()})
    with site.service():
        site.act(CREATED, "early")
        wait_for("its matching", site.is_settled)
        for kind in (CREATED, DELETED):
            change(site.rules / "one.yml", rule(kind=kind))
            site.wait_until("the change", lambda kind=kind: site.running() == {"plain": kind})  # type: ignore[misc]
            site.act(kind)
            wait_for("its alert", lambda kind=kind: f"eve met plain for {kind}" in site.titles())  # type: ignore[misc]
        assert len(site.alerts()) == 2
        assert not site.broken()


def test_a_configmap_is_swapped_whole(site: Site) -> None:
    """Both files change together, a third comes and goes with its rule, and the hidden copies are not read."""
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

        site.wait_until("the swap", is_there)
        assert seen == [{"one": DELETED, "two": DELETED}, {"one": CREATED, "two": CREATED, "three": DELETED}]
        mounted.swap({"one.yml": rule("one", CREATED), "two.yml": rule("two", CREATED)})
        site.wait_until("the removal", lambda: "three" not in site.running())
        assert not site.broken()


def test_folders_may_come_later(site: Site) -> None:
    """A folder of lists that was not there is seen when it comes, and so are folders below that of the rules."""
    by_list = rule("listed", '"%admins%"', "userName|expand")
    site.write({"rules/one.yml": rule()})
    with site.service():
        put(site.rules / "team" / "more.yml", by_list)
        site.wait_until("the broken rule", lambda: "more.yml" in site.broken())
        put(site.folder / "lists" / "admins.txt", "eve\n")
        site.wait_until("the list", lambda: set(site.running()) == {"plain", "listed"})
        site.wait_until("the end of the trouble", lambda: not site.broken())
        site.act(CREATED)
        wait_for("its alert", lambda: len(site.alerts()) == 1)
        put(site.folder / "lists" / "admins.txt", "mallory\n")
        site.wait_until("the change", lambda: site.versions()[1].lists == "admins:\n- mallory\n")
        put(site.folder / "lists" / "admins.yml", "- x")  # a second list of that name: both are refused
        site.wait_until("the broken list", lambda: "admins.yml" in site.broken())
        assert "Its last values hold" in site.broken()["admins.yml"].what
        site.act(CREATED, "mallory")
        wait_for("its alert", lambda: len(site.alerts()) == 2)


def test_a_broken_rule_goes_on_as_it_was(site: Site) -> None:
    """It is told once, with where and what runs; what stands beside it changes; mended, it is settled and taken up."""
    site.write({"rules/one.yml": f"{rule()}---\n{rule('other')}"})
    with site.service():
        put(site.rules / "one.yml", f"{BROKEN}---\n{rule('other', CREATED)}")
        site.wait_until("the trouble", lambda: "one.yml" in site.broken())
        assert site.running() == {"plain": DELETED, "other": CREATED}
        told = site.broken()["one.yml"].what
        assert "line 4" in told
        assert told.endswith("Until it is mended, what ran last goes on: plain")
        site.act(DELETED)
        site.act(CREATED)
        wait_for("both alerts", lambda: len(site.alerts()) == 2)
        put(site.rules / "one.yml", "title: [")
        time.sleep(0.7)
        assert site.running() == {"plain": DELETED, "other": CREATED}
        assert [alert.title for alert in site.self_alerts()] == [f"Broken, and not taken up: {site.rules / 'one.yml'}"]
        put(site.rules / "one.yml", rule(kind=CREATED))
        site.wait_until("the mended rule", lambda: site.running() == {"plain": CREATED})
        site.wait_until("the end of the trouble", lambda: not site.broken())
        assert [alert.status for alert in site.self_alerts()] == [Status.RESOLVED]


def test_a_restart_with_a_broken_file_runs_what_ran(site: Site) -> None:
    """Broken while nothing ran, or while it ran and it was killed: the stored version runs, and people are told."""
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
        wait_for("both alerts", lambda: len(site.alerts()) == 2)
    assert len(site.self_alerts()) == 2
    (site.rules / "two.yml").unlink()
    site.start_and_end()
    assert site.running() == {"plain": DELETED}
    assert set(site.broken()) == {"one.yml"}
    assert [found.name for found in site.versions()] == ["plain"]


def test_a_new_broken_rule_is_off_alone(site: Site) -> None:
    """There is nothing to fall back on, and that is what people are told."""
    site.write({"rules/one.yml": rule(), "rules/new.yml": rule("new", key="actionKin")})
    site.start_and_end()
    assert site.running() == {"plain": DELETED}
    assert site.broken()["new.yml"].what.endswith("It is off until it is mended")


def test_only_run_writes_versions(site: Site) -> None:
    """No other command changes what a restart falls back on; `status` counts what runs, not what the files say."""
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


def test_templates_keep_their_last_good_text(site: Site) -> None:
    """A changed template is used at once; a broken one as it last was, over a restart too, and is told."""
    path = site.folder / "templates" / "own.txt.j2"
    site.write({"templates/own.txt.j2": "first {{ type }}", "templates/..data/own.txt.j2": "{{"})

    def text() -> str:
        from tests.builders import make_message

        return site.app.renderer.render(("own.txt",), make_message())[0].texts["own.txt"]

    with site.service():
        assert text() == "first alert.opened"
        put(path, "second {{ type }}")
        site.wait_until("the change", lambda: text() == "second alert.opened")
        put(path, "third {{ type")
        site.wait_until("the trouble", lambda: "own.txt.j2" in site.broken())
        assert text() == "second alert.opened"
        assert site.broken()["own.txt.j2"].what.endswith("It is used as it last was")
    site.start_and_end()
    assert text() == "second alert.opened"
    with site.service():
        put(path, "fourth")
        site.wait_until("the change", lambda: text() == "fourth")
        site.wait_until("the end of the trouble", lambda: not site.broken())
        path.unlink()
        site.wait_until("the removal", lambda: text() != "fourth")


def test_what_cannot_be_read_is_no_removal(site: Site) -> None:
    """Rules whose folder is away, or whose file is unreadable text, go on; an empty folder has none."""
    site.write({"rules/one.yml": rule()})
    with site.service():
        away = site.folder / "away"
        site.rules.rename(away)
        site.wait_until("the trouble", lambda: "rules" in site.broken())
        assert site.running() == {"plain": DELETED}
        assert site.broken()["rules"].what.endswith("what ran last goes on: plain")
        away.rename(site.rules)
        site.wait_until("the end of the trouble", lambda: not site.broken())
        (site.rules / "one.yml").write_bytes(b"\xff\xfe\x00")
        site.wait_until("the trouble", lambda: "one.yml" in site.broken())
        assert site.running() == {"plain": DELETED}
        (site.rules / "one.yml").unlink()
        site.wait_until("the removal", lambda: site.running() == {})
        site.wait_until("the end of the trouble", lambda: not site.broken())


def test_nothing_is_done_where_nothing_changed(site: Site) -> None:
    """A touched file, or one that changes back at once, has no rules reloaded and no state of a correlation rebuilt."""
    site.write({"rules/one.yml": rule(), "rules/burst.yml": burst()})
    with site.service():
        rules, correlating = site.app.rules, site.app._correlations(site.app.rules.rules)
        os.utime(site.rules / "one.yml")
        time.sleep(0.7)
        assert site.app.rules is rules
        put(site.rules / "one.yml", rule(kind=CREATED))
        site.wait_until("the change", lambda: site.running()["plain"] == CREATED)
        assert site.app._correlations(site.app.rules.rules) is correlating


def test_a_store_that_fails_is_tried_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reload that could not be written down is not used; it is when the store is back."""
    monkeypatch.setattr("actionwatch.service.reload.RETRY_SECONDS", 0.1)
    site.write({"rules/one.yml": rule()})
    with site.service(), site.read() as other:
        with contextlib.closing(App(read_settings(site.config, {}))):
            pass
        with other.write() as connection:
            connection.exec_driver_sql("ALTER TABLE rule_version RENAME TO away")
        put(site.rules / "one.yml", rule(kind=CREATED))
        time.sleep(0.7)
        assert site.running() == {"plain": DELETED}
        with other.write() as connection:
            connection.exec_driver_sql("ALTER TABLE away RENAME TO rule_version")
        site.wait_until("the change", lambda: site.running() == {"plain": CREATED})
