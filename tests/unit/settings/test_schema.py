"""The JSON Schema of the configuration describes every key, and docs/configuration.md shows the same texts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from actionwatch.service import configuration
from tests import docs


def _properties(value: Any, place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every property of a schema and of the schemas in it."""
    if isinstance(value, list):
        for each in value:
            yield from _properties(each, place)
    elif isinstance(value, dict):
        for name, each in value.get("properties", {}).items():
            yield f"{place}.{name}", each
        for name, each in value.items():
            yield from _properties(each, f"{place}.{name}")


def test_every_key_has_a_description() -> None:
    """An editor shows help for every key, in one line and without links to pages that it does not have."""
    found = dict(_properties(configuration.config_schema()))
    assert len(found) > 100
    for place, each in found.items():
        assert each.get("description"), place
        assert "\n" not in each["description"], place
        assert not re.search(r"\]\(", each["description"]), place


def test_no_reference_hides_a_description() -> None:
    """Draft 7 ignores the other keys of an object with `$ref`, so a reference is alone."""
    for place, each in _properties(configuration.config_schema()):
        assert "$ref" not in each, place


def test_the_documentation_shows_the_keys() -> None:
    """docs/configuration.md matches the settings; `python -m tests.docs` generates it."""
    assert docs.CONFIGURATION_FILE.read_text() == docs.configuration_page()


def test_the_documentation_has_every_key() -> None:
    """docs/configuration.md has a row for every key, except those of sections with a chapter or an example."""
    page = docs.CONFIGURATION_FILE.read_text()
    for place, _ in _properties(configuration.config_schema()):
        key = place.rpartition(".")[2]
        assert re.search(rf"`(\w+\.)?{key}[`.]|\b{key}: ", page), place
