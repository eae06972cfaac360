"""docs/alerts.md, "The life of a delivery", shows the states and transitions that the code has."""

from __future__ import annotations

from pathlib import Path

from actionwatch.base.delivery import OWNERS, TRANSITIONS, DeliveryState

PAGE = Path(__file__).parents[3] / "docs" / "alerts.md"
SECTION = PAGE.read_text().partition("## The life of a delivery\n")[2].partition("\n## ")[0]


def _name(state: DeliveryState | None) -> str:
    return "[*]" if state is None else state.name.lower()


def _rows(header: str) -> list[str]:
    """Return the lines of the table under a header."""
    return SECTION.partition(header + "\n")[2].partition("\n\n")[0].strip().splitlines()[1:]


def test_diagram_shows_every_transition() -> None:
    """The diagram shows exactly the transitions of the code."""
    arrows = [line.strip() for line in SECTION.splitlines() if "-->" in line]
    drawn = set()
    for arrow in arrows:
        ends, _, labels = arrow.partition(": ")
        source, _, target = ends.partition(" --> ")
        drawn |= {(label, source, target) for label in labels.split(", ")}
    made = {(each.name, _name(source), _name(target)) for each in TRANSITIONS for source, target in each.moves}
    final = {("", _name(state), "[*]") for state in DeliveryState if state not in OWNERS}
    assert drawn == made | final


def test_list_of_states_is_complete() -> None:
    """The list of states is complete and names each owner."""
    expected = [
        f"| `{_name(state)}` | `{state.status}` | {OWNERS.get(state, 'nobody: it is final')} |"
        for state in DeliveryState
    ]
    rows = _rows("| state | `status` | who moves it on | if its receiver is removed from the configuration |")
    assert [row.rsplit(" | ", 1)[0] + " |" for row in rows] == expected


def test_list_of_transitions_is_complete() -> None:
    """The list of transitions is complete and names each cause."""
    expected = [f"| {each.name} | {each.actor} |" for each in TRANSITIONS]
    assert _rows("| transition | who causes it |") == expected
