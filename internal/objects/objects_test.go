package objects

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"atoll.dev/atoll/internal/atoll"
)

func open(t *testing.T) *Store {
	t.Helper()
	s, err := Open(slog.New(slog.DiscardHandler), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A class is taken by one at a time, and a process that has inherited the lock keeps it, though the one that took it has
// let go.
func TestTake(t *testing.T) {
	s := open(t)
	class := atoll.NewID()
	dir, lock, err := s.Take(t.Context(), class)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory: %v, %v", info, err)
	}
	child := exec.Command("cat")
	child.ExtraFiles = []*os.File{lock}
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lock.Close()
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := s.Take(short, class); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while a process has it: %v", err)
	}
	if _, other, err := s.Take(t.Context(), atoll.NewID()); err != nil {
		t.Errorf("another class: %v", err)
	} else {
		other.Close()
	}
	in.Close()
	if err := child.Wait(); err != nil {
		t.Fatal(err)
	}
	_, lock, err = s.Take(t.Context(), class)
	if err != nil {
		t.Fatal(err)
	}
	lock.Close()
}

func TestTakeRefuses(t *testing.T) {
	for _, class := range []string{"", ".", "../0123456789abcdef0123456789abcde", "0123456789ABCDEF0123456789ABCDEF", "0123456789abcdef0123456789abcdef0"} {
		if _, _, err := open(t).Take(t.Context(), class); err == nil {
			t.Errorf("%q was taken", class)
		}
	}
}

func TestSweep(t *testing.T) {
	s := open(t)
	kept, gone, used := atoll.NewID(), atoll.NewID(), atoll.NewID()
	var lock *os.File
	for _, class := range []string{kept, gone, used} {
		dir, l, err := s.Take(t.Context(), class)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "x.sqlite"), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if class == used {
			lock = l
		} else {
			l.Close()
		}
	}
	sweep := func(wantBusy bool) {
		t.Helper()
		busy, err := s.Sweep(func() (func(string) bool, error) { return func(c string) bool { return c == kept }, nil })
		if err != nil || busy != wantBusy {
			t.Errorf("busy %v, %v", busy, err)
		}
	}
	has := func(class string) bool {
		_, err := os.Stat(filepath.Join(s.Root(), class, "x.sqlite"))
		return err == nil
	}
	sweep(true)
	if !has(kept) || has(gone) || !has(used) {
		t.Errorf("kept %v, gone %v, used %v", has(kept), has(gone), has(used))
	}
	lock.Close()
	sweep(false)
	if !has(kept) || has(used) {
		t.Errorf("kept %v, used %v", has(kept), has(used))
	}
	if list, err := os.ReadDir(s.Root()); err != nil || len(list) != 2 {
		t.Errorf("left: %v, %v", list, err)
	}
}
