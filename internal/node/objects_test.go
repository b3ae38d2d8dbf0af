package node_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"atoll.dev/atoll/internal/node"
)

// dispatchByHost sends each host's requests to the user Worker of that name.
const dispatchByHost = `export default { async fetch(request, env) {
	const name = new URL(request.url).hostname.split(".")[0];
	try { return await env.DISPATCHER.get(name).fetch(request); } catch (e) { return new Response(String(e), { status: 500 }); }
} };`

// counter has an object that counts in SQL, in key-value storage and in memory, by RPC and by fetch.
const counter = `import { DurableObject } from "cloudflare:workers";
export class Counter extends DurableObject {
	#inMemory = 0;
	constructor(ctx, env) {
		super(ctx, env);
		ctx.blockConcurrencyWhile(async () => {
			ctx.storage.sql.exec("CREATE TABLE IF NOT EXISTS hits (n INTEGER PRIMARY KEY, version TEXT)");
			this.kv = (await ctx.storage.get("kv")) ?? 0;
		});
	}
	get label() { return this.constructor.name; }
	async hit() {
		this.ctx.storage.sql.exec("INSERT INTO hits (version) VALUES (?)", VERSION);
		await this.ctx.storage.put("kv", ++this.kv);
		return { sql: this.ctx.storage.sql.exec("SELECT count(*) AS n FROM hits").one().n, kv: this.kv, memory: ++this.#inMemory, version: VERSION };
	}
	async fetch(request) { return Response.json({ ...(await this.hit()), path: new URL(request.url).pathname }); }
}
const VERSION = "@VERSION@";
export default { async fetch(request, env) {
	const url = new URL(request.url);
	const stub = env.COUNTER.getByName(url.searchParams.get("name") ?? "a");
	if (url.pathname === "/fetch") return stub.fetch(request);
	if (url.pathname === "/label") return new Response(await stub.label);
	return Response.json(await stub.hit());
} };`

// objects are the bindings and migrations of a Worker with one class.
func withClass(binding, class string, migrations map[string]any) map[string]any {
	m := map[string]any{"bindings": []any{map[string]any{"type": "durable_object_namespace", "name": binding, "class_name": class}}}
	if migrations != nil {
		m["migrations"] = migrations
	}
	return m
}

func TestObjects(t *testing.T) {
	r := newRig(t, node.Config{})
	r.dispatcher(dispatchByHost, nil)
	version := func(v string) string { return strings.Replace(counter, "@VERSION@", v, 1) }
	v1 := map[string]any{"new_tag": "v1", "new_sqlite_classes": []string{"Counter"}}
	if refused := r.upload("production/alice", version("1"), withClass("COUNTER", "Counter", v1)); refused != "" {
		t.Fatal(refused)
	}
	expect := func(path, want string) {
		t.Helper()
		if status, got := r.get("alice", path); status != 200 || got != want {
			t.Errorf("%s: %d %s, want %s", path, status, got, want)
		}
	}
	expect("/", `{"sql":1,"kv":1,"memory":1,"version":"1"}`)
	expect("/fetch", `{"sql":2,"kv":2,"memory":2,"version":"1","path":"/fetch"}`)
	expect("/?name=b", `{"sql":1,"kv":1,"memory":1,"version":"1"}`)
	expect("/label", `Counter`)
	if refused := r.upload("production/alice", version("2"), withClass("COUNTER", "Counter", nil)); refused != "" {
		t.Fatal(refused)
	}
	expect("/", `{"sql":3,"kv":3,"memory":1,"version":"2"}`)
	expect("/?name=b", `{"sql":2,"kv":2,"memory":1,"version":"2"}`)
}

// Redeploys under load: each request is answered by one version, none is lost, and no two versions are up at once. The
// object counts in memory what it also has on disk, so a second process on the same storage would be seen at once.
func TestObjectsRedeploy(t *testing.T) {
	r := newRig(t, node.Config{})
	r.dispatcher(dispatchByHost, nil)
	deploy := func(n int) {
		t.Helper()
		code := strings.Replace(counter, "@VERSION@", fmt.Sprint(n), 1)
		m := withClass("COUNTER", "Counter", nil)
		if n == 1 {
			m = withClass("COUNTER", "Counter", map[string]any{"new_tag": "v1", "new_sqlite_classes": []string{"Counter"}})
		}
		if refused := r.upload("production/alice", code, m); refused != "" {
			t.Fatal(refused)
		}
	}
	deploy(1)
	stop := make(chan struct{})
	var load sync.WaitGroup
	for range 4 {
		load.Go(func() {
			for last := 0; ; {
				select {
				case <-stop:
					return
				default:
				}
				status, body := r.get("alice", "/")
				var sql, kv, memory, version int
				if _, err := fmt.Sscanf(body, `{"sql":%d,"kv":%d,"memory":%d,"version":"%d"}`, &sql, &kv, &memory, &version); err != nil || status != 200 {
					t.Errorf("%d %s", status, body)
					return
				}
				if sql != kv || version < last {
					t.Errorf("%s after version %d", body, last)
				}
				last = version
			}
		})
	}
	for n := 2; n <= 8; n++ {
		deploy(n)
	}
	close(stop)
	load.Wait()
}
