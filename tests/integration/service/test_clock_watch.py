"""If the clock is set while the service runs or between two runs, waits keep their lengths and a self-alert is raised."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from actionwatch.alerts.ledger import open_test_alert
from actionwatch.alerts.policy import ReceiverPolicy, Storm
from actionwatch.alerts.routes import Route
from actionwatch.base.delivery import Delivery, DeliveryStatus
from actionwatch.base.errors import StoreBusy, StoreError, TransientDeliveryError
from actionwatch.delivery.health import FAILING_AFTER
from actionwatch.delivery.worker import DeliveryWorker
from actionwatch.matching.addressing import Addressing
from actionwatch.matching.self_alerts import SelfAlertStore
from actionwatch.service.clock_watch import DOWNTIME, ClockWatch
from actionwatch.settings import RetryPolicy
from actionwatch.store import alerts, outbox, polls, receivers, self_alerts, waits
from actionwatch.store.database import Database
from actionwatch.text.crontab import parse_crontab
from tests.builders import NOON, Machine, url_of
from tests.integration.delivery.delivering import BusyDatabase
from tests.integration.delivery.kit import Desk
from tests.integration.kit import DOWN, Post, enqueue_test, settle

STEPS = [timedelta(hours=-1), timedelta(hours=25), timedelta(days=3000), timedelta(days=-30), timedelta(minutes=2)]
SLOW = RetryPolicy(first=timedelta(seconds=10), factor=1.0)


@pytest.fixture
def machine() -> Machine:
    """A machine at noon."""
    return Machine()


@pytest.fixture
def post(database: Database, machine: Machine) -> Post:
    """One receiver, on a machine whose clock can be set."""
    return Post(database, machine, channel={"retry": SLOW})


def watch(post: Post, *followers: DeliveryWorker) -> ClockWatch:
    """Build a watch of the machine's clock. Its reports go to no receiver."""
    machine = post.clock
    assert isinstance(machine, Machine)
    follow_methods = [follower.follow_clock for follower in followers]
    troubles = SelfAlertStore(post.database, Addressing(Route(()), {}), machine)
    return ClockWatch(machine.clock, post.database, troubles, follow_methods, machine.elapsed)


def poll(post: Post) -> None:
    """Store the time of a poll, which shows that a process is alive."""
    with post.database.write() as connection:
        polls.note_poll(connection, "acme", post.clock(), None)


def row(post: Post, alert_id: str = "one") -> Delivery:
    """Return the only delivery of an alert."""
    (found,) = post.rows(alert_id)
    return found


# -- while we run


@pytest.mark.parametrize("step", STEPS)
def test_outbox_uses_the_old_time_until_the_step_is_noticed(post: Post, machine: Machine, step: timedelta) -> None:
    """Until the step is noticed, the outbox uses the time from before the step."""
    sender = post.senders["hook"]
    sender.answer = lambda message: DOWN
    post.open_alerts("one")
    with post.delivering() as worker:
        settle(worker)
        machine.now += step
        settle(worker)
        assert len(sender.sent) == 1
        machine.advance(seconds=10)
        settle(worker)
        assert len(sender.sent) == 2
    assert row(post).status is DeliveryStatus.PENDING


def test_clock_step_gives_up_no_message(post: Post, machine: Machine) -> None:
    """A message that fails before and after a step of a day is still retried. It is given up after a day of attempts."""
    post.senders["hook"].answer = lambda message: DOWN
    post.open_alerts("one")
    with post.delivering() as worker:
        settle(worker)
        machine.set_clock(hours=25)
        watch(post, worker).run_once()
        machine.advance(seconds=11)
        settle(worker)
        assert row(post).status is DeliveryStatus.PENDING
        assert row(post).attempts == 2
        machine.advance(hours=23)
        settle(worker)
        assert row(post).status is DeliveryStatus.PENDING
        machine.advance(hours=1)
        settle(worker)
    assert row(post).status is DeliveryStatus.DEAD


@pytest.mark.parametrize("step", STEPS)
def test_clock_step_during_an_attempt(post: Post, machine: Machine, step: timedelta) -> None:
    """An attempt that begins before a step and fails after it is neither given up nor sent twice at once."""
    sender = post.senders["hook"]
    sender.answer = lambda message: DOWN
    sender.gate.clear()
    post.open_alerts("one")
    with post.delivering() as worker:
        worker.run_once()
        machine.now += step
        watch(post, worker).run_once()
        machine.advance(seconds=1)
        with post.database.read() as connection:
            assert receivers.read_availability(connection, "hook", machine(), 9).leased_count == 1
        worker.run_once()
        machine.advance(minutes=3)
        with post.database.read() as connection:
            assert receivers.read_availability(connection, "hook", machine(), 9).leased_count == 1
        sender.gate.set()
        settle(worker)
        assert len(sender.sent) == 1
    assert (row(post).attempts, row(post).status) == (1, DeliveryStatus.PENDING)
    assert row(post).due_at - machine() <= timedelta(seconds=10)


