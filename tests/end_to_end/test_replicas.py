"""Replicas on one store in PostgreSQL share the work and take over from each other; real processes and a real server."""

from __future__ import annotations

import contextlib
import json
import signal
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from actionwatch.alerts.self_alerts import placed
from actionwatch.store.database import Database
from actionwatch.store.lease import SPAN
from tests import http_client, postgresql
from tests.end_to_end import kit
from tests.integration.notifiers.http_end import HttpEnd
from tests.integration.streams.kit import assert_proved
from tests.next_release import NEXT, NextRelease
from tests.waiting import wait_until


class Replicas:
    """Replicas on one store and with one configuration, each in its own folder."""

    def __init__(self, folder: Path, up: kit.Upstream, webhook: HttpEnd, url: str, stack: contextlib.ExitStack) -> None:
        self._folder = folder
        self._up = up
        self._webhook = webhook
        self.url = url
        self._stack = stack
        self.has_stream = False

    def place(self, name: str) -> kit.Post:
        """Return a folder with the configuration."""
        post = kit.Post(self._folder / name, self._up, self.url).write(self._webhook)
        if self.has_stream:
            post.add_stream(self.lake)
        return post

    @property
    def lake(self) -> Path:
        """The folder into which the replica with its role sends the stream."""
        return self._folder / "lake"

    def start(self, name: str) -> kit.Service:
        """Start a replica."""
        return self._stack.enter_context(self.place(name).service())

    def connected(self) -> psycopg.Connection[tuple[Any, ...]]:
        """Connect to the database. The end of the block commits."""
        return psycopg.connect(self.url.replace("+psycopg", ""))

    def query(self, statement: str) -> list[Any]:
        """Query the store."""
        with self.connected() as connection:
            return connection.execute(statement.encode()).fetchall()

    def wait_until_sent(self) -> None:
        """Wait until every message is recorded as sent."""
        statement = "SELECT DISTINCT status FROM delivery"
        pending = (
            "SELECT delivery.*, title FROM delivery JOIN alert ON alert.id = alert_id WHERE delivery.status <> 'sent'"
        )
        wait_until(lambda: self.query(statement) == [("sent",)], "an empty outbox", lambda: self.query(pending))


@pytest.fixture
def replicas(tmp_path: Path, up: kit.Upstream, webhook: HttpEnd) -> Iterator[Replicas]:
    """Replicas on an empty database."""
    with postgresql.other_database("replicas") as url, contextlib.ExitStack() as stack:
        yield Replicas(tmp_path, up, webhook, url, stack)


@pytest.fixture
def pair(replicas: Replicas) -> tuple[kit.Service, kit.Service]:
    """A replica that leads, and one that tails."""
    return start_pair(replicas)


def start_pair(replicas: Replicas) -> tuple[kit.Service, kit.Service]:
    """Start a replica that leads, and another one, which takes a role from it."""
    leader = replicas.start("leader")
    leader.wait_until_up()
    other = replicas.start("other")
    other.wait_until_up()
    other.wait_for("role_taken")
    return leader, other


def test_replicas_share_the_work(
    replicas: Replicas, pair: tuple[kit.Service, kit.Service], up: kit.Upstream, soar: kit.Soar
) -> None:
    """One replica leads, another one tails, and both are ready. Commands act from anywhere; a round is refused."""
    leader, other = pair
    assert [each["role"] for each in other.events("role_taken")] == ["tail acme"]
    for replica in pair:
        url = replica.wait_until_up()
        wait_until(lambda url=url: http_client.get(f"{url}/readyz").status_code == 200, "a ready replica")  # type: ignore[misc]

    elsewhere = replicas.place("elsewhere").folder
    shown = kit.called("status", "-o", "json", folder=elsewhere)
    assert (shown.returncode, json.loads(shown.stdout)["troubles"]) == (0, []), shown.stderr
    assert sorted(each["roles"] for each in json.loads(shown.stdout)["replicas"]) == [["leader"], ["tail acme"]]
    round_ = kit.finished_warm("run", "--once", folder=elsewhere)
    assert round_.returncode == 1
    assert "another actionwatch runs on postgresql+psycopg://" in round_.stderr
    assert "stop it, or give this one its own store.url" in round_.stderr

    up.delete_cluster("eve@example.com")
    (message,) = soar.wait_for(user="eve@example.com")
    acted = kit.called("alerts", "ack", message.data["id"], folder=elsewhere)
    assert acted.returncode == 0, acted.stderr
    assert replicas.query("SELECT count(*) FROM alert WHERE acked_by IS NOT NULL") == [(1,)]
    silence = ("silences", "add", "userName=bob@example.com", "--for", "1h", "--comment", "planned")
    assert kit.called(*silence, folder=elsewhere).returncode == 0
    up.delete_cluster("bob@example.com", "mallory@example.com")
    soar.wait_for(user="mallory@example.com")
    assert not soar.find(user="bob@example.com")
    for replica in (other, leader):
        replica.end()
        assert not replica.events("thread_died")


