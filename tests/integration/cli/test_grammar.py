"""One grammar: what every command accepts, and what its help says. The tables are checked against the whole tree."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.shell_completion import ShellComplete

from actionwatch.cli import EXIT_STATUS, WITHOUT_CONFIGURATION, group
from tests import docs
from tests.cases import in_one_test
from tests.children import run_child
from tests.integration.cli.conftest import Desk, call, new_desk

Path_ = tuple[str, ...]
LEAVES = {path: command for path, command in docs.every_command() if not isinstance(command, click.Group)}
PRINTING_NO_DATA: dict[Path_, str] = {
    ("demo",): "runs the service and prints alerts",
    ("init",): "writes files",
    ("run",): "runs the service",
    ("schema",): "prints JSON only",
    ("completion",): "prints a shell script",
}
ARGUMENTS: dict[Path_, tuple[str, ...]] = {
    ("accounts", "create"): ("shop", "--yes"),
    ("accounts", "unlink"): ("shop", "--yes"),
    ("rules", "explain"): ("0006", "a_rule"),
    ("rules", "backtest"): ("a_rule",),
    ("alerts", "show"): ("0006",),
    ("alerts", "ack"): ("0006",),
    ("alerts", "resolve"): ("0006",),
    ("alerts", "reopen"): ("0006",),
    ("alerts", "assign"): ("0006", "--to", "amy"),
    ("alerts", "note"): ("0006", "--comment", "x"),
    ("deliveries", "show"): ("0006",),
    ("deliveries", "retry"): ("0006",),
    ("deliveries", "drop"): ("0006",),
    ("silences", "add"): ("level=critical", "--for", "1h", "--comment", "x"),
    ("silences", "expire"): ("0006",),
    ("explain",): ("0006",),
    ("receivers", "test"): ("soar",),
    ("receivers", "preview"): ("a_rule", "soar"),
    ("streams", "rewind"): ("lake", "--to", "7d"),
    ("streams", "retry"): ("lake", "--all"),
    ("streams", "drop"): ("lake", "--all"),
    ("tokens", "create"): ("sam",),
    ("tokens", "revoke"): ("0006",),
    ("store", "backup"): ("copy.db",),
    ("store", "verify"): ("--against", "evidence"),
    ("store", "restore"): ("copy.db",),
}
NAMES_ITS_STORES: Path_ = ("store", "copy")
FREE = (
    *("user", "account", "cluster", "keyword", "text", "name", "matchers", "comment", "author", "given", "rules_"),
    *("faults", "origin", "target", "against"),
    *("ids", "alert_id", "delivery_id", "record", "subject", "around", "assigned", "to"),
)
"""Parameters with any text, an id or a key as their value: a shell completes nothing."""


def _named(paths: Iterable[Path_]) -> list[Any]:
    return [pytest.param(path, id=" ".join(path)) for path in paths]


@in_one_test(
    "path", _named(path for path in LEAVES if path[0] not in WITHOUT_CONFIGURATION and path != NAMES_ITS_STORES)
)
def test_the_configuration_is_named_before_or_after_the_command(
    path: Path_, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`-c` names the same file before the command, after it, and after its group; the innermost one counts."""
    monkeypatch.chdir(tmp_path)
    arguments = ARGUMENTS.get(path, ())
    Path("broken.yaml").write_text("sources: 7\n")
    calls = [
        call("-c", "broken.yaml", *path, *arguments),
        call(*path, *arguments, "-c", "broken.yaml"),
        call(*path, "--config", "broken.yaml", *arguments),
        call(path[0], "-c", "broken.yaml", *path[1:], *arguments),
        call("-c", "other.yaml", *path, "-c", "broken.yaml", *arguments),
    ]
    assert len(set(calls)) == 1, calls
    assert "broken.yaml" in calls[0].err
    assert calls[0].status == 2


@in_one_test("path", _named(path for path, _ in docs.every_command()))
def test_help_names_the_exit_status(path: Path_) -> None:
    """The help of every command says what its exit status means."""
    assert EXIT_STATUS in " ".join(call(*path, "--help").out.split())