@pytest.mark.parametrize("step", STEPS)
def test_clock_step_does_not_change_a_retry_after(post: Post, machine: Machine, step: timedelta) -> None:
    """A Retry-After of half an hour lasts half an hour."""
    sender = post.senders["hook"]
    sender.answer = lambda message: TransientDeliveryError("busy", retry_after=timedelta(minutes=30))
    post.open_alerts("one")
    with post.delivering() as worker:
        settle(worker)
        sender.answer = lambda message: None
        machine.now += step
        watch(post, worker).run_once()
        post.open_alerts("two")
        machine.advance(minutes=29)
        settle(worker)
        assert len(sender.sent) == 1
        machine.advance(minutes=2)
        settle(worker)
    assert {found.status for found in post.rows()} == {DeliveryStatus.SENT}


@pytest.mark.parametrize("step", STEPS)
def test_clock_step_does_not_delay_an_update(database: Database, machine: Machine, step: timedelta) -> None:
    """An acknowledgement, a match, or news of a self-alert that follow a step are sent after the interval of updates."""
    desk = Desk(database, machine, policies={"hook": ReceiverPolicy(updates=timedelta(seconds=30))})
    acked, matched = desk.match_records(user_name="abe"), desk.match_records(user_name="bob")
    desk.troubles.report("unknown_kind", "acme", "X", "")
    desk.deliver()
    machine.now += step
    watch(desk).run_once()
    desk.operator.acknowledge(acked, "sam")
    with database.write() as connection:
        (alert,) = [each for each in alerts.read_newest(connection, 9) if each.id == matched]
        desk.addressing.update(connection, [(alert, None)], machine())
    desk.troubles.update("unknown_kind", "acme", "X, Y")
    desk.later(seconds=31)
    assert [message.type for message in desk.hook.sent].count("alert.updated") == 3


@pytest.mark.parametrize("step", STEPS)
def test_clock_step_does_not_delay_the_only_update(database: Database, machine: Machine, step: timedelta) -> None:
    """An email about news of a self-alert that follows a step is sent at once, although the alert began in the future."""
    desk = Desk(database, machine, policies={"hook": ReceiverPolicy(is_updated_last=True)})
    desk.troubles.report("unknown_kind", "acme", "X", "")
    desk.deliver()
    machine.now += step
    watch(desk).run_once()
    desk.troubles.update("unknown_kind", "acme", "X, Y")
    desk.later(seconds=11)
    assert [message.type for message in desk.hook.sent] == ["alert.opened", "alert.updated"]


@pytest.mark.parametrize("step", STEPS)
def test_clock_step_does_not_change_a_rate(post: Post, machine: Machine, step: timedelta) -> None:
    """A receiver with a rate of one message per ten minutes gets one per ten minutes."""
    post.channel["rate_per_second"] = 1 / 600
    post.open_alerts("one", "two")
    with post.delivering() as worker:
        settle(worker)
        machine.now += step
        watch(post, worker).run_once()
        with post.database.read() as connection:  # for other processes
            next_at = receivers.read_availability(connection, "hook", machine(), 9).next_at
        assert next_at is not None
        assert timedelta(minutes=9) < next_at - machine() <= timedelta(minutes=10)
        machine.advance(minutes=9)
        settle(worker)
        assert len(post.senders["hook"].sent) == 1
        machine.advance(minutes=2)
        settle(worker)
    assert len(post.senders["hook"].sent) == 2


@pytest.mark.parametrize("step", STEPS)
def test_clock_step_does_not_change_the_health_of_receivers(post: Post, machine: Machine, step: timedelta) -> None:
    """A step does not make a failure of a minute look like a day. A long failure is still reported."""
    post.senders["hook"].answer = lambda message: DOWN
    post.open_alerts("one")
    with post.delivering() as worker:
        settle(worker)
        machine.now += step
        watch(post, worker).run_once()
        machine.advance(seconds=60)
        settle(worker)
        assert "receiver_failing hook" not in post.open_troubles()
        machine.advance(seconds=FAILING_AFTER.total_seconds())
        settle(worker)
        worker.run_once()
    assert "receiver_failing hook" in post.open_troubles()


