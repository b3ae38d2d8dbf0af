-- Times are Unix microseconds. JSON is TEXT. Keys named "key" are SQLite's own row numbers and never leave the store.

-- What the store knows of itself: "key_check" is a constant sealed with the secret key.
CREATE TABLE meta (
  name  TEXT PRIMARY KEY,
  value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE accounts (
  id        TEXT PRIMARY KEY,
  name      TEXT NOT NULL,
  subdomain TEXT UNIQUE,
  created   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE tokens (
  id      TEXT PRIMARY KEY,
  account TEXT REFERENCES accounts (id) ON DELETE CASCADE, -- NULL: good for every account
  name    TEXT NOT NULL,
  hash    BLOB NOT NULL UNIQUE,
  scope   TEXT NOT NULL,
  created INTEGER NOT NULL,
  expires INTEGER NOT NULL -- 0: never
) STRICT, WITHOUT ROWID;
CREATE INDEX tokens_account ON tokens (account);

-- Dispatch namespaces. Each account has one more, with the empty name, for its own scripts. One whose account is NULL is
-- being deleted: its scripts go in small transactions, and it is invisible meanwhile.
CREATE TABLE namespaces (
  key      INTEGER PRIMARY KEY,
  id       TEXT NOT NULL UNIQUE,
  account  TEXT REFERENCES accounts (id) ON DELETE CASCADE,
  name     TEXT NOT NULL,
  trusted  INTEGER NOT NULL,
  scripts  INTEGER NOT NULL DEFAULT 0, -- how many, kept by the triggers below
  created  INTEGER NOT NULL,
  modified INTEGER NOT NULL,
  UNIQUE (account, name)
) STRICT;

CREATE TABLE scripts (
  key                INTEGER PRIMARY KEY,
  namespace          INTEGER NOT NULL REFERENCES namespaces (key) ON DELETE CASCADE,
  name               TEXT NOT NULL,
  tag                TEXT NOT NULL,
  tags               TEXT NOT NULL DEFAULT '[]', -- in their order; script_tags is the index of them
  logpush            INTEGER NOT NULL DEFAULT 0,
  observability      TEXT,
  tail_consumers     TEXT,
  migration_tag      TEXT NOT NULL DEFAULT '',
  last_deployed_from TEXT NOT NULL DEFAULT '',
  subdomain          INTEGER NOT NULL DEFAULT 0,
  previews           INTEGER NOT NULL DEFAULT 0,
  last_number        INTEGER NOT NULL DEFAULT 0, -- of the newest version
  active             INTEGER NOT NULL DEFAULT 0, -- the number of the deployed version; 0: none yet
  created            INTEGER NOT NULL,
  modified           INTEGER NOT NULL,
  UNIQUE (namespace, name)
) STRICT;

CREATE TRIGGER scripts_added AFTER INSERT ON scripts BEGIN
  UPDATE namespaces SET scripts = scripts + 1 WHERE key = NEW.namespace;
END;
CREATE TRIGGER scripts_removed AFTER DELETE ON scripts BEGIN
  UPDATE namespaces SET scripts = scripts - 1 WHERE key = OLD.namespace;
END;

CREATE TABLE script_tags (
  namespace INTEGER NOT NULL,
  tag       TEXT NOT NULL,
  name      TEXT NOT NULL, -- of the script, so that a filter reads its page in the order of names
  script    INTEGER NOT NULL REFERENCES scripts (key) ON DELETE CASCADE,
  PRIMARY KEY (namespace, tag, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX script_tags_script ON script_tags (script);

CREATE TABLE versions (
  key     INTEGER PRIMARY KEY,
  script  INTEGER NOT NULL REFERENCES scripts (key) ON DELETE CASCADE,
  number  INTEGER NOT NULL,
  id      TEXT NOT NULL,
  created INTEGER NOT NULL,
  source  TEXT NOT NULL,
  doc     TEXT NOT NULL, -- the rest of it
  secrets BLOB,          -- {binding name: sealed value}; NULL: it has none
  UNIQUE (script, number),
  UNIQUE (script, id)
) STRICT;

-- Which blobs a version needs, and since when a blob that was needed is not any more.
CREATE TABLE version_blobs (
  version INTEGER NOT NULL REFERENCES versions (key) ON DELETE CASCADE,
  hash    BLOB NOT NULL,
  PRIMARY KEY (version, hash)
) STRICT, WITHOUT ROWID;
CREATE INDEX version_blobs_hash ON version_blobs (hash);

CREATE TABLE orphans (
  hash  BLOB PRIMARY KEY,
  since INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TRIGGER version_blobs_added AFTER INSERT ON version_blobs BEGIN
  DELETE FROM orphans WHERE hash = NEW.hash;
END;
CREATE TRIGGER version_blobs_removed AFTER DELETE ON version_blobs
WHEN NOT EXISTS (SELECT 1 FROM version_blobs WHERE hash = OLD.hash) BEGIN
  INSERT OR REPLACE INTO orphans VALUES (OLD.hash, CAST(unixepoch('subsec') * 1000000 AS INTEGER));
END;

CREATE TABLE deployments (
  key         INTEGER PRIMARY KEY,
  script      INTEGER NOT NULL REFERENCES scripts (key) ON DELETE CASCADE,
  id          TEXT NOT NULL,
  created     INTEGER NOT NULL,
  source      TEXT NOT NULL,
  strategy    TEXT NOT NULL,
  versions    TEXT NOT NULL,
  annotations TEXT NOT NULL
) STRICT;
CREATE INDEX deployments_script ON deployments (script);

-- What starting a version has shown, by a hash of all that decides it, so that the same content need not be started again.
CREATE TABLE validated (
  seq     INTEGER PRIMARY KEY AUTOINCREMENT,
  key     TEXT NOT NULL UNIQUE,
  started TEXT NOT NULL
) STRICT;

CREATE TABLE zones (
  id      TEXT PRIMARY KEY,
  account TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
  name    TEXT NOT NULL UNIQUE,
  created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX zones_account ON zones (account, name);

CREATE TABLE routes (
  id      TEXT PRIMARY KEY,
  zone    TEXT NOT NULL REFERENCES zones (id) ON DELETE CASCADE,
  pattern TEXT NOT NULL,
  script  INTEGER REFERENCES scripts (key) ON DELETE CASCADE, -- NULL: the pattern opts out
  UNIQUE (zone, pattern)
) STRICT, WITHOUT ROWID;
CREATE INDEX routes_script ON routes (script);

CREATE TABLE schedules (
  script   INTEGER NOT NULL REFERENCES scripts (key) ON DELETE CASCADE,
  cron     TEXT NOT NULL,
  place    INTEGER NOT NULL,
  created  INTEGER NOT NULL,
  modified INTEGER NOT NULL,
  PRIMARY KEY (script, cron)
) STRICT, WITHOUT ROWID;
