package sqlite

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

// together makes the changes queue up behind a lead that the test holds, so that they share a transaction, and returns
// their errors.
func together(t *testing.T, db *DB, contexts []context.Context, fns ...func(ctx context.Context, tx Session) error) []error {
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
		wg.Go(func() { errs[i] = db.Write(ctx, fn) })
		for queued := 0; queued != i+1; runtime.Gosched() {
			w.mu.Lock()
			queued = w.queue.Len()
			w.mu.Unlock()
		}
	}
	w.lead <- struct{}{}
	wg.Wait()
	return errs
}

// note returns a change that leaves a trace, and then fails if it is told to.
func note(name string, err error) func(ctx context.Context, tx Session) error {
	return func(ctx context.Context, tx Session) error {
		if _, err := Run(ctx, tx, "INSERT INTO notes VALUES (?, NULL)", name); err != nil {
			return err
		}
		return err
	}
}

func notes(t *testing.T, db *DB) string {
	t.Helper()
	names, err := All(t.Context(), db.reads, Value[string], "SELECT name FROM notes ORDER BY name")
	ok(t, err)
	return strings.Join(names, " ")
}

func TestFailedChangeLeavesTheOthers(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "notes.db"))
	boom := errors.New("boom")
	var txs []int
	count := func(fn func(ctx context.Context, tx Session) error) func(ctx context.Context, tx Session) error {
		return func(ctx context.Context, tx Session) error {
			n, err := One(ctx, tx, Value[int], "SELECT count(*) FROM notes")
			txs = append(txs, n)
			return errors.Join(err, fn(ctx, tx))
		}
	}
	errs := together(t, db, nil, count(note("a", nil)), count(note("b", boom)), count(note("c", nil)), count(note("a", nil)), count(note("d", nil)),
		func(ctx context.Context, tx Session) error { note("e", nil)(ctx, tx); panic("bug") },
		count(note("f", nil)))
	for i, wantErr := range []bool{false, true, false, true, false, true, false} {
		if (errs[i] != nil) != wantErr {
			t.Errorf("change %d: %v", i, errs[i])
		}
	}
	if !errors.Is(errs[1], boom) {
		t.Error(errs[1])
	}
	has(t, db, "a c d f")
	if want := []int{0, 1, 1, 2, 2, 3}; !slices.Equal(txs, want) {
		t.Errorf("the changes saw %v notes, want %v", txs, want)
	} // each sees the ones before it
}

func TestFailedChangeAloneLeavesNothing(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "notes.db"))
	boom := errors.New("boom")
	if err := db.Write(t.Context(), note("a", boom)); !errors.Is(err, boom) {
		t.Error(err)
	}
	ok(t, db.Write(t.Context(), note("b", nil)))
	has(t, db, "b")
}

func TestCancelledChange(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "notes.db"))
	gone := errors.New("client went away")
	before, cancel := context.WithCancelCause(context.Background())
	cancel(gone)
	during, cancelDuring := context.WithCancelCause(context.Background())
	errs := together(t, db, []context.Context{before, during, context.Background()},
		note("before", nil),
		func(ctx context.Context, tx Session) error {
			cancelDuring(gone) // too late
			return note("during", nil)(ctx, tx)
		},
		note("none", nil))
	if !errors.Is(errs[0], gone) || errs[1] != nil || errs[2] != nil {
		t.Error(errs)
	}
	has(t, db, "during none")
}

func TestFailedCommitFailsAll(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "notes.db"))
	// a foreign key checked at commit: what the batch did before cannot be kept
	deferred := func(ctx context.Context, tx Session) error {
		if _, err := Run(ctx, tx, "PRAGMA defer_foreign_keys = 1"); err != nil {
			return err
		}
		_, err := Run(ctx, tx, "INSERT INTO notes VALUES ('orphan', 'no such note')")
		return err
	}
	boom := errors.New("boom")
	errs := together(t, db, nil, note("a", nil), note("b", boom), deferred)
	if errs[0] == nil || !errors.Is(errs[1], boom) || errs[2] == nil {
		t.Error(errs)
	}
	has(t, db, "")
	ok(t, db.Write(t.Context(), note("c", nil)))
	has(t, db, "c")
}

func TestBatchesAreBounded(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "notes.db"))
	fns := make([]func(ctx context.Context, tx Session) error, maxBatch+10)
	for i := range fns {
		fns[i] = note(fmt.Sprintf("%04d", i), nil)
	}
	for _, err := range together(t, db, nil, fns...) {
		ok(t, err)
	}
	if n := len(strings.Fields(notes(t, db))); n != maxBatch+10 {
		t.Errorf("%d notes, want %d", n, maxBatch+10)
	}
}

func TestCloseFailsWhatIsQueued(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "notes.db"))
	<-db.writes.lead
	failed := make(chan error)
	go func() { failed <- db.Write(context.Background(), note("late", nil)) }()
	closed := make(chan error)
	go func() { closed <- db.Close() }()
	db.writes.lead <- struct{}{}
	ok(t, <-closed)
	if err := <-failed; err != nil && !errors.Is(err, ErrClosed) { // it may have come first
		t.Error(err)
	}
}

// Whoever writes once waits for no more than one write of who writes a thousand times.
func TestTenantsTakeTurns(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "notes.db"))
	w := db.writes
	<-w.lead
	var order []string // only the lead touches it
	var wg sync.WaitGroup
	queued := 0
	write := func(tenant any, name string) {
		wg.Go(func() {
			err := db.WriteFor(t.Context(), tenant, func(ctx context.Context, tx Session) error {
				order = append(order, name)
				return note(name, nil)(ctx, tx)
			})
			if err != nil {
				t.Error(err)
			}
		})
		queued++
		for n := 0; n != queued; runtime.Gosched() {
			w.mu.Lock()
			n = w.queue.Len()
			w.mu.Unlock()
		}
	}
	for i := range maxBatch + 44 {
		write("flood", fmt.Sprint("flood", i))
	}
	write("alice", "alice")
	write(nil, "node")
	w.lead <- struct{}{}
	wg.Wait()
	if len(order) != queued || order[1] != "alice" || order[2] != "node" || order[0] != "flood0" || order[3] != "flood1" {
		t.Errorf("%d writes came in the order of %q ...", len(order), order[:4])
	}
}
