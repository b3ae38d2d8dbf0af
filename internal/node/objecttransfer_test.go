package node_test

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/websocket"

	"atoll.dev/atoll/internal/node"
)

// mover has three classes of objects that count in their storage and in memory, tell their ids, send something out in an alarm,
// and hold WebSockets that hibernate.
const mover = `import { DurableObject } from "cloudflare:workers";
class Counter extends DurableObject {
	#inMemory = 0; sql = true;
	async hit() {
		const n = (await this.ctx.storage.get("n") ?? 0) + 1;
		await this.ctx.storage.put("n", n);
		if (this.sql) {
			this.ctx.storage.sql.exec("CREATE TABLE IF NOT EXISTS hits (n INTEGER)");
			this.ctx.storage.sql.exec("INSERT INTO hits VALUES (?)", n);
			if (this.ctx.storage.sql.exec("SELECT count(*) AS n FROM hits").one().n !== n) throw new Error("SQL has lost something");
		}
		return { id: this.ctx.id.toString(), n, memory: ++this.#inMemory };
	}
	wake(ms) { return this.ctx.storage.setAlarm(Date.now() + ms); }
	async alarm() {
		const said = await fetch("http://elsewhere.example/").then((r) => r.text(), String);
		await this.ctx.storage.put("said", SCRIPT + ": " + said);
	}
	async slow(ms) { await this.ctx.storage.put("said", "begun"); await scheduler.wait(ms); await this.hit(); return Date.now(); }
	said() { return this.ctx.storage.get("said"); }
	fetch() {
		const { 0: client, 1: server } = new WebSocketPair();
		this.ctx.acceptWebSocket(server);
		return new Response(null, { status: 101, webSocket: client });
	}
	webSocketMessage(ws, message) { ws.send(message); }
}
const SCRIPT = "@SCRIPT@";
export class One extends Counter {}
export class Two extends Counter { sql = false; }
export class Three extends Counter {}
export class Uno extends Counter {}
export default { async fetch(request, env) {
	const [, binding, call, arg] = new URL(request.url).pathname.split("/");
	if (!env[binding]) return new Response("no binding", { status: 404 });
	const stub = env[binding].getByName("a");
	if (request.headers.get("upgrade")) return stub.fetch(request);
	if (call === "wake") { await stub.wake(Number(arg)); return new Response("set"); }
	if (call === "slow") return new Response(await stub.slow(Number(arg)));
	if (call === "said") return new Response(await stub.said());
	return Response.json(await stub.hit());
} };`

// guarded dispatches each host's requests with an outbound Worker that tells whose subrequests it gets.
const guarded = `export default { async fetch(request, env) {
	const customer = new URL(request.url).hostname.split(".")[0];
	try { return await env.DISPATCHER.get(customer, {}, { outbound: { customer } }).fetch(request); } catch (e) { return new Response(String(e), { status: 500 }); }
} };`

func (r *rig) guardedDispatcher() {
	r.t.Helper()
	r.put("guard", `export default { fetch(request, env) { return new Response("guarded for " + env.customer); } };`)
	r.dispatcher(guarded, map[string]any{"worker": map[string]any{"service": "guard"}, "params": []any{map[string]any{"name": "customer"}}})
}

func (r *rig) moverOK(script string, m map[string]any) {
	r.t.Helper()
	if refused := r.upload("production/"+script, strings.Replace(mover, "@SCRIPT@", script, 1), m); refused != "" {
		r.t.Fatal(refused)
	}
}

func taking(from string, moves ...string) map[string]any {
	var list []map[string]string
	for i := 0; i < len(moves); i += 2 {
		list = append(list, map[string]string{"from": moves[i], "from_script": from, "to": moves[i+1]})
	}
	return map[string]any{"new_tag": "taken", "transferred_classes": list}
}

