"""What a service records of its rules: real files, store and upstream."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from sqlalchemy import select

from actionwatch.base.rule_state import RuleEntry, RuleState
from actionwatch.service.app import App
from actionwatch.service.configuration import read_settings
from actionwatch.service.once import run_once
from actionwatch.service.reload import Reloader
from actionwatch.store import rule_history
from actionwatch.store.tables import RULE_HISTORY
from tests.integration.reload.kit import CREATED, Site, burst, put, rule
from tests.waiting import wait_until

BROKEN = rule(key="actionKin")
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


def off(text: str, mode: str = "off") -> str:
    """Give a rule another mode."""
    return f"{text}mode: {mode}\n"


@contextlib.contextmanager
def process(site: Site) -> Iterator[tuple[App, Reloader]]:
    """Start a process, which loads the files, reads and matches."""
    with contextlib.closing(App(read_settings(site.config, {}))) as app:
        reloader = Reloader(app)
        reloader.start()
        app.tails.begin(*app.tails.sources)
        yield app, reloader


def poll(app: App) -> None:
    """Read and match everything that has happened: in the next second, because a poll sees the log up to a whole one.

    The accounts are listed first, because a poll waits some seconds for them.
    """
    next_second = app.clock().replace(microsecond=0) + timedelta(seconds=1)
    wait_until(lambda: app.clock() >= next_second, "the next second")
    for name, tail in app.tails.steps.items():
        app.tails.account_watches[name].run_once()
        assert tail.run_once().error is None
    app.matcher.run_once()


def history(site: Site, name: str = "plain") -> list[RuleEntry]:
    """Return the entries of a rule, oldest first."""
    columns = [column for column in RULE_HISTORY.c if column.name != "id"]
    with site.read() as database, database.read() as connection:
        rows = connection.execute(select(*columns).where(RULE_HISTORY.c.name == name).order_by(RULE_HISTORY.c.id))
        return [RuleEntry(**row) for row in rows.mappings()]


def states(site: Site, name: str = "plain") -> list[tuple[RuleState, bool]]:
    """Return what a rule did, one after the other, and whether an older version did it."""
    return [(each.state, each.is_held) for each in history(site, name)]


def test_each_change_is_recorded_once(site: Site) -> None:
    """A rule that is added, switched off, shadowed, broken, fixed and removed leaves an entry each; nothing else does."""
    site.write({"rules/one.yml": rule()})
    with process(site) as (_, reloader):
        for text in (rule(), off(rule()), off(rule(), "shadow"), BROKEN, BROKEN, rule(kind=CREATED)):
            put(site.rules / "one.yml", text)
            reloader.run_once()
        (site.rules / "one.yml").unlink()
        reloader.run_once()
        put(site.rules / "one.yml", rule())
        reloader.run_once()
    assert states(site) == [
        (RuleState.LIVE, False),
        (RuleState.OFF, False),
        (RuleState.SHADOW, False),
        (RuleState.SHADOW, True),
        (RuleState.LIVE, False),
        (RuleState.REMOVED, False),
        (RuleState.LIVE, False),
    ]
    count = len(history(site))
    with process(site):
        pass
    assert len(history(site)) == count, "a start that changes nothing"


def test_moved_file_changes_nothing(site: Site) -> None:
    """A rule that moves to another file does the same, and its new file is the one that counts when it breaks."""
    site.write({"rules/one.yml": rule()})
    with process(site) as (_, reloader):
        (site.rules / "one.yml").rename(site.rules / "two.yml")
        reloader.run_once()
    assert len(history(site)) == 1


def test_rule_that_cannot_run_after_a_restart_is_broken(site: Site) -> None:
    """A rule whose file is broken, and whose last version no longer loads either, is recorded as broken, not as removed."""
    listed = rule("plain", '"%admins%"', "userName|expand")
    site.write({"rules/one.yml": listed, "lists/admins.txt": "eve\n"})
    site.start_and_end()
    put(site.rules / "one.yml", BROKEN)
    with site.read() as database, database.write() as connection:
        connection.exec_driver_sql("UPDATE rule_version SET document = 'title: none', lists = '{}'")
    site.start_and_end()
    assert [state for state, _ in states(site)] == [RuleState.LIVE, RuleState.BROKEN]
    put(site.rules / "one.yml", listed)
    site.start_and_end()
    assert states(site)[-1] == (RuleState.LIVE, False)


def test_a_rule_that_only_feeds_is_recorded_as_such(site: Site) -> None:
    """A rule that only feeds a correlation alerts never, and a correlation whose feeder is off says so."""
    pair = "---\n".join(
        [
            rule("fed"),
            "title: Both\nname: both\ncorrelation: {type: event_count, rules: [fed], group-by: [userName], timespan: 5m,"
            " condition: {gte: 2}}\n",
        ]
    )
    site.write({"rules/one.yml": pair})
    with process(site) as (_, reloader):
        assert states(site, "fed")[0][0] is RuleState.FEEDS
        put(site.rules / "one.yml", pair.replace("level: high\n", "level: high\nmode: off\n", 1))
        reloader.run_once()
        assert history(site, "both")[-1].why == "it counts fed, which has mode: off"
        put(site.rules / "one.yml", rule("fed"))
        reloader.run_once()
    assert states(site, "both")[-1][0] is RuleState.REMOVED


def test_retention_keeps_what_still_applies(site: Site) -> None:
    """Old entries are deleted once another one followed or the rule is gone; the one that applies stays at any age."""
    site.write({"rules/one.yml": rule(), "rules/two.yml": rule("gone")})
    with process(site) as (app, reloader):
        put(site.rules / "one.yml", off(rule()))
        (site.rules / "two.yml").unlink()
        reloader.run_once()
        with app.database.write() as connection:
            assert rule_history.delete_older(connection, LONG_AGO, 10) == 0
            assert rule_history.delete_older(connection, app.clock() + timedelta(days=1), 10) == 3
    assert states(site) == [(RuleState.OFF, False)]
    assert history(site, "gone") == []


def test_run_once_records_too(site: Site) -> None:
    """A run from cron records what it ran with, like the service."""
    site.write({"rules/one.yml": rule(), "rules/burst.yml": burst()})
    for text in (rule(), rule(), off(rule())):
        put(site.rules / "one.yml", text)
        with contextlib.closing(App(read_settings(site.config, {}))) as app:
            assert run_once(app, timedelta(0)).failures == []
    assert [state for state, _ in states(site)] == [RuleState.LIVE, RuleState.OFF]
