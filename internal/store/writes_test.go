package store

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/sqlite"
)

// execute runs one statement, such as no method of the store would.
func execute(ctx context.Context, db *DB, query string, args ...any) error {
	return db.write(ctx, func(ctx context.Context, tx sqlite.Session) error {
		_, err := sqlite.Run(ctx, tx, query, args...)
		return err
	})
}

func TestFullDisk(t *testing.T) {
	db := filled(t)
	ctx := t.Context()
	kept := put(t, db, user("kept"))
	limit := func(pages int) {
		ok(t, db.write(ctx, func(ctx context.Context, tx sqlite.Session) error {
			_, err := sqlite.One(ctx, tx, sqlite.Value[int], fmt.Sprintf("PRAGMA max_page_count = %d", pages))
			return err
		}))
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
