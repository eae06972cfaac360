"""An active organisation, with a clock that a test sets."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from actionwatch.emulator.durations import Duration
from actionwatch.emulator.incidents import INCIDENTS
from actionwatch.emulator.log import Action
from actionwatch.emulator.sample import create_organisation, off_hours_zone
from actionwatch.emulator.scenario import (
    PlannedAction,
    PlannedIncident,
    Scenario,
    build_simulation,
    demo_scenario,
)
from actionwatch.emulator.simulation import Simulation
from tests.cases import in_one_test
from tests.emulated import quiet_month
from tests.emulator.conftest import NOON, FakeClock

DAY = Duration(days=1)


def live(simulation: Simulation, clock: FakeClock, seconds: float) -> list[Action]:
    """Advance the clock from step to step, and return the new records."""
    before, end = len(simulation.organisation), clock.now + timedelta(seconds=seconds)
    while (due := simulation.next_due()) is not None and due <= end:
        clock.now = max(due, clock.now)
        simulation.advance(clock.now)
    clock.now = end
    return simulation.organisation.truth(before)


@pytest.mark.parametrize("seed", range(5))
def test_same_seed_same_organisation_and_plan(seed: int) -> None:
    """There is one source of randomness: two runs have the same ids, people and records."""
    runs = []
    for _ in range(2):
        clock = FakeClock()
        simulation = build_simulation(Scenario(seed=seed, history=DAY, lapse=300.0), clock)
        live(simulation, clock, 20)
        organisation = simulation.organisation
        runs.append(
            (
                organisation.inventory.accounts,
                organisation.inventory.clusters,
                organisation.people,
                organisation.truth(),
            )
        )
    assert runs[0] == runs[1]


def test_other_seed_other_organisation() -> None:
    """Another seed gives another organisation."""
    first, second = create_organisation(1), create_organisation(2)
    assert first.people != second.people
    assert first.inventory.accounts != second.inventory.accounts


@in_one_test("seed", range(10))
def test_organisation_is_plausible(seed: int) -> None:
    """Every seed produces enough accounts, products, stages and people of each kind."""
    organisation = create_organisation(seed)
    assert 4 <= len(organisation.inventory.accounts) <= 6
    assert {"prod", "staging"} == {cluster.stage for cluster in organisation.inventory.clusters}
    assert len({cluster.product for cluster in organisation.inventory.clusters}) >= 3
    assert len({person.user_name for person in organisation.people}) == len(organisation.people) >= 20
    assert {"svc-ci-reaper", "svc-backup-scheduler"} <= {person.user_name for person in organisation.people}


def test_history_keeps_to_its_window_and_order() -> None:
    """The history has time stamps in the past, in order, until now."""
    simulation = build_simulation(quiet_month(), FakeClock())
    times = [action.at for action in simulation.organisation.truth()]
    assert times == sorted(times)
    assert NOON - timedelta(days=30) <= times[0] < NOON - timedelta(days=29)
    assert NOON - timedelta(hours=6) < times[-1] <= NOON


def test_people_work_during_the_day_in_their_time_zone() -> None:
    """Only services and the support act at night or on the weekend."""
    organisation = build_simulation(quiet_month(), FakeClock()).organisation
    zones = {person.user_name: person.time_zone for person in organisation.people if person.time_zone != "UTC"}
    local = [a.at.astimezone(ZoneInfo(zones[a.user_name])) for a in organisation.truth() if a.user_name in zones]
    assert len(local) > 2000
    assert {moment.weekday() for moment in local} == set(range(5))
    assert {moment.hour for moment in local} == set(range(8, 18))


def test_quiet_month_contains_no_incident() -> None:
    """In a quiet month only the reaper deletes clusters, only those of CI, and there are no firewall bursts."""
    organisation = build_simulation(quiet_month(), FakeClock()).organisation
    truth = organisation.truth()
    assert organisation.planted == []
    deletions = [action for action in truth if action.kind == "DELETE_CLUSTER"]
    assert {action.user_name for action in deletions} == {"svc-ci-reaper"}
    assert all(action.cluster is not None and action.cluster.name.startswith("ci-") for action in deletions)
    assert not {"UNLINK_ACCOUNT", "DELETE_BACKUP_SCHEDULE", "REQUEST_CLUSTER_DELETE"} & {a.kind for a in truth}
    changes = [(a.user_name, a.at) for a in truth if a.kind == "CHANGE_CLUSTER_FIREWALL_RULES"]
    assert all(sum(u == user and at <= t <= at + timedelta(minutes=10) for u, t in changes) < 5 for user, at in changes)


def test_every_production_cluster_is_backed_up_every_six_hours() -> None:
    """A rule that expects a backup every 26 hours raises nothing in a quiet month."""
    organisation = build_simulation(quiet_month(), FakeClock()).organisation
    backups = [a for a in organisation.truth() if a.user_name == "svc-backup-scheduler"]
    for cluster in organisation.inventory.clusters:
        times = [a.at for a in backups if a.cluster == cluster]
        if cluster.stage == "prod":
            gaps = [later - earlier for earlier, later in pairwise(times)]
            assert max(gaps) < timedelta(hours=7)


@in_one_test("hour", range(0, 24, 3))
@in_one_test("day", [0, 5])  # a working day and a Saturday
def test_demo_plays_every_incident_within_45_s(hour: int, day: int) -> None:
    """At any hour the first incident occurs within 3 s, all within 45 s, among many ordinary records."""
    clock = FakeClock(datetime(2026, 11, 23 + day, hour, 30, tzinfo=UTC))
    start = clock.now
    simulation = build_simulation(demo_scenario(start), clock)
    records = live(simulation, clock, 45)
    planted = simulation.organisation.planted
    assert {one.incident for one in planted} == set(INCIDENTS)
    assert planted[0].at <= start + timedelta(seconds=3)
    assert [record.at for record in records] == sorted(record.at for record in records)
    counts = Counter((record.user_name, record.kind) for record in records)
    assert all(counts[one.user_name, kind] >= number for one in planted for kind, number in Counter(one.kinds).items())
    assert len(records) > 30  # in the quietest hours; 130 in the busiest


def test_demo_key_is_revoked_at_night_in_the_head_office() -> None:
    """The rule about business hours can be tested with the zone of the head office."""
    for hour in range(1, 24, 3):
        clock = FakeClock(datetime(2026, 7, 1, hour, tzinfo=UTC))
        simulation = build_simulation(demo_scenario(clock.now), clock)
        live(simulation, clock, 45)
        (revoked,) = [one for one in simulation.organisation.planted if one.incident == "off_hours_key_revocation"]
        local = revoked.at.astimezone(ZoneInfo(simulation.organisation.time_zone))
        assert revoked.time_zone == simulation.organisation.time_zone == off_hours_zone(clock.now)
        assert not 7 <= local.hour < 19


def test_incidents_recur_and_the_organisation_survives_them() -> None:
    """After ten minutes of the demo, there were many incidents by many people, and the organisation still has clusters."""
    clock = FakeClock()
    simulation = build_simulation(demo_scenario(clock.now), clock)
    live(simulation, clock, 600)
    planted = simulation.organisation.planted
    assert len(planted) > 20
    assert len({one.user_name for one in planted}) > 8
    assert len(simulation.organisation.inventory.accounts) >= 4
    assert any(cluster.stage == "prod" for cluster in simulation.organisation.inventory.clusters)


def test_life_goes_on_without_accounts() -> None:
    """Unlinking every account ends neither the ordinary actions nor the incidents: each incident still happens."""
    clock = FakeClock()
    incidents = tuple(PlannedIncident(name, Duration(seconds=1)) for name in INCIDENTS)
    simulation = build_simulation(Scenario(history=DAY, lapse=1000.0, incidents=incidents), clock)
    for account in simulation.organisation.inventory.accounts:
        simulation.organisation.unlink_account(account.id, "eve")
    live(simulation, clock, 500)
    assert {one.incident for one in simulation.organisation.planted} == set(INCIDENTS)


@pytest.mark.parametrize("lapse", [3000.0, 1.0])
def test_ordinary_actions_continue_while_no_account_is_linked(lapse: float) -> None:
    """Without accounts, only actions of the organisation happen, and the simulation has a next step."""
    clock = FakeClock()
    simulation = build_simulation(Scenario(history=DAY, lapse=lapse), clock)
    for account in simulation.organisation.inventory.accounts:
        simulation.organisation.unlink_account(account.id, "eve")
    made = live(simulation, clock, 3 * DAY.total_seconds() / lapse)
    assert all(record.account is None for record in made)
    assert simulation.next_due() is not None


def test_incident_unlinks_the_sandbox() -> None:
    """An account that a client linked stays, although it is newer than the sandbox."""
    clock = FakeClock()
    incident = PlannedIncident("account_unlinked", Duration(seconds=1))
    simulation = build_simulation(Scenario(ordinary=False, incidents=(incident,)), clock)
    simulation.organisation.link_account("important", "eve")
    live(simulation, clock, 10)
    names = [account.name for account in simulation.organisation.inventory.accounts]
    assert "important" in names
    assert "sandbox" not in names


def test_unlinked_account_has_no_records() -> None:
    """Actions in an account after it is unlinked leave no record."""
    clock = FakeClock()
    incident = PlannedIncident("account_unlinked", Duration(seconds=1))
    simulation = build_simulation(Scenario(lapse=3000.0, incidents=(incident,)), clock)
    live(simulation, clock, 60)
    records = simulation.organisation.truth()
    (at,) = [number for number, record in enumerate(records) if record.kind == "UNLINK_ACCOUNT"]
    gone = records[at].account
    assert any(record.account == gone for record in records[:at])
    assert not any(record.account == gone for record in records[at + 1 :])


def test_time_lapse_accelerates_the_plan_and_not_the_clock() -> None:
    """At a lapse of 600, an action planned for 10 min happens after 1 s, and has the time of the clock."""
    clock = FakeClock()
    plan = Scenario(
        history=DAY,
        ordinary=False,
        lapse=600.0,
        actions=(
            PlannedAction(Duration(minutes=10), "BACKUP", "eve"),
            PlannedAction(Duration(hours=-1), "RESTORE", "eve"),
        ),
    )
    simulation = build_simulation(plan, clock)
    assert [(a.kind, a.at) for a in simulation.organisation.truth()] == [("RESTORE", NOON - timedelta(hours=1))]
    assert simulation.next_due() == NOON + timedelta(seconds=1)
    assert simulation.advance(NOON + timedelta(seconds=0.999)) == 0
    assert simulation.advance(NOON + timedelta(seconds=1.5)) == 1
    assert simulation.organisation.truth()[-1].at == NOON + timedelta(seconds=1.5)
    assert simulation.next_due() is None


def test_incident_in_the_past_is_part_of_the_history() -> None:
    """A negative time plants an incident in the history, with past time stamps."""
    incident = PlannedIncident("firewall_burst", Duration(hours=-2))
    organisation = build_simulation(
        Scenario(history=DAY, ordinary=False, incidents=(incident,)), FakeClock()
    ).organisation
    actions = organisation.truth()
    assert len(actions) == 6
    assert actions[0].at == NOON - timedelta(hours=2)
    assert sum("0.0.0.0/0" in action.description for action in actions) == 1
