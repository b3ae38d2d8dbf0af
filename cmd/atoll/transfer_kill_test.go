package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const countingObject = `import { DurableObject } from "cloudflare:workers";
export class Counter extends DurableObject {
	hit() {
		this.ctx.storage.sql.exec("CREATE TABLE IF NOT EXISTS hits (n INTEGER PRIMARY KEY)");
		this.ctx.storage.sql.exec("INSERT INTO hits DEFAULT VALUES");
		return this.ctx.storage.sql.exec("SELECT count(*) AS n FROM hits").one().n;
	}
}
export default { async fetch(request, env) {
	if (!env.COUNTER) return new Response("no binding", { status: 404 });
	return new Response(String(await env.COUNTER.getByName("one").hit()));
} }`

// counters are two scripts that a class of objects goes back and forth between.
type counters struct {
	*rawNode
	t *testing.T
}

// deploy deploys a script, with or without its binding, and with a class that it takes from another script; the status is 0 where
// the node is gone.
func (c counters) deploy(name string, bound bool, migrations any) (status int, body string) {
	meta := map[string]any{"main_module": "w.mjs", "compatibility_date": "2026-01-01"}
	if bound {
		meta["bindings"] = []any{map[string]string{"type": "durable_object_namespace", "name": "COUNTER", "class_name": "Counter"}}
	}
	if migrations != nil {
		meta["migrations"] = migrations
	}
	text, err := json.Marshal(meta)
	if err != nil {
		c.t.Error(err)
	}
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	w.WriteField("metadata", string(text))
	part, err := w.CreatePart(textproto.MIMEHeader{"Content-Disposition": {`form-data; name="w.mjs"; filename="w.mjs"`}, "Content-Type": {"application/javascript+module"}})
	if err != nil {
		c.t.Error(err)
	}
	io.WriteString(part, countingObject)
	w.Close()
	return c.send("PUT", c.base+"/workers/scripts/"+name, w.FormDataContentType(), &b, "")
}

// hit counts once more, by a script; it is 0 where that was not acknowledged.
func (c counters) hit(name string) (n int) {
	if status, body := c.send("GET", c.edge+"/", "", nil, name+".atoll.localhost"); status == 200 {
		fmt.Sscan(body, &n)
	}
	return n
}

func (c counters) send(method, url, ctype string, body io.Reader, host string) (int, string) {
	req, err := http.NewRequest(method, url, body)
	if err != nil {
		c.t.Error(err)
		return 0, ""
	}
	req.Host = host
	req.Header.Set("Authorization", c.auth)
	req.Header.Set("Content-Type", ctype)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, ""
	}
	return resp.StatusCode, string(text)
}

// owner is the script that has the class, and the class's id.
func (c counters) owner() (script, id string) {
	c.t.Helper()
	var list []struct{ ID, Script, Class string }
	c.do(c.t, "GET", "/workers/durable_objects/namespaces", "", nil, &list)
	if len(list) != 1 || list[0].Class != "Counter" {
		c.t.Fatalf("classes %+v", list)
	}
	return list[0].Script, list[0].ID
}

// TestKillDuringTransfers kills the node with SIGKILL while a class goes back and forth between two scripts that are both called.
// Each time the class is with one of the two afterwards, as acknowledged or as asked for last, and its object has every count that was
// acknowledged.
func TestKillDuringTransfers(t *testing.T) {
	workerd, dir := findWorkerd(t), t.TempDir()
	c := counters{startRaw(t, workerd, dir), t}
	must := func(status int, body string) {
		t.Helper()
		if status != 200 {
			t.Fatalf("%d %s", status, body)
		}
	}
	must(c.deploy("left", false, map[string]any{"new_tag": "v1", "new_sqlite_classes": []string{"Counter"}}))
	must(c.deploy("right", false, nil))
	for _, name := range []string{"left", "right"} {
		if err := c.atoll(t, dir, "route", "add", name+".atoll.localhost/*", name); err != nil {
			t.Fatal(err)
		}
	}
	owner, class := c.owner()
	counted, transfers := 0, 0
	for round := range 6 {
		var acked, calls atomic.Int64
		var wg sync.WaitGroup
		tried := owner
		count := func(name string) {
			calls.Add(1)
			n := int64(c.hit(name))
			for last := acked.Load(); n > last && !acked.CompareAndSwap(last, n); last = acked.Load() {
			}
		}
		wg.Go(func() {
			for {
				if status, _ := c.deploy(owner, false, nil); status != 200 {
					return
				}
				tried = map[string]string{"left": "right", "right": "left"}[owner]
				moves := []any{map[string]string{"from": "Counter", "from_script": owner, "to": "Counter"}}
				if status, body := c.deploy(tried, true, map[string]any{"new_tag": "t", "transferred_classes": moves}); status != 200 {
					if status != 0 {
						t.Errorf("%d %s", status, body)
					}
					return
				}
				owner = tried
				transfers++
				for range rand.IntN(4) { // else it would hardly ever be called: the next deploy is at once
					count(owner)
				}
			}
		})
		var dead atomic.Bool
		for _, name := range []string{"left", "right"} {
			wg.Go(func() {
				for !dead.Load() {
					count(name)
				}
			})
		}
		after := time.Duration(200+rand.IntN(1000)) * time.Millisecond
		time.AfterFunc(after, func() { c.cmd.Process.Kill() })
		c.cmd.Wait()
		dead.Store(true)
		wg.Wait()
		c = counters{startRaw(t, workerd, dir), t}
		now, id := c.owner()
		if now != owner && now != tried || id != class {
			t.Errorf("round %d: %s has class %s, not %s (or %s) class %s", round, now, id, owner, tried, class)
		}
		owner = now
		must(c.deploy(owner, true, nil))
		counted = max(counted, int(acked.Load()))
		n := c.hit(owner)
		if n <= counted || n > counted+int(calls.Load())+1 {
			t.Errorf("round %d: the object counts %d after %d", round, n, counted)
		}
		counted = n
		t.Logf("round %d: killed after %v, count %d, %d transfers so far", round, after, n, transfers)
		if t.Failed() {
			return
		}
	}
	if transfers == 0 {
		t.Error("nothing was transferred")
	}
}
