package node_test

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"atoll.dev/atoll/internal/node"
)

//go:embed testdata/d1.js
var d1Worker string

// database makes a D1 database and returns its id.
func (r *rig) database(name string) string {
	r.t.Helper()
	var d struct{ UUID string }
	r.call("POST", r.acct("/d1/database"), `{"name":"`+name+`"}`, &d)
	return d.UUID
}

// d1 is a rig with two user Workers, each bound to a database of its own, whose ids it returns.
func d1Rig(t *testing.T) (r *rig, alice, mallory string) {
	t.Helper()
	r = newRig(t, node.Config{})
	r.dispatcher(`export default { fetch(request, env) { return env.DISPATCHER.get(new URL(request.url).hostname.split(".")[0]).fetch(request) } }`, nil)
	alice, mallory = r.database("alice"), r.database("mallory")
	r.put("production/alice", d1Worker, map[string]any{"type": "d1", "name": "DB", "id": alice})
	r.put("production/mallory", d1Worker, map[string]any{"type": "d1", "name": "DB", "id": mallory})
	return r, alice, mallory
}

// sql sends a statement to a host's Worker.
func (r *rig) sql(host, method, sql string) (int, string) {
	r.t.Helper()
	body, _ := json.Marshal(map[string]any{"sql": sql, "times": 8})
	return r.post(host, "/"+method, string(body))
}

func TestD1(t *testing.T) {
	r, alice, _ := d1Rig(t)
	if status, got := r.sql("alice", "run", "CREATE TABLE secrets (a INTEGER PRIMARY KEY, b TEXT)"); status != 200 {
		t.Fatal(got)
	}
	r.sql("alice", "run", "INSERT INTO secrets (b) VALUES ('one'), ('two')")
	for _, c := range []struct{ method, sql, want string }{
		{"raw", "SELECT * FROM secrets", `[[1,"one"],[2,"two"]]`},
		{"first", "SELECT b FROM secrets WHERE a = 2", `{"b":"two"}`},
		{"first", "SELECT b FROM secrets WHERE a = 3", `null`},
		{"all", "SELECT c FROM secrets", `Error: D1_ERROR: no such column: c at offset 7: SQLITE_ERROR`},
		{"dump", "", "SQLite format 3"},
	} {
		if _, got := r.sql("alice", c.method, c.sql); got != c.want {
			t.Errorf("%s %s: %s, want %s", c.method, c.sql, got, c.want)
		}
	}
	var results []struct{ Results []map[string]any }
	r.call("POST", r.acct("/d1/database/"+alice+"/query"), `{"sql":"INSERT INTO secrets (b) VALUES ('three'); SELECT 1","params":[]}`, nil)
	r.call("POST", r.acct("/d1/database/alice/query"), `{"sql":"SELECT count(*) AS n FROM secrets WHERE b = ?","params":["one"]}`, &results)
	if len(results) != 1 || results[0].Results[0]["n"] != 1.0 {
		t.Error(results)
	}
	// A database is deleted though a Worker is bound to it, and the Worker hears of it.
	r.call("DELETE", r.acct("/d1/database/"+alice), "", nil)
	if _, got := r.sql("alice", "all", "SELECT 1"); got != "Error: D1_ERROR: The database "+alice+" could not be found" {
		t.Error(got)
	}
	if refused := r.upload("production/eve", d1Worker, map[string]any{"bindings": []any{map[string]any{"type": "d1", "name": "DB", "id": alice}}}); !strings.Contains(refused, "10181") {
		t.Error(refused)
	}
}

// TestHostileD1 has a Worker turn its database against the node and against another's.
func TestHostileD1(t *testing.T) {
	r, alice, _ := d1Rig(t)
	r.sql("alice", "run", "CREATE TABLE secrets (a)")
	r.sql("alice", "run", "INSERT INTO secrets VALUES ('mine')")
	body, _ := json.Marshal(map[string]string{"other": alice})
	if _, got := r.post("mallory", "/reach", string(body)); strings.Contains(got, "mine") {
		t.Errorf("another's database: %s", got)
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	const forever = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) "
	for _, c := range []struct{ sql, want string }{
		{"ATTACH '" + dir + "/../d1/" + alice + ".sqlite' AS x", "not authorized"},
		{"SELECT load_extension('/lib/x86_64-linux-gnu/libc.so.6')", "not authorized"},
		{"PRAGMA writable_schema = on", "not authorized"},
		{"PRAGMA max_page_count = 1073741823", "not authorized"},
		{"PRAGMA wal_autocheckpoint = 0", "not authorized"},
		{"VACUUM INTO '/tmp/mallory'", "cannot VACUUM"},
		{"SELECT * FROM pragma_database_list", "not authorized"},
		{"SELECT * FROM sqlite_dbpage", "prohibited"},
		{"SELECT zeroblob(2000000000)", "too big"},
		{"SELECT printf('%.*c', 2000000000, 'x')", "too big"},
		{"SELECT randomblob(1 << 30)", "too big"},
		{"WITH RECURSIVE r(n, b) AS (SELECT 1, zeroblob(1900000) UNION SELECT n + 1, zeroblob(1900000) FROM r) SELECT count(*) FROM r", "memory limit"},
		{"WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT 3000) SELECT n, hex(zeroblob(900000)) AS b FROM r", "memory limit"},
		{"SELECT instr(hex(zeroblob(990000)), substr(hex(zeroblob(990000)), 1, 900000) || '1')", `"success":true`},
	} {
		if _, got := r.sql("mallory", "all", c.sql); !strings.Contains(got, c.want) {
			t.Errorf("%s: %.300s, want %s", c.sql, got, c.want)
		}
	}

	// Statements without end, more than there are cores, do not keep another's from running, and end with their caller.
	var hogs sync.WaitGroup
	for range 2 * runtime.GOMAXPROCS(0) {
		hogs.Go(func() { r.sql("mallory", "many", forever+"SELECT sum(n) FROM r") })
	}
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	slowest := time.Duration(0)
	for range 20 {
		start := time.Now()
		if _, got := r.sql("alice", "raw", "SELECT a FROM secrets"); got != `[["mine"]]` {
			t.Error(got)
		}
		slowest = max(slowest, time.Since(start))
	}
	if slowest > 10*time.Second {
		t.Errorf("a look-up beside endless statements took %v", slowest)
	}
	t.Logf("slowest look-up beside endless statements: %v", slowest)
	r.call("DELETE", r.acct("/d1/database/mallory"), "", nil) // stops them
	hogs.Wait()
	if _, got := r.sql("alice", "raw", "SELECT a FROM secrets"); got != `[["mine"]]` {
		t.Error(fmt.Sprint("after all: ", got))
	}
}
