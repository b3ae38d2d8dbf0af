-- The node's KV store. Times are Unix seconds, but for created, which is Unix microseconds.

CREATE TABLE namespaces (
  num     INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again, so rows of a deleted namespace can be removed later
  id      TEXT NOT NULL UNIQUE,
  account TEXT NOT NULL,
  title   TEXT NOT NULL,
  created INTEGER NOT NULL,
  keys    INTEGER NOT NULL DEFAULT 0,
  bytes   INTEGER NOT NULL DEFAULT 0,
  UNIQUE (account, title)
) STRICT;

-- Keys are blobs because blobs compare bytewise. The value stands last: a row's other columns are read without it.
CREATE TABLE entries (
  ns       INTEGER NOT NULL,
  key      BLOB NOT NULL,
  expires  INTEGER,
  metadata TEXT,
  size     INTEGER NOT NULL,
  large    INTEGER, -- where set, the value is in chunks
  value    BLOB
) STRICT;
CREATE UNIQUE INDEX entries_key ON entries (ns, key);
CREATE INDEX entries_expires ON entries (expires) WHERE expires IS NOT NULL;

CREATE TABLE chunks (
  large INTEGER NOT NULL,
  seq   INTEGER NOT NULL,
  data  BLOB NOT NULL,
  PRIMARY KEY (large, seq)
) STRICT;

-- Large values that no entry names: not yet, or no longer.
CREATE TABLE garbage (large INTEGER PRIMARY KEY) STRICT;

-- Namespaces that are deleted while entries of theirs are left.
CREATE TABLE dead (ns INTEGER PRIMARY KEY) STRICT;

PRAGMA user_version = 1;
