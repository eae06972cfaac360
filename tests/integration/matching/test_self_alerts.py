"""A problem of actionwatch itself opens one self-alert, which resolves when the problem ends."""

from __future__ import annotations

from msgspec.structs import replace

from actionwatch.alerts.ledger import SELF_RULE, open_self_alert, open_test_alert
from actionwatch.alerts.self_alerts import TROUBLES
from actionwatch.base.model import Status
from actionwatch.matching.self_alerts import SelfAlertStore
from actionwatch.store import alert_history, alerts, outbox, self_alerts
from actionwatch.store.database import Database
from actionwatch.store.tables import SELF_ALERT
from tests.builders import NOON, Clock, url_of
from tests.cases import in_one_test
from tests.integration.kit import Post, enqueue_test
from tests.statements import statements
from tests.waiting import all_at_once


def self_states(post: Post) -> list[str]:
    """Return event and status of each message about self-alerts, oldest first."""
    with post.database.read() as connection:
        found = outbox.find(connection, limit=100)
    rows = sorted(found, key=lambda row: (row.created_at, row.alert_id, row.ordinal))
    return [f"{row.event.value} {row.status.value}" for row in rows]


def test_repeated_reports_open_one_self_alert(post: Post) -> None:
    """A problem that is reported repeatedly, by this process or the next, opens one alert."""
    for _ in range(3):
        post.troubles.report("key_refused", "acme", "401", "give it a new key")
        post.clock.advance(minutes=1)
    assert self_states(post) == ["opened pending"]
    with post.database.read() as connection:
        (opened,) = self_alerts.read_all(connection)
        alert = alerts.read(connection, opened.alert_id)
    assert alert is not None
    assert (opened.since, opened.what, opened.remedy) == (NOON, "401", "give it a new key")
    assert (alert.rule, alert.source, alert.group) == (SELF_RULE, "acme", {"subject": "acme"})
    assert (alert.labels, alert.body, alert.runbook) == ({"trouble": "key_refused"}, "401", "give it a new key")


def test_self_alert_resolves_when_the_problem_ends(post: Post) -> None:
    """When the problem ends, its alert resolves and the notified receivers get the resolve.

    The next problem is a new alert.
    """
    post.troubles.report("key_refused", "acme", "401", "")
    post.deliver()
    post.clock.advance(minutes=1)
    for _ in range(2):
        post.troubles.settle_trouble("key_refused", "acme")
    post.deliver()
    assert self_states(post) == ["opened sent", "resolved sent"]
    assert post.open_troubles() == []
    post.clock.advance(minutes=1)
    post.troubles.report("key_refused", "acme", "401", "")
    assert self_states(post) == ["opened sent", "resolved sent", "opened pending"]


def test_problems_that_ended_together_cost_one_read(post: Post) -> None:
    """Of many problems of a source, those that are open resolve. If none is, as after most polls, one read shows that."""
    reported = ("key_refused", "acme"), ("mark_ahead", "acme"), ("clock_skew", "acme"), ("key_refused", "other")
    for trouble, subject in reported:
        post.troubles.report(trouble, subject, "", "")
    post.troubles.settle_all([(each, "acme") for each in ("key_refused", "clock_skew", "records_cut")])
    assert sorted(post.open_troubles()) == ["key_refused other", "mark_ahead acme"]
    with statements() as run:
        post.troubles.settle_all([(each, "acme") for each in ("key_refused", "clock_skew", "records_cut")])
    assert len([statement for statement in run if "self_alert" in statement]) == 1


def test_open_self_alert_is_updated(post: Post) -> None:
    """What an open alert says can change: its receivers get one update for each change, `status` and `show` the new text."""
    post.troubles.update("unknown_kind", "acme", "one")
    assert self_states(post) == []
    post.troubles.report("unknown_kind", "acme", "one", "declare it")
    post.deliver()
    post.clock.advance(minutes=1)
    for _ in range(3):
        post.troubles.update("unknown_kind", "acme", "two")
    post.clock.advance(hours=1)
    post.deliver()
    assert self_states(post) == ["opened sent", "updated sent"]
    assert [message.data["body"] for message in post.senders["hook"].sent] == ["one", "two"]
    with post.database.read() as connection:
        (opened,) = self_alerts.read_all(connection)
        alert = alerts.read(connection, opened.alert_id)
        story = [(entry.stage, entry.what) for entry in alert_history.read(connection, opened.alert_id)]
    assert alert is not None
    assert (opened.what, opened.remedy, alert.body, alert.first_at) == ("two", "declare it", "two", NOON)
    assert ("updated", "two") in story
    post.troubles.settle_trouble("unknown_kind", "acme")
    post.troubles.update("unknown_kind", "acme", "three")
    post.deliver()
    assert self_states(post) == ["opened sent", "updated sent", "resolved sent"]


def resolve_as_person(post: Post) -> str:
    """Resolve the alert of the only open problem, and return its id."""
    with post.database.write() as connection:
        (opened,) = self_alerts.read_all(connection)
        alert = alerts.read(connection, opened.alert_id)
        assert alert is not None
        alerts.update(connection, replace(alert, status=Status.RESOLVED, resolved_by="eve"))
    return opened.alert_id


def test_resolved_self_alert_is_not_updated(post: Post) -> None:
    """An alert that was resolved while its problem lasts keeps its text and sends nothing."""
    post.troubles.report("unknown_kind", "acme", "one", "")
    post.deliver()
    alert_id = resolve_as_person(post)
    post.troubles.update("unknown_kind", "acme", "two")
    assert self_states(post) == ["opened sent"]
    with post.database.read() as connection:
        alert = alerts.read(connection, alert_id)
    assert alert is not None
    assert alert.body == "one"


