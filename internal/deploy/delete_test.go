package deploy

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/store"
)

func TestDeleteTagged(t *testing.T) {
	b := newBench(t, Options{})
	ctx := context.Background()
	user := func(name string) atoll.ScriptRef {
		return atoll.ScriptRef{Account: acct, Namespace: prod, Name: atoll.ScriptName(name)}
	}
	for i := range 5 {
		b.deployed(t, user(fmt.Sprint("old-", i)), `{"main_module":"w.js","tags":["old"]}`, "w.js", fetch)
	}
	b.deployed(t, user("kept"), `{"main_module":"w.js","tags":["old","keep"]}`, "w.js", fetch)
	b.deployed(t, user("new"), `{"main_module":"w.js","tags":["new"]}`, "w.js", fetch)
	filter := []store.TagTerm{{Tag: "old", Want: true}, {Tag: "keep", Want: false}}

	_, _, err := b.DeleteTagged(ctx, acct, prod, nil, 0)
	refused(t, err, 10021, "needs a tag filter")
	_, _, err = b.DeleteTagged(ctx, acct, "nope", filter, 0)
	refused(t, err, 100119, "")

	deleted, more, err := b.DeleteTagged(ctx, acct, prod, filter, 3)
	ok(t, err)
	if !more || !slices.Equal(deleted, []atoll.ScriptName{"old-0", "old-1", "old-2"}) {
		t.Errorf("deleted %v, more %v", deleted, more)
	}
	if b.run.serving(t, user("old-0")) != nil || b.run.serving(t, user("old-3")) == nil {
		t.Error("what serves is not what is there")
	}
	deleted, more, err = b.DeleteTagged(ctx, acct, prod, filter, 3)
	ok(t, err)
	if more || len(deleted) != 2 {
		t.Errorf("deleted %v, more %v", deleted, more)
	}
	for _, name := range []string{"kept", "new"} {
		if b.run.serving(t, user(name)) == nil {
			t.Errorf("%s is gone", name)
		}
	}
}

// A change that is under way when its script is deleted is done first: it does not bring the script back.
func TestDeleteTagged_duringChange(t *testing.T) {
	b := newBench(t, Options{})
	ctx := context.Background()
	b.deployed(t, cust, `{"main_module":"w.js","tags":["old"]}`, "w.js", fetch)
	type result struct {
		deleted []atoll.ScriptName
		err     error
	}
	done := make(chan result)
	b.run.whileStarting(func(*atoll.Version) {
		go func() {
			deleted, _, err := b.DeleteTagged(ctx, acct, prod, []store.TagTerm{{Tag: "old", Want: true}}, 0)
			done <- result{deleted, err}
		}()
		b.waitForQueue(cust, 2)
	})
	_, err := b.PutSecret(ctx, cust, secret(t, "S", "x"), "api")
	ok(t, err)
	r := <-done
	ok(t, r.err)
	if len(r.deleted) != 1 || b.run.serving(t, cust) != nil {
		t.Errorf("deleted %v, serving %v", r.deleted, b.run.serving(t, cust))
	}

	// And one whose tags change meanwhile stays.
	b.run.whileStarting(nil)
	b.deployed(t, cust, `{"main_module":"w.js","tags":["old"]}`, "w.js", fetch)
	release, err := b.locks.acquire(ctx, cust)
	ok(t, err)
	go func() {
		deleted, _, err := b.DeleteTagged(ctx, acct, prod, []store.TagTerm{{Tag: "old", Want: true}}, 0)
		done <- result{deleted, err}
	}()
	b.waitForQueue(cust, 2)
	_, err = b.store.SetTags(ctx, cust, []string{"saved"})
	ok(t, err)
	release()
	if r := <-done; r.err != nil || len(r.deleted) != 0 || b.run.serving(t, cust) == nil {
		t.Errorf("deleted %v, %v", r.deleted, r.err)
	}
}
