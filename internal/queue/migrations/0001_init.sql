-- The node's queues. Times are Unix milliseconds, durations seconds unless their name says otherwise.

CREATE TABLE queues (
  num       INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again, so messages of a deleted queue can be removed later
  id        TEXT NOT NULL UNIQUE,
  account   TEXT NOT NULL,
  name      TEXT NOT NULL,
  delay     INTEGER NOT NULL,
  retention INTEGER NOT NULL,
  paused    INTEGER NOT NULL,
  purged    INTEGER NOT NULL DEFAULT 0, -- when it was purged last; 0: never
  created   INTEGER NOT NULL,
  modified  INTEGER NOT NULL,
  UNIQUE (account, name)
) STRICT;

CREATE TABLE consumers (
  queue         INTEGER PRIMARY KEY REFERENCES queues (num) ON DELETE CASCADE,
  id            TEXT NOT NULL UNIQUE,
  type          TEXT NOT NULL,
  namespace     TEXT NOT NULL, -- of the script; empty: an account script
  script        TEXT NOT NULL, -- empty: messages are pulled
  dead_letter   TEXT NOT NULL, -- the name of a queue; empty: there is none
  batch         INTEGER NOT NULL,
  retries       INTEGER NOT NULL,
  wait_ms       INTEGER NOT NULL,
  concurrency   INTEGER NOT NULL, -- 0: the node decides
  retry_delay   INTEGER NOT NULL,
  visibility_ms INTEGER NOT NULL,
  created       INTEGER NOT NULL
) STRICT;

-- The body stands last: a row's other columns are read without it.
CREATE TABLE messages (
  seq      INTEGER PRIMARY KEY,
  queue    INTEGER NOT NULL,
  due      INTEGER NOT NULL,           -- not delivered before
  stored   INTEGER NOT NULL,           -- when it came into this queue, for retention
  size     INTEGER NOT NULL,           -- of the body
  attempts INTEGER NOT NULL DEFAULT 0, -- deliveries that have failed, or have been handed to whoever pulls
  lease    INTEGER,                    -- of whoever pulled it last
  id       TEXT NOT NULL,
  sent     INTEGER NOT NULL,           -- by its producer
  type     TEXT NOT NULL,
  body     BLOB NOT NULL
) STRICT;
CREATE INDEX messages_due ON messages (queue, due);
CREATE INDEX messages_stored ON messages (queue, stored, size);

-- Queues that are deleted while messages of theirs are left.
CREATE TABLE dead (queue INTEGER PRIMARY KEY) STRICT;