def test_clock_step_opens_one_alert_that_resolves_after_an_hour(post: Post, machine: Machine) -> None:
    """A step is logged and opens one alert with both times, which resolves after an hour without another step."""
    machine.set_clock(hours=-1)
    watching = watch(post)
    with capture_logs() as logs:
        watching.run_once()
        watching.run_once()
    assert [entry["seconds"] for entry in logs if entry["event"] == "clock_stepped"] == [-3600.0]
    assert post.open_troubles() == ["clock_stepped this machine"]
    with post.database.read() as connection:
        (alert,) = alerts.read_newest(connection, 9)
    assert alert.labels == {"trouble": "clock_stepped"}
    assert alert.body == "the clock was set back by 1h, from 2026-11-25T12:00:00.000Z to 2026-11-25T11:00:00.000Z"
    machine.advance(minutes=50)
    machine.set_clock(hours=1)
    watching.run_once()
    machine.advance(minutes=50)
    watching.run_once()
    assert post.open_troubles() == ["clock_stepped this machine"]
    machine.advance(minutes=11)
    watching.run_once()
    assert post.open_troubles() == []


def test_small_correction_is_not_reported(post: Post, machine: Machine) -> None:
    """A correction of half a minute is no step: nothing is moved or reported."""
    post.open_alerts("one")
    before = row(post)
    machine.set_clock(seconds=-30)
    watch(post).run_once()
    assert post.open_troubles() == []
    assert row(post) == before


def test_clock_step_while_the_store_is_busy(post: Post, machine: Machine) -> None:
    """While the store cannot be written, the old time continues. The step is logged once and handled later."""
    post.open_alerts("one")
    busy = BusyDatabase(url_of(post.database))
    watching = ClockWatch(machine.clock, busy, post.troubles, (), machine.elapsed)
    machine.set_clock(hours=5)
    busy.refusals = 2
    with capture_logs() as logs:
        for _ in range(2):
            with pytest.raises(StoreBusy):
                watching.run_once()
        assert machine() < NOON + timedelta(seconds=1)
        watching.run_once()
    busy.close()
    assert machine() == machine.now
    assert row(post).due_at >= NOON + timedelta(hours=5)
    assert [entry["event"] for entry in logs].count("clock_stepped") == 1


def test_row_with_the_old_time_becomes_due_in_time(post: Post, machine: Machine) -> None:
    """A row that was written with a time from just before a step back still becomes due in time."""
    watching = watch(post)
    before = machine()
    machine.set_clock(hours=-1)
    watching.run_once()
    with post.database.write() as connection:
        enqueue_test(connection, open_test_alert("hook", before), "hook", before)
    assert row_of_test(post).due_at > machine()
    watching.run_once()
    assert row_of_test(post).due_at == machine()


def row_of_test(post: Post) -> Delivery:
    """Read the row of a test message."""
    with post.database.read() as connection:
        return next(found for found in outbox.find(connection, limit=9) if found.event == "test")


# -- schedules by wall-clock time


def test_digest_is_sent_once_although_its_hour_repeats(database: Database, machine: Machine) -> None:
    """A digest does not repeat the previous one although the clock shows its hour twice."""
    policy = ReceiverPolicy(digest=parse_crontab("0 13 * * *"))
    desk = Desk(database, machine, policies={"hook": policy})
    desk.match_records(user_name="abe")
    desk.deliver()
    desk.later(hours=1)
    assert desk.received() == ["digest: 1"]
    machine.set_clock(minutes=-10)
    watch(desk).run_once()
    desk.match_records(user_name="bob")
    desk.later(minutes=5)
    assert desk.received() == ["digest: 1"]
    desk.later(minutes=5)
    assert desk.received() == ["digest: 1", "digest: 1"]
    desk.match_records(user_name="dan")
    desk.deliver()
    machine.set_clock(hours=25)
    watch(desk).run_once()
    desk.deliver()
    assert desk.received() == ["digest: 1", "digest: 1", "digest: 1"]


def test_storm_summary_is_sent_in_time(database: Database, machine: Machine) -> None:
    """A storm's summary is sent at the end of its interval although the clock was set back."""
    policy = ReceiverPolicy(storm=Storm(2, timedelta(minutes=10)), updates=timedelta(minutes=5))
    desk = Desk(database, machine, policies={"hook": policy})
    for user in ("abe", "bob", "dan", "eve"):
        desk.match_records(user_name=user)
    desk.deliver()
    assert desk.received() == ["opened x1", "opened x1"]
    machine.set_clock(hours=-1)
    watch(desk).run_once()
    desk.later(minutes=6)
    assert desk.received()[2:] == ["storm: 2"]
    machine.set_clock(hours=-3)
    watch(desk).run_once()
    for user in ("fay", "gil", "hal"):
        desk.match_records(user_name=user)
    desk.later(minutes=11)
    desk.later(minutes=5)
    assert desk.received()[3:] == ["opened x1", "opened x1", "storm: 1"]


# -- between two runs


