package d1

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"atoll.dev/atoll/internal/d1/history"
	"atoll.dev/atoll/internal/fault"
)

// now is the database's bookmark.
func now(t *testing.T, s *Store, id ID) string {
	t.Helper()
	mark, err := s.BookmarkAt(t.Context(), account, id, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	return mark
}

// contents is the database as SQL.
func contents(t *testing.T, s *Store, id ID) string {
	t.Helper()
	db, err := s.database(account, id)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "sql")
	if err := db.exclusively(t.Context(), func() error { return db.export(t.Context(), path, ExportOptions{}) }); err != nil {
		t.Fatal(err)
	}
	sql, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(sql)
}

func restore(t *testing.T, s *Store, id ID, mark string) Restored {
	t.Helper()
	r, err := s.Restore(t.Context(), account, id, mark, time.Time{})
	if err != nil {
		t.Fatalf("restore %s: %v", mark, err)
	}
	return r
}

func TestTimeTravel(t *testing.T) {
	clock := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	dir := t.TempDir()
	o := Options{Now: func() time.Time { return clock }}
	s := openStore(t, dir, o)
	id := newDatabase(t, s, "one")
	empty := now(t, s, id)
	clock = clock.Add(time.Second)
	want(t, s, id, "CREATE TABLE t (a); INSERT INTO t VALUES (1)", "[]")
	one := now(t, s, id)
	clock = clock.Add(1500 * time.Millisecond)
	want(t, s, id, "CREATE TABLE u (a); UPDATE t SET a = 2", "[]")
	two := now(t, s, id)
	if !(empty < one && one < two) {
		t.Errorf("%s, %s, %s do not sort", empty, one, two)
	}
	for ago, mark := range map[time.Duration]string{2: empty, 1499: one, 1: one, 0: two} {
		if got, err := s.BookmarkAt(t.Context(), account, id, clock.Add(-ago*time.Millisecond)); ago != 2 && (err != nil || got != mark) {
			t.Errorf("%d ms ago: %s, %v; want %s", ago, got, err, mark)
		}
	}
	r := restore(t, s, id, one)
	if r.Previous != two || r.Bookmark <= two || r.From != one || r.Bookmark != now(t, s, id) {
		t.Errorf("%+v after %s", r, two)
	}
	want(t, s, id, "SELECT * FROM t", "[[1]]")
	fails(t, s, id, "SELECT * FROM u", "no such table")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, dir, o)
	restore(t, s, id, empty)
	fails(t, s, id, "SELECT * FROM t", "no such table")
	restore(t, s, id, r.Previous)
	want(t, s, id, "SELECT * FROM t, (SELECT count(*) FROM u)", "[[2,0]]")
	clock = clock.Add(time.Second)
	if _, err := s.Restore(t.Context(), account, id, "", clock.Add(-2500*time.Millisecond)); err != nil {
		t.Error(err)
	}
	want(t, s, id, "SELECT * FROM t", "[[1]]")

	other := newDatabase(t, s, "two")
	want(t, s, other, "CREATE TABLE t (a)", "[]")
	foreign := now(t, s, other)
	for _, mark := range []string{"", "x", foreign, bookmarkOf(history.Mark(7)).text(id)} {
		if _, err := s.Restore(t.Context(), account, id, mark, clock.Add(time.Hour)); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%q: %v", mark, err)
		}
	}
	for _, at := range []time.Time{clock.Add(time.Second), clock.Add(-31 * 24 * time.Hour), clock.Add(-time.Hour)} {
		if _, err := s.BookmarkAt(t.Context(), account, id, at); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", at, err)
		}
	}
	if _, err := s.Restore(t.Context(), "ffffffffffffffffffffffffffffffff", id, one, time.Time{}); fault.KindOf(err) != fault.NotFound {
		t.Error(err)
	}
	want(t, s, id, "SELECT * FROM t", "[[1]]")
	if err := s.Delete(t.Context(), account, id); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "d1", string(id)+"*")); len(left) > 0 {
		t.Errorf("a deleted database has left %s", left)
	}
}

