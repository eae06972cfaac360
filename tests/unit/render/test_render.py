"""Rendering: templates from folders, escaping for each channel, and texts that cannot fail."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from actionwatch.base.model import Level, Status
from actionwatch.render.channels import CHANNELS
from actionwatch.render.renderer import Renderer, plain, variables
from actionwatch.render.samples import sample_messages
from actionwatch.text.formats.messages import message_document
from tests.cases import in_one_test
from tests.unit.render.messages import (
    AT,
    CONSOLE,
    HOSTILE,
    LIST,
    PAGE,
    alert,
    hostile_message,
    linked,
    message,
    record,
    summary,
)

SHIPPED = Path(__file__).parents[3] / "templates"
NAMES = ("email.html", "email.txt", "email.subject", "slack.json", "apprise.subject", "apprise.txt")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The operator's folder."""
    made = tmp_path / "templates"
    made.mkdir()
    return made


def fill(folder: Path, name: str, text: str, sent: object = None) -> str:
    """Fill in one template, which must not fail."""
    (folder / f"{name}.j2").write_text(text, encoding="utf-8")
    rendered, failures = Renderer([folder]).render((name,), message() if sent is None else sent)  # type: ignore[arg-type]
    assert failures == []
    return rendered.texts[name]


def test_the_shipped_templates_render() -> None:
    """The shipped templates render every message."""
    assert Renderer([SHIPPED]).check() == []


@pytest.mark.parametrize("name", ["slack.json", "email.txt", "email.html", "apprise.txt"])
def test_messages_name_the_alert_and_the_command(name: str) -> None:
    """Every message of an alert has the command that explains it; a summary has the short id of each alert that it lists."""
    renderer = Renderer([SHIPPED])
    for sent in sample_messages():
        text = renderer.render((name,), sent)[0].texts[name]
        if "id" in sent.data:
            assert sent.data["explain"] in text
        assert all(each["id"] in text for each in sent.data.get("alerts", [])[:8])


@in_one_test("name", ["slack.json", "email.txt", "email.html", "apprise.txt"])
@in_one_test("event", ["alert.opened", "alert.resolved", "alerts.summary", "receiver.test"])
def test_messages_link_to_their_page(name: str, event: str) -> None:
    """With a link, every shipped template shows it so that it can be opened, also next to hostile text; without one, none."""
    renderer = Renderer([SHIPPED])
    page = LIST if event == "alerts.summary" else PAGE
    for sent in (message(event), hostile_message(HOSTILE["link"], event)):
        text = renderer.render((name,), linked(sent))[0].texts[name]
        shown = {"slack.json": f"<{page}|", "email.html": f'<a href="{page}"'}.get(name, f"{page}\n")
        assert shown in text
        assert CONSOLE not in renderer.render((name,), sent)[0].texts[name]


def test_a_link_is_an_unset_variable_without_the_key(folder: Path) -> None:
    """A template may ask for the link of each message and of each alert in a summary, also if there is none."""
    text = "{{ alert.url is none }} {% for each in data.alerts | default([]) %}{{ each.url is none }}{% endfor %}"
    assert fill(folder, "email.txt", text) == "True "
    assert fill(folder, "email.txt", text, summary()) == "True True"


def test_the_operators_folder_comes_first(folder: Path) -> None:
    """A template in the operator's folder replaces the shipped one, and no others."""
    (folder / "email.subject.j2").write_text("mine: {{ alert.title }}")
    rendered, failures = Renderer([folder, SHIPPED]).render(NAMES, message())
    assert failures == []
    assert rendered.texts["email.subject"] == "mine: Cluster payments-prod deleted"
    assert "DELETE_CLUSTER" in rendered.texts["email.txt"]


def test_a_changed_file_is_read_again(folder: Path) -> None:
    """A changed template takes effect without a restart."""
    renderer = Renderer([folder])
    for text in ("first", "the second"):
        (folder / "email.subject.j2").write_text(text)
        assert renderer.render(("email.subject",), message())[0].texts["email.subject"] == text


def test_a_type_without_templates_costs_nothing() -> None:
    """A webhook needs no templates."""
    rendered, failures = Renderer([SHIPPED]).render((), message())
    assert (rendered.texts, failures) == ({}, [])


