package hostile_test

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// furnishObjects gives alice a script with an object that keeps a value.
func (s *site) furnishObjects(t *testing.T) {
	t.Helper()
	s.put(t, s.script("alice-objects"), upload{files: []string{"alice-objects.js"}, classes: []string{"Thing"},
		binds: []map[string]any{{"type": "durable_object_namespace", "name": "THING", "class_name": "Thing"}}})
	s.aliceObject = strings.TrimPrefix(s.get(t, "alice-objects", "/id", ""), "200 ")
	if !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(s.aliceObject) {
		t.Fatalf("the id of alice's object is %q", s.aliceObject)
	}
	s.want(t, "alice-objects", "/write", "", aliceKeeps)
	var classes []struct{ ID, Script string }
	s.call(t, "GET", s.acct()+"/workers/durable_objects/namespaces", nil, &classes)
	if len(classes) != 1 || classes[0].Script != "alice-objects" {
		t.Fatalf("classes: %+v", classes)
	}
	s.aliceClass = classes[0].ID
}

const aliceKeeps = `^200 alice keeps this$`

// withObjects is a module with a class of objects, whose members are the attack. GET /NAME/METHOD calls a method of the object of that
// name; a WebSocket at / is that of the object "evil". An innocent object counts.
func withObjects(members string) string {
	return `import { DurableObject } from "cloudflare:workers";
const spin = () => { for (;;); }, work = (n) => { for (let i = 0; i < n; i++); };
export class Thing extends DurableObject {
	#n = 0;
	innocent() { return ++this.#n; }
	` + members + `
}
export default { async fetch(request, env) {
	const [, name, method] = new URL(request.url).pathname.split("/");
	if (request.headers.get("upgrade")) return env.THING.getByName(request.headers.get("x-object") ?? "evil").fetch(request);
	return new Response(String(await env.THING.getByName(name)[method]()));
} };`
}

