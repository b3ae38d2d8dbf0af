-- What Workers may reach: the rules of a namespace, and with a name those of a script in it. They are kept by the script's
-- name: deleting a script and uploading it again does not shed them, and they may be there before it.
CREATE TABLE egress (
  namespace INTEGER NOT NULL REFERENCES namespaces (key) ON DELETE CASCADE,
  script    TEXT NOT NULL, -- empty: the namespace's
  rules     TEXT NOT NULL,
  modified  INTEGER NOT NULL,
  PRIMARY KEY (namespace, script)
) STRICT, WITHOUT ROWID;
