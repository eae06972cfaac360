"""Simulate the actions in an organisation with a queue of steps: first its past, then its present, optionally accelerated.

The simulation reads no clock. A step is due at a *planned* time. Before the start, this is also the time of its records.
Afterwards, planned time runs `lapse` times as fast as the wall clock, and a record has the wall clock time of its creation.
"""

import heapq
import random
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import count
from threading import Event, Thread
from zoneinfo import ZoneInfo

from actionwatch.emulator.inventory import Account, Cluster
from actionwatch.emulator.log import EntityRef
from actionwatch.emulator.state import Organisation, Person, Planted

_RECENT_ACTORS = 3  # an incident is caused by another person than the last few
_LONGEST_NAP_SECONDS = 0.5  # the wall clock may be set during the sleep

Step = Callable[["Simulation"], None]


class Simulation:
    """The queue of steps, the random numbers, and the actions of steps."""

    def __init__(self, organisation: Organisation, start: datetime, *, lapse: float = 1.0, seed: int = 0) -> None:
        """Make an empty queue. At `start`, the past ends and the acceleration begins."""
        self.organisation = organisation
        self.start = start
        self.lapse = lapse
        self.chance = random.Random(f"life {seed}")
        self.planned = start  # planned time of the current step
        self.stamp = start  # time of its records
        self._queue: list[tuple[datetime, int, Step]] = []
        self._numbers = count()
        self._recent: deque[str] = deque(maxlen=_RECENT_ACTORS)

    # The queue

    def schedule(self, planned: datetime, step: Step) -> None:
        heapq.heappush(self._queue, (planned, next(self._numbers), step))

    def after(self, delay: timedelta, step: Step) -> None:
        """Queue a step for some time after the current one."""
        self.schedule(self.planned + delay, step)

    def next_due(self) -> datetime | None:
        """Return when the next step is due by the wall clock; None if the queue is empty."""
        if not self._queue:
            return None
        planned = self._queue[0][0]
        return planned if planned <= self.start else self.start + (planned - self.start) / self.lapse

    def advance(self, now: datetime) -> int:
        """Run all steps that are due by `now`, in order, and return the number of new records."""
        before = len(self.organisation)
        while (due := self.next_due()) is not None and due <= now:
            self.planned, _, step = heapq.heappop(self._queue)
            self.stamp = self.planned if self.planned <= self.start else now
            step(self)
        return len(self.organisation) - before

    # Actions

    def act(self, kind: str, user_name: str, text: str, on: Cluster | Account | None = None) -> None:
        """Log an action and apply its effect. Actions in an unlinked account are not visible."""
        cluster, account = self._place_of(on)
        if on is not None and (account is None or self.organisation.inventory.find_account(account.id) is None):
            return
        self.log(kind, user_name, text, account, cluster)

    def log(
        self,
        kind: str,
        user_name: str,
        text: str,
        account: EntityRef | None,
        cluster: EntityRef | None,
        *,
        times: int = 1,
        late_by: timedelta = timedelta(),
    ) -> None:
        """Log an action. Deleting a cluster and unlinking an account removes it."""
        self.organisation.append(
            kind,
            user_name=user_name,
            at=self.stamp - late_by,
            description=text,
            account=account,
            cluster=cluster,
            times=times,
        )
        if kind == "DELETE_CLUSTER" and cluster:
            self.organisation.inventory.remove_cluster(cluster.id)
        if kind == "UNLINK_ACCOUNT" and account:
            self.organisation.inventory.remove_account(account.id)

    def note_incident(
        self, incident: str, who: Person, kinds: tuple[str, ...], on: Cluster | Account | None = None
    ) -> None:
        """Note that an incident starts now."""
        cluster, account = self._place_of(on)
        names = (cluster.name if cluster else None, account.name if account else None)
        self.organisation.planted.append(Planted(incident, self.stamp, who.user_name, kinds, *names, who.time_zone))

    def _place_of(self, on: Cluster | Account | None) -> tuple[Cluster | None, Account | None]:
        if isinstance(on, Cluster):
            return on, self.organisation.inventory.find_account(on.account_id)
        return None, on

    # Choices

    def pick_person(self, *roles: str, is_awake: bool = False, in_zone: str | None = None) -> Person:
        """Choose a person with one of these roles, but not one of the last few. Ignore criteria that no one satisfies."""
        people = [person for person in self.organisation.people if person.role in roles]
        wishes: list[Callable[[Person], bool]] = []
        if is_awake:
            wishes.append(lambda person: activity(person.time_zone, self.stamp, has_weekend=False) > 0)
        if in_zone is not None:
            wishes.append(lambda person: person.time_zone == in_zone)
        wishes.append(lambda person: person.user_name not in self._recent)
        for wish in wishes:
            people = [person for person in people if wish(person)] or people
        chosen = self.chance.choice(people)
        self._recent.append(chosen.user_name)
        return chosen

    def pick_cluster(self, *stages: str, product: str | None = None) -> Cluster | None:
        """Choose a running cluster; None if no cluster matches."""
        clusters = [
            one
            for one in self.organisation.inventory.clusters
            if one.stage in stages and product in (None, one.product)
        ]
        return self.chance.choice(clusters) if clusters else None

    def pick_account(self) -> Account | None:
        """Choose a linked account; None if there is none."""
        accounts = self.organisation.inventory.accounts
        return self.chance.choice(accounts) if accounts else None

    def is_night(self, zone: str) -> bool:
        """Return whether the current step is outside working hours in a time zone."""
        return not 7 <= self.stamp.astimezone(ZoneInfo(zone)).hour < 19


def activity(zone: str, moment: datetime, *, has_weekend: bool = True) -> float:
    """Return the activity of people in a time zone, from 0 (night) to 1 (working hours)."""
    local = moment.astimezone(ZoneInfo(zone))
    if has_weekend and local.weekday() >= 5:
        return 0.0
    if local.hour in (8, 12, 17):  # arrival, lunch, departure
        return 0.5
    return 1.0 if 8 < local.hour < 17 else 0.0


@contextmanager
def playing(simulation: Simulation) -> Iterator[Organisation]:
    """Run the simulation in a thread until the block ends, by the clock of the organisation."""
    ended = Event()
    player = Thread(target=_play, args=(simulation, ended), name="emulator-simulation")
    player.start()
    try:
        yield simulation.organisation
    finally:
        ended.set()
        player.join()


def _play(simulation: Simulation, ended: Event) -> None:
    clock = simulation.organisation.clock
    while (due := simulation.next_due()) is not None:
        nap = (due - clock()).total_seconds()
        if nap > 0:
            if ended.wait(min(nap, _LONGEST_NAP_SECONDS)):
                return
            continue
        simulation.advance(clock())
        if ended.is_set():
            return
