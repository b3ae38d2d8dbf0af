package node_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/isolate"
	"atoll.dev/atoll/internal/node"
)

// calleeCode is a Worker with every sort of thing that can be called by RPC.
const calleeCode = `
import { WorkerEntrypoint, RpcTarget } from "cloudflare:workers";
class Counter extends RpcTarget {
  #n; #secret = 1;
  constructor(n) { super(); this.#n = n; this.own = "private"; }
  increment(by = 1) { return this.#n += by; }
  get value() { return this.#n; }
  fail() { throw new RangeError("counted too far"); }
}
export default class extends WorkerEntrypoint {
  fetch(request) { return new Response("fetched " + new URL(request.url).pathname + " with " + JSON.stringify(this.ctx.props)); }
  add(a, b) { return a + b; }
  greet() { return this.env.GREETING + " " + JSON.stringify(this.ctx.props); }
  newCounter(n) { return new Counter(n); }
  inObject(n) { return { counter: new Counter(n), list: [1, 2], at: new Date(0) }; }
  async callback(f, ...args) { return await f(...args); }
  async useTarget(t) { return [await t.increment(5), await t.value]; }
  adder(n) { return (m) => n + m; }
  stream() { return new Response("abc".repeat(10000)).body; }
  async upper(stream) { return (await new Response(stream).text()).toUpperCase(); }
  request(request) { return new Response(request.method + " " + request.url, { status: 201, headers: { "x-a": "b" } }); }
  throws() { const e = new TypeError("wrong " + this.env.GREETING); e.code = 7; throw e; }
  throwsLate() { return new Promise((_, no) => setTimeout(() => no(new Error("late")), 10)); }
  get version() { return "v1"; }
  get nested() { return { deep: { add: (a, b) => a + b } }; }
}
export class Named extends WorkerEntrypoint {
  who() { return "named with " + JSON.stringify(this.ctx.props); }
  fetch() { return new Response("named fetched with " + JSON.stringify(this.ctx.props)); }
}
export const plain = {
  double(n, env) { return n * 2 + env.GREETING; },
  tooMany(a, b, env, ctx) { return 1; },
};
export class NotOne { secret() { return 1; } }
`

// callerCode answers with what an expression given in the query gives.
const callerCode = `
import { RpcTarget } from "cloudflare:workers";
class Mine extends RpcTarget { n = 0; #n = 0; increment(by) { return this.#n += by; } get value() { return this.#n; } }
const AsyncFunction = (async () => {}).constructor;
const tests = {
  add: (env) => env.SVC.add(1, 2),
  greet: (env) => env.SVC.greet(),
  counter: async (env) => { using c = await env.SVC.newCounter(5); return [await c.increment(), await c.increment(4), await c.value]; },
  pipeline: (env) => env.SVC.newCounter(1).increment(1),
  pipelineProperty: (env) => env.SVC.newCounter(3).value,
  inObject: async (env) => { using o = await env.SVC.inObject(1); return [await o.counter.increment(), o.list, o.at]; },
  pipelineObject: (env) => env.SVC.inObject(7).counter.increment(),
  callback: (env) => env.SVC.callback((a, b) => "called with " + a + b, 1, "x"),
  callbackThrows: (env) => env.SVC.callback(() => { throw new SyntaxError("in the callback"); }),
  target: (env) => env.SVC.useTarget(new Mine()),
  adder: async (env) => { using f = await env.SVC.adder(10); return [await f(5), await f(6)]; },
  stream: async (env) => (await new Response(await env.SVC.stream()).text()).length,
  upper: (env) => env.SVC.upper(new Response("shout").body),
  request: async (env) => { const r = await env.SVC.request(new Request("http://a/b", { method: "POST", body: "x" })); return [r.status, r.headers.get("x-a"), await r.text()]; },
  throws: (env) => env.SVC.throws(),
  throwsLate: (env) => env.SVC.throwsLate(),
  caught: (env) => env.SVC.throws().catch((e) => "caught " + e.message),
  counterThrows: async (env) => { using c = await env.SVC.newCounter(5); return await c.fail(); },
  pipelineThrows: (env) => env.SVC.newCounter(5).fail(),
  property: (env) => env.SVC.version,
  nested: (env) => env.SVC.nested.deep.add(2, 3),
  missing: (env) => env.SVC.nope(),
  missingProperty: (env) => env.SVC.nope,
  object: (env) => env.SVC.toString(),
  constructorOf: (env) => env.SVC.constructor(),
  reserved: (env) => env.SVC.alarm(),
  ownOfTarget: async (env) => { using c = await env.SVC.newCounter(5); return await c.own; },
  unclonable: (env) => env.SVC.add(Symbol("x"), 1),
  parallel: (env) => Promise.all(Array.from({ length: 50 }, (_, i) => env.SVC.add(i, 1))),
  fetch: async (env) => await (await env.SVC.fetch("http://x/path")).text(),
  named: async (env) => [await env.NAMED.who(), await (await env.NAMED.fetch("http://x/")).text()],
  plain: (env) => env.PLAIN.double(4),
  plainTwoArguments: (env) => env.PLAIN.double(4, 5),
  plainTooMany: (env) => env.PLAIN.tooMany(4),
  plainInherited: (env) => env.PLAIN.hasOwnProperty("x"),
  notAnEntrypoint: (env) => env.NOTONE.secret(),
  noEntrypoint: (env) => env.NOWHERE.secret(),
  types: (env) => [typeof env.SVC.add, typeof env.SVC.fetch, typeof env.SVC.then, env.SVC.then === undefined],
};
export default { async fetch(request, env) {
  const name = new URL(request.url).pathname.slice(1);
  try {
    return Response.json({ ok: await tests[name](env) ?? null });
  } catch (e) {
    return Response.json({ name: e.name, message: e.message, remote: e.remote });
  }
} };
`

