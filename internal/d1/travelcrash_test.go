package d1

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"atoll.dev/atoll/internal/d1/history"
	"atoll.dev/atoll/internal/durable/killtest"
	"atoll.dev/atoll/internal/fault"
)

// restoreForever writes and restores in turn, and says which state each bookmark is of. A state is a number that all rows of
// the table have.
func restoreForever(dir string) error {
	s, err := Open(nil, dir, Options{history: history.Options{FileBytes: 100_000}})
	if err != nil {
		return err
	}
	list, _ := s.List(account, "", 1, 1)
	ctx, id := context.Background(), list[0].ID
	base, err := s.BookmarkAt(ctx, account, id, time.Time{})
	if err != nil {
		return err
	}
	for n := os.Getpid() * 1_000_000; ; n++ {
		a, err := s.Query(ctx, account, id, []Query{{SQL: fmt.Sprintf("UPDATE t SET n = %d, pad = randomblob(1000)", n)}}, Columns)
		if err != nil {
			return err
		}
		fmt.Println(a.Bookmark, n)
		a.Release()
		if n%3 == 0 {
			r, err := s.Restore(ctx, account, id, base, time.Time{})
			if err != nil {
				return err
			}
			fmt.Println(r.Bookmark, "base")
			base = r.Bookmark
		}
	}
}

// TestKillRestore kills a process that restores, again and again: the database is what it was before or after, and every
// bookmark that was told is one to go back to.
func TestKillRestore(t *testing.T) {
	rounds := 4
	if testing.Short() {
		rounds = 1
	}
	dir := t.TempDir()
	o := Options{history: history.Options{FileBytes: 100_000}}
	s := openStore(t, dir, o)
	id := newDatabase(t, s, "one")
	want(t, s, id, "CREATE TABLE t (n, pad); INSERT INTO t SELECT 1, randomblob(1000) FROM json_each('[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20]')", "[]")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	states, base := map[string]string{}, "1"
	var order []string
	for round := range rounds {
		for _, line := range killRestorer(t, dir, 40+17*round) {
			mark, state, _ := strings.Cut(line, " ")
			if state == "base" {
				state = base
			}
			states[mark] = state
			order = append(order, mark)
		}
		s := openStore(t, dir, o)
		got, err := results(t, s, id, "SELECT DISTINCT n FROM t")
		if err != nil || strings.Contains(got, "],[") {
			t.Fatal(got, err)
		}
		want(t, s, id, "PRAGMA quick_check", `[["ok"]]`)
		last := now(t, s, id)
		for i := len(order) - 1; i >= 0; i -= 7 {
			restore(t, s, id, order[i])
			want(t, s, id, "SELECT DISTINCT n FROM t", "[["+states[order[i]]+"]]")
		}
		restore(t, s, id, last)
		want(t, s, id, "SELECT DISTINCT n FROM t", got)
		base = strings.Trim(got, "[]")
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d bookmarks", len(order))
}

func killRestorer(t *testing.T, dir string, after int) (lines []string) {
	t.Helper()
	killtest.Run(t, "D1_TEST_RESTORE="+dir, func(line string) bool {
		lines = append(lines, line)
		return len(lines) == after
	})
	return lines
}

// TestHistoryYields writes more history than the disk has room for: no write fails for it.
func TestHistoryYields(t *testing.T) {
	dir := smallDisk(t, "8m")
	s := openStore(t, dir, Options{history: history.Options{FileBytes: 200_000}})
	id := newDatabase(t, s, "one")
	want(t, s, id, "CREATE TABLE t (a); INSERT INTO t VALUES (randomblob(300000))", "[]")
	var marks []string
	for range 60 {
		want(t, s, id, "UPDATE t SET a = randomblob(300000)", "[]")
		marks = append(marks, now(t, s, id))
	}
	restore(t, s, id, marks[59])
	want(t, s, id, "SELECT length(a) FROM t", "[[300000]]")
	for err := error(nil); err == nil; { // until the data alone fills the disk
		if _, err = results(t, s, id, "INSERT INTO t VALUES (randomblob(50000))"); err != nil && fault.KindOf(err) != fault.Full {
			t.Fatal(err)
		}
	}
	if _, err := s.Restore(t.Context(), account, id, marks[0], time.Time{}); err == nil {
		t.Error("a full disk had room for all of the history")
	}
	want(t, s, id, "PRAGMA quick_check", `[["ok"]]`)
	want(t, s, id, "DELETE FROM t WHERE length(a) = 50000", "[]")
	want(t, s, id, "INSERT INTO t VALUES (1)", "[]")
}

// TestHistoryOfBackup opens databases with histories of other moments, as a backup may have them.
func TestHistoryOfBackup(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, Options{})
	id := newDatabase(t, s, "one")
	path := filepath.Join(dir, "d1", string(id)+extension)
	var marks []string
	step := func(n int) {
		s = openStore(t, dir, Options{})
		want(t, s, id, fmt.Sprintf("CREATE TABLE t%d (a)", n), "[]")
		want(t, s, id, fmt.Sprintf("INSERT INTO t%d VALUES (%d)", n, n), "[]")
		marks = append(marks, now(t, s, id))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	step(1)
	step(2)
	copied, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	early := t.TempDir()
	if err := os.CopyFS(filepath.Join(early, "history"), os.DirFS(path+".history")); err != nil {
		t.Fatal(err)
	}
	step(3)
	// The history is ahead: what is of later is gone, the rest is there.
	later, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, copied, 0o600); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, dir, Options{})
	restore(t, s, id, marks[0])
	want(t, s, id, "SELECT name FROM sqlite_schema", `[["t1"]]`)
	if _, err := s.Restore(t.Context(), account, id, marks[2], time.Time{}); fault.KindOf(err) != fault.Invalid {
		t.Error(err)
	}
	restore(t, s, id, marks[1])
	want(t, s, id, "SELECT count(*) FROM sqlite_schema", `[[2]]`)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// The history is behind: it begins anew.
	if err := os.RemoveAll(path + ".history"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(early, "history"), path+".history"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, later, 0o600); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, dir, Options{})
	want(t, s, id, "SELECT count(*) FROM sqlite_schema", `[[3]]`)
	if _, err := s.Restore(t.Context(), account, id, marks[0], time.Time{}); fault.KindOf(err) != fault.Invalid {
		t.Error(err)
	}
	want(t, s, id, "DROP TABLE t3", "[]")
	restore(t, s, id, marks[2])
	want(t, s, id, "SELECT count(*) FROM sqlite_schema", `[[3]]`)
}
