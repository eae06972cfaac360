"""The socket, the thread, the simulated life, and the control API."""

import signal
import socket
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest
from starlette.responses import Response

from actionwatch.emulator.app import DEMO_KEY, DEMO_USER, create_app
from actionwatch.emulator.durations import Duration
from actionwatch.emulator.scenario import PlannedAction, Scenario, build_simulation
from actionwatch.emulator.server import running
from actionwatch.emulator.simulation import playing
from actionwatch.emulator.stages import Stages
from actionwatch.emulator.state import Organisation
from actionwatch.emulator.wire import envelope
from tests import http_client
from tests.children import child, printed, run_child
from tests.emulator.conftest import World
from tests.waiting import wait_until


def test_nothing_is_left_behind() -> None:
    """After the block, no thread runs and the port is free, even with a connected client."""
    before = set(threading.enumerate())
    with running(Organisation()) as url, http_client.client(base_url=url) as client:
        assert client.get("/openapi.json").status_code == 200
        port = httpx.URL(url).port or 0
        assert url == f"http://127.0.0.1:{port}"
    wait_until(lambda: set(threading.enumerate()) <= before, "the end of the threads")
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_taken_port_is_an_error_at_once() -> None:
    """A port in use is an error for the caller, and leaves no thread."""
    before = set(threading.enumerate())
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(OSError, match="in use"),
        running(Organisation(), port=taken.getsockname()[1]),
    ):
        pass
    wait_until(lambda: set(threading.enumerate()) <= before, "the end of the threads")


def test_organisation_lives_in_a_thread_by_the_wall_clock() -> None:
    """A planned action happens by itself with the current time, and the thread ends with the block."""
    before = set(threading.enumerate())
    action = PlannedAction(Duration(seconds=60), "BACKUP", "eve")
    later = PlannedAction(Duration(days=100), "BACKUP", "eve")
    simulation = build_simulation(Scenario(history=Duration(), ordinary=False, lapse=600.0, actions=(action, later)))
    with playing(simulation) as organisation:
        wait_until(lambda: len(organisation), "the planned action")
        (made,) = organisation.truth()
        assert simulation.start + timedelta(seconds=0.1) <= made.at + timedelta(milliseconds=1)
        assert made.at <= organisation.clock()
    wait_until(lambda: set(threading.enumerate()) <= before, "the end of the threads")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_served_until_a_signal(number: signal.Signals) -> None:
    """The server announces its URL, responds, and returns at a signal, so that its caller can clean up."""
    code = (
        "from actionwatch.emulator.server import serve_forever\n"
        "from actionwatch.emulator.state import Organisation\n"
        "serve_forever(Organisation(), announce=lambda url: print(url, flush=True))\n"
        "print('cleaned up', flush=True)"
    )
    with child([sys.executable, "-c", code], stdout=subprocess.PIPE) as served:
        assert served.stdout is not None
        url = served.stdout.readline().strip()
        assert http_client.get(f"{url}/openapi.json").status_code == 200
        served.send_signal(number)
        assert printed(served)[0] == "cleaned up\n"
    assert served.returncode == 0


def test_help_loads_no_web_server() -> None:
    """The help of the command loads no web server."""
    code = "import sys, actionwatch.cli.emulator; sys.exit('uvicorn' in sys.modules or 'starlette' in sys.modules)"
    assert run_child([sys.executable, "-c", code]).returncode == 0


def test_no_import_of_the_product() -> None:
    """The emulator is written only from the documentation: it loads no other package of actionwatch."""
    code = (
        "import importlib, pkgutil, sys, actionwatch.emulator as e\n"
        "for module in pkgutil.walk_packages(e.__path__, 'actionwatch.emulator.'): importlib.import_module(module.name)\n"
        "sys.exit([m for m in sys.modules if m.startswith('actionwatch.') and m.split('.')[1] != 'emulator'] != [])"
    )
    assert run_child([sys.executable, "-c", code]).returncode == 0


