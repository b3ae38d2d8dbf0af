-- What the store knows of itself: the secret that upload ids are made with.
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;

-- What an account stores in all: payload, metadata, open uploads.
CREATE TABLE accounts (
  account TEXT PRIMARY KEY,
  bytes   INTEGER NOT NULL DEFAULT 0,
  buckets INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

-- A number is never used again: an operation that was under way when its bucket was deleted must not meet another one.
CREATE TABLE buckets (
  num      INTEGER PRIMARY KEY AUTOINCREMENT,
  account  TEXT    NOT NULL,
  name     TEXT    NOT NULL,
  created  INTEGER NOT NULL, -- milliseconds, as all times here
  location TEXT    NOT NULL,
  class    TEXT    NOT NULL, -- of objects that are put without one
  objects  INTEGER NOT NULL DEFAULT 0,
  bytes    INTEGER NOT NULL DEFAULT 0, -- of the objects' content
  head     INTEGER NOT NULL DEFAULT 0, -- of their keys and metadata
  uploads  INTEGER NOT NULL DEFAULT 0, -- that are open
  pending  INTEGER NOT NULL DEFAULT 0, -- bytes of those
  UNIQUE (account, name)
);

-- The content is in data, in the file, or in the parts of the upload; an object without any is empty.
CREATE TABLE objects (
  num      INTEGER PRIMARY KEY AUTOINCREMENT,
  bucket   INTEGER NOT NULL REFERENCES buckets (num),
  key      BLOB    NOT NULL,
  version  TEXT    NOT NULL,
  size     INTEGER NOT NULL,
  etag     TEXT    NOT NULL,
  uploaded INTEGER NOT NULL,
  class    TEXT    NOT NULL,
  http     TEXT    NOT NULL, -- JSON
  custom   TEXT    NOT NULL, -- JSON
  sums     TEXT    NOT NULL, -- JSON
  keysum   TEXT    NOT NULL, -- of the customer's key: SSE-C
  head     INTEGER NOT NULL,
  upload   INTEGER,
  file     TEXT,
  salt     BLOB,
  data     BLOB
);
CREATE UNIQUE INDEX objects_by_key ON objects (bucket, key);
CREATE INDEX objects_by_file ON objects (file) WHERE file IS NOT NULL;

-- Uploads that are neither completed nor aborted.
CREATE TABLE uploads (
  num     INTEGER PRIMARY KEY AUTOINCREMENT,
  bucket  INTEGER NOT NULL REFERENCES buckets (num),
  key     BLOB    NOT NULL,
  id      TEXT    NOT NULL,
  created INTEGER NOT NULL,
  class   TEXT    NOT NULL,
  http    TEXT    NOT NULL,
  custom  TEXT    NOT NULL,
  sums    TEXT    NOT NULL, -- which checksums its parts have
  keysum  TEXT    NOT NULL,
  head    INTEGER NOT NULL,
  bytes   INTEGER NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX uploads_by_key ON uploads (bucket, key, id);
CREATE INDEX uploads_by_age ON uploads (created);

-- Parts of open uploads, and of the objects that uploads became.
CREATE TABLE parts (
  upload   INTEGER NOT NULL,
  number   INTEGER NOT NULL,
  size     INTEGER NOT NULL,
  etag     TEXT    NOT NULL,
  md5      BLOB    NOT NULL,
  sums     TEXT    NOT NULL,
  uploaded INTEGER NOT NULL,
  file     TEXT    NOT NULL,
  salt     BLOB,
  PRIMARY KEY (upload, number)
) WITHOUT ROWID;
CREATE INDEX parts_by_file ON parts (file);

-- Files that nothing names any more. They are removed once nobody reads that version of an object.
CREATE TABLE garbage (
  file    TEXT PRIMARY KEY,
  version TEXT NOT NULL
) WITHOUT ROWID;
