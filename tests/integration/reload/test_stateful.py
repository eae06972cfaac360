"""Rules with state: a new version starts with the stored records, and fires only for new ones."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from actionwatch.base.model import Match, Record
from actionwatch.matching.matcher import RecordMatcher
from tests.builders import make_record, open_database
from tests.integration.kit import KindEngine, KindRule, Post
from tests.integration.reload.kit import CREATED, DELETED, Site, burst, put, rule
from tests.waiting import join, wait_until

USERS = 30


def _live_history(site: Site, times: int = 5) -> None:
    """Log many live actions of many users, and store and match them with the current rules."""
    for user in range(USERS):
        for _ in range(times):
            site.act(user=f"user{user}")
    wait_until(site.is_settled, "the history")


def test_new_rule_on_a_full_store_opens_nothing(site: Site) -> None:
    """Users who met the condition long ago raise no alert.

    The first who continues raises one with all records of the window.
    """
    site.write({"rules/one.yml": rule(kind=CREATED)})
    with site.service():
        _live_history(site, 2)
        put(site.rules / "burst.yml", burst(3))
        wait_until(lambda: "burst" in site.running(), "the rule")
        site.act(user="user7")
        wait_until(lambda: len(site.alerts()) == 1, "its alert")
        assert site.alerts()[0].count == 3
        put(site.rules / "burst.yml", burst(2))
        wait_until(lambda: "gte: 2" in _burst(site), "the change")
        site.act(CREATED)
        wait_until(lambda: "eve met plain for CREATE_CLUSTER" in site.titles(), "a further alert")
        assert len(site.alerts()) == 2


@pytest.mark.parametrize("way", ["list", "feeder", "filter", "off", "removed", "removed during a restart"])
def test_any_change_of_a_rule_opens_nothing(site: Site, way: str) -> None:
    """A longer list, another feeding rule, a removed filter, a removed `mode: off` or a restored file raises no alerts."""
    many = "\n".join(f"user{number}" for number in range(USERS))
    before, after = {
        "list": (
            {"lists/who.txt": "nobody", "rules/burst.yml": burst(detection="userName|expand: '%who%'")},
            {"lists/who.txt": many},
        ),
        "feeder": (
            {"rules/a.yml": rule("fed", CREATED), "rules/burst.yml": _over("fed")},
            {"rules/a.yml": rule("fed", DELETED)},
        ),
        "filter": ({"rules/burst.yml": burst(), "rules/f.yml": FILTER}, {"rules/f.yml": ""}),
        "off": ({"rules/burst.yml": burst(more="mode: off\n")}, {"rules/burst.yml": burst()}),
    }.get(way, ({"rules/burst.yml": burst()}, {"rules/burst.yml": burst()}))
    site.write({**before, "rules/one.yml": rule(kind=CREATED)})
    if way.startswith("removed"):
        with site.service():
            site.act(user="zoe")
            wait_until(site.is_settled, "its matching, by a rule that is then known")
        (site.rules / "burst.yml").unlink()
    if way == "removed during a restart":
        with site.service():
            _live_history(site)
    with site.service():
        if way != "removed during a restart":
            _live_history(site)
        known = {version.name: version for version in site.versions()}
        for name, text in after.items():
            put(site.folder / name, text)
        wait_until(lambda: {version.name: version for version in site.versions()} != known, "the change")
        site.act(CREATED)
        wait_until(lambda: "eve met plain for CREATE_CLUSTER" in site.titles(), "a further alert")
        assert len(site.alerts()) == 1
        site.act(user="user3")
        wait_until(lambda: len(site.alerts()) == 2, "the alert about what is new")


def test_version_stored_before_a_kill_starts_after_the_restart(site: Site) -> None:
    """If the process dies after storing a version and before using it, the version starts at the restart, not earlier."""
    site.write({"rules/one.yml": rule(kind=CREATED)})
    with site.service():
        _live_history(site)
    put(site.rules / "burst.yml", burst())
    site.start_and_end()
    with site.service():
        site.act(CREATED)
        wait_until(lambda: len(site.alerts()) == 1, "a further alert")
        site.act(user="user3")
        wait_until(lambda: len(site.alerts()) == 2, "the alert about what is new")


def test_unchanged_rule_keeps_its_state(site: Site) -> None:
    """A reload of other rules in the middle of a window, or a change of the rule's title, keeps the state of the rule."""
    site.write({"rules/one.yml": rule(kind=CREATED), "rules/burst.yml": burst(3)})
    with site.service():
        site.act()
        wait_until(site.is_settled, "its matching")
        put(site.rules / "two.yml", rule("two", CREATED))
        wait_until(lambda: "two" in site.running(), "the new rule")
        site.act()
        wait_until(site.is_settled, "its matching")
        put(site.rules / "burst.yml", burst(3).replace("title: Burst", "title: Burst of deletions"))
        wait_until(lambda: "deletions" in _burst(site), "the new title")
        site.act()
        wait_until(lambda: [alert.title for alert in site.alerts()] == ["Burst of deletions"], "its alert")


class _Switching(KindEngine):
    """An engine that switches to other rules at its second batch."""

    matcher: RecordMatcher
    following: KindEngine
    batches = 0

    def evaluate(self, batch: Sequence[Record]) -> Iterable[Match]:
        self.batches += 1
        if self.batches == 2:
            self.matcher.use(self.following, None)
        return super().evaluate(batch)


def test_rules_switch_between_two_batches(tmp_path: Path) -> None:
    """In the middle of a backlog each record is matched once, and each batch by one set of rules."""
    database = open_database(tmp_path)
    post = Post(database)
    post.store(*(make_record(number, minutes=number) for number in range(1, 10)))
    old, new = _Switching(KindRule(name="old")), KindEngine(KindRule(name="new"))
    matcher = RecordMatcher(database, old, post.addressing, post.clock, batch_size=2)
    old.matcher, old.following = matcher, new
    assert matcher.run_once() == 9
    assert [len(each.seen) for each in (old, new)] == [4, 5]
    assert sorted(alert.rule.name for alert in post.alerts().values()) == ["new"] * 5 + ["old"] * 4
    database.close()


def test_stopped_matcher_leaves_the_rest(tmp_path: Path) -> None:
    """A matcher that is stopped leaves the rest of a backlog, after the current batch, for the next process."""
    database = open_database(tmp_path)
    post = Post(database)
    post.store(*(make_record(number, minutes=number) for number in range(1, 10)))
    engine = KindEngine(KindRule())
    matcher = RecordMatcher(database, engine, post.addressing, post.clock, batch_size=2)
    matcher.stop()
    thread = threading.Thread(target=matcher.run_once)
    thread.start()
    join(thread)
    assert len(engine.seen) == 2
    assert post.matcher(KindRule()).run_once() == 7
    database.close()


def _burst(site: Site) -> str:
    return next(version.document for version in site.versions() if version.name == "burst")


def _over(name: str) -> str:
    return (
        f"title: Burst\nname: burst\nlevel: high\ncorrelation: {{type: event_count, rules: [{name}], group-by: [userName], "
        "timespan: 10m, condition: {gte: 3}}\n"
    )


FILTER = """\
title: Not these
name: not_these
logsource: {product: instaclustr, service: user_actions}
filter: {rules: [burst], selection: {userName|startswith: user}, condition: not selection}
owner: sam
reason: robots
expires: 2999-01-01
"""
