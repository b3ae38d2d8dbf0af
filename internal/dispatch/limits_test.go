package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/dispatch"
	"atoll.dev/atoll/internal/hop"
	"atoll.dev/atoll/internal/invocation"
)

func TestMemory(t *testing.T) {
	r := newRig(t, dispatch.Options{})
	r.put(user("alice"), `export default { async fetch(request) {
		const kept = [];
		switch (new URL(request.url).pathname) {
		case "/heap": for (;;) kept.push(new Array(1e5).fill(Math.random()));
		case "/buffer": for (;;) { kept.push(new Uint8Array(8 << 20).fill(1)); await scheduler.wait(1); }
		case "/wasm": { const m = new WebAssembly.Memory({ initial: 1 }); for (;;) { const at = m.buffer.byteLength; m.grow(128); new Uint8Array(m.buffer, at).fill(1); await scheduler.wait(1); } }
		case "/within": kept.push(new Uint8Array(60 << 20).fill(1)); return new Response("fits");
		}
		return new Response("up");
	} }`)
	r.want(user("alice"), "/within", "fits")
	for _, target := range []string{"/heap", "/buffer", "/wasm"} {
		if _, err := r.do(user("alice"), &hop.Request{Method: "GET", Target: target}); !errors.Is(err, dispatch.ErrMemory) {
			t.Errorf("%s: %v", target, err)
		}
		r.want(user("alice"), "/", "up")
	}
}

// A script whose invocations are ended has half of the time: whoever asks it again waits. A platform Worker has all of it.
func TestCooldown(t *testing.T) {
	r := newRig(t, dispatch.Options{MaxPerCores: 1})
	const script = `export default { fetch(request) { if (new URL(request.url).pathname === "/spin") for (;;); return new Response("up"); } }`
	ask := func(ctx context.Context, ref atoll.ScriptRef, path string, cpu time.Duration) error {
		reply, err := r.Do(ctx, dispatch.Call{Script: ref, Request: &hop.Request{Method: "GET", Target: path, Host: "a"}, Proto: "http",
			Limits: invocation.Limits{CPU: cpu}})
		if err == nil {
			reply.Close()
		}
		return err
	}
	spin := func(ref atoll.ScriptRef, cpu time.Duration) {
		if err := ask(t.Context(), ref, "/spin", cpu); !errors.Is(err, dispatch.ErrCPU) {
			t.Errorf("a loop in %s: %v", ref, err)
		}
	}
	within := func(d time.Duration, ref atoll.ScriptRef) error {
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		return ask(ctx, ref, "/", time.Second)
	}
	for _, ref := range []atoll.ScriptRef{user("alice"), platform("dispatcher")} {
		r.put(ref, script)
		spin(ref, time.Second)
	}
	if err := within(500*time.Millisecond, platform("dispatcher")); err != nil {
		t.Errorf("a platform Worker, after a loop of a second: %v", err)
	}
	spin(user("alice"), time.Second)
	if err := within(300*time.Millisecond, user("alice")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a user Worker, just after a loop of a second: %v", err)
	}
	if err := ask(t.Context(), user("alice"), "/", time.Second); err != nil {
		t.Errorf("a user Worker, after its cooldown: %v", err)
	}
	const cpu, rounds = 50 * time.Millisecond, 4
	r.put(user("bob"), script)
	for _, clients := range []int{1, 3} {
		began := time.Now()
		var all sync.WaitGroup
		for range clients {
			all.Go(func() {
				for range rounds {
					spin(user("bob"), cpu)
				}
			})
		}
		all.Wait()
		// After the last round nobody waits.
		if took, least := time.Since(began), time.Duration(clients)*cpu*(2*rounds-2); took < least {
			t.Errorf("%d clients' loops of %s took %s, less than %s", clients*rounds, cpu, took, least)
		}
	}
}

