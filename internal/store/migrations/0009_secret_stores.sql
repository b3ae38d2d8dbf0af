-- The account's stores of secrets, and the secrets in them, each sealed and bound to its id.
CREATE TABLE secret_stores (
  id       TEXT PRIMARY KEY,
  account  TEXT NOT NULL REFERENCES accounts (id),
  name     TEXT NOT NULL,
  created  INTEGER NOT NULL,
  modified INTEGER NOT NULL,
  UNIQUE (account, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE stored_secrets (
  store    TEXT NOT NULL REFERENCES secret_stores (id),
  name     TEXT NOT NULL,
  id       TEXT NOT NULL UNIQUE,
  comment  TEXT NOT NULL,
  scopes   TEXT NOT NULL,
  sealed   BLOB NOT NULL,
  created  INTEGER NOT NULL,
  modified INTEGER NOT NULL,
  PRIMARY KEY (store, name)
) STRICT, WITHOUT ROWID;
