"""No argument of a command forges a line of its output or moves the cursor: scripts build arguments from what others wrote."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from actionwatch.cli import COMMANDS, load_command
from tests.attacks.test_terminal import FORBIDDEN
from tests.integration.cli.conftest import Called, Desk, new_desk

FORGED = "forged: nothing failed"
HOSTILE = f"x\n{FORGED}\r\x1b[8m\x07\u202e"
WITHOUT_AN_END = ("run", "demo", "emulator")  # they run until somebody stops them
FREE_TEXT = ("comment",)  # may have several lines


def commands() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield each command that ends by itself, with its name."""
    waiting: list[tuple[tuple[str, ...], click.Command]] = [
        ((name,), load_command(name)) for name in COMMANDS if name not in WITHOUT_AN_END
    ]
    while waiting:
        name, found = waiting.pop()
        if isinstance(found, click.Group):
            waiting += [((*name, each), below) for each, below in found.commands.items()]
        else:
            yield name, found


CASES = sorted(commands(), key=lambda case: case[0])


def calls(found: click.Command) -> Iterator[list[str]]:
    """Yield the arguments of calls, in each of which one option or all arguments are hostile."""
    positional = [HOSTILE for each in found.params if isinstance(each, click.Argument)]
    yield positional
    for each in found.params:
        if isinstance(each, click.Option) and not each.is_flag and each.name not in FREE_TEXT:
            yield [*positional, each.opts[-1], *[HOSTILE] * each.nargs]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A desk with an alert."""
    with new_desk(tmp_path_factory.mktemp("arguments")) as made:
        made.act("DELETE_CLUSTER", 40, "eve@example.com")
        assert made.call("run", "--once").status == 0
        yield made


def assert_harmless(called: Called, given: object) -> None:
    """Check that nothing of an argument begins a line or controls the terminal."""
    for text in (called.out, called.err):
        assert not [line for line in text.splitlines() if line.startswith(FORGED)], (given, text)
        assert not [each for each in FORBIDDEN if each in text], (given, text)


@pytest.mark.parametrize(("name", "found"), CASES, ids=[" ".join(name) for name, _ in CASES])
def test_no_argument_forges_a_line(
    desk: Desk, name: tuple[str, ...], found: click.Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever argument is hostile, also one that is a file or a time, the output quotes it on one line."""
    monkeypatch.chdir(tmp_path)
    for arguments in calls(found):
        assert_harmless(desk.call(*name, *arguments), arguments)


def test_no_author_forges_a_line(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who decides is one line, also where the decision is carried out, and never the service itself."""
    (alert,) = desk.call("alerts", "list", "-o", "json").json
    for decision in ("ack", "resolve"):
        called = desk.call("alerts", decision, alert["id"], "--author", HOSTILE)
        assert (called.status, f"by x\\n{FORGED}" in called.out) == (0, True), called
        assert_harmless(called, decision)
        refused = desk.call("alerts", decision, alert["id"], "--author", "ActionWatch")
        assert (refused.status, "is the name of the service" in refused.err) == (2, True)
    monkeypatch.setenv("LOGNAME", "actionwatch")  # as in the image
    refused = desk.call("alerts", "ack", alert["id"])
    assert (refused.status, "is your login name, and that of the service: give --author" in refused.err) == (2, True)


def test_no_file_forges_a_line(desk: Desk, tmp_path: Path) -> None:
    """The name of a file that is written is one line."""
    made = tmp_path / HOSTILE
    for arguments in (("store", "backup", str(made)), ("init", str(tmp_path / f"init{HOSTILE}"))):
        called = desk.call(*arguments)
        assert called.status == 0, called
        assert_harmless(called, arguments)
