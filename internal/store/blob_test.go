package store

import (
	"errors"
	"iter"
	"slices"
	"testing"
	"time"

	"atoll.dev/atoll/internal/atoll"
)

// blobs yields the hashes of all blobs at hand.
func blobs(hashes ...string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, h := range hashes {
			if !yield(h, nil) {
				return
			}
		}
	}
}

// collectInto keeps what was removed.
func collectInto(removed *[]string) func(string) (bool, error) {
	return func(hash string) (bool, error) {
		*removed = append(*removed, hash)
		return true, nil
	}
}

func TestCollectBlobs(t *testing.T) {
	db := filled(t)
	ctx := t.Context()
	for _, name := range []string{"a", "b", "c"} {
		put(t, db, user(name))
	}
	a, b, never := hashOf(user("a")), hashOf(user("b")), hashOf(user("never"))
	// c's module in a second script: it stays when c goes
	_, err := db.PutVersion(ctx, user("d"), &atoll.Version{Modules: []atoll.Module{{Name: "m", Hash: hashOf(user("c"))}, {Name: "n", Hash: hashOf(user("c"))}}}, ScriptChange{})
	ok(t, err)
	ok(t, db.DeleteScript(ctx, user("b")))
	ok(t, db.DeleteScript(ctx, user("c")))
	rows(t, db, map[string]int{"orphans": 1})

	everything := blobs(a, b, hashOf(user("c")), never)
	var removed []string
	n, err := db.CollectBlobs(ctx, everything, time.Now().Add(-time.Hour), collectInto(&removed))
	ok(t, err)
	equal(t, n, 1)
	equal(t, removed, []string{never}) // b was in use a moment ago
	n, err = db.CollectBlobs(ctx, everything, time.Now().Add(time.Hour), collectInto(&removed))
	ok(t, err)
	equal(t, n, 2)
	equal(t, removed, []string{never, b, never})
	rows(t, db, map[string]int{"orphans": 0})

	put(t, db, user("b"))
	ok(t, db.DeleteScript(ctx, user("b")))
	put(t, db, user("b")) // in use again
	rows(t, db, map[string]int{"orphans": 0})
	n, err = db.CollectBlobs(ctx, blobs(b), time.Now().Add(time.Hour), collectInto(&removed))
	ok(t, err)
	equal(t, n, 0)
}

func TestCollectBlobsMany(t *testing.T) {
	db := filled(t)
	var all, removed []string
	for i := range 2*collectChunk + 1 {
		all = append(all, hashOf(user(string(rune('a'+i)))))
	}
	n, err := db.CollectBlobs(t.Context(), blobs(all...), time.Now(), func(hash string) (bool, error) {
		removed = append(removed, hash)
		return hash != all[0], nil
	})
	ok(t, err)
	equal(t, n, len(all)-1)
	if !slices.Equal(removed, all) {
		t.Error("not all were asked for")
	}
	n, err = db.CollectBlobs(t.Context(), blobs(), time.Now(), nil)
	ok(t, err)
	equal(t, n, 0)
}

func TestCollectBlobsFails(t *testing.T) {
	db := filled(t)
	boom := errors.New("boom")
	for name, c := range map[string]struct {
		hashes iter.Seq2[string, error]
		remove func(string) (bool, error)
	}{
		"listing":  {func(yield func(string, error) bool) { yield("", boom) }, nil},
		"removing": {blobs(hashOf(user("a"))), func(string) (bool, error) { return false, boom }},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := db.CollectBlobs(t.Context(), c.hashes, time.Now(), c.remove); !errors.Is(err, boom) {
				t.Error(err)
			}
		})
	}
	if _, err := db.CollectBlobs(t.Context(), blobs("no hash"), time.Now(), nil); err == nil {
		t.Error("took a hash that is none")
	}
}
