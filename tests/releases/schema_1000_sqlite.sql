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
	PRIMARY KEY (id)
);
INSERT INTO "alert" VALUES('f5a50fbb-2165-56ab-b53d-b8f2948c0854','cluster_deleted','cluster_deleted','Cluster_Deleted','[]',3,'cluster_deleted by eve','',NULL,'{}','acme','79132d5d-ff4b-56ac-abfd-b31c1d7149c0',NULL,'[]',0,'open',NULL,NULL,NULL,1,1795608060000000,1795608060000000,1795608000000000,NULL,1795608060000000,1795608000000000,1795608060000000);
INSERT INTO "alert" VALUES('70966863-97a6-5ce8-8f86-7b248b85fa63','cluster_deleted','cluster_deleted','Cluster_Deleted','[]',3,'cluster_deleted by eve','',NULL,'{}','acme','64b2ef7c-25cb-5326-ba99-724472b3a463',NULL,'[]',0,'open',NULL,NULL,NULL,1,1795608120000000,1795608120000000,1795608000000000,NULL,1795608120000000,1795608000000000,1795608120000000);
INSERT INTO "alert" VALUES('f87bd3cb-31eb-5c49-90d0-3d53e00daa66','cluster_deleted','cluster_deleted','Cluster_Deleted','[]',3,'cluster_deleted by eve','',NULL,'{}','acme','051ca620-3f51-5ffe-9969-34b416ca77a9',NULL,'[]',0,'open',NULL,NULL,NULL,1,1795608180000000,1795608180000000,1795608000000000,NULL,1795608180000000,1795608000000000,1795608180000000);
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
	alert_id TEXT NOT NULL, 
	record_id BIGINT NOT NULL, 
	occurred_at BIGINT NOT NULL, 
	PRIMARY KEY (alert_id, record_id)
);
INSERT INTO "alert_record" VALUES('f5a50fbb-2165-56ab-b53d-b8f2948c0854',1,1795608060000000);
INSERT INTO "alert_record" VALUES('70966863-97a6-5ce8-8f86-7b248b85fa63',2,1795608120000000);
INSERT INTO "alert_record" VALUES('f87bd3cb-31eb-5c49-90d0-3d53e00daa66',3,1795608180000000);
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
	shared_id TEXT, 
	firing_at BIGINT, 
	firing_step INTEGER, 
	firing_key TEXT, 
	has_waited BOOLEAN NOT NULL, 
	is_quiet BOOLEAN NOT NULL, 
	back_at BIGINT, 
	is_judged BOOLEAN NOT NULL, 
	is_noted BOOLEAN NOT NULL, 
	pending_at BIGINT, 
	is_held BOOLEAN NOT NULL, 
	leader TEXT, 
	above TEXT, 
	PRIMARY KEY (id)
);
INSERT INTO "correlated_alert" VALUES('id','rule_id','group_values','origin',7,7,7,1,1,1,'reported_as',7,'group_id','shared_id',7,7,'firing_key',1,1,7,1,1,7,1,'leader','above');
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
INSERT INTO "delivery" VALUES('647f70de-73b0-5fda-b4bf-30fad983c43a','f5a50fbb-2165-56ab-b53d-b8f2948c0854','hook','opened',1,'sent',1,1795608000000000,1795608000000000,1795608000000000,NULL,NULL,1795608000000000,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'{"type":"alert.opened","timestamp":"2026-11-25T12:00:00+00:00","data":{"id":"f5a50fbb-2165-56ab-b53d-b8f2948c0854","rule":{"id":"cluster_deleted","name":"cluster_deleted","title":"Cluster_Deleted","tags":[]},"level":"high","title":"cluster_deleted by eve","body":"","runbook":null,"labels":{},"source":"acme","group":{},"status":"open","acked_by":null,"resolved_by":null,"count":1,"first_at":"2026-11-25T12:01:00.000Z","last_at":"2026-11-25T12:01:00.000Z","late":false,"late_by_seconds":null,"explain":"actionwatch explain f5a50fbb","records":[{"key":"0006611894927700-00000000000000000001","timestamp":"2026-11-25T12:01:00.000Z","actionKind":"DELETE_CLUSTER","userName":"eve","description":"Zürich 1","account":{"id":null,"name":null},"cluster":{"id":null,"name":null},"scope":null,"crudOperation":null,"source":"acme","raw":{}}]},"fields":[["timestamp","2026-11-25T12:01:00.000Z"],["userName","eve"],["actionKind","DELETE_CLUSTER"],["description","Zürich 1"]]}');
INSERT INTO "delivery" VALUES('71d3fd26-471c-590d-ad3a-3f3382076c16','70966863-97a6-5ce8-8f86-7b248b85fa63','hook','opened',1,'sent',1,1795608000000000,1795608000000000,1795608000000000,NULL,NULL,1795608000000000,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'{"type":"alert.opened","timestamp":"2026-11-25T12:00:00+00:00","data":{"id":"70966863-97a6-5ce8-8f86-7b248b85fa63","rule":{"id":"cluster_deleted","name":"cluster_deleted","title":"Cluster_Deleted","tags":[]},"level":"high","title":"cluster_deleted by eve","body":"","runbook":null,"labels":{},"source":"acme","group":{},"status":"open","acked_by":null,"resolved_by":null,"count":1,"first_at":"2026-11-25T12:02:00.000Z","last_at":"2026-11-25T12:02:00.000Z","late":false,"late_by_seconds":null,"explain":"actionwatch explain 70966863","records":[{"key":"000661189825fe00-00000000000000000002","timestamp":"2026-11-25T12:02:00.000Z","actionKind":"DELETE_CLUSTER","userName":"eve","description":"Zürich 2","account":{"id":null,"name":null},"cluster":{"id":null,"name":null},"scope":null,"crudOperation":null,"source":"acme","raw":{}}]},"fields":[["timestamp","2026-11-25T12:02:00.000Z"],["userName","eve"],["actionKind","DELETE_CLUSTER"],["description","Zürich 2"]]}');
INSERT INTO "delivery" VALUES('33fd5d40-7e08-595a-ada5-e3f2bed97e87','f87bd3cb-31eb-5c49-90d0-3d53e00daa66','hook','opened',1,'sent',1,1795608000000000,1795608000000000,1795608000000000,NULL,NULL,1795608000000000,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'{"type":"alert.opened","timestamp":"2026-11-25T12:00:00+00:00","data":{"id":"f87bd3cb-31eb-5c49-90d0-3d53e00daa66","rule":{"id":"cluster_deleted","name":"cluster_deleted","title":"Cluster_Deleted","tags":[]},"level":"high","title":"cluster_deleted by eve","body":"","runbook":null,"labels":{},"source":"acme","group":{},"status":"open","acked_by":null,"resolved_by":null,"count":1,"first_at":"2026-11-25T12:03:00.000Z","last_at":"2026-11-25T12:03:00.000Z","late":false,"late_by_seconds":null,"explain":"actionwatch explain f87bd3cb","records":[{"key":"000661189bb98500-00000000000000000003","timestamp":"2026-11-25T12:03:00.000Z","actionKind":"DELETE_CLUSTER","userName":"eve","description":"Zürich 3","account":{"id":null,"name":null},"cluster":{"id":null,"name":null},"scope":null,"crudOperation":null,"source":"acme","raw":{}}]},"fields":[["timestamp","2026-11-25T12:03:00.000Z"],["userName","eve"],["actionKind","DELETE_CLUSTER"],["description","Zürich 3"]]}');
CREATE TABLE delivery_latency (
	rule TEXT NOT NULL, 
	receiver TEXT NOT NULL, 
	since TEXT NOT NULL, 
	bucket INTEGER NOT NULL, 
	message_count BIGINT NOT NULL, 
	total BIGINT NOT NULL, 
	PRIMARY KEY (rule, receiver, since, bucket)
);
INSERT INTO "delivery_latency" VALUES('cluster_deleted','hook','happened',1,3,0);
INSERT INTO "delivery_latency" VALUES('cluster_deleted','hook','seen',1,3,0);
INSERT INTO "delivery_latency" VALUES('cluster_deleted','hook','matched',1,3,0);
CREATE TABLE hit (
	rule INTEGER NOT NULL, 
	group_id TEXT NOT NULL, 
	at BIGINT NOT NULL, 
	step INTEGER NOT NULL, 
	"key" TEXT NOT NULL, 
	record_id BIGINT NOT NULL, 
	is_backlog BOOLEAN NOT NULL, 
	value TEXT, 
	records TEXT, 
	PRIMARY KEY (rule, group_id, at, step, "key")
)
 WITHOUT ROWID

