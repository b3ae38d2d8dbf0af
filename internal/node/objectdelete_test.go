package node_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/net/websocket"

	"atoll.dev/atoll/internal/node"
)

// keeper has two classes of objects, which count in their storage and set an alarm, and hold WebSockets.
const keeper = `import { DurableObject } from "cloudflare:workers";
class Counter extends DurableObject {
	async hit() {
		const n = (await this.ctx.storage.get("n") ?? 0) + 1;
		await this.ctx.storage.put("n", n);
		await this.ctx.storage.setAlarm(Date.now() + 3600_000);
		return n;
	}
	alarm() {}
	fetch() {
		const { 0: client, 1: server } = new WebSocketPair();
		this.ctx.acceptWebSocket(server);
		return new Response(null, { status: 101, webSocket: client });
	}
}
export class One extends Counter {}
export class Two extends Counter {}
export default { async fetch(request, env) {
	const namespace = env[new URL(request.url).pathname.slice(1)];
	if (!namespace) return new Response("no binding", { status: 404 });
	const stub = namespace.getByName("a");
	return request.headers.get("upgrade") ? stub.fetch(request) : new Response(String(await stub.hit()));
} };`

// classID is the id of a script's class, "" where it has none.
func (r *rig) classID(script, class string) string {
	r.t.Helper()
	var list []struct{ ID, Script, Class string }
	r.call("GET", r.acct("/workers/durable_objects/namespaces"), "", &list)
	for _, c := range list {
		if c.Script == script && c.Class == class {
			return c.ID
		}
	}
	return ""
}

// stored tells whether there is anything of a class on the disk.
func (r *rig) stored(class string) bool {
	r.t.Helper()
	list, err := filepath.Glob(filepath.Join(r.data, "objects", class+"*"))
	if err != nil {
		r.t.Fatal(err)
	}
	return len(list) > 0
}

// keeperBindings are the bindings of keeper, to these of its classes.
func keeperBindings(migrations map[string]any, classes ...string) map[string]any {
	m := map[string]any{}
	if migrations != nil {
		m["migrations"] = migrations
	}
	var bindings []any
	for _, c := range classes {
		bindings = append(bindings, map[string]any{"type": "durable_object_namespace", "name": strings.ToUpper(c), "class_name": c})
	}
	m["bindings"] = bindings
	return m
}

// A script that is deleted takes its objects and all they have stored along, though one of them has a WebSocket open and an
// alarm set, and one of the same name begins with nothing. Nobody is asked for force=true: like wrangler's delete, which asks for
// it only where other scripts refer to this one.
func TestObjectsOfADeletedScript(t *testing.T) {
	r := newRig(t, node.Config{})
	r.dispatcher(dispatchByHost, nil)
	made := map[string]any{"new_tag": "v1", "new_sqlite_classes": []string{"One"}, "new_classes": []string{"Two"}}
	for _, c := range []struct{ host, script, path string }{
		{"alice", "production/alice", "/workers/dispatch/namespaces/production/scripts/alice?force=true"},
		{"bob", "production/bob", "/workers/dispatch/namespaces/production/scripts/bob"},
		{"plain", "plain", "/workers/services/plain?force=false"},
	} {
		t.Run(c.host, func(t *testing.T) {
			deploy := func() (one, two string) {
				t.Helper()
				if refused := r.upload(c.script, keeper, keeperBindings(made, "One", "Two")); refused != "" {
					t.Fatal(refused)
				}
				if c.script == "plain" { // its routes go with it
					r.route("plain."+zone+"/*", "plain")
				}
				for _, path := range []string{"/ONE", "/TWO"} {
					r.want(c.host, path, 200, "1")
					r.want(c.host, path, 200, "2")
				}
				return r.classID(c.host, "One"), r.classID(c.host, "Two")
			}
			one, two := deploy()
			if !r.stored(one) || !r.stored(two) {
				t.Fatalf("nothing is stored of classes %q and %q", one, two)
			}
			cfg, err := websocket.NewConfig("ws://"+c.host+"."+zone+"/ONE", "http://"+c.host+"."+zone)
			if err != nil {
				t.Fatal(err)
			}
			conn, err := net.Dial("tcp", strings.TrimPrefix(r.edge, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := websocket.NewClient(cfg, conn); err != nil {
				t.Fatal(err)
			}
			r.call("DELETE", r.acct(c.path), "", nil)
			if id := r.classID(c.host, "One"); id != "" {
				t.Errorf("class %s is still there", id)
			}
			again, other := deploy() // at once: the old storage may still be there
			if again == one || other == two {
				t.Error("the new script has the old one's classes")
			}
			r.until("the old storage to be deleted", func() bool { return !r.stored(one) && !r.stored(two) })
			r.want(c.host, "/ONE", 200, "3")
		})
	}
}

// A class that a migration deletes is gone with what its objects have stored, and only that class; one of its name that is made
// later begins with nothing.
func TestObjectsOfADeletedClass(t *testing.T) {
	r := newRig(t, node.Config{})
	r.dispatcher(dispatchByHost, nil)
	deploy := func(migrations map[string]any, classes ...string) {
		t.Helper()
		if refused := r.upload("production/alice", keeper, keeperBindings(migrations, classes...)); refused != "" {
			t.Fatal(refused)
		}
	}
	deploy(map[string]any{"new_tag": "v1", "new_sqlite_classes": []string{"One", "Two"}}, "One", "Two")
	r.want("alice", "/ONE", 200, "1")
	r.want("alice", "/TWO", 200, "1")
	one, two := r.classID("alice", "One"), r.classID("alice", "Two")
	deleting := map[string]any{"old_tag": "v1", "new_tag": "v2", "deleted_classes": []string{"One"}}
	if refused := r.upload("production/alice", keeper, keeperBindings(deleting, "One", "Two")); !strings.Contains(refused, "10061") {
		t.Errorf("a deletion of a class that is bound was answered with %q", refused)
	}
	r.want("alice", "/ONE", 200, "2") // as if nothing had been asked for
	deploy(deleting, "Two")
	r.until("the storage to be deleted", func() bool { return !r.stored(one) })
	if id := r.classID("alice", "One"); id != "" || !r.stored(two) {
		t.Errorf("class One is %q, of class Two is stored: %v", id, r.stored(two))
	}
	r.want("alice", "/ONE", 404, "no binding")
	r.want("alice", "/TWO", 200, "2")
	deploy(map[string]any{"old_tag": "v2", "new_tag": "v3", "new_sqlite_classes": []string{"One"}}, "One", "Two")
	r.want("alice", "/ONE", 200, "1")
	r.want("alice", "/TWO", 200, "3")
	if _, err := os.Stat(filepath.Join(r.data, "objects", r.classID("alice", "One"))); err != nil {
		t.Error(err)
	}
}