// A user Worker that uses much of a processor yields to all others until it uses little; a platform Worker never does.
func TestMuchYields(t *testing.T) {
	if b, err := os.ReadFile("/proc/sys/kernel/sched_autogroup_enabled"); err != nil || b[0] != '1' {
		t.Skip("the kernel does not group sessions, which shows here what a process's priority is")
	}
	r := newRig(t, dispatch.Options{MaxPerCores: 1})
	const spin = `export default { async fetch(request) {
		if (new URL(request.url).pathname === "/spin") for (let i = 0; i < 60; i++) { for (let n = 0; n < 2e7; n++); await scheduler.wait(0); }
		return new Response("done");
	} }`
	for _, ref := range []atoll.ScriptRef{user("alice"), platform("dispatcher")} {
		r.put(ref, spin)
		r.want(ref, "/", "done")
	}
	nice := func() (list []string) {
		for _, pid := range children(t) {
			b, err := os.ReadFile(fmt.Sprintf("/proc/%d/autogroup", pid))
			if _, n, ok := strings.Cut(strings.TrimSpace(string(b)), " nice "); ok && err == nil && n != "0" {
				list = append(list, n)
			}
		}
		return list
	}
	reached := func(want ...string) {
		t.Helper()
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for deadline := time.After(20 * time.Second); !slices.Equal(nice(), want); {
			select {
			case <-tick.C:
			case <-deadline:
				t.Fatalf("the priorities are %q, want %q", nice(), want)
			}
		}
	}
	var spinning sync.WaitGroup
	for _, ref := range []atoll.ScriptRef{user("alice"), platform("dispatcher")} {
		spinning.Go(func() { r.want(ref, "/spin", "done") })
	}
	reached("15")
	spinning.Wait()
	reached()
}

// children are the processes that this one has started, and theirs.
func children(t *testing.T) (list []int) {
	t.Helper()
	parents := map[int]int{}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range stats {
		b, _ := os.ReadFile(path) // it may be gone
		var pid, parent int
		if _, rest, ok := strings.Cut(string(b), ") "); ok {
			var state string
			fmt.Sscan(rest, &state, &parent)
			fmt.Sscan(string(b), &pid)
			parents[pid] = parent
		}
	}
	for pid := range parents {
		for p := pid; p > 1; p = parents[p] {
			if parents[p] == os.Getpid() {
				list = append(list, pid)
				break
			}
		}
	}
	return list
}

// Without a compiler there is no WebAssembly, and the kernel lets the process have no memory that can be executed; all else
// works.
func TestJitless(t *testing.T) {
	r := newRig(t, dispatch.Options{})
	r.settings.Jitless = true
	r.put(user("alice"), `export default { async fetch(request) {
		let n = 0;
		for (let i = 0; i < 1e5; i++) n += JSON.parse("[1]")[0] + /b+/.exec("abbb")[0].length; // what would be compiled by now
		return new Response(n + " " + typeof WebAssembly); } }`)
	r.want(user("alice"), "/", "400000 undefined")
}

func TestConcurrencyLimit(t *testing.T) {
	r := newRig(t, dispatch.Options{MaxConcurrent: 2})
	r.put(user("alice"), `export default { fetch(r) { if (r.url.endsWith("/hold")) return new Response(new ReadableStream({ pull() { return new Promise(() => {}); } })); return new Response("ok"); } }`)
	var held []*dispatch.Reply
	for range 2 {
		reply, err := r.do(user("alice"), &hop.Request{Method: "GET", Target: "/hold"})
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, reply)
	}
	if _, err := r.do(user("alice"), &hop.Request{Method: "GET", Target: "/"}); !errors.Is(err, dispatch.ErrBusy) {
		t.Errorf("one too many: %v", err)
	}
	for _, reply := range held {
		reply.Close()
	}
	r.want(user("alice"), "/", "ok")
}

func TestWallLimit(t *testing.T) {
	r := newRig(t, dispatch.Options{Wall: 2 * time.Second})
	r.put(user("alice"), `export default { async fetch(r) { await scheduler.wait(60000); return new Response("late"); } }`)
	if _, err := r.do(user("alice"), &hop.Request{Method: "GET", Target: "/"}); !errors.Is(err, dispatch.ErrWall) {
		t.Errorf("got %v", err)
	}
}

