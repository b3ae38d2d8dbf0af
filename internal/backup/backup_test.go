package backup

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"atoll.dev/atoll/internal/sqlite"
)

// dataDir makes a data directory of a database, a blob and a file.
func dataDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	db, err := sqlite.Open(nil, filepath.Join(dir, "atoll.db"), fstest.MapFS{"migrations/0001_init.sql": {Data: []byte("CREATE TABLE t (v BLOB)")}})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Write(t.Context(), func(ctx context.Context, tx sqlite.Session) error {
		_, err := sqlite.Run(ctx, tx, "INSERT INTO t VALUES (zeroblob(3000000))")
		return err
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"blobs/ab/abcd": "blob", "secret.key": "key", "cache/1": "lost", "lock": ""} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "blobs/link")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestRun(t *testing.T) {
	data, to := dataDir(t), filepath.Join(t.TempDir(), "to")
	r, err := Run(t.Context(), data, to)
	if err != nil || r.Databases != 1 || r.Files != 2 || r.Running || r.Bytes < 3e6 {
		t.Errorf("%+v, %v", r, err)
	}
	for name, want := range map[string]bool{"atoll.db": true, "blobs/ab/abcd": true, "secret.key": true, "cache/1": false, "lock": false, "blobs/link": false, "atoll.db-wal": false} {
		st, err := os.Lstat(filepath.Join(to, name))
		if want != (err == nil) || want && st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, st, err)
		}
	}
	if _, err := os.Stat(to + ".partial"); err == nil {
		t.Error("something is left")
	}
}

func TestRunRefuses(t *testing.T) {
	data, dir := dataDir(t), t.TempDir()
	partial := filepath.Join(dir, "left.partial")
	if err := os.Mkdir(partial, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ data, to, want string }{
		"no data":   {dir, filepath.Join(dir, "to"), "is no node's data directory"},
		"there":     {data, dir, "is there already"},
		"inside":    {data, filepath.Join(data, "to"), "is in the data directory itself"},
		"left":      {data, filepath.Join(dir, "left"), "remove what an earlier backup has left"},
		"no parent": {data, filepath.Join(dir, "none", "to"), "no such file"},
	} {
		if _, err := Run(t.Context(), c.data, c.to); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, data, filepath.Join(dir, "to")); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != 1 {
		t.Errorf("something is left: %v %v", list, err)
	}
}

// Where there is no room for it nothing is left of a backup, and the next one finds room again.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Skip("no tmpfs can be mounted here:", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	data, to := dataDir(t), filepath.Join(dir, "to")
	if _, err := Run(t.Context(), data, to); err == nil || !strings.Contains(err.Error(), "there is no room left for the backup") {
		t.Errorf("got %v", err)
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != 1 {
		t.Errorf("something is left: %v %v", list, err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), data, to); err != nil {
		t.Error(err)
	}
}
