package store

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
)

// together makes the changes queue up behind a lead that the test holds, so that they share a transaction, and returns
// their errors.
func together(t *testing.T, db *DB, contexts []context.Context, fns ...func(ctx context.Context, tx session) error) []error {
	t.Helper()
	w := db.writes
	<-w.lead
	errs := make([]error, len(fns))
	var wg sync.WaitGroup
	for i, fn := range fns {
		ctx := context.Background()
		if contexts != nil {
			ctx = contexts[i]
		}
		wg.Go(func() { errs[i] = db.write(ctx, fn) })
		for queued := 0; queued != i+1; runtime.Gosched() {
			w.mu.Lock()
			queued = len(w.queue)
			w.mu.Unlock()
		}
	}
	w.lead <- struct{}{}
	wg.Wait()
	return errs
}

// note returns a change that leaves a trace, and then fails if it is told to.
func note(name string, err error) func(ctx context.Context, tx session) error {
	return func(ctx context.Context, tx session) error {
		if _, err := run(ctx, tx, "INSERT INTO meta VALUES (?, x'00')", name); err != nil {
			return err
		}
		return err
	}
}

func notes(t *testing.T, db *DB) string {
	t.Helper()
	names, err := all(t.Context(), db.reads, value[string], "SELECT name FROM meta WHERE name <> 'key_check' ORDER BY name")
	ok(t, err)
	return strings.Join(names, " ")
}

func TestFailedChangeLeavesTheOthers(t *testing.T) {
	db := open(t, t.TempDir())
	boom := errors.New("boom")
	var txs []int
	count := func(fn func(ctx context.Context, tx session) error) func(ctx context.Context, tx session) error {
		return func(ctx context.Context, tx session) error {
			n, err := one(ctx, tx, value[int], "SELECT count(*) FROM meta")
			txs = append(txs, n)
			return errors.Join(err, fn(ctx, tx))
		}
	}
	errs := together(t, db, nil, count(note("a", nil)), count(note("b", boom)), count(note("c", nil)), count(note("a", nil)), count(note("d", nil)),
		func(ctx context.Context, tx session) error { note("e", nil)(ctx, tx); panic("bug") },
		count(note("f", nil)))
	for i, wantErr := range []bool{false, true, false, true, false, true, false} {
		if (errs[i] != nil) != wantErr {
			t.Errorf("change %d: %v", i, errs[i])
		}
	}
	if !errors.Is(errs[1], boom) {
		t.Error(errs[1])
	}
	equal(t, notes(t, db), "a c d f")
	equal(t, txs, []int{1, 2, 2, 3, 3, 4}) // each sees the ones before it
}

func TestFailedChangeAloneLeavesNothing(t *testing.T) {
	db := open(t, t.TempDir())
	boom := errors.New("boom")
	if err := db.write(t.Context(), note("a", boom)); !errors.Is(err, boom) {
		t.Error(err)
	}
	ok(t, db.write(t.Context(), note("b", nil)))
	equal(t, notes(t, db), "b")
}

func TestCancelledChange(t *testing.T) {
	db := open(t, t.TempDir())
	gone := errors.New("client went away")
	before, cancel := context.WithCancelCause(context.Background())
	cancel(gone)
	during, cancelDuring := context.WithCancelCause(context.Background())
	errs := together(t, db, []context.Context{before, during, context.Background()},
		note("before", nil),
		func(ctx context.Context, tx session) error {
			cancelDuring(gone) // too late
			return note("during", nil)(ctx, tx)
		},
		note("none", nil))
	if !errors.Is(errs[0], gone) || errs[1] != nil || errs[2] != nil {
		t.Error(errs)
	}
	equal(t, notes(t, db), "during none")
}

func TestFailedCommitFailsAll(t *testing.T) {
	db := open(t, t.TempDir())
	// a foreign key checked at commit: what the batch did before cannot be kept
	deferred := func(ctx context.Context, tx session) error {
		if _, err := run(ctx, tx, "PRAGMA defer_foreign_keys = 1"); err != nil {
			return err
		}
		_, err := run(ctx, tx, "INSERT INTO zones VALUES ('z', 'no such account', 'n', 0)")
		return err
	}
	boom := errors.New("boom")
	errs := together(t, db, nil, note("a", nil), note("b", boom), deferred)
	if errs[0] == nil || !errors.Is(errs[1], boom) || errs[2] == nil {
		t.Error(errs)
	}
	equal(t, notes(t, db), "")
	ok(t, db.write(t.Context(), note("c", nil)))
	equal(t, notes(t, db), "c")
}

func TestFullDisk(t *testing.T) {
	db := filled(t)
	ctx := t.Context()
	kept := put(t, db, user("kept"))
	limit := func(pages int) {
		_, err := db.writes.conn.ExecContext(ctx, fmt.Sprintf("PRAGMA max_page_count = %d", pages))
		ok(t, err)
	}
	limit(1) // as many as there are
	big := &atoll.Version{Annotations: map[string]string{"workers/message": strings.Repeat("x", 1<<20)}}
	_, err := db.PutVersion(ctx, user("big"), big, ScriptChange{Deploy: true})
	if fault.KindOf(err) != fault.Full {
		t.Errorf("on a full disk: %v", err)
	}
	s, err := db.Script(ctx, user("kept"))
	ok(t, err)
	equal(t, s.Version, kept)
	limit(1 << 30)
	_, err = db.PutVersion(ctx, user("big"), big, ScriptChange{Deploy: true})
	ok(t, err)
	n, err := db.Namespace(ctx, acct, prod)
	ok(t, err)
	equal(t, n.Scripts, int64(2))
}

func TestBatchesAreBounded(t *testing.T) {
	db := open(t, t.TempDir())
	fns := make([]func(ctx context.Context, tx session) error, maxBatch+10)
	for i := range fns {
		fns[i] = note(fmt.Sprintf("%04d", i), nil)
	}
	for _, err := range together(t, db, nil, fns...) {
		ok(t, err)
	}
	equal(t, len(strings.Fields(notes(t, db))), maxBatch+10)
}

func TestCloseFailsWhatIsQueued(t *testing.T) {
	db := open(t, t.TempDir())
	<-db.writes.lead
	failed := make(chan error)
	go func() { failed <- db.write(context.Background(), note("late", nil)) }()
	closed := make(chan error)
	go func() { closed <- db.Close() }()
	db.writes.lead <- struct{}{}
	ok(t, <-closed)
	if err := <-failed; err != nil && !errors.Is(err, errClosed) { // it may have come first
		t.Error(err)
	}
}

func TestConcurrentWriters(t *testing.T) {
	db := filled(t)
	ctx := t.Context()
	const writers, each = 8, 25
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			own := user(fmt.Sprint("own-", w))
			for range each {
				put(t, db, own, "t")
				v := put(t, db, user("shared"), fmt.Sprint("w", w))
				got, err := db.Version(ctx, user("shared"), v.ID) // a write that has returned is seen
				if err != nil || got.Number != v.Number {
					t.Errorf("read after write: %v", err)
				}
				if _, _, err := db.Scripts(ctx, acct, prod, ScriptFilter{Tags: []TagTerm{{"t", true}}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	_, total, err := db.Versions(ctx, user("shared"), 0, 0)
	ok(t, err)
	equal(t, total, keepVersions)
	s, err := db.Script(ctx, user("shared"))
	ok(t, err)
	equal(t, s.Version.Number, writers*each)
	n, err := db.Namespace(ctx, acct, prod)
	ok(t, err)
	equal(t, n.Scripts, int64(writers+1))
}
