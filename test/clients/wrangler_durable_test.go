package clients_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// The example of Durable Objects, deployed by wrangler twice: the second time it knows that the migration has been applied,
// and what the objects have stored is there. Both for a script of the account and for a customer's.
func TestExampleDurableObject(t *testing.T) {
	for _, args := range [][]string{{"deploy"}, {"deploy", "--dispatch-namespace", "production"}} {
		t.Run(fmt.Sprintf("%d-arguments", len(args)), func(t *testing.T) {
			t.Parallel()
			n := startNode(t)
			w := n.example("bindings/durable-object")
			where := "/workers/scripts/counter"
			if len(args) > 1 {
				n.platform()
				where = "/workers/dispatch/namespaces/production/scripts/counter"
			}
			w.ok(args...)
			count := func(method, path, want string) {
				t.Helper()
				if got := n.sends(method, "counter", path, ""); got.Status != 200 || strings.TrimSpace(got.Body) != want {
					t.Errorf("%s %s: %d %q, want %s", method, path, got.Status, got.Body, want)
				}
			}
			count("POST", "/visits", "1")
			count("POST", "/visits", "2")
			count("POST", "/other", "1")
			w.edit("src/index.js", "LIMIT 3", "LIMIT 1")
			w.ok(args...)
			count("POST", "/visits?reset=1", "3")
			var shown struct {
				Count  int
				Latest []string
			}
			got := n.sends("GET", "counter", "/visits", "")
			if err := json.Unmarshal([]byte(got.Body), &shown); err != nil || shown.Count != 3 || len(shown.Latest) != 1 {
				t.Errorf("after a redeploy: %v %s", err, got.Body)
			}
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			for end := time.Now().Add(15 * time.Second); shown.Count > 0; <-tick.C {
				if time.Now().After(end) {
					t.Fatal("the alarm did not ring")
				}
				if err := json.Unmarshal([]byte(n.sends("GET", "counter", "/visits", "").Body), &shown); err != nil {
					t.Fatal(err)
				}
			}
			count("POST", "/other", "2")

			var tagged struct {
				Result struct {
					MigrationTag string `json:"migration_tag"`
					Script       struct {
						MigrationTag string `json:"migration_tag"`
					}
				}
			}
			if len(args) > 1 {
				if err := json.Unmarshal([]byte(n.call("GET", n.acct()+where, "", "").Body), &tagged); err != nil || tagged.Result.Script.MigrationTag != "v1" {
					t.Errorf("%v %+v", err, tagged)
				}
			}
			var spaces struct {
				Result []struct{ ID, Class, Script, Name string }
			}
			if err := json.Unmarshal([]byte(n.call("GET", n.acct()+"/workers/durable_objects/namespaces?per_page=1000&page=1", "", "").Body), &spaces); err != nil ||
				len(spaces.Result) != 1 || spaces.Result[0].Name != "counter_Counter" {
				t.Fatalf("%v %+v", err, spaces)
			}
			var objects struct {
				Result []struct{ ID string }
			}
			objectsPath := n.acct() + "/workers/durable_objects/namespaces/" + spaces.Result[0].ID + "/objects"
			if err := json.Unmarshal([]byte(n.call("GET", objectsPath, "", "").Body), &objects); err != nil || len(objects.Result) != 2 {
				t.Errorf("%v %+v", err, objects)
			}
			w.edit("wrangler.jsonc", `"Counter" }]`, `"Missing" }]`)
			matches(t, w.fails(args...), `10061|Cannot create binding for class 'Missing'|not exported`)
			if len(args) == 1 {
				w.ok("delete", "--force", "--name", "counter")
				if got := n.call("GET", objectsPath, "", ""); got.Status != 404 || !strings.Contains(got.Body, "10066") {
					t.Errorf("after deletion: %d %s", got.Status, got.Body)
				}
			}
		})
	}
}

// Counters go from one script to another by wrangler's own migration, once the first is no longer bound to them, and count on.
func TestWranglerTransfersObjects(t *testing.T) {
	for _, args := range [][]string{{"deploy"}, {"deploy", "--dispatch-namespace", "production"}} {
		t.Run(fmt.Sprintf("%d-arguments", len(args)), func(t *testing.T) {
			t.Parallel()
			n := startNode(t)
			old, next := n.example("bindings/durable-object"), n.example("bindings/durable-object")
			if len(args) > 1 {
				n.platform()
			}
			count := func(host, want string) {
				t.Helper()
				if got := n.sends("POST", host, "/visits", ""); got.Status != 200 || strings.TrimSpace(got.Body) != want {
					t.Errorf("%s: %d %q, want %s", host, got.Status, got.Body, want)
				}
			}
			old.ok(args...)
			count("counter", "1")
			count("counter", "2")
			next.edit("wrangler.jsonc", `"name": "counter"`, `"name": "tally"`)
			next.edit("wrangler.jsonc", `"counter.atoll.localhost/*"`, `"tally.atoll.localhost/*"`)
			next.edit("wrangler.jsonc", `"class_name": "Counter"`, `"class_name": "Tally"`)
			next.edit("wrangler.jsonc", `"new_sqlite_classes": ["Counter"]`, `"transferred_classes": [{ "from": "Counter", "from_script": "counter", "to": "Tally" }]`)
			next.edit("src/index.js", "class Counter", "class Tally")
			matches(t, next.fails(args...), `while its binding 'COUNTERS' references it.*10061`)
			count("counter", "3")
			old.edit("wrangler.jsonc", `[{ "name": "COUNTERS", "class_name": "Counter" }]`, `[]`)
			old.ok(args...)
			next.ok(args...)
			count("tally", "4")
			old.edit("src/index.js", "export class Counter", "class Counter") // it is nobody's any more
			old.ok(args...)
			old.edit("wrangler.jsonc", `"bindings": []`, `"bindings": [{ "name": "COUNTERS", "class_name": "Counter" }]`)
			old.fails(args...)
			next.ok(args...) // it knows that its migration has been applied
			count("tally", "5")
		})
	}
}