@in_one_test(
    ("text", "fault"),
    [
        ("{{ alert.titel }}", "no attribute 'titel'"),
        ("line\n\n{{ nothing }}", "email.txt.j2:3:1: 'nothing' is undefined"),
        ("{% if %}", "email.txt.j2:1:1: "),
        ("a\n{{ 1 / 0 }}", "email.txt.j2:2:1: ZeroDivisionError"),
        ("{{ 'a' * 10**9 }}", "not allowed in a template"),
        ("{% for x in 'a' | center(99) %}{{ 'a' | center(99) }}" * 2 + "{% endfor %}{% endfor %}", "grew beyond"),
        ("{{ alert.title.__class__.__mro__ }}", "unsafe"),
        ("{% include 'missing.txt.j2' %}", "missing.txt.j2"),
        ("{{ 'x' | utc }}", "Invalid isoformat"),
        ("{{ alert.level | nonsense }}", "No filter named 'nonsense'"),
    ],
)
def test_a_failing_template_is_replaced_and_reported(folder: Path, text: str, fault: str) -> None:
    """If a template fails, another text is sent, and the failure is reported with its location."""
    (folder / "email.txt.j2").write_text(text)
    rendered, failures = Renderer([folder, SHIPPED]).render(("email.txt",), message())
    assert len(failures) == 1
    assert fault in str(failures[0])
    assert "What to do" in rendered.texts["email.txt"]  # the shipped one
    rendered, failures = Renderer([folder]).render(("email.txt",), message())
    assert rendered.texts["email.txt"].startswith("[critical] Cluster payments-prod deleted")
    assert Renderer([folder]).check() == failures


@pytest.mark.parametrize("text", ["{", "[1]", '{"a": {{ alert.title }}}', ""])
def test_slack_must_be_one_json_object(folder: Path, text: str) -> None:
    """A Slack template must produce one JSON object."""
    (folder / "slack.json.j2").write_text(text)
    rendered, failures = Renderer([folder]).render(("slack.json",), message())
    assert len(failures) == 1
    assert json.loads(rendered.texts["slack.json"]) == {"text": "[critical] Cluster payments-prod deleted"}


def test_a_missing_template_gives_the_plain_text() -> None:
    """If a template is missing, the plain text is sent."""
    rendered, failures = Renderer([Path("/nowhere")]).render(NAMES, message())
    assert len(failures) == len(NAMES)
    assert all("Cluster payments-prod deleted" in text for text in rendered.texts.values())


@in_one_test("name", HOSTILE)
@in_one_test("channel", CHANNELS)
def test_the_plain_text_cannot_fail(channel: str, name: str) -> None:
    """The plain text can be made of every message."""
    text = plain(channel, hostile_message(HOSTILE[name]))
    assert text.encode()
    if channel.endswith("json"):
        json.loads(text)
    if channel == "slack.json":
        assert "<!" not in text
    if channel == "subject":
        assert len(text.splitlines()) == 1
    if channel == "html":
        assert "<script" not in text


@pytest.fixture(scope="module")
def shipped() -> Renderer:
    """The shipped templates, compiled once."""
    return Renderer([SHIPPED])


@in_one_test("name", HOSTILE)
def test_the_shipped_templates_take_any_text(shipped: Renderer, name: str) -> None:
    """The shipped templates render any audit text."""
    for event in ("alert.opened", "alerts.summary"):
        rendered, failures = shipped.render(NAMES, hostile_message(HOSTILE[name], event))
        assert failures == []
        assert all(text.encode() for text in rendered.texts.values())
        assert len(rendered.texts["email.subject"].splitlines()) == 1
        json.loads(rendered.texts["slack.json"])


@pytest.mark.parametrize(
    ("name", "value", "printed"),
    [
        ("a.html", "<b>&\u202e\x1b", "&lt;b&gt;&amp;\\u202e\\x1b"),
        ("a.txt", "<b>\n\x1b\u202e\ud800", "<b>\n\\x1b\\u202e\ufffd"),
        ("a.subject", "a\r\nBcc: b\u2028c", "a\\nBcc: b\\u2028c"),
        ("a.txt", "{{ 7 * 7 }}", "{{ 7 * 7 }}"),
    ],
)
def test_audit_text_has_no_effect_in_any_channel(folder: Path, name: str, value: str, printed: str) -> None:
    """Audit text has no effect in any channel."""
    assert fill(folder, name, "{{ alert.title }}", message(title=value)) == printed


@in_one_test("name", HOSTILE)
def test_json_holds_the_text_itself(folder: Path, name: str) -> None:
    """JSON contains the text unchanged, within its quotes."""
    value = HOSTILE[name][:1_000]
    replaced = value.replace("\ud800", "\ufffd").replace("\udfff", "\ufffd")
    text = fill(folder, "own.json", '{"a": "{{ alert.title }}", "b": {{ alert.title | tojson }}}', message(title=value))
    assert json.loads(text) == {"a": replaced, "b": replaced}


