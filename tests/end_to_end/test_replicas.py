"""Replicas on one store in PostgreSQL: one works, the others stand by and take over; real processes and a real server."""

from __future__ import annotations

import contextlib
import json
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from actionwatch.store.database import Database
from tests import http_client, postgresql
from tests.children import exit_status
from tests.end_to_end import kit
from tests.integration.notifiers.http_end import HttpEnd
from tests.migrations import LATER, migrate_later
from tests.waiting import wait_until

LOST = "no longer owns"


class Replicas:
    """Replicas on one store and with one configuration, each in its own folder."""

    def __init__(self, folder: Path, up: kit.Upstream, webhook: HttpEnd, url: str, stack: contextlib.ExitStack) -> None:
        self._folder = folder
        self._up = up
        self._webhook = webhook
        self.url = url
        self._stack = stack

    def place(self, name: str) -> kit.Post:
        """Return a folder with the configuration."""
        return kit.Post(self._folder / name, self._up, self.url).write(self._webhook)

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
        wait_until(lambda: self.query(statement) == [("sent",)], "an empty outbox", lambda: self.query(statement))


@pytest.fixture
def replicas(tmp_path: Path, up: kit.Upstream, webhook: HttpEnd) -> Iterator[Replicas]:
    """Replicas on an empty database."""
    with postgresql.other_database("replicas") as url, contextlib.ExitStack() as stack:
        yield Replicas(tmp_path, up, webhook, url, stack)


@pytest.fixture
def pair(replicas: Replicas) -> tuple[kit.Service, kit.Service]:
    """A replica that works, and one that stands by."""
    active = replicas.start("active")
    active.wait_until_up()
    standby = replicas.start("standby")
    standby.wait_for("standing_by")
    return active, standby


def test_second_replica_stands_by(replicas: Replicas, up: kit.Upstream, soar: kit.Soar) -> None:
    """One replica works, a second one is alive and not ready, and says why. Commands of other processes act."""
    active = replicas.start("active")
    url = active.wait_until_up()
    standby = replicas.start("standby")
    waiting = standby.wait_for("standing_by")["url"]
    assert http_client.get(f"{waiting}/healthz").status_code == 200
    ready = http_client.get(f"{waiting}/readyz")
    assert (ready.status_code, ready.json()["reasons"]) == (503, ["standing by: another replica runs on the store"])
    wait_until(lambda: http_client.get(f"{url}/readyz").status_code == 200, "a replica that is ready")

    elsewhere = replicas.place("elsewhere").folder
    shown = kit.finished("status", "-o", "json", folder=elsewhere)
    assert (shown.returncode, json.loads(shown.stdout)["troubles"]) == (0, []), shown.stderr
    round_ = kit.finished("run", "--once", folder=elsewhere)
    assert round_.returncode == 1
    assert "another actionwatch runs on postgresql+psycopg://" in round_.stderr
    assert "stop it, or give this one its own store.url" in round_.stderr

    up.delete_cluster("eve@example.com")
    (message,) = soar.wait_for(user="eve@example.com")
    acted = kit.finished("alerts", "ack", message.data["id"], folder=elsewhere)
    assert acted.returncode == 0, acted.stderr
    assert replicas.query("SELECT count(*) FROM alert WHERE acked_by IS NOT NULL") == [(1,)]
    silence = ("silences", "add", "userName=bob@example.com", "--for", "1h", "--comment", "planned")
    assert kit.finished(*silence, folder=elsewhere).returncode == 0
    up.delete_cluster("bob@example.com", "mallory@example.com")
    soar.wait_for(user="mallory@example.com")
    assert not soar.find(user="bob@example.com")

    for replica in (standby, active):
        replica.end()
        assert not replica.events("thread_died")
    assert not standby.events("service_started")


def test_standby_takes_over_from_one_that_stops(
    replicas: Replicas,
    pair: tuple[kit.Service, kit.Service],
    up: kit.Upstream,
    soar: kit.Soar,
    webhook: HttpEnd,
) -> None:
    """When the active replica stops, the other takes over, with the configuration as it is then. Nothing is alerted twice."""
    active, standby = pair
    up.delete_cluster("before@example.com")
    soar.wait_for(user="before@example.com")
    second = f"  - name: second\n    webhook: {{url: '{webhook.url}/second', signing_key: {kit.KEY}}}\n"
    replicas.place("standby").write(webhook, second)
    active.end()
    standby.wait_until_up()
    up.delete_cluster("after@example.com")
    wait_until(lambda: len(soar.find(user="after@example.com")) == 2, "a message to each receiver")
    replicas.wait_until_sent()
    standby.end()
    users = Counter(found.data["records"][0]["userName"] for found in soar.arrivals)
    assert users == {"before@example.com": 1, "after@example.com": 2}