// objectAttacks do in Durable Objects what others do in a Worker's handlers, and try to get at the objects of another
// script.
func objectAttacks(s *site) []attack {
	list := []attack{
		{name: "loop-in-method", path: "/evil/run", want: overCPU, code: withObjects(`run() { spin(); }`)},
		{name: "loop-after-await", path: "/evil/run", want: overCPU, code: withObjects(`async run() { await this.ctx.storage.put("x", 1); await scheduler.wait(1); spin(); }`)},
		{name: "loop-in-transaction", path: "/evil/run", want: overCPU, code: withObjects(`run() { this.ctx.storage.transactionSync(spin); }`)},
		{name: "loop-in-sql", path: "/evil/run", want: overCPU, alone: true,
			code: withObjects(`run() { return this.ctx.storage.sql.exec("WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r) SELECT count(*) FROM r").one(); }`)},
		{name: "loop-in-constructor", path: "/evil/run", want: overCPU, code: withObjects(`constructor(ctx, env) { super(ctx, env); if (ctx.id.name === "evil") spin(); }
			run() {}`)},
		{name: "loop-in-block-concurrency", path: "/evil/run", want: overCPU, code: withObjects(`constructor(ctx, env) { super(ctx, env); if (ctx.id.name === "evil") ctx.blockConcurrencyWhile(async () => { await scheduler.wait(1); spin(); }); }
			run() {}`)},
		{name: "loop-in-web-socket", run: spinInObjectSocket(false), code: withObjects(sleeper)},
		{name: "loop-in-hibernated-web-socket", run: spinInObjectSocket(true), code: withObjects(sleeper)},
		{name: "loop-in-alarm", run: loopInAlarm, code: withObjects(`async arm() { await this.ctx.storage.setAlarm(Date.now()); }
			async alarm() { await this.ctx.storage.put("n", (await this.ctx.storage.get("n") ?? 0) + 1); await this.ctx.storage.sync(); spin(); }
			async rung() { return await this.ctx.storage.get("n") ?? 0; }`)},
		{name: "alarm-for-ever", cpuMs: 300, run: alarmForEver, code: withObjects(`async arm() { await this.ctx.storage.setAlarm(Date.now()); }
			async alarm() { work(1e8); if (!await this.ctx.storage.get("calm")) await this.ctx.storage.setAlarm(Date.now()); }
			async calm() { await this.ctx.storage.put("calm", true); }`)},
		{name: "calls-for-ever", path: "/evil/run", want: `^(200 started|500 Error: )`, code: withObjects(`run() { this.ctx.waitUntil(this.env.THING.getByName("evil2").ping(500)); return "started"; }
			async ping(n) { work(1e6); if (n > 0) await this.env.THING.getByName(n % 2 ? "evil" : "evil2").ping(n - 1); }`)},
		{name: "abort-for-ever", run: abortForEver, code: withObjects(`run() { this.ctx.abort("again"); }`)},
		{name: "throwing-constructor", path: "/evil/run", want: `^500 Error: no$`, code: withObjects(`constructor(ctx, env) { super(ctx, env); if (ctx.id.name === "evil") throw new Error("no"); }
			run() {}`)},
		{name: "memory", path: "/evil/run", alone: true, cpuMs: 10_000, want: overMemory, code: withObjects(`run() { const a = []; for (;;) a.push(new Array(1e5).fill(Math.random())); }`)},
		{name: "many-objects-in-memory", path: "/evil/run", alone: true, cpuMs: 10_000, want: `^(200 |500 \S+: )`,
			code: withObjects(`async run() { for (let i = 0; i < 100; i++) await Promise.all(Array.from({ length: 50 }, () => this.env.THING.get(this.env.THING.newUniqueId()).fill())); return "done"; }
			fill() { this.kept = new Array(1e5).fill(Math.random()); }`)},
		{name: "storage-bomb", run: storageBomb, cpuMs: 10_000, code: withObjects(`
			run() { const sql = this.ctx.storage.sql; sql.exec("CREATE TABLE IF NOT EXISTS t (b)"); for (let i = 0; i < 20; i++) sql.exec("INSERT INTO t VALUES (zeroblob(1000000))"); return "stored"; }
			async clear() { await this.ctx.storage.deleteAll(); return "cleared"; }`)},
		{name: "storage-of-many-objects", run: storageBomb, cpuMs: 10_000, code: withObjects(`
			async run() { const each = (f) => Promise.all(Array.from({ length: 25 }, (_, i) => f(this.env.THING.getByName("many" + i)))); await each((o) => o.store()); return "stored"; }
			async store() { await this.ctx.storage.put(Object.fromEntries(Array.from({ length: 8 }, () => ["k" + Math.random(), "x".repeat(100_000)]))); }
			async clear() { await Promise.all(Array.from({ length: 25 }, (_, i) => this.env.THING.getByName("many" + i).empty())); return "cleared"; }
			async empty() { await this.ctx.storage.deleteAll(); }`)},
		{name: "reach-by-id", cpuMs: 2000, run: reachObject, code: fmt.Sprintf("const id = %q, other = %q;\n", s.aliceObject, s.aliceClass) + `import { DurableObject } from "cloudflare:workers";
			export class Thing extends DurableObject {
				async read() { return await this.ctx.storage.get("value") ?? null; }
				tables() { return this.ctx.storage.sql.exec("SELECT name FROM sqlite_schema").toArray().map((r) => r.name).filter((n) => !n.startsWith("_cf_")); }
				sql(text) { return this.ctx.storage.sql.exec(text).toArray(); }
			}` + handler(`const got = [], own = env.THING.idFromName("a").toString();
			const ids = [id, id.toUpperCase(), id.slice(0, 32) + own.slice(32), own.slice(0, 32) + id.slice(32), id.slice(0, 48) + own.slice(48), id.slice(0, 63) + "0", other, other + other, "0".repeat(64), "../" + id, id + "/../" + id, ""];
			for (const forged of ids) for (const get of [() => env.THING.get(env.THING.idFromString(forged)), () => env.THING.getExisting?.(forged), () => env.THING.get({ toString: () => forged, name: "thing", equals: () => true }),
				() => env.THING.getByName(forged), () => env.THING.jurisdiction("eu").getByName(forged)])
				try { const v = await get().read(); if (v !== null) got.push(v); } catch {}
			const stub = env.THING.getByName("thing"); // as alice's is called
			if (await stub.read() !== null) got.push("thing");
			if ((await stub.tables()).length) got.push("tables");
			for (const path of ["/objects/" + other + "/" + id + ".sqlite", "../" + other + "/" + id + ".sqlite", "/objects/" + other + "/metadata.sqlite", "file:/objects/" + other + "/" + id + ".sqlite?mode=ro"])
				for (const text of ["ATTACH '" + path + "' AS a", "VACUUM INTO '" + path + "'", "SELECT * FROM _cf_KV", "PRAGMA database_list", "SELECT load_extension('" + path + "')", "SELECT readfile('" + path + "')", "PRAGMA writable_schema = ON", "CREATE VIRTUAL TABLE v USING dbstat"])
					try { const rows = await stub.sql(text); if (rows.length) got.push(text); } catch {}
			return Response.json(got);`)},
		{name: "reach-by-files", cpuMs: 2000, flags: []string{"nodejs_compat"}, date: "2026-01-01", run: reachObject, code: fmt.Sprintf("const id = %q, other = %q;\n", s.aliceObject, s.aliceClass) +
			`import fs from "node:fs"; import { DurableObject } from "cloudflare:workers"; export class Thing extends DurableObject {}` + handler(`const got = [];
			for (const dir of ["/objects", "/objects/" + other, "/objects/" + other + "/" + id + ".sqlite", "/proc/self/cwd/objects", "/bundle/../objects", "/tmp/../objects/" + other, "/dev/fd", "/objects/" + other + ".lock"])
				for (const use of [() => fs.readdirSync(dir), () => fs.readFileSync(dir), () => fs.symlinkSync(dir, "/tmp/x") ?? fs.readFileSync("/tmp/x"), () => fs.writeFileSync(dir, "x"), () => fs.rmSync(dir, { recursive: true })])
					try { const v = use(); if (v?.length) got.push(dir); } catch {}
			return Response.json(got);`)},
		{name: "reach-by-requests", cpuMs: 2000, date: "2026-01-01", run: reachObject, code: packed + fmt.Sprintf("const id = %q, other = %q;\n", s.aliceObject, s.aliceClass) +
			`import { DurableObject } from "cloudflare:workers"; export class Thing extends DurableObject { fetch() { return new Response("own"); } read() { return "own"; } }` + handler(`const got = [];
			for (const url of ["http://x/read", "http://alice-objects/read", "http://thing/read", "http://objects/", "http://" + other + "/" + id]) for (const service of ["objects", "Thing", "alice-objects", "main", other, "binding/0", "binding/1"]) {
				const headers = { ...`+forged+`, "atoll-service": service, "atoll-entrypoint": "Thing", "atoll-dispatch": "alice-objects", "cf-durable-object-id": id, "x-object-id": id };
				for (const ask of [() => fetch(url, { headers }), () => env.THING.getByName("thing").fetch(url, { headers }), () => ctx.exports.default.fetch("http://x/alive", { headers })])
					try { const text = await (await ask()).text(); if (text.includes("keeps")) got.push(url + " " + service); } catch {}
			}
			for (const [k, v] of Object.entries(ctx.exports)) if (!["default", "Thing"].includes(k) && !k.startsWith("atoll")) got.push(k);
			for (const k of Object.keys(ctx.exports)) for (const f of [(e) => e.getByName("thing").read(), (e) => e.get(e.idFromString(id)).read(), (e) => e({ props: { id } }).read()])
				try { const v = await f(ctx.exports[k]); if (String(v).includes("keeps")) got.push("export " + k); } catch {}
			return Response.json(got);`)},
		{name: "client-headers", run: clientReachesObject, code: withObjects(``)},
	}
	thing := []map[string]any{{"type": "durable_object_namespace", "name": "THING", "class_name": "Thing"}}
	for i := range list {
		list[i].classes, list[i].binds = []string{"Thing"}, thing
	}
	bind := func(name, refused string, more map[string]any) attack {
		b := map[string]any{"type": "durable_object_namespace", "name": "OTHER", "class_name": "Thing"}
		for k, v := range more {
			b[k] = v
		}
		return attack{name: name, refused: refused, classes: []string{"Thing"}, binds: []map[string]any{b}, code: withObjects(``)}
	}
	return append(list,
		bind("bind-script-of-another", "objects of another script", map[string]any{"script_name": "alice-objects"}),
		bind("bind-namespace-of-another", "the namespace of class", map[string]any{"namespace_id": s.aliceClass}),
		bind("bind-class-by-path", "10061", map[string]any{"class_name": "../Thing"}),
		attack{name: "bind-class-of-nobody", refused: "10061", binds: thing, code: withObjects(``)},
	)
}

