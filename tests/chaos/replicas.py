"""Chaos with three replicas on one PostgreSQL: real processes, a real server, faults by seed, and the truth afterwards.

`python -m tests.chaos.replicas ROUNDS [SEED] [failover]` runs it for long, and prints what it did. With `failover`, the server
has a synchronous standby, which takes over when the primary dies. `test_replicas.py` runs a few rounds.

In each round, users delete clusters while replicas are killed, frozen, cut off or moved in time, and the server restarts,
crashes or is away for up to a minute. Then everything heals, and the round ends when each action has its alert. Nothing may be
lost, no alert made twice, and a message may repeat only with the same id and the same bytes, and only if its sender could not
record that it was sent (`repeats.py`). The receipts must prove what the store has.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg

from actionwatch.store import receipts
from actionwatch.store.database import StoreReader
from tests import failover, postgresql
from tests.chaos.database_proxy import DatabaseProxy
from tests.chaos.repeats import Faults, Span, sender_of
from tests.children import Started, child
from tests.end_to_end import kit
from tests.forked import forked
from tests.integration.notifiers.http_end import HttpEnd, Reply
from tests.waiting import beside, wait_until

NAMES = ("one", "two", "three")
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
SILENCES = (0.5, 8.0, 8.0, 15.0)  # seconds: some end before the lease
OUTAGES = (0.0, 2.0, 2.0, 5.0, 7.0, 7.0, 12.0, 20.0, 60.0)
SLOWEST_ANSWER = 0.4
OFFSETS = ("+90", "-90", "+3h", "-2d")
LEASE_SECONDS = 6.0
SPREE_RULE = """\
title: Several clusters deleted by one user
id: 0b5e8a52-4a3f-4f0e-9a5e-6c1d2f3a4b5c
name: deletion_spree
status: stable
logsource: {product: instaclustr, service: user_actions}
detection:
  deletion: {actionKind: DELETE_CLUSTER}
  condition: deletion
correlation: {type: event_count, group-by: [userName], timespan: 1h, condition: {gte: 3}}
level: high
alert:
  title: "{{ userName }} deleted {{ count }} clusters"
