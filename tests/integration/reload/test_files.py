"""Changed files, under a service that runs."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from actionwatch.base.errors import StoreError
from actionwatch.base.model import Status
from actionwatch.service.app import App
from actionwatch.service.configuration import read_settings
from actionwatch.service.reload import LOOK_SECONDS, Reloader
from tests.integration.cli.conftest import call
from tests.integration.reload.kit import CREATED, DELETED, ConfigMap, Site, burst, put, rule
from tests.waiting import pause, wait_until

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
            pause(0.02)


@pytest.mark.parametrize("change", [put, _append_in_place, _swap_folder], ids=lambda each: each.__name__)
def test_a_change_counts(site: Site, change: Callable[[Path, str], object]) -> None:
    """However a file is changed, the rule is matched as it is now, once and again; what came before is not matched again."""
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


def test_one_look_within_a_second_is_enough(site: Site) -> None:
    """A change needs more than one look, or the next look may come too late to keep the promise of one second."""
    site.write({"rules/one.yml": rule()})
    with contextlib.closing(App(read_settings(site.config, {}))) as site.app:
        reloader = Reloader(site.app)
        reloader.start()
        put(site.rules / "one.yml", rule(kind=CREATED))
        reloader.look()
        assert site.running() == {"plain": CREATED}
    assert (
        LOOK_SECONDS + LOOK_SECONDS < 1
    )  # until the look begins, and until it no longer waits for a file to stay as it is


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

        wait_until(is_there, "the swap")
        assert seen == [{"one": DELETED, "two": DELETED}, {"one": CREATED, "two": CREATED, "three": DELETED}]
        mounted.swap({"one.yml": rule("one", CREATED), "two.yml": rule("two", CREATED)})
        wait_until(lambda: "three" not in site.running(), "the removal")
        assert not site.broken()


def test_folders_may_come_later(site: Site) -> None:
    """A folder of lists that was not there is seen when it comes, and so are folders below that of the rules."""
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
        put(site.folder / "lists" / "admins.yml", "- x")  # a second list of that name: both are refused
        wait_until(lambda: "admins.yml" in site.broken(), "the broken list")
        assert "Its last values are used" in site.broken()["admins.yml"].what
        site.act(CREATED, "mallory")
        wait_until(lambda: len(site.alerts()) == 2, "its alert")


def test_a_broken_rule_goes_on_as_it_was(site: Site) -> None:
    """It is told once, with where and what runs; what stands beside it changes; mended, it is settled and taken up."""
    site.write({"rules/one.yml": f"{rule()}---\n{rule('other')}"})
    with site.service() as service:
        put(site.rules / "one.yml", f"{BROKEN}---\n{rule('other', CREATED)}")
        wait_until(lambda: "one.yml" in site.broken(), "the trouble")
        assert site.running() == {"plain": DELETED, "other": CREATED}
        told = site.broken()["one.yml"].what
        assert "line 4" in told
        assert told.endswith("Until it is fixed, the last good version runs: plain")
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
        wait_until(lambda: site.running() == {"plain": CREATED}, "the mended rule")
        wait_until(lambda: not site.broken(), "the end of the trouble")
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
        wait_until(lambda: len(site.alerts()) == 2, "both alerts")
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
    assert site.broken()["new.yml"].what.endswith("It is off until it is fixed")


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


def test_what_cannot_be_read_is_no_removal(site: Site) -> None:
    """Rules whose folder is away, or whose file is unreadable text, go on; an empty folder has none."""
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


def test_nothing_is_done_where_nothing_changed(site: Site) -> None:
    """A touched file, or one that changes back at once, has no rules reloaded and no state of a correlation rebuilt."""
    site.write({"rules/one.yml": rule(), "rules/burst.yml": burst()})
    with site.service() as service:
        rules, correlating = site.app.rules, site.app._correlations(site.app.rules.rules)
        os.utime(site.rules / "one.yml")
        service.reloader.look()
        assert site.app.rules is rules
        put(site.rules / "one.yml", rule(kind=CREATED))
        wait_until(lambda: site.running()["plain"] == CREATED, "the change")
        assert site.app._correlations(site.app.rules.rules) is correlating


def test_a_store_that_fails_is_tried_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reload that could not be written down is not used; it is when the store is back."""
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
