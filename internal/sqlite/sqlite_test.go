package sqlite

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"atoll.dev/atoll/internal/fault"
)

var schema = fstest.MapFS{
	"migrations/0001_notes.sql": {Data: []byte("CREATE TABLE notes (name TEXT PRIMARY KEY, about TEXT REFERENCES notes) STRICT, WITHOUT ROWID")},
}

func open(t *testing.T, path string) *DB {
	t.Helper()
	db, err := Open(nil, path, schema)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func has(t *testing.T, db *DB, want string) {
	t.Helper()
	if got := notes(t, db); got != want {
		t.Errorf("the notes are %q, want %q", got, want)
	}
}

func TestPragmas(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "notes.db"))
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "10000"} {
		var got string
		ok(t, db.writes.conn.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got))
		if got != want {
			t.Errorf("%s is %s, want %s", pragma, got, want)
		}
	}
	if _, err := Run(t.Context(), db.reads, "DELETE FROM notes"); err == nil {
		t.Error("a reading connection may write")
	}
}

func TestMigrate(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "notes.db"))
	files := fstest.MapFS{
		"migrations/9998_two.sql": {Data: []byte("CREATE TABLE two (a); -- a comment at the end")},
		"migrations/9999_bad.sql": {Data: []byte("CREATE TABLE three (a); CREATE TABLE two (a)")},
	}
	for name := range schema {
		files[name] = &fstest.MapFile{Data: []byte("not run again")}
	}
	if err := db.writes.migrate(t.Context(), files); err == nil || !strings.Contains(err.Error(), "9999_bad") {
		t.Errorf("bad migration: %v", err)
	}
	var version, tables int
	ok(t, db.writes.conn.QueryRowContext(t.Context(), "PRAGMA user_version").Scan(&version))
	ok(t, db.writes.conn.QueryRowContext(t.Context(), "SELECT count(*) FROM sqlite_schema WHERE name IN ('two', 'three')").Scan(&tables))
	if version != len(schema)+1 || tables != 1 {
		t.Errorf("version %d and %d tables, want %d and only the first new migration's", version, tables, len(schema)+1)
	}
	delete(files, "migrations/9998_two.sql")
	delete(files, "migrations/9999_bad.sql")
	if err := db.writes.migrate(t.Context(), files); err == nil || !strings.Contains(err.Error(), "newer") {
		t.Errorf("file of a newer release: %v", err)
	}
}

func TestFullDisk(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "notes.db"))
	ok(t, db.Write(t.Context(), note("kept", nil)))
	limit := func(pages string) {
		ok(t, db.Write(t.Context(), func(ctx context.Context, tx Session) error {
			_, err := One(ctx, tx, Value[int], "PRAGMA max_page_count = "+pages)
			return err
		}))
	}
	limit("1") // as many as there are
	if err := db.Write(t.Context(), note(strings.Repeat("x", 1<<20), nil)); fault.KindOf(err) != fault.Full {
		t.Errorf("on a full disk: %v", err)
	}
	has(t, db, "kept")
	limit("1000000")
	ok(t, db.Write(t.Context(), note("more", nil)))
	has(t, db, "kept more")
}

func TestFilesAreTheOwnersAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "made", "notes.db")
	db := open(t, path)
	ok(t, db.Write(t.Context(), note("a", nil)))
	for _, name := range []string{path, path + "-wal", path + "-shm"} {
		st, err := os.Stat(name)
		ok(t, err)
		if st.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", name, st.Mode())
		}
	}
}
