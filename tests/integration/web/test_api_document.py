"""The API compared with its own OpenAPI document, with generated requests to a running listener."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

from actionwatch.base.access import AccessRole
from actionwatch.store import alerts, delivery_transitions, records
from actionwatch.store.database import Database
from actionwatch.web.api.app import Api
from tests.builders import CLUSTER_DELETED_RULE, NOON, make_alert, make_delivery, make_record
from tests.examples import examples
from tests.integration.web.console_kit import Served, give_token
from tests.unit.rules.builders import rules_in

EXAMPLES = 5  # an operation and mode; what the types cannot say is tested by hand
# A text may be no time, no matcher, no UUID, and name nothing, although the schema accepts it. Tokens are tested by hand.
UNSAID = [positive_data_acceptance, ignored_auth]
DOCUMENT = Api().openapi()
OPERATIONS = [(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods]


def has_values(path: str, method: str) -> bool:
    """Return whether an operation has values besides those of the path, of which none is against the schema."""
    one = DOCUMENT["paths"][path][method]
    return "requestBody" in one or any(each["in"] == "query" for each in one.get("parameters", ()))


CASES = [
    pytest.param(path, method, mode, id=f"{DOCUMENT['paths'][path][method]['operationId']}-{mode.value}")
    for path, method in OPERATIONS
    for mode in GenerationMode
    if mode is GenerationMode.POSITIVE or has_values(path, method)
]


@pytest.fixture
def served(database: Database) -> Served:
    """A store with something of everything."""
    with database.write() as connection:
        records.insert_new(connection, [make_record(number, minutes=number) for number in range(3)])
        alerts.insert_new(connection, [(make_alert(f"alert-{number}"), "g") for number in range(3)])
        alerts.join(connection, [("alert-0", 1, NOON)])
        delivery_transitions.enqueue(connection, [make_delivery("alert-0")])
    return Served(database, open_to=None, rules=rules_in(CLUSTER_DELETED_RULE).rules)


@pytest.fixture
def client(served: Served) -> Iterator[httpx.Client]:
    """Serve the API."""
    with served.open() as found:
        yield found


@pytest.mark.parametrize(("path", "method", "mode"), CASES)
def test_every_response_is_documented(
    client: httpx.Client, database: Database, path: str, method: str, mode: GenerationMode
) -> None:
    """No generated request, valid or not, causes a 5xx, an undocumented status or a body outside its schema."""
    headers = {"authorization": f"Bearer {give_token(database)}"}
    config = schemathesis.Config.from_dict({"generation": {"with-security-parameters": False}})
    api = schemathesis.openapi.from_dict(DOCUMENT, config=config)

    @settings(examples(EXAMPLES), suppress_health_check=list(HealthCheck))
    @given(case=api[path][method].as_strategy(generation_mode=mode))
    def check(case: Any) -> None:
        case.call_and_validate(f"{client.base_url}/api/v1", headers=headers, excluded_checks=UNSAID)

    check()


def test_the_document_says_what_an_operation_needs(client: httpx.Client, database: Database) -> None:
    """The document needs a token like everything else. Each operation names its errors, its token and its own answer."""
    assert client.get("/api/v1/openapi.json").status_code == 401
    secret = give_token(database, role=AccessRole.READER)
    document = client.get("/api/v1/openapi.json", headers={"authorization": f"Bearer {secret}"}).json()
    assert document == DOCUMENT
    assert (document["openapi"], document["servers"]) == ("3.1.0", [{"url": "/api/v1"}])
    for path, method in OPERATIONS:
        one = document["paths"][path][method]
        assert one["security"] == [{"token": []}]
        assert one["summary"].endswith(".")
        errors = {status: found["content"] for status, found in one["responses"].items() if status >= "400"}
        assert {"400", "401", "403", "429", "500", "503"} <= errors.keys()
        assert "422" not in errors
        assert {tuple(each) for each in errors.values()} == {("application/problem+json",)}


def test_the_page_has_every_operation() -> None:
    """docs/console.md lists exactly the operations."""
    page = (Path(__file__).parents[3] / "docs" / "console.md").read_text()
    rows = page.split("| operation | does |", 1)[1].split("\n\n", 1)[0]
    assert set(re.findall(r"`([A-Z]+) (/[^`?]*)`", rows)) == {(method.upper(), path) for path, method in OPERATIONS}