def test_json_prints_other_values_as_json(folder: Path) -> None:
    """Numbers, lists and None are printed as JSON without a filter."""
    text = fill(
        folder,
        "own.json",
        "[{{ alert.count }}, {{ alert.runbook }}, {{ alert.late }}, {{ alert.labels }}]",
        message(runbook=None),
    )
    assert json.loads(text) == [1, None, False, {"team": "payments"}]


def test_slack_escapes_texts_but_not_its_own_dates(folder: Path) -> None:
    """Slack dates are markup, and audit text is not."""
    text = fill(
        folder,
        "slack.json",
        '{"text": "{{ alert.title }} {{ alert.last_at | slack_date }}"}',
        message(title="<!channel>"),
    )
    shown = json.loads(text)["text"]
    assert shown.startswith("&lt;!channel&gt; <!date^1795597243^")
    joined = fill(
        folder,
        "slack.json",
        '{"text": "{{ (alert.last_at | slack_date) ~ alert.title }}"}',
        message(title="<!channel>"),
    )
    assert "<!channel>" not in joined


@in_one_test(
    ("expression", "printed"),
    [
        ("'abcdefghijklmnopqrstuvwxyz' | shorten(14)", "abcdefg… (+19)"),
        ("'abc' | shorten(3)", "abc"),
        ("alert.runbook | shorten(99) | line", "1. Ask eve.\\n2. Restore the newest backup."),
        ("alert.last_at | utc", "2026-11-25 09:00:43 UTC"),
        ("timestamp | date('%d %b')", "25 Nov"),
        ("timestamp", "2026-11-25T09:00:43.770Z"),
        ("7200 | duration", "2h"),
        ("alert.runbook | steps | join('; ')", "Ask eve.; Restore the newest backup."),
        ("records[0].cluster | entity", "payments-prod"),
        ("alert.last_at | local", "2026-11-25 09:00:43 UTC"),
        ("alert.last_at | local('%d %b %H:%M')", "25 Nov 09:00 UTC"),
        ("records[0] | sentence", "eve@example.com deleted cluster payments-prod in account payments (DELETE_CLUSTER)"),
        ("'DELETE_CLUSTER' | deed('x')", "deleted cluster x"),
        ("'clusterId' | label", "Cluster id"),
        ("'Ask  eve.' | unless_in(alert.runbook) ~ 'Bob' | unless_in(alert.runbook)", "Bob"),
        ("shown[0].name", "User"),
        ("alert | colour", "#d32f2f"),
        ("alert | sign", "🔴"),
        ("event", "opened"),
        ("type", "alert.opened"),
        ("fields[0].name ~ fields[0].value", "Usereve@example.com"),
        ("data.id ~ message_id", "alert-1message-1"),
        ("headline ~ ', ' ~ level", "Cluster payments-prod deleted, critical"),
        ("(level | colour) ~ (level | sign)", "#d32f2f🔴"),
    ],
)
def test_variables_and_filters_are_as_documented(folder: Path, expression: str, printed: str) -> None:
    """Variables and filters give the documented results."""
    assert fill(folder, "a.txt", f"{{{{ {expression} }}}}") == printed


@pytest.mark.parametrize("name", ["email.html", "email.txt", "slack.json", "apprise.txt"])
def test_the_time_is_shown_once(name: str) -> None:
    """The default templates show the time once, in the format of the channel."""
    fields = (("timestamp", "2026-11-25T09:00:43.770Z"), ("userName", "eve@example.com"))
    rendered, _ = Renderer([SHIPPED]).render((name,), replace(message(), fields=fields))
    assert "09:00:43.770" not in rendered.texts[name]
    assert "User" in rendered.texts[name]


@pytest.mark.parametrize("name", ["email.html", "email.txt", "slack.json", "apprise.txt"])
def test_a_message_says_everything_once_in_words(name: str) -> None:
    """The description is shown once, with the kind, and the names of fields are words."""
    fields = (
        ("userName", "eve"),
        ("cluster.name", "prod"),
        ("actionKind", "DELETE_CLUSTER"),
        ("description", "Deleted it"),
    )
    sent = message(
        title="eve deleted cluster prod",
        body="eve deleted cluster prod (DELETE_CLUSTER): Deleted it",
        records=[record(description="Deleted it")],
    )
    text = Renderer([SHIPPED]).render((name,), replace(sent, fields=fields))[0].texts[name]
    assert "\n\n\n" not in text or name == "email.html"
    assert text.count("Deleted it") == 1
    assert "DELETE_CLUSTER" in text
    assert not [key for key in ("userName", "cluster.name", "actionKind") if key in text]
    assert [word for word in ("User", "Cluster") if word not in text] == []


