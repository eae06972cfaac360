CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num));
CREATE TABLE alert (
  id TEXT NOT NULL,
  rule_id TEXT NOT NULL,
  rule_name TEXT NOT NULL,
  rule_title TEXT NOT NULL,
  tags TEXT NOT NULL,
  level INTEGER NOT NULL,
  title TEXT NOT NULL,
  body TEXT NOT NULL,
  runbook TEXT,
  labels TEXT NOT NULL,
  source TEXT NOT NULL,
  group_key TEXT NOT NULL,
  group_values TEXT,
  fields TEXT NOT NULL,
  realert BIGINT NOT NULL,
  status TEXT NOT NULL,
  acked_by TEXT,
  resolved_by TEXT,
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
CREATE TABLE backlog (
  source TEXT NOT NULL,
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
  id TEXT NOT NULL,
  rule_id TEXT NOT NULL,
  group_values TEXT NOT NULL,
  origin TEXT NOT NULL,
  first_at BIGINT NOT NULL,
  fired_at BIGINT NOT NULL,
  until BIGINT NOT NULL,
  is_reported BOOLEAN NOT NULL,
  is_open BOOLEAN NOT NULL,
  is_current BOOLEAN NOT NULL,
  reported_as TEXT,
  resolved_at BIGINT,
  PRIMARY KEY (id)
);
CREATE INDEX correlated_alert_by_reported ON correlated_alert (reported_as);
CREATE INDEX correlated_alert_by_rule ON correlated_alert (rule_id, until);
CREATE TABLE correlation_version (
  rule_id TEXT NOT NULL,
  version TEXT NOT NULL,
  floor BIGINT NOT NULL,
  PRIMARY KEY (rule_id)
);
CREATE TABLE delivery (
  id TEXT NOT NULL,
  alert_id TEXT NOT NULL,
  receiver TEXT NOT NULL,
  event TEXT NOT NULL,
  ordinal INTEGER NOT NULL,
  status TEXT NOT NULL,
  attempts INTEGER NOT NULL,
  created_at BIGINT NOT NULL,
  started_at BIGINT NOT NULL,
  due_at BIGINT NOT NULL,
  leased_until BIGINT,
  sent_at BIGINT,
  last_error TEXT,
  why TEXT,
  ref TEXT,
  mutes TEXT,
  fallback_of TEXT,
  awaits TEXT,
  reported_in TEXT,
  body TEXT,
  PRIMARY KEY (id)
);
CREATE INDEX delivery_awaiting ON delivery (receiver, awaits) WHERE awaits IS NOT NULL;
CREATE INDEX delivery_by_due ON delivery (status, receiver, due_at, ordinal);
CREATE UNIQUE INDEX delivery_by_order ON delivery (alert_id, receiver, ordinal);
CREATE INDEX delivery_copied ON delivery (fallback_of) WHERE fallback_of IS NOT NULL;
CREATE INDEX delivery_leased ON delivery (receiver, leased_until) WHERE leased_until IS NOT NULL;
CREATE INDEX delivery_let_through ON delivery (receiver, status, sent_at) WHERE event = 'opened' AND body IS NOT NULL;
CREATE INDEX delivery_reported ON delivery (reported_in) WHERE reported_in IS NOT NULL;
CREATE TABLE alert_record (
  alert_id TEXT NOT NULL,
  record_id BIGINT NOT NULL,
  PRIMARY KEY (alert_id, record_id)
);
CREATE INDEX alert_record_by_record ON alert_record (record_id);
CREATE TABLE seen_field (
  organisation TEXT NOT NULL,
  name TEXT NOT NULL,
  seen_at BIGINT NOT NULL,
  PRIMARY KEY (organisation, name)
);
CREATE TABLE delivery_latency (
  rule TEXT NOT NULL,
  receiver TEXT NOT NULL,
  since TEXT NOT NULL,
  bucket INTEGER NOT NULL,
  message_count BIGINT NOT NULL,
  total BIGINT NOT NULL,
  PRIMARY KEY (rule, receiver, since, bucket)
);
CREATE TABLE linked_account (
  id INTEGER NOT NULL,
  organisation TEXT NOT NULL,
  account_id TEXT NOT NULL,
  name TEXT NOT NULL,
  raw TEXT NOT NULL,
  valid_from BIGINT NOT NULL,
  valid_to BIGINT,
  PRIMARY KEY (id)
);
CREATE INDEX linked_account_by_id ON linked_account (organisation, account_id, valid_from);
CREATE TABLE poll (
  source TEXT NOT NULL,
  last_poll_at BIGINT NOT NULL,
  failures INTEGER NOT NULL,
  last_error TEXT,
  clock_skew BIGINT NOT NULL,
  PRIMARY KEY (source)
);
CREATE TABLE position (
  name TEXT NOT NULL,
  record_id BIGINT NOT NULL,
  handled_count BIGINT NOT NULL,
  PRIMARY KEY (name)
);
CREATE TABLE receipt (
  id INTEGER NOT NULL,
  source TEXT NOT NULL,
  starts_at BIGINT NOT NULL,
  ends_at BIGINT NOT NULL,
  first_judged_at BIGINT NOT NULL,
  judged_at BIGINT NOT NULL,
  proof_count BIGINT NOT NULL,
  method TEXT NOT NULL,
  record_count BIGINT NOT NULL,
  kind_counts TEXT NOT NULL,
  digest TEXT NOT NULL,
  request_count BIGINT NOT NULL,
  record_through BIGINT NOT NULL,
  PRIMARY KEY (id)
);
CREATE INDEX receipt_by_time ON receipt (source, starts_at, ends_at);
CREATE INDEX receipt_by_judgement ON receipt (source, judged_at);
CREATE TABLE receiver (
  name TEXT NOT NULL,
  last_sent_at BIGINT,
  failing_since BIGINT,
  paused_until BIGINT,
  next_at BIGINT,
  last_error TEXT,
  storm_summary TEXT,
  PRIMARY KEY (name)
);
CREATE TABLE record (
  id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  source TEXT NOT NULL,
  record_key TEXT NOT NULL,
  occurred_at BIGINT NOT NULL,
  seen_at BIGINT NOT NULL,
  action_kind TEXT NOT NULL,
  operation TEXT,
  scope TEXT,
  severity TEXT NOT NULL,
  domain_type TEXT,
  user_name TEXT,
  description TEXT,
  account_id TEXT,
  account_name TEXT,
  cluster_id TEXT,
  cluster_name TEXT,
  organisation_id TEXT,
  organisation_name TEXT,
  upstream_id TEXT,
  is_time_readable BOOLEAN NOT NULL,
  is_backlog BOOLEAN NOT NULL,
  late_by BIGINT,
  vanished_at BIGINT,
  raw TEXT NOT NULL
);
CREATE UNIQUE INDEX record_by_key ON record (record_key, source);
CREATE INDEX record_vanished ON record (source, record_key) WHERE vanished_at IS NOT NULL;
CREATE TABLE record_count (
  source TEXT NOT NULL,
  stored_count BIGINT NOT NULL,
  deleted_count BIGINT NOT NULL,
  first_seen_at BIGINT NOT NULL,
  PRIMARY KEY (source)
);
CREATE TABLE message_reference (
  alert_id TEXT NOT NULL,
  receiver TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (alert_id, receiver)
);
CREATE TABLE rule_version (
  rule_id TEXT NOT NULL,
  name TEXT NOT NULL,
  file TEXT NOT NULL,
  line INTEGER NOT NULL,
  mode TEXT,
  document TEXT NOT NULL,
  lists TEXT NOT NULL,
  since BIGINT NOT NULL,
  PRIMARY KEY (rule_id)
);
CREATE TABLE silence (
  id TEXT NOT NULL,
  matchers TEXT NOT NULL,
  author TEXT NOT NULL,
  comment TEXT NOT NULL,
  starts_at BIGINT NOT NULL,
  ends_at BIGINT NOT NULL,
  file TEXT,
  PRIMARY KEY (id)
);
CREATE INDEX silence_by_end ON silence (ends_at);
CREATE TABLE source (
  name TEXT NOT NULL,
  organisation TEXT NOT NULL,
  renamed_to TEXT,
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
CREATE TABLE alert_history (
  id INTEGER NOT NULL,
  at BIGINT NOT NULL,
  alert_id TEXT NOT NULL,
  stage TEXT NOT NULL,
  what TEXT NOT NULL,
  PRIMARY KEY (id)
);
CREATE INDEX alert_history_by_alert ON alert_history (alert_id);
CREATE TABLE sweep (
  source TEXT NOT NULL,
  reach BIGINT NOT NULL,
  asked_at BIGINT NOT NULL,
  PRIMARY KEY (source, reach)
);
CREATE TABLE template_version (
  name TEXT NOT NULL,
  body TEXT NOT NULL,
  PRIMARY KEY (name)
);
CREATE TABLE self_alert (
  trouble TEXT NOT NULL,
  subject TEXT NOT NULL,
  since BIGINT NOT NULL,
  what TEXT NOT NULL,
  remedy TEXT NOT NULL,
  alert_id TEXT NOT NULL,
  PRIMARY KEY (trouble, subject)
);
CREATE INDEX self_alert_by_alert ON self_alert (alert_id);
CREATE TABLE unproved_window (
  source TEXT NOT NULL,
  starts_at BIGINT NOT NULL,
  ends_at BIGINT NOT NULL,
  reach BIGINT NOT NULL,
  must_read BOOLEAN NOT NULL,
  is_reported BOOLEAN NOT NULL,
  failure_count INTEGER NOT NULL,
  due_at BIGINT NOT NULL,
  why TEXT NOT NULL,
  PRIMARY KEY (source, starts_at, ends_at)
);
