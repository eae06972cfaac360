BEGIN TRANSACTION;
CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, minimum_reader VARCHAR(32), CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num));
INSERT INTO "alembic_version" VALUES('1000','1000');
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
	escalation TEXT, 
	user_name TEXT, 
	cluster_name TEXT, 
	is_shadow BOOLEAN NOT NULL, 
	assigned_to TEXT, 
	note TEXT, 
	noted_by TEXT, 
	reopened_by TEXT, 
	reopened_at BIGINT, 
	PRIMARY KEY (id)
);
INSERT INTO "alert" VALUES('f5a50fbb-2165-56ab-b53d-b8f2948c0854','cluster_deleted','cluster_deleted','Cluster_Deleted','[]',3,'cluster_deleted by eve','',NULL,'{}','acme','79132d5d-ff4b-56ac-abfd-b31c1d7149c0',NULL,'[]',0,'open',NULL,NULL,NULL,1,1795608060000000,1795608060000000,1795608000000000,NULL,1795608060000000,1795608000000000,1795608060000000,NULL,'eve',NULL,0,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "alert" VALUES('70966863-97a6-5ce8-8f86-7b248b85fa63','cluster_deleted','cluster_deleted','Cluster_Deleted','[]',3,'cluster_deleted by eve','',NULL,'{}','acme','64b2ef7c-25cb-5326-ba99-724472b3a463',NULL,'[]',0,'open',NULL,NULL,NULL,1,1795608120000000,1795608120000000,1795608000000000,NULL,1795608120000000,1795608000000000,1795608120000000,NULL,'eve',NULL,0,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "alert" VALUES('f87bd3cb-31eb-5c49-90d0-3d53e00daa66','cluster_deleted','cluster_deleted','Cluster_Deleted','[]',3,'cluster_deleted by eve','',NULL,'{}','acme','051ca620-3f51-5ffe-9969-34b416ca77a9',NULL,'[]',0,'open',NULL,NULL,NULL,1,1795608180000000,1795608180000000,1795608000000000,NULL,1795608180000000,1795608000000000,1795608180000000,NULL,'eve',NULL,0,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE alert_history (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	at BIGINT NOT NULL, 
	alert_id TEXT NOT NULL, 
	stage TEXT NOT NULL, 
	what TEXT NOT NULL
);
INSERT INTO "alert_history" VALUES(1,1795608000000000,'f5a50fbb-2165-56ab-b53d-b8f2948c0854','opened','cluster_deleted by eve');
INSERT INTO "alert_history" VALUES(2,1795608000000000,'f5a50fbb-2165-56ab-b53d-b8f2948c0854','routed','hook');
INSERT INTO "alert_history" VALUES(3,1795608000000000,'70966863-97a6-5ce8-8f86-7b248b85fa63','opened','cluster_deleted by eve');
INSERT INTO "alert_history" VALUES(4,1795608000000000,'70966863-97a6-5ce8-8f86-7b248b85fa63','routed','hook');
INSERT INTO "alert_history" VALUES(5,1795608000000000,'f87bd3cb-31eb-5c49-90d0-3d53e00daa66','opened','cluster_deleted by eve');
INSERT INTO "alert_history" VALUES(6,1795608000000000,'f87bd3cb-31eb-5c49-90d0-3d53e00daa66','routed','hook');
INSERT INTO "alert_history" VALUES(7,1795608000000000,'f5a50fbb-2165-56ab-b53d-b8f2948c0854','delivery to hook','attempt 1: alert.opened accepted');
INSERT INTO "alert_history" VALUES(8,1795608000000000,'70966863-97a6-5ce8-8f86-7b248b85fa63','delivery to hook','attempt 1: alert.opened accepted');
INSERT INTO "alert_history" VALUES(9,1795608000000000,'f87bd3cb-31eb-5c49-90d0-3d53e00daa66','delivery to hook','attempt 1: alert.opened accepted');
CREATE TABLE alert_record (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	alert_id TEXT NOT NULL, 
	record_id BIGINT NOT NULL, 
	occurred_at BIGINT NOT NULL
);
INSERT INTO "alert_record" VALUES(1,'f5a50fbb-2165-56ab-b53d-b8f2948c0854',1,1795608060000000);
INSERT INTO "alert_record" VALUES(2,'70966863-97a6-5ce8-8f86-7b248b85fa63',2,1795608120000000);
INSERT INTO "alert_record" VALUES(3,'f87bd3cb-31eb-5c49-90d0-3d53e00daa66',3,1795608180000000);
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
INSERT INTO "backlog" VALUES('source',7,7,7,7,7,7,7,7);
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
	group_id TEXT NOT NULL, 
	firing_at BIGINT, 
	firing_step INTEGER, 
	firing_key TEXT, 
	has_waited BOOLEAN NOT NULL, 
	is_quiet BOOLEAN NOT NULL, 
	back_at BIGINT, 
	is_judged BOOLEAN NOT NULL, 
	is_noted BOOLEAN NOT NULL, 
	pending_at BIGINT, 
	PRIMARY KEY (id)
);
INSERT INTO "correlated_alert" VALUES('id','rule_id','group_values','origin',7,7,7,1,1,1,'reported_as',7,'group_id',7,7,'firing_key',1,1,7,1,1,7);
CREATE TABLE correlation_version (
	rule_id TEXT NOT NULL, 
	version TEXT NOT NULL, 
	floor BIGINT NOT NULL, 
	number INTEGER NOT NULL, 
	digest TEXT, 
	fed_from BIGINT, 
	fed_through BIGINT, 
	begins_at BIGINT, 
	alerts_from BIGINT, 
	PRIMARY KEY (rule_id)
);
INSERT INTO "correlation_version" VALUES('rule_id','version',7,7,'digest',7,7,7,7);
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
	leased_by TEXT, 
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
INSERT INTO "delivery" VALUES('647f70de-73b0-5fda-b4bf-30fad983c43a','f5a50fbb-2165-56ab-b53d-b8f2948c0854','hook','opened',1,'sent',1,1795608000000000,1795608000000000,1795608000000000,NULL,NULL,1795608000000000,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'{"type":"alert.opened","timestamp":"2026-11-25T12:00:00+00:00","data":{"id":"f5a50fbb-2165-56ab-b53d-b8f2948c0854","rule":{"id":"cluster_deleted","name":"cluster_deleted","title":"Cluster_Deleted","tags":[]},"level":"high","title":"cluster_deleted by eve","body":"","runbook":null,"labels":{},"source":"acme","group":{},"status":"open","acked_by":null,"resolved_by":null,"count":1,"first_at":"2026-11-25T12:01:00.000Z","last_at":"2026-11-25T12:01:00.000Z","late":false,"late_by_seconds":null,"explain":"actionwatch explain f5a50fbb","user":"eve","cluster":null,"assigned_to":null,"note":null,"noted_by":null,"reopened_by":null,"records":[{"key":"0006611894927700-00000000000000000001","timestamp":"2026-11-25T12:01:00.000Z","actionKind":"DELETE_CLUSTER","userName":"eve","description":"Zürich 1","account":{"id":null,"name":null},"cluster":{"id":null,"name":null},"scope":null,"crudOperation":null,"source":"acme","raw":{}}]},"fields":[["timestamp","2026-11-25T12:01:00.000Z"],["userName","eve"],["actionKind","DELETE_CLUSTER"],["description","Zürich 1"]]}');
INSERT INTO "delivery" VALUES('71d3fd26-471c-590d-ad3a-3f3382076c16','70966863-97a6-5ce8-8f86-7b248b85fa63','hook','opened',1,'sent',1,1795608000000000,1795608000000000,1795608000000000,NULL,NULL,1795608000000000,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'{"type":"alert.opened","timestamp":"2026-11-25T12:00:00+00:00","data":{"id":"70966863-97a6-5ce8-8f86-7b248b85fa63","rule":{"id":"cluster_deleted","name":"cluster_deleted","title":"Cluster_Deleted","tags":[]},"level":"high","title":"cluster_deleted by eve","body":"","runbook":null,"labels":{},"source":"acme","group":{},"status":"open","acked_by":null,"resolved_by":null,"count":1,"first_at":"2026-11-25T12:02:00.000Z","last_at":"2026-11-25T12:02:00.000Z","late":false,"late_by_seconds":null,"explain":"actionwatch explain 70966863","user":"eve","cluster":null,"assigned_to":null,"note":null,"noted_by":null,"reopened_by":null,"records":[{"key":"000661189825fe00-00000000000000000002","timestamp":"2026-11-25T12:02:00.000Z","actionKind":"DELETE_CLUSTER","userName":"eve","description":"Zürich 2","account":{"id":null,"name":null},"cluster":{"id":null,"name":null},"scope":null,"crudOperation":null,"source":"acme","raw":{}}]},"fields":[["timestamp","2026-11-25T12:02:00.000Z"],["userName","eve"],["actionKind","DELETE_CLUSTER"],["description","Zürich 2"]]}');
INSERT INTO "delivery" VALUES('33fd5d40-7e08-595a-ada5-e3f2bed97e87','f87bd3cb-31eb-5c49-90d0-3d53e00daa66','hook','opened',1,'sent',1,1795608000000000,1795608000000000,1795608000000000,NULL,NULL,1795608000000000,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'{"type":"alert.opened","timestamp":"2026-11-25T12:00:00+00:00","data":{"id":"f87bd3cb-31eb-5c49-90d0-3d53e00daa66","rule":{"id":"cluster_deleted","name":"cluster_deleted","title":"Cluster_Deleted","tags":[]},"level":"high","title":"cluster_deleted by eve","body":"","runbook":null,"labels":{},"source":"acme","group":{},"status":"open","acked_by":null,"resolved_by":null,"count":1,"first_at":"2026-11-25T12:03:00.000Z","last_at":"2026-11-25T12:03:00.000Z","late":false,"late_by_seconds":null,"explain":"actionwatch explain f87bd3cb","user":"eve","cluster":null,"assigned_to":null,"note":null,"noted_by":null,"reopened_by":null,"records":[{"key":"000661189bb98500-00000000000000000003","timestamp":"2026-11-25T12:03:00.000Z","actionKind":"DELETE_CLUSTER","userName":"eve","description":"Zürich 3","account":{"id":null,"name":null},"cluster":{"id":null,"name":null},"scope":null,"crudOperation":null,"source":"acme","raw":{}}]},"fields":[["timestamp","2026-11-25T12:03:00.000Z"],["userName","eve"],["actionKind","DELETE_CLUSTER"],["description","Zürich 3"]]}');
CREATE TABLE delivery_latency (
	receiver TEXT NOT NULL, 
	bucket INTEGER NOT NULL, 
	message_count BIGINT NOT NULL, 
	total BIGINT NOT NULL, 
	PRIMARY KEY (receiver, bucket)
);
INSERT INTO "delivery_latency" VALUES('hook',1,3,0);
CREATE TABLE hit (
	rule INTEGER NOT NULL, 
	group_id TEXT NOT NULL, 
	at BIGINT NOT NULL, 
	step INTEGER NOT NULL, 
	"key" TEXT NOT NULL, 
	record_id BIGINT NOT NULL, 
	is_backlog BOOLEAN NOT NULL, 
	value TEXT, 
	PRIMARY KEY (rule, group_id, at, step, "key")
)
 WITHOUT ROWID

;
INSERT INTO "hit" VALUES(7,'group_id',7,7,'key',7,1,'value');
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
INSERT INTO "linked_account" VALUES(7,'organisation','account_id','name','raw',7,7);
CREATE TABLE message_reference (
	alert_id TEXT NOT NULL, 
	receiver TEXT NOT NULL, 
	value TEXT NOT NULL, 
	PRIMARY KEY (alert_id, receiver)
);
INSERT INTO "message_reference" VALUES('alert_id','receiver','value');
CREATE TABLE poll (
	source TEXT NOT NULL, 
	last_poll_at BIGINT NOT NULL, 
	failures INTEGER NOT NULL, 
	last_error TEXT, 
	clock_skew BIGINT NOT NULL, 
	backoff BIGINT NOT NULL, 
	PRIMARY KEY (source)
);
INSERT INTO "poll" VALUES('source',7,7,'last_error',7,7);
CREATE TABLE position (
	name TEXT NOT NULL, 
	record_id BIGINT NOT NULL, 
	handled_count BIGINT NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "position" VALUES('match',3,3);
INSERT INTO "position" VALUES('correlate',3,3);
CREATE TABLE receipt (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
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
	record_through BIGINT NOT NULL
);
INSERT INTO "receipt" VALUES(1,'acme',1795611600000000,1795615200000000,1795611600000000,1795611600000000,1,'counts',1,'{}','1',1,3);
INSERT INTO "receipt" VALUES(2,'acme',1795615200000000,1795618800000000,1795615200000000,1795615200000000,1,'counts',2,'{}','2',1,3);
INSERT INTO "receipt" VALUES(3,'acme',1795618800000000,1795622400000000,1795618800000000,1795618800000000,1,'counts',3,'{}','3',1,3);
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
INSERT INTO "receiver" VALUES('hook',1795608000000000,NULL,NULL,NULL,NULL,NULL);
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
INSERT INTO "record" VALUES(1,'acme','0006611894927700-00000000000000000001',1795608060000000,1795608060000000,'DELETE_CLUSTER',NULL,NULL,'medium',NULL,'eve','Zürich 1',NULL,NULL,NULL,NULL,NULL,NULL,NULL,1,0,NULL,NULL,'{}');
INSERT INTO "record" VALUES(2,'acme','000661189825fe00-00000000000000000002',1795608120000000,1795608120000000,'DELETE_CLUSTER',NULL,NULL,'medium',NULL,'eve','Zürich 2',NULL,NULL,NULL,NULL,NULL,NULL,NULL,1,0,NULL,NULL,'{}');
INSERT INTO "record" VALUES(3,'acme','000661189bb98500-00000000000000000003',1795608180000000,1795608180000000,'DELETE_CLUSTER',NULL,NULL,'medium',NULL,'eve','Zürich 3',NULL,NULL,NULL,NULL,NULL,NULL,NULL,1,0,NULL,NULL,'{}');
CREATE TABLE record_alias (
	alias_key TEXT NOT NULL, 
	ordinal INTEGER NOT NULL, 
	record_key TEXT NOT NULL, 
	PRIMARY KEY (alias_key, ordinal)
);
INSERT INTO "record_alias" VALUES('alias_key',7,'record_key');
CREATE TABLE record_block (
	low_key TEXT NOT NULL, 
	high_key TEXT NOT NULL, 
	size INTEGER NOT NULL, 
	value_bits BLOB NOT NULL, 
	PRIMARY KEY (low_key)
);
INSERT INTO "record_block" VALUES('0006611894927700-00000000000000000001','000661189bb98500-00000000000000000003',3,X'06');
CREATE TABLE record_count (
	source TEXT NOT NULL, 
	stored_count BIGINT NOT NULL, 
	deleted_count BIGINT NOT NULL, 
	first_seen_at BIGINT NOT NULL, 
	PRIMARY KEY (source)
);
INSERT INTO "record_count" VALUES('acme',3,0,1795608060000000);
CREATE TABLE record_value (
	id INTEGER NOT NULL, 
	value_key TEXT NOT NULL, 
	field TEXT NOT NULL, 
	name TEXT NOT NULL, 
	entity_id TEXT NOT NULL, 
	searched TEXT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "record_value" VALUES(1,'user 3 eve ','user','eve','','eve
');
INSERT INTO "record_value" VALUES(2,'kind 14 DELETE_CLUSTER ','kind','DELETE_CLUSTER','','delete_cluster
');
CREATE TABLE row_version (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	table_name TEXT NOT NULL, 
	row_key TEXT NOT NULL
);
INSERT INTO "row_version" VALUES(1,'alert','f5a50fbb-2165-56ab-b53d-b8f2948c0854');
INSERT INTO "row_version" VALUES(2,'alert','70966863-97a6-5ce8-8f86-7b248b85fa63');
INSERT INTO "row_version" VALUES(3,'alert','f87bd3cb-31eb-5c49-90d0-3d53e00daa66');
INSERT INTO "row_version" VALUES(4,'alert','f5a50fbb-2165-56ab-b53d-b8f2948c0854');
INSERT INTO "row_version" VALUES(5,'alert','70966863-97a6-5ce8-8f86-7b248b85fa63');
INSERT INTO "row_version" VALUES(6,'alert','f87bd3cb-31eb-5c49-90d0-3d53e00daa66');
INSERT INTO "row_version" VALUES(7,'silence','1');
INSERT INTO "row_version" VALUES(8,'silence','2');
INSERT INTO "row_version" VALUES(9,'silence','3');
CREATE TABLE rule_history (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	at BIGINT NOT NULL, 
	rule_id TEXT NOT NULL, 
	name TEXT NOT NULL, 
	state TEXT NOT NULL, 
	is_held BOOLEAN NOT NULL, 
	why TEXT NOT NULL, 
	since BIGINT, 
	file TEXT NOT NULL
);
INSERT INTO "rule_history" VALUES(1,1795608000000000,'1','a','live',0,'because 1',1795608000000000,'a.yml');
INSERT INTO "rule_history" VALUES(2,1795608000000000,'2','a','live',0,'because 2',1795608000000000,'a.yml');
INSERT INTO "rule_history" VALUES(3,1795608000000000,'3','a','live',0,'because 3',1795608000000000,'a.yml');
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
INSERT INTO "rule_version" VALUES('1','1','x.yml',1,'live','d1','',1795608000000000);
INSERT INTO "rule_version" VALUES('2','2','x.yml',1,'live','d2','',1795608000000000);
INSERT INTO "rule_version" VALUES('3','3','x.yml',1,'live','d3','',1795608000000000);
CREATE TABLE seen_field (
	organisation TEXT NOT NULL, 
	name TEXT NOT NULL, 
	seen_at BIGINT NOT NULL, 
	PRIMARY KEY (organisation, name)
);
INSERT INTO "seen_field" VALUES('organisation','name',7);
CREATE TABLE self_alert (
	trouble TEXT NOT NULL, 
	subject TEXT NOT NULL, 
	since BIGINT NOT NULL, 
	what TEXT NOT NULL, 
	remedy TEXT NOT NULL, 
	alert_id TEXT NOT NULL, 
	PRIMARY KEY (trouble, subject)
);
INSERT INTO "self_alert" VALUES('trouble','subject',7,'what','remedy','alert_id');
CREATE TABLE session (
	digest TEXT NOT NULL, 
	token_id TEXT, 
	ends_at BIGINT NOT NULL, 
	PRIMARY KEY (digest)
);
INSERT INTO "session" VALUES('digest','token_id',7);
CREATE TABLE silence (
	id TEXT NOT NULL, 
	matchers TEXT NOT NULL, 
	author TEXT NOT NULL, 
	comment TEXT NOT NULL, 
	starts_at BIGINT NOT NULL, 
	ends_at BIGINT NOT NULL, 
	file TEXT, 
	ended_by TEXT, 
	PRIMARY KEY (id)
);
INSERT INTO "silence" VALUES('1','["level=high"]','sam','why',1795611600000000,1795615200000000,NULL,NULL);
INSERT INTO "silence" VALUES('2','["level=high"]','sam','why',1795615200000000,1795618800000000,NULL,NULL);
INSERT INTO "silence" VALUES('3','["level=high"]','sam','why',1795618800000000,1795622400000000,NULL,NULL);
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
INSERT INTO "source" VALUES('name','organisation','renamed_to',7,7,7,7,7,1,7,7,7);
CREATE TABLE stream (
	name TEXT NOT NULL, 
	started_at BIGINT NOT NULL, 
	sent_count BIGINT NOT NULL, 
	last_sent_at BIGINT, 
	failing_since BIGINT, 
	last_error TEXT, 
	PRIMARY KEY (name)
);
INSERT INTO "stream" VALUES('name',7,7,7,7,'last_error');
CREATE TABLE stream_mark (
	stream TEXT NOT NULL, 
	source TEXT NOT NULL, 
	begins_at BIGINT NOT NULL, 
	complete_through BIGINT NOT NULL, 
	PRIMARY KEY (stream, source)
);
INSERT INTO "stream_mark" VALUES('stream','source',7,7);
CREATE TABLE stream_message (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	stream TEXT NOT NULL, 
	message_id TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	row_id BIGINT NOT NULL, 
	at BIGINT NOT NULL, 
	partition_key TEXT NOT NULL, 
	content_type TEXT NOT NULL, 
	body BLOB NOT NULL, 
	refused_at BIGINT, 
	why TEXT
);
INSERT INTO "stream_message" VALUES(7,'stream','message_id','kind',7,7,'partition_key','content_type','body',7,'why');
CREATE TABLE stream_position (
	stream TEXT NOT NULL, 
	feed TEXT NOT NULL, 
	row_id BIGINT NOT NULL, 
	planned_through BIGINT, 
	PRIMARY KEY (stream, feed)
);
INSERT INTO "stream_position" VALUES('stream','feed',7,7);
CREATE TABLE sweep (
	source TEXT NOT NULL, 
	reach BIGINT NOT NULL, 
	asked_at BIGINT NOT NULL, 
	PRIMARY KEY (source, reach)
);
INSERT INTO "sweep" VALUES('source',7,7);
CREATE TABLE template_version (
	name TEXT NOT NULL, 
	body TEXT NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "template_version" VALUES('name','body');
CREATE TABLE token (
	id TEXT NOT NULL, 
	digest TEXT NOT NULL, 
	name TEXT NOT NULL, 
	role TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	created_by TEXT NOT NULL, 
	expires_at BIGINT, 
	last_used_at BIGINT, 
	revoked_at BIGINT, 
	revoked_by TEXT, 
	PRIMARY KEY (id)
);
INSERT INTO "token" VALUES('1','6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b','sam 1','operator',1795611600000000,'admin',NULL,NULL,NULL,NULL);
INSERT INTO "token" VALUES('2','d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35','sam 2','operator',1795615200000000,'admin',NULL,NULL,NULL,NULL);
INSERT INTO "token" VALUES('3','4e07408562bedb8b60ce05c1decfe3ad16b72230967de01f640b7e4729b49fce','sam 3','operator',1795618800000000,'admin',NULL,NULL,NULL,NULL);
CREATE TABLE touched_group (
	rule INTEGER NOT NULL, 
	group_id TEXT NOT NULL, 
	group_values TEXT NOT NULL, 
	first_at BIGINT NOT NULL, 
	last_at BIGINT NOT NULL, 
	PRIMARY KEY (rule, group_id)
);
INSERT INTO "touched_group" VALUES(7,'group_id','group_values',7,7);
CREATE TABLE unknown_kind (
	source TEXT NOT NULL, 
	name TEXT NOT NULL, 
	is_reported BOOLEAN NOT NULL, 
	PRIMARY KEY (source, name)
);
INSERT INTO "unknown_kind" VALUES('source','name',1);
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
INSERT INTO "unproved_window" VALUES('source',7,7,7,1,1,7,7,'why');
CREATE INDEX alert_by_end ON alert (last_at);
CREATE INDEX alert_by_group ON alert (group_key, first_at);
CREATE INDEX alert_by_opening ON alert (opened_at);
CREATE INDEX alert_by_realert ON alert (realert);
CREATE INDEX alert_by_rule ON alert (rule_name, last_at);
CREATE INDEX alert_by_state ON alert (level, status);
CREATE INDEX alert_needing_person ON alert (level, opened_at, rule_name, source, user_name, cluster_name) WHERE status = 'open' AND is_shadow = 0;
CREATE INDEX alert_history_by_alert ON alert_history (alert_id);
CREATE UNIQUE INDEX alert_record_by_alert ON alert_record (alert_id, record_id);
CREATE INDEX alert_record_by_record ON alert_record (record_id);
CREATE INDEX alert_record_by_time ON alert_record (alert_id, occurred_at);
CREATE INDEX correlated_alert_by_end ON correlated_alert (until);
CREATE INDEX correlated_alert_by_group ON correlated_alert (group_id, fired_at);
CREATE INDEX correlated_alert_by_rule ON correlated_alert (rule_id, until);
CREATE INDEX correlated_alert_open ON correlated_alert (rule_id) WHERE is_open = 1;
CREATE INDEX correlated_alert_pending ON correlated_alert (pending_at) WHERE pending_at IS NOT NULL;
CREATE INDEX correlated_alert_reported ON correlated_alert (reported_as) WHERE reported_as IS NOT NULL;
CREATE INDEX delivery_awaiting ON delivery (receiver, awaits, ref, mutes, due_at) WHERE awaits IS NOT NULL;
CREATE INDEX delivery_by_creation ON delivery (created_at);
CREATE INDEX delivery_by_due ON delivery (status, receiver, due_at, ordinal);
CREATE UNIQUE INDEX delivery_by_order ON delivery (alert_id, receiver, ordinal);
CREATE INDEX delivery_by_receiver ON delivery (receiver, created_at);
CREATE INDEX delivery_copied ON delivery (fallback_of) WHERE fallback_of IS NOT NULL;
CREATE INDEX delivery_inhibited ON delivery (ref, alert_id) WHERE why = 'inhibition';
CREATE INDEX delivery_leased ON delivery (receiver, leased_until) WHERE leased_until IS NOT NULL;
CREATE INDEX delivery_let_through ON delivery (receiver, status, sent_at) WHERE event = 'opened' AND body IS NOT NULL;
CREATE INDEX delivery_reported ON delivery (reported_in) WHERE reported_in IS NOT NULL;
CREATE INDEX linked_account_by_id ON linked_account (organisation, account_id, valid_from);
CREATE INDEX receipt_by_end ON receipt (ends_at);
CREATE INDEX receipt_by_judgement ON receipt (source, judged_at);
CREATE INDEX receipt_by_time ON receipt (source, starts_at, ends_at);
CREATE UNIQUE INDEX record_by_key ON record (record_key, source);
CREATE INDEX record_by_source ON record (source, record_key);
CREATE INDEX record_untimed ON record (occurred_at, record_key, source) WHERE record_key >= 'g';
CREATE INDEX record_vanished ON record (source, record_key, vanished_at) WHERE vanished_at IS NOT NULL;
CREATE UNIQUE INDEX record_value_by_key ON record_value (value_key);
CREATE INDEX row_version_by_row ON row_version (table_name, row_key, id);
CREATE INDEX rule_history_by_rule ON rule_history (rule_id, id);
CREATE INDEX self_alert_by_alert ON self_alert (alert_id);
CREATE INDEX session_by_end ON session (ends_at);
CREATE INDEX session_by_token ON session (token_id, ends_at);
CREATE INDEX silence_by_end ON silence (ends_at);
CREATE INDEX stream_message_by_stream ON stream_message (stream, refused_at, id);
CREATE UNIQUE INDEX token_by_digest ON token (digest);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('record',3);
INSERT INTO "sqlite_sequence" VALUES('row_version',9);
INSERT INTO "sqlite_sequence" VALUES('alert_record',3);
INSERT INTO "sqlite_sequence" VALUES('alert_history',9);
INSERT INTO "sqlite_sequence" VALUES('receipt',3);
INSERT INTO "sqlite_sequence" VALUES('rule_history',3);
INSERT INTO "sqlite_sequence" VALUES('stream_message',7);
COMMIT;
