BEGIN TRANSACTION;
CREATE TABLE approvals (id TEXT NOT NULL PRIMARY KEY, kind TEXT NOT NULL, state TEXT NOT NULL,
  uid INTEGER NOT NULL, pid INTEGER NOT NULL, session TEXT NOT NULL, project TEXT NOT NULL,
  client TEXT NOT NULL, parents TEXT NOT NULL, request TEXT NOT NULL, fingerprint TEXT NOT NULL,
  units BIGINT NOT NULL, rate TEXT NOT NULL, policy_version TEXT NOT NULL, asked_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL, decided_at BIGINT, decided_by TEXT NOT NULL, outcome TEXT NOT NULL);
CREATE TABLE audit (n INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, at BIGINT NOT NULL, kind TEXT NOT NULL,
  actor TEXT NOT NULL, session TEXT NOT NULL, request_key TEXT NOT NULL, item_hash TEXT NOT NULL,
  text TEXT NOT NULL, hash TEXT NOT NULL);
CREATE TABLE events (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	at BIGINT NOT NULL, 
	kind TEXT NOT NULL, 
	item_hash TEXT NOT NULL, 
	text TEXT NOT NULL
);
INSERT INTO "events" VALUES(1,1795435200123456,'intended','6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b','asked for');
INSERT INTO "events" VALUES(2,1795435200123456,'intended','d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35','asked for');
INSERT INTO "events" VALUES(3,1795435200123456,'intended','4e07408562bedb8b60ce05c1decfe3ad16b72230967de01f640b7e4729b49fce','asked for');
INSERT INTO "events" VALUES(4,1795435200123456,'provisioning','6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b','the network took it');
INSERT INTO "events" VALUES(5,1795435200123456,'running','6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b','runs');
INSERT INTO "events" VALUES(6,1795435200123456,'provisioning','d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35','the network took it');
INSERT INTO "events" VALUES(7,1795435200123456,'running','d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35','runs');
INSERT INTO "events" VALUES(8,1795435200123456,'extended','6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b','until 2026-11-23T15:00:00Z');
INSERT INTO "events" VALUES(9,1795435200123456,'destroying','d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35','destroyed');
INSERT INTO "events" VALUES(10,1795438800123456,'settled','d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35','the network says forgotten');
INSERT INTO "events" VALUES(11,1795438800123456,'gone','d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35','destroyed');
CREATE TABLE extensions (
	item_hash TEXT NOT NULL, 
	n INTEGER NOT NULL, 
	message_hash TEXT NOT NULL, 
	body TEXT NOT NULL, 
	dated_at BIGINT NOT NULL, 
	confirmed_at BIGINT, 
	PRIMARY KEY (item_hash, n), 
	FOREIGN KEY(item_hash) REFERENCES vms (item_hash) ON DELETE CASCADE
);
INSERT INTO "extensions" VALUES('6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b',1,'26f1de33979d065ba8d86789de634228e3540fee2f6e5a66eebf93f78d83077d','{"extension": 1}',1795435200123456,1795435200123456);
CREATE TABLE forgets (
	item_hash TEXT NOT NULL, 
	n INTEGER NOT NULL, 
	forget_hash TEXT NOT NULL, 
	body TEXT NOT NULL, 
	burnt_at BIGINT, 
	PRIMARY KEY (item_hash, n), 
	FOREIGN KEY(item_hash) REFERENCES vms (item_hash) ON DELETE CASCADE
);
INSERT INTO "forgets" VALUES('6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b',1,'46979be2e1da940b8e957e27096d820e8bf2268f6e34c862e5b719bbb6b86a9c','{"forget": 0}',1795435200123456);
INSERT INTO "forgets" VALUES('6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b',2,'6aa0b92f3e88becb6cc04f03ac4e142266a29e74feea629b6d2aa97dbb7db03a','{"forget": 1}',NULL);
INSERT INTO "forgets" VALUES('6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b',3,'19e62abc4b82204078ced58bc5036ac6d95285d37d3e5efc55db3d5a1455099f','{"forget": 2}',NULL);
INSERT INTO "forgets" VALUES('d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35',1,'9b1def3d31c99fbca45fc3b2a45f54d065d5da6a4e6e179eeb7466374e7db965','{"forget": 0}',NULL);
INSERT INTO "forgets" VALUES('d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35',2,'aec86584203f1180d4a6a66861eba4bdf3fc145009e911058750bc4b231bff7d','{"forget": 1}',NULL);
INSERT INTO "forgets" VALUES('d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35',3,'cab3202711359c21bc754e9103660eaf1d0e913421a736a54f0055f2fb14bcfc','{"forget": 2}',NULL);
INSERT INTO "forgets" VALUES('4e07408562bedb8b60ce05c1decfe3ad16b72230967de01f640b7e4729b49fce',1,'71d6d9b6d85f59fcb3ded5117de76eb703ac5879bbff25436bf237c0287fad65','{"forget": 0}',NULL);
INSERT INTO "forgets" VALUES('4e07408562bedb8b60ce05c1decfe3ad16b72230967de01f640b7e4729b49fce',2,'87adba5872cbccc0a9d366de99909f297d2f494e03eae942f32ff9844d12fd0c','{"forget": 1}',NULL);
INSERT INTO "forgets" VALUES('4e07408562bedb8b60ce05c1decfe3ad16b72230967de01f640b7e4729b49fce',3,'83f4e4035052695d1eb78d1952a0a1aa5e36f444cd269d5587db23d16803f790','{"forget": 2}',NULL);
CREATE TABLE freezes (n INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, at BIGINT NOT NULL, kind TEXT NOT NULL,
  project TEXT NOT NULL, "by" TEXT NOT NULL, reason TEXT NOT NULL, lifted_at BIGINT, lifted_by TEXT NOT NULL);
