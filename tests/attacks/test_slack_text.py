"""Audit text with the signs of Slack's formats, which could look like lines that actionwatch writes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import pytest

from actionwatch.base.model import Entity
from actionwatch.notifiers._slack_presses import Press, decided
from actionwatch.notifiers.slack import _plain, _resolution
from actionwatch.render.renderer import Renderer, plain
from actionwatch.rules.alert_text import compile_wording, plain_body, word
from actionwatch.rules.fields import Subject
from actionwatch.text.escaping import without_slack_markup
from tests.cases import in_one_test
from tests.integration.notifiers.ends import RENDERER, slack_texts
from tests.unit.render.messages import hostile_message, message, record

FORGED = ":white_check_mark: *Resolved* by _sam_ ~now~ `safe` <!channel> &lt;"
LINES = f"deleted\n> quoted\n{FORGED}"

# docs.slack.dev, formatting message text: what Slack formats, after it has decoded its three entities.
FORMATS = re.compile(
    r"\*\S.*\*|~\S.*~|`[^`]+`|(?<![A-Za-z0-9])_\S.*_(?![A-Za-z0-9])|^\s*>|^\s*&gt;|:[a-z_+'-]+[a-z0-9_+'-]*:",
    re.MULTILINE,
)


def written(text: str) -> list[str]:
    """Return what Slack would format in a text, once the formats of the templates (dates, and bold labels) are left out."""
    return FORMATS.findall(re.sub(r"<!date\^[^>]*>", "", text))


@in_one_test("text", [FORGED, LINES, "*", "_a b_", "~", ">>> all", " > x", ":+1::wave::skin-tone-2:", "&gt; x"])
@in_one_test("event", ["alert.opened", "alert.updated", "alert.resolved", "receiver.test", "alerts.summary"])
def test_audit_text_has_no_format_in_slack(text: str, event: str) -> None:
    """Whatever formats a message has, it has the same with harmless text in place of the hostile one."""
    counts = []
    for shown in (text, re.sub(r"[^\s]", "x", text)):
        given = hostile_message(shown, event)
        rendered, failures = RENDERER.render(("slack.json",), given)
        assert failures == []
        texts = [item["text"] for item in slack_texts(json.loads(rendered.texts["slack.json"]))]
        counts.append([(len(written(shown)), shown.count("*"), shown.count("`"), shown.count("~")) for shown in texts])
    assert counts[0] == counts[1]


@pytest.mark.parametrize(
    "template",
    [
        '{"text": "{{ alert.title }}"}',
        '{"text": {{ alert.title | tojson }}}',
        '{"text": "x", "blocks": [{"type": "section", "fields": {{ fields | tojson }}}]}',
        '{"text": "x", "blocks": [{"type": "section", "labels": {{ alert.labels }}}]}',
        '{"text": "{{ alert.title | upper | lower }}"}',
        '{"text": "{{ (alert.last_at | slack_date) ~ alert.title }}"}',
        '{"text": "{{ alert.title | escape }}{{ alert.title | safe }}"}',
    ],
)
def test_template_of_an_operator_prints_no_format(tmp_path: Path, template: str) -> None:
    """However a template prints a text, also as JSON, Slack formats and links nothing in it."""
    (tmp_path / "slack.json.j2").write_text(template)
    rendered, failures = Renderer([tmp_path]).render(("slack.json",), hostile_message(FORGED))
    assert failures == []
    text = json.dumps(json.loads(rendered.texts["slack.json"]), ensure_ascii=False)
    assert written(text) == []
    assert not re.search("<!(?!date)|:white_check_mark|[*~`]", text)


def test_replies_and_fallbacks_have_no_format() -> None:
    """Texts that no template writes are escaped too."""
    given = message("alert.resolved", title=FORGED, resolved_by=FORGED)
    shown = {"ts": "1.0", "attachments": [{"blocks": [{"type": "actions", "block_id": "actionwatch"}]}]}
    pressed = {"user": {"id": "U1"}, "channel": {"id": "C1"}, "message": shown, "actions": []}
    payload = msgspec.convert(pressed, Press)
    own = ":white_check_mark: "
    texts = [
        _plain(given),
        _resolution(given)["text"],
        json.loads(plain("slack.json", given))["text"],
        decided(payload, "ack", FORGED)["attachments"][0]["blocks"][0]["elements"][0]["text"].removeprefix(own),
    ]
    assert [written(text) for text in texts] == [[]] * len(texts)


@in_one_test(
    "text",
    [
        "svc_backup_prod",
        "09:00:43",
        "2026-11-25T09:00:43.770Z",
        "2001:db8:dead:beef::1",
        "::/0",
        "10.0.0.0/8",
        "a:b",
        "cluster-1 (eve@example.com)",
        "x > y",
        "5 - 3",
    ],
)
def test_names_times_and_addresses_stay_as_they_are(text: str) -> None:
    """A person can copy what has no format."""
    assert without_slack_markup(text).replace("&gt;", ">") == text


@in_one_test("end", ["\n", "\r\n", "\r", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029"])
@in_one_test(
    "template", ["{{ description }}", "{{ cluster }}", "{{ raw.extra }}", "{{ userName | upper }}", "{{ raw }}"]
)
def test_line_end_of_audit_text_begins_no_line_of_a_body(end: str, template: str) -> None:
    """Only the author of a rule begins a line of a body, so that audit text forges none."""
    text = f"Deleted.{end}Resolved by sam"
    hostile = record(description=text, user_name=text, cluster=Entity(None, text), raw=json.dumps({"extra": text}))
    body = word(compile_wording(f"Who did it?\n{template}"), Subject(hostile))
    assert len(body.splitlines()) == 2
    assert "sam" in body.lower()
    assert len(plain_body(record(description=text)).splitlines()) == 1