def test_others_take_over_from_one_that_stops(
    replicas: Replicas, pair: tuple[kit.Service, kit.Service], up: kit.Upstream, soar: kit.Soar
) -> None:
    """When the leader stops, the other takes over at once. Nothing is alerted twice."""
    leader, other = pair
    up.delete_cluster("before@example.com")
    soar.wait_for(user="before@example.com")
    leader.end()
    wait_until(lambda: len(other.events("role_taken")) == 2, "the other to lead", other.log.read_text)
    up.delete_cluster("after@example.com")
    soar.wait_for(user="after@example.com")
    replicas.wait_until_sent()
    other.end()
    assert_nothing_lost_or_doubled(replicas, up, soar, ["before@example.com", "after@example.com"])


@pytest.mark.parametrize("victim", [0, 1], ids=["leader", "tail"])
def test_others_take_over_from_one_that_is_killed(
    replicas: Replicas, up: kit.Upstream, soar: kit.Soar, victim: int
) -> None:
    """When a replica is killed, the others do its work, and nothing is lost or alerted twice; the stream has every record.

    The killed one had sent messages and not recorded that. They repeat under the same id.
    """
    replicas.has_stream = True
    pair, third = start_pair(replicas), replicas.start("third")
    third.wait_until_up()
    users = [f"user{number}@example.com" for number in range(9)]
    with soar.holding():
        up.delete_cluster(*users[:3])
        wait_until(lambda: len(soar.arrivals) == 3, "messages that are not answered")
        pair[victim].kill()
    up.delete_cluster(*users[3:6])
    for user in users[:6]:
        soar.wait_for(user=user)
    up.delete_cluster(*users[6:])
    for user in users[6:]:
        soar.wait_for(user=user)
    replicas.wait_until_sent()
    assert_nothing_lost_or_doubled(replicas, up, soar, users)
    unsent = "SELECT count(*) FROM record WHERE id > (SELECT row_id FROM stream_position)"
    wait_until(lambda: replicas.query(unsent) == [(0,)], "everything in the stream", lambda: replicas.query(unsent))
    for replica in (third, pair[1 - victim]):
        replica.end()
        assert not replica.events("thread_died")
    assert_proved(replicas.lake, [key for (key,) in replicas.query("SELECT record_key FROM record")])


@pytest.mark.parametrize("victim", [0, 1], ids=["leader", "tail"])
def test_frozen_replica_goes_on_as_one_of_them(
    replicas: Replicas, pair: tuple[kit.Service, kit.Service], up: kit.Upstream, soar: kit.Soar, victim: int
) -> None:
    """A replica that was frozen for longer than its leases writes nothing for its old roles when it wakes, and helps again."""
    frozen, other = pair[victim], pair[1 - victim]
    users = [f"user{number}@example.com" for number in range(6)]
    up.delete_cluster(*users[:3])
    soar.wait_for(user=users[0])
    frozen.process.send_signal(signal.SIGSTOP)
    up.delete_cluster(*users[3:])
    for user in users:
        soar.wait_for(user=user)
    replicas.wait_until_sent()
    frozen.process.send_signal(signal.SIGCONT)
    frozen.wait_for("role_lost")
    up.delete_cluster("later@example.com")
    soar.wait_for(user="later@example.com")
    replicas.wait_until_sent()
    assert_nothing_lost_or_doubled(replicas, up, soar, [*users, "later@example.com"])
    other.kill()
    up.delete_cluster("last@example.com")
    soar.wait_for(user="last@example.com")
    frozen.end()


def test_server_restarts(
    replicas: Replicas, pair: tuple[kit.Service, kit.Service], up: kit.Upstream, soar: kit.Soar
) -> None:
    """While PostgreSQL is away, however long, replicas say so and live; afterwards they go on, and nothing is lost."""
    users = [f"user{number}@example.com" for number in range(6)]
    up.delete_cluster(*users[:2])
    with postgresql.stopped():
        up.delete_cluster(*users[2:4])
    for user in users[:4]:
        soar.wait_for(user=user)
    with postgresql.stopped():
        up.delete_cluster(*users[4:])
        late = replicas.start("late")
        late.wait_for("store_unreachable")
        for replica in pair:
            url = replica.wait_until_up()
            wait_until(lambda url=url: "cannot be reached" in http_client.get(f"{url}/readyz").text, "a reason")  # type: ignore[misc]
            assert http_client.get(f"{url}/healthz").status_code == 200
    late.wait_until_up()
    for user in users[4:]:
        soar.wait_for(user=user)
    replicas.wait_until_sent()
    assert_nothing_lost_or_doubled(replicas, up, soar, users)
    for replica in (*pair, late):
        replica.end()
        assert not replica.events("thread_died")


