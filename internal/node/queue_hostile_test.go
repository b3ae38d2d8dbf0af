package node_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/node"
)

// mallory is a consumer and producer that harms whom it can.
const mallory = `
let tries = 0;
export default {
	async fetch(request, env) {
		const url = new URL(request.url);
		const victim = url.searchParams.get("victim"), id = url.searchParams.get("id");
		if (url.pathname === "/flood") {
			let sent = 0;
			try {
				for (; sent < 1000; sent++) await env.QUEUE.send(new Uint8Array(10000), { contentType: "bytes" });
			} catch (e) { return new Response(sent + " " + e.message); }
			return new Response(sent + " without an end");
		}
		if (url.pathname === "/tries") return new Response(String(tries));
		if (url.pathname === "/send") { await env.QUEUE.send("x"); return new Response("sent"); }
		const said = [];
		const attempt = async (f) => { try { const r = await f(); said.push(r?.status ?? "done"); } catch (e) { said.push("thrown"); } };
		const body = JSON.stringify({ body: "forged" });
		for (const service of ["binding/0", "binding/1", "binding/7", "egress", victim]) {
			await attempt(() => fetch("https://fake-host/message", { method: "POST", body, headers: { "atoll-service": service, "x-msg-fmt": "json" } }));
		}
		await attempt(() => fetch("http://" + victim + "/message", { method: "POST", body }));
		await attempt(() => fetch("https://api.cloudflare.com/client/v4/accounts/" + url.searchParams.get("account") + "/queues/" + id + "/messages", { method: "POST", body }));
		await attempt(() => env.QUEUE.send("x", { queue: victim, queue_name: victim, delaySeconds: 86401 }));
		await attempt(() => env.QUEUE.send({ big: "x".repeat(200000) }));
		await attempt(() => env.KV.put("../../" + victim, "forged"));
		for (const name of Reflect.ownKeys(env)) await attempt(() => env[name].fetch?.("https://fake-host/message", { method: "POST", body }));
		return new Response(said.join());
	},
	async queue(batch, env) {
		tries++;
		for (const m of batch.messages) m.ack();
		switch (env.ACT) {
			case "spin": for (;;);
			case "hang": await new Promise((done) => setTimeout(done, 3_600_000));
		}
	},
}`

// A tenant reaches no other's queue, fills its own alone, and what its consumer does with a message holds nobody else back.
func TestQueueHostile(t *testing.T) {
	t.Parallel()
	limits := atoll.DefaultLimits()
	limits.QueueBacklog, limits.WallMs = 20*(10_000+256), 2000 // a message counts 256 bytes beside its body
	r := newRig(t, node.Config{Limits: limits})
	ids := r.queues("theirs", "own", "spun", "hung", "fine", "spun-dead", "hung-dead")
	r.call("PATCH", r.acct("/workers/dispatch/namespaces/production"), `{"limits":{"cpu_ms":50}}`, nil)
	var kv struct{ ID string }
	r.call("POST", r.acct("/storage/kv/namespaces"), `{"title":"own"}`, &kv)
	bind := func(queue, act string) []map[string]any {
		return []map[string]any{sendTo(queue), {"type": "kv_namespace", "name": "KV", "namespace_id": kv.ID}, {"type": "plain_text", "name": "ACT", "text": act}}
	}
	r.put("production/mallory", mallory, bind("own", "")...)
	r.put("production/spinner", mallory, bind("spun", "spin")...)
	r.put("production/hanger", mallory, bind("hung", "hang")...)
	r.put("production/alice", queuesWorker, sendTo("fine"))
	r.dispatcher(`export default { fetch: (request, env) => env.DISPATCHER.get(new URL(request.url).hostname.split(".")[0]).fetch(request) };`, nil)
	const quick = `"settings":{"max_wait_time_ms":0,"max_retries":1}`
	r.consume(ids["spun"], "production/spinner", `"dead_letter_queue":"spun-dead",`+quick)
	r.consume(ids["hung"], "production/hanger", `"dead_letter_queue":"hung-dead",`+quick)
	r.consume(ids["fine"], "production/alice", quick)
	backlog := func(queue string) int {
		t.Helper()
		var m struct {
			Count int `json:"backlog_count"`
		}
		r.call("GET", r.acct("/queues/"+ids[queue]+"/metrics"), "", &m)
		return m.Count
	}

	status, said := r.get("mallory", fmt.Sprintf("/reach?victim=theirs&id=%s&account=%s", ids["theirs"], r.account))
	if status != 200 || backlog("theirs") != 0 {
		t.Errorf("another's queue has %d messages after %d %s", backlog("theirs"), status, said)
	}
	_, said = r.get("mallory", "/flood")
	if !strings.HasPrefix(said, "20 ") || !strings.Contains(said, "Storage Limit Exceeded") {
		t.Errorf("a flood: %s", said)
	}
	for _, host := range []string{"spinner", "hanger"} {
		r.want(host, "/send", 200, "sent")
	}
	if status, answer := r.post("alice", "/send", `{"body":"fine"}`); status != 200 {
		t.Errorf("an innocent's message: %d %s", status, answer)
	}
	r.got("alice", 1) // while the others spin and hang
	deadline := time.Now().Add(40 * time.Second)
	for backlog("spun-dead") != 1 || backlog("hung-dead") != 1 {
		if time.Now().After(deadline) {
			t.Fatalf("dead letters: %d spun, %d hung", backlog("spun-dead"), backlog("hung-dead"))
		}
	}
	if backlog("spun") != 0 || backlog("hung") != 0 {
		t.Errorf("%d and %d messages are left", backlog("spun"), backlog("hung"))
	}
	if status, answer := r.post("alice", "/send", `{"body":"fine"}`); status != 200 {
		t.Errorf("an innocent's message: %d %s", status, answer)
	}
	r.got("alice", 2)
}
