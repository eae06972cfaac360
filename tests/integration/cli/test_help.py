"""`--help` works for every command, fast and without a configuration; docs/commands.md is generated from it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click
import pytest

from actionwatch.cli import COMMANDS, group
from tests import docs
from tests.cases import in_one_test
from tests.children import run_child
from tests.integration.cli.conftest import call

HEAVY = (
    "sqlalchemy", "httpx", "pydantic", "rich", "yaml", "ruamel", "starlette", "uvicorn", "structlog", "sigma", "re2", "jinja2",
)  # fmt: skip


def _paths() -> list[tuple[str, ...]]:
    return [(), *(path for path, _ in docs.every_command())]


@in_one_test("path", _paths())
def test_help_needs_nothing(path: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--help` of every command works in an empty folder, writes nothing and exits with 0."""
    monkeypatch.chdir(tmp_path)
    called = call(*path, "--help")
    assert called.status == 0
    assert called.out.startswith("Usage: actionwatch")
    assert called.err == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", [(), ("alerts",), ("rules",)], ids=" ".join)
def test_group_without_a_command_shows_its_help_once(path: tuple[str, ...]) -> None:
    """Whoever calls a group alone sees what it has, and nothing failed."""
    called = call(*path)
    assert (called.status, called.err) == (0, "")
    assert called.out == call(*path, "--help").out


def test_help_imports_nothing_heavy() -> None:
    """No `--help` imports a slow library."""
    code = (
        "import contextlib, io, json, sys\n"
        "from actionwatch import cli\n"
        "loaded = {}\n"
        "for path in json.loads(sys.argv[1]):\n"
        "    with contextlib.redirect_stdout(io.StringIO()):\n"
        "        assert cli.call([*path, '--help']) == 0\n"
        "    loaded[' '.join(path)] = [name for name in json.loads(sys.argv[2]) if name in sys.modules]\n"
        "print(json.dumps({path: names for path, names in loaded.items() if names}))"
    )
    arguments = [json.dumps(_paths()), json.dumps(HEAVY)]
    ran = run_child([sys.executable, "-c", code, *arguments])
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == {}


def test_commands_of_the_contract() -> None:
    """The commands are those of the contract, in the order in which a newcomer needs them."""
    expected = "demo init check run status actions accounts records rules alerts deliveries silences "
    expected += "routes explain receivers emulator"
    assert [name for name in COMMANDS if name in expected.split()] == expected.split()
    context = click.Context(group)
    below = {
        name: set(found.commands)
        for name in expected.split()
        if isinstance(found := group.get_command(context, name), click.Group)
    }
    assert {"list", "check"} <= below.pop("rules")  # the commands for rules have their own tests
    assert below == {
        "accounts": {"list", "create", "unlink"},
        "records": {"list", "export", "receipts", "proof"},
        "alerts": {"list", "show", "ack", "resolve", "reopen", "assign", "note"},
        "deliveries": {"list", "show", "retry", "drop"},
        "silences": {"add", "list", "expire"},
        "routes": {"show", "test"},
        "receivers": {"list", "test", "schema", "preview"},
    }


def test_misspelt_command_has_a_suggestion() -> None:
    """A misspelt command suggests the right one."""
    called = call("statsu")
    assert called.status == 2
    assert "Did you mean 'status'?" in called.err


def test_help_fits_a_narrow_terminal() -> None:
    """The overview has one line per command at 80 columns."""
    lines = call("--help").out.split("Commands:\n")[1].splitlines()
    assert [line.split()[0] for line in lines] == list(COMMANDS)
    assert max(map(len, lines)) <= 78


def test_the_documentation_is_the_help() -> None:
    """docs/commands.md matches `--help`; `python -m tests.docs` generates it."""
    assert docs.COMMANDS_FILE.read_text() == docs.commands_page()
