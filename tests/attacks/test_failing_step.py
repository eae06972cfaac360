"""A step that fails each time, whatever the reason."""

from __future__ import annotations

import contextlib
from datetime import timedelta

import pytest

from actionwatch.service.app import App
from actionwatch.service.configuration import read_settings
from actionwatch.service.once import run_once
from actionwatch.service.service import Service
from actionwatch.service.step_watch import FAILURES
from actionwatch.store import self_alerts
from actionwatch.store.database import Database
from actionwatch.store.membership import LEADER, tail_role
from tests.integration.reload.kit import Site, rule

BREAK = "CREATE TRIGGER broken BEFORE INSERT ON receipt BEGIN SELECT RAISE(ABORT, 'no receipts today'); END"


def round_of(app: App, statement: str) -> tuple[list[str], dict[tuple[str, str], str]]:
    """Change the store, then run one round of the service. Return what failed, and the self-alerts that are open."""
    with app.database.write() as connection:
        connection.exec_driver_sql(statement)
    failures = run_once(app, timedelta(0)).failures
    with app.database.read() as connection:
        return failures, {(each.trouble, each.subject): each.what for each in self_alerts.read_all(connection)}


@pytest.mark.usefixtures("logs_left_alone")
def test_step_that_fails_each_time_is_not_silent(site: Site) -> None:
    """Polls that cannot store a proof fail the round and raise a self-alert with the reason, which ends when they work."""
    site.write({"rules/one.yml": rule()})
    with contextlib.closing(App(read_settings(site.config, {}))) as app:
        failures, opened = round_of(app, BREAK)
        assert ["tail acme" in failure and "no receipts today" in failure for failure in failures] == [True]
        assert "no receipts today" in opened["step_failing", "tail acme"]
        assert round_of(app, "DROP TRIGGER broken") == ([], {})


@pytest.mark.usefixtures("logs_left_alone")
def test_step_that_fails_on_a_replica_that_does_not_lead_is_not_silent(site: Site, url: str) -> None:
    """The replica that tails a source reports its step, and settles that; one that lost the source reports nothing."""
    site.write({"rules/one.yml": rule()})
    site.config.write_text(f"{site.config.read_text()}store: {{url: {url}}}\n")

    def fail() -> None:
        raise ValueError("odd")

    with contextlib.ExitStack() as stack:
        app = stack.enter_context(contextlib.closing(App(read_settings(site.config, {}))))
        leader = stack.enter_context(contextlib.closing(Database(url)))
        assert stack.enter_context(leader.joined()).take_roles([LEADER])
        membership = stack.enter_context(app.database.joined())
        steps = Service(app).steps

        def opened() -> list[str]:
            with app.database.read() as connection:
                return [each.subject for each in self_alerts.read_all(connection)]

        for is_mine in (False, True):
            assert not is_mine or membership.take_roles([tail_role("acme")])
            for _ in range(FAILURES):
                assert not steps.attempt("tail acme", fail)
            assert opened() == ["tail acme"] * is_mine
        assert steps.attempt("tail acme", lambda: None)
        steps.look()
        assert opened() == []
