CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL,
    minimum_reader character varying(32)
);
CREATE TABLE public.alert (
    id text NOT NULL COLLATE pg_catalog."C",
    rule_id text NOT NULL COLLATE pg_catalog."C",
    rule_name text NOT NULL COLLATE pg_catalog."C",
    rule_title text NOT NULL COLLATE pg_catalog."C",
    tags text NOT NULL COLLATE pg_catalog."C",
    level integer NOT NULL,
    title text NOT NULL COLLATE pg_catalog."C",
    body text NOT NULL COLLATE pg_catalog."C",
    runbook text COLLATE pg_catalog."C",
    labels text NOT NULL COLLATE pg_catalog."C",
    source text NOT NULL COLLATE pg_catalog."C",
    group_key text NOT NULL COLLATE pg_catalog."C",
    group_values text COLLATE pg_catalog."C",
    fields text NOT NULL COLLATE pg_catalog."C",
    realert bigint NOT NULL,
    status text NOT NULL COLLATE pg_catalog."C",
    acked_by text COLLATE pg_catalog."C",
    resolved_by text COLLATE pg_catalog."C",
    resolved_at bigint,
    match_count integer NOT NULL,
    first_at bigint NOT NULL,
    last_at bigint NOT NULL,
    opened_at bigint NOT NULL,
    late_by bigint,
    seen_at bigint,
    first_sent_at bigint,
    happened_at bigint NOT NULL,
    escalation text COLLATE pg_catalog."C",
    user_name text COLLATE pg_catalog."C",
    cluster_name text COLLATE pg_catalog."C",
    is_shadow boolean NOT NULL,
    assigned_to text COLLATE pg_catalog."C",
    note text COLLATE pg_catalog."C",
    noted_by text COLLATE pg_catalog."C",
    reopened_by text COLLATE pg_catalog."C",
    reopened_at bigint
)
WITH (autovacuum_vacuum_scale_factor='0.02', autovacuum_vacuum_insert_scale_factor='0.02', autovacuum_analyze_scale_factor='0.01');
CREATE TABLE public.alert_history (
    id bigint NOT NULL,
    at bigint NOT NULL,
    alert_id text NOT NULL COLLATE pg_catalog."C",
    stage text NOT NULL COLLATE pg_catalog."C",
    what text NOT NULL COLLATE pg_catalog."C"
)
WITH (autovacuum_vacuum_scale_factor='0.02', autovacuum_vacuum_insert_scale_factor='0.02', autovacuum_analyze_scale_factor='0.01');
CREATE SEQUENCE public.alert_history_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.alert_history_id_seq OWNED BY public.alert_history.id;
CREATE TABLE public.alert_record (
    id bigint NOT NULL,
    alert_id text NOT NULL COLLATE pg_catalog."C",
    record_id bigint NOT NULL,
    occurred_at bigint NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0.02', autovacuum_vacuum_insert_scale_factor='0.02', autovacuum_analyze_scale_factor='0.01');
CREATE SEQUENCE public.alert_record_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.alert_record_id_seq OWNED BY public.alert_record.id;
CREATE TABLE public.backlog (
    source text NOT NULL COLLATE pg_catalog."C",
    starts_at bigint NOT NULL,
    ends_at bigint NOT NULL,
    through bigint NOT NULL,
    record_count bigint NOT NULL,
    began_at bigint NOT NULL,
    began_through bigint NOT NULL,
    began_count bigint NOT NULL,
    noted_at bigint NOT NULL
);
CREATE TABLE public.correlated_alert (
    id text NOT NULL COLLATE pg_catalog."C",
    rule_id text NOT NULL COLLATE pg_catalog."C",
    group_values text NOT NULL COLLATE pg_catalog."C",
    origin text NOT NULL COLLATE pg_catalog."C",
    first_at bigint NOT NULL,
    fired_at bigint NOT NULL,
    until bigint NOT NULL,
    is_reported boolean NOT NULL,
    is_open boolean NOT NULL,
    is_current boolean NOT NULL,
    reported_as text COLLATE pg_catalog."C",
    resolved_at bigint,
    group_id text NOT NULL COLLATE pg_catalog."C",
    firing_at bigint,
    firing_step integer,
    firing_key text COLLATE pg_catalog."C",
    has_waited boolean NOT NULL,
    is_quiet boolean NOT NULL,
    back_at bigint,
    is_judged boolean NOT NULL,
    is_noted boolean NOT NULL,
    pending_at bigint
)
WITH (autovacuum_vacuum_scale_factor='0.02', autovacuum_vacuum_insert_scale_factor='0.02', autovacuum_analyze_scale_factor='0.01');
CREATE TABLE public.correlation_version (
    rule_id text NOT NULL COLLATE pg_catalog."C",
    version text NOT NULL COLLATE pg_catalog."C",
    floor bigint NOT NULL,
    number integer NOT NULL,
    digest text COLLATE pg_catalog."C",
    fed_from bigint,
    fed_through bigint,
    begins_at bigint,
    alerts_from bigint
);
CREATE TABLE public.delivery (
    id text NOT NULL COLLATE pg_catalog."C",
    alert_id text NOT NULL COLLATE pg_catalog."C",
    receiver text NOT NULL COLLATE pg_catalog."C",
    event text NOT NULL COLLATE pg_catalog."C",
    ordinal integer NOT NULL,
    status text NOT NULL COLLATE pg_catalog."C",
    attempts integer NOT NULL,
    created_at bigint NOT NULL,
    started_at bigint NOT NULL,
    due_at bigint NOT NULL,
    leased_until bigint,
    leased_by text COLLATE pg_catalog."C",
    sent_at bigint,
    last_error text COLLATE pg_catalog."C",
    why text COLLATE pg_catalog."C",
    ref text COLLATE pg_catalog."C",
    mutes text COLLATE pg_catalog."C",
    fallback_of text COLLATE pg_catalog."C",
    awaits text COLLATE pg_catalog."C",
    reported_in text COLLATE pg_catalog."C",
    body text COLLATE pg_catalog."C"
)
WITH (autovacuum_vacuum_scale_factor='0.02', autovacuum_vacuum_insert_scale_factor='0.02', autovacuum_analyze_scale_factor='0.01');
CREATE TABLE public.delivery_latency (
    receiver text NOT NULL COLLATE pg_catalog."C",
    bucket integer NOT NULL,
    message_count bigint NOT NULL,
    total bigint NOT NULL
);
CREATE TABLE public.hit (
    rule integer NOT NULL,
    group_id text NOT NULL COLLATE pg_catalog."C",
    at bigint NOT NULL,
    step integer NOT NULL,
    key text NOT NULL COLLATE pg_catalog."C",
    record_id bigint NOT NULL,
    is_backlog boolean NOT NULL,
    value text COLLATE pg_catalog."C"
)
WITH (autovacuum_vacuum_scale_factor='0.02', autovacuum_vacuum_insert_scale_factor='0.02', autovacuum_analyze_scale_factor='0.01');
CREATE TABLE public.linked_account (
    id bigint NOT NULL,
    organisation text NOT NULL COLLATE pg_catalog."C",
    account_id text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL COLLATE pg_catalog."C",
    raw text NOT NULL COLLATE pg_catalog."C",
    valid_from bigint NOT NULL,
    valid_to bigint
);
CREATE SEQUENCE public.linked_account_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.linked_account_id_seq OWNED BY public.linked_account.id;
CREATE TABLE public.message_reference (
    alert_id text NOT NULL COLLATE pg_catalog."C",
    receiver text NOT NULL COLLATE pg_catalog."C",
    value text NOT NULL COLLATE pg_catalog."C"
);
CREATE TABLE public.poll (
    source text NOT NULL COLLATE pg_catalog."C",
    last_poll_at bigint NOT NULL,
    failures integer NOT NULL,
    last_error text COLLATE pg_catalog."C",
    clock_skew bigint NOT NULL,
    backoff bigint NOT NULL
);
CREATE TABLE public."position" (
    name text NOT NULL COLLATE pg_catalog."C",
    record_id bigint NOT NULL,
    handled_count bigint NOT NULL
);
CREATE TABLE public.receipt (
    id bigint NOT NULL,
    source text NOT NULL COLLATE pg_catalog."C",
    starts_at bigint NOT NULL,
    ends_at bigint NOT NULL,
    first_judged_at bigint NOT NULL,
    judged_at bigint NOT NULL,
    proof_count bigint NOT NULL,
    method text NOT NULL COLLATE pg_catalog."C",
    record_count bigint NOT NULL,
    kind_counts text NOT NULL COLLATE pg_catalog."C",
    digest text NOT NULL COLLATE pg_catalog."C",
    request_count bigint NOT NULL,
    record_through bigint NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0.02', autovacuum_vacuum_insert_scale_factor='0.02', autovacuum_analyze_scale_factor='0.01');
CREATE SEQUENCE public.receipt_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.receipt_id_seq OWNED BY public.receipt.id;
CREATE TABLE public.receiver (
    name text NOT NULL COLLATE pg_catalog."C",
    last_sent_at bigint,
    failing_since bigint,
    paused_until bigint,
    next_at bigint,
    last_error text COLLATE pg_catalog."C",
    storm_summary text COLLATE pg_catalog."C"
);
CREATE TABLE public.record (
    id bigint NOT NULL,
    source text NOT NULL COLLATE pg_catalog."C",
    record_key text NOT NULL COLLATE pg_catalog."C",
    occurred_at bigint NOT NULL,
    seen_at bigint NOT NULL,
    action_kind text NOT NULL COLLATE pg_catalog."C",
    operation text COLLATE pg_catalog."C",
    scope text COLLATE pg_catalog."C",
    severity text NOT NULL COLLATE pg_catalog."C",
    domain_type text COLLATE pg_catalog."C",
    user_name text COLLATE pg_catalog."C",
    description text COLLATE pg_catalog."C",
    account_id text COLLATE pg_catalog."C",
    account_name text COLLATE pg_catalog."C",
    cluster_id text COLLATE pg_catalog."C",
    cluster_name text COLLATE pg_catalog."C",
    organisation_id text COLLATE pg_catalog."C",
    organisation_name text COLLATE pg_catalog."C",
    upstream_id text COLLATE pg_catalog."C",
    is_time_readable boolean NOT NULL,
    is_backlog boolean NOT NULL,
    late_by bigint,
    vanished_at bigint,
    raw text NOT NULL COLLATE pg_catalog."C"
)
WITH (autovacuum_vacuum_scale_factor='0.02', autovacuum_vacuum_insert_scale_factor='0.02', autovacuum_analyze_scale_factor='0.01');
CREATE TABLE public.record_alias (
    alias_key text NOT NULL COLLATE pg_catalog."C",
    ordinal integer NOT NULL,
    record_key text NOT NULL COLLATE pg_catalog."C"
);
CREATE TABLE public.record_block (
    low_key text NOT NULL COLLATE pg_catalog."C",
    high_key text NOT NULL COLLATE pg_catalog."C",
    size integer NOT NULL,
    value_bits bytea NOT NULL
);
CREATE TABLE public.record_count (
    source text NOT NULL COLLATE pg_catalog."C",
    stored_count bigint NOT NULL,
    deleted_count bigint NOT NULL,
    first_seen_at bigint NOT NULL
);
CREATE SEQUENCE public.record_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.record_id_seq OWNED BY public.record.id;
CREATE TABLE public.record_value (
    id bigint NOT NULL,
    value_key text NOT NULL COLLATE pg_catalog."C",
    field text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL COLLATE pg_catalog."C",
    entity_id text NOT NULL COLLATE pg_catalog."C",
    searched text NOT NULL COLLATE pg_catalog."C"
);
CREATE SEQUENCE public.record_value_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.record_value_id_seq OWNED BY public.record_value.id;
CREATE TABLE public.replica (
    id text NOT NULL,
    host text NOT NULL,
    since timestamp with time zone NOT NULL,
    until timestamp with time zone NOT NULL,
    note bytea NOT NULL,
    digest text NOT NULL
);
CREATE TABLE public.role (
    name text NOT NULL,
    owner text NOT NULL,
    term bigint NOT NULL
);
CREATE TABLE public.row_history (
    id bigint NOT NULL,
    table_name text NOT NULL COLLATE pg_catalog."C",
    row_key text NOT NULL COLLATE pg_catalog."C",
    digest text NOT NULL COLLATE pg_catalog."C"
)
WITH (autovacuum_vacuum_scale_factor='0.02', autovacuum_vacuum_insert_scale_factor='0.02', autovacuum_analyze_scale_factor='0.01');
CREATE SEQUENCE public.row_history_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.row_history_id_seq OWNED BY public.row_history.id;
CREATE TABLE public.rule_history (
    id bigint NOT NULL,
    at bigint NOT NULL,
    rule_id text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL COLLATE pg_catalog."C",
    state text NOT NULL COLLATE pg_catalog."C",
    origin text NOT NULL COLLATE pg_catalog."C",
    may_begin_at bigint NOT NULL,
    begins_at bigint NOT NULL,
    is_held boolean NOT NULL,
    why text NOT NULL COLLATE pg_catalog."C",
    since bigint,
    file text NOT NULL COLLATE pg_catalog."C",
    document text NOT NULL COLLATE pg_catalog."C",
    lists text NOT NULL COLLATE pg_catalog."C"
);
CREATE SEQUENCE public.rule_history_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.rule_history_id_seq OWNED BY public.rule_history.id;
CREATE TABLE public.rule_version (
    rule_id text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL COLLATE pg_catalog."C",
    file text NOT NULL COLLATE pg_catalog."C",
    line integer NOT NULL,
    mode text COLLATE pg_catalog."C",
    document text NOT NULL COLLATE pg_catalog."C",
    lists text NOT NULL COLLATE pg_catalog."C",
    since bigint NOT NULL
);
CREATE TABLE public.seal (
    number bigint NOT NULL,
    at bigint NOT NULL,
    table_name text NOT NULL COLLATE pg_catalog."C",
    kind text NOT NULL COLLATE pg_catalog."C",
    first_id bigint NOT NULL,
    last_id bigint NOT NULL,
    row_count bigint NOT NULL,
    through bigint NOT NULL,
    leaves_digest text NOT NULL COLLATE pg_catalog."C",
    previous text NOT NULL COLLATE pg_catalog."C",
    digest text NOT NULL COLLATE pg_catalog."C",
    leaves bytea NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0.02', autovacuum_vacuum_insert_scale_factor='0.02', autovacuum_analyze_scale_factor='0.01');
CREATE TABLE public.seen_field (
    organisation text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL COLLATE pg_catalog."C",
    seen_at bigint NOT NULL
);
CREATE TABLE public.self_alert (
    trouble text NOT NULL COLLATE pg_catalog."C",
    subject text NOT NULL COLLATE pg_catalog."C",
    since bigint NOT NULL,
    what text NOT NULL COLLATE pg_catalog."C",
    remedy text NOT NULL COLLATE pg_catalog."C",
    alert_id text NOT NULL COLLATE pg_catalog."C"
);
CREATE TABLE public.session (
    digest text NOT NULL COLLATE pg_catalog."C",
    token_id text COLLATE pg_catalog."C",
    ends_at bigint NOT NULL,
    name text COLLATE pg_catalog."C",
    role text COLLATE pg_catalog."C"
);
CREATE TABLE public.silence (
    id text NOT NULL COLLATE pg_catalog."C",
    matchers text NOT NULL COLLATE pg_catalog."C",
    author text NOT NULL COLLATE pg_catalog."C",
    comment text NOT NULL COLLATE pg_catalog."C",
    starts_at bigint NOT NULL,
    ends_at bigint NOT NULL,
    file text COLLATE pg_catalog."C",
    ended_by text COLLATE pg_catalog."C"
);
CREATE TABLE public.source (
    name text NOT NULL COLLATE pg_catalog."C",
    organisation text NOT NULL COLLATE pg_catalog."C",
    renamed_to text COLLATE pg_catalog."C",
    begins_at bigint NOT NULL,
    alerts_from bigint NOT NULL,
    mark bigint NOT NULL,
    seen_through bigint NOT NULL,
    proved_through bigint NOT NULL,
    totals_cover_pages boolean NOT NULL,
    bounds_unit bigint,
    bounds_asked_at bigint,
    vanished_reported_through bigint
);
CREATE TABLE public.stream (
    name text NOT NULL COLLATE pg_catalog."C",
    started_at bigint NOT NULL,
    sent_count bigint NOT NULL,
    last_sent_at bigint,
    failing_since bigint,
    last_error text COLLATE pg_catalog."C"
);
CREATE TABLE public.stream_mark (
    stream text NOT NULL COLLATE pg_catalog."C",
    source text NOT NULL COLLATE pg_catalog."C",
    begins_at bigint NOT NULL,
    complete_through bigint NOT NULL
);
CREATE TABLE public.stream_message (
    id bigint NOT NULL,
    stream text NOT NULL COLLATE pg_catalog."C",
    message_id text NOT NULL COLLATE pg_catalog."C",
    kind text NOT NULL COLLATE pg_catalog."C",
    row_id bigint NOT NULL,
    at bigint NOT NULL,
    partition_key text NOT NULL COLLATE pg_catalog."C",
    content_type text NOT NULL COLLATE pg_catalog."C",
    body bytea NOT NULL,
    refused_at bigint,
    why text COLLATE pg_catalog."C"
);
CREATE SEQUENCE public.stream_message_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.stream_message_id_seq OWNED BY public.stream_message.id;
CREATE TABLE public.stream_position (
    stream text NOT NULL COLLATE pg_catalog."C",
    feed text NOT NULL COLLATE pg_catalog."C",
    row_id bigint NOT NULL,
    planned_through bigint
);
CREATE TABLE public.sweep (
    source text NOT NULL COLLATE pg_catalog."C",
    reach bigint NOT NULL,
    asked_at bigint NOT NULL
);
CREATE TABLE public.template_version (
    name text NOT NULL COLLATE pg_catalog."C",
    body text NOT NULL COLLATE pg_catalog."C"
);
CREATE TABLE public.token (
    id text NOT NULL COLLATE pg_catalog."C",
    digest text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL COLLATE pg_catalog."C",
    role text NOT NULL COLLATE pg_catalog."C",
    created_at bigint NOT NULL,
    created_by text NOT NULL COLLATE pg_catalog."C",
    expires_at bigint,
    last_used_at bigint,
    revoked_at bigint,
    revoked_by text COLLATE pg_catalog."C"
);
CREATE TABLE public.touched_group (
    rule integer NOT NULL,
    group_id text NOT NULL COLLATE pg_catalog."C",
    group_values text NOT NULL COLLATE pg_catalog."C",
    first_at bigint NOT NULL,
    last_at bigint NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0.02', autovacuum_vacuum_insert_scale_factor='0.02', autovacuum_analyze_scale_factor='0.01');
CREATE TABLE public.unknown_kind (
    source text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL COLLATE pg_catalog."C",
    is_reported boolean NOT NULL
);
CREATE TABLE public.unproved_window (
    source text NOT NULL COLLATE pg_catalog."C",
    starts_at bigint NOT NULL,
    ends_at bigint NOT NULL,
    reach bigint NOT NULL,
    must_read boolean NOT NULL,
    is_reported boolean NOT NULL,
    failure_count integer NOT NULL,
    due_at bigint NOT NULL,
    why text NOT NULL COLLATE pg_catalog."C"
);
ALTER TABLE ONLY public.alert_history ALTER COLUMN id SET DEFAULT nextval('public.alert_history_id_seq'::regclass);
ALTER TABLE ONLY public.alert_record ALTER COLUMN id SET DEFAULT nextval('public.alert_record_id_seq'::regclass);
ALTER TABLE ONLY public.linked_account ALTER COLUMN id SET DEFAULT nextval('public.linked_account_id_seq'::regclass);
ALTER TABLE ONLY public.receipt ALTER COLUMN id SET DEFAULT nextval('public.receipt_id_seq'::regclass);
ALTER TABLE ONLY public.record ALTER COLUMN id SET DEFAULT nextval('public.record_id_seq'::regclass);
ALTER TABLE ONLY public.record_value ALTER COLUMN id SET DEFAULT nextval('public.record_value_id_seq'::regclass);
ALTER TABLE ONLY public.row_history ALTER COLUMN id SET DEFAULT nextval('public.row_history_id_seq'::regclass);
ALTER TABLE ONLY public.rule_history ALTER COLUMN id SET DEFAULT nextval('public.rule_history_id_seq'::regclass);
ALTER TABLE ONLY public.stream_message ALTER COLUMN id SET DEFAULT nextval('public.stream_message_id_seq'::regclass);
INSERT INTO public.alembic_version VALUES ('1000', '1000');
INSERT INTO public.alert VALUES ('f5a50fbb-2165-56ab-b53d-b8f2948c0854', 'cluster_deleted', 'cluster_deleted', 'Cluster_Deleted', '[]', 3, 'cluster_deleted by eve', '', NULL, '{}', 'acme', '79132d5d-ff4b-56ac-abfd-b31c1d7149c0', NULL, '[]', 0, 'open', NULL, NULL, NULL, 1, 1795608060000000, 1795608060000000, 1795608000000000, NULL, 1795608060000000, 1795608000000000, 1795608060000000, NULL, 'eve', NULL, false, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.alert VALUES ('70966863-97a6-5ce8-8f86-7b248b85fa63', 'cluster_deleted', 'cluster_deleted', 'Cluster_Deleted', '[]', 3, 'cluster_deleted by eve', '', NULL, '{}', 'acme', '64b2ef7c-25cb-5326-ba99-724472b3a463', NULL, '[]', 0, 'open', NULL, NULL, NULL, 1, 1795608120000000, 1795608120000000, 1795608000000000, NULL, 1795608120000000, 1795608000000000, 1795608120000000, NULL, 'eve', NULL, false, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.alert VALUES ('f87bd3cb-31eb-5c49-90d0-3d53e00daa66', 'cluster_deleted', 'cluster_deleted', 'Cluster_Deleted', '[]', 3, 'cluster_deleted by eve', '', NULL, '{}', 'acme', '051ca620-3f51-5ffe-9969-34b416ca77a9', NULL, '[]', 0, 'open', NULL, NULL, NULL, 1, 1795608180000000, 1795608180000000, 1795608000000000, NULL, 1795608180000000, 1795608000000000, 1795608180000000, NULL, 'eve', NULL, false, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.alert_history VALUES (1, 1795608000000000, 'f5a50fbb-2165-56ab-b53d-b8f2948c0854', 'opened', 'cluster_deleted by eve');
INSERT INTO public.alert_history VALUES (2, 1795608000000000, 'f5a50fbb-2165-56ab-b53d-b8f2948c0854', 'routed', 'hook');
INSERT INTO public.alert_history VALUES (3, 1795608000000000, '70966863-97a6-5ce8-8f86-7b248b85fa63', 'opened', 'cluster_deleted by eve');
INSERT INTO public.alert_history VALUES (4, 1795608000000000, '70966863-97a6-5ce8-8f86-7b248b85fa63', 'routed', 'hook');
INSERT INTO public.alert_history VALUES (5, 1795608000000000, 'f87bd3cb-31eb-5c49-90d0-3d53e00daa66', 'opened', 'cluster_deleted by eve');
INSERT INTO public.alert_history VALUES (6, 1795608000000000, 'f87bd3cb-31eb-5c49-90d0-3d53e00daa66', 'routed', 'hook');
INSERT INTO public.alert_history VALUES (7, 1795608000000000, 'f5a50fbb-2165-56ab-b53d-b8f2948c0854', 'delivery to hook', 'attempt 1: alert.opened accepted');
INSERT INTO public.alert_history VALUES (8, 1795608000000000, '70966863-97a6-5ce8-8f86-7b248b85fa63', 'delivery to hook', 'attempt 1: alert.opened accepted');
INSERT INTO public.alert_history VALUES (9, 1795608000000000, 'f87bd3cb-31eb-5c49-90d0-3d53e00daa66', 'delivery to hook', 'attempt 1: alert.opened accepted');
INSERT INTO public.alert_record VALUES (1, 'f5a50fbb-2165-56ab-b53d-b8f2948c0854', 1, 1795608060000000);
INSERT INTO public.alert_record VALUES (2, '70966863-97a6-5ce8-8f86-7b248b85fa63', 2, 1795608120000000);
INSERT INTO public.alert_record VALUES (3, 'f87bd3cb-31eb-5c49-90d0-3d53e00daa66', 3, 1795608180000000);
INSERT INTO public.backlog VALUES ('source', 7, 7, 7, 7, 7, 7, 7, 7);
INSERT INTO public.correlated_alert VALUES ('id', 'rule_id', 'group_values', 'origin', 7, 7, 7, true, true, true, 'reported_as', 7, 'group_id', 7, 7, 'firing_key', true, true, 7, true, true, 7);
INSERT INTO public.correlation_version VALUES ('rule_id', 'version', 7, 7, 'digest', 7, 7, 7, 7);
INSERT INTO public.delivery VALUES ('647f70de-73b0-5fda-b4bf-30fad983c43a', 'f5a50fbb-2165-56ab-b53d-b8f2948c0854', 'hook', 'opened', 1, 'sent', 1, 1795608000000000, 1795608000000000, 1795608000000000, NULL, NULL, 1795608000000000, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '{"type":"alert.opened","timestamp":"2026-11-25T12:00:00+00:00","data":{"id":"f5a50fbb-2165-56ab-b53d-b8f2948c0854","rule":{"id":"cluster_deleted","name":"cluster_deleted","title":"Cluster_Deleted","tags":[]},"level":"high","title":"cluster_deleted by eve","body":"","runbook":null,"labels":{},"source":"acme","group":{},"status":"open","acked_by":null,"resolved_by":null,"count":1,"first_at":"2026-11-25T12:01:00.000Z","last_at":"2026-11-25T12:01:00.000Z","late":false,"late_by_seconds":null,"explain":"actionwatch explain f5a50fbb","user":"eve","cluster":null,"assigned_to":null,"note":null,"noted_by":null,"reopened_by":null,"records":[{"key":"0006611894927700-00000000000000000001","timestamp":"2026-11-25T12:01:00.000Z","actionKind":"DELETE_CLUSTER","userName":"eve","description":"Zürich 1","account":{"id":null,"name":null},"cluster":{"id":null,"name":null},"scope":null,"crudOperation":null,"source":"acme","raw":{}}]},"fields":[["timestamp","2026-11-25T12:01:00.000Z"],["userName","eve"],["actionKind","DELETE_CLUSTER"],["description","Zürich 1"]]}');
INSERT INTO public.delivery VALUES ('71d3fd26-471c-590d-ad3a-3f3382076c16', '70966863-97a6-5ce8-8f86-7b248b85fa63', 'hook', 'opened', 1, 'sent', 1, 1795608000000000, 1795608000000000, 1795608000000000, NULL, NULL, 1795608000000000, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '{"type":"alert.opened","timestamp":"2026-11-25T12:00:00+00:00","data":{"id":"70966863-97a6-5ce8-8f86-7b248b85fa63","rule":{"id":"cluster_deleted","name":"cluster_deleted","title":"Cluster_Deleted","tags":[]},"level":"high","title":"cluster_deleted by eve","body":"","runbook":null,"labels":{},"source":"acme","group":{},"status":"open","acked_by":null,"resolved_by":null,"count":1,"first_at":"2026-11-25T12:02:00.000Z","last_at":"2026-11-25T12:02:00.000Z","late":false,"late_by_seconds":null,"explain":"actionwatch explain 70966863","user":"eve","cluster":null,"assigned_to":null,"note":null,"noted_by":null,"reopened_by":null,"records":[{"key":"000661189825fe00-00000000000000000002","timestamp":"2026-11-25T12:02:00.000Z","actionKind":"DELETE_CLUSTER","userName":"eve","description":"Zürich 2","account":{"id":null,"name":null},"cluster":{"id":null,"name":null},"scope":null,"crudOperation":null,"source":"acme","raw":{}}]},"fields":[["timestamp","2026-11-25T12:02:00.000Z"],["userName","eve"],["actionKind","DELETE_CLUSTER"],["description","Zürich 2"]]}');
INSERT INTO public.delivery VALUES ('33fd5d40-7e08-595a-ada5-e3f2bed97e87', 'f87bd3cb-31eb-5c49-90d0-3d53e00daa66', 'hook', 'opened', 1, 'sent', 1, 1795608000000000, 1795608000000000, 1795608000000000, NULL, NULL, 1795608000000000, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '{"type":"alert.opened","timestamp":"2026-11-25T12:00:00+00:00","data":{"id":"f87bd3cb-31eb-5c49-90d0-3d53e00daa66","rule":{"id":"cluster_deleted","name":"cluster_deleted","title":"Cluster_Deleted","tags":[]},"level":"high","title":"cluster_deleted by eve","body":"","runbook":null,"labels":{},"source":"acme","group":{},"status":"open","acked_by":null,"resolved_by":null,"count":1,"first_at":"2026-11-25T12:03:00.000Z","last_at":"2026-11-25T12:03:00.000Z","late":false,"late_by_seconds":null,"explain":"actionwatch explain f87bd3cb","user":"eve","cluster":null,"assigned_to":null,"note":null,"noted_by":null,"reopened_by":null,"records":[{"key":"000661189bb98500-00000000000000000003","timestamp":"2026-11-25T12:03:00.000Z","actionKind":"DELETE_CLUSTER","userName":"eve","description":"Zürich 3","account":{"id":null,"name":null},"cluster":{"id":null,"name":null},"scope":null,"crudOperation":null,"source":"acme","raw":{}}]},"fields":[["timestamp","2026-11-25T12:03:00.000Z"],["userName","eve"],["actionKind","DELETE_CLUSTER"],["description","Zürich 3"]]}');
INSERT INTO public.delivery_latency VALUES ('hook', 1, 3, 0);
INSERT INTO public.hit VALUES (7, 'group_id', 7, 7, 'key', 7, true, 'value');
INSERT INTO public.linked_account VALUES (7, 'organisation', 'account_id', 'name', 'raw', 7, 7);
INSERT INTO public.message_reference VALUES ('alert_id', 'receiver', 'value');
INSERT INTO public.poll VALUES ('source', 7, 7, 'last_error', 7, 7);
INSERT INTO public."position" VALUES ('match', 3, 3);
INSERT INTO public."position" VALUES ('correlate', 3, 3);
INSERT INTO public.receipt VALUES (1, 'acme', 1795611600000000, 1795615200000000, 1795611600000000, 1795611600000000, 1, 'counts', 1, '{}', '1', 1, 3);
INSERT INTO public.receipt VALUES (2, 'acme', 1795615200000000, 1795618800000000, 1795615200000000, 1795615200000000, 1, 'counts', 2, '{}', '2', 1, 3);
INSERT INTO public.receipt VALUES (3, 'acme', 1795618800000000, 1795622400000000, 1795618800000000, 1795618800000000, 1, 'counts', 3, '{}', '3', 1, 3);
INSERT INTO public.receiver VALUES ('hook', 1795608000000000, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.record VALUES (1, 'acme', '0006611894927700-00000000000000000001', 1795608060000000, 1795608060000000, 'DELETE_CLUSTER', NULL, NULL, 'medium', NULL, 'eve', 'Zürich 1', NULL, NULL, NULL, NULL, NULL, NULL, NULL, true, false, NULL, NULL, '{}');
INSERT INTO public.record VALUES (2, 'acme', '000661189825fe00-00000000000000000002', 1795608120000000, 1795608120000000, 'DELETE_CLUSTER', NULL, NULL, 'medium', NULL, 'eve', 'Zürich 2', NULL, NULL, NULL, NULL, NULL, NULL, NULL, true, false, NULL, NULL, '{}');
INSERT INTO public.record VALUES (3, 'acme', '000661189bb98500-00000000000000000003', 1795608180000000, 1795608180000000, 'DELETE_CLUSTER', NULL, NULL, 'medium', NULL, 'eve', 'Zürich 3', NULL, NULL, NULL, NULL, NULL, NULL, NULL, true, false, NULL, NULL, '{}');
INSERT INTO public.record_alias VALUES ('alias_key', 7, 'record_key');
INSERT INTO public.record_block VALUES ('0006611894927700-00000000000000000001', '000661189bb98500-00000000000000000003', 3, '\x06');
INSERT INTO public.record_count VALUES ('acme', 3, 0, 1795608060000000);
INSERT INTO public.record_value VALUES (1, 'user 3 eve ', 'user', 'eve', '', 'eve
');
INSERT INTO public.record_value VALUES (2, 'kind 14 DELETE_CLUSTER ', 'kind', 'DELETE_CLUSTER', '', 'delete_cluster
');
INSERT INTO public.row_history VALUES (1, 'alert', 'f5a50fbb-2165-56ab-b53d-b8f2948c0854', 'ee86c11eee8f878adc49ffe4db75f568a53a060de5e9fd0b57ff36cdae9bc9fd');
INSERT INTO public.row_history VALUES (2, 'alert', '70966863-97a6-5ce8-8f86-7b248b85fa63', '480725dba3b5a7b07c0e148ce0bd1a18754aecdfd63a856cac730d15f2079c6b');
INSERT INTO public.row_history VALUES (3, 'alert', 'f87bd3cb-31eb-5c49-90d0-3d53e00daa66', '632e5fe57044b52a7996ec6f234687d9f69e54451226e1df2f3e1fab72d22e24');
INSERT INTO public.row_history VALUES (4, 'delivery', '647f70de-73b0-5fda-b4bf-30fad983c43a', '06e7747ea96b6b64f7d814aeb53f9f9d687690b032823357d46a158aa786f8a5');
INSERT INTO public.row_history VALUES (5, 'delivery', '71d3fd26-471c-590d-ad3a-3f3382076c16', '4ed8d0c5b7a1e8de5b4e207af5dca925ad1c174d58e1d91b9d90b9d2213da331');
INSERT INTO public.row_history VALUES (6, 'delivery', '33fd5d40-7e08-595a-ada5-e3f2bed97e87', 'b7d0ba9e8cc0fdd42bba105f1575db0982c2099bbe6170b6f901c797f048e67f');
INSERT INTO public.row_history VALUES (7, 'delivery', '647f70de-73b0-5fda-b4bf-30fad983c43a', '6ce318074db54116c29715f02e31fc4602afad7e7d14bddf9d34f9024d2abdf6');
INSERT INTO public.row_history VALUES (8, 'delivery', '71d3fd26-471c-590d-ad3a-3f3382076c16', '65f8cfc804b7d2a3c17a5bf15f6600ec76d115dad21e9050cb47c394a09f6729');
INSERT INTO public.row_history VALUES (9, 'delivery', '33fd5d40-7e08-595a-ada5-e3f2bed97e87', '184405bbfdb590b51e84b993837d45a3a7bf8f2fe79fd895f6c0c9689483a0b6');
INSERT INTO public.row_history VALUES (10, 'alert', 'f5a50fbb-2165-56ab-b53d-b8f2948c0854', 'dbfda7d8569b0fd630e56543b92f753a771aa62a1e4e6aefc353aff787dfc54c');
INSERT INTO public.row_history VALUES (11, 'alert', '70966863-97a6-5ce8-8f86-7b248b85fa63', '9ce9b15677ab7e54754e4e7d9e0d5e602fe925fb2a47db7bd1b0bdbdfbb0abe1');
INSERT INTO public.row_history VALUES (12, 'alert', 'f87bd3cb-31eb-5c49-90d0-3d53e00daa66', '7d29bb90a1064cd1b54376a91c604846a2617f7d63891a653dee3aeab49c564a');
INSERT INTO public.row_history VALUES (13, 'delivery', '647f70de-73b0-5fda-b4bf-30fad983c43a', '87e8353ef49f0cd95560e9d352c6e1a64d1e797883441702164e856df35326fc');
INSERT INTO public.row_history VALUES (14, 'delivery', '71d3fd26-471c-590d-ad3a-3f3382076c16', '82b6f0c90baab5c4b74ebd4fde68c81d77384214d5f5a04857ab62ca47952b3b');
INSERT INTO public.row_history VALUES (15, 'delivery', '33fd5d40-7e08-595a-ada5-e3f2bed97e87', 'f76a3f440c7f083686daac0637565391b1e06cc2a9cd1ee81d8cd9d5c8046cf9');
INSERT INTO public.row_history VALUES (16, 'silence', '1', 'dc72606f79184d97c58115d22d2a2d34faa7b780a16a38be512f6606aabc0da8');
INSERT INTO public.row_history VALUES (17, 'rule_version', '1', '97f23ba46b163227f0d871fa89cc335ba99b4b275d859569268465f007c390d5');
INSERT INTO public.row_history VALUES (18, 'token', '1', '9da406d4b662080f252e931cb902f1b8a7a7cf2beb9003e6642923348b303e6f');
INSERT INTO public.row_history VALUES (19, 'silence', '2', 'a14e663f4bd1d5d42bd5b5c397567e9b4c3e3f1f6023e7367a7e7e23304bc2c4');
INSERT INTO public.row_history VALUES (20, 'rule_version', '2', '0b0a47c71c74827278d97acc465479a0430982a8875d1bdbf35a096f9a3de26d');
INSERT INTO public.row_history VALUES (21, 'token', '2', '65b8a7cf8b407d043f99361921b09faab0759f29453e14b234964dda3354262b');
INSERT INTO public.row_history VALUES (22, 'silence', '3', '56223005e0f2e54ff9d070de68cbef843f5cc51e3f677a7013682d0b1373f446');
INSERT INTO public.row_history VALUES (23, 'rule_version', '3', 'b29bba081a94276e15674a49ba53ac5f539eb8f60cc29b3a959d1ae40a402604');
INSERT INTO public.row_history VALUES (24, 'token', '3', '8e5681e32298068bf23f4b3e8e4b94d8555d0db9e5f8930dcf104d2f1fbcbe13');
INSERT INTO public.rule_history VALUES (1, 1795608000000000, '1', 'a', 'live', 'changed', 1795608000000000, 1795608000000000, false, 'because 1', 1795608000000000, 'a.yml', 'd', '');
INSERT INTO public.rule_history VALUES (2, 1795608000000000, '2', 'a', 'live', 'changed', 1795608000000000, 1795608000000000, false, 'because 2', 1795608000000000, 'a.yml', 'd', '');
INSERT INTO public.rule_history VALUES (3, 1795608000000000, '3', 'a', 'live', 'changed', 1795608000000000, 1795608000000000, false, 'because 3', 1795608000000000, 'a.yml', 'd', '');
INSERT INTO public.rule_version VALUES ('1', '1', 'x.yml', 1, 'live', 'd1', '', 1795608000000000);
INSERT INTO public.rule_version VALUES ('2', '2', 'x.yml', 1, 'live', 'd2', '', 1795608000000000);
INSERT INTO public.rule_version VALUES ('3', '3', 'x.yml', 1, 'live', 'd3', '', 1795608000000000);
INSERT INTO public.seal VALUES (1, 1795608000000000, 'receipt', 'rows', 1, 3, 3, 0, '24087a6e1687a241cc965b92b39df39bf4c2dd4d8139e0960759057f8d161ee7', '', 'e81f4754deec8c0593727d4ae35bc0f73661992400818aaf7706fe928a3185f7', '\x00000000000000019f3ca2a8147e9f811721d59c10456cf75bee34af7f6372f20a8430c6cd69478900000000000000029df80bb69d7e667f23cc1826672f18b8c27c30509cbc63aea5f8a1b3b945e0e10000000000000003ee7d538f4d4fe4a5ebb2b93aecf28168d600d5491047affbe003612878b1a945');
INSERT INTO public.seal VALUES (2, 1795608000000000, 'rule_history', 'rows', 1, 3, 3, 0, 'a5f3947a21638a2bc44c277eb9ae3567221b55a7897c572fc0e704a444e161c2', 'e81f4754deec8c0593727d4ae35bc0f73661992400818aaf7706fe928a3185f7', '185d4436d22a1b109c48b3540c4d5cf0df266aa8ae20cb3cdab50df2fd7b4465', '\x00000000000000019e2f4cdef2430482f214248a84adc7cb016084a3b1f3d53cdd349a33bd5eb1410000000000000002ce418223b5c983af34e42e34251d80f1ec33cf3bf41c731f52479cd09584ced300000000000000037cd88ac1bac2086426bbe0b786f15edf6e63e1cd9cf232239abc4c2f085a8cf4');
INSERT INTO public.seal VALUES (3, 1795608000000000, 'alert_history', 'rows', 1, 3, 3, 0, '9b3f5b5d136a120d4b6d44231592081ca77b72da805f2147f626fcbf52f9150c', '185d4436d22a1b109c48b3540c4d5cf0df266aa8ae20cb3cdab50df2fd7b4465', '469e37e7237dc3a6cb888858a32ee6bc211d9e9a883e0be7b9b465e07444eef6', '\x0000000000000001b7edce0961216626f7a1faee1bc41624142af6fbe8091f7b70c9ed82c1c1ee270000000000000002b30584def3917b6669f40fdcdcf7f7ee8074a2f15f10bb106605e8d9966c13f200000000000000030d04c81a7a018bd9611fab114fb57462175d5d3196988e5a381c2ea1f2ade49f');
INSERT INTO public.seal VALUES (4, 1795608000000000, 'alert_history', 'rows', 4, 6, 3, 0, '425e26f2f69c88c1c28ff22486daf35f138e480684e528e39ca00d637c3c67d3', '469e37e7237dc3a6cb888858a32ee6bc211d9e9a883e0be7b9b465e07444eef6', '8066bc6a8dc0fa683f3a1d4427306e6936861b47d4a4eb49f12fe604caeb02c5', '\x000000000000000420fdce267a42fea3253bfa38b92384ed4c9b240b2a9283088d7250ea3d389000000000000000000555ebced7f8ab5622c7fda0ac7ecab10db38bcf70df35ad7b55d2659872d3757d0000000000000006a60d2774e09687b09cd0cd5b9a00e7fae623c55835ba5080317b344f8a6b03ce');
INSERT INTO public.seal VALUES (5, 1795608000000000, 'alert_history', 'rows', 7, 9, 3, 0, 'df67b96723d54b833f75b2f23511f75f25326c965da85e055d75e357ece8d239', '8066bc6a8dc0fa683f3a1d4427306e6936861b47d4a4eb49f12fe604caeb02c5', '9d1e56e9694ef1528e2b8c6d83cfa254e8107a74f948a6f2d8ffd6d48479342d', '\x0000000000000007baae47fbb0d1bcede33e10607d7410369971a9299e8c3cc10cb453f61c7edbaf0000000000000008ea2d114cf44722d7be9e6ba4c0bd85b41be431b6543e41c13ea01a312e7995b9000000000000000916c198011eef03c84bbd1b1c653cf579a88ab69cf1a944000ef32d5c0146166b');
INSERT INTO public.seal VALUES (6, 1795608000000000, 'alert_record', 'rows', 1, 3, 3, 0, 'f28547539b322425910e33dee8f9e82b2dc23f3ca25e13c1398b704415107873', '9d1e56e9694ef1528e2b8c6d83cfa254e8107a74f948a6f2d8ffd6d48479342d', 'de2645f709954a5f2d51e7cd4f2dded874bb01fe9fab825b529f34f0dcb271e9', '\x00000000000000012d353971a1f2268f97d939a8b65b9b14e658ad6b9f75e0a7e575e13805ecb96e0000000000000002a2d87b7a20662ed0813004513eac5a0b5e79a56eb9bd2e741be909a5be112f93000000000000000315e82f00978d8e59779171a91ee35a8ddaa8385ec3e144124cfd35997cc3aeba');
INSERT INTO public.seal VALUES (7, 1795608000000000, 'row_history', 'rows', 1, 3, 3, 0, '3a776f73affa52cf7bb214ac1ed5f96e684816870a6e199c841a49dc77a5d194', 'de2645f709954a5f2d51e7cd4f2dded874bb01fe9fab825b529f34f0dcb271e9', 'f0ac943fb83a8eed8e4a401c6c0adcd419ac72a128b5298d400de7ba9a389386', '\x0000000000000001bf8491eef745a6a290e60ea5f9f738bb9a762349d97c7c2cba4fa555e349813b0000000000000002257c6ecb2dc2d8849a686a13479e3d13581d09ef9e80b76f8943070ce2903bc20000000000000003bfe0a2c571e97801f1f3ed6321500dc75828a1960bd5abe9122483b81aa7d96e');
INSERT INTO public.seal VALUES (8, 1795608000000000, 'row_history', 'rows', 4, 6, 3, 0, '144cdd116c3eac17f381c06a4fc8822cacdad009ccce7ebb3e1f4327190fa949', 'f0ac943fb83a8eed8e4a401c6c0adcd419ac72a128b5298d400de7ba9a389386', '70553787d05ed0080b27c9f4e905596503dc10d8b366d52cf74efcee6568fdf9', '\x00000000000000041d046fb6e6e13b24e69de3cf5148bcdfcb7dfd7fee85124706904444010ca6b80000000000000005998b8082169bc460336559a33cfa06fee21aac3f950d3e97a45f8dbbb6b557e5000000000000000640f5498f2df69551edd5d78742eea6bff2899ab561812a5033af0713f23afadb');
INSERT INTO public.seal VALUES (9, 1795608000000000, 'row_history', 'rows', 7, 9, 3, 0, 'e632ecce86c99eae4d8e2f8a6a4ef11d8ec4ada52363781f853775418e711b75', '70553787d05ed0080b27c9f4e905596503dc10d8b366d52cf74efcee6568fdf9', '5201461765e2e3db8c34937acd71c161de47d6933a4a88066f88b8313156e7b8', '\x00000000000000072cd4f9f2869b4dbb2f6051645513852796347997789d8b9293a1ebc91f5cd6da00000000000000089e94b4bb2077771e5131abb9f96e377ba83d0b4385d8f9c51cf1747f61d03da200000000000000099a84ace367b8b3a8ad1b8dc356aaf500bb6568bf6b6095df76168c49578be60f');
INSERT INTO public.seal VALUES (10, 1795608000000000, 'row_history', 'rows', 10, 12, 3, 0, '40739d34719810a4e4971b1cc8c88c061891f3100d29dc3fe8540de72a109e12', '5201461765e2e3db8c34937acd71c161de47d6933a4a88066f88b8313156e7b8', 'fd47f14f3c401083984b26093d909142f0d3125f442d1acb88ccc1e253b458c8', '\x000000000000000acbe0e1a1cc6dd1ba9dc4b30b13ad357e44477f0cde28c035d265279fcf88e2b8000000000000000b631c4129df64525068e0a78d86bf1a7f1157a91e42b2182e35a44e8f9b401dae000000000000000c2760f380428ba86ffdb00aac29f5c0d27e425fe5fd8b49ce1fa7b72764ecce66');
INSERT INTO public.seal VALUES (11, 1795608000000000, 'row_history', 'rows', 13, 15, 3, 0, 'e2ece567173abefec80c866811914247be506a598b9d35dc34b368bce342f71e', 'fd47f14f3c401083984b26093d909142f0d3125f442d1acb88ccc1e253b458c8', '9be2098528a8cdebbb646709b1c30da50f70cb334d40b3debbaae6e9701540b0', '\x000000000000000daf953e33eaf6ff343177f503536146913e93beea08731b180b55194a241ab70b000000000000000e886ab92deceb062b38d4d1bf9072222bcf98b1c4a291c655c9469ebf61fc7ed1000000000000000fdde5248be1d4040497837c62aad338a5e9685a1fb6b29c2e05fbfd7fc4c4b058');
INSERT INTO public.seal VALUES (12, 1795608000000000, 'row_history', 'rows', 16, 18, 3, 0, '01f34291ff4fc571331f8a113259061c2387d9d331e054f3842388c8a43758e9', '9be2098528a8cdebbb646709b1c30da50f70cb334d40b3debbaae6e9701540b0', 'c873bb81a62cc45d2ae0dfd78c23418a6f82298309e1966de0f2fbdacacb8e84', '\x0000000000000010630378c0aa55fce70d4212c5e70ccd3bc191ed1ec33f05f1ee4ea0ccfa122ebd0000000000000011f1f68cc42ddb09239b300ce0bf175d7a0012cf7acc0424254a000eb986c489de0000000000000012b902398899ee4aa4e382d4810fe6c80808f3b6f02c777deb948e6b118d2a62b1');
INSERT INTO public.seal VALUES (13, 1795608000000000, 'row_history', 'rows', 19, 21, 3, 0, '2357fe934671c0f6cd0690736ca7538d7ebe51a377cc49795693224e5f6f4667', 'c873bb81a62cc45d2ae0dfd78c23418a6f82298309e1966de0f2fbdacacb8e84', 'a97814717098fa9eced8289595be2d13eb29efb7fab9f9d0598ba4300163fc03', '\x0000000000000013503eaaa6322ab94c822589a3b139d89dadc898401abef4b671ddab45a8cb248300000000000000149099142496b90157267a951e16a059bd94daee780bb60c45879fca5fcbf0f6660000000000000015db5d5237f4a0ead49387c2812b551903bf4b4fe9a6d4914fae6e00ff9cdd5692');
INSERT INTO public.seal VALUES (14, 1795608000000000, 'row_history', 'rows', 22, 24, 3, 0, '7d5162ed60abf04abe6f7638e3908fd191d4e5664c9bcd5b74af3573ebea6184', 'a97814717098fa9eced8289595be2d13eb29efb7fab9f9d0598ba4300163fc03', 'c6594d08060a97e58fadf6742de4db8784dd3b1f057e514497c289b887ae7218', '\x0000000000000016c062340403a8f072bda773d8d6c494510f460adc92a65358cbeb392c273a7c5b000000000000001786a587ca54e58955b0b17ab5c2686fce24a23d28f9524da648a5898355a93ab80000000000000018ec9931256ceaed1e5a74ac7174f4e1311e8d82401ed7706930f25b2f45a9e19f');
INSERT INTO public.seal VALUES (15, 1795608000000000, 'record', 'rows', 1, 3, 3, 0, 'dcdbb96b45d183448dfb533f4b435350dc422ea5f301c97f138992c4d9e580c4', 'c6594d08060a97e58fadf6742de4db8784dd3b1f057e514497c289b887ae7218', 'f98cbea35e82419159c41d716d529f876b063415caac25420616435316e10f3c', '\x0000000000000001f942a72b672b816d52ad9c1762267e557a33059b5aa8f9b03f33acd1848f8f63000000000000000277fda9fee2ecebfad1ad89616739e0d4604272ca2d50e6ee1a1036ba9893042e0000000000000003601d37a0c1f08d192fc9b8c423126c6deb1cf851eebe6b7d79cb37e3c615b299');
INSERT INTO public.seen_field VALUES ('organisation', 'name', 7);
INSERT INTO public.self_alert VALUES ('trouble', 'subject', 7, 'what', 'remedy', 'alert_id');
INSERT INTO public.session VALUES ('digest', 'token_id', 7, 'name', 'role');
INSERT INTO public.silence VALUES ('1', '["level=high"]', 'sam', 'why', 1795611600000000, 1795615200000000, NULL, NULL);
INSERT INTO public.silence VALUES ('2', '["level=high"]', 'sam', 'why', 1795615200000000, 1795618800000000, NULL, NULL);
INSERT INTO public.silence VALUES ('3', '["level=high"]', 'sam', 'why', 1795618800000000, 1795622400000000, NULL, NULL);
INSERT INTO public.source VALUES ('name', 'organisation', 'renamed_to', 7, 7, 7, 7, 7, true, 7, 7, 7);
INSERT INTO public.stream VALUES ('name', 7, 7, 7, 7, 'last_error');
INSERT INTO public.stream_mark VALUES ('stream', 'source', 7, 7);
INSERT INTO public.stream_message VALUES (7, 'stream', 'message_id', 'kind', 7, 7, 'partition_key', 'content_type', '\x626f6479', 7, 'why');
INSERT INTO public.stream_position VALUES ('stream', 'feed', 7, 7);
INSERT INTO public.sweep VALUES ('source', 7, 7);
INSERT INTO public.template_version VALUES ('name', 'body');
INSERT INTO public.token VALUES ('1', '6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b', 'sam 1', 'operator', 1795611600000000, 'admin', NULL, NULL, NULL, NULL);
INSERT INTO public.token VALUES ('2', 'd4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35', 'sam 2', 'operator', 1795615200000000, 'admin', NULL, NULL, NULL, NULL);
INSERT INTO public.token VALUES ('3', '4e07408562bedb8b60ce05c1decfe3ad16b72230967de01f640b7e4729b49fce', 'sam 3', 'operator', 1795618800000000, 'admin', NULL, NULL, NULL, NULL);
INSERT INTO public.touched_group VALUES (7, 'group_id', 'group_values', 7, 7);
INSERT INTO public.unknown_kind VALUES ('source', 'name', true);
INSERT INTO public.unproved_window VALUES ('source', 7, 7, 7, true, true, 7, 7, 'why');
SELECT pg_catalog.setval('public.alert_history_id_seq', 9, true);
SELECT pg_catalog.setval('public.alert_record_id_seq', 3, true);
SELECT pg_catalog.setval('public.linked_account_id_seq', 1, false);
SELECT pg_catalog.setval('public.receipt_id_seq', 3, true);
SELECT pg_catalog.setval('public.record_id_seq', 3, true);
SELECT pg_catalog.setval('public.record_value_id_seq', 2, true);
SELECT pg_catalog.setval('public.row_history_id_seq', 24, true);
SELECT pg_catalog.setval('public.rule_history_id_seq', 3, true);
SELECT pg_catalog.setval('public.stream_message_id_seq', 1, false);
ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.alert_history
    ADD CONSTRAINT alert_history_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.alert
    ADD CONSTRAINT alert_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.alert_record
    ADD CONSTRAINT alert_record_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.backlog
    ADD CONSTRAINT backlog_pkey PRIMARY KEY (source);
ALTER TABLE ONLY public.correlated_alert
    ADD CONSTRAINT correlated_alert_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.correlation_version
    ADD CONSTRAINT correlation_version_pkey PRIMARY KEY (rule_id);
ALTER TABLE ONLY public.delivery_latency
    ADD CONSTRAINT delivery_latency_pkey PRIMARY KEY (receiver, bucket);
ALTER TABLE ONLY public.delivery
    ADD CONSTRAINT delivery_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.hit
    ADD CONSTRAINT hit_pkey PRIMARY KEY (rule, group_id, at, step, key);
ALTER TABLE ONLY public.linked_account
    ADD CONSTRAINT linked_account_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.message_reference
    ADD CONSTRAINT message_reference_pkey PRIMARY KEY (alert_id, receiver);
ALTER TABLE ONLY public.poll
    ADD CONSTRAINT poll_pkey PRIMARY KEY (source);
ALTER TABLE ONLY public."position"
    ADD CONSTRAINT position_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.receipt
    ADD CONSTRAINT receipt_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.receiver
    ADD CONSTRAINT receiver_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.record_alias
    ADD CONSTRAINT record_alias_pkey PRIMARY KEY (alias_key, ordinal);
ALTER TABLE ONLY public.record_block
    ADD CONSTRAINT record_block_pkey PRIMARY KEY (low_key);
ALTER TABLE ONLY public.record_count
    ADD CONSTRAINT record_count_pkey PRIMARY KEY (source);
ALTER TABLE ONLY public.record
    ADD CONSTRAINT record_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.record_value
    ADD CONSTRAINT record_value_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.replica
    ADD CONSTRAINT replica_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.role
    ADD CONSTRAINT role_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.row_history
    ADD CONSTRAINT row_history_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.rule_history
    ADD CONSTRAINT rule_history_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.rule_version
    ADD CONSTRAINT rule_version_pkey PRIMARY KEY (rule_id);
ALTER TABLE ONLY public.seal
    ADD CONSTRAINT seal_pkey PRIMARY KEY (number);
ALTER TABLE ONLY public.seen_field
    ADD CONSTRAINT seen_field_pkey PRIMARY KEY (organisation, name);
ALTER TABLE ONLY public.self_alert
    ADD CONSTRAINT self_alert_pkey PRIMARY KEY (trouble, subject);
ALTER TABLE ONLY public.session
    ADD CONSTRAINT session_pkey PRIMARY KEY (digest);
ALTER TABLE ONLY public.silence
    ADD CONSTRAINT silence_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.source
    ADD CONSTRAINT source_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.stream_mark
    ADD CONSTRAINT stream_mark_pkey PRIMARY KEY (stream, source);
ALTER TABLE ONLY public.stream_message
    ADD CONSTRAINT stream_message_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.stream
    ADD CONSTRAINT stream_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.stream_position
    ADD CONSTRAINT stream_position_pkey PRIMARY KEY (stream, feed);
ALTER TABLE ONLY public.sweep
    ADD CONSTRAINT sweep_pkey PRIMARY KEY (source, reach);
ALTER TABLE ONLY public.template_version
    ADD CONSTRAINT template_version_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.token
    ADD CONSTRAINT token_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.touched_group
    ADD CONSTRAINT touched_group_pkey PRIMARY KEY (rule, group_id);
ALTER TABLE ONLY public.unknown_kind
    ADD CONSTRAINT unknown_kind_pkey PRIMARY KEY (source, name);
ALTER TABLE ONLY public.unproved_window
    ADD CONSTRAINT unproved_window_pkey PRIMARY KEY (source, starts_at, ends_at);
CREATE INDEX alert_by_end ON public.alert USING btree (last_at);
CREATE INDEX alert_by_group ON public.alert USING btree (group_key, first_at);
CREATE INDEX alert_by_opening ON public.alert USING btree (opened_at);
CREATE INDEX alert_by_realert ON public.alert USING btree (realert);
CREATE INDEX alert_by_rule ON public.alert USING btree (rule_name, last_at);
CREATE INDEX alert_by_state ON public.alert USING btree (level, status);
CREATE INDEX alert_history_by_alert ON public.alert_history USING btree (alert_id);
CREATE INDEX alert_needing_person ON public.alert USING btree (level, opened_at, rule_name, source, user_name, cluster_name) WHERE ((status = 'open'::text) AND (is_shadow = false));
CREATE UNIQUE INDEX alert_record_by_alert ON public.alert_record USING btree (alert_id, record_id);
CREATE INDEX alert_record_by_record ON public.alert_record USING btree (record_id);
CREATE INDEX alert_record_by_time ON public.alert_record USING btree (alert_id, occurred_at);
CREATE INDEX correlated_alert_by_end ON public.correlated_alert USING btree (until);
CREATE INDEX correlated_alert_by_group ON public.correlated_alert USING btree (group_id, fired_at);
CREATE INDEX correlated_alert_by_rule ON public.correlated_alert USING btree (rule_id, until);
CREATE INDEX correlated_alert_open ON public.correlated_alert USING btree (rule_id) WHERE (is_open = true);
CREATE INDEX correlated_alert_pending ON public.correlated_alert USING btree (pending_at) WHERE (pending_at IS NOT NULL);
CREATE INDEX correlated_alert_reported ON public.correlated_alert USING btree (reported_as) WHERE (reported_as IS NOT NULL);
CREATE INDEX delivery_awaiting ON public.delivery USING btree (receiver, awaits, ref, mutes, due_at) WHERE (awaits IS NOT NULL);
CREATE INDEX delivery_by_creation ON public.delivery USING btree (created_at);
CREATE INDEX delivery_by_due ON public.delivery USING btree (status, receiver, due_at, ordinal);
CREATE UNIQUE INDEX delivery_by_order ON public.delivery USING btree (alert_id, receiver, ordinal);
CREATE INDEX delivery_by_receiver ON public.delivery USING btree (receiver, created_at);
CREATE INDEX delivery_copied ON public.delivery USING btree (fallback_of) WHERE (fallback_of IS NOT NULL);
CREATE INDEX delivery_inhibited ON public.delivery USING btree (ref, alert_id) WHERE (why = 'inhibition'::text);
CREATE INDEX delivery_leased ON public.delivery USING btree (receiver, leased_until) WHERE (leased_until IS NOT NULL);
CREATE INDEX delivery_let_through ON public.delivery USING btree (receiver, status, sent_at) WHERE ((event = 'opened'::text) AND (body IS NOT NULL));
CREATE INDEX delivery_reported ON public.delivery USING btree (reported_in) WHERE (reported_in IS NOT NULL);
CREATE INDEX linked_account_by_id ON public.linked_account USING btree (organisation, account_id, valid_from);
CREATE INDEX receipt_by_end ON public.receipt USING btree (ends_at);
CREATE INDEX receipt_by_judgement ON public.receipt USING btree (source, judged_at);
CREATE INDEX receipt_by_time ON public.receipt USING btree (source, starts_at, ends_at);
CREATE UNIQUE INDEX record_by_key ON public.record USING btree (record_key, source);
CREATE INDEX record_by_source ON public.record USING btree (source, record_key);
CREATE INDEX record_untimed ON public.record USING btree (occurred_at, record_key, source) WHERE (record_key >= 'g'::text);
CREATE UNIQUE INDEX record_value_by_key ON public.record_value USING btree (value_key);
CREATE INDEX record_vanished ON public.record USING btree (source, record_key, vanished_at) WHERE (vanished_at IS NOT NULL);
CREATE INDEX row_history_by_row ON public.row_history USING btree (table_name, row_key, id);
CREATE INDEX rule_history_by_rule ON public.rule_history USING btree (rule_id, id);
CREATE INDEX seal_by_last_id ON public.seal USING btree (table_name, kind, last_id);
CREATE INDEX self_alert_by_alert ON public.self_alert USING btree (alert_id);
CREATE INDEX session_by_end ON public.session USING btree (ends_at);
CREATE INDEX session_by_token ON public.session USING btree (token_id, ends_at);
CREATE INDEX silence_by_end ON public.silence USING btree (ends_at);
CREATE INDEX stream_message_by_stream ON public.stream_message USING btree (stream, refused_at, id);
CREATE UNIQUE INDEX token_by_digest ON public.token USING btree (digest);