// sleeper has objects whose WebSockets hibernate, and whose messages may make it spin.
const sleeper = `fetch() { const { 0: client, 1: server } = new WebSocketPair(); this.ctx.acceptWebSocket(server); return new Response(null, { status: 101, webSocket: client }); }
	webSocketMessage(ws, message) { if (message === "go") spin(); ws.send("woken " + this.innocent()); }
	webSocketError() { spin(); }`

// innocent asks an object that does no harm, whose count tells whether it is still the one that was asked before.
func (s *site) innocent(t *testing.T, host string, want int) {
	t.Helper()
	s.want(t, host, "/good/innocent", attack{}.limits(), fmt.Sprintf("^200 %d$", want))
}

// spinInObjectSocket sends an object's WebSocket the message that makes it spin; it may have left memory before.
func spinInObjectSocket(asleep bool) func(*testing.T, *site, string) {
	return func(t *testing.T, s *site, host string) {
		other := s.socket(t, host, attack{}.limits(), map[string][]string{"X-Object": {"other"}})
		evil := s.socket(t, host, attack{}.limits(), nil)
		said := func(ws *socket, want string) {
			t.Helper()
			ws.send(t, "hello")
			if _, got, err := ws.next(); got != want {
				t.Errorf("got %q, %v, want %q", got, err, want)
			}
		}
		said(evil, "woken 1")
		said(evil, "woken 2")
		s.innocent(t, host, 1)
		count := 2
		if asleep {
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			for end := time.Now().Add(11 * time.Second); time.Now().Before(end); <-tick.C { // after ten it leaves memory
				s.innocent(t, host, count)
				count++
			}
			said(evil, "woken 1")
		}
		evil.send(t, "go")
		evil.ends(t)
		s.innocent(t, host, count)
		said(other, "woken 1")
	}
}

