package node_test

import (
	"strings"
	"testing"

	"atoll.dev/atoll/internal/node"
)

// spinner has objects that use up their CPU limit in every kind of event, and innocent ones.
const spinner = `import { DurableObject } from "cloudflare:workers";
const spin = () => { for (;;); };
const work = (ms) => { const end = Date.now() + ms; let n = 0; for (let i = 0; i < ms * 20000; i++) n += Math.sqrt(i); return n; };
export class Spinner extends DurableObject {
	constructor(ctx, env) { super(ctx, env); if (ctx.id.name === "constructor") spin(); }
	async fetch() { spin(); }
	async rpc() { spin(); }
	async later() { await this.ctx.storage.put("x", 1); await scheduler.wait(1); spin(); }
	async start() { await this.ctx.storage.setAlarm(Date.now()); }
	async alarm() { this.ctx.storage.sql.exec("CREATE TABLE IF NOT EXISTS seen (n)"); this.ctx.storage.sql.exec("INSERT INTO seen VALUES (1)"); await this.ctx.storage.sync(); spin(); }
	async alarms() { try { return this.ctx.storage.sql.exec("SELECT count(*) AS n FROM seen").one().n } catch { return 0 } }
	async slow(ms) { await scheduler.wait(ms); return "slow"; }
	async work(ms) { return work(ms) > 0; }
	async ok() { return "ok"; }
}
export default { async fetch(request, env) {
	const url = new URL(request.url), name = url.pathname.slice(1);
	const stub = env.SPINNER.getByName(url.searchParams.get("name") ?? name);
	if (name === "fetch") return stub.fetch(request);
	if (name === "later") return new Response(await stub.later());
	if (name === "rpc" || name === "constructor") return new Response(await stub.rpc());
	if (name === "slow") return new Response(await stub.slow(3000));
	return new Response(String(await stub[name](30)));
} };`

func TestObjectsCPU(t *testing.T) {
	r := newRig(t, node.Config{})
	r.dispatcher(dispatchByHost, nil)
	m := withClass("SPINNER", "Spinner", map[string]any{"new_tag": "v1", "new_sqlite_classes": []string{"Spinner"}})
	m["limits"] = map[string]any{"cpu_ms": 100}
	if refused := r.upload("production/alice", spinner, m); refused != "" {
		t.Fatal(refused)
	}
	if status, got := r.get("alice", "/ok"); status != 200 || got != "ok" {
		t.Fatalf("%d %s", status, got)
	}
	slow := make(chan string)
	go func() {
		_, got := r.get("alice", "/slow")
		slow <- got
	}()
	for _, event := range []string{"fetch", "rpc", "constructor", "later"} {
		status, got := r.get("alice", "/"+event)
		if status != 500 || !strings.Contains(got, "exceeded CPU time limit") {
			t.Errorf("a spin in %s: %d %s", event, status, got)
		}
		if status, got := r.get("alice", "/ok?name="+event+"-other"); status != 200 || got != "ok" {
			t.Errorf("after a spin in %s: %d %s", event, status, got)
		}
	}
	if got := <-slow; got != "slow" {
		t.Errorf("an innocent object's call: %s", got)
	}
	// An alarm that was stopped is tried again.
	r.get("alice", "/start")
	r.until("the alarm to run twice", func() bool {
		_, got := r.get("alice", "/alarms?name=start")
		return got >= "2"
	})
	// An object may use the limit for each of its events.
	for range 40 {
		if status, got := r.get("alice", "/work?name=busy"); status != 200 || got != "true" {
			t.Fatalf("%d %s", status, got)
		}
	}
}