"""


@dataclass
class Tally:
    """What happened."""

    rounds: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    actions: int = 0
    repeated: int = 0
    """Messages that their receiver had accepted before; each has a reason."""
    take_overs: list[float] = field(default_factory=list)
    """Seconds from the death of a replica that had roles until another one has taken each of them."""


@dataclass(frozen=True)
class _AsReplica:
    """The address of the webhook with the name of the replica in the path, from its environment: all have one configuration."""

    webhook: str

    @property
    def url(self) -> str:
        return f"{self.webhook}/${{REPLICA}}"


class Cluster:
    """Three replicas, each with its own connection to the server, an emulator and a webhook."""

    def __init__(
        self, folder: Path, seed: int, stack: contextlib.ExitStack, servers: failover.Pair | None = None
    ) -> None:
        self.folder = folder
        self.random = random.Random(seed)
        self.stack = stack
        self.tally = Tally()
        self.past = Faults()
        self.soar = kit.Soar(answer=self._accept)
        self.webhook = stack.enter_context(HttpEnd(self.soar.take))
        self.up = stack.enter_context(kit.upstream(folder))
        self.servers = servers
        url = servers.url if servers else stack.enter_context(postgresql.other_database("chaos"))
        hosts = parse_qs(urlsplit(url).query)["host"][0]
        self.server_url = url.replace("+psycopg", "")
        self.proxies: dict[str, DatabaseProxy] = {}
        self.services: dict[str, kit.Service] = {}
        self.ends: dict[str, contextlib.ExitStack] = {}
        self.starts: Counter[str] = Counter()
        for name in NAMES:
            sockets = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="proxy-"))) / "s"
            self.proxies[name] = stack.enter_context(DatabaseProxy(sockets, Path(hosts.split(",")[0])))
            place = kit.Post(folder / name, self.up, url.replace(hosts, str(sockets)))
            place.write(_AsReplica(self.webhook.url), rules={"spree.yml": SPREE_RULE})  # type: ignore[arg-type]
            self.start(name)
        for name in NAMES:
            self.services[name].wait_until_up()

    def start(self, name: str, offset: str | None = None) -> None:
        """Start a replica, with a clock that is off by an offset."""
        self.starts[name] += 1
        log_path = self.folder / name / f"service-{self.starts[name]}.log"
        end = contextlib.ExitStack()
        log = end.enter_context(log_path.open("w"))
        folder = self.folder / name
        process: Started
        if offset is None:
            its = kit.environment(REPLICA=name)
            process = end.enter_context(forked("run", folder=folder, environment=its, stdout=log, stderr=log))
        else:  # the library is loaded when a program starts
            moved = kit.environment(REPLICA=name, LD_PRELOAD=str(FAKETIME), FAKETIME=offset, DONT_FAKE_MONOTONIC="1")
            process = end.enter_context(child([kit.COMMAND, "run"], cwd=folder, stdout=log, stderr=log, env=moved))
        self.services[name] = kit.Service(process, log_path)
        self.ends[name] = end
        self.stack.callback(end.close)

    def round(self) -> None:
        """Let users act while faults happen, heal everything, and check what came of it."""
        number = self.tally.rounds
        users = [f"round{number}-{each}@example.com" for each in range(self.random.randint(4, 9))]
        spree = f"spree{number}@example.com"
        actions = [*users, spree, spree, spree]
        self.random.shuffle(actions)
        with beside(lambda: self._act(actions)):
            self._faults()  # in the main thread: only that one can start processes that react to signals
        self._heal()
        for user in users:
            self._wait(lambda user=user: self.soar.find(user=user, rule="cluster_deleted"), f"the alert of {user}")  # type: ignore[misc]
        self._wait(
            lambda: len({each.id for each in self.soar.find(user=spree, rule="cluster_deleted")}) == 3,
            "the alerts of a spree",
        )
        self._wait(lambda: self.soar.find(user=spree, rule="deletion_spree"), f"the alert of the spree of {spree}")
        self._wait(lambda: self.query("SELECT DISTINCT status FROM delivery") == [("sent",)], "an empty outbox")
        self.check(users, spree)
        self.tally.rounds += 1
        self.tally.actions += len(actions)

    def _act(self, users: list[str]) -> None:
        longest = self.random.choice((0.0, 0.8))
        for user in users:
            time.sleep(self.random.uniform(0, longest))
            self.up.delete_cluster(user)

    def check(self, users: list[str], spree: str) -> None:
        """Check the alerts and messages of a round."""
        arrivals = list(self.soar.arrivals)
        for user in (*users, spree):
            opened = [each for each in arrivals if kit._facts(each)["user"] == user and each.type == "alert.opened"]
            rules = Counter({each.data["id"]: each.data["rule"]["name"] for each in opened}.values())
            expected = {"cluster_deleted": 3, "deletion_spree": 1} if user == spree else {"cluster_deleted": 1}
            assert rules == expected, (user, rules, [(each.id, each.type) for each in opened])
        by_id: dict[str, set[bytes]] = {}
        for each in arrivals:
            assert each.is_genuine
            by_id.setdefault(each.id, set()).add(each.body)
        changed = {name: bodies for name, bodies in by_id.items() if len(bodies) > 1}
        assert not changed, f"messages with one id and several contents: {changed}"
        repeats = list(self.past.repeats(arrivals))
        wrong = [
            (sender_of(first), first.at, sender_of(again), again.at, again.id) for first, again, ok in repeats if not ok
        ]
        assert not wrong, f"repeats without a reason: {wrong}; {self.past}\n{self.describe()}"
        self.tally.repeated = len(repeats)
        truth = Counter(json.dumps(record, sort_keys=True) for record in self.up.control("GET", "/truth"))
        stored = Counter(json.dumps(json.loads(raw), sort_keys=True) for (raw,) in self.query("SELECT raw FROM record"))
        assert stored == truth, (truth - stored, stored - truth)
        url = self.server_url.replace("postgresql://", "postgresql+psycopg://")
        with contextlib.closing(StoreReader.open(url)) as store, store.read() as connection:
            wrong_proofs = [
                each for each in receipts.stream(connection) if receipts.recompute(connection, each) != each
            ]
        assert not wrong_proofs, f"receipts that the stored records contradict: {wrong_proofs}"

    def query(self, statement: str) -> list[Any]:
        """Query the store, past the proxies."""
        with psycopg.connect(self.server_url) as connection:
            return connection.execute(statement.encode()).fetchall()

    # -- faults --------------------------------------------------------------------------------------------------------

    def _faults(self) -> None:
        faults: dict[str, Callable[[], None]] = {
            "kill": self._kill,
            "freeze": self._freeze,
            "cut": self._cut,
            "refuse": self._refuse,
            "stall": self._stall,
            "terminate": self._terminate,
            "receiver": self._fail_receiver,
        }
        if self.servers is None:
            faults |= {"restart": self._restart, "crash": self._crash}
        else:
            faults["failover"] = functools.partial(self._fail_over, self.servers)
        if FAKETIME.exists():
            faults["clock"] = self._move_clock
        for _ in range(self.random.randint(1, 3)):
            name = self.random.choice(sorted(faults))
            self.tally.faults[name] += 1
            time.sleep(self.random.uniform(0, 1.5))
            faults[name]()

    def _victim(self) -> str:
        return self.random.choice(NAMES)

    def _kill(self) -> None:
        name = self._victim()
        dead, roles = self._roles_of(name)
        with self._silence(name):
            self.services[name].kill()
        died = time.monotonic()
        self.ends[name].close()
        if roles:
            self._measure(dead, roles, died)
        time.sleep(self.random.uniform(0, 3))
        self.start(name)

    def _move_clock(self) -> None:
        name = self._victim()
        with self._silence(name):
            self.services[name].kill()
        self.ends[name].close()
        self.start(name, self.random.choice(OFFSETS))

    def _freeze(self) -> None:
        name, seconds = self._victim(), self.random.choice(SILENCES)
        process = self.services[name].process
        with self._silence(name, seconds):
            process.send_signal(signal.SIGSTOP)
            time.sleep(seconds)
        process.send_signal(signal.SIGCONT)

    def _cut(self) -> None:
        self.proxies[self._victim()].cut()

    def _refuse(self) -> None:
        name, seconds = self._victim(), self.random.choice(SILENCES)
        proxy = self.proxies[name]
        with self._silence(name, seconds):
            proxy.mode = "refuse"
            proxy.cut()
            time.sleep(seconds)
        proxy.mode = "pass"

    def _stall(self) -> None:
        name, seconds = self._victim(), self.random.choice(SILENCES)
        with self._silence(name, seconds):
            self.proxies[name].mode = "stall"
            time.sleep(seconds)
        self.proxies[name].mode = "pass"

    @contextlib.contextmanager
    def _silence(self, name: str | None, seconds: float = LEASE_SECONDS) -> Iterator[None]:
        """Note that a replica (None: all) cannot record anything during the block: others take over after a lease."""
        began = time.time()
        yield
        span = Span(name, began, time.time())
        (self.past.silences if seconds >= LEASE_SECONDS else self.past.outages).append(span)

    def _terminate(self) -> None:
        with contextlib.suppress(psycopg.Error):
            self.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")

    def _restart(self) -> None:
        with self._silence(None, 0), postgresql.stopped():
            time.sleep(self.random.choice(OUTAGES))

    def _crash(self) -> None:
        """Kill one process of the server: all connections break, and commits that were not flushed are lost."""
        with self._silence(None):
            with contextlib.suppress(psycopg.Error), psycopg.connect(self.server_url) as connection:
                ((pid,),) = connection.execute("SELECT pg_backend_pid()").fetchall()
                os.kill(pid, signal.SIGKILL)
            wait_until(self._is_server_up, "the server to recover")

    def _fail_over(self, servers: failover.Pair) -> None:
        with self._silence(None):
            servers.fail_over()
        for proxy in self.proxies.values():
            proxy.server = servers.primary
        servers.add_standby()

    def _is_server_up(self) -> bool:
        try:
            return self.query("SELECT 1") == [(1,)]
        except psycopg.Error:
            return False

    def _fail_receiver(self) -> None:
        self.soar.answer = lambda: Reply(503)
        time.sleep(self.random.uniform(0.5, 3))
        self.soar.answer = self._accept

    def _accept(self) -> Reply:
        """Take a moment, so that messages wait in replicas while faults happen."""
        time.sleep(random.uniform(0, SLOWEST_ANSWER))  # not of the seed: the threads of the server share it
        return Reply(204)

    def _roles_of(self, name: str) -> tuple[str, list[str]]:
        """Return the id of a replica that runs, and its roles."""
        number = self.services[name].process.pid
        is_it = f"convert_from(note, 'UTF8') LIKE '%\"process\":{number},%'"
        found = f"SELECT id, name FROM replica JOIN role ON owner = id WHERE until > clock_timestamp() AND {is_it}"
        with contextlib.suppress(psycopg.Error):
            rows = self.query(found)
            return (rows[0][0], [row[1] for row in rows]) if rows else ("", [])
        return "", []

    def _measure(self, dead: str, roles: list[str], died: float) -> None:
        """Wait until others have the roles, and note how long that took."""
        names = ", ".join(f"'{role}'" for role in roles)
        held = (
            "SELECT count(*) FROM role JOIN replica ON owner = id "
            f"WHERE until > clock_timestamp() AND name IN ({names}) AND owner <> '{dead}'"
        )
        while time.monotonic() - died < 30:  # another fault may keep them
            with contextlib.suppress(psycopg.Error):
                if self.query(held) == [(len(roles),)]:
                    self.tally.take_overs.append(time.monotonic() - died)
                    return
            time.sleep(0.05)

    def _heal(self) -> None:
        self.soar.answer = self._accept
        for proxy in self.proxies.values():
            proxy.mode = "pass"
        for name, service in self.services.items():
            assert service.process.poll() is None, (name, service.log.read_text()[-3000:])

    def _wait(self, look: Callable[[], Any], what: str) -> None:
        wait_until(look, what, self.describe, pause=0.1)

    def describe(self) -> str:
        """Describe the state of the round, for a failure."""
        logs = (f"== {name}\n{service.log.read_text()[-4000:]}" for name, service in self.services.items())
        rows = self.query(
            "SELECT id, receiver, status, attempts, due_at, leased_by, last_error FROM delivery WHERE status <> 'sent'"
        )
        return "\n".join([f"seed round {self.tally.rounds}", *map(str, rows), *logs])


@contextlib.contextmanager
def cluster(folder: Path, seed: int, *, has_standby: bool = False) -> Iterator[Cluster]:
    """Run three replicas until the block ends."""
    with contextlib.ExitStack() as stack:
        servers = stack.enter_context(failover.pair()) if has_standby else None
        yield Cluster(folder, seed, stack, servers)


def main() -> None:
    """Run many rounds, and print what happened."""
    rounds, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    has_standby = sys.argv[3:] == ["failover"]
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="chaos-") as folder,
        cluster(Path(folder), seed, has_standby=has_standby) as running,
    ):
        for number in range(rounds):
            running.round()
            if number % 10 == 9 or number + 1 == rounds:
                tally = running.tally
                times = sorted(tally.take_overs)
                spread = (
                    f"{statistics.median(times):.1f} s, at most {times[-1]:.1f} s of {len(times)}" if times else "none"
                )
                print(
                    f"{tally.rounds} rounds in {time.monotonic() - began:.0f} s, {tally.actions} actions, lost 0, doubled 0, "
                    f"repeated {tally.repeated}; take-over: {spread}; faults: {dict(tally.faults)}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
