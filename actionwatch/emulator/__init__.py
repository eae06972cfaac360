"""The Instaclustr Organization Management API, emulated from its documentation alone, over an organisation that lives.

For the demo and for tests. Nothing here imports the rest of actionwatch, so that the emulator can catch the client out.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actionwatch.emulator.app import DEMO_KEY as DEMO_KEY
    from actionwatch.emulator.app import DEMO_USER as DEMO_USER
    from actionwatch.emulator.app import Emulator as Emulator
    from actionwatch.emulator.app import create_app as create_app
    from actionwatch.emulator.cast import found_organisation as found_organisation
    from actionwatch.emulator.cast import off_hours_zone as off_hours_zone
    from actionwatch.emulator.faults.fault import Fault as Fault
    from actionwatch.emulator.faults.fault import FaultError as FaultError
    from actionwatch.emulator.faults.fault import described as described
    from actionwatch.emulator.faults.fault import every_variant as every_variant
    from actionwatch.emulator.faults.fault import parse_fault as parse_fault
    from actionwatch.emulator.faults.playing import Faults as Faults
    from actionwatch.emulator.faults.playing import Running as Running
    from actionwatch.emulator.faults.table import FAULTS as FAULTS
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
    from actionwatch.emulator.scenario import bring_to_life as bring_to_life
    from actionwatch.emulator.scenario import demo_scenario as demo_scenario
    from actionwatch.emulator.scenario import load_scenario as load_scenario
    from actionwatch.emulator.scenario import quiet_month as quiet_month
    from actionwatch.emulator.server import running as running
    from actionwatch.emulator.server import serve_forever as serve_forever
    from actionwatch.emulator.spans import Span as Span
    from actionwatch.emulator.stages import Stages as Stages
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
    "FAULTS": "faults.table",
    "Fault": "faults.fault",
    "FaultError": "faults.fault",
    "Faults": "faults.playing",
    "Filter": "log",
    "INCIDENTS": "incidents",
    "Life": "life",
    "Named": "log",
    "Organisation": "state",
    "Person": "state",
    "PlannedAction": "scenario",
    "PlannedIncident": "scenario",
    "Planted": "state",
    "Running": "faults.playing",
    "Scenario": "scenario",
    "ScenarioError": "scenario",
    "Span": "spans",
    "Stages": "stages",
    "bring_to_life": "scenario",
    "create_app": "app",
    "demo_scenario": "scenario",
    "described": "faults.fault",
    "every_variant": "faults.fault",
    "found_organisation": "cast",
    "living": "life",
    "load_scenario": "scenario",
    "off_hours_zone": "cast",
    "parse_fault": "faults.fault",
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
