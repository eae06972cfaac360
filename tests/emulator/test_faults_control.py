"""How faults are written, limited, and set from another process; and that their page is correct."""

import re
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from actionwatch.emulator.app import create_app
from actionwatch.emulator.durations import Duration
from actionwatch.emulator.faults.fault import FaultError, FaultSpec, described, parse_fault
from actionwatch.emulator.faults.responses import Limited
from actionwatch.emulator.scenario import ScenarioError, load_scenario
from actionwatch.emulator.server import running
from actionwatch.emulator.state import Organisation
from tests import http_client
from tests.cases import in_one_test
from tests.emulated import every_variant
from tests.emulator.conftest import World
from tests.emulator.faults import SHIPPED
from tests.waiting import beside

PAGE = Path(__file__).parents[2] / "docs" / "guide.md"


# Limits


def test_fault_is_active_a_number_of_times(world: World) -> None:
    """After `times` it ends, and stays in the list."""
    world.faults.set("error:503,times=2")
    assert _statuses(world, 4) == [503, 503, 200, 200]
    assert [(one.played, one.is_over(world.clock.now)) for one in world.faults.running] == [(2, True)]


def test_fault_is_active_at_every_kth_request(world: World) -> None:
    """`every` is the k-th request, the 2k-th, and so on; `times` limits their number."""
    world.faults.set("rate_limited:every=3,times=2")
    assert _statuses(world, 10) == [200, 200, 429, 200, 200, 429, 200, 200, 200, 200]


def test_fault_is_active_for_a_time(world: World) -> None:
    """`for` is counted by the organisation's clock from when the fault was set."""
    world.faults.set("unauthorised:for=10s")
    assert _statuses(world, 2) == [401, 401]
    world.clock.now += timedelta(seconds=9)
    assert _statuses(world, 1) == [401]
    world.clock.now += timedelta(seconds=1)
    assert _statuses(world, 1) == [200]


def test_fault_is_active_for_one_operation(world: World) -> None:
    """`operation` does not affect the others, and their requests are not counted."""
    world.faults.set("error:500,operation=linked_accounts,every=2")
    found = [world.client.get(path).status_code for path in ("/user-actions", "/linked-accounts") * 4]
    assert found == [200, 200, 200, 500] * 2
    world.faults.set("error:500,operation=link_account", "error:502,operation=unlink_account")
    assert world.client.post("/linked-accounts", json={"accountName": "x"}).status_code == 500
    assert world.client.delete(f"/linked-accounts/{world.account.id}").status_code == 502
    assert len(world.organisation.inventory.accounts) == 1


def test_limits_of_several_faults_are_separate(world: World) -> None:
    """Each fault counts separately; of two responses, the first in the table applies."""
    world.faults.set("error:503,every=2", "rate_limited:every=3")
    assert _statuses(world, 6) == [200, 503, 429, 503, 200, 429]


def test_set_restarts_the_counts_and_add_does_not(world: World) -> None:
    """`set` replaces, `add` adds, `clear` ends one name or all."""
    world.faults.set("error:503,times=1")
    assert _statuses(world, 2) == [503, 200]
    world.faults.add("rate_limited:times=1", FaultSpec("order", "ascending"))
    assert _statuses(world, 2) == [429, 200]
    world.faults.set("error:503,times=1")
    assert _statuses(world, 2) == [503, 200]
    world.faults.add("order:ascending", "forbidden")
    world.faults.clear("order")
    assert [one.fault.fault for one in world.faults.running] == ["error", "forbidden"]
    assert _statuses(world, 1) == [403]
    world.faults.clear()
    assert _statuses(world, 1) == [200]


def test_wrong_fault_changes_nothing(world: World) -> None:
    """If one of several new faults is invalid, the active faults do not change."""
    world.faults.set("error:503")
    with pytest.raises(FaultError):
        world.faults.set("order:ascending", "ordr")
    with pytest.raises(FaultError):
        world.faults.clear("ordr")
    assert _statuses(world, 1) == [503]


# How a fault is written


@in_one_test("text", every_variant())
def test_every_variant_is_accepted(text: str) -> None:
    """Every fault of the table is accepted, with and without limits."""
    kind = parse_fault(text).kind
    limited = parse_fault(f"{text}{',' if ':' in text else ':'}times=3,every=2,for=10s,seed=4")
    assert (limited.times, limited.every, limited.for_, limited.seed) == (3, 2, Duration(seconds=10), 4)
    assert limited.kind is kind


