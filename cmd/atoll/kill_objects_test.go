package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"mime/multipart"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"atoll.dev/atoll/internal/objects"
)

// ledger has objects that keep numbers in SQL and in key-value storage, and set alarms.
const ledger = `import { DurableObject } from "cloudflare:workers";
export class Ledger extends DurableObject {
	constructor(ctx, env) { super(ctx, env); ctx.storage.sql.exec("CREATE TABLE IF NOT EXISTS entries (n INTEGER PRIMARY KEY)"); }
	async add(n) {
		if (n % 2) this.ctx.storage.sql.exec("INSERT INTO entries VALUES (?)", n);
		else await this.ctx.storage.put("n" + n, true);
		return "added";
	}
	async list() {
		const rows = [...this.ctx.storage.sql.exec("SELECT n FROM entries")].map((r) => r.n);
		for (const key of (await this.ctx.storage.list({ prefix: "n" })).keys()) rows.push(Number(key.slice(1)));
		return JSON.stringify(rows);
	}
	async ring(ms) { await this.ctx.storage.setAlarm(Date.now() + ms); return "set"; }
	async alarm() { await this.ctx.storage.put("rang", Date.now()); }
	async rang() { return String(await this.ctx.storage.get("rang")); }
}
export default { async fetch(request, env) {
	const [, object, method, n] = new URL(request.url).pathname.split("/");
	return new Response(await env.LEDGER.getByName(object)[method](Number(n)));
} };`

// objectNode is a node with the script "ledger" of the account, which answers on its own host.
type objectNode struct {
	*rawNode
	host string
}

func (n objectNode) get(path string) (string, error) {
	req, err := http.NewRequest("GET", n.edge+path, nil)
	if err != nil {
		return "", err
	}
	req.Host = n.host
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != 200 {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	return string(body), err
}

// deployLedger deploys the script and routes a host to it.
func (n *rawNode) deployLedger(t *testing.T, dir string) objectNode {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	w.WriteField("metadata", `{"main_module":"w.mjs","compatibility_date":"2026-01-01","migrations":{"new_tag":"v1","new_sqlite_classes":["Ledger"]},
		"bindings":[{"type":"durable_object_namespace","name":"LEDGER","class_name":"Ledger"}]}`)
	w.WriteField("w.mjs", ledger)
	w.Close()
	n.do(t, "PUT", "/workers/scripts/ledger", w.FormDataContentType(), &b, nil)
	if err := n.atoll(t, dir, "route", "add", "ledger.atoll.localhost/*", "ledger"); err != nil {
		t.Fatal(err)
	}
	return objectNode{n, "ledger.atoll.localhost"}
}

// TestKillObjects kills the node with SIGKILL amid writes of Durable Objects, in 50 rounds on the same data: what was
// acknowledged is there after each.
func TestKillObjects(t *testing.T) {
	const rounds, writers = 50, 4
	workerd, dir := findWorkerd(t), t.TempDir()
	n := startRaw(t, workerd, dir).deployLedger(t, dir)
	acked := make([][]int, writers) // of each writer's own object
	next, total := 0, 0
	for round := range rounds {
		var done atomic.Int64
		killAt := int64(1 + rand.IntN(60))
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for i := next + w; ; i += writers {
					if got, err := n.get(fmt.Sprintf("/o%d/add/%d", w, i)); err != nil || got != "added" {
						return
					}
					acked[w] = append(acked[w], i)
					if done.Add(1) == killAt {
						n.cmd.Process.Kill()
					}
				}
			})
		}
		wg.Wait()
		n.cmd.Wait()
		if done.Load() < killAt {
			t.Fatalf("round %d: writes failed before the node was killed", round)
		}
		next += 1_000_000
		n.rawNode = startRaw(t, workerd, dir)
		for w := range writers {
			text, err := n.get(fmt.Sprintf("/o%d/list/0", w))
			var list []int
			if err == nil {
				err = json.Unmarshal([]byte(text), &list)
			}
			if err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
			has := map[int]bool{}
			for _, i := range list {
				has[i] = true
			}
			for _, i := range acked[w] {
				if !has[i] {
					t.Fatalf("round %d: write %d to object %d was acknowledged and is lost", round, i, w)
				}
			}
		}
		total += int(done.Load())
	}
	t.Logf("%d acknowledged writes survived %d kills", total, rounds)
}

// An alarm rings though the node was killed meanwhile and nobody has asked for the script since it started again.
func TestKillBeforeAlarm(t *testing.T) {
	workerd, dir := findWorkerd(t), t.TempDir()
	n := startRaw(t, workerd, dir).deployLedger(t, dir)
	if got, err := n.get("/a/ring/1500"); err != nil || got != "set" {
		t.Fatal(got, err)
	}
	n.cmd.Process.Kill()
	n.cmd.Wait()
	store, err := objects.Open(slog.New(slog.DiscardHandler), dir)
	if err != nil {
		t.Fatal(err)
	}
	var class string
	entries, err := os.ReadDir(store.Root())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() {
			class = e.Name()
		}
	}
	due, ok, err := store.NextAlarm(t.Context(), class)
	if err != nil || !ok {
		t.Fatalf("no alarm after the kill: %v", err)
	}
	n.rawNode = startRaw(t, workerd, dir)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(20 * time.Second); ok; <-tick.C {
		if time.Now().After(end) {
			t.Fatal("the alarm did not ring")
		}
		if _, ok, err = store.NextAlarm(t.Context(), class); err != nil {
			t.Fatal(err)
		}
	}
	asked := time.Now()
	text, err := n.get("/a/rang/0")
	var rang int64
	fmt.Sscan(text, &rang)
	if at := time.UnixMilli(rang); err != nil || at.Before(due.Add(-time.Millisecond)) || at.After(asked) {
		t.Errorf("it was due at %v, asked for at %v, and rang at %s %v", due, asked, text, err)
	}
}
