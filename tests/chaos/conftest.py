"""`--soak N`: run N schedules, with a matching number of kills of the real process, instead of the default few."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option. `pytest tests/chaos --soak 5000` runs for about a quarter of an hour."""
    parser.addoption("--soak", type=int, default=0, metavar="N", help="play N schedules of chaos, from --soak-from on")
    parser.addoption("--soak-from", type=int, default=0, metavar="SEED", help="the first seed")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Remove the timeout of a soak."""
    if config.getoption("--soak", 0):
        for item in items:
            if item.path.is_relative_to(Path(__file__).parent):
                item.add_marker(pytest.mark.timeout(0))


@pytest.fixture
def soak(request: pytest.FixtureRequest) -> int:
    """Return the requested number of schedules; 0 means the default."""
    found: int = request.config.getoption("--soak", 0)
    return found


@pytest.fixture
def first_seed(request: pytest.FixtureRequest) -> int:
    """Return the first seed."""
    found: int = request.config.getoption("--soak-from", 0)
    return found
