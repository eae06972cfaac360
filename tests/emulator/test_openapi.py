"""The emulator compared with its own OpenAPI document, with generated requests."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import given
from schemathesis.specs.openapi.checks import positive_data_acceptance

from actionwatch.emulator.app import DEMO_KEY, DEMO_USER
from actionwatch.emulator.server import running
from actionwatch.emulator.state import Organisation
from tests.examples import examples

# A name in use is a 400 despite a valid schema.
MAY_BE_TAKEN = [positive_data_acceptance]
EXAMPLES = 20  # an operation and mode; boundaries are tested by hand
OPERATIONS = [
    ("/v1/organisations/{organisationId}/user-actions", "GET"),
    ("/v1/organisations/{organisationId}/linked-accounts", "GET"),
    ("/v1/organisations/{organisationId}/linked-accounts", "POST"),
    ("/v1/organisations/{organisationId}/linked-accounts/{accountId}", "DELETE"),
]


@pytest.fixture
def api() -> Iterator[Any]:
    """Read the document from a running server."""
    organisation = Organisation()
    organisation.inventory.add_account("payments")
    organisation.append("BACKUP", times=20)
    config = schemathesis.Config.from_dict({"generation": {"with-security-parameters": False}})  # keys: tested by hand
    with running(organisation) as url:
        yield schemathesis.openapi.from_url(f"{url}/openapi.json", config=config)


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_response_is_documented(api: Any, path: str, method: str, mode: schemathesis.GenerationMode) -> None:
    """No generated request, valid or not, causes a 5xx, an undocumented status or a body outside its schema."""

    @examples(EXAMPLES)
    @given(case=api[path][method].as_strategy(generation_mode=mode))
    def check(case: Any) -> None:
        case.call_and_validate(auth=(DEMO_USER, DEMO_KEY), excluded_checks=MAY_BE_TAKEN if method == "POST" else [])

    check()


def test_document_lists_the_four_operations(api: Any) -> None:
    """The document describes the emulated operations, and nothing of the control API."""
    assert sorted((one.ok().path, one.ok().method.upper()) for one in api.get_all_operations()) == sorted(OPERATIONS)