def test_standby_takes_over_from_one_that_is_killed(
    replicas: Replicas, pair: tuple[kit.Service, kit.Service], up: kit.Upstream, soar: kit.Soar
) -> None:
    """When the active replica is killed, one of the others takes over, and nothing is lost or alerted twice.

    The killed one had sent messages and not recorded that. They repeat under the same id.
    """
    active, *others = *pair, replicas.start("third")
    others[1].wait_for("standing_by")
    users = [f"user{number}@example.com" for number in range(9)]
    with soar.holding():
        up.delete_cluster(*users[:3])
        wait_until(lambda: soar.arrivals, "a message that is not answered")
        active.kill()
    up.delete_cluster(*users[3:6])
    winner = wait_until(lambda: [other for other in others if other.events("service_started")], "a take-over")[0]
    loser = others[1 - others.index(winner)]
    up.delete_cluster(*users[6:])
    for user in users:
        soar.wait_for(user=user)
    replicas.wait_until_sent()
    assert_nothing_lost_or_doubled(replicas, up, soar, users)
    assert len(soar.arrivals) > len(users)
    assert not loser.events("service_started")
    for replica in (loser, winner):
        replica.end()


def test_slower_of_two_stands_by(replicas: Replicas) -> None:
    """A replica that finds no owner, and then is slower than another one, stands by instead of ending."""
    with contextlib.closing(Database(replicas.url)) as database:
        database.upgrade()
    waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'lease'::regclass AND NOT granted"
    with replicas.connected() as connection:
        connection.execute("LOCK TABLE lease IN SHARE ROW EXCLUSIVE MODE")
        replica = replicas.start("slower")
        wait_until(lambda: replicas.query(waiting) == [(1,)], "the replica to want the lease", replica.log.read_text)
        connection.execute("INSERT INTO lease VALUES ('service', 'another', 'host', 1, 'infinity', '')")
    replica.wait_for("standing_by")
    with replicas.connected() as connection:
        connection.execute("UPDATE lease SET until = '-infinity'")
    replica.wait_until_up()
    replica.end()


def test_frozen_replica_ends_when_it_wakes(
    replicas: Replicas, pair: tuple[kit.Service, kit.Service], up: kit.Upstream, soar: kit.Soar
) -> None:
    """A replica that was frozen for longer than its lease writes nothing when it wakes: it ends, and says why."""
    active, standby = pair
    users = [f"user{number}@example.com" for number in range(6)]
    up.delete_cluster(*users[:3])
    soar.wait_for(user=users[0])
    active.process.send_signal(signal.SIGSTOP)
    up.delete_cluster(*users[3:])
    standby.wait_until_up()
    for user in users:
        soar.wait_for(user=user)
    replicas.wait_until_sent()
    owner = replicas.query("SELECT owner, term FROM lease")
    before = contents(replicas)
    active.process.send_signal(signal.SIGCONT)
    assert exit_status(active.process) == 1
    assert LOST in active.log.read_text().splitlines()[-1]
    assert contents(replicas) == before
    assert replicas.query("SELECT owner, term FROM lease") == owner
    assert_nothing_lost_or_doubled(replicas, up, soar, users)
    standby.end()


def test_server_restarts(
    replicas: Replicas, pair: tuple[kit.Service, kit.Service], up: kit.Upstream, soar: kit.Soar
) -> None:
    """After a restart of PostgreSQL the active replica goes on. If it is away for longer, the standby takes over afterwards."""
    active, standby = pair
    url = standby.wait_for("standing_by")["url"]
    users = [f"user{number}@example.com" for number in range(6)]
    up.delete_cluster(*users[:2])
    with postgresql.stopped():
        up.delete_cluster(*users[2:4])
    for user in users[:4]:
        soar.wait_for(user=user)
    replicas.wait_until_sent()
    assert active.process.poll() is None, active.log.read_text()
    assert not standby.events("service_started")

    with postgresql.stopped():
        up.delete_cluster(*users[4:])
        assert exit_status(active.process) == 1
        assert LOST in active.log.read_text().splitlines()[-1]
        assert http_client.get(f"{url}/healthz").status_code == 200
    standby.wait_until_up()
    for user in users[4:]:
        soar.wait_for(user=user)
    replicas.wait_until_sent()
    assert_nothing_lost_or_doubled(replicas, up, soar, users)
    standby.end()


def contents(replicas: Replicas) -> list[Any]:
    """Return the rows of the tables that the service writes without being asked."""
    tables = ("record", "alert", "delivery", "alert_history")
    return [replicas.query(f"SELECT * FROM {table} ORDER BY 1") for table in tables]


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
    replicas: Replicas, pair: tuple[kit.Service, kit.Service], up: kit.Upstream, soar: kit.Soar, tmp_path: Path
) -> None:
    """After a newer version has added a column, the replica of this version alerts, and the one that stands by takes over."""
    active, standby = pair
    up.delete_cluster("eve@example.com")
    soar.wait_for(user="eve@example.com")
    with contextlib.closing(Database(replicas.url)) as newer, newer.write() as connection:
        migrate_later(connection, tmp_path)
    up.delete_cluster("bob@example.com")
    soar.wait_for(user="bob@example.com")
    active.end()
    standby.wait_until_up()
    up.delete_cluster("mallory@example.com")
    soar.wait_for(user="mallory@example.com")
    replicas.wait_until_sent()
    assert Counter(found.data["records"][-1]["userName"] for found in soar.find(type="alert.opened")) == {
        "eve@example.com": 1, "bob@example.com": 1, "mallory@example.com": 1
    }  # fmt: skip
    assert replicas.query("SELECT version_num FROM alembic_version") == [(LATER,)]
    standby.end()
    for replica in pair:
        assert not [name for name in ("thread_died", "step_failed", "store_failed") if replica.events(name)]
