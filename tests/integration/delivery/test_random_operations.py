"""Random operations in any order: every message ends sent, dead or suppressed, and none is lost or sent twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from msgspec.structs import replace

from actionwatch.alerts.policy import ReceiverPolicy
from actionwatch.base.errors import TransientDeliveryError
from actionwatch.base.model import Status
from actionwatch.settings import RetryPolicy
from actionwatch.store import alerts, delivery_transitions
from actionwatch.store.database import Database
from actionwatch.store.outbox import DeliveryFilter
from tests.builders import QUARTER, lease_due, make_record
from tests.integration.kit import DOWN, REFUSED, Answer, KindRule, Post, Sender, settle

BUSY = TransientDeliveryError("busy", retry_after=timedelta(seconds=30))
RULES = (KindRule(realert=QUARTER), KindRule(name="any_delete"))


class DeliveryOperations(RuleBasedStateMachine):
    """Records arrive, steps run, receivers fail, processes die."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        self.post = Post(database)
        self.post.channel = {"retry": RetryPolicy(give_up_after=timedelta(minutes=5))}
        self.post.senders = {"hook": Sender(), "mail": Sender()}
        self.post.policies = {"mail": ReceiverPolicy(is_updated_last=True)}
        self.answers: dict[str, Answer] = {"hook": None, "mail": None}
        for name, sender in self.post.senders.items():
            sender.answer = lambda message, name=name: self.answers[name]  # type: ignore[misc]
        self.count = 0

    @rule(
        minutes=st.integers(-20, 20),
        user=st.sampled_from(["eve", "bob"]),
        is_backlog=st.sampled_from([False] * 5 + [True]),
    )
    def store_record(self, minutes: int, user: str, is_backlog: bool) -> None:
        """Store a record."""
        self.count += 1
        self.post.store(make_record(self.count, minutes=minutes, user_name=user, is_backlog=is_backlog))

    @rule(batch_size=st.integers(1, 4))
    def match(self, batch_size: int) -> None:
        """Match the stored records."""
        self.post.matcher(*RULES, batch_size=batch_size).run_once()

    @rule()
    def deliver(self) -> None:
        """Deliver what is due."""
        self.post.deliver()

    @rule(name=st.sampled_from(["hook", "mail"]), answer=st.sampled_from([None, None, DOWN, REFUSED, BUSY]))
    def change_answer(self, name: str, answer: Answer) -> None:
        """Change the response of a receiver."""
        self.answers[name] = answer

    @rule(seconds=st.sampled_from([1, 10, 60, 400]))
    def wait(self, seconds: int) -> None:
        """Let time pass."""
        self.post.clock.advance(seconds=seconds)

    @rule(limit=st.integers(1, 3))
    def die_with_leases(self, limit: int) -> None:
        """Claim messages and die before anything is recorded."""
        with self.post.database.write() as connection:
            lease_due(connection, "hook", self.post.clock(), limit)

    @rule()
    def replay_dead_letters(self) -> None:
        """Retry the dead letters."""
        with self.post.database.write() as connection:
            delivery_transitions.requeue(connection, DeliveryFilter(), self.post.clock())

    @rule()
    def resolve(self) -> None:
        """Resolve the alert that was opened last."""
        for alert in list(self.post.alerts().values())[:1]:
            if alert.status is Status.OPEN:
                now = self.post.clock()
                resolved = replace(alert, status=Status.RESOLVED, resolved_by="eve", resolved_at=now)
                with self.post.database.write() as connection:
                    alerts.update(connection, resolved)
                    self.post.addressing.resolve(connection, resolved, now)

    @invariant()
    def message_stays_the_same(self) -> None:
        """A message with the same id is the same on every attempt."""
        for sender in self.post.senders.values():
            by_id = {message.id: message for message in sender.sent}
            assert all(by_id[message.id] == message for message in sender.sent)

    def teardown(self) -> None:
        """Let all receivers recover, deliver for long enough, and check the result."""
        try:
            self.answers = {"hook": None, "mail": None}
            self.match(2000)
            for _ in range(4):
                self.post.clock.advance(minutes=20)
                with self.post.delivering() as worker:
                    settle(worker)
            self.check()
        finally:
            self.post.database.close()

    def check(self) -> None:
        """Check the final state of every row."""
        rows = self.post.rows()
        assert {row.status.value for row in rows} <= {"sent", "dead", "suppressed"}
        known = self.post.alerts()
        for name, sender in self.post.senders.items():
            its = [row for row in rows if row.receiver == name]
            assert {row.alert_id for row in its} == set(known)
            assert {row.id for row in its if row.status.value == "sent"} <= set(sender.ids)
            for alert_id in known:
                ended = [row for row in its if row.alert_id == alert_id]
                assert [row.ordinal for row in ended] == list(range(1, len(ended) + 1))
                resolved = [row for row in ended if row.event.value == "resolved"]
                assert len(resolved) == (known[alert_id].status is Status.RESOLVED)
        # If the last message of an alert was not given up, it counts all records of the alert.
        for row in rows:
            if row.receiver == "hook" and known[row.alert_id].status is Status.OPEN:
                counts = [
                    message.data["count"]
                    for message in self.post.senders["hook"].sent
                    if message.data["id"] == row.alert_id
                ]
                last = max(
                    (one for one in rows if (one.alert_id, one.receiver) == (row.alert_id, "hook")),
                    key=lambda one: one.ordinal,
                )
                assert last.status.value == "dead" or max(counts) == known[row.alert_id].count
        with self.post.database.read() as connection:
            held = alerts.read_joined(connection, set(range(1, self.count + 1)))
        assert all(n == 1 for n in Counter((rule_id, record_id) for rule_id, _, record_id in held).values())
        dead = {row.receiver for row in rows if row.status.value == "dead"}
        assert dead <= {opened.removeprefix("dead_letters ") for opened in self.post.open_troubles()}


def test_random_operations_lose_and_repeat_nothing(new_store: Callable[[], Database]) -> None:
    """After any operations every message ends sent, dead or suppressed, in its order."""
    chosen = settings(max_examples=25, stateful_step_count=25)

    class OnStore(DeliveryOperations):
        def __init__(self) -> None:
            super().__init__(new_store())

    run_state_machine_as_test(OnStore, settings=chosen)
