"""Every table, on one page. Times are `Instant`s, spans integer microseconds, small structures JSON text.

Written for SQLite and PostgreSQL alike. A change here needs a migration under `migrations/versions/`.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, MetaData, Table, Text

from actionwatch.store.database import Instant

METADATA = MetaData()

# SQLite numbers rows by itself only for INTEGER PRIMARY KEY.
ROW_ID = BigInteger().with_variant(Integer(), "sqlite")

SOURCE = Table(
    "source",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("begins_at", Instant, nullable=False),
    Column("alerts_from", Instant, nullable=False),
    Column("mark", Instant, nullable=False),
    Column("seen_through", Instant, nullable=False),
    Column("proved_through", Instant, nullable=False),
    Column("totals_cover_pages", Boolean, nullable=False, default=False),
)

POLL = Table(
    "poll",
    METADATA,
    Column("source", Text, primary_key=True),
    Column("last_poll_at", Instant, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("last_error", Text),
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
    # The key begins with the time, so this one index also answers every question about a stretch of time.
    Index("record_by_key", "source", "record_key", unique=True),
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
    Index("receipt_by_time", "source", "starts_at"),
)

SWEEP = Table(
    "sweep",
    METADATA,
    Column("source", Text, primary_key=True),
    Column("reach", BigInteger, primary_key=True),
    Column("asked_at", Instant, nullable=False),
)

LINKED_ACCOUNT = Table(
    "linked_account",
    METADATA,
    Column("id", ROW_ID, primary_key=True, autoincrement=True),
    Column("source", Text, nullable=False),
    Column("account_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("raw", Text, nullable=False),
    Column("valid_from", Instant, nullable=False),
    Column("valid_to", Instant),
    Index("linked_account_by_id", "source", "account_id", "valid_from"),
)

KNOWN_FIELD = Table(
    "known_field",
    METADATA,
    Column("source", Text, primary_key=True),
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
    Index("alert_by_group", "group_key", "first_at"),
    Index("alert_by_opening", "opened_at"),
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
    Column("body", Text),
    Index("delivery_by_due", "status", "receiver", "due_at"),
    Index("delivery_by_order", "alert_id", "receiver", "ordinal", unique=True),
)

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
    Column("last_error", Text),
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
