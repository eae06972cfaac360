"""Every table, on one page. Times are `Instant`s, spans integer microseconds, small structures JSON text.

Written for SQLite and PostgreSQL alike. A change here needs a migration under `migrations/versions/`.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    and_,
    literal_column,
)

from actionwatch.store.timestamps import Instant

METADATA = MetaData()

# SQLite numbers rows by itself only for INTEGER PRIMARY KEY.
ROW_ID = BigInteger().with_variant(Integer(), "sqlite")

SOURCE = Table(
    "source",
    METADATA,
    Column("name", Text, primary_key=True),
    # Whose log it reads: the marks are about that, under whatever name the source has.
    Column("organisation", Text, nullable=False),
    # The source that goes on from these marks, where the configuration gave it another name.
    Column("renamed_to", Text),
    Column("begins_at", Instant, nullable=False),
    Column("alerts_from", Instant, nullable=False),
    Column("mark", Instant, nullable=False),
    Column("seen_through", Instant, nullable=False),
    Column("proved_through", Instant, nullable=False),
    Column("totals_cover_pages", Boolean, nullable=False, default=False),
    # How finely the upstream takes the bounds of a window, and when it was last asked for that; null: not settled yet.
    Column("bounds_unit", BigInteger),
    Column("bounds_asked_at", Instant),
    # The records that were marked as vanished up to this time are reported.
    Column("vanished_reported_through", Instant),
)

# A source that is catching up: what is read of which stretch of time. `began_…`: where this process took it up.
BACKLOG = Table(
    "backlog",
    METADATA,
    Column("source", Text, primary_key=True),
    Column("starts_at", Instant, nullable=False),
    Column("ends_at", Instant, nullable=False),
    Column("through", Instant, nullable=False),
    Column("record_count", BigInteger, nullable=False),
    Column("began_at", Instant, nullable=False),
    Column("began_through", Instant, nullable=False),
    Column("began_count", BigInteger, nullable=False),
    Column("noted_at", Instant, nullable=False),
)

POLL = Table(
    "poll",
    METADATA,
    Column("source", Text, primary_key=True),
    Column("last_poll_at", Instant, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("last_error", Text),
    # How far the upstream's clock is ahead of ours.
    Column("clock_skew", BigInteger, nullable=False),
)

RECORD = Table(
    "record",
    METADATA,
    Column("id", ROW_ID, primary_key=True, autoincrement=True),
    Column("source", Text, nullable=False),
    Column("record_key", Text, nullable=False),
    Column("occurred_at", Instant, nullable=False),
    Column("seen_at", Instant, nullable=False),
    Column("action_kind", Text, nullable=False),
    Column("operation", Text),
    Column("scope", Text),
    Column("severity", Text, nullable=False),
    Column("domain_type", Text),
    Column("user_name", Text),
    Column("description", Text),
    Column("account_id", Text),
    Column("account_name", Text),
    Column("cluster_id", Text),
    Column("cluster_name", Text),
    Column("organisation_id", Text),
    Column("organisation_name", Text),
    Column("upstream_id", Text),
    Column("is_time_readable", Boolean, nullable=False),
    Column("is_backlog", Boolean, nullable=False),
    Column("late_by", BigInteger),
    # When a proof showed that the upstream holds it no more; the record stays ours to keep.
    Column("vanished_at", Instant),
    Column("raw", Text, nullable=False),
    # The key begins with the time, so this one index also answers every question about a stretch of time, of one source or all.
    Index("record_by_key", "record_key", "source", unique=True),
    sqlite_autoincrement=True,  # an id is a position: never used twice, whatever retention deletes
)

RECEIPT = Table(
    "receipt",
    METADATA,
    Column("id", ROW_ID, primary_key=True, autoincrement=True),
    Column("source", Text, nullable=False),
    Column("starts_at", Instant, nullable=False),
    Column("ends_at", Instant, nullable=False),
    Column("judged_at", Instant, nullable=False),
    Column("method", Text, nullable=False),
    Column("record_count", BigInteger, nullable=False),
    Column("kind_counts", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("request_count", Integer, nullable=False),
    # The record stored last by then: clocks can be set, ids only rise.
    Column("record_through", BigInteger, nullable=False),
    Index("receipt_by_time", "source", "starts_at"),
)

SWEEP = Table(
    "sweep",
    METADATA,
    Column("source", Text, primary_key=True),
    Column("reach", BigInteger, primary_key=True),
    Column("asked_at", Instant, nullable=False),
)

# The windows that the sweeps have yet to check, or could not prove: then `failure_count` says how often in a row, and `why`.
# `must_read`: counts are not enough, the records themselves are compared.
UNPROVED = Table(
    "unproved",
    METADATA,
    Column("source", Text, primary_key=True),
    Column("starts_at", Instant, primary_key=True),
    Column("ends_at", Instant, primary_key=True),
    Column("reach", BigInteger, nullable=False),
    Column("must_read", Boolean, nullable=False),
    Column("is_reported", Boolean, nullable=False),
    Column("failure_count", Integer, nullable=False),
    Column("due_at", Instant, nullable=False),
    Column("why", Text, nullable=False),
)

# Of an organisation, however many sources read it: one change is one record.
LINKED_ACCOUNT = Table(
    "linked_account",
    METADATA,
    Column("id", ROW_ID, primary_key=True, autoincrement=True),
    Column("organisation", Text, nullable=False),
    Column("account_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("raw", Text, nullable=False),
    Column("valid_from", Instant, nullable=False),
    Column("valid_to", Instant),
    Index("linked_account_by_id", "organisation", "account_id", "valid_from"),
)

# Of an organisation: record keys depend on it, and two sources must give one action the same key.
KNOWN_FIELD = Table(
    "known_field",
    METADATA,
    Column("organisation", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("seen_at", Instant, nullable=False),
)

POSITION = Table(
    "position",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("record_id", BigInteger, nullable=False),
)

ALERT = Table(
    "alert",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("rule_id", Text, nullable=False),
    Column("rule_name", Text, nullable=False),
    Column("rule_title", Text, nullable=False),
    Column("tags", Text, nullable=False),
    Column("level", Integer, nullable=False),
    Column("title", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("runbook", Text),
    Column("labels", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("group_key", Text, nullable=False),
    Column("group_values", Text),
    Column("fields", Text, nullable=False),
    Column("realert", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("acked_by", Text),
    Column("resolved_by", Text),
    Column("resolved_at", Instant),
    Column("match_count", Integer, nullable=False),
    Column("first_at", Instant, nullable=False),
    Column("last_at", Instant, nullable=False),
    Column("opened_at", Instant, nullable=False),
    Column("late_by", BigInteger),
    # With opened_at (matched), the stamps of its way: happened, seen, matched, first delivered. It had happened by the time of
    # the newest record it opened with; a correlation's first step may be long before.
    Column("seen_at", Instant),
    Column("told_at", Instant),
    Column("happened_at", Instant, nullable=False),
    Index("alert_by_group", "group_key", "first_at"),
    Index("alert_by_opening", "opened_at"),
    Index("alert_by_rule", "rule_name", "last_at"),
)

JOINED = Table(
    "joined",
    METADATA,
    Column("alert_id", Text, primary_key=True),
    Column("record_id", BigInteger, primary_key=True),
    Index("joined_by_record", "record_id"),
)

DELIVERY = Table(
    "delivery",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("alert_id", Text, nullable=False),
    Column("receiver", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("status", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("created_at", Instant, nullable=False),
    # Giving up counts from here: the creation, or the last replay.
    Column("started_at", Instant, nullable=False),
    Column("due_at", Instant, nullable=False),
    Column("leased_until", Instant),
    Column("sent_at", Instant),
    Column("last_error", Text),
    Column("why", Text),
    Column("ref", Text),
    Column("mutes", Text),
    Column("fallback_of", Text),
    # The reason of the summary that is still to tell of a stopped message, then the summary that did.
    Column("awaits", Text),
    Column("reported_in", Text),
    Column("body", Text),
    Index("delivery_by_due", "status", "receiver", "due_at"),
    Index("delivery_by_order", "alert_id", "receiver", "ordinal", unique=True),
)

IS_LET_THROUGH = and_(DELIVERY.c.event == literal_column("'opened'"), DELIVERY.c.body.is_not(None))
"""An alert that the gates let through to a receiver. Literal, because SQLite compares it with the index's own words."""


