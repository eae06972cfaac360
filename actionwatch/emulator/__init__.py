"""The Instaclustr Organization Management API, emulated from its documentation alone, over an organisation that lives.

For the demo and for tests. Nothing here imports the rest of actionwatch, so that the emulator can catch the client out.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actionwatch.emulator.app import DEMO_KEY as DEMO_KEY
    from actionwatch.emulator.app import DEMO_USER as DEMO_USER
    from actionwatch.emulator.app import Emulator as Emulator
    from actionwatch.emulator.app import Stages as Stages
    from actionwatch.emulator.app import create_app as create_app
    from actionwatch.emulator.cast import found_organisation as found_organisation
    from actionwatch.emulator.cast import off_hours_zone as off_hours_zone
    from actionwatch.emulator.incidents import INCIDENTS as INCIDENTS
    from actionwatch.emulator.life import Life as Life
    from actionwatch.emulator.life import living as living
    from actionwatch.emulator.log import Action as Action
    from actionwatch.emulator.log import Filter as Filter
    from actionwatch.emulator.log import Named as Named
    from actionwatch.emulator.scenario import PlannedAction as PlannedAction
    from actionwatch.emulator.scenario import PlannedIncident as PlannedIncident
    from actionwatch.emulator.scenario import Scenario as Scenario
    from actionwatch.emulator.scenario import ScenarioError as ScenarioError
    from actionwatch.emulator.scenario import Span as Span
    from actionwatch.emulator.scenario import bring_to_life as bring_to_life
    from actionwatch.emulator.scenario import demo_scenario as demo_scenario
    from actionwatch.emulator.scenario import load_scenario as load_scenario
    from actionwatch.emulator.scenario import quiet_month as quiet_month
    from actionwatch.emulator.server import running as running
    from actionwatch.emulator.server import serve_forever as serve_forever
    from actionwatch.emulator.state import Account as Account
    from actionwatch.emulator.state import Cluster as Cluster
    from actionwatch.emulator.state import Organisation as Organisation
    from actionwatch.emulator.state import Person as Person
    from actionwatch.emulator.state import Planted as Planted
    from actionwatch.emulator.state import system_clock as system_clock

_HOMES = {
    "Account": "state",
    "Action": "log",
    "Cluster": "state",
    "DEMO_KEY": "app",
    "DEMO_USER": "app",
    "Emulator": "app",
    "Filter": "log",
    "INCIDENTS": "incidents",
    "Life": "life",
    "Named": "log",
    "Organisation": "state",
    "Person": "state",
    "PlannedAction": "scenario",
    "PlannedIncident": "scenario",
    "Planted": "state",
    "Scenario": "scenario",
    "ScenarioError": "scenario",
    "Span": "scenario",
    "Stages": "app",
    "bring_to_life": "scenario",
    "create_app": "app",
    "demo_scenario": "scenario",
    "found_organisation": "cast",
    "living": "life",
    "load_scenario": "scenario",
    "off_hours_zone": "cast",
    "quiet_month": "scenario",
    "running": "server",
    "serve_forever": "server",
    "system_clock": "state",
}


def __getattr__(name: str) -> object:
    """Import on first use: `--help` must not pay for a web server."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
