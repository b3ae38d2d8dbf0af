package backup

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"atoll.dev/atoll/internal/sqlite"
)

// The operator is told of every entry, in the manual.
func TestEntriesAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, e := range entries {
		if e.dir {
			name += "/"
		}
		if !strings.Contains(string(text), "\n| `"+name+"` |") {
			t.Errorf("docs/configuration.md has no row for %s", name)
		}
	}
}

func TestRunReports(t *testing.T) {
	data, to := dataDir(t), filepath.Join(t.TempDir(), "to")
	for name, text := range map[string]string{"new.db": "?", ".secret.key.12": "half", "d1/transfers/1.sql": "SELECT 1", "d1/1.sqlite": "?", "kv.db-wal": "?"} {
		path := filepath.Join(data, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(filepath.Join(data, "d1/pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link") // as where the data lies on a disk of its own
	if err := os.Symlink(data, link); err != nil {
		t.Fatal(err)
	}
	r, err := Run(t.Context(), link, to)
	if err != nil || !slices.Equal(r.Unknown, []string{"kv.db-wal", "new.db"}) || !slices.Equal(r.Skipped, []string{"blobs/link", "d1/pipe"}) || r.Damaged != nil {
		t.Errorf("%+v, %v", r, err)
	}
	for name, want := range map[string]bool{"new.db": true, "d1/1.sqlite": true, "secret.key": true, "d1/transfers": false, "d1/pipe": false, ".secret.key.12": false} {
		if _, err := os.Lstat(filepath.Join(to, name)); want != (err == nil) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What a backup would miss without a word fails it.
func TestRunRefusesLinks(t *testing.T) {
	data, other := dataDir(t), t.TempDir()
	if err := os.Symlink(other, filepath.Join(data, "objects")); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), data, filepath.Join(t.TempDir(), "to")); err == nil || !strings.Contains(err.Error(), "objects is a symbolic link") {
		t.Errorf("got %v", err)
	}
}

// A tenant's file that SQLite cannot read is copied as it is and named; the others are whole. One of the node's own ends it.
func TestDamagedFiles(t *testing.T) {
	data, to := dataDir(t), filepath.Join(t.TempDir(), "to")
	whole, err := os.ReadFile(filepath.Join(data, metadata))
	if err != nil {
		t.Fatal(err)
	}
	damage := map[string]func(b []byte) []byte{
		"d1/whole.sqlite":        func(b []byte) []byte { return b },
		"d1/page-size.sqlite":    func(b []byte) []byte { binary.BigEndian.PutUint16(b[16:], 3); return b },
		"d1/format.sqlite":       func(b []byte) []byte { b[19] = 99; return b },
		"d1/fractions.sqlite":    func(b []byte) []byte { b[21] = 1; return b },
		"d1/header.sqlite":       func(b []byte) []byte { return b[:20] },
		"d1/short.sqlite":        func(b []byte) []byte { return b[:len(b)/2] },
		"d1/pages.sqlite":        func(b []byte) []byte { return append(b[:100], make([]byte, len(b)-100)...) },
		"d1/claims.sqlite":       func(b []byte) []byte { binary.BigEndian.PutUint32(b[28:], 1<<31); return b },
		"objects/1/empty.sqlite": func(b []byte) []byte { return b[:16] },
	}
	for name, f := range damage {
		path := filepath.Join(data, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, f(slices.Clone(whole)), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	r, err := Run(t.Context(), data, to)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(r.Damaged)
	for name, f := range damage {
		named := slices.ContainsFunc(r.Damaged, func(s string) bool { return strings.HasPrefix(s, name+": ") })
		got, err := os.ReadFile(filepath.Join(to, name))
		if err != nil || named && !slices.Equal(got, f(slices.Clone(whole))) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		want := map[string]bool{"d1/page-size.sqlite": true, "d1/fractions.sqlite": true, "d1/format.sqlite": true}[name]
		if want && !named || name == "d1/whole.sqlite" && named {
			t.Errorf("%s: named %v", name, named)
		}
	}
	if ok, err := sqlite.IsDatabase(filepath.Join(to, metadata)); !ok || err != nil {
		t.Error(ok, err)
	}

	own := damage["d1/page-size.sqlite"](slices.Clone(whole))
	if err := os.WriteFile(filepath.Join(data, "kv.db"), own, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), data, to+"-2"); err == nil || !strings.Contains(err.Error(), "kv.db") {
		t.Errorf("the node's own: %v", err)
	}
}