def test_text_and_object_mean_the_same() -> None:
    """A structure is given by position, by name, or as an object; a single value is its first field."""
    expected = FaultSpec("rate_limited", Limited(Duration(seconds=5), "date"), times=3)
    assert parse_fault("rate_limited:5s,date,times=3") == expected
    assert parse_fault(" rate_limited:times=3, form=date, retry_after=5s ") == expected
    assert FaultSpec("rate_limited", {"retry_after": "5s", "form": "date"}, times=3) == expected
    assert FaultSpec("rate_limited", "5s") == parse_fault("rate_limited:5s")
    assert FaultSpec("total", "string") == parse_fault("total:string")


@in_one_test(
    ("text", "message"),
    [
        ("ordr:ascending", "unknown fault 'ordr'; did you mean 'order'?"),
        ("", "unknown fault ''"),
        ("order", "needs one of descending, ascending"),
        ("order:ascendign", "did you mean 'ascending'?"),
        ("order:ascending,shuffled", "was given ['ascending', 'shuffled']"),
        ("order:ascending,speed=3", "was given ['ascending', 'speed']"),
        ("unauthorised:3", "takes no argument"),
        ("late", "late: needs least (duration)"),
        ("late:10", "'10' is not a duration such as 10s"),
        ("twins:1", "Expected `int` >= 2"),
        ("twins:x", "Expected `int`"),
        ("error:200", "error:200: status: Expected `int` >= 400; it takes status=503"),
        ("error:500,htm", "body: Invalid enum value 'htm'; it takes"),
        ("rate_limited:5s,date,html,more", "was given ['5s', 'date', 'html', 'more']"),
        ("vanish:colour=red", "unknown field `colour`"),
        ("error:times=0", ">= 1 - at `$.times`"),
        ("error:every=x", "at `$.every`"),
        ("error:for=x", "'x' is not a duration"),
        ("error:operation=user_action", "'user_action' - at `$.operation`"),
        ("order:ascending,operation=linked_accounts", "applies to user_actions and not to linked_accounts"),
        ("twins:2,operation=user_actions", "applies to the log"),
    ],
)
def test_invalid_text_is_reported_clearly(text: str, message: str) -> None:
    """The message names the fault, the error, and what is accepted."""
    with pytest.raises(FaultError) as caught:
        parse_fault(text)
    assert message in str(caught.value)
    assert text.partition(":")[0] in str(caught.value)


def test_invalid_arguments_in_python_are_refused() -> None:
    """An invalid limit or argument is refused where it is created."""
    for wrong in ({"times": 0}, {"every": 0}, {"arg": "sideways"}, {"arg": ["ascending"]}):
        with pytest.raises(FaultError):
            FaultSpec("order", **{"arg": "ascending", **wrong})  # type: ignore[arg-type]


# From another process, and from a file


def test_control_lists_sets_adds_and_clears(world: World) -> None:
    """Each request returns the active faults, and the list can be set again."""
    url = f"{world.url}/_emulator/faults"
    listed: Any = http_client.put(url, json=["error:503,times=1", {"fault": "late", "arg": {"least": "10s"}}]).json()
    assert [(one["fault"], one["played"], one["isOver"]) for one in listed] == [("late", 0, False), ("error", 0, False)]
    assert _statuses(world, 2) == [503, 200]
    world.log("BACKUP")
    assert world.kinds() == []
    listed = http_client.post(url, json=[{"fault": "rate_limited", "arg": {"retry_after": "5s"}, "for": "1m"}]).json()
    assert listed == http_client.get(url).json()
    assert [(one["fault"], one["played"], one["isOver"]) for one in listed] == [
        ("late", 1, False),
        ("rate_limited", 0, False),
        ("error", 1, True),
    ]
    again = [{key: value for key, value in one.items() if key not in ("played", "isOver")} for one in listed]
    assert [one["fault"] for one in http_client.put(url, json=again).json()] == ["late", "rate_limited", "error"]
    assert _statuses(world, 1) == [429]
    assert len(http_client.delete(f"{url}?fault=late").json()) == 2
    assert http_client.delete(url).json() == []
    assert _statuses(world, 1) == [200]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (["ordr"], "did you mean 'order'?"),
        ([{"fault": "ordr"}], "did you mean 'order'? - at `$[0]`"),
        (["error", {"fault": "order", "arg": "up"}], "'up' is not one of"),
        ([{"fault": "error", "time": 3}], "unknown field `time`"),
        ([{"fault": "error", "times": 0}], "`$[0].times`"),
        ({}, "Expected `array`"),
        ([3], "at `$[0]`"),
    ],
)
def test_control_refuses_and_changes_nothing(shared: World, body: object, message: str) -> None:
    """An invalid fault is a 400 with the reason and the location."""
    for ask in (http_client.put, http_client.post):
        answer = ask(f"{shared.url}/_emulator/faults", json=body)
        assert answer.status_code == 400
        assert message in answer.json()["message"]
    assert http_client.delete(f"{shared.url}/_emulator/faults?fault=ordr").status_code == 400
    assert http_client.get(f"{shared.url}/_emulator/faults").json() == []


