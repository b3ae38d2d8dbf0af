package dispatch_test

import (
	"bufio"
	"context"
	"encoding/json"
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
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/hop"
	"atoll.dev/atoll/internal/invocation"
)

func TestDo(t *testing.T) {
	r := newRig(t, dispatch.Options{})
	r.put(user("alice"), `export default { async fetch(request, env) {
		const url = new URL(request.url);
		switch (url.pathname) {
		case "/cf": return new Response(String(request.cf));
		case "/headers": return Response.json([...request.headers.keys()]);
		case "/throw": throw new RangeError("too far");
		case "/throw-odd": throw { toString() { throw 1 } };
		case "/never": return new Promise(() => {});
		case "/wrong": return 7;
		case "/500": return new Response("mine", { status: 500, headers: { "x-a": "b" } });
		case "/default-cache": return new Response(String(await caches.default));
		case "/cache": { const c = await caches.open("a"); await c.put(request.url, new Response("x", {headers: {"cache-control": "max-age=60"}})); return new Response(String(await c.match(request.url))); }
		case "/echo": return new Response(request.body, { headers: { "x-method": request.method } });
		}
		return new Response(request.url);
	} }`)
	r.want(user("alice"), "/a//b%2f%25?q=%zz", "http://example.com/a//b%2f%25?q=%zz")
	r.want(user("alice"), "/cf", "undefined")
	r.want(user("alice"), "/headers", `["cf-ray","host"]`)
	r.want(user("alice"), "/500", "mine")
	r.want(user("alice"), "/cache", "undefined")
	for target, want := range map[string]dispatch.Exception{
		"/throw":         {Name: "RangeError", Message: "too far"},
		"/throw-odd":     {Name: "Error", Message: "exception without a message"},
		"/never":         {Name: "Error", Message: "The script will never generate a response."},
		"/wrong":         {Name: "TypeError", Message: "Incorrect type for Promise: the Promise did not resolve to 'Response'."},
		"/default-cache": {Name: "Error", Message: "caches.default is not available to Workers of an untrusted dispatch namespace; use caches.open(name)"},
	} {
		_, err := r.do(user("alice"), &hop.Request{Method: "GET", Target: target})
		var e *dispatch.Exception
		if !errors.As(err, &e) || e.Name != want.Name || e.Message != want.Message {
			t.Errorf("GET %s: %v, want %v", target, err, &want)
		}
	}
	if _, err := r.do(user("bob"), &hop.Request{Method: "GET", Target: "/"}); fault.KindOf(err) != fault.NotFound {
		t.Errorf("a missing script: %v", err)
	}
	reply, err := r.do(user("alice"), &hop.Request{Method: "POST", Target: "/echo", Body: strings.NewReader(strings.Repeat("x", 1<<20)), Length: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Close()
	if b, _ := io.ReadAll(reply.Body); len(b) != 1<<20 || reply.Header.Get("X-Method") != "POST" {
		t.Errorf("echo: %d bytes, %v", len(b), reply.Header)
	}
}

func TestDispatchBinding(t *testing.T) {
	r := newRig(t, dispatch.Options{})
	r.put(user("alice"), `export default { fetch(request) {
		if (new URL(request.url).pathname === "/throw") throw new TypeError("no way");
		return new Response("alice " + request.method + " " + request.url + " " + request.headers.get("x-a") + " " + request.headers.get("atoll-dispatch"));
	} }`)
	r.put(platform("dispatcher"), `export default { async fetch(request, env) {
		const url = new URL(request.url);
		const name = url.hostname.split(".")[0];
		try {
			if (url.pathname === "/rpc") return new Response(String(await env.DISPATCHER.get(name).hello()));
			if (url.pathname === "/init") return await env.DISPATCHER.get(name).fetch("https://other.test/x", { method: "PUT", body: "y", headers: {"x-a": "1"} });
			const stub = env.DISPATCHER.get(name, {}, { limits: { cpuMs: 10 }, outbound: null });
			return await stub.fetch(request);
		} catch (e) {
			if (e.message.startsWith("Worker not found")) return new Response("none such", { status: 404 });
			return new Response(e.name + "|" + e.message);
		}
	} }`, func(v *atoll.Version) {
		v.Bindings = []atoll.Binding{{Name: "DISPATCHER", Type: "dispatch_namespace", Fields: json.RawMessage(`{"name":"DISPATCHER","type":"dispatch_namespace","namespace":"production"}`)}}
	})
	for _, c := range []struct{ host, target, want string }{
		{"alice.test", "/a%2fb?c", "alice GET http://alice.test/a%2fb?c null null"},
		{"alice.test", "/throw", "TypeError|no way"},
		{"alice.test", "/rpc", `Error|RPC on a dispatched Worker is not supported: "hello" was called, only fetch() is available`},
		{"alice.test", "/init", "alice PUT https://other.test/x 1 null"},
		{"bob.test", "/", "none such"},
	} {
		reply, err := r.do(platform("dispatcher"), &hop.Request{Method: "GET", Host: c.host, Target: c.target})
		if err != nil {
			t.Errorf("%s%s: %v", c.host, c.target, err)
			continue
		}
		b, _ := io.ReadAll(reply.Body)
		reply.Close()
		if string(b) != c.want {
			t.Errorf("%s%s: got %q, want %q", c.host, c.target, b, c.want)
		}
	}
}

func TestServiceWorker(t *testing.T) {
	r := newRig(t, dispatch.Options{})
	v := &atoll.Version{ID: atoll.VersionID(atoll.NewUUID()), BodyPart: "script", CompatibilityDate: "2021-11-02",
		Bindings: []atoll.Binding{{Name: "GREETING", Type: "plain_text", Fields: json.RawMessage(`{"text":"hi"}`)}, {Name: "TOKEN", Type: "secret_text", Secret: []byte("s3cret")}}}
	v.Modules = []atoll.Module{r.module("script", atoll.CommonJS, `"use strict"; addEventListener("fetch", (event) => event.respondWith(answer(event.request)));
		async function answer(request) { if (request.method == "POST") throw new Error("boom"); return new Response(GREETING + " " + TOKEN + " " + typeof module); }`)}
	r.mu.Lock()
	r.active[platform("old")] = v
	r.mu.Unlock()
	r.want(platform("old"), "/", "hi s3cret undefined")
	_, err := r.do(platform("old"), &hop.Request{Method: "POST", Target: "/"})
	var e *dispatch.Exception
	if !errors.As(err, &e) || e.Message != "boom" {
		t.Errorf("got %v", err)
	}
}

func TestValidate(t *testing.T) {
	r := newRig(t, dispatch.Options{StartupCPU: 300 * time.Millisecond})
	validate := func(source string) (dispatch.Started, error) {
		v := &atoll.Version{ID: atoll.VersionID(atoll.NewUUID()), MainModule: "worker.js", CompatibilityDate: "2025-01-01",
			Modules: []atoll.Module{r.module("worker.js", atoll.ESModule, source)}}
		return r.Validate(context.Background(), v, user("alice"), r.load)
	}
	got, err := validate(`import { WorkerEntrypoint } from "cloudflare:workers";
		export class Admin extends WorkerEntrypoint { fetch() {} }
		export default { fetch() {}, scheduled() {} }`)
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(got.Handlers) != "[fetch scheduled]" || fmt.Sprint(got.Named) != "[{Admin [fetch]}]" {
		t.Errorf("got %+v", got)
	}
	for source, want := range map[string]string{
		`throw new Error("at start")`:           "Uncaught Error: at start",
		`export default {`:                      "Uncaught SyntaxError: Unexpected end of input",
		`import "./none.js"; export default {}`: `Uncaught Error: No such module "none.js"`,
		`for (;;) {}`:                           "Script startup exceeded CPU time limit.",
	} {
		_, err := validate(source)
		if f := fault.Of(err); f == nil || f.Code != 10021 || !strings.HasPrefix(f.Message, want) {
			t.Errorf("%s: %v, want %s", source, err, want)
		}
	}
}

func TestRedeployMixesNothing(t *testing.T) {
	r := newRig(t, dispatch.Options{})
	source := func(n int) string {
		return fmt.Sprintf(`const n = "%d "; export default { fetch() {
			const { readable, writable } = new TransformStream(); const w = writable.getWriter(); const e = new TextEncoder();
			(async () => { for (let i = 0; i < 5; i++) { await w.write(e.encode(n)); await scheduler.wait(5); } await w.close(); })();
			return new Response(readable); } }`, n)
	}
	r.put(user("alice"), source(0))
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				got := strings.Fields(r.get(user("alice"), "/"))
				if len(got) != 5 || got[0] != got[4] || strings.HasPrefix(got[0], "error") {
					t.Errorf("a mixed or lost answer: %q", got)
					return
				}
			}
		})
	}
	for n := 1; n <= 8; n++ {
		r.put(user("alice"), source(n))
		want := fmt.Sprintf("%[1]d %[1]d %[1]d %[1]d %[1]d ", n)
		if got := r.get(user("alice"), "/"); got != want {
			t.Errorf("after a deploy: got %q, want %q", got, want)
		}
	}
	close(stop)
	clients.Wait()
}

