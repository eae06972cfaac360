"""What a service records of its rules, and when a rule could not have fired: real files, store and upstream."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select

from actionwatch.alerts.silences import make_silence
from actionwatch.base.rule_state import EntryOrigin, RuleEntry, RuleState
from actionwatch.rules.blindness import Blindness, BlindSpan, Effect
from actionwatch.service.app import App
from actionwatch.service.blindness import read_blindness
from actionwatch.service.configuration import read_settings
from actionwatch.service.once import run_once
from actionwatch.service.reload import Reloader
from actionwatch.service.rule_files import RuleFiles
from actionwatch.store import marks, records, rule_history, silences
from actionwatch.store.tables import RECORD, RULE_HISTORY
from tests.builders import make_record
from tests.integration.cli.conftest import call
from tests.integration.reload.kit import CREATED, DELETED, Site, burst, put, rule
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


def states(site: Site, name: str = "plain") -> list[tuple[RuleState, EntryOrigin, bool]]:
    """Return what a rule did, one after the other."""
    return [(each.state, each.origin, each.is_held) for each in history(site, name)]


def blindness(app: App, ahead: timedelta = timedelta(0)) -> Blindness:
    """Return when rules could not fire; `ahead`: when nothing was read for so long."""
    now = app.clock() + ahead
    with app.database.read() as connection:
        return read_blindness(connection, app.settings, app.rules.rules, now - timedelta(days=7), now)


def spans(found: Blindness, name: str = "plain") -> list[BlindSpan]:
    """Return the intervals of one rule."""
    return [span for each in found.rules if each.name == name for span in each.spans]


def test_time_of_a_change_is_read_while_nobody_else_writes(site: Site) -> None:
    """A change that waits for other writers begins after them: what they match meanwhile is matched as before."""
    site.write({"rules/one.yml": rule()})
    held: list[bool] = []
    with process(site) as (app, _), contextlib.closing(sqlite3.connect(app.database.path or "", timeout=0)) as other:

        def clock() -> datetime:
            try:
                other.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                held.append(True)
            else:
                held.append(False)
                other.rollback()
            return app.clock()

        files = RuleFiles(app.settings, app.leading, clock, app.source_names)
        put(site.rules / "one.yml", off(rule()))
        files.apply(files.read_files())
    assert held[-1]
    assert states(site)[-1][0] is RuleState.OFF


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
    changed = EntryOrigin.CHANGED
    assert states(site) == [
        (RuleState.LIVE, EntryOrigin.ADDED, False),
        (RuleState.OFF, changed, False),
        (RuleState.SHADOW, changed, False),
        (RuleState.SHADOW, changed, True),
        (RuleState.LIVE, changed, False),
        (RuleState.REMOVED, changed, False),
        (RuleState.LIVE, EntryOrigin.ADDED, False),
    ]
    documents = [each.document for each in history(site)]
    assert [DELETED in document for document in documents] == [True, True, True, True, False, False, True]
    assert "mode: shadow" in documents[3], "of the version that ran while the file was broken"
    with process(site):
        pass
    assert len(history(site)) == len(documents), "a start that changes nothing"


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
    assert [state for state, _, _ in states(site)] == [RuleState.LIVE, RuleState.BROKEN]
    put(site.rules / "one.yml", listed)
    site.start_and_end()
    assert states(site)[-1] == (RuleState.LIVE, EntryOrigin.ADDED, False)


def test_actions_before_a_start_count_for_the_version_that_matches_them(site: Site) -> None:
    """What happened while no service ran is matched by the rules of the next start, so that only they make it blind or not."""
    site.write({"rules/one.yml": rule(), "rules/two.yml": off(rule("other"))})
    with process(site) as (app, _):
        poll(app)
        with app.database.read() as connection:
            stopped = marks.read_all(connection)["acme"].seen_through
    put(site.rules / "one.yml", off(rule()))
    put(site.rules / "two.yml", rule("other"))
    site.act()
    with process(site) as (app, _):
        poll(app)
        found = blindness(app)
    assert [span.start for span in spans(found)] == [stopped]
    assert spans(found)[0].effect is Effect.BLIND
    assert [span.end for span in spans(found, "other")] == [stopped]
    assert [alert.rule.name for alert in site.alerts()] == ["other"], "as the rule of that time"


def test_reload_is_unsure_about_what_is_not_matched(site: Site) -> None:
    """On a reload, what is read and not matched yet counts for both versions, because a batch may be under way."""
    site.write({"rules/one.yml": off(rule())})
    with process(site) as (app, reloader):
        poll(app)
        site.act()
        for tail in app.tails.steps.values():
            tail.run_once()
        put(site.rules / "one.yml", rule())
        reloader.run_once()
        entry = history(site)[-1]
        with app.database.read() as connection:
            oldest = connection.execute(select(func.min(RECORD.c.occurred_at))).scalar_one()
        assert entry.may_begin_at <= oldest <= entry.begins_at
        assert entry.begins_at == entry.at
        app.matcher.run_once()
        assert [span.end for span in spans(blindness(app, timedelta(hours=1)))] == [entry.begins_at]


def test_change_that_nobody_recorded_is_not_guessed(site: Site) -> None:
    """What a service of an older version changed, or ran before the first entry, is unknown, and is not called seen."""
    site.write({"rules/one.yml": rule()})
    site.start_and_end()
    with site.read() as database, database.write() as connection:
        connection.exec_driver_sql("DELETE FROM rule_history")  # as an upgrade leaves it
    with process(site) as (app, _):
        poll(app)
        assert states(site) == [(RuleState.LIVE, EntryOrigin.FOUND, False)]
        before = spans(blindness(app))
    assert [(span.effect, span.end) for span in before] == [(Effect.UNKNOWN, site.versions()[0].since)]
    with site.read() as database, database.write() as connection:  # as a replica of an older version does
        connection.exec_driver_sql("UPDATE rule_version SET since = since + 1000000")
    site.start_and_end()
    assert states(site)[1:] == [(RuleState.LIVE, EntryOrigin.FOUND, False)]
    with site.read() as database, database.write() as connection:
        connection.exec_driver_sql("DELETE FROM rule_version")
    site.start_and_end()
    assert states(site)[2:] == [
        (RuleState.REMOVED, EntryOrigin.FOUND, False),
        (RuleState.LIVE, EntryOrigin.ADDED, False),
    ]


def test_rules_that_feed_and_filters_are_not_listed(site: Site) -> None:
    """A rule that only feeds a correlation, and a filter, alert never: they have versions, and no blind time."""
    pair = "---\n".join(
        [
            rule("fed"),
            "title: Both\nname: both\ncorrelation: {type: event_count, rules: [fed], group-by: [userName], timespan: 5m,"
            " condition: {gte: 2}}\n",
        ]
    )
    site.write({"rules/one.yml": pair})
    with process(site) as (app, reloader):
        poll(app)
        assert states(site, "fed")[0][0] is RuleState.FEEDS
        assert [each.name for each in blindness(app).rules] == ["both"]
        put(site.rules / "one.yml", pair.replace("level: high\n", "level: high\nmode: off\n", 1))
        reloader.run_once()
        assert history(site, "both")[-1].why == "it counts fed, which has mode: off"
        put(site.rules / "one.yml", rule("fed"))
        reloader.run_once()
        found = {each.name: [span.why for span in each.spans] for each in blindness(app, timedelta(hours=1)).rules}
    assert "it only fed correlations" in found["fed"]
    assert "it was removed" in found["both"]


def test_sources_blind_every_rule(site: Site) -> None:
    """Time before a source, its backlog, and time that is not proved, read or matched blind every rule, with the reason."""
    site.write({"rules/one.yml": rule()})
    with process(site) as (app, _):
        assert [(span.effect, span.why) for span in blindness(app).every] == [(Effect.BLIND, "acme was not read yet")]
        poll(app)
        found = blindness(app)
        assert [span.effect for span in found.every] == [Effect.BLIND, Effect.BLIND]
        assert [span.why.split(":")[0] for span in found.every] == ["acme begins later", "acme"]
        assert found.end < app.clock()
        with app.database.write() as connection:  # as if the newest window had no proof
            connection.exec_driver_sql("DELETE FROM receipt")
        assert Effect.DOUBT in {span.effect for span in blindness(app).every}
        hour = timedelta(hours=1)
        stale = blindness(app, hour)
        assert stale.end > app.clock()
        assert (stale.every[-1].end, stale.every[-1].why) == (stale.end, "acme is not read yet")
        with app.database.write() as connection:
            records.insert_new(connection, [make_record(1, source="acme", occurred_at=app.clock() - hour)])
        waiting = blindness(app)
        assert waiting.end > app.clock() - hour
        assert "records are stored, and not matched yet" in [span.why for span in waiting.every]


def test_only_a_silence_of_the_whole_rule_counts(site: Site) -> None:
    """A silence that names the rule sends no message; one that asks for more, or for another rule, hides only some alerts."""
    site.write({"rules/one.yml": rule()})
    with process(site) as (app, _):
        poll(app)
        now, hour = app.clock(), timedelta(hours=1)
        with app.database.write() as connection:
            for matchers in (('rule="plain"',), ('rule="plain"', 'userName="eve"'), ('rule="other"',)):
                made = make_silence(matchers, "amy", "planned", now - hour, now + hour, made_at=now)
                silences.write(connection, made)
        found = [(span.effect, span.why) for span in spans(blindness(app)) if span.effect is Effect.QUIET]
    assert found == [(Effect.QUIET, "silenced by amy: planned")]


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
    assert states(site) == [(RuleState.OFF, EntryOrigin.CHANGED, False)]
    assert history(site, "gone") == []


def test_run_once_records_too(site: Site) -> None:
    """A run from cron records what it ran with, like the service."""
    site.write({"rules/one.yml": rule(), "rules/burst.yml": burst()})
    for text in (rule(), rule(), off(rule())):
        put(site.rules / "one.yml", text)
        with contextlib.closing(App(read_settings(site.config, {}))) as app:
            assert run_once(app, timedelta(0)).failures == []
    assert [state for state, _, _ in states(site)] == [RuleState.LIVE, RuleState.OFF]


def test_command_prints_intervals(site: Site) -> None:
    """`rules coverage --blind` prints the intervals, names what no service has loaded, and reports broken files."""
    site.write({"rules/one.yml": off(rule())})
    with process(site) as (app, _):
        poll(app)
    put(site.rules / "new.yml", rule("fresh"))
    put(site.rules / "bad.yml", BROKEN.replace("plain", "bad"))
    found = call("-c", str(site.config), "rules", "coverage", "--blind")
    assert found.status == 0
    assert "mode: off" in found.out
    assert "no service has loaded it yet" in found.out
    assert "2 rules of 2 could not fire on some actions" in found.out
    assert "bad.yml" in found.err
    document = call("-c", str(site.config), "rules", "coverage", "--blind", "--since", "1h", "-o", "json").json
    assert {each["name"]: each["state"] for each in document["rules"]} == {"plain": "off", "fresh": None}
    assert document["rules"][0]["spans"][0]["effect"] == "cannot fire"
    for wrong in (("--blind", "--gaps"), ("--blind", str(site.rules)), ("--since", "1h")):
        assert call("-c", str(site.config), "rules", "coverage", *wrong).status == 2
