package sqlite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"testing/fstest"
)

var counting = fstest.MapFS{"migrations/0001_init.sql": {Data: []byte("CREATE TABLE n (a INTEGER, b INTEGER); INSERT INTO n VALUES (0, 0);")}}

// TestMain lets the test binary be the process that writes while TestCopyWhileWritten copies.
func TestMain(m *testing.M) {
	if path := os.Getenv("SQLITE_TEST_WRITE"); path != "" {
		fmt.Fprintln(os.Stderr, countForever(path))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func countForever(path string) error {
	db, err := Open(nil, path, counting)
	for n := 1; err == nil; n++ {
		err = db.Write(context.Background(), func(ctx context.Context, tx Session) error {
			if _, err := Run(ctx, tx, "UPDATE n SET a = a + 1"); err != nil {
				return err
			}
			_, err := Run(ctx, tx, "UPDATE n SET b = b + 1")
			return err
		})
		if n == 1 {
			fmt.Println("writing")
		}
	}
	return err
}

// A copy is what the file is once its log is in it, to the byte.
func TestCopyIsExact(t *testing.T) {
	path := filepath.Join(t.TempDir(), "n.db")
	db, err := Open(nil, path, counting)
	if err != nil {
		t.Fatal(err)
	}
	for _, stmt := range []string{"CREATE TABLE more (v TEXT)", "INSERT INTO more VALUES (hex(zeroblob(50000)))", "DROP TABLE more"} {
		err = errors.Join(err, db.Write(t.Context(), func(ctx context.Context, tx Session) error {
			_, err := Run(ctx, tx, stmt)
			return err
		}))
	}
	// Closing one in this process would take another's locks, so the copy is made by one that nobody else has open.
	cold := filepath.Join(t.TempDir(), "cold.db")
	for _, suffix := range []string{"", "-wal"} {
		b, err2 := os.ReadFile(path + suffix)
		err = errors.Join(err, err2, os.WriteFile(cold+suffix, b, 0o600))
	}
	to := filepath.Join(t.TempDir(), "copy.db")
	if err := errors.Join(err, Copy(t.Context(), cold, to, true), db.Close()); err != nil { // which writes its log into the file
		t.Fatal(err)
	}
	got, err := os.ReadFile(to)
	want, err2 := os.ReadFile(path)
	if err != nil || err2 != nil || !bytes.Equal(got, want) {
		t.Errorf("the copy's %d bytes are not the %d of the database: %v %v", len(got), len(want), err, err2)
	}
}

// A copy that is taken while another process writes is of one moment, and later copies are of later ones.
func TestCopyWhileWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "n.db")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "SQLITE_TEST_WRITE="+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	if _, err := out.Read(make([]byte, 20)); err != nil {
		t.Fatal(err)
	}
	last := int64(0)
	for i := range 10 {
		to := filepath.Join(t.TempDir(), "copy.db")
		if err := Copy(t.Context(), path, to, i%2 == 0); err != nil {
			t.Fatal(err)
		}
		if ok, err := IsDatabase(to); !ok || err != nil {
			t.Error(ok, err)
		}
		db, err := Open(nil, to, counting)
		if err != nil {
			t.Fatal(err)
		}
		a, err := One(t.Context(), db.Reads(), Value[int64], "SELECT a FROM n")
		if err != nil {
			t.Fatal(err)
		}
		b, err := One(t.Context(), db.Reads(), Value[int64], "SELECT b FROM n")
		if err != nil || a != b || a < last || i > 0 && a == 0 {
			t.Errorf("copy %d holds %d and %d, the one before %d: %v", i, a, b, last, err)
		}
		last = a
		db.Close()
	}
	if err := Copy(t.Context(), filepath.Join(t.TempDir(), "none.db"), path+".none", true); err == nil {
		t.Error("a copy of nothing")
	}
}
