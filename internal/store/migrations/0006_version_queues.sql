-- The queues that a version sends to, by its bindings.
CREATE TABLE version_queues (
  version INTEGER NOT NULL REFERENCES versions (key) ON DELETE CASCADE,
  queue   TEXT NOT NULL,
  PRIMARY KEY (version, queue)
) STRICT, WITHOUT ROWID;
CREATE INDEX version_queues_queue ON version_queues (queue);
