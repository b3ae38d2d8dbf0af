-- The classes of scripts whose instances are Durable Objects. The id names the namespace of a class's objects and the
-- directory of their storage; a directory whose id is not here is garbage.
CREATE TABLE classes (
  id      TEXT PRIMARY KEY,
  script  INTEGER NOT NULL REFERENCES scripts (key) ON DELETE CASCADE,
  name    TEXT NOT NULL,
  sqlite  INTEGER NOT NULL,
  created INTEGER NOT NULL,
  UNIQUE (script, name)
) STRICT, WITHOUT ROWID;
