"""The pages for people: every link leads somewhere, and no page names a package that is not published."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

from actionwatch.alerts import silences
from actionwatch.base import files
from actionwatch.instaclustr import records, walk, wire
from actionwatch.net import http
from actionwatch.notifiers import apprise
from actionwatch.rules import cases
from actionwatch.rules.compile import MAX_VALUES
from actionwatch.rules.correlations import fold_cache
from actionwatch.store import sessions, wal_checkpoints
from actionwatch.tail import backoff, cursor
from actionwatch.text import options, sandbox, steps, yaml_document
from actionwatch.web import attempts, connections, filters, query, requests
from actionwatch.web.console import forms
from tests.cases import in_one_test

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
INIT = ROOT / "actionwatch" / "_init"
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings of a page, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@in_one_test("page", PAGES)
def test_links_lead_somewhere(page: Path) -> None:
    """Every link between pages names an existing file, and an existing heading in it."""
    for link in LINK.findall(CODE.sub("", page.read_text())):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_readme_leads_to_every_page() -> None:
    """The README has a link to every page of docs/."""
    linked = set(LINK.findall((ROOT / "README.md").read_text()))
    pages = {page.relative_to(ROOT).as_posix() for page in (ROOT / "docs").rglob("*.md")}
    assert pages <= {link.partition("#")[0] for link in linked}


@in_one_test("page", [*PAGES, *INIT.glob("*.service"), *INIT.glob("*.yaml")])
def test_no_page_installs_from_an_index(page: Path) -> None:
    """actionwatch is not published: pages say how to build and install the wheel."""
    assert not re.search(r"(pip|pipx|uv)\b.* install '?actionwatch\b(?!-)", page.read_text())


def test_limits_are_those_of_the_code() -> None:
    """docs/operations.md shows the values of the named limits."""
    text = (ROOT / "docs" / "operations.md").read_text()
    mebibyte = 1024 * 1024
    counts = (
        records.MAX_RECORD_CHARS,
        wire.MAX_PAGE_RECORDS,
        wire.MAX_PAGE_VALUES,
        walk.MAX_PAGES,
        cursor.MAX_WINDOW_RECORDS,
        yaml_document.MAX_NODES,
        MAX_VALUES,
        fold_cache.MOST,
        cases.MAX_EVENTS,
        steps.MAX_STEPS,
        steps.MAX_CHARS,
        sandbox.MAX_SOURCE_CHARS,
        sandbox.MAX_NODES,
    )
    for count in counts:
        assert re.search(rf"(?<![\d,]){count:,}(?!\d|,\d)", text), count
    for size in (http.MAX_BODY_BYTES, yaml_document.MAX_BYTES, files.MAX_PEM_BYTES, wal_checkpoints.LONGEST_LOG_BYTES):
        assert f" {size // mebibyte} MiB" in text, size
    assert f" {options.MAX_SECRET_BYTES // 1024} KiB" in text
    assert f"| {apprise.MAX_URLS} |" in text
    assert f"| {connections.MAX_CONNECTIONS} |" in text
    assert f"API | {requests.MAX_BODY_BYTES // 1024} KiB |" in text
    assert (
        f"| {attempts.MAX_ATTEMPTS} within a minute; in the form, also {attempts.MAX_HOURLY_ATTEMPTS} within an hour |"
        in text
    )
    assert f"| {attempts.MAX_ALL_ATTEMPTS} within a minute |" in text
    assert f"| {query.MAX_PARAMETERS}; {query.MAX_QUERY_BYTES // 1024} KiB; {query.MAX_PARAMETERS} |" in text
    assert f"sessions of one token | {sessions.MAX_SESSIONS:,} |" in text
    assert f"page of the API | {filters.MAX_LIMIT} |" in text
    assert f"| {silences.MAX_MATCHERS}, of {silences.MAX_MATCHER_CHARS:,} characters |" in text
    assert f"rows of a list of the console in one decision | {forms.MAX_AT_ONCE} |" in text
    assert f"upstream | {backoff.LONGEST_RETRY_AFTER // timedelta(hours=1)} hour |" in text
