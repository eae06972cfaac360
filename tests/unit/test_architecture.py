"""docs/architecture.md names every table, and every state of an alert or a delivery, with its owner."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from actionwatch.base.delivery import DeliveryStatus
from actionwatch.base.model import Status
from actionwatch.delivery.attempt import STAGES
from actionwatch.store.tables import METADATA

TEXT = (Path(__file__).parents[2] / "docs" / "architecture.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table in a section."""
    section = TEXT.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


STATES = rows("States and their owners")


def states_of(table: str) -> set[str]:
    """Return the states that the page names for a table."""
    return {word for row in STATES if row[0] == f"`{table}`" for word in re.findall(r"`(\w+)`", row[1])}


def test_every_table_has_an_owner() -> None:
    """The page lists exactly the tables of the store, without an empty cell."""
    assert {row[0].strip("`") for row in STATES} == set(METADATA.tables)
    assert all(len(row) == 4 and all(row) for row in STATES), [row for row in STATES if len(row) != 4 or not all(row)]


@pytest.mark.parametrize(("table", "states"), [("alert", Status), ("delivery", DeliveryStatus)])
def test_every_status_has_an_owner(table: str, states: type[Status] | type[DeliveryStatus]) -> None:
    """The page lists exactly the states of the code."""
    assert states_of(table) - {"awaits", "leased_by", "leased_until"} == {state.value for state in states}


@pytest.mark.parametrize("column", ["leased_until", "awaits"])
def test_every_hold_of_a_delivery_is_documented(column: str) -> None:
    """Everything that can hold a delivery is described."""
    assert any(column in row[1] for row in STATES)
    assert column in METADATA.tables["delivery"].c


def test_the_life_of_an_attempt_is_documented() -> None:
    """The page lists the stages of an attempt, in order."""
    assert [row[0].strip("`") for row in rows("The life of an attempt")] == [stage.__name__ for stage in STAGES]
