-- The files of versions' static assets, by the blobs that they are: from which version of the script on, and to which; last
-- is NULL while its newest version has the file. A version has nearly all files of the one before, so that a row for each
-- version and file would be far too many. The list of a version's files is a blob of the version itself, in version_blobs.
CREATE TABLE asset_files (
  script INTEGER NOT NULL REFERENCES scripts (key) ON DELETE CASCADE,
  hash   BLOB NOT NULL,
  first  INTEGER NOT NULL,
  last   INTEGER,
  PRIMARY KEY (script, hash, first)
) STRICT, WITHOUT ROWID;
CREATE INDEX asset_files_hash ON asset_files (hash);

-- The list of files of the script's newest version; NULL: it has none.
ALTER TABLE scripts ADD COLUMN assets BLOB;

CREATE TRIGGER asset_files_added AFTER INSERT ON asset_files BEGIN
  DELETE FROM orphans WHERE hash = NEW.hash;
END;
CREATE TRIGGER asset_files_removed AFTER DELETE ON asset_files
WHEN NOT EXISTS (SELECT 1 FROM asset_files WHERE hash = OLD.hash) BEGIN
  INSERT OR REPLACE INTO orphans VALUES (OLD.hash, CAST(unixepoch('subsec') * 1000000 AS INTEGER));
END;

-- What clients call content that is stored: hashes of their own making. A claim belongs to the script of that name, which
-- may not exist yet; those of the empty name belong to the whole namespace.
CREATE TABLE asset_claims (
  namespace INTEGER NOT NULL REFERENCES namespaces (key) ON DELETE CASCADE,
  script    TEXT NOT NULL,
  claim     TEXT NOT NULL,
  blob      BLOB NOT NULL,
  size      INTEGER NOT NULL,
  type      TEXT NOT NULL,
  PRIMARY KEY (namespace, script, claim)
) STRICT, WITHOUT ROWID;
CREATE INDEX asset_claims_blob ON asset_claims (blob);

-- Whoever takes a name that is free again must not find what its last owner called his files.
CREATE TRIGGER scripts_claims_removed AFTER DELETE ON scripts BEGIN
  DELETE FROM asset_claims WHERE namespace = OLD.namespace AND script = OLD.name;
END;
