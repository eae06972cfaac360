"""All tables. `column_types.py` says how times, durations and small structures are stored.

From 1.0 on, a change here needs a migration in `migrations/versions/`.
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
    LargeBinary,
    MetaData,
    Table,
    Text,
    and_,
    false,
    literal_column,
    true,
)

from actionwatch.base.access import AccessRole
from actionwatch.base.delivery import DeliveryStatus
from actionwatch.base.model import Event, Status
from actionwatch.base.rule_state import RuleState
from actionwatch.store.column_types import (
    Duration,
    EscalationText,
    Instant,
    LevelNumber,
    Object,
    OptionalTexts,
    Texts,
    word,
)

METADATA = MetaData()

# SQLite numbers rows only for INTEGER PRIMARY KEY.
_ROW_ID = BigInteger().with_variant(Integer(), "sqlite")

SOURCE = Table(
    "source",
    METADATA,
    Column("name", Text, primary_key=True),
    # The organisation of the log: the marks apply to it, even if the source is renamed.
    Column("organisation", Text, nullable=False),
    # The new name of the source, which continues from these marks, if the configuration renamed it.
    Column("renamed_to", Text),
    Column("begins_at", Instant, nullable=False),
    Column("alerts_from", Instant, nullable=False),
    Column("mark", Instant, nullable=False),
    Column("seen_through", Instant, nullable=False),
    Column("proved_through", Instant, nullable=False),
    Column("totals_cover_pages", Boolean, nullable=False, default=False),
    # The resolution of the bounds of a window at the upstream, and when it was last measured; null if unknown.
    Column("bounds_unit", Duration),
    Column("bounds_asked_at", Instant),
    # The records that were marked as vanished up to this time are reported.
    Column("vanished_reported_through", Instant),
)

# A source that is catching up: the time span and how far it is read. `began_…`: where this process started.
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
    # How far the clock of the upstream is ahead of ours.
    Column("clock_skew", Duration, nullable=False),
    # How long the source waits after a poll that failed.
    Column("backoff", Duration, nullable=False),
)

RECORD = Table(
    "record",
    METADATA,
    Column("id", _ROW_ID, primary_key=True, autoincrement=True),
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
    Column("late_by", Duration),
    # When a proof showed that the upstream no longer holds the record. We keep it.
    Column("vanished_at", Instant),
    Column("raw", Text, nullable=False),
    # A key begins with the time, so these indexes also serve every query for a time span, of all sources or of one. The window
    # of a quiet source begins with its last record, which may be a million records of others ago.
    Index("record_by_key", "record_key", "source", unique=True),
    Index("record_by_source", "source", "record_key"),
    sqlite_autoincrement=True,  # an id is a position: it is never used again, even after retention deletes the record
)

# The other keys of records: those that they have in the log since the upstream sends more or fewer of their fields.
RECORD_ALIAS = Table(
    "record_alias",
    METADATA,
    Column("alias_key", Text, primary_key=True),
    # Of the records in the log with one key, those after the stored ones.
    Column("ordinal", Integer, primary_key=True),
    Column("record_key", Text, nullable=False),
)

# Counters, so that no command has to count the rows of `record`. Both only grow; the rows now stored are the difference.
RECORD_COUNT = Table(
    "record_count",
    METADATA,
    Column("source", Text, primary_key=True),
    Column("stored_count", BigInteger, nullable=False),
    Column("deleted_count", BigInteger, nullable=False),
    # When the first record of the source was seen.
    Column("first_seen_at", Instant, nullable=False),
)

# The distinct users, clusters, accounts and kinds of the records, by which people search: see `record_values.py`.
RECORD_VALUE = Table(
    "record_value",
    METADATA,
    Column("id", _ROW_ID, primary_key=True, autoincrement=True),
    # What identifies it: the three columns that follow, or their hash if they are long.
    Column("value_key", Text, nullable=False),
    Column("field", Text, nullable=False),
    # Empty if it has none.
    Column("name", Text, nullable=False),
    Column("entity_id", Text, nullable=False),
    # The name and the id, in the form in which a search compares them.
    Column("searched", Text, nullable=False),
    Index("record_value_by_key", "value_key", unique=True),
)

# The records in the order of their keys, in blocks, each with the set of the values that its records have: a search reads only
# the blocks that have those it looks for. See `record_blocks.py`.
RECORD_BLOCK = Table(
    "record_block",
    METADATA,
    Column("low_key", Text, primary_key=True),
    Column("high_key", Text, nullable=False),
    Column("size", Integer, nullable=False),
    Column("value_bits", LargeBinary, nullable=False),
)

RECEIPT = Table(
    "receipt",
    METADATA,
    Column("id", _ROW_ID, primary_key=True, autoincrement=True),
    Column("source", Text, nullable=False),
    Column("starts_at", Instant, nullable=False),
    Column("ends_at", Instant, nullable=False),
    # When the first and the last of its proofs were made.
    Column("first_judged_at", Instant, nullable=False),
    Column("judged_at", Instant, nullable=False),
    Column("proof_count", BigInteger, nullable=False),
    Column("method", Text, nullable=False),
    Column("record_count", BigInteger, nullable=False),
    Column("kind_counts", Object, nullable=False),
    Column("digest", Text, nullable=False),
    Column("request_count", BigInteger, nullable=False),
    # The newest record when the receipt was written. An id, because clocks can be set back.
    Column("record_through", BigInteger, nullable=False),
    # `records proof` reads only this index.
    Index("receipt_by_time", "source", "starts_at", "ends_at"),
    Index("receipt_by_judgement", "source", "judged_at"),
    # Retention deletes from the oldest end on.
    Index("receipt_by_end", "ends_at"),
    sqlite_autoincrement=True,  # an id is given once
)

SWEEP = Table(
    "sweep",
    METADATA,
    Column("source", Text, primary_key=True),
    Column("reach", Duration, primary_key=True),
    Column("asked_at", Instant, nullable=False),
)

# Windows that the sweeps must check again, or could not prove. `failure_count` counts the failures in a row.
# `must_read`: counts are not enough, the records themselves are compared.
UNPROVED_WINDOW = Table(
    "unproved_window",
    METADATA,
    Column("source", Text, primary_key=True),
    Column("starts_at", Instant, primary_key=True),
    Column("ends_at", Instant, primary_key=True),
    Column("reach", Duration, nullable=False),
    Column("must_read", Boolean, nullable=False),
    Column("is_reported", Boolean, nullable=False),
    Column("failure_count", Integer, nullable=False),
    Column("due_at", Instant, nullable=False),
    Column("why", Text, nullable=False),
)

# Stored per organisation, so that one change is one record even if several sources read it.
LINKED_ACCOUNT = Table(
    "linked_account",
    METADATA,
    Column("id", _ROW_ID, primary_key=True, autoincrement=True),
    Column("organisation", Text, nullable=False),
    Column("account_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("raw", Object, nullable=False),
    Column("valid_from", Instant, nullable=False),
    Column("valid_to", Instant),
    Index("linked_account_by_id", "organisation", "account_id", "valid_from"),
)

# Stored per organisation, because record keys depend on it, and an action must have the same key in all sources.
SEEN_FIELD = Table(
    "seen_field",
    METADATA,
    Column("organisation", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("seen_at", Instant, nullable=False),
)

# The kinds of a source's records that nobody declared. `is_reported`: the self-alert of the source has named it.
UNKNOWN_KIND = Table(
    "unknown_kind",
    METADATA,
    Column("source", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("is_reported", Boolean, nullable=False),
)

POSITION = Table(
    "position",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("record_id", BigInteger, nullable=False),
    # How many records the step has handled.
    Column("handled_count", BigInteger, nullable=False),
)

ALERT = Table(
    "alert",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("rule_id", Text, nullable=False),
    Column("rule_name", Text, nullable=False),
    Column("rule_title", Text, nullable=False),
    Column("tags", Texts, nullable=False),
    Column("level", LevelNumber, nullable=False),
    Column("title", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("runbook", Text),
    Column("labels", Object, nullable=False),
    Column("source", Text, nullable=False),
    Column("group_key", Text, nullable=False),
    Column("group_values", Object),
    Column("fields", Texts, nullable=False),
    Column("realert", Duration, nullable=False),
    Column("status", word(Status), nullable=False),
    Column("acked_by", Text),
    Column("resolved_by", Text),
    Column("resolved_at", Instant),
    Column("match_count", Integer, nullable=False),
    Column("first_at", Instant, nullable=False),
    Column("last_at", Instant, nullable=False),
    Column("opened_at", Instant, nullable=False),
    Column("late_by", Duration),
    # With `opened_at`, the times of an alert: happened, seen, matched, first delivered. `happened_at` is the time of the newest
    # record with which it opened, because the first record of a correlation may be much older.
    Column("seen_at", Instant),
    Column("first_sent_at", Instant),
    Column("happened_at", Instant, nullable=False),
    Column("escalation", EscalationText),
    # Of the record with which it opened.
    Column("user_name", Text),
    Column("cluster_name", Text),
    # Of its rule: nobody is notified about it.
    Column("is_shadow", Boolean, nullable=False),
    Column("assigned_to", Text),
    Column("note", Text),
    Column("noted_by", Text),
    Column("reopened_by", Text),
    Column("reopened_at", Instant),
    Index("alert_by_group", "group_key", "first_at"),
    Index("alert_by_opening", "opened_at"),
    Index("alert_by_rule", "rule_name", "last_at"),
    # Counting alerts reads only this index.
    Index("alert_by_state", "level", "status"),
    # Which alerts can still be joined: those that ended less than the longest `realert` ago.
    Index("alert_by_end", "last_at"),
    Index("alert_by_realert", "realert"),
)

ALERT_RECORD = Table(
    "alert_record",
    METADATA,
    Column("id", _ROW_ID, primary_key=True, autoincrement=True),
    Column("alert_id", Text, nullable=False),
    Column("record_id", BigInteger, nullable=False),
    # Of the record, so that the newest ones of an alert with thousands are found.
    Column("occurred_at", Instant, nullable=False),
    Index("alert_record_by_alert", "alert_id", "record_id", unique=True),
    Index("alert_record_by_record", "record_id"),
    Index("alert_record_by_time", "alert_id", "occurred_at"),
    sqlite_autoincrement=True,  # an id is given once
)

DELIVERY = Table(
    "delivery",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("alert_id", Text, nullable=False),
    Column("receiver", Text, nullable=False),
    Column("event", word(Event), nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("status", word(DeliveryStatus), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("created_at", Instant, nullable=False),
    # `give_up_after` counts from here: the creation, or the last replay.
    Column("started_at", Instant, nullable=False),
    Column("due_at", Instant, nullable=False),
    Column("leased_until", Instant),
    Column("leased_by", Text),
    Column("sent_at", Instant),
    Column("last_error", Text),
    Column("why", Text),
    Column("ref", Text),
    Column("mutes", OptionalTexts),
    Column("fallback_of", Text),
    # The reason of the summary that still has to report this row, and the id of the summary that reported it.
    Column("awaits", Text),
    Column("reported_in", Text),
    Column("body", Text),
    # The ordinal distinguishes escalations, so that counting a queue reads only this index.
    Index("delivery_by_due", "status", "receiver", "due_at", "ordinal"),
    Index("delivery_by_order", "alert_id", "receiver", "ordinal", unique=True),
    # `deliveries list` reads from the newest on, retention from the oldest on.
    Index("delivery_by_creation", "created_at"),
    Index("delivery_by_receiver", "receiver", "created_at"),
)

# Literals, because SQLite compares them with the text of an index.
IS_LET_THROUGH = and_(DELIVERY.c.event == literal_column("'opened'"), DELIVERY.c.body.is_not(None))
"""An alert that passed the gates of a receiver."""
HAS_OTHER_KEY = RECORD.c.record_key >= literal_column("'g'")
"""A record whose key does not begin with a time in hex digits: `own-…` and `untimed-…` sort after those that do."""


def _partial(name: str, *columns: Column[Any], where: ColumnElement[bool]) -> None:
    """Add an index of the rows that meet a condition. SQLite uses it only in a query that contains the condition.

    `postgresql.py` takes the condition from here: naming it for both would import the dialect of PostgreSQL in every command.
    """
    Index(name, *columns, sqlite_where=where)


NEEDS_PERSON = and_(ALERT.c.status == literal_column("'open'"), ALERT.c.is_shadow == false())
"""An alert that waits for a decision of a person."""
_VANISHED = RECORD.c.vanished_at.is_not(None)
_partial("record_vanished", RECORD.c.source, RECORD.c.record_key, RECORD.c.vanished_at, where=_VANISHED)
_partial("record_untimed", RECORD.c.occurred_at, RECORD.c.record_key, RECORD.c.source, where=HAS_OTHER_KEY)
# The list that people see first, its counts and its groups read only this index.
_GROUPED = (ALERT.c.rule_name, ALERT.c.source, ALERT.c.user_name, ALERT.c.cluster_name)
_partial("alert_needing_person", ALERT.c.level, ALERT.c.opened_at, *_GROUPED, where=NEEDS_PERSON)
_INHIBITED = DELIVERY.c.why == literal_column("'inhibition'")
_partial("delivery_inhibited", DELIVERY.c.ref, DELIVERY.c.alert_id, where=_INHIBITED)
_partial("delivery_let_through", DELIVERY.c.receiver, DELIVERY.c.status, DELIVERY.c.sent_at, where=IS_LET_THROUGH)
_partial("delivery_leased", DELIVERY.c.receiver, DELIVERY.c.leased_until, where=DELIVERY.c.leased_until.is_not(None))
_SUMMARY = (DELIVERY.c.receiver, DELIVERY.c.awaits, DELIVERY.c.ref, DELIVERY.c.mutes, DELIVERY.c.due_at)
_partial("delivery_awaiting", *_SUMMARY, where=DELIVERY.c.awaits.is_not(None))
_partial("delivery_reported", DELIVERY.c.reported_in, where=DELIVERY.c.reported_in.is_not(None))
_partial("delivery_copied", DELIVERY.c.fallback_of, where=DELIVERY.c.fallback_of.is_not(None))

MESSAGE_REFERENCE = Table(
    "message_reference",
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
    # When its rate allows the next message, of any process.
    Column("next_at", Instant),
    Column("last_error", Text),
    # The summary of its last storm, for which the next one waits.
    Column("storm_summary", Text),
)

SILENCE = Table(
    "silence",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("matchers", Texts, nullable=False),
    Column("author", Text, nullable=False),
    Column("comment", Text, nullable=False),
    Column("starts_at", Instant, nullable=False),
    Column("ends_at", Instant, nullable=False),
    Column("file", Text),
    # Who ended it before its time.
    Column("ended_by", Text),
    Index("silence_by_end", "ends_at"),
)

DELIVERY_LATENCY = Table(
    "delivery_latency",
    METADATA,
    Column("receiver", Text, primary_key=True),
    # The upper bound in seconds, -1 above the last bound. Buckets are not cumulative.
    Column("bucket", Integer, primary_key=True),
    Column("message_count", BigInteger, nullable=False),
    Column("total", BigInteger, nullable=False),
)

SELF_ALERT = Table(
    "self_alert",
    METADATA,
    Column("trouble", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("since", Instant, nullable=False),
    Column("what", Text, nullable=False),
    Column("remedy", Text, nullable=False),
    Column("alert_id", Text, nullable=False),
    Index("self_alert_by_alert", "alert_id"),
)

ALERT_HISTORY = Table(
    "alert_history",
    METADATA,
    Column("id", _ROW_ID, primary_key=True, autoincrement=True),
    Column("at", Instant, nullable=False),
    Column("alert_id", Text, nullable=False),
    Column("stage", Text, nullable=False),
    Column("what", Text, nullable=False),
    Index("alert_history_by_alert", "alert_id"),
    sqlite_autoincrement=True,  # an id is given once
)

# The hits of correlations: a record in a group.
HIT = Table(
    "hit",
    METADATA,
    Column("rule", Integer, primary_key=True, autoincrement=False),
    Column("group_id", Text, primary_key=True),
    Column("at", Instant, primary_key=True),
    Column("step", Integer, primary_key=True, autoincrement=False),
    Column("key", Text, primary_key=True),
    Column("record_id", BigInteger, nullable=False),
    Column("is_backlog", Boolean, nullable=False),
    Column("value", Text),
    sqlite_with_rowid=False,  # the hits of a group lie together
)

# The groups in which hits were added, of rules that are evaluated later: while they are fed.
TOUCHED_GROUP = Table(
    "touched_group",
    METADATA,
    Column("rule", Integer, primary_key=True, autoincrement=False),
    Column("group_id", Text, primary_key=True),
    Column("group_values", Texts, nullable=False),
    Column("first_at", Instant, nullable=False),
    Column("last_at", Instant, nullable=False),
)

# The alerts that correlations found, reported or not: see `CorrelatedAlert` in base/model.py.
CORRELATED_ALERT = Table(
    "correlated_alert",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("rule_id", Text, nullable=False),
    Column("group_values", Texts, nullable=False),
    Column("origin", Text, nullable=False),
    Column("first_at", Instant, nullable=False),
    Column("fired_at", Instant, nullable=False),
    Column("until", Instant, nullable=False),
    Column("is_reported", Boolean, nullable=False),
    Column("is_open", Boolean, nullable=False),
    Column("is_current", Boolean, nullable=False),
    # The alert that people see, if it is another one.
    Column("reported_as", Text),
    Column("resolved_at", Instant),
    Column("group_id", Text, nullable=False),
    Column("firing_at", Instant),
    Column("firing_step", Integer),
    Column("firing_key", Text),
    Column("has_waited", Boolean, nullable=False),
    Column("is_quiet", Boolean, nullable=False),
    Column("back_at", Instant),
    Column("is_judged", Boolean, nullable=False),
    Column("is_noted", Boolean, nullable=False),
    Column("pending_at", Instant),
    Index("correlated_alert_by_rule", "rule_id", "until"),
    Index("correlated_alert_by_end", "until"),
    Index("correlated_alert_by_group", "group_id", "fired_at"),
)
_REPORTED = CORRELATED_ALERT.c.reported_as
_partial("correlated_alert_reported", _REPORTED, where=_REPORTED.is_not(None))
_partial("correlated_alert_open", CORRELATED_ALERT.c.rule_id, where=CORRELATED_ALERT.c.is_open == true())
_PENDING = CORRELATED_ALERT.c.pending_at
_partial("correlated_alert_pending", _PENDING, where=_PENDING.is_not(None))

# How far each correlation was fed. A record up to `floor` is older than the rule, and cannot open an alert alone.
CORRELATION_VERSION = Table(
    "correlation_version",
    METADATA,
    Column("rule_id", Text, primary_key=True),
    Column("version", Text, nullable=False),
    Column("floor", BigInteger, nullable=False),
    # The rule in `hit`: another one each time that it is fed again.
    Column("number", Integer, nullable=False),
    Column("digest", Text),
    # The oldest records that it was fed; null: all there are.
    Column("fed_from", Instant),
    # The last record that it was fed, while it is; null once it is fed with each batch.
    Column("fed_through", BigInteger),
    # The beginning of the sources, for which it was fed.
    Column("begins_at", Instant),
    Column("alerts_from", Instant),
)

# The last good versions of the rule documents, which run if a file is broken.
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

# What each rule document did over time. Append-only: see `base/rule_state.py`.
RULE_HISTORY = Table(
    "rule_history",
    METADATA,
    Column("id", _ROW_ID, primary_key=True, autoincrement=True),
    Column("at", Instant, nullable=False),
    Column("rule_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("state", word(RuleState), nullable=False),
    Column("is_held", Boolean, nullable=False),
    Column("why", Text, nullable=False),
    Column("since", Instant),
    Column("file", Text, nullable=False),
    Index("rule_history_by_rule", "rule_id", "id"),
    sqlite_autoincrement=True,  # an id is given once
)

# The last good versions of the operator's templates.
TEMPLATE_VERSION = Table(
    "template_version",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("body", Text, nullable=False),
)

# The tokens of people for the console and the API. `digest` is the SHA-256 of the secret, which is stored nowhere.
TOKEN = Table(
    "token",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("digest", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("role", word(AccessRole), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_at", Instant),
    Column("last_used_at", Instant),
    Column("revoked_at", Instant),
    Column("revoked_by", Text),
    Index("token_by_digest", "digest", unique=True),
)

# The browsers that signed in: here, so that each replica knows them. `digest` is that of the cookie. `token_id` is null for the
# token of the configuration.
SESSION = Table(
    "session",
    METADATA,
    Column("digest", Text, primary_key=True),
    Column("token_id", Text),
    Column("ends_at", Instant, nullable=False),
    Index("session_by_token", "token_id", "ends_at"),
    Index("session_by_end", "ends_at"),
)

# The versions of alerts and silences, in the order of their commits: see `row_versions.py`.
ROW_VERSION = Table(
    "row_version",
    METADATA,
    Column("id", _ROW_ID, primary_key=True, autoincrement=True),
    Column("table_name", Text, nullable=False),
    Column("row_key", Text, nullable=False),
    Index("row_version_by_row", "table_name", "row_key", "id"),
    sqlite_autoincrement=True,  # an id is given once
)

# The health of each stream of the configuration. `failing_since` is null while its destination accepts messages.
STREAM = Table(
    "stream",
    METADATA,
    Column("name", Text, primary_key=True),
    # When it began, or was last rewound: what waits has been waiting since then at most.
    Column("started_at", Instant, nullable=False),
    Column("sent_count", BigInteger, nullable=False),
    Column("last_sent_at", Instant),
    Column("failing_since", Instant),
    Column("last_error", Text),
)

# How far a stream has read each table that it reads. `planned_through`: where the object ends that is being written.
STREAM_POSITION = Table(
    "stream_position",
    METADATA,
    Column("stream", Text, primary_key=True),
    Column("feed", Text, primary_key=True),
    Column("row_id", BigInteger, nullable=False),
    Column("planned_through", BigInteger),
)

# Through which time a stream has stated that it sent all records of a source, and from when on.
STREAM_MARK = Table(
    "stream_mark",
    METADATA,
    Column("stream", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("begins_at", Instant, nullable=False),
    Column("complete_through", Instant, nullable=False),
)

# The messages of streams that cannot be made again from their rows with the same bytes, until they are sent; and those that a
# destination refused (`refused_at`), until a person sends them again or drops them.
STREAM_MESSAGE = Table(
    "stream_message",
    METADATA,
    Column("id", _ROW_ID, primary_key=True, autoincrement=True),
    Column("stream", Text, nullable=False),
    Column("message_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("row_id", BigInteger, nullable=False),
    Column("at", Instant, nullable=False),
    Column("partition_key", Text, nullable=False),
    Column("content_type", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("refused_at", Instant),
    Column("why", Text),
    Index("stream_message_by_stream", "stream", "refused_at", "id"),
    sqlite_autoincrement=True,  # an id is a place in the order of sending
)
