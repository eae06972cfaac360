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
CREATE TABLE row_history (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	table_name TEXT NOT NULL, 
	row_key TEXT NOT NULL, 
	digest TEXT NOT NULL
);
INSERT INTO "row_history" VALUES(1,'alert','70966863-97a6-5ce8-8f86-7b248b85fa63','480725dba3b5a7b07c0e148ce0bd1a18754aecdfd63a856cac730d15f2079c6b');
INSERT INTO "row_history" VALUES(2,'alert','f5a50fbb-2165-56ab-b53d-b8f2948c0854','ee86c11eee8f878adc49ffe4db75f568a53a060de5e9fd0b57ff36cdae9bc9fd');
INSERT INTO "row_history" VALUES(3,'alert','f87bd3cb-31eb-5c49-90d0-3d53e00daa66','632e5fe57044b52a7996ec6f234687d9f69e54451226e1df2f3e1fab72d22e24');
INSERT INTO "row_history" VALUES(4,'delivery','33fd5d40-7e08-595a-ada5-e3f2bed97e87','b7d0ba9e8cc0fdd42bba105f1575db0982c2099bbe6170b6f901c797f048e67f');
INSERT INTO "row_history" VALUES(5,'delivery','647f70de-73b0-5fda-b4bf-30fad983c43a','06e7747ea96b6b64f7d814aeb53f9f9d687690b032823357d46a158aa786f8a5');
INSERT INTO "row_history" VALUES(6,'delivery','71d3fd26-471c-590d-ad3a-3f3382076c16','4ed8d0c5b7a1e8de5b4e207af5dca925ad1c174d58e1d91b9d90b9d2213da331');
INSERT INTO "row_history" VALUES(7,'delivery','33fd5d40-7e08-595a-ada5-e3f2bed97e87','184405bbfdb590b51e84b993837d45a3a7bf8f2fe79fd895f6c0c9689483a0b6');
INSERT INTO "row_history" VALUES(8,'delivery','647f70de-73b0-5fda-b4bf-30fad983c43a','6ce318074db54116c29715f02e31fc4602afad7e7d14bddf9d34f9024d2abdf6');
INSERT INTO "row_history" VALUES(9,'delivery','71d3fd26-471c-590d-ad3a-3f3382076c16','65f8cfc804b7d2a3c17a5bf15f6600ec76d115dad21e9050cb47c394a09f6729');
INSERT INTO "row_history" VALUES(10,'alert','f5a50fbb-2165-56ab-b53d-b8f2948c0854','dbfda7d8569b0fd630e56543b92f753a771aa62a1e4e6aefc353aff787dfc54c');
INSERT INTO "row_history" VALUES(11,'alert','70966863-97a6-5ce8-8f86-7b248b85fa63','9ce9b15677ab7e54754e4e7d9e0d5e602fe925fb2a47db7bd1b0bdbdfbb0abe1');
INSERT INTO "row_history" VALUES(12,'alert','f87bd3cb-31eb-5c49-90d0-3d53e00daa66','7d29bb90a1064cd1b54376a91c604846a2617f7d63891a653dee3aeab49c564a');
INSERT INTO "row_history" VALUES(13,'delivery','647f70de-73b0-5fda-b4bf-30fad983c43a','87e8353ef49f0cd95560e9d352c6e1a64d1e797883441702164e856df35326fc');
INSERT INTO "row_history" VALUES(14,'delivery','71d3fd26-471c-590d-ad3a-3f3382076c16','82b6f0c90baab5c4b74ebd4fde68c81d77384214d5f5a04857ab62ca47952b3b');
INSERT INTO "row_history" VALUES(15,'delivery','33fd5d40-7e08-595a-ada5-e3f2bed97e87','f76a3f440c7f083686daac0637565391b1e06cc2a9cd1ee81d8cd9d5c8046cf9');
INSERT INTO "row_history" VALUES(16,'silence','1','dc72606f79184d97c58115d22d2a2d34faa7b780a16a38be512f6606aabc0da8');
INSERT INTO "row_history" VALUES(17,'rule_version','1','97f23ba46b163227f0d871fa89cc335ba99b4b275d859569268465f007c390d5');
INSERT INTO "row_history" VALUES(18,'token','1','9da406d4b662080f252e931cb902f1b8a7a7cf2beb9003e6642923348b303e6f');
INSERT INTO "row_history" VALUES(19,'silence','2','a14e663f4bd1d5d42bd5b5c397567e9b4c3e3f1f6023e7367a7e7e23304bc2c4');
INSERT INTO "row_history" VALUES(20,'rule_version','2','0b0a47c71c74827278d97acc465479a0430982a8875d1bdbf35a096f9a3de26d');
INSERT INTO "row_history" VALUES(21,'token','2','65b8a7cf8b407d043f99361921b09faab0759f29453e14b234964dda3354262b');
INSERT INTO "row_history" VALUES(22,'silence','3','56223005e0f2e54ff9d070de68cbef843f5cc51e3f677a7013682d0b1373f446');
INSERT INTO "row_history" VALUES(23,'rule_version','3','b29bba081a94276e15674a49ba53ac5f539eb8f60cc29b3a959d1ae40a402604');
INSERT INTO "row_history" VALUES(24,'token','3','8e5681e32298068bf23f4b3e8e4b94d8555d0db9e5f8930dcf104d2f1fbcbe13');
CREATE TABLE rule_history (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	at BIGINT NOT NULL, 
	rule_id TEXT NOT NULL, 
	name TEXT NOT NULL, 
	state TEXT NOT NULL, 
	origin TEXT NOT NULL, 
	may_begin_at BIGINT NOT NULL, 
	begins_at BIGINT NOT NULL, 
	is_held BOOLEAN NOT NULL, 
	why TEXT NOT NULL, 
	since BIGINT, 
	file TEXT NOT NULL, 
	document TEXT NOT NULL, 
	lists TEXT NOT NULL
);
INSERT INTO "rule_history" VALUES(1,1795608000000000,'1','a','live','changed',1795608000000000,1795608000000000,0,'because 1',1795608000000000,'a.yml','d','');
INSERT INTO "rule_history" VALUES(2,1795608000000000,'2','a','live','changed',1795608000000000,1795608000000000,0,'because 2',1795608000000000,'a.yml','d','');
INSERT INTO "rule_history" VALUES(3,1795608000000000,'3','a','live','changed',1795608000000000,1795608000000000,0,'because 3',1795608000000000,'a.yml','d','');
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
CREATE TABLE seal (
	number BIGINT NOT NULL, 
	at BIGINT NOT NULL, 
	table_name TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	first_id BIGINT NOT NULL, 
	last_id BIGINT NOT NULL, 
	row_count BIGINT NOT NULL, 
	through BIGINT NOT NULL, 
	leaves_digest TEXT NOT NULL, 
	previous TEXT NOT NULL, 
	digest TEXT NOT NULL, 
	leaves BLOB NOT NULL, 
	PRIMARY KEY (number)
);
INSERT INTO "seal" VALUES(1,1795608000000000,'receipt','rows',1,3,3,0,'24087a6e1687a241cc965b92b39df39bf4c2dd4d8139e0960759057f8d161ee7','','e81f4754deec8c0593727d4ae35bc0f73661992400818aaf7706fe928a3185f7',X'00000000000000019F3CA2A8147E9F811721D59C10456CF75BEE34AF7F6372F20A8430C6CD69478900000000000000029DF80BB69D7E667F23CC1826672F18B8C27C30509CBC63AEA5F8A1B3B945E0E10000000000000003EE7D538F4D4FE4A5EBB2B93AECF28168D600D5491047AFFBE003612878B1A945');
INSERT INTO "seal" VALUES(2,1795608000000000,'rule_history','rows',1,3,3,0,'a5f3947a21638a2bc44c277eb9ae3567221b55a7897c572fc0e704a444e161c2','e81f4754deec8c0593727d4ae35bc0f73661992400818aaf7706fe928a3185f7','185d4436d22a1b109c48b3540c4d5cf0df266aa8ae20cb3cdab50df2fd7b4465',X'00000000000000019E2F4CDEF2430482F214248A84ADC7CB016084A3B1F3D53CDD349A33BD5EB1410000000000000002CE418223B5C983AF34E42E34251D80F1EC33CF3BF41C731F52479CD09584CED300000000000000037CD88AC1BAC2086426BBE0B786F15EDF6E63E1CD9CF232239ABC4C2F085A8CF4');
INSERT INTO "seal" VALUES(3,1795608000000000,'alert_history','rows',1,3,3,0,'9b3f5b5d136a120d4b6d44231592081ca77b72da805f2147f626fcbf52f9150c','185d4436d22a1b109c48b3540c4d5cf0df266aa8ae20cb3cdab50df2fd7b4465','469e37e7237dc3a6cb888858a32ee6bc211d9e9a883e0be7b9b465e07444eef6',X'0000000000000001B7EDCE0961216626F7A1FAEE1BC41624142AF6FBE8091F7B70C9ED82C1C1EE270000000000000002B30584DEF3917B6669F40FDCDCF7F7EE8074A2F15F10BB106605E8D9966C13F200000000000000030D04C81A7A018BD9611FAB114FB57462175D5D3196988E5A381C2EA1F2ADE49F');
INSERT INTO "seal" VALUES(4,1795608000000000,'alert_history','rows',4,6,3,0,'425e26f2f69c88c1c28ff22486daf35f138e480684e528e39ca00d637c3c67d3','469e37e7237dc3a6cb888858a32ee6bc211d9e9a883e0be7b9b465e07444eef6','8066bc6a8dc0fa683f3a1d4427306e6936861b47d4a4eb49f12fe604caeb02c5',X'000000000000000420FDCE267A42FEA3253BFA38B92384ED4C9B240B2A9283088D7250EA3D389000000000000000000555EBCED7F8AB5622C7FDA0AC7ECAB10DB38BCF70DF35AD7B55D2659872D3757D0000000000000006A60D2774E09687B09CD0CD5B9A00E7FAE623C55835BA5080317B344F8A6B03CE');
INSERT INTO "seal" VALUES(5,1795608000000000,'alert_history','rows',7,9,3,0,'df67b96723d54b833f75b2f23511f75f25326c965da85e055d75e357ece8d239','8066bc6a8dc0fa683f3a1d4427306e6936861b47d4a4eb49f12fe604caeb02c5','9d1e56e9694ef1528e2b8c6d83cfa254e8107a74f948a6f2d8ffd6d48479342d',X'0000000000000007BAAE47FBB0D1BCEDE33E10607D7410369971A9299E8C3CC10CB453F61C7EDBAF0000000000000008EA2D114CF44722D7BE9E6BA4C0BD85B41BE431B6543E41C13EA01A312E7995B9000000000000000916C198011EEF03C84BBD1B1C653CF579A88AB69CF1A944000EF32D5C0146166B');
INSERT INTO "seal" VALUES(6,1795608000000000,'alert_record','rows',1,3,3,0,'f28547539b322425910e33dee8f9e82b2dc23f3ca25e13c1398b704415107873','9d1e56e9694ef1528e2b8c6d83cfa254e8107a74f948a6f2d8ffd6d48479342d','de2645f709954a5f2d51e7cd4f2dded874bb01fe9fab825b529f34f0dcb271e9',X'00000000000000012D353971A1F2268F97D939A8B65B9B14E658AD6B9F75E0A7E575E13805ECB96E0000000000000002A2D87B7A20662ED0813004513EAC5A0B5E79A56EB9BD2E741BE909A5BE112F93000000000000000315E82F00978D8E59779171A91EE35A8DDAA8385EC3E144124CFD35997CC3AEBA');
INSERT INTO "seal" VALUES(7,1795608000000000,'row_history','rows',1,3,3,0,'05c452f5f7931a800baf56450ccccb662103e728ca8184bbd3535dd07a26f597','de2645f709954a5f2d51e7cd4f2dded874bb01fe9fab825b529f34f0dcb271e9','2679a359274499b999293d238fbdd70bd40ee84bf94413365637a71855afec00',X'0000000000000001DD8116BE097DDD4DF7382128CBD1D8FFD6BD132CC9BF42E5AD391188FB6E21B800000000000000029E563C5957C3215CED2BD7EBDCA040BB2197A68536728218E1D842713B5B6BA70000000000000003BFE0A2C571E97801F1F3ED6321500DC75828A1960BD5ABE9122483B81AA7D96E');
INSERT INTO "seal" VALUES(8,1795608000000000,'row_history','rows',4,6,3,0,'befa5111423a32e8e3e2f1efc215e24fd7b42db364f2bb717d40dc752b3bd07e','2679a359274499b999293d238fbdd70bd40ee84bf94413365637a71855afec00','82634f92373557afb6412e311583cfafadb0b669a15e9d44f093cfe5c29c7081',X'00000000000000046D83F09597830A72EF142A0D11501361173E4BE766CD519D07C69A6C131BA6EE0000000000000005E118BE76DC0314E1AFD360C865B58E464820AF83C3348634FFE299D3BB9A27D200000000000000063494203DE5549AF0777D407AB0BBE0B30FD3446153F18459BEBBD6E0B13E69D1');
INSERT INTO "seal" VALUES(9,1795608000000000,'row_history','rows',7,9,3,0,'ad9a6d0c53365658ca7087b6b6f6228362a7a5d3b58835d2b2ea554a91c0cc47','82634f92373557afb6412e311583cfafadb0b669a15e9d44f093cfe5c29c7081','2bb2af57f07b9ecf3e2c9e6920544172c032fbed67439d69e4a09e1c332654d2',X'00000000000000078E54440EC67792A5923FD0CAADF6D4F22D4FD8E5E672EB04347B8FC1C2C09D24000000000000000831DF298290B0EB969238D98A1BDB908D699579738CBF48127DFF3531F9EA09470000000000000009388BAFA2D96113EB64601E34F94AB61032B3A45C58A6EB6DF9BCB203597BBCAF');
INSERT INTO "seal" VALUES(10,1795608000000000,'row_history','rows',10,12,3,0,'40739d34719810a4e4971b1cc8c88c061891f3100d29dc3fe8540de72a109e12','2bb2af57f07b9ecf3e2c9e6920544172c032fbed67439d69e4a09e1c332654d2','ea1f1e03f1e28011df98d9d398f36df1924f799a311abfff522553e60c6c208b',X'000000000000000ACBE0E1A1CC6DD1BA9DC4B30B13AD357E44477F0CDE28C035D265279FCF88E2B8000000000000000B631C4129DF64525068E0A78D86BF1A7F1157A91E42B2182E35A44E8F9B401DAE000000000000000C2760F380428BA86FFDB00AAC29F5C0D27E425FE5FD8B49CE1FA7B72764ECCE66');
INSERT INTO "seal" VALUES(11,1795608000000000,'row_history','rows',13,15,3,0,'e2ece567173abefec80c866811914247be506a598b9d35dc34b368bce342f71e','ea1f1e03f1e28011df98d9d398f36df1924f799a311abfff522553e60c6c208b','86aef8e62bfbd3b9e958eaaddb5b1518289965fe1acf4508605897192d2e6972',X'000000000000000DAF953E33EAF6FF343177F503536146913E93BEEA08731B180B55194A241AB70B000000000000000E886AB92DECEB062B38D4D1BF9072222BCF98B1C4A291C655C9469EBF61FC7ED1000000000000000FDDE5248BE1D4040497837C62AAD338A5E9685A1FB6B29C2E05FBFD7FC4C4B058');
INSERT INTO "seal" VALUES(12,1795608000000000,'row_history','rows',16,18,3,0,'01f34291ff4fc571331f8a113259061c2387d9d331e054f3842388c8a43758e9','86aef8e62bfbd3b9e958eaaddb5b1518289965fe1acf4508605897192d2e6972','4986542f32af13a6bd39cdd4a9bfe944eecb3d9fced163d51644e859005e7bea',X'0000000000000010630378C0AA55FCE70D4212C5E70CCD3BC191ED1EC33F05F1EE4EA0CCFA122EBD0000000000000011F1F68CC42DDB09239B300CE0BF175D7A0012CF7ACC0424254A000EB986C489DE0000000000000012B902398899EE4AA4E382D4810FE6C80808F3B6F02C777DEB948E6B118D2A62B1');
INSERT INTO "seal" VALUES(13,1795608000000000,'row_history','rows',19,21,3,0,'2357fe934671c0f6cd0690736ca7538d7ebe51a377cc49795693224e5f6f4667','4986542f32af13a6bd39cdd4a9bfe944eecb3d9fced163d51644e859005e7bea','5f812ffdbf880ffc98f00395e096b80d5d3c907abe1143d11d9b7313200e2470',X'0000000000000013503EAAA6322AB94C822589A3B139D89DADC898401ABEF4B671DDAB45A8CB248300000000000000149099142496B90157267A951E16A059BD94DAEE780BB60C45879FCA5FCBF0F6660000000000000015DB5D5237F4A0EAD49387C2812B551903BF4B4FE9A6D4914FAE6E00FF9CDD5692');
INSERT INTO "seal" VALUES(14,1795608000000000,'row_history','rows',22,24,3,0,'7d5162ed60abf04abe6f7638e3908fd191d4e5664c9bcd5b74af3573ebea6184','5f812ffdbf880ffc98f00395e096b80d5d3c907abe1143d11d9b7313200e2470','e5151526347cfb8c9ab6487ea099e6dd566d538aa189bfe7ef8facef249ce7db',X'0000000000000016C062340403A8F072BDA773D8D6C494510F460ADC92A65358CBEB392C273A7C5B000000000000001786A587CA54E58955B0B17AB5C2686FCE24A23D28F9524DA648A5898355A93AB80000000000000018EC9931256CEAED1E5A74AC7174F4E1311E8D82401ED7706930F25B2F45A9E19F');
INSERT INTO "seal" VALUES(15,1795608000000000,'record','rows',1,3,3,0,'dcdbb96b45d183448dfb533f4b435350dc422ea5f301c97f138992c4d9e580c4','e5151526347cfb8c9ab6487ea099e6dd566d538aa189bfe7ef8facef249ce7db','1c37ec94963b3053ab607bfe8b3695ea7251ef01470d8b369351fe8cd374b1c4',X'0000000000000001F942A72B672B816D52AD9C1762267E557A33059B5AA8F9B03F33ACD1848F8F63000000000000000277FDA9FEE2ECEBFAD1AD89616739E0D4604272CA2D50E6EE1A1036BA9893042E0000000000000003601D37A0C1F08D192FC9B8C423126C6DEB1CF851EEBE6B7D79CB37E3C615B299');
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
	name TEXT, 
	role TEXT, 
	PRIMARY KEY (digest)
);
INSERT INTO "session" VALUES('digest','token_id',7,'name','role');
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
CREATE INDEX row_history_by_row ON row_history (table_name, row_key, id);
CREATE INDEX rule_history_by_rule ON rule_history (rule_id, id);
CREATE INDEX seal_by_last_id ON seal (table_name, kind, last_id);
CREATE INDEX self_alert_by_alert ON self_alert (alert_id);
CREATE INDEX session_by_end ON session (ends_at);
CREATE INDEX session_by_token ON session (token_id, ends_at);
CREATE INDEX silence_by_end ON silence (ends_at);
CREATE INDEX stream_message_by_stream ON stream_message (stream, refused_at, id);
CREATE UNIQUE INDEX token_by_digest ON token (digest);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('record',3);
INSERT INTO "sqlite_sequence" VALUES('row_history',24);
INSERT INTO "sqlite_sequence" VALUES('alert_record',3);
INSERT INTO "sqlite_sequence" VALUES('alert_history',9);
INSERT INTO "sqlite_sequence" VALUES('receipt',3);
INSERT INTO "sqlite_sequence" VALUES('rule_history',3);
INSERT INTO "sqlite_sequence" VALUES('stream_message',7);
COMMIT;