@in_one_test("path", _named(LEAVES))
def test_commands_that_print_data_accept_o(path: Path_) -> None:
    """Every command has `-o`, with json and jsonl, unless it prints no data; then the table says why."""
    options = [param for param in LEAVES[path].params if "-o" in param.opts and "--output" in param.opts]
    assert bool(options) is (path not in PRINTING_NO_DATA)
    for option in options:
        assert isinstance(option.type, click.Choice)
        assert {"json", "jsonl"} <= set(option.type.choices)


def _completed(desk: Desk, *words: str) -> list[str]:
    """Return what a shell offers for the last word."""
    found = ShellComplete(group, {}, "actionwatch", "").get_completions(
        ["-c", str(desk.config), *words[:-1]], words[-1]
    )
    return [item.value for item in found if item.type == "plain"]


def _words_before_values() -> Iterable[Any]:
    """Yield each option and argument that takes a name of the configuration, but no free text, id or key."""
    for path, command in LEAVES.items():
        before: Path_ = ()
        for param in command.params:
            is_text = isinstance(param.type, click.types.StringParamType | click.Tuple)
            if is_text and param.name not in FREE:
                words = (*path, *(before if isinstance(param, click.Argument) else (param.opts[-1],)))
                yield pytest.param(words, id=" ".join(words))
            if isinstance(param, click.Argument):
                before += ("x",)


@in_one_test("words", list(_words_before_values()))
def test_every_name_is_completed(words: Path_, busy: Desk) -> None:
    """A shell completes each option and argument that takes a name of the configuration."""
    assert _completed(busy, *words, "")


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A desk with a source that has a label."""
    with new_desk(tmp_path_factory.mktemp("busy")) as desk:
        desk.write(labels="{customer: acme}")
        yield desk


def test_what_is_completed(busy: Desk) -> None:
    """Kinds, rules, receivers and sources are completed by their beginning."""
    assert _completed(busy, "records", "list", "--kind", "DELETE_CLUS") == ["DELETE_CLUSTER"]
    assert _completed(busy, "alerts", "list", "--rule", "cl") == ["cluster_deleted"]
    assert _completed(busy, "receivers", "test", "") == ["soar"]
    assert _completed(busy, "actions", "--source", "a") == ["acme"]
    assert _completed(busy, "status", "--label", "cust") == ["customer=acme"]


def test_completion_is_silent_without_a_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a configuration, nothing is completed, and no message appears in the line that is typed."""
    monkeypatch.chdir(tmp_path)
    complete = ShellComplete(group, {}, "actionwatch", "").get_completions
    assert complete(["receivers", "test"], "") == []
    assert [item.type for item in complete(["rules", "backtest"], "")] == ["file"]
    assert capsys.readouterr() == ("", "")


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
def test_bash_completes(filled: Desk) -> None:
    """The script of `completion bash` completes a rule in a real bash."""
    script = (
        'source <(actionwatch completion bash); COMP_WORDS=(actionwatch -c "$1" alerts list --rule cl); COMP_CWORD=6\n'
        '_actionwatch_completion actionwatch; echo "${COMPREPLY[@]}"'
    )
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    ran = run_child(["bash", "-c", script, "bash", str(filled.config)], env=environment)
    assert ran.stdout == "cluster_deleted\n", ran.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    """`completion` prints a script for each shell that it names."""
    called = call("completion", shell)
    assert (called.status, called.err) == (0, "")
    assert f"_ACTIONWATCH_COMPLETE={shell}_complete" in called.out


def test_older_names_of_schemas(filled: Desk) -> None:
    """`rules schema`, `rules schema --config` and `receivers schema` print what `schema` does, and are not in the help."""
    for old, new in (
        (("rules", "schema"), "rules"),
        (("rules", "schema", "--config"), "config"),
        (("receivers", "schema"), "webhook"),
    ):
        assert call(*old).out == call("schema", new).out
        assert "schema" not in call(old[0], "--help").out


def test_export_formats(filled: Desk) -> None:
    """`records export` takes `-o` and, as before, `--format`; `json` is one array, also of nothing."""
    lines = filled.call("records", "export", "--format", "jsonl").jsonl
    assert len(lines) == 5
    assert filled.call("records", "export", "-o", "jsonl").jsonl == lines
    assert filled.call("records", "export", "-o", "json").json == lines
    assert filled.call("records", "export", "-o", "json", "--user", "nobody").json == []