def test_clock_set_forward_between_two_runs_gives_up_no_message(post: Post, machine: Machine) -> None:
    """A start that is a day later by the clock gives up no message, because the clock may have been set."""
    post.senders["hook"].answer = lambda message: DOWN
    post.open_alerts("one")
    post.deliver()
    poll(post)
    machine.set_clock(hours=25)
    machine.restart()
    watch(post).start()
    post.deliver()
    assert (row(post).attempts, row(post).status) == (2, DeliveryStatus.PENDING)
    with post.database.read() as connection:
        assert receivers.read_all(connection)["hook"].failing_since == machine() - DOWNTIME
    machine.advance(hours=24)
    post.deliver()
    assert row(post).status is DeliveryStatus.DEAD


def test_row_written_by_a_clock_far_ahead_is_due_in_time(post: Post, machine: Machine) -> None:
    """A row that was written by a clock far ahead does not wait until that time."""
    poll(post)
    machine.set_clock(days=400)
    machine.restart()
    post.open_alerts("one")
    with post.database.write() as connection:
        receivers.note_failure(connection, "hook", machine(), "busy", machine() + timedelta(days=1))
    machine.set_clock(days=-400)
    machine.restart()
    watch(post).start()
    with post.database.read() as connection:
        health = receivers.read_all(connection)["hook"]
    assert health.failing_since == machine()
    assert health.paused_until == machine() + timedelta(days=1)
    assert row(post).due_at <= machine() + timedelta(seconds=1)


def test_clock_step_alert_survives_a_restart(post: Post, machine: Machine) -> None:
    """A restart within the hour neither removes the report nor extends it."""
    machine.set_clock(hours=-1)
    watch(post).run_once()
    machine.advance(minutes=40)
    machine.restart()
    watching = watch(post)
    watching.start()
    watching.run_once()
    assert post.open_troubles() == ["clock_stepped this machine"]
    machine.advance(minutes=21)
    watching.run_once()
    assert post.open_troubles() == []
    machine.set_clock(hours=-1)
    watching.run_once()
    machine.advance(hours=2)
    machine.restart()
    watch(post).start()
    assert post.open_troubles() == []


def test_write_during_a_clock_step_uses_one_time(post: Post, machine: Machine) -> None:
    """A write during a step uses either the old or the new time, never both."""
    watching = watch(post)
    stopping = threading.Event()

    def add_deliveries() -> None:
        number = 0
        while not stopping.is_set():
            number += 1
            with post.database.write() as connection:
                now = machine()
                alert = open_test_alert("hook", now + timedelta(microseconds=number))
                enqueue_test(connection, alert, "hook", now)

    thread = threading.Thread(target=add_deliveries)
    thread.start()
    try:
        for step in (3, -2, 5, -6):
            machine.set_clock(hours=step)
            watching.run_once()
    finally:
        stopping.set()
        thread.join()
    with post.database.read() as connection:
        dues = {found.due_at for found in outbox.find(connection, limit=100_000) if found.event == "test"}
        assert waits.read_last_alive(connection) is None
    assert dues == {machine()}


def test_replica_that_does_not_lead_only_follows(post: Post, machine: Machine) -> None:
    """On a shared store, one replica moves the waits; the others follow the clock, and report nothing."""
    post.senders["hook"].answer = lambda message: DOWN
    post.open_alerts("one")
    followed: list[timedelta] = []
    troubles = SelfAlertStore(post.database, Addressing(Route(()), {}), machine)
    watching = ClockWatch(
        machine.clock, post.database, troubles, [followed.append], machine.elapsed, leads=lambda: False
    )
    before = row(post).due_at
    machine.set_clock(hours=2)
    watching.run_once()
    watching.run_once()
    assert followed == [timedelta(hours=2)]
    assert machine() == machine.now
    assert row(post).due_at == before
    with post.database.read() as connection:
        assert self_alerts.read_all(connection) == []


# -- a step and its report are one transaction


@contextlib.contextmanager
def refusing_reports(database: Database) -> Iterator[None]:
    """Let the store fail where a self-alert is written, until the block ends."""
    with database.write() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER refusing BEFORE INSERT ON self_alert BEGIN SELECT RAISE(ABORT, 'no room'); END"
        )
    try:
        yield
    finally:
        with database.write() as connection:
            connection.exec_driver_sql("DROP TRIGGER refusing")


@pytest.mark.parametrize("is_start", [False, True])
def test_step_whose_report_fails_is_noticed_again(post: Post, machine: Machine, *, is_start: bool) -> None:
    """Waits move only together with the report: a process that ends between the two would leave a step that nobody sees."""
    post.open_alerts("one")
    poll(post)
    due_at = row(post).due_at
    machine.now -= timedelta(hours=1)
    watching = watch(post)
    if is_start:
        machine.restart()
        watching = watch(post)
    run = watching.start if is_start else watching.run_once
    with refusing_reports(post.database), pytest.raises(StoreError):
        run()
    assert row(post).due_at == due_at
    run()
    assert row(post).due_at == due_at - timedelta(hours=1)
    with post.database.read() as connection:
        assert self_alerts.read(connection, "clock_stepped", "this machine") is not None