def test_faults_of_a_scenario_file_are_active(tmp_path: Path) -> None:
    """A file lists faults as objects, and the server passes them to the app."""
    path = tmp_path / "scenario.yaml"
    path.write_text("faults:\n  - {fault: envelope, arg: bare}\n  - {fault: error, every: 2, for: 10m}\n")
    scenario = load_scenario(path)
    assert scenario.faults == (parse_fault("envelope:bare"), parse_fault("error:every=2,for=10m"))
    organisation = Organisation()
    app = create_app(organisation, faults=[*scenario.faults, "total:string"])
    with running(app) as url, http_client.client(auth=("demo", "demo-key")) as client:
        path_of_log = f"{url}/v1/organisations/{organisation.id}/user-actions"
        assert client.get(path_of_log).json()["totalResults"] == "0"
        assert client.get(path_of_log).status_code == 503


@in_one_test(
    ("text", "message"),
    [
        ("faults: [{fault: order, arg: ascending}, {fault: ordr}]", "did you mean 'order'? - at `$.faults[1]`"),
        ("faults: [{fault: order}]", "needs one of descending, ascending"),
        ("faults: [{fault: order, arg: up}]", "'up' is not one of descending, ascending"),
        ("faults: [{fault: error, arg: {status: 99}}]", "error: status: Expected `int` >= 400; it takes"),
        ("faults: [{fault: error}, {fault: error, arg: {status: 99}}]", "(duration) - at `$.faults[1]`"),
        ("faults: [{fault: error, for: 10}]", "10 is not a duration such as 10s, 5m, 2h or 14d - at `$.faults[0].for`"),
        ("faults: [{fault: error, wen: 10}]", "unknown field `wen` - at `$.faults[0]`"),
        ("faults: order", "at `$.faults`"),
    ],
)
def test_invalid_fault_in_a_file_is_reported_with_its_location(tmp_path: Path, text: str, message: str) -> None:
    """The message names the file, the location and what is accepted."""
    path = tmp_path / "scenario.yaml"
    path.write_text(text)
    with pytest.raises(ScenarioError) as caught:
        load_scenario(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def test_app_refuses_an_invalid_fault() -> None:
    """A server with an unknown fault does not start."""
    with pytest.raises(FaultError, match="did you mean"):
        create_app(Organisation(), faults=["ordr"])


def test_faults_may_be_switched_under_load(world: World) -> None:
    """While another thread switches faults, each request and record has one complete set of faults, and nothing hangs."""
    ended = threading.Event()

    def switch() -> None:
        while not ended.is_set():
            for faults in (["twins:2", "vanish:keyword=x"], ["order:reshuffled", "late:1s", "counts_name"], []):
                world.faults.set(*faults)
                world.log("BACKUP")

    with beside(switch, stop=ended.set):
        for _ in range(100):
            envelope = world.request()
            assert ("counts" in envelope) != ("actionCounts" in envelope)


# The page


def test_page_lists_every_fault() -> None:
    """The table of the documentation equals that of the code."""
    lines = [
        f"| `{name}` | {_codes(argument)} | {does} |" for name, argument, does, _ in described() if name in SHIPPED
    ]
    text = PAGE.read_text(encoding="utf-8")
    assert "\n".join(lines) in text
    records = [name for name, *_, counts in described() if counts == "records" and name in SHIPPED]
    assert records == ["late", "vanish"]  # the page names them in the paragraph about limits


def test_documented_faults_are_accepted() -> None:
    """The command accepts every `--fault` on the page."""
    shown = re.findall(r"--fault ([^`\s]+)", PAGE.read_text(encoding="utf-8"))
    assert len(shown) > 5
    assert all(parse_fault(text) for text in shown)


def _codes(argument: str) -> str:
    return f"`{argument}`" if argument else ""


def _statuses(world: World, count: int) -> list[int]:
    return [world.client.get("/user-actions").status_code for _ in range(count)]