def test_control_appends_and_returns_the_truth(world: World) -> None:
    """Another process can log actions, also late and equal ones, and read all of them back in order of arrival."""
    new = [
        {"action": "DELETE_CLUSTER", "userName": "eve", "cluster": "payments-prod-kafka", "times": 2},
        {"action": "BACKUP", "at": "2026-11-25T11:00:00Z", "account": world.account.id},
        {"action": "BACKUP", "at": 0, "cluster": "lost", "account": "gone"},
    ]
    assert _post(world, "/actions", new).json() == {"appended": 4}
    truth = http_client.get(f"{world.url}/_emulator/truth")
    records = [httpx.Response(200, text=line).json() for line in truth.text.splitlines()]
    assert [record["timestamp"][:13] for record in records] == [
        "2026-11-25T12",
        "2026-11-25T12",
        "2026-11-25T11",
        "1970-01-01T00",
    ]
    assert [record["accountName"] for record in records] == ["payments"] * 3 + ["gone"]
    assert [record.get("clusterName") for record in records[2:]] == [None, "lost"], "an unknown one is taken as a name"
    assert world.kinds() == ["DELETE_CLUSTER"] * 2 + ["BACKUP"] * 2


@pytest.mark.parametrize(
    "body",
    [
        {},
        [{}],
        [{"action": "BACKUP", "user": "x"}],
        [{"action": "BACKUP"}, {"action": "BACKUP", "at": "noon"}],
        [{"action": "BACKUP", "at": 10**17}],
        [{"action": "BACKUP", "times": 0}],
    ],
)
def test_control_refuses_and_logs_nothing(shared: World, body: object) -> None:
    """A request with one invalid part changes nothing, and the response contains the reason."""
    answer = _post(shared, "/actions", body)
    assert answer.status_code == 400
    assert answer.json()["message"]
    assert len(shared.organisation) == 0


@pytest.mark.parametrize("text", ["--5", "-", "noon", "9" * 19, "9" * 5000])
def test_control_refuses_what_is_no_time(shared: World, text: str) -> None:
    """A time in a query that cannot be read is refused with the reason."""
    answer = http_client.get(f"{shared.url}/_emulator/visible?at={text}")
    assert answer.status_code == 400
    assert "not a time" in answer.json()["message"]


def test_control_appends_in_bulk(world: World) -> None:
    """One request creates a large log."""
    body = {"count": 10_000, "start": "2026-01-01T00:00:00Z", "end": "2026-02-01T00:00:00Z"}
    assert _post(world, "/synthetic", body).json() == {"appended": 10_000}
    assert world.request("endTime=2026-01-31T23:59:59.999Z")["totalResults"] == 10_000


def test_traffic_counts_each_operation_and_status(world: World) -> None:
    """The traffic counts requests by operation and status, without control requests."""
    world.client.get("/user-actions")
    world.client.get("/user-actions?pageSize=0")
    world.client.delete("/linked-accounts/x")
    http_client.get(f"{world.url}/v1/organisations/{world.organisation.id}/linked-accounts")
    assert http_client.get(f"{world.url}/_emulator/traffic").json() == {
        "linked_accounts": {"401": 1},
        "unlink_account": {"404": 1},
        "user_actions": {"200": 1, "400": 1},
    }


def test_planted_incidents_can_be_read() -> None:
    """The incidents so far are listed, one per line."""
    simulation = build_simulation(Scenario(history=Duration(days=1), ordinary=False))
    simulation.note_incident("firewall_burst", simulation.organisation.people[0], ("CHANGE_CLUSTER_FIREWALL_RULES",))
    with running(simulation.organisation) as url:
        assert http_client.get(f"{url}/_emulator/planted").json()["incident"] == "firewall_burst"


def test_credentials_may_hold_any_character() -> None:
    """A key can contain a colon and letters beyond ASCII."""
    organisation = Organisation()
    with running(create_app(organisation, user_name="dé", api_key="a:b✓")) as url:
        path = f"{url}/v1/organisations/{organisation.id}/linked-accounts"
        assert http_client.get(path, auth=("dé", "a:b✓")).status_code == 200
        assert http_client.get(path, auth=(DEMO_USER, DEMO_KEY)).status_code == 401


def _post(world: World, path: str, body: object) -> httpx.Response:
    return http_client.post(f"{world.url}/_emulator{path}", json=body)


def test_stages_can_be_replaced_while_running() -> None:
    """A fault replaces one stage and keeps the others: first an outage, then a response without its list."""
    organisation = Organisation()
    app = create_app(organisation)
    emulator, whole = app.state.emulator, Stages()
    with running(app) as url, http_client.client(auth=(DEMO_USER, DEMO_KEY)) as client:
        path = f"{url}/v1/organisations/{organisation.id}/user-actions"
        emulator.stages = replace(whole, gate=lambda request: Response(status_code=503))
        assert client.get(path).status_code == 503
        emulator.stages = replace(whole, envelop=lambda *given: envelope(*given)[0])
        assert client.get(path).json()["totalResults"] == 0
        assert sum(count for (name, _), count in emulator.traffic.items() if name == "user_actions") == 2
