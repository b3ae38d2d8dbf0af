package deploy

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/upload"
)

// waitForQueue waits until n calls hold or want the script's turn.
func (b *bench) waitForQueue(ref atoll.ScriptRef, n int) {
	for {
		b.locks.mu.Lock()
		k := b.locks.held[ref]
		users := 0
		if k != nil {
			users = k.users
		}
		b.locks.mu.Unlock()
		if users >= n {
			return
		}
		runtime.Gosched()
	}
}

// Two changes of one script happen one after another, and none is lost; of two scripts, both at once.
func TestConcurrency(t *testing.T) {
	b := newBench(t, Options{Starting: 64})
	ctx := context.Background()
	const scripts, secrets = 4, 8
	ref := func(i int) atoll.ScriptRef {
		return atoll.ScriptRef{Account: acct, Namespace: prod, Name: atoll.ScriptName(fmt.Sprint("s", i))}
	}
	for i := range scripts {
		b.deployed(t, ref(i), `{"main_module":"w.js"}`, "w.js", fetch)
	}
	var mu sync.Mutex
	running := map[string]int{} // by Etag, which differs for each script below
	b.run.whileStarting(func(v *atoll.Version) {
		mu.Lock()
		running[v.MainModule]++
		if running[v.MainModule] > 1 {
			t.Errorf("two versions of %s start at once", v.MainModule)
		}
		mu.Unlock()
		runtime.Gosched()
		mu.Lock()
		running[v.MainModule]--
		mu.Unlock()
	})
	for i := range scripts {
		name := fmt.Sprintf("w%d.js", i)
		b.deployed(t, ref(i), `{"main_module":"`+name+`"}`, name, fetch)
	}
	var wg sync.WaitGroup
	for i := range scripts {
		for n := range secrets {
			wg.Go(func() {
				if _, err := b.PutSecret(ctx, ref(i), secret(t, fmt.Sprint("S", n), "x"), "api"); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	for i := range scripts {
		s, err := b.store.Script(ctx, ref(i))
		ok(t, err)
		if len(s.Version.Bindings) != secrets || s.Version.Number != 2+secrets {
			t.Errorf("%s has %s in version %d", s.Ref, bindings(s.Version), s.Version.Number)
		}
	}
	if len(b.locks.held) != 0 {
		t.Errorf("locks are left: %v", b.locks.held)
	}
}

// Uploads of a script that does not exist yet: one makes it, the others follow.
func TestConcurrency_first(t *testing.T) {
	b := newBench(t, Options{})
	var wg sync.WaitGroup
	for i := range 10 {
		up := form(t, `{"main_module":"w.js"}`, "w.js", fmt.Sprint("handlers: fetch h", i))
		wg.Go(func() {
			if _, _, err := b.Upload(context.Background(), cust, up, UploadOptions{Deploy: true}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	s, err := b.store.Script(context.Background(), cust)
	ok(t, err)
	if s.Version.Number != 10 {
		t.Errorf("the last version is %d", s.Version.Number)
	}
	if got := b.run.serving(t, cust); got.ID != s.Active {
		t.Error("what serves is not what is active")
	}
}

func TestLocks_cancelled(t *testing.T) {
	var l locks
	release, err := l.acquire(context.Background(), cust)
	ok(t, err)
	ctx, cancel := context.WithCancelCause(context.Background())
	why := errors.New("client left")
	cancel(why)
	if _, err := l.acquire(ctx, cust); !errors.Is(err, why) {
		t.Errorf("error is %v", err)
	}
	release()
	release, err = l.acquire(context.Background(), cust)
	ok(t, err)
	release()
	if len(l.held) != 0 {
		t.Errorf("locks are left: %v", l.held)
	}
}

// What has started before, with the same settings, is accepted without a start.
func TestMemo(t *testing.T) {
	b := newBench(t, Options{Engine: "1"})
	ref := func(name string) atoll.ScriptRef {
		return atoll.ScriptRef{Account: acct, Namespace: prod, Name: atoll.ScriptName(name)}
	}
	const plain = `{"main_module":"w.js","bindings":[{"type":"plain_text","name":"P","text":"x"},{"type":"secret_text","name":"S","text":"s"}]}`
	expect := func(what string, starts int, do func()) {
		t.Helper()
		was := b.run.started()
		do()
		if got := b.run.started() - was; got != starts {
			t.Errorf("%s: %d starts, want %d", what, got, starts)
		}
	}
	put := func(name, metadata string, modules ...string) func() {
		return func() {
			if s := b.deployed(t, ref(name), metadata, modules...); len(s.Version.Handlers) == 0 || s.Version.StartupMs != 7 {
				t.Errorf("version is %+v", s.Version)
			}
		}
	}
	expect("first", 1, put("a", plain, "w.js", fetch))
	expect("again", 0, put("a", plain, "w.js", fetch))
	expect("another script", 0, put("b", plain, "w.js", fetch))
	expect("with tags, limits and a source map", 0, put("b", `{"tags":["x"],"limits":{"cpu_ms":5},`+plain[1:], "w.js", fetch, "w.js.map", "{}"))
	expect("other code", 1, put("a", plain, "w.js", "handlers: queue"))
	expect("a further module", 1, put("a", plain, "w.js", fetch, "t.txt", "x"))
	expect("a flag", 1, put("a", `{"compatibility_flags":["f"],`+plain[1:], "w.js", fetch))
	expect("a date", 1, put("a", `{"compatibility_date":"2024-01-01",`+plain[1:], "w.js", fetch))
	expect("a variable", 1, put("a", `{"main_module":"w.js","bindings":[{"type":"plain_text","name":"P","text":"y"},{"type":"secret_text","name":"S","text":"s"}]}`, "w.js", fetch))
	expect("a secret", 1, put("a", `{"main_module":"w.js","bindings":[{"type":"plain_text","name":"P","text":"x"},{"type":"secret_text","name":"S","text":"t"}]}`, "w.js", fetch))
	expect("trust", 1, func() { b.deployed(t, front, plain, "w.js", fetch) })
	expect("a failure is not remembered", 2, func() {
		for range 2 {
			refused(t, b.upload(t, ref("c"), `{"main_module":"w.js"}`, "w.js", "throw: x"), 10021, "x")
		}
	})
	expect("a restart of the node forgets secrets", 1, func() {
		b.Service = New(nil, b.store, b.blobs, b.run, b.res, Options{Engine: "1"})
		put("a", plain, "w.js", fetch)()
	})
	const open = `{"main_module":"w.js"}`
	expect("and nothing else", 1, func() {
		put("a", open, "w.js", fetch)()
		b.Service = New(nil, b.store, b.blobs, b.run, b.res, Options{Engine: "1"})
		put("a", open, "w.js", fetch)()
	})
	expect("another engine", 1, func() {
		b.Service = New(nil, b.store, b.blobs, b.run, b.res, Options{Engine: "2"})
		put("a", open, "w.js", fetch)()
	})
}

// Starts wait for a place, and a client that leaves meanwhile gives its own up.
func TestStarting(t *testing.T) {
	b := newBench(t, Options{Starting: 1})
	b.starting <- struct{}{}
	ctx, cancel := context.WithCancelCause(context.Background())
	why := errors.New("client left")
	cancel(why)
	d := draft{ref: cust, version: atoll.Version{}, files: []upload.File{}}
	if _, err := b.start(ctx, &d); !errors.Is(err, why) {
		t.Errorf("error is %v", err)
	}
}