@pytest.mark.parametrize("name", ["email.html", "email.txt", "apprise.txt"])
def test_times_are_in_the_configured_zone_and_in_utc(name: str) -> None:
    """Messages show a time in the zone of their readers and in UTC."""
    text = Renderer([SHIPPED], ZoneInfo("Australia/Sydney")).render((name,), message())[0].texts[name]
    assert "2026-11-25 20:00:43 AEDT (09:00:43 UTC)" in text


def test_the_rows_of_a_plain_text_are_aligned() -> None:
    """All values of the rows of a plain text begin in one column, also beside a long label."""
    fields = (("userName", "eve"), ("raw.originalRequesterAddress", "192.0.2.1"))
    sent = replace(message(acked_by="sam"), fields=fields)
    lines = Renderer([SHIPPED]).render(("email.txt",), sent)[0].texts["email.txt"].splitlines()
    values = {"User:": "eve", "When:": "2026-11-25", "Count:": "1", "Source:": "acme", "Acknowledged:": "by sam"}
    rows = [(line, value) for line in lines for label, value in values.items() if line.startswith(label)]
    assert len(rows) == len(values)
    assert len({line.index(value, line.index(":")) for line, value in rows}) == 1


@pytest.mark.parametrize("name", ["slack.json", "email.html", "email.txt", "apprise.txt"])
def test_labels_of_the_rule_and_the_source_are_shown(name: str) -> None:
    """A message names the customer; the labels of actionwatch itself are left out, because the rest says the same."""
    sent = message(labels={"customer": "Initech GmbH", "trouble": "unseen-trouble"})
    text = Renderer([SHIPPED]).render((name,), sent)[0].texts[name]
    assert re.search(r"Customer\W.*Initech GmbH", text, re.DOTALL)
    assert "unseen-trouble" not in text


@pytest.mark.parametrize("name", ["email.html", "email.txt"])
def test_several_records_are_sentences(name: str) -> None:
    """Where an alert has several records, each is a sentence followed by the kind."""
    text = Renderer([SHIPPED]).render((name,), message(records=[record(1), record(0)], count=2))[0].texts[name]
    assert text.count("eve@example.com deleted cluster payments-prod in account payments (DELETE_CLUSTER)") == 2


@pytest.mark.parametrize("name", ["email.html", "email.txt", "slack.json", "apprise.txt"])
def test_a_test_message_is_not_shown_as_resolved(name: str) -> None:
    """A test message is not shown as resolved, although its alert is."""
    sent = message("receiver.test", status=Status.RESOLVED, resolved_by="actionwatch")
    rendered, _ = Renderer([SHIPPED]).render((name,), sent)
    assert "resolved" not in rendered.texts[name].lower()
    assert "test" in rendered.texts[name].lower()


def test_the_webhooks_message_can_be_written_as_a_template(folder: Path) -> None:
    """A template can produce the message of the contract."""
    text = '{"type": "{{ type }}", "timestamp": "{{ timestamp }}", "data": {{ data | tojson }}}'
    assert json.loads(fill(folder, "own.json", text)) == message_document(message())


def test_every_variable_is_documented() -> None:
    """The documentation names every variable."""
    page = (Path(__file__).parents[3] / "docs" / "receivers.md").read_text(encoding="utf-8")
    assert [name for name in variables(message()) if f"`{name}`" not in page] == []


def test_records_come_newest_first() -> None:
    """`records` is newest first."""
    records = [record(n) for n in reversed(range(3))]
    assert [item["key"] for item in variables(message(records=records))["records"]] == ["key-0", "key-1", "key-2"]


def test_check_finds_every_fault_of_every_folder(folder: Path) -> None:
    """`check` reports all faults of all folders at once."""
    (folder / "email.txt.j2").write_text("{{ nothing }}")
    (folder / "email.html.j2").write_text("\n{% bad %}")
    (folder / "email.nonsense.j2").write_text("x")
    (folder / "_part.txt.j2").write_text("{{ only_where_included }}")
    (folder / "binary.txt.j2").write_bytes(b"\xff\xfe")
    faults = {Path(fault.file).name: fault for fault in Renderer([folder, SHIPPED]).check()}
    assert set(faults) == {"email.txt.j2", "email.html.j2", "email.nonsense.j2", "binary.txt.j2"}
    assert faults["email.html.j2"].line == 2


def test_a_part_can_be_included(folder: Path) -> None:
    """Templates can include a shared part."""
    (folder / "_footer.txt.j2").write_text("-- {{ alert.rule.name }}")
    assert fill(folder, "email.txt", "{% include '_footer.txt.j2' %}") == "-- cluster_deleted"


