"""`explain`: print the complete history of an alert or a record, from the poll that saw it to each delivery attempt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import click

from actionwatch.base.delivery import Delivery, DeliveryStatus
from actionwatch.base.durations import spell_duration
from actionwatch.base.model import Alert, Record
from actionwatch.base.plurals import counted
from actionwatch.cli.context import reading_store
from actionwatch.cli.options import output_option
from actionwatch.cli.output import print_document, print_table
from actionwatch.text.payloads import instant
from actionwatch.text.times import local_times, spell_time

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from actionwatch.rules.correlations.view import View
    from actionwatch.rules.explain import Explanation
    from actionwatch.rules.load import Rules
    from actionwatch.rules.model import Rule
    from actionwatch.settings import Settings

_RECORDS_SHOWN = 5  # of an alert: the first and the newest; `explain RECORD-KEY` shows any other


@dataclass(frozen=True, slots=True)
class _Line:
    """One line. `alert` is None if the line is about a record."""

    at: datetime
    alert: str | None
    stage: str
    what: str


@click.command()
@click.argument("subject", metavar="ALERT-ID|RECORD-KEY")
@output_option
@click.pass_obj
def command(config: str, subject: str, form: str) -> None:
    """Print the complete history: which poll saw a record, which rules it matched, and which receivers got it or why not.

    The argument is the id of an alert (see `alerts list`), the key of a record (see `records list`), or a unique prefix of one.

    `rules explain KEY RULE` shows why a rule does not match a record, and what a correlation counted.

    \b
    actionwatch explain 3f2a81c0
    actionwatch explain 00066144a47081b8
    """
    from actionwatch.service import configuration

    with reading_store(config) as (settings, connection):
        name, lines = _story(connection, settings, configuration.read_rules(settings), subject)
    document = {"subject": name, "story": [asdict(line) for line in lines]}
    rows = [(line.at, line.alert, line.stage, local_times(line.what)) for line in lines]
    columns = ("at", "alert", "stage", "what")
    print_document(document, form, as_text=lambda: print_table(columns, rows, leave_out=("alert",), is_wrapped=True))


def _story(connection: Connection, settings: Settings, rules: Rules, subject: str) -> tuple[str, list[_Line]]:
    """Collect the lines, oldest first. Lines of the same instant stay in the order of the steps."""
    from actionwatch.queries.pages import only
    from actionwatch.store import alerts, records

    found_records, found = records.read_by_prefix(connection, subject), alerts.read_by_prefix(connection, subject)
    if found_records and found:
        raise click.ClickException(f"ids of alerts and keys of records start with {subject}: give a longer prefix")
    if found_records:
        record = only(found_records, "record", subject, "records list", "key")
        holding = list(alerts.read_many(connection, alerts.read_of_record(connection, record.id)).values())
        lines = list(_record_lines(connection, settings, rules, record, holding, None, {}))
        for alert in holding:
            lines += _alert_lines(connection, alert, record)
        return record.key, sorted(lines, key=lambda line: line.at)
    if not found:
        raise click.ClickException(_unknown(connection, settings, subject))
    alert = only(found, "alert", subject, "alerts list")
    shown = records.read_of_alerts(connection, [alert.id], _RECORDS_SHOWN)[alert.id]
    first = records.read_first_of(connection, alert.id)
    if first is not None and first != shown[0]:
        shown[0] = first
    views = _views(connection, settings, rules, alert, shown)
    lines = [line for each in shown for line in _record_lines(connection, settings, rules, each, [alert], alert, views)]
    lines += _alert_lines(connection, alert, first)
    return alert.id, sorted(lines, key=lambda line: line.at)


def _views(
    connection: Connection, settings: Settings, rules: Rules, alert: Alert, shown: Sequence[Record]
) -> Mapping[int, Sequence[View]]:
    """Return by the id of a record what the correlation of an alert counted for it."""
    rule = next((each for each in rules.rules if each.name.id == alert.rule.id), None)
    explained = [record for record in shown if not record.is_backlog]
    if rule is None or rule.correlation is None or not explained:
        return {}
    from actionwatch.service.stored_views import views_from_store

    sources = [source.name for source in settings.sources]
    views = views_from_store(connection, rule, rules.rules, explained, sources)
    return {record.id: each for record, each in zip(explained, views, strict=True) if each is not None}


def _unknown(connection: Connection, settings: Settings, subject: str) -> str:
    """Return why nothing has this id or key: it is older than the store, or else where ids and keys are listed."""
    from actionwatch.store import marks, record_keys, records

    at = record_keys.key_time(subject)
    begins = [mark.begins_at for mark in marks.read_all(connection).values()]
    oldest = records.oldest_time(connection) or min(begins, default=None)
    if at is not None and oldest is not None and at < oldest:
        kept = spell_duration(settings.store.retention.records)
        when = f"the record of {spell_time(at)} is not stored: the store begins at {spell_time(oldest)}"
        return f"{when} (store.retention.records is {kept}); 'actionwatch actions --until TIME' asks the upstream"
    where = "'actionwatch alerts list' and 'actionwatch records list' show them"
    return f"no alert has the id {subject} and no stored record has this key: {where}"


def _record_lines(
    connection: Connection,
    settings: Settings,
    rules: Rules,
    record: Record,
    holding: Sequence[Alert],
    alert: Alert | None,
    views: Mapping[int, Sequence[View]],
) -> Iterator[_Line]:
    """Return the lines of a record: when it happened, which polls saw and proved it, which rules it matched and why.

    `holding` are the alerts that hold it; with `alert`, only the rule of that alert is explained, with its `views` by record.
    """
    from actionwatch.store import receipts, records

    who, where = record.user_name or "nobody", record.cluster.name or record.account.name or record.source
    yield _Line(record.occurred_at, None, "happened", f"{record.action_kind} by {who} on {where} ({record.key})")
    late = ", late" if record.late_by is not None else ""
    backlog = ", from before the start: rules learn from it, but it does not alert" if record.is_backlog else ""
    yield _Line(record.seen_at, None, "seen", f"by a poll of {record.source}, stored as no. {record.id}{late}{backlog}")
    for copy in records.read_copies(connection, record.key):
        what = f"also by a poll of {copy.source}, stored as no. {copy.id}; it counts once, as no. {record.id}"
        yield _Line(copy.seen_at, None, "seen", what)
    receipt = receipts.read_first_covering(connection, record)
    if receipt is not None:
        window = f"{instant(receipt.starts_at)} to {instant(receipt.ends_at)}"
        count = f"{counted(receipt.record_count, 'record')}, {counted(receipt.request_count, 'request')}"
        again = f", and again until {instant(receipt.judged_at)}" if receipt.proof_count > 1 else ""
        what = f"window {window}: {count}, by {receipt.method}{again}"
        yield _Line(receipt.first_judged_at, None, "proved", what)
    if not record.is_backlog:
        yield from _rule_lines(settings, rules, record, holding, alert, views)


def _rule_lines(
    settings: Settings,
    rules: Rules,
    record: Record,
    holding: Sequence[Alert],
    alert: Alert | None,
    views: Mapping[int, Sequence[View]],
) -> Iterator[_Line]:
    """Return which current rules a record matches, with the values that decided, and what the alert's correlation counted."""
    from actionwatch.rules.explain import counted, explain, feeders_of
    from actionwatch.service import configuration

    lists = configuration.known_lists(settings)
    alerted = {each.rule.id for each in holding}
    is_matched = False
    for rule in rules.rules:
        if alert is not None and rule.name.id != alert.rule.id:
            continue
        its = views.get(record.id)
        finding = explain(rule, record, lists, feeders=feeders_of(rule, rules.rules), views=its)
        if finding.holds:
            is_matched = True
            decided = "; ".join(_decided(finding)) or "every record"
            why = "" if rule.name.id in alerted else _why_no_alert(rule, finding)
            yield _Line(record.seen_at, None, "matched", f"rule {rule.name.name}: {decided}{why}")
        if rule.correlation is not None:
            lines = counted(rule.correlation, its or ())
            yield from (_Line(record.seen_at, None, "counted", what) for what in lines)
    if not is_matched:
        nothing = (
            f"the current rule {alert.rule.name} does not match" if alert is not None else "no current rule matches"
        )
        yield _Line(record.seen_at, None, "matched", f"{nothing} this record by itself")


