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
CREATE TABLE public.row_version (
    id bigint NOT NULL,
    table_name text NOT NULL COLLATE pg_catalog."C",
    row_key text NOT NULL COLLATE pg_catalog."C"
)
WITH (autovacuum_vacuum_scale_factor='0.02', autovacuum_vacuum_insert_scale_factor='0.02', autovacuum_analyze_scale_factor='0.01');
CREATE SEQUENCE public.row_version_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.row_version_id_seq OWNED BY public.row_version.id;
CREATE TABLE public.rule_history (
    id bigint NOT NULL,
    at bigint NOT NULL,
    rule_id text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL COLLATE pg_catalog."C",
    state text NOT NULL COLLATE pg_catalog."C",
    is_held boolean NOT NULL,
    why text NOT NULL COLLATE pg_catalog."C",
    since bigint,
    file text NOT NULL COLLATE pg_catalog."C"
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
    ends_at bigint NOT NULL
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
ALTER TABLE ONLY public.row_version ALTER COLUMN id SET DEFAULT nextval('public.row_version_id_seq'::regclass);
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
INSERT INTO public.row_version VALUES (1, 'alert', 'f5a50fbb-2165-56ab-b53d-b8f2948c0854');
INSERT INTO public.row_version VALUES (2, 'alert', '70966863-97a6-5ce8-8f86-7b248b85fa63');
INSERT INTO public.row_version VALUES (3, 'alert', 'f87bd3cb-31eb-5c49-90d0-3d53e00daa66');
INSERT INTO public.row_version VALUES (4, 'alert', 'f5a50fbb-2165-56ab-b53d-b8f2948c0854');
INSERT INTO public.row_version VALUES (5, 'alert', '70966863-97a6-5ce8-8f86-7b248b85fa63');
INSERT INTO public.row_version VALUES (6, 'alert', 'f87bd3cb-31eb-5c49-90d0-3d53e00daa66');
INSERT INTO public.row_version VALUES (7, 'silence', '1');
INSERT INTO public.row_version VALUES (8, 'silence', '2');
INSERT INTO public.row_version VALUES (9, 'silence', '3');
INSERT INTO public.rule_history VALUES (1, 1795608000000000, '1', 'a', 'live', false, 'because 1', 1795608000000000, 'a.yml');
INSERT INTO public.rule_history VALUES (2, 1795608000000000, '2', 'a', 'live', false, 'because 2', 1795608000000000, 'a.yml');
INSERT INTO public.rule_history VALUES (3, 1795608000000000, '3', 'a', 'live', false, 'because 3', 1795608000000000, 'a.yml');
INSERT INTO public.rule_version VALUES ('1', '1', 'x.yml', 1, 'live', 'd1', '', 1795608000000000);
INSERT INTO public.rule_version VALUES ('2', '2', 'x.yml', 1, 'live', 'd2', '', 1795608000000000);
INSERT INTO public.rule_version VALUES ('3', '3', 'x.yml', 1, 'live', 'd3', '', 1795608000000000);
INSERT INTO public.seen_field VALUES ('organisation', 'name', 7);
INSERT INTO public.self_alert VALUES ('trouble', 'subject', 7, 'what', 'remedy', 'alert_id');
INSERT INTO public.session VALUES ('digest', 'token_id', 7);
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
SELECT pg_catalog.setval('public.row_version_id_seq', 9, true);
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
ALTER TABLE ONLY public.row_version
    ADD CONSTRAINT row_version_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.rule_history
    ADD CONSTRAINT rule_history_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.rule_version
    ADD CONSTRAINT rule_version_pkey PRIMARY KEY (rule_id);
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
CREATE INDEX row_version_by_row ON public.row_version USING btree (table_name, row_key, id);
CREATE INDEX rule_history_by_rule ON public.rule_history USING btree (rule_id, id);
CREATE INDEX self_alert_by_alert ON public.self_alert USING btree (alert_id);
CREATE INDEX session_by_end ON public.session USING btree (ends_at);
CREATE INDEX session_by_token ON public.session USING btree (token_id, ends_at);
CREATE INDEX silence_by_end ON public.silence USING btree (ends_at);
CREATE INDEX stream_message_by_stream ON public.stream_message USING btree (stream, refused_at, id);
CREATE UNIQUE INDEX token_by_digest ON public.token USING btree (digest);