func TestRPC(t *testing.T) {
	r := newRig(t, node.Config{})
	r.put("callee", calleeCode, map[string]any{"type": "plain_text", "name": "GREETING", "text": "hello"})
	bind := func(name, entrypoint string, props any) map[string]any {
		b := map[string]any{"type": "service", "name": name, "service": "callee"}
		if entrypoint != "" {
			b["entrypoint"] = entrypoint
		}
		if props != nil {
			b["props"] = props
		}
		return b
	}
	bindings := []map[string]any{bind("SVC", "", nil), bind("NAMED", "Named", map[string]any{"customer": "c1", "list": []int{1}}),
		bind("PLAIN", "plain", nil), bind("NOTONE", "NotOne", nil), bind("NOWHERE", "Nowhere", nil)}
	r.put("production/caller", callerCode, bindings...)
	r.dispatcher(`export default { fetch(request, env) { return env.DISPATCHER.get(new URL(request.url).hostname.split(".")[0]).fetch(request); } }`, nil)
	for _, c := range []struct{ name, want string }{
		{"add", `{"ok":3}`},
		{"greet", `{"ok":"hello {}"}`},
		{"counter", `{"ok":[6,10,10]}`},
		{"pipeline", `{"ok":2}`},
		{"pipelineProperty", `{"ok":3}`},
		{"inObject", `{"ok":[2,[1,2],"1970-01-01T00:00:00.000Z"]}`},
		{"pipelineObject", `{"ok":8}`},
		{"callback", `{"ok":"called with 1x"}`},
		{"callbackThrows", `{"name":"SyntaxError","message":"in the callback","remote":true}`},
		{"target", `{"ok":[5,5]}`},
		{"adder", `{"ok":[15,16]}`},
		{"stream", `{"ok":30000}`},
		{"upper", `{"ok":"SHOUT"}`},
		{"request", `{"ok":[201,"b","POST http://a/b"]}`},
		{"throws", `{"name":"TypeError","message":"wrong hello","remote":true}`},
		{"throwsLate", `{"name":"Error","message":"late","remote":true}`},
		{"caught", `{"ok":"caught wrong hello"}`},
		{"counterThrows", `{"name":"RangeError","message":"counted too far","remote":true}`},
		{"pipelineThrows", `{"name":"RangeError","message":"counted too far","remote":true}`},
		{"property", `{"ok":"v1"}`},
		{"nested", `{"ok":5}`},
		{"missing", `{"name":"TypeError","message":"The RPC receiver does not implement the method \"nope\".","remote":true}`},
		{"missingProperty", `{"name":"TypeError","message":"The RPC receiver does not implement the method \"nope\".","remote":true}`},
		{"object", `{"name":"TypeError","message":"The RPC receiver does not implement the method \"toString\".","remote":true}`},
		{"reserved", `{"name":"TypeError","message":"'alarm' is a reserved method and cannot be called over RPC.","remote":true}`},
		{"ownOfTarget", `{"name":"TypeError","message":"The RPC receiver does not implement the method \"own\".","remote":true}`},
		{"fetch", `{"ok":"fetched /path with {}"}`},
		{"named", `{"ok":["named with {\"customer\":\"c1\",\"list\":[1]}","named fetched with {\"customer\":\"c1\",\"list\":[1]}"]}`},
		{"plain", `{"ok":"8hello"}`},
		{"plainInherited", `{"name":"TypeError","message":"The RPC receiver does not implement the method \"hasOwnProperty\".","remote":true}`},
		{"noEntrypoint", `{"name":"TypeError","message":"the Worker has no entrypoint \"Nowhere\"","remote":true}`},
		{"types", `{"ok":["function","function","undefined",true]}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, got := r.get("caller", "/"+c.name); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
	for name, part := range map[string]string{
		"unclonable": "could not be cloned", "plainTwoArguments": "takes exactly one argument", "plainTooMany": "with more than one argument",
		"notAnEntrypoint": "does not extend WorkerEntrypoint",
	} {
		t.Run(name, func(t *testing.T) {
			if _, got := r.get("caller", "/"+name); !strings.Contains(got, part) {
				t.Errorf("got %s, want %s", got, part)
			}
		})
	}
	t.Run("parallel", func(t *testing.T) {
		_, got := r.get("caller", "/parallel")
		var sums struct{ OK []int }
		if err := json.Unmarshal([]byte(got), &sums); err != nil || len(sums.OK) != 50 || sums.OK[49] != 50 {
			t.Errorf("got %s", got)
		}
	})
}

// service is a binding to a script of the account.
func service(name, script string) map[string]any {
	return map[string]any{"type": "service", "name": name, "service": script}
}

// A deploy of the called Worker loses no call: a new one reaches the new version, and what a Worker holds of the old one
// goes on.
func TestRPCRedeploy(t *testing.T) {
	r := newRig(t, node.Config{})
	version := func(v string) string {
		return `import { WorkerEntrypoint, RpcTarget } from "cloudflare:workers";
			class Held extends RpcTarget { version() { return "` + v + `"; } }
			export default class extends WorkerEntrypoint { version() { return "` + v + `"; } hold() { return new Held(); } fetch() {} }`
	}
	r.put("callee", version("0"))
	r.put("caller", `
		export default { async fetch(request, env) {
			switch (new URL(request.url).pathname) {
			case "/": return new Response(await env.SVC.version());
			case "/hold": {
				using held = await env.SVC.hold();
				const { readable, writable } = new TransformStream();
				const encoder = new TextEncoder(), writer = writable.getWriter();
				const first = await held.version();
				writer.write(encoder.encode(first + "\n"));
				return new Response(new ReadableStream({
					async start(c) {
						const held = await env.SVC.hold();
						c.enqueue(encoder.encode(await held.version()));
						for await (const _ of request.body) c.enqueue(encoder.encode(await held.version() + await env.SVC.version()));
						held[Symbol.dispose]();
						c.close();
					}
				}));
			}
			}
		} };`, service("SVC", "callee"))
	r.route("*."+zone+"/*", "caller")
	r.want("x", "/", 200, "0")

	body, feed := io.Pipe()
	req, err := http.NewRequest("POST", r.edge+"/hold", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "x." + zone
	res, err := r.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	says := func(want string) {
		t.Helper()
		got := make([]byte, len(want))
		if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != want {
			t.Errorf("the held stub says %q, %v; want %q", got, err, want)
		}
	}
	says("0")

	stop := make(chan struct{})
	var group sync.WaitGroup
	var calls atomic.Int64
	for range 4 {
		group.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if status, got := r.get("x", "/"); status != 200 || len(got) != 1 {
					t.Errorf("a call during deploys: %d %s", status, got)
				}
				calls.Add(1)
			}
		})
	}
	for i := 1; i <= isolate.Lanes+1; i++ {
		v := strconv.Itoa(i)
		r.put("callee", version(v))
		r.want("x", "/", 200, v)
		if i < isolate.Lanes-2 { // after that there are too many old ones
			fmt.Fprint(feed, ".")
			says("0" + v)
		}
	}
	close(stop)
	group.Wait()
	feed.Close()
	t.Logf("%d calls", calls.Load())
}

// What becomes of a called Worker is told to the calling one.
func TestRPCFailures(t *testing.T) {
	r := newRig(t, node.Config{EgressAllow: []string{"127.0.0.0/8"}})
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("x")) }))
	defer origin.Close()
	r.put("other", `export default { fetch() {} }`)
	callee := `import { WorkerEntrypoint, RpcTarget } from "cloudflare:workers";
		class T extends RpcTarget { async many(n) { for (let i = 0; i < n; i++) await (await fetch("` + origin.URL + `")).text(); return n; } }
		export default class extends WorkerEntrypoint {
			fetch() { return new Response("fine"); }
			ok() { return "fine"; }
			loop() { for (;;); }
			async loopLate() { await scheduler.wait(5); for (;;); }
			eat() { const a = []; for (;;) a.push(new Uint8Array(1 << 24).fill(1)); }
			deep(n) { return this.env.SELF.deep(n + 1); }
			async many(n) { return new T().many(n); }
			target() { return new T(); }
		}`
	bindings := []map[string]any{{"type": "service", "name": "SELF", "service": "callee"}}
	if refused := r.upload("callee", callee, map[string]any{"bindings": bindings, "limits": map[string]any{"cpu_ms": 1000, "subrequests": 5}}); refused != "" {
		t.Fatal(refused)
	}
	r.put("caller", `
		const tests = {
			ok: (env) => env.SVC.ok(),
			loop: (env) => env.SVC.loop(),
			loopLate: (env) => env.SVC.loopLate(),
			eat: (env) => env.SVC.eat(),
			deep: (env) => env.SVC.deep(0),
			few: (env) => env.SVC.many(5),
			many: (env) => env.SVC.many(6),
			manyOfTarget: async (env) => { using t = await env.SVC.target(); return await t.many(6); },
			twice: async (env) => { using t = await env.SVC.target(); return [await t.many(2), await t.many(2), await t.many(2)]; },
			gone: (env) => env.GONE.ok(),
			swallowed: async (env) => { env.SVC.loop().catch(() => {}); await scheduler.wait(50); return await env.SVC.ok(); },
		};
		export default { async fetch(request, env) {
			try { return Response.json(await tests[new URL(request.url).pathname.slice(1)](env)); }
			catch (e) { return new Response(e.name + ": " + e.message); }
		} };`, service("SVC", "callee"), service("GONE", "other"))
	r.route("*."+zone+"/*", "caller")
	r.call("DELETE", r.acct("/workers/scripts/other"), "", nil)
	for _, c := range []struct{ name, want string }{
		{"ok", `"fine"`},
		{"loop", "Error: Worker exceeded CPU time limit."},
		{"ok", `"fine"`},
		{"loopLate", "Error: Worker exceeded CPU time limit."},
		{"deep", "Error: Subrequest depth limit exceeded. This request recursed through Workers too many times."},
		{"few", "5"},
		{"many", "Error: Too many subrequests."},
		{"manyOfTarget", "Error: Too many subrequests."},
		{"twice", "Error: Too many subrequests."},
		{"few", "5"},
		{"eat", "Error: Worker exceeded memory limit."},
		{"ok", `"fine"`},
		{"gone", "Error: Worker not found."},
		{"swallowed", `"fine"`},
	} {
		if _, got := r.get("x", "/"+c.name); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

// What RPC calls send out is whose they are, in nested objects and in callbacks too: it reaches the outbound Worker with the
// parameters of the dispatch that it began with.
func TestRPCIsAttributed(t *testing.T) {
	r := newRig(t, node.Config{})
	r.put("outbound", `export default { fetch(request, env) { return new Response(env.who); } }`)
	r.put("shared", `import { WorkerEntrypoint, RpcTarget } from "cloudflare:workers";
		const ask = async () => { await scheduler.wait(Math.random() * 5); return (await fetch("http://x.example/")).text(); };
		class Client extends RpcTarget { ask() { return ask(); } get asked() { return ask(); } }
		export default class extends WorkerEntrypoint {
			fetch() {}
			ask() { return ask(); }
			client() { return new Client(); }
			inObject() { return { list: [{ client: new Client(), f: ask }] }; }
			async back(f, target) { return [await f(), await target.ask()]; }
		}`)
	r.put("production/customer", `import { RpcTarget } from "cloudflare:workers";
		const ask = async () => (await fetch("http://x.example/")).text();
		class Mine extends RpcTarget { ask() { return ask(); } }
		export default { async fetch(request, env) {
			const { SVC } = env;
			using client = await SVC.client();
			using object = await SVC.inObject();
			return Response.json([await SVC.ask(), await SVC.client().ask(), await client.ask(), await client.asked,
				await object.list[0].client.ask(), await object.list[0].f(), await SVC.back(ask, new Mine())].flat());
		} };`, service("SVC", "shared"))
	r.dispatcher(`export default { fetch(request, env) {
		const who = new URL(request.url).pathname.slice(1);
		return env.DISPATCHER.get("customer", {}, { outbound: { who } }).fetch(request);
	} };`, map[string]any{"worker": map[string]any{"service": "outbound"}, "params": []any{map[string]any{"name": "who"}}})
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			who := "c" + strconv.Itoa(i)
			want := `["` + strings.Repeat(who+`","`, 7) + who + `"]`
			for range 5 {
				if _, got := r.get("x", "/"+who); got != want {
					t.Errorf("got %s, want %s", got, want)
				}
			}
		})
	}
	group.Wait()
}

// A Worker that holds on to what another has returned, or to a call that never does, holds it for so long and no longer; and
// neither its own other calls nor those of others break off with it.
func TestRPCForEver(t *testing.T) {
	t.Parallel()
	limits := atoll.DefaultLimits()
	limits.WallMs = 1000
	r := newRig(t, node.Config{Limits: limits})
	r.put("callee", `import { WorkerEntrypoint, RpcTarget } from "cloudflare:workers";
		class T extends RpcTarget { ping() { return "pong"; } }
		export default class extends WorkerEntrypoint {
			fetch() { return new Response("fine"); }
			ok() { return "fine"; }
			hang() { return new Promise((done) => setTimeout(done, 3_600_000)); }
			target() { return new T(); }
			async slow() { await scheduler.wait(600); return "slow"; }
		}`)
	const caller = `
		const said = {};
		const note = (what, promise) => promise.then(() => said[what] = "came", (e) => said[what] = e.message);
		async function stay(env) {
			using t = await env.SVC.target();
			for (;;) { await t.ping(); await scheduler.wait(20); }
		}
		export default { async fetch(request, env, ctx) {
			switch (new URL(request.url).pathname) {
			case "/begin": ctx.waitUntil(note("hang", env.SVC.hang())); ctx.waitUntil(note("stay", stay(env))); return new Response("begun");
			case "/said": return Response.json(said);
			case "/slow": return new Response(await env.SVC.slow().catch((e) => e.message));
			}
			return new Response(await env.SVC.ok());
		} };`
	r.put("production/mallory", caller, service("SVC", "callee"))
	r.put("production/alice", caller, service("SVC", "callee"))
	r.dispatcher(`export default { fetch: (request, env) => env.DISPATCHER.get(new URL(request.url).hostname.split(".")[0]).fetch(request) };`, nil)
	r.want("mallory", "/begin", 200, "begun")
	var said struct{ Hang, Stay string }
	r.until("the sessions break off", func() bool {
		r.want("mallory", "/slow", 200, "slow") // of 0.6 s, by whichever lane
		r.want("alice", "/", 200, "fine")
		_, got := r.get("mallory", "/said")
		if err := json.Unmarshal([]byte(got), &said); err != nil {
			t.Fatalf("%v: %s", err, got)
		}
		return said.Hang != "" && said.Stay != ""
	})
	if said.Hang != "Worker exceeded wall time limit." || said.Stay != "Network connection lost." {
		t.Errorf("what was held broke off by %+v", said)
	}
	r.want("mallory", "/", 200, "fine")
}