def _why_no_alert(rule: Rule, finding: Explanation) -> str:
    """Return why a rule that matches a record has no alert of it, as far as the rule says so."""
    if rule.mode.value == "off":
        return "; the rule is off"
    if rule.is_silent:
        return "; the rule only feeds correlations"
    if rule.correlation is not None:
        asked = [part.text.partition(": ")[2] for part in finding.parts if part.text.startswith("correlation: ")]
        return f"; it counts for the correlation ({', '.join(asked)})"
    return "; no alert holds the record: the rule was added or changed after it was stored"


def _decided(finding: Explanation) -> Iterator[str]:
    """Return the lines of a rule's tree that hold and have a value."""
    for part in finding.parts:
        if part.holds and part.found is not None:
            yield f"{part.text} <- {part.found}"
        elif part.holds:
            yield from _decided(part)


def _alert_lines(connection: Connection, alert: Alert, record: Record | None) -> Iterator[_Line]:
    """Return the lines of an alert: its history, its waiting deliveries, and when the first receiver was notified."""
    from actionwatch.store import alert_history, outbox

    if record is not None:
        is_first = record.occurred_at == alert.first_at
        group = ", ".join(f"{name}={value}" for name, value in (alert.group or {}).items()) or "itself"
        how = f"opened for {group}" if is_first else f"one of {alert.count} records grouped by {group}"
        yield _Line(max(record.seen_at, alert.opened_at), alert.id, "grouped", how)
    for entry in alert_history.read(connection, alert.id):
        yield _Line(entry.at, alert.id, entry.stage, entry.what)
    for row in outbox.read_of_alert(connection, alert.id):
        yield from _delivery_lines(connection, row)
    if alert.first_sent_at is not None:
        spans = [f"{(alert.first_sent_at - alert.first_at).total_seconds():.1f} s after it happened"]
        if alert.seen_at is not None:
            spans.append(f"{(alert.first_sent_at - alert.seen_at).total_seconds():.1f} s after it was seen")
        yield _Line(alert.first_sent_at, alert.id, "notified", ", ".join(spans))


def _delivery_lines(connection: Connection, row: Delivery) -> Iterator[_Line]:
    from actionwatch.store import outbox, suppressed_deliveries

    if row.status is DeliveryStatus.PENDING:
        yield _Line(row.due_at, row.alert_id, f"delivery to {row.receiver}", f"{row.event.word} is due then ({row.id})")
    summary_id = suppressed_deliveries.read_summary_of(connection, row.id)
    summary = outbox.read(connection, summary_id) if summary_id else None
    if summary is not None:
        what = f"reported in the summary {summary.id}, {summary.status}"
        yield _Line(summary.sent_at or summary.created_at, row.alert_id, f"delivery to {row.receiver}", what)
