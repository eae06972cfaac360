"""Scenarios of a simulation: from a file, or shipped ones.

A file is YAML or JSON: `seed`, `history` (`14d`), `lapse` (how many times as fast as the clock), `head_office` (a time zone),
`ordinary` (false: only listed actions and incidents), `recur` (mean time between further incidents), `incidents`
(`{incident: firewall_burst, at: 10s}`), `actions` (`{at: 5s, action: DELETE_CLUSTER, userName: eve@acme.example}`) and
`faults` (`{fault: order, arg: ascending}`), which the caller passes to `create_app`. `at` is planned time from the start;
negative values are in the past.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import msgspec
import yaml

from actionwatch.emulator.durations import Duration, read_duration
from actionwatch.emulator.faults.fault import FaultSpec
from actionwatch.emulator.habits import schedule_ordinary_actions
from actionwatch.emulator.incidents import INCIDENTS, recur
from actionwatch.emulator.inventory import Cluster
from actionwatch.emulator.sample import SYDNEY, Office, create_organisation, off_hours_zone
from actionwatch.emulator.simulation import Simulation
from actionwatch.emulator.state import Clock, system_clock

_DEMO_LAPSE = 300.0  # a planned hour takes twelve seconds, so that a demo of a minute shows half a working day


class ScenarioError(ValueError):
    """An invalid scenario file; the text contains file and location."""


class PlannedIncident(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    incident: str
    at: Duration


class PlannedAction(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """One action. `late_by` is how much later than its time it becomes visible."""

    at: Duration
    action: str
    user_name: str
    description: str = ""
    account: str | None = None  # id or name; one that is unknown is taken as a name
    cluster: str | None = None
    times: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 1
    late_by: Duration = Duration()


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    seed: int = 1
    history: Duration = Duration(days=14)
    lapse: Annotated[float, msgspec.Meta(gt=0, le=100_000)] = 1.0
    head_office: Office = SYDNEY
    ordinary: bool = True
    recur: Duration | None = None
    incidents: tuple[PlannedIncident, ...] = ()
    actions: tuple[PlannedAction, ...] = ()
    faults: tuple[FaultSpec, ...] = ()

    def __post_init__(self) -> None:
        """Refuse durations that make no sense; msgspec adds the location to the text."""
        if self.history < Duration():
            raise ValueError("history must not be negative")
        if self.recur is not None and self.recur <= Duration():
            raise ValueError("recur must be longer than 0s")


_DEMO_FIRST_MINUTES = 10  # 2 s at the demo's lapse
_DEMO_EVERY_MINUTES = 35  # 7 s; the sixth and last begins 37 s after the start
_DEMO_RECUR = Duration(minutes=100)  # 20 s


def demo_scenario(now: datetime, seed: int = 1) -> Scenario:
    """Return the demo: all incidents within 45 s, the first after 2 s, with a head office where `now` is at night."""
    incidents = tuple(
        PlannedIncident(name, Duration(minutes=_DEMO_FIRST_MINUTES + _DEMO_EVERY_MINUTES * number))
        for number, name in enumerate(INCIDENTS)
    )
    return Scenario(
        seed=seed, lapse=_DEMO_LAPSE, head_office=off_hours_zone(now), recur=_DEMO_RECUR, incidents=incidents
    )


def build_simulation(scenario: Scenario, clock: Clock = system_clock) -> Simulation:
    """Create the organisation, simulate its past up to now, and queue the rest."""
    start = clock()
    organisation = create_organisation(scenario.seed, head_office=scenario.head_office, clock=clock)
    simulation = Simulation(organisation, start, lapse=scenario.lapse, seed=scenario.seed)
    simulation.planned = simulation.stamp = start - scenario.history
    for action in scenario.actions:
        simulation.schedule(start + action.at, _play_action(action))
    for planned in scenario.incidents:
        simulation.schedule(start + planned.at, INCIDENTS[planned.incident])
    if scenario.ordinary:
        schedule_ordinary_actions(simulation, start - scenario.history)
    if (every := scenario.recur) is not None:
        last = max((planned.at for planned in scenario.incidents), default=timedelta())
        simulation.schedule(start + max(last, timedelta()), lambda simulation: recur(simulation, every))
    simulation.advance(start)
    return simulation


def _play_action(action: PlannedAction) -> Callable[[Simulation], None]:
    def play(simulation: Simulation) -> None:
        inventory = simulation.organisation.inventory
        cluster = inventory.name_cluster(action.cluster) if action.cluster else None
        wanted = action.account or (cluster.account_id if isinstance(cluster, Cluster) else None)
        account = inventory.name_account(wanted) if wanted else None
        what = (action.action, action.user_name, action.description)
        simulation.log(*what, account, cluster, times=action.times, late_by=action.late_by)

    return play


def load_scenario(path: Path) -> Scenario:
    """Read a scenario from a YAML or JSON file.

    Raises: `ScenarioError`, with the location of the first error and what is accepted.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        read = msgspec.convert({} if document is None else document, Scenario, dec_hook=read_duration)
    except OSError as exc:
        raise ScenarioError(f"{path}: {exc.strerror}") from exc
    except (yaml.YAMLError, UnicodeDecodeError, msgspec.ValidationError) as exc:
        raise ScenarioError(f"{path}: {exc}") from exc
    for number, planned in enumerate(read.incidents):
        if planned.incident not in INCIDENTS:
            what = f"unknown incident {planned.incident!r}: use one of {', '.join(INCIDENTS)}"
            raise ScenarioError(f"{path}: {what} - at `$.incidents[{number}].incident`")
    return read