// Classes, one with SQLite and one with key-value storage, go to another script with all their objects have: ids, storage, alarms,
// the outbound Worker that what they do by themselves goes by. What the other script keeps goes on.
func TestObjectsTransfer(t *testing.T) {
	r := newRig(t, node.Config{})
	r.guardedDispatcher()
	r.moverOK("alice", keeperBindings(map[string]any{"new_tag": "v1", "new_sqlite_classes": []string{"One", "Three"}, "new_classes": []string{"Two"}}, "One", "Two", "Three"))
	hit := func(host, binding string) (id string, n int) {
		t.Helper()
		status, body := r.get(host, "/"+binding+"/hit")
		var memory int
		if _, err := fmt.Sscanf(body, `{"id":"%64s","n":%d,"memory":%d}`, &id, &n, &memory); err != nil || status != 200 {
			t.Fatalf("%s of %s: %d %s", binding, host, status, body)
		}
		return id, n
	}
	hit("alice", "ONE")
	one, _ := hit("alice", "ONE")
	two, _ := hit("alice", "TWO")
	class := r.classID("alice", "One")

	all := []string{"One", "Two", "Three"}
	if refused := r.upload("production/bob", mover, keeperBindings(taking("alice", "One", "Uno"), "Uno")); !strings.Contains(refused, "10061") || !strings.Contains(refused, "'ONE'") {
		t.Errorf("a transfer of a class that is bound was answered with %q", refused)
	}
	hit("alice", "ONE") // as if nothing had been asked for
	ws := r.dial("alice", "/THREE")
	r.want("alice", "/ONE/wake/10000", 200, "set")
	r.moverOK("alice", keeperBindings(nil, "Three"))
	if err := websocket.Message.Receive(ws, new(string)); err == nil {
		t.Error("the WebSocket is open after a deploy")
	}
	ws = r.dial("alice", "/THREE")

	// alice is called all the while: her other objects miss nothing
	stop := make(chan struct{})
	var load sync.WaitGroup
	load.Go(func() {
		for last := 0; ; {
			select {
			case <-stop:
				return
			default:
				_, n := hit("alice", "THREE")
				if n != last+1 && last > 0 {
					t.Errorf("object Three counts %d after %d", n, last)
				}
				last = n
			}
		}
	})
	r.moverOK("bob", keeperBindings(taking("alice", "One", "Uno", "Two", "Two"), "Uno", "Two"))
	if err := websocket.Message.Receive(ws, new(string)); err == nil {
		t.Error("a WebSocket is open to a process that has ended")
	}
	if got := r.classID("bob", "Uno"); got != class || r.classID("alice", "One") != "" {
		t.Errorf("the class is %s, not %s", got, class)
	}
	// The alarm rings though nobody has called bob, and what it sends out goes where alice's did.
	r.until("the alarm in bob", func() bool {
		log := r.log.tail()
		return strings.Contains(log, `msg="Durable Objects woken for an alarm" script=production/bob`) && strings.Contains(log, "msg=subrequest script=production/bob")
	})
	close(stop)
	load.Wait()
	if id, n := hit("bob", "UNO"); id != one || n != 4 {
		t.Errorf("object %s counts %d; it is %s", id, n, one)
	}
	if id, n := hit("bob", "TWO"); id != two || n != 2 {
		t.Errorf("object %s counts %d; it is %s", id, n, two)
	}
	r.until("the alarm's handler to end", func() bool { _, said := r.get("bob", "/UNO/said"); return said != "" })
	r.want("bob", "/UNO/said", 200, "bob: guarded for alice")
	r.want("alice", "/ONE/hit", 404, "no binding")
	var objects []struct{ ID string }
	r.call("GET", r.acct("/workers/durable_objects/namespaces/"+class+"/objects"), "", &objects)
	if len(objects) != 1 || objects[0].ID != one {
		t.Errorf("objects %v", objects)
	}

	if refused := r.upload("production/alice", mover, keeperBindings(nil, all...)); !strings.Contains(refused, "10061") {
		t.Errorf("a binding to a class that is gone was answered with %q", refused)
	}
	three := r.classID("alice", "Three")
	r.call("DELETE", r.acct("/workers/dispatch/namespaces/production/scripts/alice"), "", nil)
	r.until("alice's own storage to be deleted", func() bool { return !r.stored(three) })
	if _, n := hit("bob", "UNO"); n != 5 || !r.stored(class) {
		t.Errorf("after alice is deleted, the object counts %d", n)
	}
	ws = r.dial("bob", "/UNO")
	if err := websocket.Message.Send(ws, "hello"); err != nil {
		t.Error(err)
	}
	var said string
	if err := websocket.Message.Receive(ws, &said); err != nil || said != "hello" {
		t.Errorf("%q %v", said, err)
	}
}

// dial opens a WebSocket.
func (r *rig) dial(host, path string) *websocket.Conn {
	r.t.Helper()
	cfg, err := websocket.NewConfig("ws://"+host+"."+zone+path, "http://"+host+"."+zone)
	if err != nil {
		r.t.Fatal(err)
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.edge, "http://"))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { conn.Close() })
	ws, err := websocket.NewClient(cfg, conn)
	if err != nil {
		r.t.Fatal(err)
	}
	return ws
}

