"""What tests need of the emulator: each variant of each fault, and a month without incidents."""

from __future__ import annotations

from collections.abc import Mapping

import tests.emulator.faults  # noqa: F401  # adds the faults that only tests use
from actionwatch.emulator.durations import Duration
from actionwatch.emulator.faults.fault import FaultError, parse_fault
from actionwatch.emulator.faults.kinds import Layer
from actionwatch.emulator.faults.table import FAULTS
from actionwatch.emulator.scenario import Scenario

OF_RESPONSES = [name for name, kind in FAULTS.items() if kind.effect.layer >= Layer.RESPONSE]
"""The faults that replace or carry a whole response."""


def every_variant() -> list[str]:
    """Return all faults, with each of their named variants, for `parse_fault`."""
    return [text for name, kind in FAULTS.items() for text in _variants(name, kind.argument)]


def quiet_month(seed: int = 1, days: int = 30) -> Scenario:
    """Return a month without incidents, in which every match of a rule is noise."""
    return Scenario(seed=seed, history=Duration(days=days))


def _variants(name: str, argument: object) -> list[str]:
    if isinstance(argument, Mapping | tuple):
        return [f"{name}:{choice}" for choice in argument]
    try:
        parse_fault(name)
    except FaultError:
        return [f"{name}:10s"]  # the other required arguments are durations
    return [name]