;
INSERT INTO "hit" VALUES(7,'group_id',7,7,'key',7,1,'value','records');
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
CREATE TABLE record_count (
	source TEXT NOT NULL, 
	stored_count BIGINT NOT NULL, 
	deleted_count BIGINT NOT NULL, 
	first_seen_at BIGINT NOT NULL, 
	PRIMARY KEY (source)
);
INSERT INTO "record_count" VALUES('acme',3,0,1795608060000000);
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
	first_id BIGINT, 
	last_id BIGINT, 
	row_count BIGINT NOT NULL, 
	removed_count BIGINT NOT NULL, 
	sealed_count BIGINT NOT NULL, 
	states TEXT NOT NULL, 
	root TEXT NOT NULL, 
	previous TEXT NOT NULL, 
	digest TEXT NOT NULL, 
	leaves BLOB, 
	PRIMARY KEY (number)
);
INSERT INTO "seal" VALUES(1,1795608000000000,'record',1,3,3,0,3,'{}','b5f245d53841ac624e74f1d516acde0cd2572f80d34c2624a154a8da65ef3bbf','','7163ac93d11ce769d1068dd2b7da6189e0ca1c18a0be4fe27898b786c46d085e',X'9392A131C420732F48F238C948C105CEF04B9462346AA582D308EC19AA654F84F6DC8B61023892A132C4209D71EA0E4E9C647DF138C23F2E25CE3B62518CE55852ED081816CE09CA7FD6E992A133C4203EE7D3CC1A14DDF7382C333149148191F60BE818D2C8344F4F3C642FB6594414');
INSERT INTO "seal" VALUES(2,1795608000000000,'alert',NULL,NULL,3,0,3,'{}','b0b12628bb5b54f1067721780b59e4fe4f9d1134c6ef26ce350c2727ddbc83ea','7163ac93d11ce769d1068dd2b7da6189e0ca1c18a0be4fe27898b786c46d085e','79db25c33fbb541032d621b9b0f68dd1c4b671f6a3c554ea28b78d57cb91a707',X'9392D92466356135306662622D323136352D353661622D623533642D623866323934386330383534C42000779A474E3F3DE8FCB2E0AD2FA218DB46C69AF16865FB184A29A166C59B2BDF92D92437303936363836332D393761362D356365382D386638362D376232343862383566613633C4208E3954FB6763A1DAE521A175F63D35912AB39789EEFF9A0D2477B9BFB016092192D92466383762643363622D333165622D356334392D393064302D336435336530306461613636C4206DC92E8F9D56C93D1C4316D755FB774074E8BF9E2D1DAC97F462C3AD1A734B43');
INSERT INTO "seal" VALUES(3,1795608000000000,'alert_record',NULL,NULL,3,0,3,'{}','cad754c6395ef446f84dae48cd32c16b522886b6fd8a364fd7987100beee63ff','79db25c33fbb541032d621b9b0f68dd1c4b671f6a3c554ea28b78d57cb91a707','7291efed9703a2593f359852bdd9e34e6b1c04f86f9c939fa5ac9481a2f3190f',X'9392D92666356135306662622D323136352D353661622D623533642D6238663239343863303835342031C420FA379DC3B5E99769906A17C7B56A85A0F6975F0FAC72AC593B94F1D0AEC78D5092D92637303936363836332D393761362D356365382D386638362D3762323438623835666136332032C42023B1A26160AF230BA52E0D5C5112CB0034FAE130285D025D78E2174B16E3070E92D92666383762643363622D333165622D356334392D393064302D3364353365303064616136362033C4201F6DB75385EA81A280AFCE88E990F8F2F86DB7EBCB849D746BC6E33742D3BE77');
INSERT INTO "seal" VALUES(4,1795608000000000,'delivery',NULL,NULL,3,0,3,'{}','296e954caa3de7ba4d2ca86d479f8e420e57a0edf6cf10404b1ad0cc0bc8f461','7291efed9703a2593f359852bdd9e34e6b1c04f86f9c939fa5ac9481a2f3190f','240d18bbcf1a3a9e20426263c28dad0bc00ba0d4ff019f73a37be175cd127285',X'9392D92436343766373064652D373362302D356664612D623462662D333066616439383363343361C42092276C4808C2058824731DA527C3ED3597F4420842589C27080D8C586707CABA92D92437316433666432362D343731632D353930642D616433612D336633333832303736633136C42069763F9E388DB031F8DEB93047B2798B306496779B916C2F4F31D5A698F0DAA392D92433336664356434302D376530382D353935612D616461352D653366326265643937653837C42026157D9BC12301A7024D2D66B2E3628647CD64CB5FFE0719F610B843F2F07DEC');
INSERT INTO "seal" VALUES(5,1795608000000000,'alert_history',1,3,3,0,3,'{}','682fd1950fae542e22c725218df314c83b2a428e96869a7d8a5a7d5b3fb1456f','240d18bbcf1a3a9e20426263c28dad0bc00ba0d4ff019f73a37be175cd127285','dfbf30aac4b18248be4c827bea1fd0181b0d6d751f44e9ebd3d859b634a8b601',X'9392A131C420A3658C5EF349969293E611C19599A01810FB83F74142B164B8A0BA3545C6CDC092A132C42007979C1C0D11E8F24661E9A415B1030B4FEB08B7E334E64A7D3FE27F8E80901792A133C42010D33B7FAB541E3F3B70419254382C6C5BF520FF27120A49D21F7B1BED1F61BA');
INSERT INTO "seal" VALUES(6,1795608000000000,'alert_history',4,6,3,0,6,'{}','eaa7bcb6287734326de2134d061a0a6a1a95a1b8860a66cb6570332d29ba0b87','dfbf30aac4b18248be4c827bea1fd0181b0d6d751f44e9ebd3d859b634a8b601','58a4b32e0d6c32dfdadf12a948063bc7818b6aa973cac9ff56c8da2782827a05',X'9392A134C42074435DF885F51A85E5AA1562F1DBFCF5587381CAD9B6735907F4ECB80BE6898792A135C420E1F90170A3C85622233CADA5EBB291AFEA2F9AE39DFB3212EE6C7FADE04655BB92A136C420048B207CCB36C7C17B42DC1011CE3DBB1543BF05E80509C9D18BA25EF3726193');
INSERT INTO "seal" VALUES(7,1795608000000000,'alert_history',7,9,3,0,9,'{}','ed16048f3f0b5c8fbbd6295fb223e3395937f0be883355de1e7c6b025fb1b040','58a4b32e0d6c32dfdadf12a948063bc7818b6aa973cac9ff56c8da2782827a05','bc1810dfc8f3807cf57dd049fe3868bd43f492c69f767512eae8851f7c84f8a4',X'9392A137C420B828A72994957ECE74AAE91B0AA126BB0F6DDD48636D59214D16C377A454836592A138C420D4F5F31F78610188DE195E9047872003C02C455710938AF7A453B2C93D6F677192A139C420B01F221D66C28B1177E1571830521FDFF8B8DEB5AB850371B33D105BF6AB44CA');
INSERT INTO "seal" VALUES(8,1795608000000000,'receipt',1,1,1,0,1,'{}','223913cc5755832b34cffbfa8c182718db52ec8cbeeb52a70c300552f1aa2a73','bc1810dfc8f3807cf57dd049fe3868bd43f492c69f767512eae8851f7c84f8a4','e2e69a3dde7ef1937e8c7882dbe0a263d7063baf6f401e7287fd6b0920f7cc18',X'9192A131C420223913CC5755832B34CFFBFA8C182718DB52EC8CBEEB52A70C300552F1AA2A73');
INSERT INTO "seal" VALUES(9,1795608000000000,'rule_history',1,1,1,0,1,'{}','5ca9b219c7a8d4f04f7b92499c0c18cb370114907bf10c359bfc1947f0315d93','e2e69a3dde7ef1937e8c7882dbe0a263d7063baf6f401e7287fd6b0920f7cc18','a5e714234bd7868b6b8ab9e8990f2f32fac3b4fe75c62fad425a6fe34f49ef6e',X'9192A131C4205CA9B219C7A8D4F04F7B92499C0C18CB370114907BF10C359BFC1947F0315D93');
INSERT INTO "seal" VALUES(10,1795608000000000,'silence',NULL,NULL,1,0,1,'{}','71dd39bb6beb1af85b2c37e9173c95f4c3a2cad678c4182517c88ddc03517918','a5e714234bd7868b6b8ab9e8990f2f32fac3b4fe75c62fad425a6fe34f49ef6e','0e32e793e18966b905fbf03c5925ee36026412f625b6904edbed1f506a5ede7f',X'9192A131C42071DD39BB6BEB1AF85B2C37E9173C95F4C3A2CAD678C4182517C88DDC03517918');
INSERT INTO "seal" VALUES(11,1795608000000000,'rule_version',NULL,NULL,1,0,1,'{}','186efb77dd26d405b80563fb8e6bea2d4755838bc094a588189fc4654c28a622','0e32e793e18966b905fbf03c5925ee36026412f625b6904edbed1f506a5ede7f','a2d23825b6800506083e6c4f360555a404af865f9675d4bd3237918f0df777c1',X'9192A131C420186EFB77DD26D405B80563FB8E6BEA2D4755838BC094A588189FC4654C28A622');
INSERT INTO "seal" VALUES(12,1795608000000000,'token',NULL,NULL,1,0,1,'{}','f6ef25da706ccb48207e992edb046970853673e7edcfda3ac1e63f62d3f7bcb0','a2d23825b6800506083e6c4f360555a404af865f9675d4bd3237918f0df777c1','4f105b1deba6466a616c165a09a1040228a52e1fbf3ec8915ab302849fb4ca76',X'9192A131C420F6EF25DA706CCB48207E992EDB046970853673E7EDCFDA3AC1E63F62D3F7BCB0');
INSERT INTO "seal" VALUES(13,1795608000000000,'receipt',2,2,1,0,2,'{}','9256475451f139c05c9c8f278731ed3b33566f862bb8dd28a7dac1e87ff99579','4f105b1deba6466a616c165a09a1040228a52e1fbf3ec8915ab302849fb4ca76','0a2708a254185baff1e4c7440616f79c0b1bd62deef72bc511467ba2256923a7',X'9192A132C4209256475451F139C05C9C8F278731ED3B33566F862BB8DD28A7DAC1E87FF99579');
INSERT INTO "seal" VALUES(14,1795608000000000,'rule_history',2,2,1,0,2,'{}','de20ba8f30c8e09d273ae87d2927267f0fa6fd1503e1174ff76b40c1056a695b','0a2708a254185baff1e4c7440616f79c0b1bd62deef72bc511467ba2256923a7','1e79bfdd9da5eba5d6016153c1d1609c27a22213ad470f86bb292936dff228c6',X'9192A132C420DE20BA8F30C8E09D273AE87D2927267F0FA6FD1503E1174FF76B40C1056A695B');
INSERT INTO "seal" VALUES(15,1795608000000000,'silence',NULL,NULL,1,0,2,'{}','c4cf3604d1781809a2e415a002c28604b5683d2d6c350b3572ba7db73788a041','1e79bfdd9da5eba5d6016153c1d1609c27a22213ad470f86bb292936dff228c6','8a4b8f424762b0883e12e868f45bffd449f5355f59b737d94f99fd0db4fccb14',X'9192A132C420C4CF3604D1781809A2E415A002C28604B5683D2D6C350B3572BA7DB73788A041');
INSERT INTO "seal" VALUES(16,1795608000000000,'rule_version',NULL,NULL,1,0,2,'{}','16ff224ae9560052d74cc62e0e54eabb1a86d92c1928e5b26b42420ea9a5b4ba','8a4b8f424762b0883e12e868f45bffd449f5355f59b737d94f99fd0db4fccb14','7d7170ebbde22015e6b425a52b33261033ac4dae449e5eee5918e771436bd856',X'9192A132C42016FF224AE9560052D74CC62E0E54EABB1A86D92C1928E5B26B42420EA9A5B4BA');
INSERT INTO "seal" VALUES(17,1795608000000000,'token',NULL,NULL,1,0,2,'{}','42ddae8b73f1d8bddbefeccc18927043a3362361b0591b1bc85de6b288262dbd','7d7170ebbde22015e6b425a52b33261033ac4dae449e5eee5918e771436bd856','96c8d420e456926a68c26e8d4a7645ce63d7842fd861217513b91159011ec2c0',X'9192A132C42042DDAE8B73F1D8BDDBEFECCC18927043A3362361B0591B1BC85DE6B288262DBD');
INSERT INTO "seal" VALUES(18,1795608000000000,'receipt',3,3,1,0,3,'{}','c5f5c5b6ad6958fda15be06553e98fb2884fc2502c27a51898ee6c4a3dd40898','96c8d420e456926a68c26e8d4a7645ce63d7842fd861217513b91159011ec2c0','c3961662a592ce6b6e18a5c9ab38ff52d2e5ce5dd87da1853e0d6811f214bd57',X'9192A133C420C5F5C5B6AD6958FDA15BE06553E98FB2884FC2502C27A51898EE6C4A3DD40898');
INSERT INTO "seal" VALUES(19,1795608000000000,'rule_history',3,3,1,0,3,'{}','537ec75bac6275f427177a6866fc309591f74490b21d83e366cdbad9f16bb180','c3961662a592ce6b6e18a5c9ab38ff52d2e5ce5dd87da1853e0d6811f214bd57','c9d244f3437f7a84be184440d368066bfd23ce11d7299eb6d461090eab78b793',X'9192A133C420537EC75BAC6275F427177A6866FC309591F74490B21D83E366CDBAD9F16BB180');
INSERT INTO "seal" VALUES(20,1795608000000000,'silence',NULL,NULL,1,0,3,'{}','db0956a8945056a0ce3ddc72c6977e4fcdcaccbf4c6705d94d327c6ff43dc96c','c9d244f3437f7a84be184440d368066bfd23ce11d7299eb6d461090eab78b793','1ec963edfcaf0a337f2f0ab729522005503f2ae761dad20528ab05ce3167e3e4',X'9192A133C420DB0956A8945056A0CE3DDC72C6977E4FCDCACCBF4C6705D94D327C6FF43DC96C');
INSERT INTO "seal" VALUES(21,1795608000000000,'rule_version',NULL,NULL,1,0,3,'{}','de3d30c93b9a363eb1b7233a6fc9cfc247f8892abf5e75744e12b03e73aa45e1','1ec963edfcaf0a337f2f0ab729522005503f2ae761dad20528ab05ce3167e3e4','982a4548feb88b556cb5ebb887c356e231add872ae62acfa1cdeea7ed5e877ff',X'9192A133C420DE3D30C93B9A363EB1B7233A6FC9CFC247F8892ABF5E75744E12B03E73AA45E1');
INSERT INTO "seal" VALUES(22,1795608000000000,'token',NULL,NULL,1,0,3,'{}','77752176364691a0ade3ebae71bbd1bde224caf6c0020aeb3c3ed7ced437024e','982a4548feb88b556cb5ebb887c356e231add872ae62acfa1cdeea7ed5e877ff','c1d75cdaedac72d28af0bd6560082b1b39034aeff4641f59e1450c7b0808354f',X'9192A133C42077752176364691A0ADE3EBAE71BBD1BDE224CAF6C0020AEB3C3ED7CED437024E');
CREATE TABLE sealed_row (
	table_name TEXT NOT NULL, 
	row_key TEXT NOT NULL, 
	seal BIGINT NOT NULL, 
	PRIMARY KEY (table_name, row_key)
);
INSERT INTO "sealed_row" VALUES('alert','f5a50fbb-2165-56ab-b53d-b8f2948c0854',2);
INSERT INTO "sealed_row" VALUES('alert','70966863-97a6-5ce8-8f86-7b248b85fa63',2);
INSERT INTO "sealed_row" VALUES('alert','f87bd3cb-31eb-5c49-90d0-3d53e00daa66',2);
INSERT INTO "sealed_row" VALUES('alert_record','f5a50fbb-2165-56ab-b53d-b8f2948c0854 1',3);
INSERT INTO "sealed_row" VALUES('alert_record','70966863-97a6-5ce8-8f86-7b248b85fa63 2',3);
INSERT INTO "sealed_row" VALUES('alert_record','f87bd3cb-31eb-5c49-90d0-3d53e00daa66 3',3);
INSERT INTO "sealed_row" VALUES('delivery','647f70de-73b0-5fda-b4bf-30fad983c43a',4);
INSERT INTO "sealed_row" VALUES('delivery','71d3fd26-471c-590d-ad3a-3f3382076c16',4);
INSERT INTO "sealed_row" VALUES('delivery','33fd5d40-7e08-595a-ada5-e3f2bed97e87',4);
INSERT INTO "sealed_row" VALUES('silence','1',10);
INSERT INTO "sealed_row" VALUES('rule_version','1',11);
INSERT INTO "sealed_row" VALUES('token','1',12);
INSERT INTO "sealed_row" VALUES('silence','2',15);
INSERT INTO "sealed_row" VALUES('rule_version','2',16);
INSERT INTO "sealed_row" VALUES('token','2',17);
INSERT INTO "sealed_row" VALUES('silence','3',20);
INSERT INTO "sealed_row" VALUES('rule_version','3',21);
INSERT INTO "sealed_row" VALUES('token','3',22);
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
CREATE TABLE unsealed (
	id INTEGER NOT NULL, 
	table_name TEXT NOT NULL, 
	row_key TEXT NOT NULL, 
	last_id BIGINT, 
	PRIMARY KEY (id)
);
INSERT INTO "unsealed" VALUES(7,'table_name','row_key',7);
CREATE INDEX alert_by_end ON alert (last_at);
CREATE INDEX alert_by_group ON alert (group_key, first_at);
CREATE INDEX alert_by_opening ON alert (opened_at);
CREATE INDEX alert_by_realert ON alert (realert);
CREATE INDEX alert_by_rule ON alert (rule_name, last_at);
CREATE INDEX alert_by_state ON alert (level, status);
CREATE INDEX alert_history_by_alert ON alert_history (alert_id);
CREATE INDEX alert_record_by_record ON alert_record (record_id);
CREATE INDEX alert_record_by_time ON alert_record (alert_id, occurred_at);
CREATE INDEX correlated_alert_by_end ON correlated_alert (until);
CREATE INDEX correlated_alert_by_group ON correlated_alert (group_id, fired_at);
CREATE INDEX correlated_alert_by_rule ON correlated_alert (rule_id, until);
CREATE INDEX correlated_alert_held ON correlated_alert (shared_id) WHERE is_held = 1;
CREATE INDEX correlated_alert_open ON correlated_alert (rule_id) WHERE is_open = 1;
CREATE INDEX correlated_alert_pending ON correlated_alert (pending_at) WHERE pending_at IS NOT NULL;
CREATE INDEX correlated_alert_reported ON correlated_alert (reported_as) WHERE reported_as IS NOT NULL;
CREATE INDEX correlated_alert_shared ON correlated_alert (shared_id, fired_at) WHERE shared_id IS NOT NULL;
CREATE INDEX delivery_awaiting ON delivery (receiver, awaits, ref, mutes, due_at) WHERE awaits IS NOT NULL;
CREATE INDEX delivery_by_creation ON delivery (created_at);
CREATE INDEX delivery_by_due ON delivery (status, receiver, due_at, ordinal);
CREATE UNIQUE INDEX delivery_by_order ON delivery (alert_id, receiver, ordinal);
CREATE INDEX delivery_by_receiver ON delivery (receiver, created_at);
CREATE INDEX delivery_copied ON delivery (fallback_of) WHERE fallback_of IS NOT NULL;
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
CREATE INDEX rule_history_by_rule ON rule_history (rule_id, id);
CREATE INDEX seal_by_digest ON seal (digest);
CREATE INDEX seal_by_last_id ON seal (table_name, last_id);
CREATE INDEX seal_by_table ON seal (table_name, number);
CREATE INDEX self_alert_by_alert ON self_alert (alert_id);
CREATE INDEX session_by_end ON session (ends_at);
CREATE INDEX session_by_token ON session (token_id, ends_at);
CREATE INDEX silence_by_end ON silence (ends_at);
CREATE UNIQUE INDEX token_by_digest ON token (digest);
CREATE INDEX unsealed_by_row ON unsealed (table_name, row_key);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('record',3);
INSERT INTO "sqlite_sequence" VALUES('alert_history',9);
INSERT INTO "sqlite_sequence" VALUES('receipt',3);
INSERT INTO "sqlite_sequence" VALUES('rule_history',3);
COMMIT;