def test_alerts_of_a_replica_that_ended_are_settled(replicas: Replicas, pair: tuple[kit.Service, kit.Service]) -> None:
    """What a replica reported about itself is settled after its end, also if it reported late. No lease waits for that."""
    third = replicas.start("third")
    third.wait_until_up()
    (third_id,) = replicas.query("SELECT id FROM replica ORDER BY since DESC LIMIT 1")[0]
    third.kill()
    subject = placed("deliver", "third", third_id)
    open_ = (
        "INSERT INTO self_alert (trouble, subject, since, what, remedy, alert_id) "
        "VALUES ('step_failing', %s, 0, '', '', 'x')"
    )
    living = "SELECT FROM replica WHERE until > clock_timestamp()"
    held = (
        "SELECT clock_timestamp(), array_agg(name ORDER BY name) FROM role JOIN replica ON owner = id "
        "WHERE until > clock_timestamp()"
    )

    def held_at() -> datetime:
        connection.execute("SELECT")  # a session that is silent for longer would be ended
        ((now, names),) = replicas.query(held)
        assert names == ["leader", "tail acme"]
        return now  # type: ignore[no-any-return]

    with replicas.connected() as connection:
        connection.execute(open_, [subject])
    with replicas.connected() as connection:
        connection.execute("SELECT pg_advisory_xact_lock(1633907831)")  # the write lock of stores
        wait_until(lambda: len(replicas.query(living)) == 2, "the lease of the third to end")
        ((began,),) = replicas.query("SELECT clock_timestamp()")
        wait_until(lambda: held_at() > began + SPAN + timedelta(seconds=2), "longer than a lease", pause=0.2)
    wait_until(lambda: replicas.query("SELECT FROM self_alert") == [], "the alert to be settled")
    with replicas.connected() as connection:
        connection.execute(open_, [subject])
    wait_until(lambda: replicas.query("SELECT FROM self_alert") == [], "the late alert to be settled")
    for replica in pair:
        assert not replica.events("role_lost")
        replica.end()


def test_alerts_that_a_file_left_are_settled(replicas: Replicas) -> None:
    """What a service reported about its file and its own steps is over when the file was copied into a database."""
    with contextlib.closing(Database(replicas.url)) as database:
        database.upgrade()
    left = "INSERT INTO self_alert (trouble, subject, since, what, remedy, alert_id) VALUES (%s, %s, 0, '', '', 'x')"
    with replicas.connected() as connection:
        connection.execute(left, ["store_nearly_full", "actionwatch.db"])
        connection.execute(left, ["step_failing", "deliver"])
    replica = replicas.start("one")
    replica.wait_until_up()
    assert replicas.query("SELECT trouble FROM self_alert") == []
    replica.end()


def assert_nothing_lost_or_doubled(replicas: Replicas, up: kit.Upstream, soar: kit.Soar, users: list[str]) -> None:
    """Check that each action is stored once and has one alert, and that its messages have one id and one content."""
    truth = Counter(json.dumps(record, sort_keys=True) for record in up.control("GET", "/truth"))
    stored = Counter(json.dumps(json.loads(raw), sort_keys=True) for (raw,) in replicas.query("SELECT raw FROM record"))
    assert stored == truth
    assert set(truth.values()) == {1}
    found = [each for each in soar.arrivals if each.data["rule"]["name"] == "cluster_deleted"]
    for user in users:
        messages = [each for each in found if each.data["records"][0]["userName"] == user]
        assert {each.type for each in messages} == {"alert.opened"}
        assert len({each.id for each in messages}) == len({each.body for each in messages}) == 1
    assert len({each.id for each in found}) == len(users)
    assert all(each.is_genuine for each in found)


def test_old_replicas_work_on_while_a_newer_version_upgrades(
    replicas: Replicas,
    pair: tuple[kit.Service, kit.Service],
    up: kit.Upstream,
    soar: kit.Soar,
    next_release: NextRelease,
) -> None:
    """After a newer version has added a column, the replicas of this version work on, and take over from each other."""
    leader, other = pair
    up.delete_cluster("eve@example.com")
    soar.wait_for(user="eve@example.com")
    assert next_release.upgrade(replicas.url).returncode == 0
    up.delete_cluster("bob@example.com")
    soar.wait_for(user="bob@example.com")
    leader.end()
    up.delete_cluster("mallory@example.com")
    soar.wait_for(user="mallory@example.com")
    replicas.wait_until_sent()
    assert_nothing_lost_or_doubled(replicas, up, soar, [f"{name}@example.com" for name in ("eve", "bob", "mallory")])
    assert replicas.query("SELECT version_num FROM alembic_version") == [(NEXT,)]
    other.end()
    for replica in pair:
        assert not [name for name in ("thread_died", "step_failed", "store_failed") if replica.events(name)]