// A class goes back and forth between two scripts while both are called as fast as they answer: no count is lost, and no two
// processes have the object at once, which what it counts in memory would tell.
func TestObjectsTransferUnderLoad(t *testing.T) {
	r := newRig(t, node.Config{})
	r.dispatcher(dispatchByHost, nil)
	r.moverOK("left", keeperBindings(map[string]any{"new_tag": "v1", "new_sqlite_classes": []string{"One"}}))
	r.moverOK("right", keeperBindings(nil))
	stop := make(chan struct{})
	var load sync.WaitGroup
	var mu sync.Mutex
	var counts []int
	for _, host := range []string{"left", "right"} {
		for range 2 {
			load.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					status, body := r.get(host, "/ONE/hit")
					var id string
					var n, memory int
					if _, err := fmt.Sscanf(body, `{"id":"%64s","n":%d,"memory":%d}`, &id, &n, &memory); err == nil && status == 200 {
						mu.Lock()
						counts = append(counts, n)
						mu.Unlock()
					} else if status != 404 {
						t.Errorf("%d %s", status, body)
						return
					}
				}
			})
		}
	}
	hosts := []string{"right", "left"}
	for i := range 6 {
		to, from := hosts[i%2], hosts[1-i%2]
		r.moverOK(to, keeperBindings(taking(from, "One", "One"), "One"))
		mu.Lock()
		had := len(counts)
		mu.Unlock()
		r.until("calls of the object", func() bool { mu.Lock(); defer mu.Unlock(); return len(counts) > had+5 })
		r.moverOK(to, keeperBindings(nil)) // without the binding, so that the class can go
	}
	close(stop)
	load.Wait()
	slices.Sort(counts)
	for i, n := range counts {
		if n != i+1 {
			t.Fatalf("count %d comes after %d others", n, i)
		}
	}
	t.Logf("%d calls", len(counts))
}

// A Worker of another namespace, or of the account itself, gets nobody's objects by naming their script.
func TestObjectsTransferFromElsewhere(t *testing.T) {
	r := newRig(t, node.Config{})
	r.dispatcher(dispatchByHost, nil)
	r.call("POST", r.acct("/workers/dispatch/namespaces"), `{"name":"staging"}`, nil)
	r.moverOK("victim", keeperBindings(map[string]any{"new_tag": "v1", "new_sqlite_classes": []string{"One"}}, "One"))
	r.get("victim", "/ONE/hit")
	class := r.classID("victim", "One")
	for _, thief := range []string{"staging/thief", "thief"} {
		if refused := r.upload(thief, mover, keeperBindings(taking("victim", "One", "One"), "One")); !strings.Contains(refused, "there is no script 'victim' beside this one") {
			t.Errorf("%s was answered with %q", thief, refused)
		}
		// nor a class of its own, made to look like it
		m := keeperBindings(map[string]any{"new_tag": "v1", "new_sqlite_classes": []string{"One"}})
		m["bindings"] = []any{map[string]any{"type": "durable_object_namespace", "name": "ONE", "class_name": "One", "namespace_id": class}}
		if refused := r.upload(thief, mover, m); !strings.Contains(refused, "10021") {
			t.Errorf("%s was answered with %q", thief, refused)
		}
	}
	if _, body := r.get("victim", "/ONE/hit"); !strings.Contains(body, `"n":2`) {
		t.Errorf("the victim's object: %s", body)
	}
}

// A transfer waits for what the other script's objects have begun, in a process of a version before, too: what they write then
// goes along.
func TestObjectsTransferWaits(t *testing.T) {
	r := newRig(t, node.Config{})
	r.dispatcher(dispatchByHost, nil)
	r.moverOK("alice", keeperBindings(map[string]any{"new_tag": "v1", "new_sqlite_classes": []string{"One"}}, "One"))
	r.get("alice", "/ONE/hit")
	written := make(chan string, 1)
	go func() {
		_, body := r.get("alice", "/ONE/slow/3000")
		written <- body
	}()
	r.until("the call to be under way", func() bool {
		select {
		case body := <-written:
			t.Fatalf("the call was answered: %s", body)
		default:
		}
		_, said := r.get("alice", "/ONE/said")
		return said == "begun"
	})
	r.moverOK("alice", keeperBindings(nil))
	r.moverOK("bob", keeperBindings(taking("alice", "One", "One"), "One"))
	moved := time.Now()
	var at int64
	body := <-written
	if _, err := fmt.Sscan(body, &at); err != nil || time.UnixMilli(at).After(moved) {
		t.Errorf("the object wrote at %s, the class was transferred at %d", body, moved.UnixMilli())
	}
	if _, body := r.get("bob", "/ONE/hit"); !strings.Contains(body, `"n":3,"memory":1`) {
		t.Errorf("the object counts %s", body)
	}
}
