package dispatch_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
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
	r.put(platform("no-queue"), `export default { fetch() {} }`, func(v *atoll.Version) { v.Handlers = []string{"fetch"} })
	_, err := r.Deliver(t.Context(), platform("no-queue"), []byte("x"), 1<<10)
	var e *dispatch.Exception
	if !errors.As(err, &e) || e.Message != "Handler does not export a queue() function." {
		t.Errorf("a batch for a Worker without queue(): %v", err)
	}
}

// A Worker's garbage is collected a little at a time, as others wait meanwhile, and less often where it keeps so much that a
// collection takes long. What does it is nobody's to call.
func TestGarbage(t *testing.T) {
	r := newRig(t, dispatch.Options{MaxPerCores: 1})
	const script = `let old, ref, kept;
export default { fetch(request) {
	switch (new URL(request.url).pathname) {
	case "/gc": return new Response(typeof gc);
	case "/fill": kept = Array.from({ length: 4e5 }, (_, i) => ({ i, s: "s" + i })); break;
	case "/keep": // until it is with the old, for which there is no other occasion
		ref = new WeakRef(old = {});
		for (let i = 0; i < 1000; i++) new Array(1e4).fill(i);
		break;
	case "/drop": old = undefined;
	}
	return new Response(ref?.deref() ? "there" : "collected");
} }`
	light, heavy := user("alice"), platform("dispatcher")
	for _, ref := range []atoll.ScriptRef{light, heavy} {
		r.put(ref, script, func(v *atoll.Version) { v.CompatibilityDate = "2025-06-01" }) // from which on there is WeakRef
	}
	drop := func(ref atoll.ScriptRef) {
		r.want(ref, "/keep", "there")
		r.want(ref, "/drop", "there")
	}
	after := func(ref atoll.ScriptRef, n int, want string) {
		t.Helper()
		for range n {
			r.get(ref, "/")
		}
		got := ""
		for range 50 { // it is done when the last has been answered
			time.Sleep(5 * time.Millisecond)
			if got = r.get(ref, "/"); got == "collected" {
				break
			}
		}
		if got != want {
			t.Errorf("garbage of %s after %d requests is %s, not %s", ref, n, got, want)
		}
	}
	r.want(light, "/gc", "undefined")
	drop(light)
	after(light, 100, "collected")
	drop(light)
	after(light, 20, "there")
	r.get(heavy, "/fill")
	drop(heavy)
	after(heavy, 100, "collected")
	drop(heavy) // a collection takes tens of milliseconds now
	after(heavy, 150, "there")
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

// A script whose invocations are ended at their limit would only lose more with another process.
func TestScriptAtItsLimitGetsNoMoreProcesses(t *testing.T) {
	r := newRig(t, dispatch.Options{MaxPerCores: 2, MinIdle: -1})
	r.put(user("alice"), `export default { fetch() { for (;;); } }`)
	var clients sync.WaitGroup
	stop := time.Now().Add(5 * time.Second)
	for range 4 {
		clients.Go(func() {
			for time.Now().Before(stop) {
				_, err := r.Do(t.Context(), dispatch.Call{Script: user("alice"), Request: &hop.Request{Method: "GET", Target: "/", Host: "a"},
					Proto: "http", Limits: invocation.Limits{CPU: 20 * time.Millisecond}})
				if !errors.Is(err, dispatch.ErrCPU) {
					t.Errorf("a loop: %v", err)
				}
			}
		})
	}
	clients.Wait()
	if n := r.Processes(); n != 1 {
		t.Errorf("%d processes, want 1", n)
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
