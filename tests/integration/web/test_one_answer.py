"""The command line, the API and the console give the same answer to the same question: they are skins over `queries/`."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec import structs

from actionwatch.base.clock import to_micros, utc_now
from actionwatch.base.model import Entity, Level, Silence, Status
from actionwatch.queries.rules import RuleItem
from actionwatch.store import alerts, delivery_transitions, marks, polls, records, self_alerts, silences
from actionwatch.store.database import Database
from actionwatch.web.parts import Destination
from tests.builders import (
    CLUSTER_DELETED_RULE,
    NOON,
    RULE,
    make_alert,
    make_delivery,
    make_marks,
    make_record,
    url_of,
)
from tests.cases import in_one_test
from tests.fixtures import logs_left_alone
from tests.integration.cli.conftest import call
from tests.integration.web.console_kit import Served
from tests.unit.rules.builders import rules_in

__all__ = ["logs_left_alone"]

pytestmark = pytest.mark.usefixtures("unguarded")
USER_DELETED_RULE = (
    CLUSTER_DELETED_RULE.replace("Cluster", "User").replace("cluster_deleted", "user_deleted").replace("1111", "2222")
)
CONFIG = """\
sources: [{{name: acme, organisation_id: x, username: x, api_key: some-key, base_url: "https://127.0.0.1:9"}}]
receivers: [{{name: hook, webhook: {{url: "https://127.0.0.1:9/"}}}}]
rules: [rules]
store: {{url: "{url}"}}
"""


@dataclass
class Asker:
    """Asks the three of them, about one store."""

    config: Path
    client: httpx.Client

    def command(self, line: str) -> Any:
        """Return what a command prints as JSON. It may exit with 1, as `status` does while there are troubles."""
        return json.loads(call("-c", str(self.config), *line.split(), "-o", "json").out)

    def api(self, path: str) -> Any:
        """Return the document of the API."""
        return self.client.get(f"/api/v1/{path}").raise_for_status().json()

    def page(self, path: str) -> str:
        """Return the text of a page."""
        return html.unescape(self.client.get(path).raise_for_status().text)

    def linked(self, path: str, noun: str = "") -> list[str]:
        """Return the ids that the items of a page link to, in its order. They are those of a noun, or else of the path."""
        noun = noun or path.partition("?")[0].strip("/")
        return re.findall(rf'href="/{noun}/([^"?]+)"[^>]* data-item', self.page(path))


@pytest.fixture
def asker(database: Database, tmp_path: Path) -> Iterator[Asker]:
    """A store with alerts of all levels and states, records, deliveries of which two are dead, and a self-alert."""
    states = (Status.OPEN, Status.ACKED, Status.RESOLVED)
    changed: dict[int, dict[str, Any]] = {
        0: {"source": "other"},
        3: {"assigned_to": "kim"},
        6: {"title": "A 100% test"},
    }
    made = [
        make_alert(
            f"alert-{number}",
            opened_at=NOON.replace(minute=number),
            level=level,
            status=states[number % 3],
            **changed.get(number, {}),
        )
        for number, level in enumerate([*Level, *Level])
    ]
    made.append(
        make_alert("alert-10", opened_at=NOON.replace(minute=10), level=Level.MEDIUM, labels={"mode": "shadow"})
    )
    rows = [make_delivery(each.id) for each in made]
    acted = [
        make_record(n, minutes=n, user_name=("eve", "bob")[n % 2], cluster=Entity(f"c-{n % 3}", f"orders-{n % 3}"))
        for n in range(7)
    ]
    acted[0] = structs.replace(acted[0], account=Entity("a-1", "retail"))
    acted[2] = structs.replace(acted[2], description="deleted 100% by hand")
    acted[5] = structs.replace(acted[5], action_kind="CREATE_CLUSTER")
    trouble = self_alerts.OpenSelfAlert("proof_lagging", "acme", NOON, "no proof for 1h", "read the log", "alert-3")
    with database.write() as connection:
        records.insert_new(connection, acted)
        alerts.insert_new(connection, [(each, "g") for each in made])
        joined = {"alert-1": (1, 2), "alert-3": (1,), "alert-4": (2,), "alert-6": (2,)}
        alerts.join(connection, [(name, number, NOON) for name, numbers in joined.items() for number in numbers])
        delivery_transitions.enqueue(connection, rows)
        for row in rows[:2]:
            delivery_transitions.bury(connection, row, "gave up after 8 attempts: 503")
        marks.write(connection, make_marks())
        polls.note_poll(connection, "acme", NOON, None)
        self_alerts.insert(connection, trouble)
        for number, hours in enumerate((-3, -2, 2, 1, 3)):
            ends_at = utc_now() + timedelta(hours=hours)
            starts_at = ends_at - timedelta(hours=2.5)
            its = (("rule=cluster_deleted",), "sam", f"test {number}", starts_at, ends_at)
            silences.write(connection, Silence(f"00000000-0000-4000-8000-{number:012}", *its))
    (tmp_path / "rules").mkdir()
    rules = {"cluster_deleted": CLUSTER_DELETED_RULE, "user_deleted": USER_DELETED_RULE}
    for name, rule in rules.items():
        (tmp_path / "rules" / f"{name}.yml").write_text(rule)
    config = tmp_path / "actionwatch.yaml"
    config.write_text(CONFIG.format(url=url_of(database)))
    options = {"clock": utc_now, "receivers": [Destination("hook", "webhook")]}
    served = Served(database, rules=rules_in("---\n".join(rules.values())).rules, options=options)
    with served.open() as client:
        yield Asker(config, client)


def written(level: str) -> str:
    """Return a place in the list of open alerts, with any text as the level."""
    return base64.urlsafe_b64encode(f"{level},{to_micros(NOON)},high".encode()).decode()


LISTS = {
    "alerts list": "alerts",
    "alerts list --limit 3": "alerts?limit=3",
    "alerts list --level high --level critical": "alerts?level=high&level=critical",
    "alerts list --status open --level low": "alerts?status=open&level=low",
    "alerts list --status acked --status resolved": "alerts?status=acked&status=resolved",
    "alerts list --user eve": "alerts?user=eve",
    "alerts list --user bob --cluster orders-1": "alerts?user=bob&cluster=orders-1",
    "alerts list --user nobody": "alerts?user=nobody",
    "alerts list --since 2026-11-25T12:04:00Z": "alerts?since=2026-11-25T12:04:00Z",
    "records list": "records",
    "records list --limit 3": "records?limit=3",
    "records list --user eve": "records?user=eve",
    "records list --cluster orders-1 --kind DELETE_CLUSTER": "records?cluster=orders-1&kind=DELETE_CLUSTER",
    "records list --since 2026-11-25T12:01:00Z --until 2026-11-25T12:03:00Z": (
        "records?since=2026-11-25T12:01:00Z&until=2026-11-25T12:03:00Z"
    ),
    "records list --keyword nothing": "records?text=nothing",
    "records list --text EVE": "records?text=EVE",
    "records list --text c-1 --user bob": "records?text=c-1&user=bob",
}
"""Each question to a command, and the same one to the API and the console."""


@in_one_test(("line", "query"), LISTS.items())
def test_a_list_has_the_same_items_in_the_same_order(asker: Asker, line: str, query: str) -> None:
    """All three list the same ids. What a command says about an item, the API says too."""
    of_command, of_api = asker.command(line), asker.api(query)
    name = "key" if query.startswith("records") else "id"
    ids = [each[name] for each in of_api["items"]]
    assert [each[name] for each in of_command] == ids
    if "limit" not in query:
        assert asker.linked(f"/{query}") == ids
        assert of_api["next"] is None
    for mine, other in zip(of_command, of_api["items"], strict=True):
        assert {key: other[key] for key in mine.keys() & other.keys()} == {
            key: mine[key] for key in mine.keys() & other.keys()
        }


OPEN_WORST_FIRST = [9, 3, 6, 0]
FILTERS: dict[str, list[int]] = {
    "alerts": OPEN_WORST_FIRST,
    "alerts?status=resolved": [8, 5, 2],
    "alerts?source=other": [0],
    "alerts?assigned=kim": [3],
    "alerts?unassigned=true": [9, 6, 0],
    "alerts?level=low": [6],
    "alerts?level=low&level=high&status=open&status=acked": [6, 3, 1],
    "alerts?user=EVE": [3],
    "alerts?user=EVE&status=any": [3, 1],
    "alerts?cluster=orders-1": [6],
    "alerts?account=a-1": [3],
    "alerts?text=100%25": [6],
    "alerts?text=CLUSTER_del": OPEN_WORST_FIRST,
    "alerts?rule=other": [],
    f"alerts?rule={RULE.id}": OPEN_WORST_FIRST,
    "alerts?since=2026-11-25T12:04Z": [9, 6],
    "alerts?since=2026-11-25T13:03:00%2B01:00&until=2026-11-25T12:06": [3, 6],
    "records?user=EVE": [6, 4, 2, 0],
    "records?user=nobody": [],
    "records?cluster=orders-1": [4, 1],
    "records?account=a-1": [0],
    "records?kind=create+cluster": [5],
    "records?text=100%25": [2],
    "records?text=EVE+orders-1": [4],
    "records?text=C-2+hand": [2],
    "records?text=retail+delete": [0],
    "records?text='+%22+%25+_+%5C": [],
    "records?since=2026-11-25T12:05Z": [6, 5],
    "records?until=2026-11-25T12:01Z": [1, 0],
}
"""The numbers of the alerts or records that a filter selects, in the order of the list."""


@in_one_test(("query", "numbers"), FILTERS.items())
def test_each_filter_selects(asker: Asker, query: str, numbers: list[int]) -> None:
    """The API and the console list exactly what the filter selects, in one order."""
    is_of_alerts = query.startswith("alerts")
    names = [f"alert-{n}" if is_of_alerts else make_record(n, minutes=n).key for n in numbers]
    assert [each["id" if is_of_alerts else "key"] for each in asker.api(query)["items"]] == names
    assert asker.linked(f"/{query}") == names


def test_what_a_shadow_rule_records_needs_no_person(asker: Asker) -> None:
    """It is in the lists of all, and of all that are open, and not in the list of what needs a person."""
    for query, is_there in {"": False, "?status=open": True, "?status=any": True}.items():
        assert ("alert-10" in asker.linked(f"/alerts{query}")) is is_there
        assert ("alert-10" in [each["id"] for each in asker.api(f"alerts{query}")["items"]]) is is_there


NO_PLACE = "not a position in this list"
WRONG_FILTERS = {
    "alerts?level=dire": "level: dire is unknown: use informational, low, medium, high, critical",
    "alerts?since=yesterday": "since: yesterday is not a time: use 7d (before now) or 2026-11-25T09:00Z",
    "alerts?since=9999-12-31T23:59:59-23:00": "is not a time",
    "alerts?until=1000000000d": "is not a time",
    f"alerts?user={'x' * 501}": "user: 501 characters: shorten it to 500",
    "alerts?after=x": NO_PLACE,
    "alerts?after=eHh4": NO_PLACE,
    "alerts?after=MCwlMDA=": NO_PLACE,  # an id with a NUL
    **{f"alerts?after={written(level)}": NO_PLACE for level in ("x", "99", "-1", "", "4.0", "9" * 40)},
    "records?since=soon": "since: soon is not a time",
    "records?text=a+b+c+d+e+f+g+h+i+j+k": "at most 10 words",
    "records?user=%00": "NUL",
    "deliveries?state=sent": "state: sent is unknown: use waiting, held, dead",
}


@in_one_test(("query", "problem"), WRONG_FILTERS.items())
def test_a_wrong_filter_is_refused_with_the_same_sentence(asker: Asker, query: str, problem: str) -> None:
    """It is named with what is accepted, and nothing is listed."""
    refused = asker.client.get(f"/api/v1/{query.replace('after=', 'cursor=')}")
    assert (refused.status_code, problem in refused.json()["detail"]) == (400, True), refused.text
    page = asker.client.get(f"/{query}")
    assert (page.status_code, problem in html.unescape(page.text)) == (400, True), page.text
    assert "Cluster deleted" not in page.text


def test_dead_letters_are_the_same(asker: Asker) -> None:
    """All three have the same dead letters; commands list them by their age, as all deliveries, the others by receiver."""
    of_command = asker.command("deliveries list --dead --receiver hook")
    of_api = asker.api("deliveries?state=dead&receiver=hook")["items"]
    assert {each["id"]: each for each in of_command} == {each["id"]: each for each in of_api}
    assert asker.linked("/deliveries?state=dead&receiver=hook", "alerts") == [each["alert"] for each in of_api]


def test_silences_have_the_same_order(asker: Asker) -> None:
    """All three list them by their ends, the last one first; the API and the console list the expired ones separately."""
    current, expired = asker.api("silences")["items"], asker.api("silences?state=expired")["items"]
    assert [len(current), len(expired)] == [3, 2]
    assert asker.command("silences list") == current
    assert asker.command("silences list --all") == [*current, *expired]
    shown = re.findall(r"<td>(test \d)", asker.page("/silences"))
    active = [each for each in current if each["status"] == "active"]
    future = [each for each in current if each["status"] == "pending"]
    assert shown == [each["comment"] for each in (*active, *future, *expired)]


def test_rules_have_the_same_facts(asker: Asker) -> None:
    """All three list the same rules. A command reads their files, and the service has read them before."""
    of_command, of_api = asker.command("rules list"), asker.api("rules")["items"]
    names = RuleItem.__annotations__.keys() - {"correlation", "file", "line"}
    assert [{name: each[name] for name in names} for each in of_command] == [
        {name: each[name] for name in names} for each in of_api
    ]
    assert asker.linked("/rules") == [each["id"] for each in of_command]


def test_the_state_is_the_same(asker: Asker) -> None:
    """Sources, queues and troubles are the same. The page has the verdict.

    A command also reports that no service runs: by that, a source is silent.
    """
    of_command, of_api, page = asker.command("status"), asker.api("status"), asker.page("/")
    for noun in ("sources", "receivers", "troubles"):
        mine = [each for each in of_command[noun] if each.get("trouble") != "service_stopped"]
        assert {each.pop("state", "silent") for each in mine} == {"silent"}
        assert mine == [{name: each[name] for name in mine[0]} for each in of_api[noun]]
        assert mine
    assert of_api["receivers"][0]["dead"] == 2
    assert sum(of_api["open_alerts"].values()) == len(asker.command("alerts list"))
    assert of_api["seeing"] in page
    assert of_api["needs"] in page
    (queue,) = asker.command("receivers list")
    assert queue.items() >= {(name, of_api["receivers"][0][name]) for name in ("name", "type", "pending", "dead")}


DETAILS = {
    "alerts show alert-1": "alerts/alert-1",
    "alerts show alert-9": "alerts/alert-9",
    "deliveries show DEAD": "deliveries/DEAD",
    "deliveries show WAITING": "deliveries/WAITING",
}


@pytest.mark.parametrize(("line", "path"), DETAILS.items())
def test_one_item_has_the_same_facts(asker: Asker, line: str, path: str) -> None:
    """Everything that a command shows about an item is in the document of the API; the page has its name."""
    for word, number in {"DEAD": 0, "WAITING": 5}.items():
        line, path = (each.replace(word, make_delivery(f"alert-{number}").id) for each in (line, path))
    of_command, of_api = asker.command(line), asker.api(path)
    assert of_command == {name: of_api[name] for name in of_command}
    if path.startswith("alerts"):
        assert of_command["title"] in asker.page(f"/{path}")


WRONG = {
    "alerts show gone": "alerts/gone",
    "alerts show alert-": "alerts/alert-",
    "records list --around gone 1h": "records/gone",
    "records list --around 0 1h": "records/0",
    "deliveries show gone": "deliveries/gone",
    "silences expire gone": "silences/gone",
    "silences expire 00000000": "silences/00000000",
}


@pytest.mark.parametrize(("line", "path"), WRONG.items())
def test_a_wrong_name_is_refused_with_the_same_sentence(asker: Asker, line: str, path: str) -> None:
    """An id or key that nothing has, and one that several begin with, are refused in the same words."""
    refused, of_api = call("-c", str(asker.config), *line.split()), asker.client.get(f"/api/v1/{path}")
    assert (refused.status, of_api.status_code) == (1, 404)
    assert refused.err == f"actionwatch: {of_api.json()['detail']}\n"
    if path.startswith(("alerts", "records")):
        of_console = asker.client.get(f"/{path}")
        assert of_console.status_code == 404
        assert of_api.json()["detail"] in html.unescape(of_console.text)
