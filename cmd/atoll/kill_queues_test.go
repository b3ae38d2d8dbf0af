package main

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// pipe is a Worker that sends ten messages for each request, and notes in KV each one that it gets. Some fail at first.
const pipe = `export default {
	async fetch(request, env) {
		const first = Number(new URL(request.url).pathname.slice(1));
		await env.QUEUE.sendBatch(Array.from({ length: 10 }, (_, i) => ({ body: first + i, delaySeconds: i === 9 ? 1 : 0 })));
		return new Response("done");
	},
	async queue(batch, env) {
		await Promise.all(batch.messages.map((m) => {
			if (m.body % 7 === 0 && m.attempts === 1) return m.retry();
			return env.KV.put(String(m.body), "1");
		}));
	},
}`

// TestKillDuringQueues kills the node with SIGKILL amid messages that are sent, delivered, retried and delayed. Every
// message whose sending was acknowledged is delivered, at the latest after the next start. KILL_ROUNDS sets how often.
func TestKillDuringQueues(t *testing.T) {
	rounds := killRounds()
	workerd, dir := findWorkerd(t), t.TempDir()
	n := startRaw(t, workerd, dir)
	var ns struct{ ID string }
	n.do(t, "POST", "/storage/kv/namespaces", "application/json", strings.NewReader(`{"title":"delivered"}`), &ns)
	var queue struct {
		ID string `json:"queue_id"`
	}
	n.do(t, "POST", "/queues", "application/json", strings.NewReader(`{"queue_name":"pipe"}`), &queue)
	n.put(t, "/workers/scripts/pipe", pipe, map[string]string{"type": "kv_namespace", "name": "KV", "namespace_id": ns.ID},
		map[string]string{"type": "queue", "name": "QUEUE", "queue_name": "pipe"})
	if status := n.do(t, "POST", "/queues/"+queue.ID+"/consumers", "application/json",
		strings.NewReader(`{"type":"worker","script_name":"pipe","settings":{"max_wait_time_ms":50,"batch_size":25,"max_retries":50}}`), nil); status != 200 {
		t.Fatalf("consumer: %d", status)
	}
	if err := n.atoll(t, dir, "route", "add", "kv.atoll.localhost/*", "pipe"); err != nil { // the host that sends asks for
		t.Fatal(err)
	}
	var mu sync.Mutex
	next, acked := 0, []int{}
	for round := range rounds {
		before := len(acked)
		send := func() bool {
			mu.Lock()
			first := next
			next += 10
			mu.Unlock()
			if !n.sends("PUT", fmt.Sprintf("%s/%d", n.edge, first), "") {
				return false
			}
			mu.Lock()
			acked = append(acked, first)
			mu.Unlock()
			return true
		}
		n = n.killed(t, workerd, dir, 100+rand.IntN(700), send, send, send, send)
		t.Logf("round %d: killed after %d requests", round, len(acked)-before)
	}
	n.drains(t, queue.ID)
	delivered := n.keys(t, ns.ID)
	for _, first := range acked {
		for m := first; m < first+10; m++ {
			if !delivered[strconv.Itoa(m)] {
				t.Errorf("message %d was acknowledged and never delivered", m)
			}
		}
	}
	t.Logf("%d messages were acknowledged, %d of %d delivered", 10*len(acked), len(delivered), next)
	if len(acked) < rounds {
		t.Errorf("only %d requests were answered", len(acked))
	}
}

// drains waits until a queue holds nothing.
func (n *rawNode) drains(t *testing.T, id string) {
	t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for {
		var m struct {
			Count int `json:"backlog_count"`
		}
		n.do(t, "GET", "/queues/"+id+"/metrics", "", nil, &m)
		if m.Count == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d messages are still in the queue", m.Count)
		}
	}
}

// keys lists the keys of a KV namespace.
func (n *rawNode) keys(t *testing.T, ns string) map[string]bool {
	t.Helper()
	all, prefixes := map[string]bool{}, []string{""}
	for len(prefixes) > 0 { // a page has a thousand keys
		var list []struct{ Name string }
		n.do(t, "GET", "/storage/kv/namespaces/"+ns+"/keys?prefix="+prefixes[0], "", nil, &list)
		for _, k := range list {
			all[k.Name] = true
		}
		if len(list) == 1000 {
			for d := range 10 {
				prefixes = append(prefixes, prefixes[0]+strconv.Itoa(d))
			}
		}
		prefixes = prefixes[1:]
	}
	return all
}
