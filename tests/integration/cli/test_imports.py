"""What is imported: each command only what it needs, and so does an idle service.

Each library here takes 20 to 400 ms to import, and 2 to 20 MB of memory. `--help` has a separate test (test_help.py), and
`python -m tests.benchmarks commands` measures what the commands cost.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from actionwatch.service.configuration import shipped
from tests import docs
from tests.children import run_child
from tests.integration.cli.conftest import Desk, new_desk
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
    "websocket",
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
COLLECTED = """
import contextlib, gc
usual = gc.get_threshold()
from actionwatch import cli
with contextlib.suppress(SystemExit):
    cli.main(sys.argv[1:])
print(json.dumps([gc.get_freeze_count() > 0, gc.get_threshold() == usual]))
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

HEAVY = (
    *(
        "alembic",
        "apscheduler",
        "asyncio",
        "httpx",
        "jinja2",
        "prometheus_client",
        "pydantic",
        "rich",
        "sigma",
        "slack_sdk",
        "websocket",
    ),
    *("sqlalchemy", "starlette", "structlog", "uvicorn", "yaml"),
    "actionwatch.cli.rules",  # the tools for rule authors
)
CONFIGURATION = {"pydantic", "yaml"}
STORE = {*CONFIGURATION, "sqlalchemy", "asyncio", "rich"}  # sqlalchemy imports asyncio
RULES = {*CONFIGURATION, "sigma", "jinja2", "rich"}
RULE_TOOLS = {*RULES, "actionwatch.cli.rules"}
DELIVERY = {*STORE, "structlog"}
UPSTREAM = {*CONFIGURATION, "httpx", "asyncio", "rich", "structlog"}
NEEDED: list[tuple[set[str], list[str]]] = [
    (set(), ["completion bash"]),
    ({"rich", "asyncio", "starlette", "uvicorn"}, ["emulator --list-faults"]),
    ({"pydantic"}, ["schema webhook"]),
    (CONFIGURATION, ["routes show"]),
    (
        STORE,
        [
            *("status", "receivers list", "silences list", "silences list --all", "alerts list", "alerts list -o json"),
            *(
                "alerts list --user eve@example.com",
                "alerts show ALERT",
                "records list",
                "records export",
                "records proof",
            ),
            *("records list --around RECORD 1h", "records receipts", "records receipts --verify", "deliveries list"),
            *(
                "deliveries show DELIVERY",
                "store backup copy.db",
                "store restore copy.db",
                "store upgrade",
                "store copy sqlite:///actionwatch.db postgresql+psycopg://x@127.0.0.1:9/x",
            ),
        ],
    ),
    (RULES, ["check", "templates check", "schema rules"]),
    (RULES, ["schema config"]),
    (
        RULE_TOOLS,
        [
            "rules list",
            "rules check",
            "rules test",
            "rules backtest cluster_deleted --records records.jsonl",
        ],
    ),
    ({*STORE, *RULES}, ["explain ALERT", "explain RECORD"]),
    (
        {*STORE, *RULE_TOOLS},
        [
            "rules explain RECORD cluster_deleted",
            "rules backtest cluster_deleted --since 1d",
        ],
    ),
    (
        {*DELIVERY, *RULES},
        ["routes test --alert ALERT", "routes test --level high", "receivers preview cluster_deleted soar"],
    ),
    ({*DELIVERY, *RULES}, ["store prune --dry-run", "store verify --against lake"]),
    ({*DELIVERY, *RULES}, ["silences add level=low --for 1h --comment x", "silences expire SILENCE"]),
    (STORE, ["tokens list", "streams list", "streams refused"]),
    (
        {*DELIVERY, *RULES},
        ["streams rewind lake --to 1d", "streams retry lake --all", "streams drop lake --all"],
    ),
    ({*STORE, "structlog"}, ["tokens create sam", "tokens revoke sam"]),
    (
        DELIVERY,
        [
            "alerts ack ALERT",
            "alerts resolve ALERT",
            "alerts reopen ALERT",
            "alerts note ALERT --comment x",
            "alerts assign ALERT --to amy",
            "deliveries retry --dead",
            "deliveries drop --dead",
        ],
    ),
    (UPSTREAM, ["actions", "accounts list", "accounts create shop --yes", "accounts unlink shop --yes"]),
    ({*UPSTREAM, *DELIVERY, *RULES}, ["check --live", "receivers test soar"]),
]
"""What groups of commands may import."""
Group = tuple[set[str], list[str]]


def _chains() -> list[list[Group]]:
    """Divide the groups among processes, so that each may import what those before it in its process may."""
    chains: list[list[Group]] = []
    for group in sorted(NEEDED, key=lambda group: len(group[0])):
        fitting = (chain for chain in chains if chain[-1][0] <= group[0])
        if (chain := next(fitting, None)) is None:
            chains.append(chain := [])
        chain.append(group)
    return chains