CREATE TABLE guest_keys (item_hash TEXT NOT NULL PRIMARY KEY, private_key TEXT NOT NULL,
  host_key TEXT NOT NULL DEFAULT '', setup TEXT NOT NULL DEFAULT '', setup_result TEXT,
  FOREIGN KEY(item_hash) REFERENCES vms (item_hash) ON DELETE CASCADE);
CREATE TABLE ledger (
	n INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	at BIGINT NOT NULL, 
	item_hash TEXT NOT NULL, 
	session TEXT NOT NULL, 
	account TEXT NOT NULL, 
	units BIGINT NOT NULL, 
	cause TEXT NOT NULL
, uid INTEGER NOT NULL DEFAULT '-1', approval TEXT NOT NULL DEFAULT '');
INSERT INTO "ledger" VALUES(1,1795435200123456,'6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b','s1','reserved',20000,'admitted',-1,'');
INSERT INTO "ledger" VALUES(2,1795435200123456,'d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35','s1','reserved',20000,'admitted',-1,'');
INSERT INTO "ledger" VALUES(3,1795435200123456,'4e07408562bedb8b60ce05c1decfe3ad16b72230967de01f640b7e4729b49fce','s1','reserved',20000,'admitted',-1,'');
INSERT INTO "ledger" VALUES(4,1795435200123456,'6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b','s1','reserved',20000,'extended',-1,'');
INSERT INTO "ledger" VALUES(5,1795438800123456,'d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35','s1','reserved',-20000,'settled: the network says forgotten',-1,'');
INSERT INTO "ledger" VALUES(6,1795438800123456,'d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35','s1','spent',14250,'settled: the network says forgotten',-1,'');
CREATE TABLE meta (
	"key" TEXT NOT NULL, 
	value TEXT NOT NULL, 
	PRIMARY KEY ("key")
);
INSERT INTO "meta" VALUES('schema_version','4');
CREATE TABLE requests (
	n INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	request_key TEXT NOT NULL, 
	at BIGINT NOT NULL, 
	tool TEXT NOT NULL, 
	arguments_hash TEXT NOT NULL, 
	create_id TEXT NOT NULL, 
	answer TEXT, 
	UNIQUE (request_key)
);
INSERT INTO "requests" VALUES(1,'s1/key-1',1795435200123456,'aleph_create_vm','arguments','create-1','{"name": "vm-1"}');
INSERT INTO "requests" VALUES(2,'s1/key-2',1795435200123456,'aleph_create_vm','arguments','create-2',NULL);
INSERT INTO "requests" VALUES(3,'s1/key-3',1795435200123456,'aleph_create_vm','arguments','create-3',NULL);
CREATE TABLE signed_messages (
	item_hash TEXT NOT NULL, 
	body TEXT NOT NULL, 
	PRIMARY KEY (item_hash), 
	FOREIGN KEY(item_hash) REFERENCES vms (item_hash) ON DELETE CASCADE
);
INSERT INTO "signed_messages" VALUES('6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b','{"instance": true}');
INSERT INTO "signed_messages" VALUES('d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35','{"instance": true}');
INSERT INTO "signed_messages" VALUES('4e07408562bedb8b60ce05c1decfe3ad16b72230967de01f640b7e4729b49fce','{"instance": true}');
CREATE TABLE vms (
	item_hash TEXT NOT NULL, 
	lease_id TEXT NOT NULL, 
	create_id TEXT NOT NULL, 
	name TEXT NOT NULL, 
	purpose TEXT NOT NULL, 
	state TEXT NOT NULL, 
	cause TEXT NOT NULL, 
	session TEXT NOT NULL, 
	project TEXT NOT NULL, 
	client TEXT NOT NULL, 
	uid INTEGER NOT NULL, 
	payer TEXT NOT NULL, 
	signer TEXT NOT NULL, 
	crn_hash TEXT NOT NULL, 
	crn_name TEXT NOT NULL, 
	crn_url TEXT NOT NULL, 
	compute_units INTEGER NOT NULL, 
	vcpus INTEGER NOT NULL, 
	memory_mib INTEGER NOT NULL, 
	disk_mib INTEGER NOT NULL, 
	os_image TEXT NOT NULL, 
	rate TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	expires_at BIGINT NOT NULL, 
	lease_version INTEGER NOT NULL, 
	broadcast_at BIGINT, 
	processed_at BIGINT, 
	notified_at BIGINT, 
	running_at BIGINT, 
	ssh_at BIGINT, 
	host_ipv4 TEXT NOT NULL, 
	ssh_port INTEGER NOT NULL, 
	ipv6 TEXT NOT NULL, 
	destroy_at BIGINT, 
	forgotten_at BIGINT, 
	erased_at BIGINT, 
	ended_at BIGINT, 
	verified_at BIGINT, 
	attempts INTEGER NOT NULL, 
	next_attempt_at BIGINT, 
	last_error TEXT NOT NULL, 
	unknown_since BIGINT, 
	warned TEXT NOT NULL, 
	due_at BIGINT, host_lost_at BIGINT, 
	PRIMARY KEY (item_hash)
);
INSERT INTO "vms" VALUES('6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b','lease-1','create-1','vm-1','','running','runs','s1','','',-1,'0xPayer','0xSigner','cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc','','https://crn.example',1,1,2048,20480,'ubuntu22','3.9583333333333333',1795435200123456,1795446000123456,2,1795435200123456,1795435200123456,1795435200123456,1795435200123456,NULL,'127.0.0.2',24000,'',NULL,NULL,NULL,NULL,NULL,0,NULL,'',NULL,'',1795446000123456,NULL);
INSERT INTO "vms" VALUES('d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35','lease-2','create-2','vm-2','','gone','destroyed','s1','','',-1,'0xPayer','0xSigner','cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc','','https://crn.example',1,1,2048,20480,'ubuntu22','3.9583333333333333',1795435200123456,1795438800123456,1,1795435200123456,1795435200123456,1795435200123456,1795435200123456,NULL,'127.0.0.2',24000,'',1795435200123456,1795438800123456,1795438800123456,1795438800123456,NULL,0,NULL,'',NULL,'',1795439100123456,NULL);
INSERT INTO "vms" VALUES('4e07408562bedb8b60ce05c1decfe3ad16b72230967de01f640b7e4729b49fce','lease-3','create-3','vm-3','','intended','asked for','s1','','',-1,'0xPayer','0xSigner','cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc','','https://crn.example',1,1,2048,20480,'ubuntu22','3.9583333333333333',1795435200123456,1795438800123456,1,NULL,NULL,NULL,NULL,NULL,'',0,'',NULL,NULL,NULL,NULL,NULL,0,NULL,'',NULL,'',1795438800123456,NULL);
CREATE INDEX ix_vms_due_at ON vms (due_at);
CREATE INDEX ix_vms_bound ON vms (state, forgotten_at, name, rate, session);
CREATE INDEX ix_vms_page ON vms (created_at, item_hash, state);
CREATE INDEX ix_vms_create_id ON vms (create_id);
CREATE INDEX ix_ledger_account ON ledger (account, item_hash, units);
CREATE INDEX ix_ledger_day ON ledger (account, at, units);
CREATE INDEX ix_ledger_vm ON ledger (item_hash);
CREATE INDEX ix_ledger_session ON ledger (session, units);
CREATE INDEX ix_extensions_dated_at ON extensions (dated_at);
CREATE INDEX ix_approvals_state ON approvals (state, expires_at);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('requests',3);
INSERT INTO "sqlite_sequence" VALUES('ledger',6);
INSERT INTO "sqlite_sequence" VALUES('events',11);
COMMIT;
