CREATE FUNCTION public.note_alert() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        INSERT INTO unsealed (table_name, row_key) VALUES ('alert', OLD.id);
    ELSE
        INSERT INTO unsealed (table_name, row_key) VALUES ('alert', NEW.id);
    END IF;
    RETURN NULL;
END $$;
CREATE FUNCTION public.note_alert_history() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        INSERT INTO unsealed (table_name, row_key) VALUES ('alert_history', OLD.id);
    ELSE
        INSERT INTO unsealed (table_name, row_key) VALUES ('alert_history', NEW.id);
    END IF;
    RETURN NULL;
END $$;
CREATE FUNCTION public.note_alert_record() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        INSERT INTO unsealed (table_name, row_key) VALUES ('alert_record', OLD.alert_id || ' ' || OLD.record_id);
    ELSE
        INSERT INTO unsealed (table_name, row_key) VALUES ('alert_record', NEW.alert_id || ' ' || NEW.record_id);
    END IF;
    RETURN NULL;
END $$;
CREATE FUNCTION public.note_delivery() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        INSERT INTO unsealed (table_name, row_key) VALUES ('delivery', OLD.id);
    ELSE
        INSERT INTO unsealed (table_name, row_key) VALUES ('delivery', NEW.id);
    END IF;
    RETURN NULL;
END $$;
CREATE FUNCTION public.note_receipt() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        INSERT INTO unsealed (table_name, row_key) VALUES ('receipt', OLD.id);
    ELSE
        INSERT INTO unsealed (table_name, row_key) VALUES ('receipt', NEW.id);
    END IF;
    RETURN NULL;
END $$;
CREATE FUNCTION public.note_record() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        INSERT INTO unsealed (table_name, row_key) VALUES ('record', OLD.id);
    ELSE
        INSERT INTO unsealed (table_name, row_key) VALUES ('record', NEW.id);
    END IF;
    RETURN NULL;
END $$;
CREATE FUNCTION public.note_rule_history() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        INSERT INTO unsealed (table_name, row_key) VALUES ('rule_history', OLD.id);
    ELSE
        INSERT INTO unsealed (table_name, row_key) VALUES ('rule_history', NEW.id);
    END IF;
    RETURN NULL;
END $$;
CREATE FUNCTION public.note_rule_version() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        INSERT INTO unsealed (table_name, row_key) VALUES ('rule_version', OLD.rule_id);
    ELSE
        INSERT INTO unsealed (table_name, row_key) VALUES ('rule_version', NEW.rule_id);
    END IF;
    RETURN NULL;
END $$;
CREATE FUNCTION public.note_silence() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        INSERT INTO unsealed (table_name, row_key) VALUES ('silence', OLD.id);
    ELSE
        INSERT INTO unsealed (table_name, row_key) VALUES ('silence', NEW.id);
    END IF;
    RETURN NULL;
END $$;
CREATE FUNCTION public.note_token() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        INSERT INTO unsealed (table_name, row_key) VALUES ('token', OLD.id);
    ELSE
        INSERT INTO unsealed (table_name, row_key) VALUES ('token', NEW.id);
    END IF;
    RETURN NULL;
END $$;
CREATE FUNCTION public.note_written() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    INSERT INTO unsealed (table_name, row_key, last_id)
    SELECT TG_TABLE_NAME, min(id)::text, max(id) FROM written HAVING count(*) > 0;
    RETURN NULL;
