package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/sqlite"
)

const (
	acct  = atoll.AccountID("0123456789abcdef0123456789abcdef")
	other = atoll.AccountID("ffffffffffffffffffffffffffffffff")
	prod  = atoll.NamespaceName("production")
)

var testKey = Key(bytes.Repeat([]byte{7}, 32))

// open opens a store in dir that closes with the test.
func open(t testing.TB, dir string) *DB {
	t.Helper()
	db, err := Open(nil, dir, testKey)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// filled is a new store with the account acct and its namespace prod.
func filled(t testing.TB) *DB {
	t.Helper()
	db := open(t, t.TempDir())
	ctx := context.Background()
	ok(t, db.EnsureAccount(ctx, acct, "Acme"))
	_, err := db.CreateNamespace(ctx, acct, prod, false, atoll.NamespaceSettings{})
	ok(t, err)
	return db
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// refused fails the test unless err is a fault of this kind and code.
func refused(t testing.TB, err error, kind fault.Kind, code int) {
	t.Helper()
	if f := fault.Of(err); f == nil || f.Kind != kind || f.Code != code {
		t.Errorf("error %v, want a fault %v %d", err, kind, code)
	}
}

func equal(t testing.TB, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func user(name string) atoll.ScriptRef {
	return atoll.ScriptRef{Account: acct, Namespace: prod, Name: atoll.ScriptName(name)}
}

func platform(name string) atoll.ScriptRef {
	return atoll.ScriptRef{Account: acct, Name: atoll.ScriptName(name)}
}

// put deploys a small version of a script with the given tags.
func put(t testing.TB, db *DB, ref atoll.ScriptRef, tags ...string) *atoll.Version {
	t.Helper()
	v := &atoll.Version{MainModule: "index.js", Modules: []atoll.Module{{Name: "index.js", Type: atoll.ESModule, Hash: hashOf(ref)}}}
	c := ScriptChange{Deploy: true, Source: "api"}
	if tags != nil {
		c.Tags = &tags
	}
	_, err := db.PutVersion(context.Background(), ref, v, c)
	ok(t, err)
	return v
}

// hashOf is a made-up blob of a script.
func hashOf(ref atoll.ScriptRef) string { return fmt.Sprintf("%064x", ref.String())[:64] }

func TestOpenTwiceKeepsEverything(t *testing.T) {
	dir := t.TempDir()
	db, err := Open(nil, dir, testKey)
	ok(t, err)
	ok(t, db.EnsureAccount(t.Context(), acct, "Acme"))
	want := put(t, db, platform("router"))
	ok(t, db.Close())
	ok(t, db.Close())
	refusedAfterClose(t, db)

	db = open(t, dir)
	s, err := db.Script(t.Context(), platform("router"))
	ok(t, err)
	equal(t, s.Version, want)
}

func refusedAfterClose(t *testing.T, db *DB) {
	t.Helper()
	if err := db.EnsureAccount(t.Context(), acct, "Acme"); !errors.Is(err, sqlite.ErrClosed) {
		t.Errorf("write after close: %v", err)
	}
	if _, err := db.Account(t.Context(), acct); err == nil {
		t.Error("read after close")
	}
}

func TestFilesAreTheOwnersAlone(t *testing.T) {
	dir := t.TempDir()
	db := open(t, filepath.Join(dir, "data"))
	ok(t, db.EnsureAccount(t.Context(), acct, "Acme"))
	for _, name := range []string{"data", "data/atoll.db", "data/atoll.db-wal", "data/atoll.db-shm"} {
		st, err := os.Stat(filepath.Join(dir, name))
		ok(t, err)
		if st.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", name, st.Mode())
		}
	}
}

func TestOddDirectoryNames(t *testing.T) {
	for _, name := range []string{"a b", "50%25", "what?mode=memory", "hash#1", "é"} {
		dir := filepath.Join(t.TempDir(), name)
		db := open(t, dir)
		ok(t, db.EnsureAccount(t.Context(), acct, "Acme"))
		if _, err := os.Stat(filepath.Join(dir, "atoll.db-wal")); err != nil {
			t.Error(err)
		}
	}
}

func TestOpenFails(t *testing.T) {
	dir := t.TempDir()
	ok(t, os.WriteFile(filepath.Join(dir, "atoll.db"), []byte(strings.Repeat("this is no database ", 100)), 0o600))
	if _, err := Open(nil, dir, testKey); err == nil {
		t.Error("opened a file that is no database")
	}
	if _, err := Open(nil, filepath.Join(dir, "atoll.db"), testKey); err == nil {
		t.Error("opened a directory that is a file")
	}
}