MORE_RECEIVERS = """\
  - name: chat
    slack: {token: xoxb-1, app_token: xapp-1, channel: C0123456789}
  - name: mail
    email: {host: smtp.example.com, from: a@example.com, to: [b@example.com]}
  - name: page
    pagerduty: {routing_key: 0123456789abcdef0123456789abcdef}
"""
SERVICES = {("demo",), ("init",), ("run",), ("emulator",)}
CALLS = """
import contextlib, io
def unexpected(*arguments):
    raise AssertionError("logged before the logs are set up")
found = []
for words in json.loads(sys.argv[2]):
    if "structlog" in sys.modules:
        sys.modules["structlog"].configure(processors=[unexpected])
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as err:
        status = cli.call(words)
    log = sys.modules.get("structlog")
    if status not in (0, 1) or (log is not None and not log.is_configured()):
        raise SystemExit(f"{words}: {status}, {err.getvalue()}")
    found.append([" ".join(words), [name for name in json.loads(sys.argv[1]) if name in sys.modules]])
print(json.dumps(found))
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


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A desk with an alert, a delivery and a silence."""
    with new_desk(tmp_path_factory.mktemp("busy")) as desk:
        (desk.folder / "lake").mkdir()
        desk.more = (
            f"streams:\n  - name: lake\n    files: {{url: 'file://{desk.folder}/lake'}}\n"
            "    what: everything\n    start: beginning\n    wait: 0s\n"
        )
        desk.write()
        desk.act("DELETE_CLUSTER", 40, "eve@example.com")
        assert desk.call("run", "--once").status == 0
        (desk.folder / "records.jsonl").write_text(desk.call("records", "export").out)
        assert desk.call("silences", "add", "level=low", "--for", "2h", "--comment", "x").status == 0
        config = desk.config.read_text()
        (desk.folder / "loopback.yaml").write_text(config)
        desk.config.write_text(config.replace("receivers:\n", f"receivers:\n{MORE_RECEIVERS}"))
        yield desk


@pytest.mark.parametrize("chain", [pytest.param(chain, id=chain[0][1][0]) for chain in _chains()])
def test_commands_import_only_what_they_need(chain: list[Group], busy: Desk) -> None:
    """Each command imports no library that only others need, and logs nothing before the logs are set up."""
    names = {
        "ALERT": busy.call("alerts", "list", "--status", "any", "-o", "json").json[0]["id"],
        "RECORD": busy.call("records", "list", "-o", "json").json[0]["key"],
        "DELIVERY": busy.call("deliveries", "list", "-o", "json").json[0]["id"],
        "SILENCE": busy.call("silences", "list", "-o", "json").json[0]["id"],
    }
    words, expected = list[list[str]](), list[set[str]]()
    for allowed, commands in chain:
        config = busy.folder / "loopback.yaml" if "check --live" in commands else busy.config
        for command in commands:
            words.append(["-c", str(config), *(names.get(word, word) for word in command.split())])
            expected.append(allowed)
    code = f"import json, sys\nfrom actionwatch import cli\n{CALLS}"
    ran = run_child([sys.executable, "-c", code, json.dumps(HEAVY), json.dumps(words)], cwd=busy.folder)
    assert ran.returncode == 0, ran.stderr
    found = zip(json.loads(ran.stdout), expected, strict=True)
    assert [(command, more) for (command, names), allowed in found if (more := set(names) - allowed)] == []


@pytest.mark.parametrize(("command", "is_usual"), [("--help", False), ("run --wait 1s", True)])
def test_commands_collect_rarely(command: str, is_usual: bool, tmp_path: Path) -> None:
    """A command searches its imports for garbage rarely, and not at its exit: this took a third of its CPU. A service does."""
    ran = run_child([sys.executable, "-c", f"import json, sys\n{COLLECTED}", *command.split()], cwd=tmp_path)
    assert json.loads(ran.stdout.splitlines()[-1]) == [True, is_usual], ran.stderr


def test_the_table_of_imports_has_every_command() -> None:
    """No command is missing in the table, except those that run a service."""
    listed = {tuple(command.split()[:2]) for _, commands in NEEDED for command in commands}
    listed |= {path[:1] for path in listed}
    leaves = {path for path, command in docs.every_command() if not isinstance(command, click.Group)}
    assert leaves - listed - SERVICES == set()


def test_idle_service_imports_only_what_it_needs(folder: Path) -> None:
    """The libraries for migrations, metrics, Slack and signing in are imported only when they are needed."""
    names = (
        *("alembic", "prometheus_client", "slack_sdk", "websocket", "sqlalchemy.dialects.postgresql"),
        "opentelemetry",
    )
    assert _imported(WAIT, (*names, "sqlalchemy"), folder) == ["sqlalchemy"]


def test_packages_that_the_image_lacks_are_not_needed(folder: Path) -> None:
    """Every module, a service, a shipped rule and its tests work without what only other parts of pySigma import."""
    absent = tuple(name.replace("-", "_") for name in (*NEVER_IMPORTED, *ONLY_FOR_APPRISE))
    (rule,) = Path(str(shipped("rules"))).rglob("key_then_cluster_delete.yml")
    assert _imported(ABSENT + WAIT + CHECK, absent, folder, "rules", "test", str(rule)) == []
