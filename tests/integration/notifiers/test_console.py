"""The promises of the console notifier."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from actionwatch.base.model import Level, Message, Rendered, Status
from actionwatch.notifiers import console
from actionwatch.text.payloads import inhibited_document
from tests.builders import make_alert
from tests.cases import in_one_test
from tests.unit.render.messages import AT, HOSTILE, LIST, PAGE, hostile_message, linked, message, summary


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the variables of the terminal that runs the tests."""
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


def draw(stream: Any, *args: Any, **changes: Any) -> str:
    """Print one card and return the output."""
    console.build(console.Options(), receiver="screen", stream=stream).send(message(*args, **changes), Rendered(), None)
    text: str = stream.getvalue()
    return text


def test_card_shows_who_what_where_when_and_the_runbook() -> None:
    """A card shows the user, the action, the place, the time and the runbook."""
    first = AT - timedelta(minutes=2)
    assert draw(io.StringIO(), count=3, first_at=first, late_by=timedelta(hours=2)) == (
        "▌  CRITICAL  Cluster payments-prod deleted  ×3\n"
        "▌ eve@example.com · DELETE_CLUSTER · payments-prod in payments\n"
        "▌ 2026-11-25 09:00:43 UTC · since 08:58:43 · 2h late\n"
        "▌ cluster_deleted · opened · team=payments · actionwatch explain alert-1\n"
        "▌ → Ask eve.\n"
        "\n"
    )


def test_card_names_what_its_alert_inhibits() -> None:
    """The alerts that have no card are named, and counted if there are many."""
    shown = message()
    data = {**shown.data, **inhibited_document([make_alert(f"{number:08}-x") for number in range(7)])}
    stream = io.StringIO()
    console.build(console.Options(), receiver="screen", stream=stream).send(replace(shown, data=data), Rendered(), None)
    named = ", ".join(f"cluster_deleted {number:08}" for number in range(5))
    assert f"▌ also open: {named}, 2 more\n" in stream.getvalue()


@pytest.mark.parametrize(("sent", "page"), [(message(), PAGE), (summary(), LIST)])
def test_card_has_the_link_on_a_line(sent: Message, page: str) -> None:
    """A card shows the page of its alert, or the list, on its own line; without the key none."""
    with_link, without = (
        console.preview(console.Options(), each, Rendered(), receiver="x")["console.txt"]
        for each in (linked(sent), sent)
    )
    assert f"▌ {page}" in with_link.splitlines()
    assert "actionwatch explain" not in with_link, "the page says it all, and opens with a click"
    assert "://" not in without


def test_state_is_shown_with_its_author() -> None:
    """The card shows who acknowledged or resolved the alert."""
    assert "acknowledged by sam" in draw(io.StringIO(), "alert.updated", status=Status.ACKED, acked_by="sam")
    resolved = draw(io.StringIO(), "alert.resolved", resolved_by="sam")
    assert resolved.startswith("▌  RESOLVED  ")
    assert "resolved by sam" in resolved
    assert "→" not in resolved
    test = draw(io.StringIO(), "receiver.test", status=Status.RESOLVED, resolved_by="actionwatch")
    assert test.startswith("▌  TEST   CRITICAL  ")
    assert "RESOLVED" not in test


def test_alert_without_records_is_shown() -> None:
    """A self-alert, which has no records, is shown too."""
    assert "cluster_deleted" in draw(io.StringIO(), records=[], runbook=None, body="")


@pytest.mark.parametrize("level", list(Level))
def test_only_a_terminal_gets_colours(level: Level) -> None:
    """A terminal gets colours, a pipe no escape sequences."""
    assert "\x1b[" in draw(Terminal(), level=level)
    assert "\x1b" not in draw(io.StringIO(), level=level)


@pytest.mark.parametrize("depth", [{}, {"TERM": "xterm"}, {"COLORTERM": "truecolor"}], ids=["256", "16", "all"])
def test_each_level_has_its_own_colour(monkeypatch: pytest.MonkeyPatch, depth: dict[str, str]) -> None:
    """Levels differ at a glance, also on a terminal with 16 colours."""
    for name, value in depth.items():
        monkeypatch.setenv(name, value)
    bars = {level: draw(Terminal(), level=level).partition("▌")[0] for level in Level}
    assert len(set(bars.values())) == len(Level), bars


@pytest.mark.parametrize("width", [20, 34, 80, 200])
def test_card_fits_the_terminal(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """No line is wider than a narrow terminal."""
    monkeypatch.setenv("COLUMNS", str(width))
    text = draw(Terminal(), title="A title that is much too long " * 5 + "x" * 100)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()
    assert all(len(line) <= width for line in lines)
    assert all(line.startswith("▌ ") for line in lines if line)


def test_lines_are_not_broken_in_a_pipe() -> None:
    """In a pipe, lines are not broken, so that grep finds a card."""
    assert "A title that is much too long " * 8 + "\n" in draw(
        io.StringIO(), title="A title that is much too long " * 8
    ).replace("long\n", "long \n")


@in_one_test("name", HOSTILE)
@in_one_test("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_text_can_be_shown_in_any_encoding(name: str, encoding: str) -> None:
    """Any text is shown in any encoding of the terminal, without escape sequences."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    console.build(console.Options(), receiver="screen", stream=stream).send(
        hostile_message(HOSTILE[name]), Rendered(), None
    )
    stream.flush()
    shown = raw.getvalue().decode(encoding)
    assert "\x1b" not in shown
    assert len(shown) < 10_000
    stream.close()


def test_standard_output_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    """Cards are printed to standard output by default."""
    console.build(console.Options(), receiver="screen").send(message(), Rendered(), None)
    assert "Cluster payments-prod deleted" in capsys.readouterr().out


@pytest.mark.parametrize("event", ["alert.opened", "alert.updated", "alert.resolved"])
def test_card_names_who_resolved_an_alert_whatever_the_message(event: str) -> None:
    """A message that waited shows the newest state: nobody "opened" an alert by resolving it."""
    card = draw(io.StringIO(), event, status=Status.RESOLVED, acked_by="kim", resolved_by="sam")
    assert "cluster_deleted · resolved by sam · " in card


def test_nobody_is_named_who_did_not_decide_the_state() -> None:
    """A resolution without an author is not that of who acknowledged, and a test is nobody's decision."""
    given: dict[str, Any] = {"status": Status.RESOLVED, "acked_by": "kim"}
    assert "cluster_deleted · resolved · " in draw(io.StringIO(), "alert.resolved", **given)
    assert "cluster_deleted · test · " in draw(io.StringIO(), "receiver.test", **given)
