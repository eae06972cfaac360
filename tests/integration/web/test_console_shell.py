"""The frame of the console: headers, errors that look like pages, and no cost before the first request."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from markupsafe import escape

from actionwatch.base.errors import StoreError
from actionwatch.store.database import Database
from actionwatch.web.console import page as view
from tests.cases import in_one_test
from tests.children import run_child
from tests.integration.web.console_kit import Served, forms_in

TEMPLATES = Path(view.__file__).parent / "templates"
PROBE = """
import json, sys
from actionwatch.web.routes import api_routes, console_routes, health_routes
late = ("actionwatch.web.console.", "actionwatch.web.api.", "jinja2")
print(json.dumps(sorted(name for name in sys.modules if name.startswith(late))))
"""


def test_nothing_is_imported_before_the_first_request() -> None:
    """A service at whose console nobody looks, and whose API nobody asks, imports neither."""
    ran = run_child([sys.executable, "-c", PROBE])
    assert json.loads(ran.stdout) == [], ran.stderr


def test_pages_stay_on_their_origin(database: Database) -> None:
    """Every answer of the console has the strict policy; no page has an inline script or style, and pages are not cached."""
    with Served(database).open() as client:
        page = client.get("/")
        found = [page, client.get("/unknown"), client.post("/"), *(client.get(path) for path in static_of(page))]
    for answer in found:
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:;")
        assert "'unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
    assert [answer.headers["cache-control"] for answer in found[:3]] == ["no-store"] * 3
    assert all("immutable" in answer.headers["cache-control"] for answer in found[3:])
    assert len(found) == 6
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:|https?://(?!www\.w3\.org/2000/svg)", page.text)
    assert not re.search(r"<script(?! src=\"/static/)", page.text)


def static_of(page: httpx.Response) -> list[str]:
    """Return the static files that a page names."""
    return re.findall(r"(?:href|src)=\"(/static/[^\"]+)\"", page.text)


def test_errors_look_like_pages(database: Database) -> None:
    """An unknown path, another method and a store that fails are pages with a sentence about what happened."""
    served = Served(database)
    with served.open() as client:
        missing = client.get("/unknown")
        assert (missing.status_code, "<h1>Not found</h1>" in missing.text) == (404, True)
        assert client.get("/static/../page.py").status_code == 404
        assert client.get("/static/page.py").status_code == 404
        assert client.post("/").status_code == 405

        def fail() -> list[str]:
            raise StoreError("the store is damaged: restore a backup")

        served.options["unready"] = fail
    with served.open() as client:
        failed = client.get("/")
    assert (failed.status_code, "the store is damaged: restore a backup" in failed.text) == (503, True)


def test_a_failing_page_says_no_more_than_that(database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    """An error that nobody expected is a page without details, and the log has the cause."""
    served = Served(database)
    served.options["unready"] = lambda: [][0]
    with served.open() as client:
        failed = client.get("/")
    assert failed.status_code == 500
    assert "page_failed" in failed.text
    assert "IndexError" not in failed.text
    assert "IndexError" in "".join(capsys.readouterr())


@in_one_test("path", ["records?kind", "records?user", "records?text", "alerts?text"])
def test_a_field_has_what_was_typed(database: Database, path: str) -> None:
    """A form that is sent again unchanged asks for the same, also with invisible characters."""
    typed, name = '/e\u202eve\x1b\u200b&<b>"', path.partition("?")[2]
    with Served(database).open() as client:
        page = client.get(f"/{path}={quote(typed)}").text
    assert [form[name] for form in forms_in(page) if name in form] == [typed]


@in_one_test("name", ["rule", "account"])
def test_a_search_keeps_the_filters_that_are_set(database: Database, name: str) -> None:
    """Filters that are chips go with the search, with invisible characters too."""
    typed = '/e\u202eve\x1b\u200b&<b>"'
    with Served(database).open() as client:
        page = client.get(f"/alerts?{name}={quote(typed)}").text
    assert f'<input type="hidden" name="{name}" value="{escape(typed)}">' in page


def test_each_field_of_each_template_is_as_written() -> None:
    """No template escapes a text visibly that a form sends back; our own ids and words have nothing to escape."""
    fields = re.compile(r'value="\{\{ (.+?) \}\}"|\{\{ (.+?) \}\}</textarea>')
    found = ["".join(pair) for each in TEMPLATES.glob("*.html") for pair in fields.findall(each.read_text("utf-8"))]
    assert {text for text in found if not text.endswith("| as_written")} == {"form_token", "id", "word"}
