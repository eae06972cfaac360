"""Scenario files: their keys, and how errors are reported."""

import json
from pathlib import Path

import pytest

from actionwatch.emulator.durations import Duration
from actionwatch.emulator.scenario import (
    PlannedAction,
    PlannedIncident,
    Scenario,
    ScenarioError,
    build_simulation,
    load_scenario,
)
from tests.cases import in_one_test
from tests.emulator.conftest import NOON, FakeClock

WHOLE = """
seed: 7
history: 2d
lapse: 60
head_office: Europe/Berlin
ordinary: false
recur: 90m
incidents:
  - {incident: firewall_burst, at: 10s}
actions:
  - {at: 5s, action: DELETE_CLUSTER, userName: eve@acme.example, cluster: lost, account: x, times: 2, lateBy: 500ms}
"""


def test_file_sets_every_key(tmp_path: Path) -> None:
    """Each key reaches the scenario, from JSON and from YAML."""
    expected = Scenario(
        seed=7,
        history=Duration(days=2),
        lapse=60.0,
        head_office="Europe/Berlin",
        ordinary=False,
        recur=Duration(minutes=90),
        incidents=(PlannedIncident("firewall_burst", Duration(seconds=10)),),
        actions=(
            PlannedAction(
                Duration(seconds=5),
                "DELETE_CLUSTER",
                "eve@acme.example",
                cluster="lost",
                account="x",
                times=2,
                late_by=Duration(milliseconds=500),
            ),
        ),
    )
    assert load_scenario(_file(tmp_path, WHOLE)) == expected
    document = {"seed": 7, "actions": [{"at": "0s", "action": "BACKUP", "userName": "eve"}]}
    assert load_scenario(_file(tmp_path, json.dumps(document))).actions[0].user_name == "eve"


def test_empty_file_is_the_default(tmp_path: Path) -> None:
    """An empty file gives the default scenario."""
    assert load_scenario(_file(tmp_path, "")) == Scenario()


@in_one_test(
    ("text", "message"),
    [
        ("sed: 1", "`sed`"),
        ("incidents: [{incident: firewall_burst, at: 1s}, {incident: firewall_burst, att: 1s}]", "`$.incidents[1]`"),
        (
            "incidents: [{incident: flood, at: 1s}]",
            "unknown incident 'flood': use one of key_then_cluster_deleted, firewall_burst",
        ),
        ("incidents: [{incident: flood}]", "missing required field `at` - at `$.incidents[0]`"),
        ("actions: [{at: 5x, action: BACKUP, userName: eve}]", "'5x' is not a duration such as 10s"),
        ("actions: [{at: 5, action: BACKUP, userName: eve}]", "`$.actions[0].at`"),
        ("actions: [{at: 5s, action: BACKUP, userName: eve, times: 0}]", "`$.actions[0].times`"),
        ("actions: [{at: 5s, action: BACKUP, user: eve}]", "`user` - at `$.actions[0]`"),
        ("lapse: 0", "`$.lapse`"),
        ("seed: '1'", "`$.seed`"),
        ("head_office: Atlantis", "`$.head_office`"),
        ("history: -1d", "history must not be negative"),
        ("recur: 0s", "recur must be longer"),
        ("[1]", "Expected `object`"),
        ("0", "Expected `object`"),
        ("a: [", "line 1"),
    ],
)
def test_fault_has_a_location(tmp_path: Path, text: str, message: str) -> None:
    """Every error names the file and the location in it."""
    path = _file(tmp_path, text)
    with pytest.raises(ScenarioError) as caught:
        load_scenario(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def test_missing_file_is_a_scenario_error(tmp_path: Path) -> None:
    """A missing file is reported in the same way."""
    with pytest.raises(ScenarioError, match="No such file"):
        load_scenario(tmp_path / "none.yaml")


def test_actions_of_a_file_are_played(tmp_path: Path) -> None:
    """A listed action happens at its time, as often and as late as given, also on unknown accounts and clusters."""
    clock = FakeClock()
    simulation = build_simulation(load_scenario(_file(tmp_path, WHOLE.replace("recur: 90m", ""))), clock)
    clock.now = NOON + Duration(seconds=5) / 60
    simulation.advance(clock.now)
    first, second = simulation.organisation.truth()
    assert first == second
    assert first.cluster is not None
    assert first.account is not None
    assert (first.cluster.name, first.account.name) == ("lost", "x")
    assert clock.now - first.at >= Duration(milliseconds=500)


def test_one_name_is_one_cluster_and_one_account(tmp_path: Path) -> None:
    """Planned actions on one name have one id, also if it never ran or was linked: rules group by the id."""
    text = """
history: 0s
ordinary: false
actions:
  - {at: 0s, action: DELETE_BACKUP_SCHEDULE, userName: eve, cluster: lost, account: gone}
  - {at: 0s, action: DELETE_CLUSTER, userName: eve, cluster: lost, account: gone}
  - {at: 0s, action: BACKUP, userName: eve, cluster: other, account: elsewhere}
"""
    first, second, other = build_simulation(load_scenario(_file(tmp_path, text))).organisation.truth()
    assert (first.cluster, first.account) == (second.cluster, second.account)
    assert first.cluster != other.cluster
    assert first.account != other.account


def test_deleted_cluster_and_unlinked_account_keep_their_ids(tmp_path: Path) -> None:
    """Planned actions on a cluster after its deletion, and in an account after it is unlinked, have the ids from before."""
    text = """
history: 0s
ordinary: false
actions:
  - {at: 0s, action: DELETE_CLUSTER, userName: eve, cluster: sandbox-kafka}
  - {at: 0s, action: RESTORE, userName: eve, cluster: sandbox-kafka}
  - {at: 0s, action: UNLINK_ACCOUNT, userName: eve, account: sandbox}
  - {at: 0s, action: ACCOUNT_REVOKE_API_KEY, userName: eve, account: sandbox}
"""
    made = build_simulation(load_scenario(_file(tmp_path, text))).organisation.truth()
    assert len({action.cluster.id for action in made if action.cluster}) == 1
    assert len({action.account.id for action in made if action.account}) == 1
    assert all(action.account for action in made)


def _file(folder: Path, text: str) -> Path:
    path = folder / "scenario.yaml"
    path.write_text(text, encoding="utf-8")
    return path
