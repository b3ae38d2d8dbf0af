package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"atoll.dev/atoll/internal/objects"
)

// everyStore is a Worker that is bound to each kind of store.
const everyStore = `export default { async fetch(request, env) {
	const url = new URL(request.url), [, method, arg] = url.pathname.split("/"), part = "p".repeat(5 << 20);
	const answer = {
		async secret() { return env.KEY.get(); },
		async points() { for (let i = 0; i < 3; i++) env.POINTS.writeDataPoint({ indexes: ["backed-up"], doubles: [i] }); return "written"; },
		async send() { await env.QUEUE.sendBatch([{ body: "one" }, { body: "two" }]); return "sent"; },
		async begin() {
			const upload = await env.BUCKET.createMultipartUpload("parts", { customMetadata: { of: "backup" } });
			return JSON.stringify({ id: upload.uploadId, part: await upload.uploadPart(1, "first" + part) });
		},
		async complete() {
			const { id, part: first } = JSON.parse(await request.text());
			const upload = env.BUCKET.resumeMultipartUpload("parts", id);
			await upload.complete([first, await upload.uploadPart(2, "last")]);
			const o = await env.BUCKET.get("parts"), text = await o.text();
			return [text === "first" + part + "last", o.customMetadata.of].join();
		},
		async put() { await env.KV.put("k", "kept"); await env.BUCKET.put("k", "kept".repeat(200000)); return "put"; },
		async get() {
			const o = await env.BUCKET.get("k");
			return [await env.KV.get("k"), await o.text() === "kept".repeat(200000)].join();
		},
		async sql() { return JSON.stringify((await env.DB.prepare(await request.text()).all()).results); },
		async cache() {
			const c = await caches.open("c"), long = "c".repeat(500000);
			await c.put("http://x.example/" + arg, new Response(long, { headers: { "cache-control": "max-age=600" } }));
			const kept = await c.match("http://x.example/" + arg);
			return !kept ? "not kept" : await kept.text() === long ? "cached" : "damaged";
		},
	}[method];
	try { return new Response(await answer(arg)); } catch (e) { return new Response(e.stack, { status: 500 }); }
} }`

// TestBackupOfEveryStore backs up a live node that has something in every store, and reads all of it from a node on the copy.
// The backup knows every entry of the data directory: who adds a store adds it to package backup's list.
func TestBackupOfEveryStore(t *testing.T) {
	workerd, dir := findWorkerd(t), t.TempDir()
	data, to := filepath.Join(dir, "data"), filepath.Join(dir, "backup")
	n := startRaw(t, workerd, data)
	f := fillStores(t, n, data)
	report := f.backup(data, to)
	if len(report.Unknown)+len(report.Skipped)+len(report.Damaged) > 0 || !report.Running {
		t.Errorf("the backup does not know all of what a node makes: %+v", report)
	}
	f.asked("POST", "stores", "/sql", "DELETE FROM t", "[]") // after the backup
	n.cmd.Process.Kill()
	n.cmd.Wait()
	f.restored(startRaw(t, workerd, to), to)
	f.damaged(workerd, data, to+"-damaged")
}

// damaged backs up a stopped node after files of tenants were damaged: those alone are, also on the copy.
func (f *filled) damaged(workerd, data, to string) {
	t := f.t
	t.Helper()
	object, err := filepath.Glob(filepath.Join(data, "objects", "*", "[0-9a-f]*.sqlite")) // not that of the alarms
	if err != nil || len(object) != 1 {
		t.Fatal(object, err)
	}
	for _, path := range []string{filepath.Join(data, "d1", f.database+".sqlite"), object[0]} {
		if err := errors.Join(os.WriteFile(path, []byte("SQLite format 3\x00 no more"), 0o600), os.RemoveAll(path+"-wal")); err != nil {
			t.Fatal(err)
		}
	}
	if report := f.backup(data, to); len(report.Damaged) != 2 || !strings.Contains(report.Damaged[0], f.database) || report.Running {
		t.Errorf("of two damaged files: %+v", report)
	}
	f.node = startRaw(t, workerd, to)
	f.asked("GET", "stores", "/get", "", "kept,true")
	f.asked("GET", "site", "/page.txt", "", "an asset")
	f.asked("GET", "ledger", "/another/add/9", "", "added")
	for script, path := range map[string]string{"stores": "/sql", "ledger": "/o/list/0"} {
		if got := f.ask("POST", script, path, "SELECT n FROM t"); !strings.HasPrefix(got, "500 ") {
			t.Errorf("%s%s of a damaged file: %q", script, path, got)
		}
	}
}