END $$;
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
    happened_at bigint NOT NULL
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
    alert_id text NOT NULL COLLATE pg_catalog."C",
    record_id bigint NOT NULL,
    occurred_at bigint NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0.02', autovacuum_vacuum_insert_scale_factor='0.02', autovacuum_analyze_scale_factor='0.01');
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
    shared_id text COLLATE pg_catalog."C",
    firing_at bigint,
    firing_step integer,
    firing_key text COLLATE pg_catalog."C",
    has_waited boolean NOT NULL,
    is_quiet boolean NOT NULL,
    back_at bigint,
    is_judged boolean NOT NULL,
    is_noted boolean NOT NULL,
    pending_at bigint,
    is_held boolean NOT NULL,
    leader text COLLATE pg_catalog."C",
    above text COLLATE pg_catalog."C"
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
    rule text NOT NULL COLLATE pg_catalog."C",
    receiver text NOT NULL COLLATE pg_catalog."C",
    since text NOT NULL COLLATE pg_catalog."C",
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
    value text COLLATE pg_catalog."C",
    records text COLLATE pg_catalog."C"
)
WITH (autovacuum_vacuum_scale_factor='0.02', autovacuum_vacuum_insert_scale_factor='0.02', autovacuum_analyze_scale_factor='0.01');
CREATE TABLE public.lease (
    name text NOT NULL,
    owner text NOT NULL,
    term bigint NOT NULL,
    until timestamp with time zone NOT NULL
);
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
CREATE TABLE public.replica (
    id text NOT NULL,
    host text NOT NULL,
    since timestamp with time zone NOT NULL,
    until timestamp with time zone NOT NULL,
    note bytea NOT NULL,
    digest text NOT NULL
);
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
    first_id bigint,
    last_id bigint,
    row_count bigint NOT NULL,
    removed_count bigint NOT NULL,
    sealed_count bigint NOT NULL,
    states text NOT NULL COLLATE pg_catalog."C",
    root text NOT NULL COLLATE pg_catalog."C",
    previous text NOT NULL COLLATE pg_catalog."C",
    digest text NOT NULL COLLATE pg_catalog."C",
    leaves bytea
)
WITH (autovacuum_vacuum_scale_factor='0.02', autovacuum_vacuum_insert_scale_factor='0.02', autovacuum_analyze_scale_factor='0.01');
CREATE TABLE public.sealed_row (
    table_name text NOT NULL COLLATE pg_catalog."C",
    row_key text NOT NULL COLLATE pg_catalog."C",
    seal bigint NOT NULL
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
CREATE TABLE public.unsealed (
    id bigint NOT NULL,
    table_name text NOT NULL COLLATE pg_catalog."C",
    row_key text NOT NULL COLLATE pg_catalog."C",
    last_id bigint
)
WITH (autovacuum_vacuum_scale_factor='0.02', autovacuum_vacuum_insert_scale_factor='0.02', autovacuum_analyze_scale_factor='0.01');
CREATE SEQUENCE public.unsealed_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.unsealed_id_seq OWNED BY public.unsealed.id;
ALTER TABLE ONLY public.alert_history ALTER COLUMN id SET DEFAULT nextval('public.alert_history_id_seq'::regclass);
ALTER TABLE ONLY public.linked_account ALTER COLUMN id SET DEFAULT nextval('public.linked_account_id_seq'::regclass);
ALTER TABLE ONLY public.receipt ALTER COLUMN id SET DEFAULT nextval('public.receipt_id_seq'::regclass);
ALTER TABLE ONLY public.record ALTER COLUMN id SET DEFAULT nextval('public.record_id_seq'::regclass);
ALTER TABLE ONLY public.rule_history ALTER COLUMN id SET DEFAULT nextval('public.rule_history_id_seq'::regclass);
ALTER TABLE ONLY public.unsealed ALTER COLUMN id SET DEFAULT nextval('public.unsealed_id_seq'::regclass);
INSERT INTO public.alembic_version VALUES ('1000', '1000');
INSERT INTO public.alert VALUES ('f5a50fbb-2165-56ab-b53d-b8f2948c0854', 'cluster_deleted', 'cluster_deleted', 'Cluster_Deleted', '[]', 3, 'cluster_deleted by eve', '', NULL, '{}', 'acme', '79132d5d-ff4b-56ac-abfd-b31c1d7149c0', NULL, '[]', 0, 'open', NULL, NULL, NULL, 1, 1795608060000000, 1795608060000000, 1795608000000000, NULL, 1795608060000000, 1795608000000000, 1795608060000000);
INSERT INTO public.alert VALUES ('70966863-97a6-5ce8-8f86-7b248b85fa63', 'cluster_deleted', 'cluster_deleted', 'Cluster_Deleted', '[]', 3, 'cluster_deleted by eve', '', NULL, '{}', 'acme', '64b2ef7c-25cb-5326-ba99-724472b3a463', NULL, '[]', 0, 'open', NULL, NULL, NULL, 1, 1795608120000000, 1795608120000000, 1795608000000000, NULL, 1795608120000000, 1795608000000000, 1795608120000000);
INSERT INTO public.alert VALUES ('f87bd3cb-31eb-5c49-90d0-3d53e00daa66', 'cluster_deleted', 'cluster_deleted', 'Cluster_Deleted', '[]', 3, 'cluster_deleted by eve', '', NULL, '{}', 'acme', '051ca620-3f51-5ffe-9969-34b416ca77a9', NULL, '[]', 0, 'open', NULL, NULL, NULL, 1, 1795608180000000, 1795608180000000, 1795608000000000, NULL, 1795608180000000, 1795608000000000, 1795608180000000);
INSERT INTO public.alert_history VALUES (1, 1795608000000000, 'f5a50fbb-2165-56ab-b53d-b8f2948c0854', 'opened', 'cluster_deleted by eve');
INSERT INTO public.alert_history VALUES (2, 1795608000000000, 'f5a50fbb-2165-56ab-b53d-b8f2948c0854', 'routed', 'hook');
INSERT INTO public.alert_history VALUES (3, 1795608000000000, '70966863-97a6-5ce8-8f86-7b248b85fa63', 'opened', 'cluster_deleted by eve');
INSERT INTO public.alert_history VALUES (4, 1795608000000000, '70966863-97a6-5ce8-8f86-7b248b85fa63', 'routed', 'hook');
INSERT INTO public.alert_history VALUES (5, 1795608000000000, 'f87bd3cb-31eb-5c49-90d0-3d53e00daa66', 'opened', 'cluster_deleted by eve');
INSERT INTO public.alert_history VALUES (6, 1795608000000000, 'f87bd3cb-31eb-5c49-90d0-3d53e00daa66', 'routed', 'hook');
INSERT INTO public.alert_history VALUES (7, 1795608000000000, 'f5a50fbb-2165-56ab-b53d-b8f2948c0854', 'delivery to hook', 'attempt 1: alert.opened accepted');
INSERT INTO public.alert_history VALUES (8, 1795608000000000, '70966863-97a6-5ce8-8f86-7b248b85fa63', 'delivery to hook', 'attempt 1: alert.opened accepted');
INSERT INTO public.alert_history VALUES (9, 1795608000000000, 'f87bd3cb-31eb-5c49-90d0-3d53e00daa66', 'delivery to hook', 'attempt 1: alert.opened accepted');
INSERT INTO public.alert_record VALUES ('f5a50fbb-2165-56ab-b53d-b8f2948c0854', 1, 1795608060000000);
INSERT INTO public.alert_record VALUES ('70966863-97a6-5ce8-8f86-7b248b85fa63', 2, 1795608120000000);
INSERT INTO public.alert_record VALUES ('f87bd3cb-31eb-5c49-90d0-3d53e00daa66', 3, 1795608180000000);
INSERT INTO public.backlog VALUES ('source', 7, 7, 7, 7, 7, 7, 7, 7);
INSERT INTO public.correlated_alert VALUES ('id', 'rule_id', 'group_values', 'origin', 7, 7, 7, true, true, true, 'reported_as', 7, 'group_id', 'shared_id', 7, 7, 'firing_key', true, true, 7, true, true, 7, true, 'leader', 'above');
INSERT INTO public.correlation_version VALUES ('rule_id', 'version', 7, 7, 'digest', 7, 7, 7, 7);
INSERT INTO public.delivery VALUES ('647f70de-73b0-5fda-b4bf-30fad983c43a', 'f5a50fbb-2165-56ab-b53d-b8f2948c0854', 'hook', 'opened', 1, 'sent', 1, 1795608000000000, 1795608000000000, 1795608000000000, NULL, NULL, 1795608000000000, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '{"type":"alert.opened","timestamp":"2026-11-25T12:00:00+00:00","data":{"id":"f5a50fbb-2165-56ab-b53d-b8f2948c0854","rule":{"id":"cluster_deleted","name":"cluster_deleted","title":"Cluster_Deleted","tags":[]},"level":"high","title":"cluster_deleted by eve","body":"","runbook":null,"labels":{},"source":"acme","group":{},"status":"open","acked_by":null,"resolved_by":null,"count":1,"first_at":"2026-11-25T12:01:00.000Z","last_at":"2026-11-25T12:01:00.000Z","late":false,"late_by_seconds":null,"explain":"actionwatch explain f5a50fbb","records":[{"key":"0006611894927700-00000000000000000001","timestamp":"2026-11-25T12:01:00.000Z","actionKind":"DELETE_CLUSTER","userName":"eve","description":"Zürich 1","account":{"id":null,"name":null},"cluster":{"id":null,"name":null},"scope":null,"crudOperation":null,"source":"acme","raw":{}}]},"fields":[["timestamp","2026-11-25T12:01:00.000Z"],["userName","eve"],["actionKind","DELETE_CLUSTER"],["description","Zürich 1"]]}');
INSERT INTO public.delivery VALUES ('71d3fd26-471c-590d-ad3a-3f3382076c16', '70966863-97a6-5ce8-8f86-7b248b85fa63', 'hook', 'opened', 1, 'sent', 1, 1795608000000000, 1795608000000000, 1795608000000000, NULL, NULL, 1795608000000000, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '{"type":"alert.opened","timestamp":"2026-11-25T12:00:00+00:00","data":{"id":"70966863-97a6-5ce8-8f86-7b248b85fa63","rule":{"id":"cluster_deleted","name":"cluster_deleted","title":"Cluster_Deleted","tags":[]},"level":"high","title":"cluster_deleted by eve","body":"","runbook":null,"labels":{},"source":"acme","group":{},"status":"open","acked_by":null,"resolved_by":null,"count":1,"first_at":"2026-11-25T12:02:00.000Z","last_at":"2026-11-25T12:02:00.000Z","late":false,"late_by_seconds":null,"explain":"actionwatch explain 70966863","records":[{"key":"000661189825fe00-00000000000000000002","timestamp":"2026-11-25T12:02:00.000Z","actionKind":"DELETE_CLUSTER","userName":"eve","description":"Zürich 2","account":{"id":null,"name":null},"cluster":{"id":null,"name":null},"scope":null,"crudOperation":null,"source":"acme","raw":{}}]},"fields":[["timestamp","2026-11-25T12:02:00.000Z"],["userName","eve"],["actionKind","DELETE_CLUSTER"],["description","Zürich 2"]]}');
INSERT INTO public.delivery VALUES ('33fd5d40-7e08-595a-ada5-e3f2bed97e87', 'f87bd3cb-31eb-5c49-90d0-3d53e00daa66', 'hook', 'opened', 1, 'sent', 1, 1795608000000000, 1795608000000000, 1795608000000000, NULL, NULL, 1795608000000000, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '{"type":"alert.opened","timestamp":"2026-11-25T12:00:00+00:00","data":{"id":"f87bd3cb-31eb-5c49-90d0-3d53e00daa66","rule":{"id":"cluster_deleted","name":"cluster_deleted","title":"Cluster_Deleted","tags":[]},"level":"high","title":"cluster_deleted by eve","body":"","runbook":null,"labels":{},"source":"acme","group":{},"status":"open","acked_by":null,"resolved_by":null,"count":1,"first_at":"2026-11-25T12:03:00.000Z","last_at":"2026-11-25T12:03:00.000Z","late":false,"late_by_seconds":null,"explain":"actionwatch explain f87bd3cb","records":[{"key":"000661189bb98500-00000000000000000003","timestamp":"2026-11-25T12:03:00.000Z","actionKind":"DELETE_CLUSTER","userName":"eve","description":"Zürich 3","account":{"id":null,"name":null},"cluster":{"id":null,"name":null},"scope":null,"crudOperation":null,"source":"acme","raw":{}}]},"fields":[["timestamp","2026-11-25T12:03:00.000Z"],["userName","eve"],["actionKind","DELETE_CLUSTER"],["description","Zürich 3"]]}');
INSERT INTO public.delivery_latency VALUES ('cluster_deleted', 'hook', 'happened', 1, 3, 0);
INSERT INTO public.delivery_latency VALUES ('cluster_deleted', 'hook', 'seen', 1, 3, 0);
INSERT INTO public.delivery_latency VALUES ('cluster_deleted', 'hook', 'matched', 1, 3, 0);
INSERT INTO public.hit VALUES (7, 'group_id', 7, 7, 'key', 7, true, 'value', 'records');
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
INSERT INTO public.record_count VALUES ('acme', 3, 0, 1795608060000000);
INSERT INTO public.rule_history VALUES (1, 1795608000000000, '1', 'a', 'live', 'changed', 1795608000000000, 1795608000000000, false, 'because 1', 1795608000000000, 'a.yml', 'd', '');
INSERT INTO public.rule_history VALUES (2, 1795608000000000, '2', 'a', 'live', 'changed', 1795608000000000, 1795608000000000, false, 'because 2', 1795608000000000, 'a.yml', 'd', '');
INSERT INTO public.rule_history VALUES (3, 1795608000000000, '3', 'a', 'live', 'changed', 1795608000000000, 1795608000000000, false, 'because 3', 1795608000000000, 'a.yml', 'd', '');
INSERT INTO public.rule_version VALUES ('1', '1', 'x.yml', 1, 'live', 'd1', '', 1795608000000000);
INSERT INTO public.rule_version VALUES ('2', '2', 'x.yml', 1, 'live', 'd2', '', 1795608000000000);
INSERT INTO public.rule_version VALUES ('3', '3', 'x.yml', 1, 'live', 'd3', '', 1795608000000000);
INSERT INTO public.seal VALUES (1, 1795608000000000, 'record', 1, 3, 3, 0, 3, '{}', 'b5f245d53841ac624e74f1d516acde0cd2572f80d34c2624a154a8da65ef3bbf', '', '7163ac93d11ce769d1068dd2b7da6189e0ca1c18a0be4fe27898b786c46d085e', '\x9392a131c420732f48f238c948c105cef04b9462346aa582d308ec19aa654f84f6dc8b61023892a132c4209d71ea0e4e9c647df138c23f2e25ce3b62518ce55852ed081816ce09ca7fd6e992a133c4203ee7d3cc1a14ddf7382c333149148191f60be818d2c8344f4f3c642fb6594414');
INSERT INTO public.seal VALUES (2, 1795608000000000, 'alert', NULL, NULL, 3, 0, 3, '{}', 'b0b12628bb5b54f1067721780b59e4fe4f9d1134c6ef26ce350c2727ddbc83ea', '7163ac93d11ce769d1068dd2b7da6189e0ca1c18a0be4fe27898b786c46d085e', '79db25c33fbb541032d621b9b0f68dd1c4b671f6a3c554ea28b78d57cb91a707', '\x9392d92466356135306662622d323136352d353661622d623533642d623866323934386330383534c42000779a474e3f3de8fcb2e0ad2fa218db46c69af16865fb184a29a166c59b2bdf92d92437303936363836332d393761362d356365382d386638362d376232343862383566613633c4208e3954fb6763a1dae521a175f63d35912ab39789eeff9a0d2477b9bfb016092192d92466383762643363622d333165622d356334392d393064302d336435336530306461613636c4206dc92e8f9d56c93d1c4316d755fb774074e8bf9e2d1dac97f462c3ad1a734b43');
INSERT INTO public.seal VALUES (3, 1795608000000000, 'alert_record', NULL, NULL, 3, 0, 3, '{}', 'cad754c6395ef446f84dae48cd32c16b522886b6fd8a364fd7987100beee63ff', '79db25c33fbb541032d621b9b0f68dd1c4b671f6a3c554ea28b78d57cb91a707', '7291efed9703a2593f359852bdd9e34e6b1c04f86f9c939fa5ac9481a2f3190f', '\x9392d92666356135306662622d323136352d353661622d623533642d6238663239343863303835342031c420fa379dc3b5e99769906a17c7b56a85a0f6975f0fac72ac593b94f1d0aec78d5092d92637303936363836332d393761362d356365382d386638362d3762323438623835666136332032c42023b1a26160af230ba52e0d5c5112cb0034fae130285d025d78e2174b16e3070e92d92666383762643363622d333165622d356334392d393064302d3364353365303064616136362033c4201f6db75385ea81a280afce88e990f8f2f86db7ebcb849d746bc6e33742d3be77');
INSERT INTO public.seal VALUES (4, 1795608000000000, 'delivery', NULL, NULL, 3, 0, 3, '{}', '296e954caa3de7ba4d2ca86d479f8e420e57a0edf6cf10404b1ad0cc0bc8f461', '7291efed9703a2593f359852bdd9e34e6b1c04f86f9c939fa5ac9481a2f3190f', '240d18bbcf1a3a9e20426263c28dad0bc00ba0d4ff019f73a37be175cd127285', '\x9392d92436343766373064652d373362302d356664612d623462662d333066616439383363343361c42092276c4808c2058824731da527c3ed3597f4420842589c27080d8c586707caba92d92437316433666432362d343731632d353930642d616433612d336633333832303736633136c42069763f9e388db031f8deb93047b2798b306496779b916c2f4f31d5a698f0daa392d92433336664356434302d376530382d353935612d616461352d653366326265643937653837c42026157d9bc12301a7024d2d66b2e3628647cd64cb5ffe0719f610b843f2f07dec');
INSERT INTO public.seal VALUES (5, 1795608000000000, 'alert_history', 1, 3, 3, 0, 3, '{}', '682fd1950fae542e22c725218df314c83b2a428e96869a7d8a5a7d5b3fb1456f', '240d18bbcf1a3a9e20426263c28dad0bc00ba0d4ff019f73a37be175cd127285', 'dfbf30aac4b18248be4c827bea1fd0181b0d6d751f44e9ebd3d859b634a8b601', '\x9392a131c420a3658c5ef349969293e611c19599a01810fb83f74142b164b8a0ba3545c6cdc092a132c42007979c1c0d11e8f24661e9a415b1030b4feb08b7e334e64a7d3fe27f8e80901792a133c42010d33b7fab541e3f3b70419254382c6c5bf520ff27120a49d21f7b1bed1f61ba');
INSERT INTO public.seal VALUES (6, 1795608000000000, 'alert_history', 4, 6, 3, 0, 6, '{}', 'eaa7bcb6287734326de2134d061a0a6a1a95a1b8860a66cb6570332d29ba0b87', 'dfbf30aac4b18248be4c827bea1fd0181b0d6d751f44e9ebd3d859b634a8b601', '58a4b32e0d6c32dfdadf12a948063bc7818b6aa973cac9ff56c8da2782827a05', '\x9392a134c42074435df885f51a85e5aa1562f1dbfcf5587381cad9b6735907f4ecb80be6898792a135c420e1f90170a3c85622233cada5ebb291afea2f9ae39dfb3212ee6c7fade04655bb92a136c420048b207ccb36c7c17b42dc1011ce3dbb1543bf05e80509c9d18ba25ef3726193');
INSERT INTO public.seal VALUES (7, 1795608000000000, 'alert_history', 7, 9, 3, 0, 9, '{}', 'ed16048f3f0b5c8fbbd6295fb223e3395937f0be883355de1e7c6b025fb1b040', '58a4b32e0d6c32dfdadf12a948063bc7818b6aa973cac9ff56c8da2782827a05', 'bc1810dfc8f3807cf57dd049fe3868bd43f492c69f767512eae8851f7c84f8a4', '\x9392a137c420b828a72994957ece74aae91b0aa126bb0f6ddd48636d59214d16c377a454836592a138c420d4f5f31f78610188de195e9047872003c02c455710938af7a453b2c93d6f677192a139c420b01f221d66c28b1177e1571830521fdff8b8deb5ab850371b33d105bf6ab44ca');
INSERT INTO public.seal VALUES (8, 1795608000000000, 'receipt', 1, 1, 1, 0, 1, '{}', '223913cc5755832b34cffbfa8c182718db52ec8cbeeb52a70c300552f1aa2a73', 'bc1810dfc8f3807cf57dd049fe3868bd43f492c69f767512eae8851f7c84f8a4', 'e2e69a3dde7ef1937e8c7882dbe0a263d7063baf6f401e7287fd6b0920f7cc18', '\x9192a131c420223913cc5755832b34cffbfa8c182718db52ec8cbeeb52a70c300552f1aa2a73');
INSERT INTO public.seal VALUES (9, 1795608000000000, 'rule_history', 1, 1, 1, 0, 1, '{}', '5ca9b219c7a8d4f04f7b92499c0c18cb370114907bf10c359bfc1947f0315d93', 'e2e69a3dde7ef1937e8c7882dbe0a263d7063baf6f401e7287fd6b0920f7cc18', 'a5e714234bd7868b6b8ab9e8990f2f32fac3b4fe75c62fad425a6fe34f49ef6e', '\x9192a131c4205ca9b219c7a8d4f04f7b92499c0c18cb370114907bf10c359bfc1947f0315d93');
INSERT INTO public.seal VALUES (10, 1795608000000000, 'silence', NULL, NULL, 1, 0, 1, '{}', '71dd39bb6beb1af85b2c37e9173c95f4c3a2cad678c4182517c88ddc03517918', 'a5e714234bd7868b6b8ab9e8990f2f32fac3b4fe75c62fad425a6fe34f49ef6e', '0e32e793e18966b905fbf03c5925ee36026412f625b6904edbed1f506a5ede7f', '\x9192a131c42071dd39bb6beb1af85b2c37e9173c95f4c3a2cad678c4182517c88ddc03517918');
INSERT INTO public.seal VALUES (11, 1795608000000000, 'rule_version', NULL, NULL, 1, 0, 1, '{}', '186efb77dd26d405b80563fb8e6bea2d4755838bc094a588189fc4654c28a622', '0e32e793e18966b905fbf03c5925ee36026412f625b6904edbed1f506a5ede7f', 'a2d23825b6800506083e6c4f360555a404af865f9675d4bd3237918f0df777c1', '\x9192a131c420186efb77dd26d405b80563fb8e6bea2d4755838bc094a588189fc4654c28a622');
INSERT INTO public.seal VALUES (12, 1795608000000000, 'token', NULL, NULL, 1, 0, 1, '{}', 'f6ef25da706ccb48207e992edb046970853673e7edcfda3ac1e63f62d3f7bcb0', 'a2d23825b6800506083e6c4f360555a404af865f9675d4bd3237918f0df777c1', '4f105b1deba6466a616c165a09a1040228a52e1fbf3ec8915ab302849fb4ca76', '\x9192a131c420f6ef25da706ccb48207e992edb046970853673e7edcfda3ac1e63f62d3f7bcb0');
INSERT INTO public.seal VALUES (13, 1795608000000000, 'receipt', 2, 2, 1, 0, 2, '{}', '9256475451f139c05c9c8f278731ed3b33566f862bb8dd28a7dac1e87ff99579', '4f105b1deba6466a616c165a09a1040228a52e1fbf3ec8915ab302849fb4ca76', '0a2708a254185baff1e4c7440616f79c0b1bd62deef72bc511467ba2256923a7', '\x9192a132c4209256475451f139c05c9c8f278731ed3b33566f862bb8dd28a7dac1e87ff99579');
INSERT INTO public.seal VALUES (14, 1795608000000000, 'rule_history', 2, 2, 1, 0, 2, '{}', 'de20ba8f30c8e09d273ae87d2927267f0fa6fd1503e1174ff76b40c1056a695b', '0a2708a254185baff1e4c7440616f79c0b1bd62deef72bc511467ba2256923a7', '1e79bfdd9da5eba5d6016153c1d1609c27a22213ad470f86bb292936dff228c6', '\x9192a132c420de20ba8f30c8e09d273ae87d2927267f0fa6fd1503e1174ff76b40c1056a695b');
INSERT INTO public.seal VALUES (15, 1795608000000000, 'silence', NULL, NULL, 1, 0, 2, '{}', 'c4cf3604d1781809a2e415a002c28604b5683d2d6c350b3572ba7db73788a041', '1e79bfdd9da5eba5d6016153c1d1609c27a22213ad470f86bb292936dff228c6', '8a4b8f424762b0883e12e868f45bffd449f5355f59b737d94f99fd0db4fccb14', '\x9192a132c420c4cf3604d1781809a2e415a002c28604b5683d2d6c350b3572ba7db73788a041');
INSERT INTO public.seal VALUES (16, 1795608000000000, 'rule_version', NULL, NULL, 1, 0, 2, '{}', '16ff224ae9560052d74cc62e0e54eabb1a86d92c1928e5b26b42420ea9a5b4ba', '8a4b8f424762b0883e12e868f45bffd449f5355f59b737d94f99fd0db4fccb14', '7d7170ebbde22015e6b425a52b33261033ac4dae449e5eee5918e771436bd856', '\x9192a132c42016ff224ae9560052d74cc62e0e54eabb1a86d92c1928e5b26b42420ea9a5b4ba');
INSERT INTO public.seal VALUES (17, 1795608000000000, 'token', NULL, NULL, 1, 0, 2, '{}', '42ddae8b73f1d8bddbefeccc18927043a3362361b0591b1bc85de6b288262dbd', '7d7170ebbde22015e6b425a52b33261033ac4dae449e5eee5918e771436bd856', '96c8d420e456926a68c26e8d4a7645ce63d7842fd861217513b91159011ec2c0', '\x9192a132c42042ddae8b73f1d8bddbefeccc18927043a3362361b0591b1bc85de6b288262dbd');
INSERT INTO public.seal VALUES (18, 1795608000000000, 'receipt', 3, 3, 1, 0, 3, '{}', 'c5f5c5b6ad6958fda15be06553e98fb2884fc2502c27a51898ee6c4a3dd40898', '96c8d420e456926a68c26e8d4a7645ce63d7842fd861217513b91159011ec2c0', 'c3961662a592ce6b6e18a5c9ab38ff52d2e5ce5dd87da1853e0d6811f214bd57', '\x9192a133c420c5f5c5b6ad6958fda15be06553e98fb2884fc2502c27a51898ee6c4a3dd40898');
INSERT INTO public.seal VALUES (19, 1795608000000000, 'rule_history', 3, 3, 1, 0, 3, '{}', '537ec75bac6275f427177a6866fc309591f74490b21d83e366cdbad9f16bb180', 'c3961662a592ce6b6e18a5c9ab38ff52d2e5ce5dd87da1853e0d6811f214bd57', 'c9d244f3437f7a84be184440d368066bfd23ce11d7299eb6d461090eab78b793', '\x9192a133c420537ec75bac6275f427177a6866fc309591f74490b21d83e366cdbad9f16bb180');
INSERT INTO public.seal VALUES (20, 1795608000000000, 'silence', NULL, NULL, 1, 0, 3, '{}', 'db0956a8945056a0ce3ddc72c6977e4fcdcaccbf4c6705d94d327c6ff43dc96c', 'c9d244f3437f7a84be184440d368066bfd23ce11d7299eb6d461090eab78b793', '1ec963edfcaf0a337f2f0ab729522005503f2ae761dad20528ab05ce3167e3e4', '\x9192a133c420db0956a8945056a0ce3ddc72c6977e4fcdcaccbf4c6705d94d327c6ff43dc96c');
INSERT INTO public.seal VALUES (21, 1795608000000000, 'rule_version', NULL, NULL, 1, 0, 3, '{}', 'de3d30c93b9a363eb1b7233a6fc9cfc247f8892abf5e75744e12b03e73aa45e1', '1ec963edfcaf0a337f2f0ab729522005503f2ae761dad20528ab05ce3167e3e4', '982a4548feb88b556cb5ebb887c356e231add872ae62acfa1cdeea7ed5e877ff', '\x9192a133c420de3d30c93b9a363eb1b7233a6fc9cfc247f8892abf5e75744e12b03e73aa45e1');
INSERT INTO public.seal VALUES (22, 1795608000000000, 'token', NULL, NULL, 1, 0, 3, '{}', '77752176364691a0ade3ebae71bbd1bde224caf6c0020aeb3c3ed7ced437024e', '982a4548feb88b556cb5ebb887c356e231add872ae62acfa1cdeea7ed5e877ff', 'c1d75cdaedac72d28af0bd6560082b1b39034aeff4641f59e1450c7b0808354f', '\x9192a133c42077752176364691a0ade3ebae71bbd1bde224caf6c0020aeb3c3ed7ced437024e');
INSERT INTO public.sealed_row VALUES ('alert', 'f5a50fbb-2165-56ab-b53d-b8f2948c0854', 2);
INSERT INTO public.sealed_row VALUES ('alert', '70966863-97a6-5ce8-8f86-7b248b85fa63', 2);
INSERT INTO public.sealed_row VALUES ('alert', 'f87bd3cb-31eb-5c49-90d0-3d53e00daa66', 2);
INSERT INTO public.sealed_row VALUES ('alert_record', 'f5a50fbb-2165-56ab-b53d-b8f2948c0854 1', 3);
INSERT INTO public.sealed_row VALUES ('alert_record', '70966863-97a6-5ce8-8f86-7b248b85fa63 2', 3);
INSERT INTO public.sealed_row VALUES ('alert_record', 'f87bd3cb-31eb-5c49-90d0-3d53e00daa66 3', 3);
INSERT INTO public.sealed_row VALUES ('delivery', '647f70de-73b0-5fda-b4bf-30fad983c43a', 4);
INSERT INTO public.sealed_row VALUES ('delivery', '71d3fd26-471c-590d-ad3a-3f3382076c16', 4);
INSERT INTO public.sealed_row VALUES ('delivery', '33fd5d40-7e08-595a-ada5-e3f2bed97e87', 4);
INSERT INTO public.sealed_row VALUES ('silence', '1', 10);
INSERT INTO public.sealed_row VALUES ('rule_version', '1', 11);
INSERT INTO public.sealed_row VALUES ('token', '1', 12);
INSERT INTO public.sealed_row VALUES ('silence', '2', 15);
INSERT INTO public.sealed_row VALUES ('rule_version', '2', 16);
INSERT INTO public.sealed_row VALUES ('token', '2', 17);
INSERT INTO public.sealed_row VALUES ('silence', '3', 20);
INSERT INTO public.sealed_row VALUES ('rule_version', '3', 21);
INSERT INTO public.sealed_row VALUES ('token', '3', 22);
INSERT INTO public.seen_field VALUES ('organisation', 'name', 7);
INSERT INTO public.self_alert VALUES ('trouble', 'subject', 7, 'what', 'remedy', 'alert_id');
INSERT INTO public.session VALUES ('digest', 'token_id', 7, 'name', 'role');
INSERT INTO public.silence VALUES ('1', '["level=high"]', 'sam', 'why', 1795611600000000, 1795615200000000, NULL, NULL);
INSERT INTO public.silence VALUES ('2', '["level=high"]', 'sam', 'why', 1795615200000000, 1795618800000000, NULL, NULL);
INSERT INTO public.silence VALUES ('3', '["level=high"]', 'sam', 'why', 1795618800000000, 1795622400000000, NULL, NULL);
INSERT INTO public.source VALUES ('name', 'organisation', 'renamed_to', 7, 7, 7, 7, 7, true, 7, 7, 7);
INSERT INTO public.sweep VALUES ('source', 7, 7);
INSERT INTO public.template_version VALUES ('name', 'body');
INSERT INTO public.token VALUES ('1', '6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b', 'sam 1', 'operator', 1795611600000000, 'admin', NULL, NULL, NULL, NULL);
INSERT INTO public.token VALUES ('2', 'd4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35', 'sam 2', 'operator', 1795615200000000, 'admin', NULL, NULL, NULL, NULL);
INSERT INTO public.token VALUES ('3', '4e07408562bedb8b60ce05c1decfe3ad16b72230967de01f640b7e4729b49fce', 'sam 3', 'operator', 1795618800000000, 'admin', NULL, NULL, NULL, NULL);
INSERT INTO public.touched_group VALUES (7, 'group_id', 'group_values', 7, 7);
INSERT INTO public.unknown_kind VALUES ('source', 'name', true);
INSERT INTO public.unproved_window VALUES ('source', 7, 7, 7, true, true, 7, 7, 'why');
INSERT INTO public.unsealed VALUES (7, 'table_name', 'row_key', 7);
SELECT pg_catalog.setval('public.alert_history_id_seq', 9, true);
SELECT pg_catalog.setval('public.linked_account_id_seq', 1, false);
SELECT pg_catalog.setval('public.receipt_id_seq', 3, true);
SELECT pg_catalog.setval('public.record_id_seq', 3, true);
SELECT pg_catalog.setval('public.rule_history_id_seq', 3, true);
SELECT pg_catalog.setval('public.unsealed_id_seq', 45, true);
ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.alert_history
    ADD CONSTRAINT alert_history_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.alert
    ADD CONSTRAINT alert_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.alert_record
    ADD CONSTRAINT alert_record_pkey PRIMARY KEY (alert_id, record_id);
ALTER TABLE ONLY public.backlog
    ADD CONSTRAINT backlog_pkey PRIMARY KEY (source);
ALTER TABLE ONLY public.correlated_alert
    ADD CONSTRAINT correlated_alert_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.correlation_version
    ADD CONSTRAINT correlation_version_pkey PRIMARY KEY (rule_id);
ALTER TABLE ONLY public.delivery_latency
    ADD CONSTRAINT delivery_latency_pkey PRIMARY KEY (rule, receiver, since, bucket);
ALTER TABLE ONLY public.delivery
    ADD CONSTRAINT delivery_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.hit
    ADD CONSTRAINT hit_pkey PRIMARY KEY (rule, group_id, at, step, key);
ALTER TABLE ONLY public.lease
    ADD CONSTRAINT lease_pkey PRIMARY KEY (name);
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
ALTER TABLE ONLY public.record_count
    ADD CONSTRAINT record_count_pkey PRIMARY KEY (source);
ALTER TABLE ONLY public.record
    ADD CONSTRAINT record_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.replica
    ADD CONSTRAINT replica_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.rule_history
    ADD CONSTRAINT rule_history_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.rule_version
    ADD CONSTRAINT rule_version_pkey PRIMARY KEY (rule_id);
ALTER TABLE ONLY public.seal
    ADD CONSTRAINT seal_pkey PRIMARY KEY (number);
ALTER TABLE ONLY public.sealed_row
    ADD CONSTRAINT sealed_row_pkey PRIMARY KEY (table_name, row_key);
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
ALTER TABLE ONLY public.unsealed
    ADD CONSTRAINT unsealed_pkey PRIMARY KEY (id);
CREATE INDEX alert_by_end ON public.alert USING btree (last_at);
CREATE INDEX alert_by_group ON public.alert USING btree (group_key, first_at);
CREATE INDEX alert_by_opening ON public.alert USING btree (opened_at);
CREATE INDEX alert_by_realert ON public.alert USING btree (realert);
CREATE INDEX alert_by_rule ON public.alert USING btree (rule_name, last_at);
CREATE INDEX alert_by_state ON public.alert USING btree (level, status);
CREATE INDEX alert_history_by_alert ON public.alert_history USING btree (alert_id);
CREATE INDEX alert_record_by_record ON public.alert_record USING btree (record_id);
CREATE INDEX alert_record_by_time ON public.alert_record USING btree (alert_id, occurred_at);
CREATE INDEX correlated_alert_by_end ON public.correlated_alert USING btree (until);
CREATE INDEX correlated_alert_by_group ON public.correlated_alert USING btree (group_id, fired_at);
CREATE INDEX correlated_alert_by_rule ON public.correlated_alert USING btree (rule_id, until);
CREATE INDEX correlated_alert_held ON public.correlated_alert USING btree (shared_id) WHERE (is_held = true);
CREATE INDEX correlated_alert_open ON public.correlated_alert USING btree (rule_id) WHERE (is_open = true);
CREATE INDEX correlated_alert_pending ON public.correlated_alert USING btree (pending_at) WHERE (pending_at IS NOT NULL);
CREATE INDEX correlated_alert_reported ON public.correlated_alert USING btree (reported_as) WHERE (reported_as IS NOT NULL);
CREATE INDEX correlated_alert_shared ON public.correlated_alert USING btree (shared_id, fired_at) WHERE (shared_id IS NOT NULL);
CREATE INDEX delivery_awaiting ON public.delivery USING btree (receiver, awaits, ref, mutes, due_at) WHERE (awaits IS NOT NULL);
CREATE INDEX delivery_by_creation ON public.delivery USING btree (created_at);
CREATE INDEX delivery_by_due ON public.delivery USING btree (status, receiver, due_at, ordinal);
CREATE UNIQUE INDEX delivery_by_order ON public.delivery USING btree (alert_id, receiver, ordinal);
CREATE INDEX delivery_by_receiver ON public.delivery USING btree (receiver, created_at);
CREATE INDEX delivery_copied ON public.delivery USING btree (fallback_of) WHERE (fallback_of IS NOT NULL);
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
CREATE INDEX record_vanished ON public.record USING btree (source, record_key, vanished_at) WHERE (vanished_at IS NOT NULL);
CREATE INDEX rule_history_by_rule ON public.rule_history USING btree (rule_id, id);
CREATE INDEX seal_by_digest ON public.seal USING btree (digest);
CREATE INDEX seal_by_last_id ON public.seal USING btree (table_name, last_id);
CREATE INDEX seal_by_table ON public.seal USING btree (table_name, number);
CREATE INDEX self_alert_by_alert ON public.self_alert USING btree (alert_id);
CREATE INDEX session_by_end ON public.session USING btree (ends_at);
CREATE INDEX session_by_token ON public.session USING btree (token_id, ends_at);
CREATE INDEX silence_by_end ON public.silence USING btree (ends_at);
CREATE UNIQUE INDEX token_by_digest ON public.token USING btree (digest);
CREATE INDEX unsealed_by_row ON public.unsealed USING btree (table_name, row_key);
CREATE TRIGGER note_alert AFTER INSERT OR DELETE OR UPDATE OF id, rule_id, rule_name, rule_title, tags, level, title, body, runbook, labels, source, group_key, group_values, fields, realert, status, acked_by, resolved_by, resolved_at, match_count, first_at, last_at, opened_at, late_by, seen_at, first_sent_at, happened_at ON public.alert FOR EACH ROW WHEN ((current_setting('application_name'::text) = 'actionwatch'::text)) EXECUTE FUNCTION public.note_alert();
CREATE TRIGGER note_alert_history AFTER INSERT OR DELETE ON public.alert_history FOR EACH ROW WHEN ((current_setting('application_name'::text) = 'actionwatch'::text)) EXECUTE FUNCTION public.note_alert_history();
CREATE TRIGGER note_alert_record AFTER INSERT OR DELETE OR UPDATE OF alert_id, record_id ON public.alert_record FOR EACH ROW WHEN ((current_setting('application_name'::text) = 'actionwatch'::text)) EXECUTE FUNCTION public.note_alert_record();
CREATE TRIGGER note_delivery AFTER INSERT OR DELETE OR UPDATE OF id, alert_id, receiver, event, ordinal, status, attempts, created_at, sent_at, last_error, why, ref, mutes, fallback_of, awaits, reported_in, body ON public.delivery FOR EACH ROW WHEN ((current_setting('application_name'::text) = 'actionwatch'::text)) EXECUTE FUNCTION public.note_delivery();
CREATE TRIGGER note_receipt AFTER INSERT OR DELETE ON public.receipt FOR EACH ROW WHEN ((current_setting('application_name'::text) = 'actionwatch'::text)) EXECUTE FUNCTION public.note_receipt();
CREATE TRIGGER note_record AFTER DELETE ON public.record FOR EACH ROW WHEN ((current_setting('application_name'::text) = 'actionwatch'::text)) EXECUTE FUNCTION public.note_record();
CREATE TRIGGER note_rule_history AFTER INSERT OR DELETE ON public.rule_history FOR EACH ROW WHEN ((current_setting('application_name'::text) = 'actionwatch'::text)) EXECUTE FUNCTION public.note_rule_history();
CREATE TRIGGER note_rule_version AFTER INSERT OR DELETE OR UPDATE OF rule_id, name, file, line, mode, document, lists, since ON public.rule_version FOR EACH ROW WHEN ((current_setting('application_name'::text) = 'actionwatch'::text)) EXECUTE FUNCTION public.note_rule_version();
CREATE TRIGGER note_silence AFTER INSERT OR DELETE OR UPDATE OF id, matchers, author, comment, starts_at, ends_at, file, ended_by ON public.silence FOR EACH ROW WHEN ((current_setting('application_name'::text) = 'actionwatch'::text)) EXECUTE FUNCTION public.note_silence();
CREATE TRIGGER note_token AFTER INSERT OR DELETE OR UPDATE OF id, digest, name, role, created_at, created_by, expires_at, revoked_at, revoked_by ON public.token FOR EACH ROW WHEN ((current_setting('application_name'::text) = 'actionwatch'::text)) EXECUTE FUNCTION public.note_token();
CREATE TRIGGER note_written AFTER INSERT ON public.record REFERENCING NEW TABLE AS written FOR EACH STATEMENT WHEN ((current_setting('application_name'::text) = 'actionwatch'::text)) EXECUTE FUNCTION public.note_written();
