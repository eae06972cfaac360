"""Silences that are probably wrong are refused, and people see what a silence hides: before, while and where it hides it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.integration.cli.conftest import Desk

ADD = ["silences", "add", "--comment", "planned", "--author", "sam"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["rule=cluster_deletd", "--for", "1h"], "'cluster_deletd' is no rule: did you mean 'cluster_deleted'?"),
        (["clustr=x", "--for", "1h"], "no alert has the label 'clustr': did you mean 'cluster'?"),
        (["level=severe", "--for", "1h"], "'severe' is no level: there are: "),
        (["level=~critical|high|medium|low|informational", "--for", "1h"], "matches every alert"),
        (["rule=cluster_deleted", "--for", "8d"], "8d is longer than max_silence, 7d: shorten it"),
        (["rule=cluster_deleted", "--for", "1h", "--start", "2020-01-01T00:00:00Z"], "it would start in the past"),
    ],
)
def test_doubtful_silence_needs_force(desk: Desk, arguments: list[str], reason: str) -> None:
    """A doubtful silence is a usage error with what was probably meant, and is not stored; `--force` adds it with a note."""
    assert desk.call("run", "--once").status == 0
    refused = desk.call(*ADD, *arguments)
    assert (refused.status, refused.out) == (2, "")
    assert reason in refused.err
    assert "Add --force if this is what you want." in refused.err
    assert desk.call("silences", "list", "--all", "-o", "json").json == []
    forced = desk.call(*ADD, *arguments, "--force")
    assert forced.status == 0
    assert f"note: {reason}" in forced.err or reason in forced.err
    assert len(desk.call("silences", "list", "--all", "-o", "json").json) == 1


def test_all_doubts_at_once_and_the_configured_maximum(desk: Desk) -> None:
    """Every doubt is reported, and `max_silence` sets the maximum."""
    desk.config.write_text(desk.config.read_text() + "max_silence: 30d\n")
    assert desk.call("run", "--once").status == 0
    assert desk.call(*ADD, "rule=cluster_deleted", "--for", "20d").status == 0
    refused = desk.call(*ADD, "rule=nothing", "levl=high", "--for", "31d")
    assert refused.status == 2
    for reason in ("longer than max_silence, 30d", "'nothing' is no rule", "no alert has the label 'levl'"):
        assert reason in refused.err


def test_a_silence_shows_what_it_would_have_hidden(filled: Desk) -> None:
    """The number of alerts of the last 7 days that it matches is printed, by rule, and also that it matches none."""
    for matcher, expected in (
        ("level=critical", "hidden 2 of the 2 alerts of the last 7d: 2 cluster_deleted"),
        ("userName=eve@example.com", "hidden 1 of the 2 alerts of the last 7d: 1 cluster_deleted"),
        ("userName=nobody", "hidden none of the 2 alerts of the last 7d"),
    ):
        added = filled.call(*ADD, matcher, "--for", "1h")
        assert added.status == 0, added.err
        assert f"note: it would have {expected}" in added.err
        assert filled.call("silences", "expire", added.out.strip()).status == 0


def test_a_silence_that_starts_later(desk: Desk) -> None:
    """`--start` takes a time or a duration from now; the silence is pending until then, and lasts `--for`."""
    assert desk.call("run", "--once").status == 0
    at = (datetime.now(UTC) + timedelta(days=30)).replace(microsecond=0)
    assert desk.call(*ADD, "rule=cluster_deleted", "--start", at.isoformat(), "--for", "12h").status == 0
    assert desk.call(*ADD, "rule=cluster_deleted", "--start", "2h", "--for", "1h").status == 0
    later, sooner = desk.call("silences", "list", "-o", "json").json
    assert (later["status"], sooner["status"]) == ("pending", "pending")
    assert datetime.fromisoformat(later["starts_at"]) == at
    assert datetime.fromisoformat(later["ends_at"]) == at + timedelta(hours=12)
    assert desk.call("status", "-o", "json").json["silences"] == []
    wrong = desk.call(*ADD, "rule=cluster_deleted", "--start", "soon", "--for", "1h")
    assert wrong.status == 2
    assert (
        "'soon' is not a time: use RFC 3339 (2026-11-25T09:00:00Z; without a zone, it is local) or a duration from now (2h)"
        in wrong.err
    )


def test_active_silences_are_seen(desk: Desk) -> None:
    """`status` lists active silences, and `alerts list` says which alerts are silenced, delivered before or not."""
    desk.act("DELETE_CLUSTER", 5, "eve")
    assert desk.call("run", "--once").status == 0
    silence = desk.call(*ADD, "rule=cluster_deleted", "--for", "1h").out.strip()
    assert f"silence {silence[:8]}" in desk.call("alerts", "list").out
    desk.act("DELETE_CLUSTER", 4, "bob")
    assert desk.call("run", "--once").status == 0
    assert desk.call("alerts", "list").out.count(f"silence {silence[:8]}") == 2
    (shown,) = desk.call("status", "-o", "json").json["silences"]
    assert list(shown) == ["id", "matchers", "author", "comment", "starts_at", "ends_at", "ended_by", "status"]
    assert (shown["id"], shown["status"]) == (silence, "active")
    text = desk.call("status").out
    assert f"silence {silence[:8]}: rule=cluster_deleted until " in text
    assert "by sam: planned" in text
    (opened,) = [line for line in desk.call("alerts", "list").out.splitlines() if "eve deleted" in line]
    assert desk.call("alerts", "resolve", opened.split()[5]).status == 0
    assert (
        desk.call("alerts", "list").out.count(f"silence {silence[:8]}") == 1
    )  # nothing more is held of a resolved alert
    desk.call("silences", "expire", silence, "--author", "kim")
    (over,) = desk.call("silences", "list", "--all", "-o", "json").json
    assert (over["author"], over["ended_by"]) == ("sam", "kim")
    assert f"silence {silence[:8]}" not in desk.call("status").out
    assert desk.call("alerts", "list").out.count(f"silence {silence[:8]}") == 1  # it was not delivered


def test_more_silences_than_status_shows(desk: Desk) -> None:
    """`status` shows five active silences and the number of the others."""
    assert desk.call("run", "--once").status == 0
    for number in range(7):
        assert desk.call(*ADD, f"userName=user-{number}", "--for", "1h").status == 0
    shown = desk.call("status").out
    assert shown.count("by sam: planned") == 5
    assert "and 2 more silences: see 'actionwatch silences list'" in shown


def test_check_notes_doubtful_matchers(desk: Desk) -> None:
    """`check` notes matchers of routes, inhibition and silence files that refer to nothing, with their location."""
    folder = desk.folder / "silences"
    folder.mkdir()
    (folder / "a.yml").write_text(
        "- matchers: [userName=ci, rule=cluster_delete]\n  author: sam\n  comment: planned\n  ends_at: 2199-01-01T00:00:00Z\n"
    )
    desk.more = (
        "route:\n  routes:\n    - matchers: [level=severe]\n      routes:\n        - matchers: ['userName=eve', 'temm=x']\n"
        "inhibit_rules:\n  - {source_matchers: ['rule=nothing'], target_matchers: ['level=low']}\n"
    )
    desk.write()
    checked = desk.call("check")
    assert checked.status == 0
    config = str(desk.config)
    notes = checked.err.splitlines()
    assert len(notes) == 4
    for note, place, what in zip(
        notes,
        (f"{config}:18:18: ", f"{config}:20:38: ", f"{config}:22:24: ", f"{folder / 'a.yml'}:1:27: "),
        (
            "'severe' is no level",
            "no alert has the label 'temm'",
            "'nothing' is no rule",
            "'cluster_delete' is no rule",
        ),
        strict=True,
    ):
        assert note.startswith(place)
        assert what in note
        assert note.endswith("(note)")


def test_an_unknown_label_of_a_tested_route_is_noted(desk: Desk) -> None:
    """`routes test --label` notes a label that no alert has."""
    found = desk.call("routes", "test", "--level", "low", "--label", "clustr=x", "--label", "cluster=y")
    assert found.status == 0
    assert "note: no alert has the label 'clustr': did you mean 'cluster'?" in found.err