def test_problem_that_ended_before_its_message_is_sent_and_resolved(post: Post) -> None:
    """If the problem ends before its message is sent, `opened` is sent, then `resolved`."""
    post.troubles.report("key_refused", "acme", "401", "")
    post.troubles.settle_trouble("key_refused", "acme")
    post.deliver()
    assert self_states(post) == ["opened sent", "resolved sent"]


def test_settling_an_unreported_problem_does_nothing(post: Post) -> None:
    """Settling a problem that was never reported does nothing."""
    post.troubles.settle_trouble("key_refused", "acme")
    post.troubles.settle_others("key_refused", set())
    assert self_states(post) == []


def test_each_subject_has_its_own_self_alert(post: Post) -> None:
    """Each subject has its own self-alert. Settling all others keeps the named subjects, and other problems."""
    for subject in ("one", "two", "three"):
        post.troubles.report("rule_broken", subject, "x", "")
    post.troubles.report("key_refused", "one", "x", "")
    post.troubles.settle_others("rule_broken", {"two"})
    assert sorted(post.open_troubles()) == ["key_refused one", "rule_broken two"]


def test_problem_with_a_resolved_or_deleted_alert_ends_silently(post: Post) -> None:
    """If an operator resolved the alert, or retention deleted it, the problem ends without another message."""
    post.troubles.report("key_refused", "acme", "401", "")
    post.deliver()
    resolve_as_person(post)
    post.troubles.settle_trouble("key_refused", "acme")
    assert self_states(post) == ["opened sent"]
    assert post.open_troubles() == []


def test_concurrent_reports_open_at_most_one_self_alert(post: Post) -> None:
    """Concurrent reports and settlements leave at most one open problem, and one alert for each that began."""

    def report() -> None:
        post.troubles.report("key_refused", "acme", "401", "")

    all_at_once(*[report] * 8)
    assert self_states(post) == ["opened pending"]
    assert post.open_troubles() == ["key_refused acme"]


def test_two_processes_report_a_problem_once(post: Post) -> None:
    """Two processes on one store report a problem once."""
    other = Database(url_of(post.database))
    for database in (post.database, other):
        SelfAlertStore(database, post.addressing, Clock()).report("key_refused", "acme", "401", "")
    other.close()
    assert self_states(post) == ["opened pending"]


@in_one_test("trouble", TROUBLES)
def test_every_trouble_has_a_title_and_an_id(trouble: str) -> None:
    """The title of each trouble names its subject. Its id depends on trouble, subject and beginning."""
    alert = open_self_alert(trouble, "acme", "what", "", NOON)
    assert "acme" in alert.title
    assert alert.runbook is None
    others = {
        open_self_alert(trouble, "acme", "else", "x", NOON).id,
        open_self_alert(trouble, "b", "what", "", NOON).id,
    }
    assert alert.id in others
    assert len(others) == 2


def test_troubles_are_those_of_the_contract() -> None:
    """Those of the contract, and some that came later: `config_differs`, `replicas_differ`, …"""
    assert " ".join(sorted(TROUBLES)) == (
        "accounts_refused clock_skew clock_stepped config_differs dead_letters filter_ignored key_refused mark_ahead "
        "origin_unreachable polls_late proof_lagging receiver_failing records_cut replicas_differ rule_broken rule_failing "
        "step_failing store_nearly_full stream_lagging template_failing unknown_field unknown_kind "
        "upstream_unreachable window_shrunk window_unproved"
    )


def test_test_message_goes_only_to_its_receiver(post: Post) -> None:
    """A test message is marked, and goes only to its receiver, regardless of the routes."""
    alert = open_test_alert("hook", NOON)
    with post.database.write() as connection:
        alerts.insert_new(connection, [(alert, alert.id)])
        enqueue_test(connection, alert, "hook", NOON)
    post.deliver()
    (message,) = post.senders["hook"].sent
    assert (message.type, message.data["labels"]) == ("receiver.test", {"test": "true"})


def test_self_alert_of_another_version_resolves(post: Post) -> None:
    """An open self-alert that this version cannot report would stay open for ever, or stop the start."""
    post.troubles.report("clock_skew", "beta", "x", "")
    with post.database.write() as connection:
        connection.execute(SELF_ALERT.update().values(trouble="clock_lost"))
    post.troubles.settle_removed(["beta"], ["hook"])
    assert post.open_troubles() == []
    with post.database.read() as connection:
        (alert,) = alerts.read_newest(connection, 10)
    assert (alert.status, alert.body) == (
        Status.RESOLVED,
        "x\n\nResolved: this version of actionwatch does not report it",
    )


def test_self_alerts_of_a_removed_subject_resolve(post: Post) -> None:
    """Self-alerts of a removed source or receiver resolve with the reason; those about dead letters stay."""
    for trouble in ("key_refused", "proof_lagging"):
        post.troubles.report(trouble, "acme", "x", "")
        post.troubles.report(trouble, "beta", "x", "")
    for trouble in ("receiver_failing", "dead_letters"):
        post.troubles.report(trouble, "old", "503", "")
    post.clock.advance(minutes=1)
    post.troubles.settle_removed(["beta"], ["hook"])
    assert sorted(post.open_troubles()) == ["dead_letters old", "key_refused beta", "proof_lagging beta"]
    with post.database.read() as connection:
        found = [each for each in alerts.read_newest(connection, 100) if each.status is Status.RESOLVED]
        stories = [entry.what for each in found for entry in alert_history.read(connection, each.id)]
    assert {each.body for each in found} == {
        "x\n\nResolved: the source acme is no longer configured",
        "503\n\nResolved: the receiver old is no longer configured",
    }
    assert stories.count("by actionwatch: the source acme is no longer configured") == 2