// TestTravelAnywhere writes at random, closes, opens and thins, and goes back to every bookmark there was.
func TestTravelAnywhere(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if n, err := strconv.ParseUint(os.Getenv("D1_TEST_SEED"), 10, 64); err == nil {
		seed = n
	}
	t.Log("D1_TEST_SEED =", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	clock := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	o := Options{Now: func() time.Time { return clock }, history: history.Options{FileBytes: 40_000}}
	dir := t.TempDir()
	s := openStore(t, dir, o)
	id := newDatabase(t, s, "one")
	want(t, s, id, "CREATE TABLE t (a INTEGER PRIMARY KEY, b, c)", "[]")
	states := map[string]string{}
	var marks []string
	remember := func() {
		mark := now(t, s, id)
		if states[mark] = contents(t, s, id); len(marks) == 0 || marks[len(marks)-1] < mark {
			marks = append(marks, mark)
		} else if marks[len(marks)-1] > mark {
			t.Fatalf("%s after %s", mark, marks[len(marks)-1])
		}
	}
	remember()
	steps := 80 // each restore is history too, so that this is more than linear
	if n, err := strconv.Atoi(os.Getenv("D1_TEST_STEPS")); err == nil {
		steps = n
	}
	for i := range steps {
		clock = clock.Add(time.Duration(random.IntN(40_000)) * time.Millisecond)
		switch k := random.IntN(20); {
		case k < 6:
			results(t, s, id, fmt.Sprintf("INSERT INTO t (b, c) SELECT value, randomblob(%d) FROM json_each('[1,2,3,4,5,6,7,8]')", random.IntN(3000)))
		case k < 10:
			results(t, s, id, fmt.Sprintf("UPDATE t SET c = randomblob(%d) WHERE a %% 7 = %d", random.IntN(9000), random.IntN(7)))
		case k < 13:
			results(t, s, id, fmt.Sprintf("DELETE FROM t WHERE a %% 5 = %d", random.IntN(5)))
		case k < 15:
			results(t, s, id, fmt.Sprintf("CREATE TABLE IF NOT EXISTS u%d AS SELECT * FROM t LIMIT 50", random.IntN(4)))
		case k < 16:
			results(t, s, id, fmt.Sprintf("DROP TABLE IF EXISTS u%d; CREATE INDEX IF NOT EXISTS i ON t (b)", random.IntN(4)))
		case k < 17:
			results(t, s, id, "PRAGMA optimize; ANALYZE")
			results(t, s, id, "PRAGMA optimize")
		case k < 18: // a transaction that does not fit into memory, and one that fails
			results(t, s, id, "CREATE TABLE big AS SELECT randomblob(100000) FROM json_each('[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30]'); DELETE FROM big; DROP TABLE big; SELECT nope")
			results(t, s, id, "CREATE TABLE big AS SELECT randomblob(100000) FROM json_each('[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30]'); DROP TABLE big")
		case k < 19:
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = openStore(t, dir, o)
		default:
			mark := marks[random.IntN(len(marks))]
			r := restore(t, s, id, mark)
			if got := contents(t, s, id); got != states[mark] {
				t.Fatalf("step %d: %s is %d bytes, and was %d", i, mark, len(got), len(states[mark]))
			}
			if r.Previous != marks[len(marks)-1] {
				t.Fatalf("the previous bookmark is %s, not %s", r.Previous, marks[len(marks)-1])
			}
		}
		remember()
	}
	check := func(mark string) {
		t.Helper()
		restore(t, s, id, mark)
		if got := contents(t, s, id); got != states[mark] {
			t.Fatalf("%s is %d bytes, and was %d", mark, len(got), len(states[mark]))
		}
		want(t, s, id, "PRAGMA quick_check", `[["ok"]]`)
	}
	for _, i := range random.Perm(len(marks))[:15] {
		check(marks[i])
	}
	// Thinned, each minute's last is there still.
	db, _ := s.database(account, id)
	before := db.history.Bytes()
	clock = clock.Add(3 * 24 * time.Hour)
	want(t, s, id, "CREATE TABLE last (a)", "[]")
	s.ageHistory(t.Context())
	t.Logf("%d bytes, thinned %d, of %d marks", before, db.history.Bytes(), len(marks))
	if db.history.Bytes() >= before || db.owner.history.Load() != db.history.Bytes() {
		t.Errorf("%d bytes became %d, which count as %d", before, db.history.Bytes(), db.owner.history.Load())
	}
	checked := 0
	for i, mark := range marks {
		b, err := parseBookmark(id, mark)
		if err != nil {
			t.Fatal(err)
		}
		minute := b.second / 60
		if i+1 < len(marks) {
			next, _ := parseBookmark(id, marks[i+1])
			if next.second/60 == minute {
				if _, err := s.Restore(t.Context(), account, id, mark, time.Time{}); err == nil {
					continue // where a file began
				} else if fault.KindOf(err) != fault.Invalid {
					t.Fatal(err)
				} else {
					continue
				}
			}
		}
		if checked++; checked < 12 {
			check(mark)
		}
	}
	s.opts.HistoryAge = 24 * time.Hour
	s.ageHistory(t.Context())
	if _, err := s.Restore(t.Context(), account, id, marks[0], time.Time{}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a bookmark that is too old: %v", err)
	}
}

// TestHistoryBound has many databases write more history than their account may have.
func TestHistoryBound(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{HistoryBytes: 300_000, history: history.Options{FileBytes: 20_000}})
	one, two := newDatabase(t, s, "one"), newDatabase(t, s, "two")
	for _, id := range []ID{one, two} {
		want(t, s, id, "CREATE TABLE t (a); INSERT INTO t VALUES (randomblob(50000))", "[]")
	}
	var marks []string
	for range 30 {
		for _, id := range []ID{one, two} {
			want(t, s, id, "UPDATE t SET a = randomblob(50000)", "[]")
		}
		marks = append(marks, now(t, s, one))
		o := s.accounts[account]
		if n := o.history.Load(); n > 300_000 || n <= 0 {
			t.Fatalf("%d bytes of history", n)
		}
	}
	if _, err := s.Restore(t.Context(), account, one, marks[0], time.Time{}); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "The oldest is ") {
		t.Error(err)
	}
	restore(t, s, one, marks[28])
	// One commit that is more than there may be.
	want(t, s, two, "INSERT INTO t SELECT randomblob(50000) FROM json_each('[1,2,3,4,5,6,7,8,9]')", "[]")
	want(t, s, two, "UPDATE t SET a = randomblob(50000)", "[]")
	if n := s.accounts[account].history.Load(); n > 300_000 {
		t.Fatalf("%d bytes of history", n)
	}
	restore(t, s, two, now(t, s, two))
	want(t, s, two, "SELECT count(*) FROM t", "[[10]]")
}

func TestRestoreWhileOthersCall(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{})
	id := newDatabase(t, s, "one")
	want(t, s, id, "CREATE TABLE t (a); INSERT INTO t VALUES (0)", "[]")
	mark := now(t, s, id)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan string, 1)
	go func() {
		last := mark
		for ctx.Err() == nil {
			a, err := s.Query(t.Context(), account, id, []Query{{SQL: "UPDATE t SET a = a + 1"}}, Columns)
			if err != nil || a.Bookmark <= last {
				done <- fmt.Sprint(err, " after ", last)
				return
			}
			last = a.Bookmark
			a.Release()
		}
		done <- ""
	}()
	for range 20 {
		r := restore(t, s, id, mark)
		if r.Bookmark <= r.Previous {
			t.Error(r)
		}
	}
	stop()
	if wrong := <-done; wrong != "" {
		t.Error(wrong)
	}
	restore(t, s, id, mark)
	want(t, s, id, "SELECT * FROM t", "[[0]]")
}