// loopInAlarm has an alarm spin: it is tried again after a while, and again after a longer one, and does no harm meanwhile.
func loopInAlarm(t *testing.T, s *site, host string) {
	limits := attack{}.limits()
	s.want(t, host, "/evil/arm", limits, "^200 ")
	began, count, last := time.Now(), 0, ""
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := began.Add(5 * time.Second); time.Now().Before(end); <-tick.C {
		count++
		s.innocent(t, host, count)
	}
	rung := func() int {
		last = s.get(t, host, "/evil/rung", limits)
		n, err := strconv.Atoi(strings.TrimPrefix(last, "200 "))
		if err != nil {
			return 0
		}
		return n
	}
	if n := rung(); n < 2 || n > 4 {
		t.Errorf("after %v the alarm had rung %s times, which backs off 2 s and twice as long each time", time.Since(began), last)
	}
}

// alarmForEver has an alarm that keeps to its limit and is always due again, which nobody forbids: its process takes what
// others leave.
func alarmForEver(t *testing.T, s *site, host string) {
	limits := attack{cpuMs: 300}.limits()
	before := engineTimes()
	for i := range 4 {
		s.want(t, host, fmt.Sprintf("/evil%d/arm", i), limits, "^200 ")
	}
	count, busiest := 0, 0
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); time.Now().Before(end); <-tick.C {
		count++
		s.want(t, host, "/good/innocent", limits, fmt.Sprintf("^200 %d$", count))
		var most time.Duration
		for pid, used := range engineTimes() {
			if d := used - before[pid]; d > most {
				busiest, most = pid, d
			}
		}
		if most > 2*time.Second && yields(busiest) {
			break
		}
	}
	t.Logf("process %d ran for %v, and an innocent object was answered %d times", busiest, engineTimes()[busiest]-before[busiest], count)
	if mayYield() && !yields(busiest) {
		t.Errorf("process %d does not yield", busiest)
	}
	for i := range 4 {
		s.want(t, host, fmt.Sprintf("/evil%d/calm", i), limits, "^200 ")
	}
}

