"""The command line, the API and the console give the same answer to the same question: they are skins over `queries/`."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from actionwatch.base.clock import utc_now
from actionwatch.base.model import Entity, Level, Status
from actionwatch.store import alerts, delivery_transitions, marks, polls, records, self_alerts
from actionwatch.store.database import Database
from actionwatch.web.parts import Destination
from tests.builders import (
    CLUSTER_DELETED_RULE,
    NOON,
    make_alert,
    make_delivery,
    make_marks,
    make_record,
    url_of,
)
from tests.integration.cli.conftest import call
from tests.integration.web.console_kit import Served
from tests.unit.rules.builders import rules_in

pytestmark = pytest.mark.usefixtures("unguarded")
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

    def linked(self, path: str) -> list[str]:
        """Return the ids that the items of a page link to, in its order."""
        noun = path.partition("?")[0]
        return re.findall(rf'href="{noun}/([^"?]+)" data-item', self.page(path))


@pytest.fixture
def asker(database: Database, tmp_path: Path) -> Iterator[Asker]:
    """A store with alerts of all levels and states, records, deliveries of which two are dead, and a self-alert."""
    states = (Status.OPEN, Status.ACKED, Status.RESOLVED)
    made = [
        make_alert(f"alert-{number}", opened_at=NOON.replace(minute=number), level=level, status=states[number % 3])
        for number, level in enumerate([*Level, *Level])
    ]
    rows = [make_delivery(each.id) for each in made]
    acted = [
        make_record(n, minutes=n, user_name=("eve", "bob")[n % 2], cluster=Entity(f"c-{n % 3}", f"orders-{n % 3}"))
        for n in range(7)
    ]
    trouble = self_alerts.OpenSelfAlert("proof_lagging", "acme", NOON, "no proof for 1h", "read the log", "alert-3")
    with database.write() as connection:
        records.insert_new(connection, acted)
        alerts.insert_new(connection, [(each, "g") for each in made])
        alerts.join(connection, [("alert-1", 1, NOON), ("alert-1", 2, NOON), ("alert-4", 2, NOON)])
        delivery_transitions.enqueue(connection, rows)
        for row in rows[:2]:
            delivery_transitions.bury(connection, row, "gave up after 8 attempts: 503")
        marks.write(connection, make_marks())
        polls.note(connection, "acme", NOON, None)
        self_alerts.insert(connection, trouble)
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "cluster_deleted.yml").write_text(CLUSTER_DELETED_RULE)
    config = tmp_path / "actionwatch.yaml"
    config.write_text(CONFIG.format(url=url_of(database)))
    options = {"clock": utc_now, "receivers": [Destination("hook", "webhook")]}
    served = Served(database, rules=rules_in(CLUSTER_DELETED_RULE).rules, options=options)
    with served.open() as client:
        yield Asker(config, client)


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
}
"""Each question to a command, and the same one to the API and the console."""


@pytest.mark.parametrize(("line", "query"), LISTS.items())
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


DETAILS = {"alerts show alert-1": "alerts/alert-1", "alerts show alert-9": "alerts/alert-9"}


@pytest.mark.parametrize(("line", "path"), DETAILS.items())
def test_one_item_has_the_same_facts(asker: Asker, line: str, path: str) -> None:
    """Everything that a command shows about an item is in the document of the API; the page has its name."""
    of_command, of_api = asker.command(line), asker.api(path)
    assert of_command == {name: of_api[name] for name in of_command}
    assert of_command.get("title", of_command["id"]) in asker.page(f"/{path}")


@pytest.mark.parametrize("noun", ["alerts"])
@pytest.mark.parametrize("name", ["gone", ""])
def test_a_wrong_name_is_refused_with_the_same_sentence(asker: Asker, noun: str, name: str) -> None:
    """An id or key that nothing has, and one that several begin with, are refused in the same words."""
    beginning = name or {"alerts": "alert-"}[noun]
    refused = call("-c", str(asker.config), noun, "show", beginning)
    of_api = asker.client.get(f"/api/v1/{noun}/{beginning}")
    of_console = asker.client.get(f"/{noun}/{beginning}")
    assert (refused.status, of_api.status_code, of_console.status_code) == (1, 404, 404)
    assert refused.err == f"actionwatch: {of_api.json()['detail']}\n"
    assert of_api.json()["detail"] in html.unescape(of_console.text)
