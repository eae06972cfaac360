"""The ordinary actions in an organisation: of people at random, of services by schedule."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Final

from actionwatch.emulator.inventory import Account, Cluster
from actionwatch.emulator.sample import (
    BACKUP_SCHEDULER,
    BILLING,
    CI,
    CI_REAPER,
    CI_RUNNER,
    DBA,
    DEVELOPER,
    PLATFORM,
    PROD,
    SECURITY,
    STAGING,
    SUPPORT,
)
from actionwatch.emulator.simulation import Simulation, Step, activity
from actionwatch.emulator.state import Person

_WORKING_HOURS = 8.5  # the integral of `activity` over a working day
_LONGEST_GAP = timedelta(minutes=10)  # then the rate is computed again: a Poisson process has no memory
_BACKUP_EVERY = timedelta(hours=6)
_CI_CLUSTERS_A_DAY = 16.0
_REPOSITORIES: Final = ("checkout", "ledger", "search", "catalogue", "ingest", "webshop")
_TOPICS: Final = ("orders", "payments", "invoices", "clicks", "shipments", "stock", "sessions", "audit")

ANY, KAFKA, ACCOUNT, NOTHING = "any cluster", "a Kafka cluster", "an account", "nothing"


@dataclass(frozen=True, slots=True)
class _Habit:
    """An action that people with a role do at random."""

    role: str
    kind: str
    per_day: float  # per person, on a working day
    on: str
    text: str  # may name {on}, {topic}, {number}


_HABITS: Final = (
    _Habit(DEVELOPER, "DESCRIBE_KAFKA_TOPIC", 14, KAFKA, "Described topic {topic} on {on}"),
    _Habit(DEVELOPER, "DISPLAY_KAFKA_TOPIC_CONFIG", 9, KAFKA, "Displayed the configuration of topic {topic} on {on}"),
    _Habit(DEVELOPER, "LIST_KAFKA_ACLS", 3, KAFKA, "Listed the ACLs of {on}"),
    _Habit(DEVELOPER, "CREATE_KAFKA_TOPIC", 0.5, KAFKA, "Created topic {topic}-v{number} on {on}"),
    _Habit(DEVELOPER, "EDIT_KAFKA_TOPIC", 0.4, KAFKA, "Changed retention of topic {topic} on {on} to {number} h"),
    _Habit(DEVELOPER, "LIST_BUNDLE_USERS", 1, ANY, "Listed the database users of {on}"),
    _Habit(PLATFORM, "RECONFIGURE_BUNDLE", 0.4, ANY, "Reconfigured {on}"),
    _Habit(PLATFORM, "RELOAD_BUNDLE", 0.3, ANY, "Reloaded the configuration of {on}"),
    _Habit(PLATFORM, "RESTART_BUNDLE", 0.2, ANY, "Restarted a node of {on}"),
    _Habit(PLATFORM, "RESIZE_CDC", 0.15, ANY, "Resized a data centre of {on}"),
    _Habit(PLATFORM, "ADD_NODE", 0.15, ANY, "Added a node to {on}"),
    _Habit(PLATFORM, "CHANGE_CLUSTER_FIREWALL_RULES", 0.4, ANY, "Added 203.0.113.{number}/32 to the firewall of {on}"),
    _Habit(PLATFORM, "CHANGE_CLUSTER_SETTINGS", 0.1, ANY, "Changed the description of {on}"),
    _Habit(PLATFORM, "CREATE_VPC_PEERING_REQUEST", 0.03, ANY, "Requested VPC peering of {on} with vpc-0a{number}"),
    _Habit(PLATFORM, "CREATE_KAFKA_ACLS", 0.15, KAFKA, "Allowed service-{number} to read topic {topic} on {on}"),
    _Habit(DBA, "LIST_BUNDLE_USERS", 4, ANY, "Listed the database users of {on}"),
    _Habit(DBA, "BACKUP", 0.3, ANY, "Backup of {on} before a change"),
    _Habit(DBA, "CREATE_BUNDLE_USER", 0.15, ANY, "Created database user app_{number} on {on}"),
    _Habit(DBA, "EDIT_BUNDLE_USER", 0.1, ANY, "Changed the password of database user app_{number} on {on}"),
    _Habit(DBA, "DELETE_BUNDLE_USER", 0.05, ANY, "Deleted database user app_{number} on {on}"),
    _Habit(SECURITY, "ACCOUNT_INVITE_USER", 0.3, ACCOUNT, "Invited contractor{number}@acme.example to {on}"),
    _Habit(SECURITY, "ACCOUNT_REVOKE_INVITATION", 0.05, ACCOUNT, "Withdrew an invitation to {on}"),
    _Habit(SECURITY, "ACCOUNT_CREATE_LINK", 0.1, ACCOUNT, "Gave contractor{number}@acme.example READ_ONLY on {on}"),
    _Habit(SECURITY, "ACCOUNT_REVOKE_LINK", 0.1, ACCOUNT, "Removed contractor{number}@acme.example from {on}"),
    _Habit(SECURITY, "DEACTIVATE_SCIM_USER", 0.2, ACCOUNT, "Deactivated contractor{number}@acme.example"),
    _Habit(SECURITY, "ACCOUNT_GENERATE_API_KEY", 0.06, ACCOUNT, "Generated a monitoring API key for {on}"),
    _Habit(SECURITY, "ACCOUNT_REVOKE_API_KEY", 0.06, ACCOUNT, "Revoked a rotated API key of {on}"),
    _Habit(BILLING, "ORGANISATION_UPDATE_BILLING_DETAILS", 0.1, NOTHING, "Updated the purchase order number"),
    _Habit(BILLING, "SYNC_BILLING_TO_ACCOUNT", 0.2, ACCOUNT, "Synchronised billing details to {on}"),
    _Habit(SUPPORT, "ADMIN_ADD_CONFIG_OVERRIDE", 0.5, ANY, "Added a configuration override to {on}, ticket {number}"),
    _Habit(SUPPORT, "ADMIN_DELETE_CONFIG_OVERRIDE", 0.4, ANY, "Removed a configuration override from {on}"),
)


def schedule_ordinary_actions(simulation: Simulation, begin: datetime) -> None:
    """Queue the ordinary actions from `begin` on; they continue forever."""
    simulation.schedule(begin, _workforce(simulation))
    simulation.schedule(begin, _wait_for_ci)
    for cluster in simulation.organisation.inventory.clusters:
        schedule_backups(simulation, cluster, begin)


def schedule_backups(simulation: Simulation, cluster: Cluster, begin: datetime) -> None:
    """Queue the backups of a production cluster, at its own times."""
    if cluster.stage == PROD:

        def back_up(simulation: Simulation) -> None:
            if cluster in simulation.organisation.inventory.clusters:
                simulation.act("BACKUP", BACKUP_SCHEDULER, f"Scheduled backup of {cluster.name}", cluster)
                simulation.after(_BACKUP_EVERY + timedelta(seconds=simulation.chance.uniform(-120, 120)), back_up)

        simulation.schedule(begin + _BACKUP_EVERY * simulation.chance.random(), back_up)


def _busyness(simulation: Simulation, zone: str) -> float:
    """Return the activity in a time zone. An accelerated simulation has no weekends, so that actions never pause for long."""
    is_accelerated = simulation.lapse != 1.0 and simulation.planned > simulation.start
    return activity(zone, simulation.stamp, has_weekend=not is_accelerated)


def _workforce(simulation: Simulation) -> Step:
    """Return the step that waits for the next action of a person: one random draw chooses it, for any number of people."""
    zones: dict[str, tuple[list[tuple[Person, _Habit]], list[float]]] = {}
    for zone in sorted({person.time_zone for person in simulation.organisation.people}):
        people = [person for person in simulation.organisation.people if person.time_zone == zone]
        pairs = [(person, habit) for person in people for habit in _HABITS if person.role == habit.role]
        if pairs:
            zones[zone] = (pairs, list(accumulate(habit.per_day / _WORKING_HOURS for _, habit in pairs)))

    def wait(simulation: Simulation) -> None:
        rates = [_busyness(simulation, zone) * weights[-1] for zone, (_, weights) in zones.items()]  # per planned hour
        gap = timedelta(hours=simulation.chance.expovariate(sum(rates))) if sum(rates) else _LONGEST_GAP
        if gap >= _LONGEST_GAP:  # try again later
            simulation.after(_LONGEST_GAP, wait)
            return
        pairs, weights = zones[simulation.chance.choices(list(zones), rates)[0]]
        person, habit = simulation.chance.choices(pairs, cum_weights=weights)[0]

        def act(simulation: Simulation) -> None:
            if _busyness(simulation, person.time_zone):  # the working day may have ended since the draw
                _follow(simulation, person, habit)
            wait(simulation)

        simulation.after(gap, act)

    return wait


def _follow(simulation: Simulation, person: Person, habit: _Habit) -> None:
    on: Cluster | Account | None = None
    if habit.on == ACCOUNT:
        on = simulation.pick_account()
    elif habit.on != NOTHING:
        on = simulation.pick_cluster(PROD, STAGING, product="KAFKA" if habit.on == KAFKA else None)
    if on is None and habit.on != NOTHING:
        return
    text = habit.text.format(
        on=on.name if on else "", topic=simulation.chance.choice(_TOPICS), number=simulation.chance.randrange(1, 250)
    )
    simulation.act(habit.kind, person.user_name, text, on)


def _wait_for_ci(simulation: Simulation) -> None:
    gap = timedelta(hours=simulation.chance.expovariate(_CI_CLUSTERS_A_DAY / 24))
    simulation.after(gap, _run_ci)


def _run_ci(simulation: Simulation) -> None:
    """Start a CI cluster, which the reaper deletes within two hours."""
    _wait_for_ci(simulation)
    if (account := simulation.pick_account()) is None:
        return
    name = f"ci-{simulation.chance.choice(_REPOSITORIES)}-{simulation.chance.randrange(1000, 9999)}"
    cluster = simulation.organisation.inventory.add_cluster(name, account=account, stage=CI)
    simulation.act("CREATE_CLUSTER", CI_RUNNER, f"Created cluster {name}", cluster)
    lifetime = timedelta(minutes=simulation.chance.uniform(20, 120))
    text = f"Deleted cluster {name}"
    simulation.after(lifetime, lambda simulation: simulation.act("DELETE_CLUSTER", CI_REAPER, text, cluster))
