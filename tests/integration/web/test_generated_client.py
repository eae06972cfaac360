"""A Python client that a generator makes of our OpenAPI document works with a running listener, with typed results."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from actionwatch.store import alerts, records, silences
from actionwatch.store.database import Database
from actionwatch.text.payloads import instant
from actionwatch.web.api.app import Api
from tests.builders import CLUSTER_DELETED_RULE, NOON, make_alert, make_record
from tests.children import run_child
from tests.integration.web.console_kit import Served, give_token
from tests.unit.rules.builders import rules_in

NAME = "generated_actionwatch_client"
ENDS_AT = instant(NOON + timedelta(hours=1))


class Generated:
    """The modules of the generated package. Each call makes a client, and closes its connection."""

    def __init__(self, url: str, secret: str) -> None:
        self._operations = _modules(f"{NAME}.api")
        self.models = importlib.import_module(f"{NAME}.models")
        self._made = importlib.import_module(NAME).AuthenticatedClient
        self._given = {"base_url": f"{url}/api/v1", "token": secret, "raise_on_unexpected_status": True}

    def call(self, name: str, *arguments: Any, **given: Any) -> Any:
        """Call an operation by its id. Return what the client made of the answer."""
        with self._made(**self._given) as client:
            return self._operations[name].sync(*arguments, client=client, **given)

    def model(self, name: str, **values: Any) -> Any:
        """Make the body of a request."""
        return getattr(self.models, name).from_dict(values)


def _modules(name: str) -> dict[str, ModuleType]:
    """Return the modules of the operations, by the last part of their names."""
    folder = Path(str(importlib.import_module(name).__file__)).parent
    paths = [path.relative_to(folder).with_suffix("") for path in folder.rglob("*.py") if path.stem != "__init__"]
    return {path.name: importlib.import_module(".".join((name, *path.parts))) for path in paths}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Generate the package of the document, and let it be imported."""
    folder = tmp_path_factory.mktemp("client")
    document, config = folder / "openapi.json", folder / "config.yaml"
    document.write_text(json.dumps(Api().openapi()))
    config.write_text("post_hooks: []\n")  # by default it formats the code
    ran = run_child(
        [
            *(sys.executable, "-m", "openapi_python_client", "generate", "--path", document, "--config", config),
            *("--meta", "none", "--fail-on-warning", "--output-path", folder / NAME),
        ]
    )
    assert ran.returncode == 0, f"{ran.stdout}{ran.stderr}"
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
    for name in [each for each in sys.modules if each.partition(".")[0] == NAME]:
        del sys.modules[name]


@pytest.fixture
def client(database: Database, package: Path) -> Iterator[Generated]:
    """A client with the token of an operator, of a listener with three alerts and a rule."""
    assert package
    with database.write() as connection:
        records.insert_new(connection, [make_record()])
        alerts.insert_new(connection, [(make_alert(f"alert-{number}"), str(number)) for number in range(3)])
        alerts.join(connection, [("alert-0", 1, NOON)])
    served = Served(database, open_to=None, rules=rules_in(CLUSTER_DELETED_RULE).rules)
    with served.open() as found:
        yield Generated(str(found.base_url).rstrip("/"), give_token(database))


def test_a_generated_client_reads(client: Generated) -> None:
    """Lists, one alert, rules and one rule have the types and the values of the document."""
    page = client.call("list_alerts", limit=2)
    assert type(page) is client.models.AlertPage
    assert {type(each) for each in page.items} == {client.models.ListedItem}
    assert len(page.items) == 2
    rest = client.call("list_alerts", limit=2, cursor=page.next_)
    assert (len(rest.items), rest.next_) == (1, None)
    one = client.call("get_alert", "alert-0")
    assert type(one) is client.models.AlertDetail
    assert [each.user_name for each in one.records] == [make_record().user_name]
    rules = client.call("list_rules")
    (rule,) = rules.items
    assert (type(rules), rule.name, rules.next_) == (client.models.RulePage, "cluster_deleted", None)
    assert client.call("get_rule", rule.id).title == rule.title
    missing = client.call("get_rule", "gone")
    assert (type(missing), missing.status) == (client.models.ProblemDocument, 404)


def test_a_generated_client_decides(client: Generated, database: Database) -> None:
    """It acknowledges, reopens, assigns, annotates, decides about several, and previews a silence, which makes none."""
    decision = client.model("DecisionBody", comment="on it")
    acked = client.call("acknowledge_alert", "alert-0", body=decision)
    assert (type(acked), acked.status, acked.acked_by) == (client.models.AlertItem, "acked", "sam")
    assert client.call("reopen_alert", "alert-0", body=decision).status == "open"
    assigned = client.call("assign_alert", "alert-0", body=client.model("AssignBody", to="kim"))
    assert assigned.assigned_to == "kim"
    assert client.call("note_alert", "alert-0", body=client.model("NoteBody", comment="asked kim")).note == "asked kim"
    several = client.model("DecisionsBody", action="resolve", ids=["alert-1", "alert-2", "gone"])
    decided = client.call("decide_alerts", body=several)
    assert [(each.id, each.status) for each in decided.items] == [("alert-1", "resolved"), ("alert-2", "resolved")]
    assert [each.id for each in decided.missed] == ["gone"]
    silence = client.model("SilenceBody", matchers=["rule=cluster_deleted"], comment="ask sam", ends_at=ENDS_AT)
    draft = client.call("preview_silence", body=silence)
    assert (draft.alert_count, draft.hidden.to_dict(), draft.is_cut) == (3, {"cluster_deleted": 3}, False)
    with database.read() as connection:
        assert silences.read_all(connection) == []
