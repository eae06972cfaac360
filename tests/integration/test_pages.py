"""The pages for operators and auditors match the code."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from actionwatch.alerts.self_alerts import TROUBLES
from actionwatch.tail.proof import TWO_WALKS
from actionwatch.web.routes import metrics_routes
from actionwatch.web.server import serving
from tests import http_client
from tests.builders import open_database
from tests.cases import in_one_test
from tests.integration.live.world import serve_world
from tests.threads import start_thread

ROOT = Path(__file__).parents[2]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
PROOF = (ROOT / "docs" / "proof.md").read_text()
CODE = "\n".join(path.read_text() for path in sorted((ROOT / "actionwatch").rglob("*.py")))


def rows(page: str, heading: str) -> list[list[str]]:
    """Return the cells of the tables of a section."""
    section = re.split(r"^#+ ", page.split(f"# {heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if not line.startswith("| ---")][
        1:
    ]


def names(cell: str) -> list[str]:
    """Return the code words of a cell."""
    return re.findall(r"`([^`]+)`", cell)


def test_every_trouble_is_documented() -> None:
    """The table lists every trouble with its level, and none that does not exist."""
    listed = {names(row[0])[0]: row[1] for row in rows(OPERATIONS, "Self-alerts")}
    assert listed == {name: trouble.level.word for name, trouble in TROUBLES.items()}


def test_every_metric_is_documented(tmp_path: Path) -> None:
    """The table lists every metric that is served, and none that is not."""
    database = open_database(tmp_path)
    try:
        routes = metrics_routes(database, dict, lambda: datetime.now(UTC))
        with serving(routes, "127.0.0.1", 0, None, start_thread) as url:
            served = set(re.findall(r"^# HELP (\w+)", http_client.get(f"{url}/metrics").text, re.MULTILINE))
    finally:
        database.close()
    assert {names(row[0])[0] for row in rows(OPERATIONS, "Metrics")} == served


@in_one_test("event", [name for row in rows(OPERATIONS, "Logs") for name in names(row[0])])
def test_documented_log_events_exist(event: str) -> None:
    """Every event that the page names is logged somewhere in the code."""
    assert f'"{event}"' in CODE


def test_documented_checks_exist() -> None:
    """The page names the checks of `check --live`."""
    with serve_world(30) as world:
        assert {name for row in rows(PROOF, "Assumptions") for name in names(row[2])} <= world.check().keys()


def test_documented_proof_methods_exist() -> None:
    """The page names the methods of receipts."""
    assert [names(row[0])[0] for row in rows(PROOF, "How a window is proved")] == [
        "counts", "totals", TWO_WALKS, f"{TWO_WALKS}, partition",
    ]  # fmt: skip