// engineTimes are how long the processes of Workers have run.
func engineTimes() map[int]time.Duration {
	times := map[int]time.Duration{}
	for pid := range engines() {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", pid))
		ns := int64(0)
		if _, scanErr := fmt.Sscan(string(b), &ns); err == nil && scanErr == nil {
			times[pid] = time.Duration(ns)
		}
	}
	return times
}

// yields tells whether a process has a low priority, its own or its session's.
func yields(pid int) bool {
	if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/autogroup", pid)); err == nil && grouped() {
		_, nice, _ := bytes.Cut(bytes.TrimSpace(b), []byte("nice "))
		return string(nice) == "15"
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	return len(fields) > 16 && string(fields[16]) == "15" // proc_pid_stat(5): the 19th is nice
}

// grouped tells whether the kernel has sessions take turns, and not processes.
func grouped() bool {
	b, _ := os.ReadFile("/proc/sys/kernel/sched_autogroup_enabled")
	return bytes.HasPrefix(b, []byte("1"))
}

// mayYield tells whether the node may change priorities.
func mayYield() bool { return os.Geteuid() == 0 || grouped() }

// abortForEver ends its object with every call.
func abortForEver(t *testing.T, s *site, host string) {
	for i := range 50 {
		s.want(t, host, "/evil/run", attack{}.limits(), `^500 Error: again`)
		s.innocent(t, host, i+1)
	}
}

// storageBomb stores until its account has no room any more. What is there can be read, nobody else stands still, and
// what it deletes is room again.
func storageBomb(t *testing.T, s *site, host string) {
	limits := attack{cpuMs: 10_000}.limits()
	s.want(t, host, "/good/innocent", limits, "^200 1$")
	stored, last := 0, ""
	for ; stored < 100; stored++ {
		if last = s.get(t, host, "/evil/run", limits); last != "200 stored" {
			break
		}
	}
	if !regexp.MustCompile(`^500 .*(disk I/O error|SQLITE_)`).MatchString(last) {
		t.Errorf("after %d times 20 MB: %.300q", stored, last)
	}
	s.want(t, "alice-objects", "/read", "", aliceKeeps)
	s.want(t, host, "/good/innocent", limits, "^200 [12]$") // nobody asked for so long that it may have left memory
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); time.Now().Before(end); <-tick.C {
		if last = s.get(t, host, "/evil/clear", limits); last == "200 cleared" {
			break
		}
	}
	if last != "200 cleared" {
		t.Errorf("clear: %.300q", last)
	}
	for end := time.Now().Add(patience); time.Now().Before(end); <-tick.C {
		if last = s.get(t, "alice-objects", "/write", ""); regexp.MustCompile(aliceKeeps).MatchString(last) {
			return
		}
	}
	t.Errorf("alice cannot write: %.300q", last)
}

// reachObject checks that nothing was got, and that alice's object is as it was.
func reachObject(t *testing.T, s *site, host string) {
	s.want(t, host, "/", attack{cpuMs: 2000}.limits(), `^200 \[\]$`)
	s.want(t, "alice-objects", "/read", "", aliceKeeps)
}

// clientReachesObject sends alice's script what only the node says.
func clientReachesObject(t *testing.T, s *site, host string) {
	for _, target := range []string{host, "alice-objects"} {
		for _, value := range []string{"Thing", "atoll rpc", "binding/0", s.aliceClass, s.aliceObject} {
			req := s.request(t, "GET", target, "/none", "", nil)
			for _, name := range ours {
				req.Header.Set(name, value)
			}
			req.Header.Set("Cf-Durable-Object-Id", s.aliceObject)
			if got := s.do(req); strings.Contains(got, "keeps") || strings.HasPrefix(got, "200 ") {
				t.Errorf("%s to %s: got %.200q", value, target, got)
			}
		}
	}
	s.want(t, "alice-objects", "/read", "", aliceKeeps)
}
