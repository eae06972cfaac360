"""How each channel shows the causes of a summary."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from pathlib import Path

import actionwatch
from actionwatch.base.model import Cause, Message
from actionwatch.notifiers import console, pagerduty
from actionwatch.render.renderer import Renderer, plain
from actionwatch.text.formats.alertmanager import alertmanager_document
from actionwatch.text.formats.messages import encode
from tests.cases import in_one_test
from tests.unit.render.messages import alert, summary

SILENCE = Cause("3f2a-1", {"cluster_deleted": 10, "firewall_opened": 2}, "sam", "load test, ask sam")
NIGHTS = Cause("nights", {"cluster_deleted": 3})
RENDERER = Renderer([Path(actionwatch.__file__).parents[1] / "templates"])


def filled(name: str, message: Message) -> str:
    """Fill in a shipped template, which must not fail."""
    rendered, failures = RENDERER.render((name,), message)
    assert failures == []
    return html.unescape(rendered.texts[name])


CHANNELS: dict[str, Callable[[Message], str]] = {
    "email.txt": lambda message: filled("email.txt", message),
    "email.html": lambda message: filled("email.html", message),
    "slack": lambda message: filled("slack.json", message),
    "apprise": lambda message: filled("apprise.txt", message),
    "plain": lambda message: plain("email.txt", message),
    "console": lambda message: console.preview(
        console.Options(), message, RENDERER.render((), message)[0], receiver="x"
    )["console.txt"],
    "pagerduty": lambda message: "\n".join(
        pagerduty.events_of(message, "x", "KEY")[0][1]["payload"]["custom_details"].get("hidden", [])
    ),
    "alertmanager": lambda message: alertmanager_document(message, "x")["commonAnnotations"]["description"],
}


@in_one_test("channel", CHANNELS)
def test_summary_names_silence_author_comment_and_counts(channel: str) -> None:
    """A summary shows which silence suppressed how many alerts of which rules, with author and comment."""
    shown = CHANNELS[channel](summary("silence", alerts=[alert()] * 12, causes=[SILENCE]))
    assert "10 cluster_deleted, 2 firewall_opened suppressed by silence 3f2a-1 of sam: load test, ask sam" in shown
    shown = CHANNELS[channel](summary("mute", alerts=[alert()] * 3, causes=[NIGHTS]))
    assert "3 cluster_deleted suppressed by mute interval nights" in shown
    assert "None" not in shown


@in_one_test("channel", CHANNELS)
def test_digest_has_no_causes(channel: str) -> None:
    """A digest does not claim that anything was suppressed."""
    assert "hid" not in CHANNELS[channel](summary("digest", alerts=[alert()] * 3))


def test_webhook_has_causes_as_fields() -> None:
    """The webhook message contains the causes as separate fields."""
    data = json.loads(encode(summary("silence", alerts=[alert()] * 12, causes=[SILENCE, NIGHTS]).data))
    assert data["causes"] == [
        {
            "ref": "3f2a-1",
            "author": "sam",
            "comment": "load test, ask sam",
            "count": 12,
            "rules": {"cluster_deleted": 10, "firewall_opened": 2},
        },
        {"ref": "nights", "author": None, "comment": None, "count": 3, "rules": {"cluster_deleted": 3}},
    ]
