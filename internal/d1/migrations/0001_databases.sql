-- created is in microseconds since 1970.
CREATE TABLE databases (
	id           TEXT PRIMARY KEY,
	account      TEXT NOT NULL,
	name         TEXT NOT NULL,
	created      INTEGER NOT NULL,
	location     TEXT NOT NULL DEFAULT '',
	jurisdiction TEXT NOT NULL DEFAULT '',
	UNIQUE (account, name)
) STRICT, WITHOUT ROWID;
