"""The page of sources, and the overview of many sources."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

import httpx
import pytest

from actionwatch.base.model import Stretch
from actionwatch.base.source_labels import use_labels
from actionwatch.queries import PAGE_SIZE
from actionwatch.queries.source_health import MANY
from actionwatch.store import marks, polls, self_alerts
from actionwatch.store.database import Database
from tests.builders import NOON, make_marks
from tests.cases import in_one_test
from tests.integration.web.console_kit import Served
from tests.statements import statements

HOUR = timedelta(hours=1)
COUNT = 130
NAMES = [f"org-{number:03}" for number in range(COUNT)]
REFUSED, SILENT, NEVER = "org-077", "org-050", "org-129"


@pytest.fixture
def served(database: Database) -> Iterator[Served]:
    """A console with many sources, three of which need attention."""
    with database.write() as connection:
        for name in NAMES:
            if name != NEVER:
                marks.write(connection, make_marks(name=name, begins_at=NOON - 9 * HOUR))
                polls.note_poll(connection, name, NOON, None)
        for _ in range(3):
            polls.note_poll(connection, SILENT, NOON, "503 <b>")
        self_alerts.insert(connection, self_alerts.OpenSelfAlert("key_refused", REFUSED, NOON, "401", "a new key", "x"))
    made = Served(database, sources=NAMES)
    made.stretches = [Stretch(name, NOON - 9 * HOUR, NOON, is_proved=True) for name in NAMES]
    use_labels({name: {"customer": f"c {number % 10}", "tier": "gold"} for number, name in enumerate(NAMES)})
    yield made
    use_labels({})


def listed(answer: httpx.Response) -> list[str]:
    """Return the names of the sources in the table of a page."""
    assert answer.status_code == 200
    return re.findall(r'href="/alerts\?source=([^"]+)"', answer.text)


def every_page(client: httpx.Client, path: str) -> list[str]:
    """Return the names of the sources on all pages of a list."""
    found, target = list[str](), path
    while target:
        answer = client.get(target)
        found += listed(answer)
        following = re.search(r'href="([^"]+)" rel="next"', answer.text)
        target = following[1].replace("&amp;", "&") if following else ""
    return found


@in_one_test("sort", ["worst", "name", "lag", "records"])
def test_pages_have_every_source_once(served: Served, sort: str) -> None:
    """However the page is sorted, following its links shows each source once."""
    with served.open() as client:
        assert len(listed(client.get("/sources", params={"sort": sort}))) == PAGE_SIZE
        assert sorted(every_page(client, f"/sources?sort={sort}")) == NAMES


@in_one_test(
    "query, expected",
    [
        ("", [REFUSED, SILENT, NEVER, *[each for each in NAMES if each not in (REFUSED, SILENT, NEVER)]]),
        ("sort=name", NAMES),
        ("text=ORG-07&sort=name", [f"org-07{digit}" for digit in range(10)]),
        ("text=ORG-07", [REFUSED, *[f"org-07{digit}" for digit in range(10) if digit != 7]]),
        ("state=silent", [SILENT, NEVER]),
        ("label=customer%3D%22c+7%22&text=-07", [REFUSED]),
        ("label=customer%3D%22c+7%22&label=tier!%3Dgold", []),
        ("label=source%3D~org-00.&label=tier%3Dgold&sort=name", NAMES[:10]),
    ],
)
def test_search_is_in_the_query(served: Served, query: str, expected: list[str]) -> None:
    """A link has the whole search: words of the name, matchers of labels, a state and an order. Worst first is the default."""
    with served.open() as client:
        assert every_page(client, f"/sources?{query}") == expected


def test_a_row_has_the_state_the_proof_and_the_labels(served: Served) -> None:
    """A row says what is wrong, draws the proof, and has labels that narrow the list."""
    with served.open() as client:
        text = client.get("/sources", params={"text": "05", "sort": "name"}).text
        assert "3 polls in a row failed: 503 &lt;b&gt;" in text
        assert "org-051 over the day: 100 % of the time that was read is proved" in text
        assert "customer=c 1</a>" in text
        target = re.search(r'href="([^"]+)">customer=c 1</a>', text)
        assert target
        assert listed(client.get(target[1].replace("&amp;", "&"))) == ["org-051"]
        assert "Nothing was read yet." in client.get("/sources", params={"text": NEVER}).text


def test_mistakes_are_explained(served: Served) -> None:
    """A filter that is not valid lists nothing, and says why."""
    with served.open() as client:
        for query in ("label=customer", "state=fine", "sort=size", "after=x", "text=a+b+c+d+e+f+g+h+i+j+k"):
            answer = client.get(f"/sources?{query}")
            assert answer.status_code == 400, query
            assert 'role="alert"' in answer.text
            assert "/alerts?source=" not in answer.text


def test_the_page_asks_the_store_as_often_for_many_sources(served: Served) -> None:
    """One reading serves all sources of a page: the number of statements does not grow with them."""
    counts = []
    with served.open() as client:
        client.get("/sources")
        for query in ("text=org-001", "", "sort=name"):
            with statements() as asked:
                assert listed(client.get(f"/sources?{query}"))
            counts.append(len(asked))
    assert counts[0] > 0
    assert len(set(counts)) == 1, counts


def test_overview_of_many_sources_shows_totals_and_exceptions(served: Served) -> None:
    """The overview counts the sources in each state, shows those that need attention, and leads to the page of all."""
    with served.open() as client:
        answer = client.get("/")
        assert listed(answer) == [REFUSED, SILENT, NEVER]
        for state, count in (("refused", 1), ("silent", 2), ("current", COUNT - 3)):
            assert re.search(rf'href="/sources\?state={state}"[^>]*>{state} <b>{count}</b>', answer.text)
        assert '<a href="/sources">Sources</a>' in answer.text, "the navigation"


def test_overview_of_few_sources_shows_each(served: Served) -> None:
    """With at most twenty sources the overview shows each, and the navigation has no page of sources."""
    served.sources = NAMES[:MANY]
    with served.open() as client:
        text = client.get("/").text
        assert text.count('<article class="source">') == MANY
        assert "/sources" not in text
        assert len(listed(client.get("/sources"))) == MANY


def test_overview_shows_the_worst_exceptions_only(served: Served) -> None:
    """While all sources are exceptions, the overview shows the worst of them, and how many more there are."""
    with served.database.write() as connection:
        for name in NAMES:
            polls.note_poll(connection, name, NOON, "x")
            about = self_alerts.OpenSelfAlert("clock_skew", name, NOON, "ahead", "set it", name)
            self_alerts.insert(connection, about)
    with served.open() as client:
        answer = client.get("/")
    assert listed(answer)[:3] == [REFUSED, SILENT, "org-000"]
    assert len(listed(answer)) == MANY
    assert f"and {COUNT - MANY} more that are not current" in answer.text
    assert f"and {COUNT + 1 - MANY} more self-alerts" in answer.text