# -- summaries -------------------------------------------------------------------------------------------------------------


def test_a_summary_has_templates_of_its_own(folder: Path) -> None:
    """A summary is rendered with its own template, even if the operator replaced the one for alerts."""
    (folder / "email.txt.j2").write_text("mine: {{ alert.title }}")
    rendered, failures = Renderer([folder, SHIPPED]).render(NAMES, summary("mute", alerts=[alert()] * 3))
    assert failures == []
    assert rendered.texts["email.subject"] == "[critical] Muted: 3 alerts"
    assert "rule cluster_deleted" in rendered.texts["email.txt"]
    (folder / "summary.email.txt.j2").write_text("mine: {{ headline }}")
    rendered, failures = Renderer([folder, SHIPPED]).render(NAMES, summary("mute"))
    assert rendered.texts["email.txt"] == "mine: Muted: 1 alert"
    assert [str(fault) for fault in Renderer([folder, SHIPPED]).check()] == []


def test_a_template_without_a_summary_variant_is_checked_with_summaries(folder: Path) -> None:
    """A template without a summary variant is also checked with summaries."""
    (folder / "own.json.j2").write_text('{"what": "{{ alert.title }}"}')
    [fault] = Renderer([folder, SHIPPED]).check()
    assert "alerts.summary" in fault.what
    assert "summary.own.json.j2" in fault.remedy
    (folder / "summary.own.json.j2").write_text('{"what": "{{ headline }}"}')
    assert Renderer([folder, SHIPPED]).check() == []


def test_the_plain_text_of_a_summary_names_its_alerts() -> None:
    """The plain text of a summary lists its alerts."""
    text = plain("email.txt", summary("silence", alerts=[alert(id=f"a{n}", level=Level.HIGH) for n in range(60)]))
    assert text.startswith("[high] Silenced: 60 alerts\n")
    assert "[high] Cluster payments-prod deleted (a49)" in text
    assert text.endswith("and 10 more\n")


@pytest.mark.parametrize(
    ("minutes", "step", "counts"),
    [
        ([], None, []),
        ([0, 5], None, []),  # within an hour there is nothing to see
        ([0, 60, 65, 180], 3_600, [1, 0, 2, 1]),
        ([0, 24 * 60], 3 * 3_600, [1, 0, 0, 0, 0, 0, 0, 0, 1]),
        ([0, 60 * 24 * 60], 7 * 86_400, [1, 0, 0, 0, 0, 0, 0, 0, 1]),
        ([0, 60 * 24 * 36_500], 364 * 86_400, [1, *[0] * 22, 1]),
    ],
)
def test_the_timeline_counts_in_equal_steps(
    folder: Path, minutes: list[int], step: int | None, counts: list[int]
) -> None:
    """The timeline contains all alerts in equal steps, with empty steps, and at most 24 of them."""
    half_past_nine = AT + timedelta(minutes=30)
    alerts = [alert(first_at=half_past_nine - timedelta(minutes=each)) for each in minutes]
    text = fill(
        folder,
        "a.txt",
        "{% for bar in data.alerts | timeline %}{{ bar.step }}:{{ bar.count }} {% endfor %}",
        summary(alerts=alerts),
    )
    assert text.split() == [f"{step}:{count}" for count in counts]


def test_bars_are_by_level_the_worst_first(folder: Path) -> None:
    """The bars are in the order of levels, the most severe first."""
    alerts = [alert(level=Level.CRITICAL), *[alert(level=Level.LOW)] * 199]
    text = fill(
        folder,
        "a.txt",
        "{% for bar in data.levels | bars %}{{ bar.level }} {{ bar.count }} {{ bar.percent }};{% endfor %}",
        summary(alerts=alerts),
    )
    assert text == "critical 1 1;low 199 100;"


def test_the_samples_have_every_type() -> None:
    """Templates are checked with every type of message."""
    assert {sent.type for sent in sample_messages()} == {
        "alert.opened", "alert.updated", "alert.resolved", "alerts.summary", "receiver.test",
    }  # fmt: skip


@in_one_test("name", HOSTILE)
def test_services_of_any_markup_get_inert_text(folder: Path, name: str) -> None:
    """Text for Apprise contains no mentions, links or tags."""
    sent = message(title=HOSTILE[name][:1_000])
    for channel in ("apprise.txt", "apprise.subject"):
        text = fill(folder, channel, "{{ alert.title }}", sent)
        assert not [mark for mark in ("<", ">", "://", "www.", "](", " @", "\u202e") if mark in text]
        assert not text.startswith("@")
