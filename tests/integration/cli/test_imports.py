"""What is imported: commands that read only files do not import the store, and an idle service only what it needs.

Each library here takes 20 to 400 ms to import, and 2 to 20 MB of memory. `--help` has a separate test (test_help.py).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from actionwatch.service.configuration import shipped
from tests.children import run_child
from tests.supply_chain.locks import NEVER_IMPORTED, ONLY_FOR_APPRISE

CONFIG = """\
sources:
  - {name: acme, organisation_id: x, username: x, api_key: some-key, base_url: "https://127.0.0.1:9"}
rules: [rules]
receivers:
  - {name: soar, webhook: {url: "https://127.0.0.1:9/"}}
  - {name: screen, console: {}}
web: {listen: "127.0.0.1:0"}
"""
RULE = """\
title: Cluster deleted
name: cluster_deleted
logsource: {product: instaclustr, service: user_actions}
detection: {selection: {actionKind: DELETE_CLUSTER}, condition: selection}
"""
OF_SERVICES = (
    "sqlalchemy",
    "alembic",
    "httpx",
    "httpcore",
    "rich",
    "asyncio",
    "structlog",
    "uvicorn",
    "apscheduler",
    "slack_sdk",
)

ABSENT = """
import importlib, pkgutil, actionwatch
class Absent:
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in json.loads(sys.argv[1]):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent)
for module in pkgutil.walk_packages(actionwatch.__path__, "actionwatch."):
    if "migrations" not in module.name and not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""
CHECK = "from actionwatch import cli; cli.call(sys.argv[2:])"
WAIT = """
import contextlib, pathlib
from actionwatch.service.app import App
from actionwatch.service.configuration import read_settings
from actionwatch.service.service import Service
with contextlib.closing(App(read_settings(pathlib.Path("actionwatch.yaml"), {}))) as app, Service(app).running():
    app.matcher.run_once()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a folder with one rule and a configuration."""
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "one.yml").write_text(RULE)
    (tmp_path / "actionwatch.yaml").write_text(CONFIG)
    return tmp_path


def _imported(code: str, names: tuple[str, ...], folder: Path, *arguments: str) -> list[str]:
    """Run code in a child process. Return which of these modules it imported."""
    report = "\nprint(json.dumps([name for name in json.loads(sys.argv[1]) if sys.modules.get(name)]))"
    command = [sys.executable, "-c", f"import json, sys\n{code}{report}", json.dumps(names), *arguments]
    ran = run_child(command, cwd=folder)
    assert ran.returncode == 0, ran.stderr
    found: list[str] = json.loads(ran.stdout.splitlines()[-1])
    return found


def test_rules_are_checked_without_a_service(folder: Path) -> None:
    """`rules check` of files imports no library of the service or the configuration."""
    pack = str(shipped("rules"))
    assert _imported(CHECK, (*OF_SERVICES, "pydantic"), folder / "rules", "rules", "check", pack) == []
    assert _imported(CHECK, OF_SERVICES, folder, "rules", "check") == []


def test_idle_service_imports_only_what_it_needs(folder: Path) -> None:
    """The libraries for migrations, metrics and Slack are imported only when they are needed."""
    names = ("alembic", "prometheus_client", "slack_sdk", "sqlalchemy.dialects.postgresql")
    assert _imported(WAIT, (*names, "sqlalchemy"), folder) == ["sqlalchemy"]


def test_packages_that_the_image_lacks_are_not_needed(folder: Path) -> None:
    """Every module, a service, the shipped rules and their tests work without what only other parts of pySigma import."""
    absent = tuple(name.replace("-", "_") for name in (*NEVER_IMPORTED, *ONLY_FOR_APPRISE))
    pack = str(shipped("rules"))
    assert _imported(ABSENT + WAIT, absent, folder) == []
    assert _imported(ABSENT + CHECK, absent, folder, "rules", "test", pack) == []