func TestSubRequestLimit(t *testing.T) {
	r := newRig(t, dispatch.Options{})
	origin := r.origin(func(w http.ResponseWriter, req *http.Request) { fmt.Fprint(w, req.Host) })
	r.put(user("alice"), `export default { async fetch(request) {
		let n = 0;
		try { for (let i = 0; i < 10; i++) { await (await fetch("`+origin+`")).text(); n++; } } catch (e) { return new Response(n + " " + e.message); }
		return new Response(String(n)); } }`)
	ctx := context.Background()
	var clients sync.WaitGroup
	for _, limit := range []int64{3, 5, 8, 20} {
		clients.Go(func() { // at once, in one process
			for range 5 {
				reply, err := r.Do(ctx, dispatch.Call{Script: user("alice"), Request: &hop.Request{Method: "GET", Target: "/", Host: "a"}, Proto: "http", Limits: invocation.Limits{SubRequests: limit}})
				if err != nil {
					t.Error(err)
					return
				}
				b, _ := io.ReadAll(reply.Body)
				reply.Close()
				want := fmt.Sprintf("%d Too many subrequests.", limit)
				if limit > 10 {
					want = "10"
				}
				if string(b) != want {
					t.Errorf("limit %d: got %q", limit, b)
				}
			}
		})
	}
	clients.Wait()
}

func TestCPULimit(t *testing.T) {
	r := newRig(t, dispatch.Options{})
	r.put(user("alice"), `
		const burn = (ms) => { const end = performance.now; let x = 0; for (let i = 0; i < ms * 1e6; i++) x += i % 7; return x; };
		export default { async fetch(request, env, ctx) { `+id+`
		const path = new URL(request.url).pathname;
		switch (path) {
		case "/loop": for (;;);
		case "/microtasks": { const spin = () => Promise.resolve().then(spin); await spin(); }
		case "/regex": /^(a+)+$/.test("a".repeat(40) + "!"); break;
		case "/catch": try { for (;;); } catch { return new Response("caught"); } finally { for (;;); }
		case "/wait": await scheduler.wait(1000); return new Response("waited " + id);
		case "/after": ctx.waitUntil((async () => { await scheduler.wait(10); for (;;); })()); return new Response("answered");
		case "/builtin": { const big = "[" + "1,".repeat(3e7) + "1]"; JSON.parse(big); break; }
		}
		return new Response(id); } }`)
	call := func(target string, cpu time.Duration) (string, error) {
		reply, err := r.Do(context.Background(), dispatch.Call{Script: user("alice"), Request: &hop.Request{Method: "GET", Target: target, Host: "a"}, Proto: "http", Limits: invocation.Limits{CPU: cpu}})
		if err != nil {
			return "", err
		}
		defer reply.Close()
		b, err := io.ReadAll(reply.Body)
		return string(b), err
	}
	const cpu = 50 * time.Millisecond
	first, err := call("/", cpu)
	if err != nil {
		t.Fatal(err)
	}
	var waiting sync.WaitGroup
	for range 50 {
		waiting.Go(func() {
			if got, err := call("/wait", cpu); err != nil || got != "waited "+first {
				t.Errorf("an innocent request: %q, %v", got, err)
			}
		})
	}
	for _, target := range []string{"/loop", "/microtasks", "/regex", "/catch"} {
		if _, err := call(target, cpu); !errors.Is(err, dispatch.ErrCPU) {
			t.Errorf("%s: %v", target, err)
		}
		if got, err := call("/", cpu); err != nil || got != first {
			t.Errorf("after %s the isolate is not what it was: %q, %v", target, got, err)
		}
	}
	waiting.Wait()
	if got, err := call("/after", cpu); err != nil || got != "answered" {
		t.Errorf("/after: %q, %v", got, err)
	}
	if got, err := call("/wait", cpu); err != nil || got != "waited "+first {
		t.Errorf("after a loop in waitUntil: %q, %v", got, err)
	}
	if _, err := call("/builtin", cpu); !errors.Is(err, dispatch.ErrCPU) && !errors.Is(err, dispatch.ErrMemory) {
		t.Errorf("/builtin: %v", err)
	}
	if _, err := call("/", cpu); err != nil {
		t.Errorf("after a kill: %v", err)
	}
}