func TestClientGone(t *testing.T) {
	r := newRig(t, dispatch.Options{})
	r.put(user("alice"), `let cancelled = "no"; export default { async fetch(request) {
		if (request.url.endsWith("/state")) return new Response(cancelled);
		return new Response(new ReadableStream({ async pull(c) { await scheduler.wait(5); c.enqueue(new Uint8Array(1)); }, cancel() { cancelled = "yes"; } })); } }`)
	ctx, cancel := context.WithCancel(context.Background())
	reply, err := r.Do(ctx, dispatch.Call{Script: user("alice"), Request: &hop.Request{Method: "GET", Target: "/", Host: "a"}, Proto: "http"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(reply.Body).ReadByte(); err != nil {
		t.Fatal(err)
	}
	cancel()
	reply.Close()
	for range 200 {
		if r.get(user("alice"), "/state") == "yes" {
			return
		}
	}
	t.Error("the Worker never saw its client leave")
}

func TestEvent(t *testing.T) {
	r := newRig(t, dispatch.Options{})
	r.put(platform("cron"), `let last = "none"; export default {
		fetch() { return new Response(last); },
		async scheduled(c, env, ctx) { if (c.cron === "bad") { c.noRetry(); throw new Error("x"); } last = c.cron + " " + c.scheduledTime; } }`)
	if _, err := r.Event(context.Background(), platform("cron"), map[string]any{"type": "scheduled", "cron": "* * * * *", "scheduledTime": 5}); err != nil {
		t.Fatal(err)
	}
	r.want(platform("cron"), "/", "* * * * * 5")
	if _, err := r.Event(context.Background(), platform("cron"), map[string]any{"type": "scheduled", "cron": "bad"}); err == nil {
		t.Error("the exception was lost")
	}
}

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

// id answers with what tells one process of a script from another.
const id = `globalThis.id ??= crypto.randomUUID(); `

func TestBusyScriptGetsMoreProcesses(t *testing.T) {
	r := newRig(t, dispatch.Options{MaxPerCores: 2, MinIdle: -1})
	r.put(user("alice"), `export default { fetch() { `+id+` for (let i = 0, x = 0; i < 3e7; i++) x += i; return new Response(id); } }`)
	ids := map[string]bool{}
	var mu sync.Mutex
	var clients sync.WaitGroup
	stop := time.Now().Add(30 * time.Second)
	for range 4 {
		clients.Go(func() {
			for time.Now().Before(stop) {
				got := r.get(user("alice"), "/")
				mu.Lock()
				ids[got] = true
				n := len(ids)
				mu.Unlock()
				if n > 1 {
					return
				}
			}
		})
	}
	clients.Wait()
	if len(ids) != 2 {
		t.Errorf("%d processes answered, want 2: %v", len(ids), ids)
	}
}

func TestIdleProcessesStop(t *testing.T) {
	r := newRig(t, dispatch.Options{IdleAfter: time.Second})
	r.put(user("alice"), `export default { fetch() { `+id+` return new Response(id); } }`)
	first := r.get(user("alice"), "/")
	for range 100 {
		if r.Processes() == 0 {
			if second := r.get(user("alice"), "/"); second == first || strings.HasPrefix(second, "error") {
				t.Errorf("after a stop: %q, before: %q", second, first)
			}
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Error("an idle process was not stopped")
}

func TestShortMemoryStopsTheIdle(t *testing.T) {
	r := newRig(t, dispatch.Options{MinMemory: 2}) // more than there ever is
	r.put(user("alice"), `export default { fetch() { return new Response("up"); } }`)
	r.want(user("alice"), "/", "up")
	for range 100 {
		if r.Processes() == 0 {
			r.want(user("alice"), "/", "up")
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Error("memory was short and nothing was stopped")
}

func TestWaitUntilOutlivesARedeploy(t *testing.T) {
	r := newRig(t, dispatch.Options{})
	done := make(chan struct{})
	origin := r.origin(func(http.ResponseWriter, *http.Request) { close(done) })
	r.put(user("alice"), `export default { fetch(request, env, ctx) {
		ctx.waitUntil((async () => { await scheduler.wait(1500); await fetch("`+origin+`"); })());
		return new Response("one"); } }`)
	r.want(user("alice"), "/", "one")
	r.put(user("alice"), `export default { fetch() { return new Response("two"); } }`)
	r.want(user("alice"), "/", "two")
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Error("waitUntil work was cut off by a redeploy")
	}
}

func TestServiceBinding(t *testing.T) {
	r := newRig(t, dispatch.Options{})
	r.put(platform("shop"), `import { WorkerEntrypoint } from "cloudflare:workers";
		export class Admin extends WorkerEntrypoint { fetch(request) { return new Response("admin " + request.method + " " + this.env.NAME); } }
		export default { fetch(request) { if (request.url.endsWith("/throw")) throw new TypeError("closed"); return new Response("shop " + request.url); } }`,
		func(v *atoll.Version) {
			v.Bindings = []atoll.Binding{{Name: "NAME", Type: "plain_text", Fields: json.RawMessage(`{"text":"root"}`)}}
		})
	r.put(user("alice"), `export default { async fetch(request, env) {
		const path = new URL(request.url).pathname;
		if (path === "/admin") return env.ADMIN.fetch("http://x/", { method: "POST" });
		try { return await env.SHOP.fetch(request); } catch (e) { return new Response(e.name + "|" + e.message); } } }`,
		func(v *atoll.Version) {
			v.Bindings = []atoll.Binding{
				{Name: "SHOP", Type: "service", Fields: json.RawMessage(`{"service":"shop"}`)},
				{Name: "ADMIN", Type: "service", Fields: json.RawMessage(`{"service":"shop","entrypoint":"Admin"}`)},
			}
		})
	r.want(user("alice"), "/a", "shop http://example.com/a")
	r.want(user("alice"), "/throw", "TypeError|closed")
	r.want(user("alice"), "/admin", "admin POST root")
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