def _only(condition: ColumnElement[bool]) -> dict[str, Any]:
    """Make an index hold only the rows that meet a condition.

    The migrations say it to PostgreSQL too. Here that would load its dialect wherever there are tables: 2 MB of memory.
    """
    return {"sqlite_where": condition}


# Small, and never chosen by SQLite where their condition is not spelt out.
Index("record_vanished", RECORD.c.source, RECORD.c.record_key, **_only(RECORD.c.vanished_at.is_not(None)))
Index("delivery_let_through", DELIVERY.c.receiver, DELIVERY.c.status, DELIVERY.c.sent_at, **_only(IS_LET_THROUGH))
Index("delivery_leased", DELIVERY.c.receiver, DELIVERY.c.leased_until, **_only(DELIVERY.c.leased_until.is_not(None)))
Index("delivery_awaiting", DELIVERY.c.receiver, DELIVERY.c.awaits, **_only(DELIVERY.c.awaits.is_not(None)))
Index("delivery_reported", DELIVERY.c.reported_in, **_only(DELIVERY.c.reported_in.is_not(None)))
Index("delivery_copied", DELIVERY.c.fallback_of, **_only(DELIVERY.c.fallback_of.is_not(None)))

REFERENCE = Table(
    "reference",
    METADATA,
    Column("alert_id", Text, primary_key=True),
    Column("receiver", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

RECEIVER = Table(
    "receiver",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("last_sent_at", Instant),
    Column("failing_since", Instant),
    Column("paused_until", Instant),
    # When its rate lets the next message go, whichever process sends it.
    Column("next_at", Instant),
    Column("last_error", Text),
    # The summary of its last storm: the next one waits for it.
    Column("storm_summary", Text),
)

SILENCE = Table(
    "silence",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("matchers", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("comment", Text, nullable=False),
    Column("starts_at", Instant, nullable=False),
    Column("ends_at", Instant, nullable=False),
    Column("file", Text),
    Index("silence_by_end", "ends_at"),
)

LATENCY = Table(
    "latency",
    METADATA,
    Column("rule", Text, primary_key=True),
    Column("receiver", Text, primary_key=True),
    Column("since", Text, primary_key=True),
    # Each bucket counts on its own, up to so many seconds; -1: beyond the last bound.
    Column("bucket", Integer, primary_key=True),
    Column("message_count", BigInteger, nullable=False),
    Column("total", BigInteger, nullable=False),
)

TROUBLE = Table(
    "trouble",
    METADATA,
    Column("trouble", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("since", Instant, nullable=False),
    Column("what", Text, nullable=False),
    Column("remedy", Text, nullable=False),
    Column("alert_id", Text, nullable=False),
    Index("trouble_by_alert", "alert_id"),
)

STORY = Table(
    "story",
    METADATA,
    Column("id", ROW_ID, primary_key=True, autoincrement=True),
    Column("at", Instant, nullable=False),
    Column("alert_id", Text, nullable=False),
    Column("stage", Text, nullable=False),
    Column("what", Text, nullable=False),
    Index("story_by_alert", "alert_id"),
)

# The alerts that correlations found, told or only learned: a fold goes on from them after a restart.
CORRELATED = Table(
    "correlated",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("rule_id", Text, nullable=False),
    Column("group_values", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("first_at", Instant, nullable=False),
    Column("fired_at", Instant, nullable=False),
    Column("until", Instant, nullable=False),
    Column("is_reported", Boolean, nullable=False),
    Column("is_open", Boolean, nullable=False),
    Column("is_current", Boolean, nullable=False),
    # The alert that people see, where it is another one: see base/model.py::CorrelatedAlert.
    Column("reported_as", Text),
    Column("resolved_at", Instant),
    Index("correlated_by_rule", "rule_id", "until"),
    Index("correlated_by_reported", "reported_as"),
)

# Which version of a correlation runs, and the newest record from before it: what is older cannot open an alert by itself.
CORRELATION = Table(
    "correlation",
    METADATA,
    Column("rule_id", Text, primary_key=True),
    Column("version", Text, nullable=False),
    Column("floor", BigInteger, nullable=False),
)

# The rule documents that run, as they ran last: what stands in for a file that was broken since.
RULE_VERSION = Table(
    "rule_version",
    METADATA,
    Column("rule_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("file", Text, nullable=False),
    Column("line", Integer, nullable=False),
    Column("mode", Text),
    Column("document", Text, nullable=False),
    Column("lists", Text, nullable=False),
    Column("since", Instant, nullable=False),
)

# The operator's templates, as they last were in order.
TEMPLATE_VERSION = Table(
    "template_version",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("body", Text, nullable=False),
)