// A filled node has something in every store.
type filled struct {
	t                       *testing.T
	node                    *rawNode
	queue, database, upload string
	values, secret          string // paths of the API
	bookmark                string // of the database when it held one row
}

// fillStores makes one of everything, and writes to it.
func fillStores(t *testing.T, n *rawNode, data string) *filled {
	t.Helper()
	f := &filled{t: t, node: n}
	var ns struct{ ID string }
	f.made("/storage/kv/namespaces", `{"title":"every"}`, &ns)
	f.made("/r2/buckets", `{"name":"every"}`, nil)
	var queue struct {
		ID string `json:"queue_id"`
	}
	f.made("/queues", `{"queue_name":"every"}`, &queue)
	var db struct{ UUID string }
	f.made("/d1/database", `{"name":"every"}`, &db)
	var store struct{ ID string }
	var secrets []struct{ ID string }
	f.made("/secrets_store/stores", `{"name":"every"}`, &store)
	f.made("/secrets_store/stores/"+store.ID+"/secrets", `[{"name":"key","value":"hush","scopes":["workers"]}]`, &secrets)
	f.queue, f.database, f.values = queue.ID, db.UUID, "/storage/kv/namespaces/"+ns.ID+"/values/"
	f.secret = "/secrets_store/stores/" + store.ID + "/secrets/" + secrets[0].ID
	n.put(t, "/workers/scripts/stores", everyStore,
		map[string]string{"type": "kv_namespace", "name": "KV", "namespace_id": ns.ID},
		map[string]string{"type": "r2_bucket", "name": "BUCKET", "bucket_name": "every"},
		map[string]string{"type": "queue", "name": "QUEUE", "queue_name": "every"},
		map[string]string{"type": "d1", "name": "DB", "id": db.UUID},
		map[string]string{"type": "analytics_engine", "name": "POINTS", "dataset": "every"},
		map[string]string{"type": "secrets_store_secret", "name": "KEY", "store_id": store.ID, "secret_name": "key"})
	f.route(data, "stores")
	site := t.TempDir()
	if err := os.WriteFile(filepath.Join(site, "page.txt"), []byte("an asset"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := n.atoll(t, data, "deploy", site, "--name", "site"); err != nil {
		t.Fatal(err)
	}
	f.route(data, "site")
	n.deployLedger(t, data)

	f.asked("POST", "stores", "/put", "", "put")
	f.asked("POST", "stores", "/send", "", "sent")
	f.asked("POST", "stores", "/cache", "", "cached")
	f.asked("POST", "stores", "/sql", "CREATE TABLE t (n INTEGER)", "[]")
	f.asked("POST", "stores", "/sql", "INSERT INTO t VALUES (1)", "[]")
	var at struct{ Bookmark string }
	n.do(t, "GET", "/d1/database/"+db.UUID+"/time_travel/bookmark", "", nil, &at)
	f.bookmark = at.Bookmark
	f.asked("POST", "stores", "/sql", "INSERT INTO t VALUES (2)", "[]")
	f.upload = f.ask("POST", "stores", "/begin", "")
	f.asked("POST", "stores", "/points", "", "written")
	f.waitPoints(data, 3)
	f.asked("GET", "ledger", "/o/add/7", "", "added")
	f.asked("GET", "ledger", "/o/ring/12000", "", "set")
	return f
}

// restored checks that a node on a copy has all of it.
func (f *filled) restored(n *rawNode, data string) {
	t := f.t
	t.Helper()
	f.node = n
	f.asked("GET", "stores", "/get", "", "kept,true")
	f.asked("GET", "stores", "/secret", "", "hush")
	f.asked("GET", "site", "/page.txt", "", "an asset")
	f.asked("POST", "stores", "/complete", f.upload, "true,backup")
	if n := f.countPoints(data); n != 3 {
		t.Errorf("the copy has %d points", n)
	}
	f.asked("POST", "stores", "/sql", "SELECT n FROM t ORDER BY n", `[{"n":1},{"n":2}]`)
	if status := n.do(t, "POST", "/d1/database/"+f.database+"/time_travel/restore?bookmark="+f.bookmark, "", nil, nil); status != 200 {
		t.Errorf("time travel on the copy: %d", status)
	}
	f.asked("POST", "stores", "/sql", "SELECT n FROM t ORDER BY n", `[{"n":1}]`)
	f.asked("GET", "ledger", "/o/list/0", "", "[7]")
	f.rings(data)

	f.made("/queues/"+f.queue+"/consumers", `{"type":"http_pull"}`, nil)
	var pulled struct{ Messages []struct{ Body string } }
	f.made("/queues/"+f.queue+"/messages/pull", `{"batch_size":10}`, &pulled)
	var got []string
	for _, m := range pulled.Messages {
		body, err := base64.StdEncoding.DecodeString(m.Body)
		if err != nil {
			t.Error(err)
		}
		got = append(got, string(body))
	}
	if strings.Join(got, " ") != `"one" "two"` {
		t.Errorf("the queue holds %q", got)
	}
}

// rings waits for the alarm that was pending when the copy was made.
func (f *filled) rings(data string) {
	t := f.t
	t.Helper()
	store, err := objects.Open(slog.New(slog.DiscardHandler), data)
	if err != nil {
		t.Fatal(err)
	}
	classes, err := filepath.Glob(filepath.Join(store.Root(), "*.lock"))
	if err != nil || len(classes) != 1 {
		t.Fatal(classes, err)
	}
	class := strings.TrimSuffix(filepath.Base(classes[0]), ".lock")
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end, pending := time.Now().Add(40*time.Second), true; pending; <-tick.C {
		if time.Now().After(end) {
			t.Fatal("the alarm did not ring")
		}
		if _, pending, err = store.NextAlarm(t.Context(), class); err != nil {
			t.Fatal(err)
		}
	}
	if rang := f.ask("GET", "ledger", "/o/rang/0", ""); rang == "undefined" {
		t.Error("the alarm is gone and has not rung")
	}
}

type backupReport struct {
	Running                   bool
	Damaged, Unknown, Skipped []string
}

// backup takes one while alarms are pending, and returns what it says.
func (f *filled) backup(data, to string) (r backupReport) {
	f.t.Helper()
	out, err := backUp(data, to, "--json")
	if err == nil {
		err = json.Unmarshal(out, &r)
	}
	if err != nil {
		f.t.Fatal(err)
	}
	return r
}

func (f *filled) made(path, body string, result any) {
	f.t.Helper()
	if status := f.node.do(f.t, "POST", path, "application/json", strings.NewReader(body), result); status != 200 {
		f.t.Fatalf("%s: %d", path, status)
	}
}

func (f *filled) route(data, script string) {
	f.t.Helper()
	if err := f.node.atoll(f.t, data, "route", "add", script+".atoll.localhost/*", script); err != nil {
		f.t.Fatal(err)
	}
}

// ask returns what a script answers.
func (f *filled) ask(method, script, path, body string) string {
	f.t.Helper()
	req, err := http.NewRequest(method, f.node.edge+path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	req.Host = script + ".atoll.localhost"
	status, text := f.send(req)
	if status != 200 {
		return fmt.Sprintf("%d %s", status, text)
	}
	return text
}

func (f *filled) asked(method, script, path, body, want string) {
	f.t.Helper()
	if got := f.ask(method, script, path, body); got != want {
		f.t.Errorf("%s%s %q: %.300q, not %q", script, path, body, got, want)
	}
}
