-- What version 0004 made of an empty database in PostgreSQL, the first that used one. This file never changes.
CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num));
INSERT INTO alembic_version VALUES ('0004');
CREATE TABLE lease (
    name text PRIMARY KEY, owner text NOT NULL, host text NOT NULL, term bigint NOT NULL, until timestamptz NOT NULL,
    note bytea NOT NULL
);
CREATE TABLE alert (
  id TEXT COLLATE "C" NOT NULL,
  rule_id TEXT COLLATE "C" NOT NULL,
  rule_name TEXT COLLATE "C" NOT NULL,
  rule_title TEXT COLLATE "C" NOT NULL,
  tags TEXT COLLATE "C" NOT NULL,
  level INTEGER NOT NULL,
  title TEXT COLLATE "C" NOT NULL,
  body TEXT COLLATE "C" NOT NULL,
  runbook TEXT COLLATE "C",
  labels TEXT COLLATE "C" NOT NULL,
  source TEXT COLLATE "C" NOT NULL,
  group_key TEXT COLLATE "C" NOT NULL,
  group_values TEXT COLLATE "C",
  fields TEXT COLLATE "C" NOT NULL,
  realert BIGINT NOT NULL,
  status TEXT COLLATE "C" NOT NULL,
  acked_by TEXT COLLATE "C",
  resolved_by TEXT COLLATE "C",
  resolved_at BIGINT,
  match_count INTEGER NOT NULL,
  first_at BIGINT NOT NULL,
  last_at BIGINT NOT NULL,
  opened_at BIGINT NOT NULL,
  late_by BIGINT,
  seen_at BIGINT,
  first_sent_at BIGINT,
  happened_at BIGINT NOT NULL,
  PRIMARY KEY (id)
);
CREATE INDEX alert_by_group ON alert (group_key, first_at);
CREATE INDEX alert_by_opening ON alert (opened_at);
CREATE INDEX alert_by_rule ON alert (rule_name, last_at);
CREATE INDEX alert_by_state ON alert (level, status);
CREATE TABLE alert_history (
  id BIGSERIAL NOT NULL,
  at BIGINT NOT NULL,
  alert_id TEXT COLLATE "C" NOT NULL,
  stage TEXT COLLATE "C" NOT NULL,
  what TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY (id)
);
CREATE INDEX alert_history_by_alert ON alert_history (alert_id);
CREATE TABLE alert_record (
  alert_id TEXT COLLATE "C" NOT NULL,
  record_id BIGINT NOT NULL,
  PRIMARY KEY (alert_id, record_id)
);
CREATE INDEX alert_record_by_record ON alert_record (record_id);
CREATE TABLE backlog (
  source TEXT COLLATE "C" NOT NULL,
  starts_at BIGINT NOT NULL,
  ends_at BIGINT NOT NULL,
  through BIGINT NOT NULL,
  record_count BIGINT NOT NULL,
  began_at BIGINT NOT NULL,
  began_through BIGINT NOT NULL,
  began_count BIGINT NOT NULL,
  noted_at BIGINT NOT NULL,
  PRIMARY KEY (source)
);
CREATE TABLE correlated_alert (
  id TEXT COLLATE "C" NOT NULL,
  rule_id TEXT COLLATE "C" NOT NULL,
  group_values TEXT COLLATE "C" NOT NULL,
  origin TEXT COLLATE "C" NOT NULL,
  first_at BIGINT NOT NULL,
  fired_at BIGINT NOT NULL,
  until BIGINT NOT NULL,
  is_reported BOOLEAN NOT NULL,
  is_open BOOLEAN NOT NULL,
  is_current BOOLEAN NOT NULL,
  reported_as TEXT COLLATE "C",
  resolved_at BIGINT,
  epoch BIGINT,
  PRIMARY KEY (id)
);
CREATE INDEX correlated_alert_by_epoch ON correlated_alert (epoch);
CREATE INDEX correlated_alert_by_reported ON correlated_alert (reported_as);
CREATE INDEX correlated_alert_by_rule ON correlated_alert (rule_id, until);
CREATE TABLE correlation_state (
  id SERIAL NOT NULL,
  position BIGINT NOT NULL,
  epoch BIGINT NOT NULL,
  digest TEXT COLLATE "C" NOT NULL,
  body BYTEA NOT NULL,
  PRIMARY KEY (id)
);
CREATE TABLE correlation_version (
  rule_id TEXT COLLATE "C" NOT NULL,
  version TEXT COLLATE "C" NOT NULL,
  floor BIGINT NOT NULL,
  PRIMARY KEY (rule_id)
);
CREATE TABLE delivery (
  id TEXT COLLATE "C" NOT NULL,
  alert_id TEXT COLLATE "C" NOT NULL,
  receiver TEXT COLLATE "C" NOT NULL,
  event TEXT COLLATE "C" NOT NULL,
  ordinal INTEGER NOT NULL,
  status TEXT COLLATE "C" NOT NULL,
  attempts INTEGER NOT NULL,
  created_at BIGINT NOT NULL,
  started_at BIGINT NOT NULL,
  due_at BIGINT NOT NULL,
  leased_until BIGINT,
  sent_at BIGINT,
  last_error TEXT COLLATE "C",
  why TEXT COLLATE "C",
  ref TEXT COLLATE "C",
  mutes TEXT COLLATE "C",
  fallback_of TEXT COLLATE "C",
  awaits TEXT COLLATE "C",
  reported_in TEXT COLLATE "C",
  body TEXT COLLATE "C",
  PRIMARY KEY (id)
);
CREATE INDEX delivery_awaiting ON delivery (receiver, awaits) WHERE awaits IS NOT NULL;
CREATE INDEX delivery_by_due ON delivery (status, receiver, due_at, ordinal);
CREATE UNIQUE INDEX delivery_by_order ON delivery (alert_id, receiver, ordinal);
CREATE INDEX delivery_copied ON delivery (fallback_of) WHERE fallback_of IS NOT NULL;
CREATE INDEX delivery_leased ON delivery (receiver, leased_until) WHERE leased_until IS NOT NULL;
CREATE INDEX delivery_let_through ON delivery (receiver, status, sent_at) WHERE event = 'opened' AND body IS NOT NULL;
CREATE INDEX delivery_reported ON delivery (reported_in) WHERE reported_in IS NOT NULL;
CREATE TABLE delivery_latency (
  rule TEXT COLLATE "C" NOT NULL,
  receiver TEXT COLLATE "C" NOT NULL,
  since TEXT COLLATE "C" NOT NULL,
  bucket INTEGER NOT NULL,
  message_count BIGINT NOT NULL,
  total BIGINT NOT NULL,
  PRIMARY KEY (rule, receiver, since, bucket)
);
CREATE TABLE linked_account (
  id BIGSERIAL NOT NULL,
  organisation TEXT COLLATE "C" NOT NULL,
  account_id TEXT COLLATE "C" NOT NULL,
  name TEXT COLLATE "C" NOT NULL,
  raw TEXT COLLATE "C" NOT NULL,
  valid_from BIGINT NOT NULL,
  valid_to BIGINT,
  PRIMARY KEY (id)
);
CREATE INDEX linked_account_by_id ON linked_account (organisation, account_id, valid_from);
CREATE TABLE message_reference (
  alert_id TEXT COLLATE "C" NOT NULL,
  receiver TEXT COLLATE "C" NOT NULL,
  value TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY (alert_id, receiver)
);
CREATE TABLE poll (
  source TEXT COLLATE "C" NOT NULL,
  last_poll_at BIGINT NOT NULL,
  failures INTEGER NOT NULL,
  last_error TEXT COLLATE "C",
  clock_skew BIGINT NOT NULL,
  backoff BIGINT,
  PRIMARY KEY (source)
);
CREATE TABLE position (
  name TEXT COLLATE "C" NOT NULL,
  record_id BIGINT NOT NULL,
  handled_count BIGINT NOT NULL,
  PRIMARY KEY (name)
);
CREATE TABLE receipt (
  id BIGSERIAL NOT NULL,
  source TEXT COLLATE "C" NOT NULL,
  starts_at BIGINT NOT NULL,
  ends_at BIGINT NOT NULL,
  first_judged_at BIGINT NOT NULL,
  judged_at BIGINT NOT NULL,
  proof_count BIGINT NOT NULL,
  method TEXT COLLATE "C" NOT NULL,
  record_count BIGINT NOT NULL,
  kind_counts TEXT COLLATE "C" NOT NULL,
  digest TEXT COLLATE "C" NOT NULL,
  request_count BIGINT NOT NULL,
  record_through BIGINT NOT NULL,
  PRIMARY KEY (id)
);
CREATE INDEX receipt_by_judgement ON receipt (source, judged_at);
CREATE INDEX receipt_by_time ON receipt (source, starts_at, ends_at);
CREATE TABLE receiver (
  name TEXT COLLATE "C" NOT NULL,
  last_sent_at BIGINT,
  failing_since BIGINT,
  paused_until BIGINT,
  next_at BIGINT,
  last_error TEXT COLLATE "C",
  storm_summary TEXT COLLATE "C",
  PRIMARY KEY (name)
);
CREATE TABLE record (
  id BIGSERIAL NOT NULL,
  source TEXT COLLATE "C" NOT NULL,
  record_key TEXT COLLATE "C" NOT NULL,
  occurred_at BIGINT NOT NULL,
  seen_at BIGINT NOT NULL,
  action_kind TEXT COLLATE "C" NOT NULL,
  operation TEXT COLLATE "C",
  scope TEXT COLLATE "C",
  severity TEXT COLLATE "C" NOT NULL,
  domain_type TEXT COLLATE "C",
  user_name TEXT COLLATE "C",
  description TEXT COLLATE "C",
  account_id TEXT COLLATE "C",
  account_name TEXT COLLATE "C",
  cluster_id TEXT COLLATE "C",
  cluster_name TEXT COLLATE "C",
  organisation_id TEXT COLLATE "C",
  organisation_name TEXT COLLATE "C",
  upstream_id TEXT COLLATE "C",
  is_time_readable BOOLEAN NOT NULL,
  is_backlog BOOLEAN NOT NULL,
  late_by BIGINT,
  vanished_at BIGINT,
  raw TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY (id)
);
CREATE UNIQUE INDEX record_by_key ON record (record_key, source);
CREATE INDEX record_vanished ON record (source, record_key) WHERE vanished_at IS NOT NULL;
CREATE TABLE record_count (
  source TEXT COLLATE "C" NOT NULL,
  stored_count BIGINT NOT NULL,
  deleted_count BIGINT NOT NULL,
  first_seen_at BIGINT NOT NULL,
  PRIMARY KEY (source)
);
CREATE TABLE rule_version (
  rule_id TEXT COLLATE "C" NOT NULL,
  name TEXT COLLATE "C" NOT NULL,
  file TEXT COLLATE "C" NOT NULL,
  line INTEGER NOT NULL,
  mode TEXT COLLATE "C",
  document TEXT COLLATE "C" NOT NULL,
  lists TEXT COLLATE "C" NOT NULL,
  since BIGINT NOT NULL,
  PRIMARY KEY (rule_id)
);
CREATE TABLE seen_field (
  organisation TEXT COLLATE "C" NOT NULL,
  name TEXT COLLATE "C" NOT NULL,
  seen_at BIGINT NOT NULL,
  PRIMARY KEY (organisation, name)
);
CREATE TABLE self_alert (
  trouble TEXT COLLATE "C" NOT NULL,
  subject TEXT COLLATE "C" NOT NULL,
  since BIGINT NOT NULL,
  what TEXT COLLATE "C" NOT NULL,
  remedy TEXT COLLATE "C" NOT NULL,
  alert_id TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY (trouble, subject)
);
CREATE INDEX self_alert_by_alert ON self_alert (alert_id);
CREATE TABLE silence (
  id TEXT COLLATE "C" NOT NULL,
  matchers TEXT COLLATE "C" NOT NULL,
  author TEXT COLLATE "C" NOT NULL,
  comment TEXT COLLATE "C" NOT NULL,
  starts_at BIGINT NOT NULL,
  ends_at BIGINT NOT NULL,
  file TEXT COLLATE "C",
  PRIMARY KEY (id)
);
CREATE INDEX silence_by_end ON silence (ends_at);
CREATE TABLE source (
  name TEXT COLLATE "C" NOT NULL,
  organisation TEXT COLLATE "C" NOT NULL,
  renamed_to TEXT COLLATE "C",
  begins_at BIGINT NOT NULL,
  alerts_from BIGINT NOT NULL,
  mark BIGINT NOT NULL,
  seen_through BIGINT NOT NULL,
  proved_through BIGINT NOT NULL,
  totals_cover_pages BOOLEAN NOT NULL,
  bounds_unit BIGINT,
  bounds_asked_at BIGINT,
  vanished_reported_through BIGINT,
  PRIMARY KEY (name)
);
CREATE TABLE sweep (
  source TEXT COLLATE "C" NOT NULL,
  reach BIGINT NOT NULL,
  asked_at BIGINT NOT NULL,
  PRIMARY KEY (source, reach)
);
CREATE TABLE template_version (
  name TEXT COLLATE "C" NOT NULL,
  body TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY (name)
);
CREATE TABLE unknown_kind (
  source TEXT COLLATE "C" NOT NULL,
  name TEXT COLLATE "C" NOT NULL,
  is_reported BOOLEAN NOT NULL,
  PRIMARY KEY (source, name)
);
CREATE TABLE unproved_window (
  source TEXT COLLATE "C" NOT NULL,
  starts_at BIGINT NOT NULL,
  ends_at BIGINT NOT NULL,
  reach BIGINT NOT NULL,
  must_read BOOLEAN NOT NULL,
  is_reported BOOLEAN NOT NULL,
  failure_count INTEGER NOT NULL,
  due_at BIGINT NOT NULL,
  why TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY (source, starts_at, ends_at)
);
