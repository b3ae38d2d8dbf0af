package hostile_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// crashed is what may become of a request whose process ends.
const crashed = `^500 Error: The Worker('s process ended before it answered| keeps crashing and is not restarted yet|rs runtime)`

// processAttacks end their process, hold on to it, or have many of them.
func processAttacks() []attack {
	cloudflare := `import { abortIsolate } from "cloudflare:workers";` + "\n"
	return []attack{
		{name: "exit", flags: []string{"nodejs_compat"}, alone: true, want: `^500 `, code: handler(`process.exit(0); return new Response("still here");`)},
		{name: "exit-in-wait-until", flags: []string{"nodejs_compat"}, alone: true, want: `^200 bye$`, code: handler(`ctx.waitUntil((async () => { await scheduler.wait(10); process.exit(1); })()); return new Response("bye");`)},
		{name: "node-abort", flags: []string{"nodejs_compat"}, alone: true, want: `^500 `, code: handler(`process.abort(); return new Response("still here");`)},
		{name: "abort-isolate", alone: true, want: crashed, code: cloudflare + handler(`abortIsolate("why not"); return new Response("still here");`)},
		{name: "abort-context", alone: true, date: "2026-01-01", want: `^500 `, code: handler(`ctx.abort(new Error("aborted")); for (;;) await scheduler.wait(1);`)},
		{name: "abort-at-start", refused: "10021", code: cloudflare + "abortIsolate('at start');\n" + handler(``)},
		{name: "abort-while-others-stream", alone: true, run: abortStream, code: cloudflare + handler(`if (request.url.endsWith("/abort")) abortIsolate("in the middle");
			return new Response(new ReadableStream({ async pull(c) { c.enqueue(new Uint8Array(1000)); await scheduler.wait(10); } }));`)},
		{name: "crash-loop", alone: true, run: crashLoop, code: cloudflare + handler(`abortIsolate("again");`)},
		{name: "exceptions", cpuMs: 5000, run: manyExceptions, code: handler(`throw new Error("again");`)},
		{name: "no-handler", alone: true, want: `^500 TypeError: `, code: "export default { fetch: 1 };\n"},
		{name: "then-able-module", want: `^\d+ `, alone: true, code: "export function then(f) { f({ default: { fetch() { return new Response('forged'); } } }); }\n" + handler(`return new Response("x");`)},
		{name: "our-module-names", run: ourModuleNames, code: handler(``)},
		{name: "redeploys", run: redeploys, code: handler(`return new Response("0");`)},
		{name: "redeploys-held", alone: true, run: redeploysHeld, code: handler(`return new Response("0");`)},
		{name: "redeploys-unasked", run: redeploysUnasked, code: handler(`return new Response("0");`)},
		{name: "redeploys-refused", run: redeploysRefused, code: handler(`return new Response("0");`)},
		{name: "client-oddities", run: clientOddities, code: handler(`return new Response("x");`)},
		{name: "broken-answers", run: brokenAnswers, cpuMs: 1000, code: handler(`const kind = new URL(request.url).pathname.slice(1);
			const stream = (pull) => new Response(new ReadableStream({ pull }));
			switch (kind) {
			case "at-once": return stream((c) => c.error(new Error("broken")));
			case "in-start": return new Response(new ReadableStream({ start(c) { c.error(new Error("broken")); } }));
			case "thrown": return stream(() => { throw new Error("broken"); });
			case "rejected": return stream(async () => { throw new Error("broken"); });
			case "later": return stream(async (c) => { await scheduler.wait(5); c.error(new Error("broken")); });
			case "after-a-byte": { let n = 0; return stream((c) => { if (n++) c.error(new Error("broken")); else c.enqueue(new Uint8Array(1)); }); }
			case "after-much": { let n = 0; return stream((c) => { if (n++ > 50) c.error(new Error("broken")); else c.enqueue(new Uint8Array(10000)); }); }
			case "short-of-its-length": { const { readable, writable } = new FixedLengthStream(1000); const w = writable.getWriter(); w.write(new Uint8Array(10)).then(() => w.abort("broken"), () => {}); return new Response(readable); }
			case "longer-than-its-length": { const { readable, writable } = new FixedLengthStream(10); const w = writable.getWriter(); w.write(new Uint8Array(1000)).catch(() => {}); return new Response(readable); }
			case "of-nonsense": return stream((c) => c.enqueue("text"));
			case "never": return stream(() => new Promise(() => {}));
			case "half-transform": { const { readable } = new TransformStream(); return new Response(readable); }
			case "used": { const r = new Response("x"); await r.text(); return r; }
			case "locked": { const r = new Response("x"); r.body.getReader(); return r; }
			case "fake": return Object.create(Response.prototype);
			case "redirect": return Response.redirect("http://127.0.0.1:9/", 302);
			case "error": return Response.error();
			case "no-socket": return new Response(null, { status: 101 });
			}
			return new Response("x");`)},
		{name: "many-workers", run: manyWorkers, code: handler(``)},
	}
}

// abortStream ends a process while it answers another request, whose client must see the break.
func abortStream(t *testing.T, s *site, host string) {
	limits := attack{}.limits()
	res, err := s.client.Do(s.request(t, "GET", host, "/", limits, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.ReadFull(res.Body, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	s.want(t, host, "/abort", limits, crashed)
	if n, err := io.Copy(io.Discard, res.Body); err == nil {
		t.Errorf("a stream of a process that died ended well after %d bytes", n)
	}
}

// crashLoop crashes a process as often as it is started: starts must become rare.
func crashLoop(t *testing.T, s *site, host string) {
	limits := attack{}.limits()
	seen := map[int]bool{}
	refused := 0
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	before := engines()
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); <-tick.C {
		got := s.get(t, host, "/", limits)
		if strings.Contains(got, "keeps crashing") {
			refused++
		} else if !strings.HasPrefix(got, "500 Error: The Worker's process ended") {
			t.Fatalf("got %q", got)
		}
		for pid := range engines() {
			if !before[pid] {
				seen[pid] = true
			}
		}
	}
	t.Logf("%d processes, %d requests refused meanwhile", len(seen), refused)
	if refused == 0 || len(seen) > 20 {
		t.Errorf("%d processes were started in 3 s, and %d requests refused", len(seen), refused)
	}
	// A new version is not held to the crashes of the one before.
	s.put(t, s.script(host), attack{code: handler(`return new Response("mended");`)}.upload())
	s.want(t, host, "/", limits, `^200 mended$`)
}

// engines are the processes of this node's sandboxes: descendants of this process, workerd or what becomes it.
func engines() map[int]bool {
	parent := map[int]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range stats {
		b, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
		if err != nil || len(fields) < 2 {
			continue
		}
		parent[pid], _ = strconv.Atoi(string(fields[1]))
	}
	found := map[int]bool{}
	for pid := range parent {
		for p := parent[pid]; p > 1; p = parent[p] {
			if p == os.Getpid() {
				found[pid] = true
				break
			}
		}
	}
	return found
}

// manyExceptions throws more than anyone wants to read.
func manyExceptions(t *testing.T, s *site, host string) {
	before := s.log.written()
	for range 200 {
		s.want(t, host, "/", attack{cpuMs: 5000}.limits(), `^500 Error: again$`)
	}
	if grown := s.log.written() - before; grown > 64<<10 {
		t.Errorf("the node logged %d bytes of 200 exceptions", grown)
	}
}

// ourModuleNames uploads modules that have the names of ours, in several notations: refused, or not what is run.
func ourModuleNames(t *testing.T, s *site, host string) {
	const takeover = `export const run = (tag, f) => f(); export const [a, b] = [1, 2]; export default { fetch() { return new Response("taken over"); } };`
	limits := attack{subRequests: 3}.limits()
	for _, name := range []string{"atoll-prelude.js", "atoll-wrapper.js", "atoll-errors.js", "atoll-console.js", "./atoll-prelude.js", "/atoll-prelude.js", "x/../atoll-prelude.js",
		"atoll:invocation", "atoll:dispatch", "cloudflare:workers", "node:async_hooks", "async_hooks", "ATOLL-prelude.js", "atoll-prelude.js?x", "%61toll-prelude.js", "../atoll-wrapper.js", "", ".", ".."} {
		u := attack{code: handler(``)}.upload()
		u.code[name] = []byte(takeover)
		if message := s.send(t, s.script(host), u); message != "" {
			if !strings.Contains(message, "{100") {
				t.Errorf("%q: refused with %s", name, message)
			}
			continue
		}
		s.want(t, host, "/spend", limits, "^200 spent 3$")
	}
}

// version answers with its number, after a while where it is told to.
func version(n int, body string) upload {
	return attack{code: handler(body + fmt.Sprintf(`; return new Response("%d");`, n))}.upload()
}

// redeploys deploys as fast as it can and asks in between: every answer is the last version's.
func redeploys(t *testing.T, s *site, host string) {
	before := len(engines())
	for n := range 25 {
		s.put(t, s.script(host), version(n, fmt.Sprintf("globalThis.n = %d", n)))
		s.want(t, host, "/", attack{}.limits(), fmt.Sprintf("^200 %d$", n))
	}
	settle(t, "processes", func() int { return len(engines()) }, before+8)
}

// redeploysHeld deploys again and again while requests to each version are held, and waitUntil work besides: the old
// processes must not pile up.
func redeploysHeld(t *testing.T, s *site, host string) {
	before := len(engines())
	var held []*http.Response
	for n := range 20 {
		s.put(t, s.script(host), version(n, `ctx.waitUntil(scheduler.wait(1e7)); if (request.url.endsWith("/hold")) return new Response(new ReadableStream({ start(c) { c.enqueue(new Uint8Array(100)); }, pull: () => scheduler.wait(1e7) }))`))
		res, err := s.client.Do(s.request(t, "GET", host, "/hold", attack{}.limits(), nil))
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, res)
	}
	settle(t, "processes while all are held", func() int { return len(engines()) }, before+12)
	for _, res := range held {
		res.Body.Close()
	}
	s.put(t, s.script(host), version(99, ""))
	s.want(t, host, "/", attack{}.limits(), "^200 99$")
}

// redeploysUnasked deploys without a request in between.
func redeploysUnasked(t *testing.T, s *site, host string) {
	before := len(engines())
	for n := range 20 {
		s.put(t, s.script(host), version(n, fmt.Sprintf("globalThis.unasked = %d", n)))
	}
	settle(t, "processes", func() int { return len(engines()) }, before+5)
	s.want(t, host, "/", attack{}.limits(), "^200 19$")
}

// redeploysRefused deploys what does not start.
func redeploysRefused(t *testing.T, s *site, host string) {
	before := len(engines())
	for n := range 15 {
		u := attack{code: fmt.Sprintf("throw new Error('%d');\n", n)}.upload()
		if message := s.send(t, s.script(host), u); !strings.Contains(message, "10021") {
			t.Errorf("refused with %q", message)
		}
	}
	s.want(t, host, "/", attack{}.limits(), "^200 0$") // the version before all of them
	settle(t, "processes", func() int { return len(engines()) }, before+8)
}

// process tells which process of the dispatch Worker answers.
func (s *site) process(t *testing.T, host string) string {
	t.Helper()
	res, err := s.client.Do(s.request(t, "GET", host, "/alive", "", nil))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	id := res.Header.Get("X-Process")
	if id == "" {
		t.Fatalf("the dispatch Worker does not tell its process: %s", res.Status)
	}
	return id
}

// brokenAnswers gives answers that break off in every way: they must not be taken for the end of the dispatch Worker's
// process, through which they pass.
func brokenAnswers(t *testing.T, s *site, host string) {
	before := s.process(t, host)
	for _, kind := range []string{"at-once", "in-start", "thrown", "rejected", "later", "after-a-byte", "after-much", "short-of-its-length",
		"longer-than-its-length", "of-nonsense", "never", "half-transform", "used", "locked", "fake", "redirect", "error", "no-socket"} {
		for _, rewritten := range []bool{false, true} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			req := s.request(t, "GET", host, "/"+kind, attack{cpuMs: 1000}.limits(), nil).WithContext(ctx)
			if rewritten {
				req.Header.Set("X-Pipe", "1")
			}
			got := s.do(req)
			cancel()
			t.Logf("%s, rewritten %v: %.100q", kind, rewritten, got)
			if now := s.process(t, host); now != before {
				t.Errorf("%s, rewritten %v: the dispatch Worker's process was replaced", kind, rewritten)
				before = now
			}
		}
	}
}

// clientOddities sends what HTTP allows and nobody does, and what it does not allow: the platform's own process must survive
// all of it, as every tenant's requests pass through it.
func clientOddities(t *testing.T, s *site, host string) {
	before := s.process(t, host)
	target := host + "." + zone
	long := strings.Repeat("a", 8000)
	for _, raw := range []string{
		"BREW / HTTP/1.1\r\nHost: " + target + "\r\n\r\n",
		"get / HTTP/1.1\r\nHost: " + target + "\r\n\r\n",
		"PROPFIND / HTTP/1.1\r\nHost: " + target + "\r\nContent-Length: 3\r\n\r\nabc",
		"TRACE / HTTP/1.1\r\nHost: " + target + "\r\n\r\n",
		"CONNECT " + target + ":80 HTTP/1.1\r\nHost: " + target + "\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: " + target + "\r\n\r\n",
		"GET http://" + target + "/ HTTP/1.1\r\nHost: " + target + "\r\n\r\n",
		"GET http://other.test/ HTTP/1.1\r\nHost: " + target + "\r\n\r\n",
		"GET //" + target + " HTTP/1.1\r\nHost: " + target + "\r\n\r\n",
		"GET /%00%ff%zz HTTP/1.1\r\nHost: " + target + "\r\n\r\n",
		"GET /\x80\xff HTTP/1.1\r\nHost: " + target + "\r\n\r\n",
		"GET /?<>\"`{}|\\^ HTTP/1.1\r\nHost: " + target + "\r\n\r\n",
		"GET / HTTP/1.0\r\nHost: " + target + "\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: " + target + "\r\nX-A: \x80\xff\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: " + target + "\r\nX-A:\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: " + target + "\r\n!#$%&'*+-.^_`|~: x\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: " + target + "\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: " + target + "\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: " + target + "\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabc",
		"POST / HTTP/1.1\r\nHost: " + target + "\r\nTransfer-Encoding: chunked\r\n\r\n3;" + long + "\r\nabc\r\n0\r\nTrailer: " + long + "\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: " + target + "\r\nContent-Length: 100\r\n\r\nshort",
		"POST / HTTP/1.1\r\nHost: " + target + "\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\na",
		"POST / HTTP/1.1\r\nHost: " + target + "\r\nExpect: miracles\r\nContent-Length: 1\r\n\r\na",
		"GET / HTTP/1.1\r\nHost: " + target + "\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: " + target + "\r\nUpgrade: h2c\r\nConnection: upgrade, http2-settings\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: " + target + "\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 99\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: " + target + "\r\nConnection: host, x-a, transfer-encoding\r\nX-A: 1\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: " + target + "\r\nHost: other.test\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: " + target + ":99999\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: " + target + "\r\nRange: bytes=0-, " + long + "\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: " + target + "\r\nCookie: " + strings.Repeat(long+";", 10) + "\r\n\r\n",
		"GET /" + long + " HTTP/1.1\r\nHost: " + target + "\r\nX-Limits: {bad\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + long,
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
		"\r\n\r\n\r\n",
	} {
		c := s.dial(t)
		if _, err := io.WriteString(c, raw); err != nil {
			t.Fatal(err)
		}
		c.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
		line, err := bufio.NewReader(c).ReadString('\n')
		if strings.Contains(line, " 500 ") && !strings.Contains(raw, "{bad") && !strings.Contains(raw, ":99999") { // those throw in the dispatch Worker
			t.Errorf("%.60q: %q %v", raw, line, err)
		}
		c.Close()
		if now := s.process(t, host); now != before {
			t.Errorf("%.60q: the dispatch Worker's process was replaced", raw)
			before = now
		}
	}
}

// manyWorkers deploys one Worker after another, each of which is called once.
func manyWorkers(t *testing.T, s *site, host string) {
	names := make([]string, 40)
	for i := range names {
		names[i] = fmt.Sprintf("%s-%d", host, i)
		s.put(t, s.script(names[i]), attack{code: handler(fmt.Sprintf("return new Response('worker %d');", i))}.upload())
	}
	var clients sync.WaitGroup
	for i, name := range names {
		clients.Go(func() { s.want(t, name, "/", attack{}.limits(), fmt.Sprintf("^200 worker %d$", i)) })
	}
	clients.Wait()
	for _, name := range names {
		s.call(t, http.MethodDelete, s.script(name)+"?force=true", nil, nil)
	}
}

// TestShutdown stops a node amid all that could keep it: requests that never end, streams, WebSockets, waitUntil work, a
// spin, and a process that is starting.
func TestShutdown(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	const endless = `if (request.url.endsWith("/never")) return new Promise(() => setInterval(() => {}, 1000));
		if (request.url.endsWith("/stream")) return new Response(new ReadableStream({ async pull(c) { c.enqueue(new Uint8Array(1000)); await scheduler.wait(10); } }));
		if (request.url.endsWith("/later")) { ctx.waitUntil(new Promise(() => setInterval(() => {}, 10))); return new Response("later"); }
		if (request.url.endsWith("/spin")) for (;;);
		const { 0: client, 1: server } = new WebSocketPair(); server.accept(); setInterval(() => server.send("x"), 10); return new Response(null, { status: 101, webSocket: client });`
	for _, name := range []string{"a", "b"} {
		s.put(t, s.script(name), attack{code: handler(endless)}.upload())
	}
	var clients sync.WaitGroup
	ask := func(host, path string) {
		begun := make(chan struct{})
		clients.Go(func() {
			res, err := s.client.Do(s.request(t, "GET", host, path, `{"cpuMs":3000}`, nil))
			close(begun)
			if err == nil {
				io.Copy(io.Discard, res.Body)
				res.Body.Close()
			}
		})
		if path == "/stream" || path == "/later" {
			<-begun
		}
	}
	for _, path := range []string{"/stream", "/later", "/never"} {
		ask("a", path)
	}
	ws := s.socket(t, "a", `{"cpuMs":3000}`, nil)
	if _, _, err := ws.next(); err != nil {
		t.Fatal(err)
	}
	ask("b", "/spin") // ended by its limit
	began := time.Now()
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 45*time.Second {
		t.Errorf("it took %v to stop", took)
	} else {
		t.Logf("it took %v to stop", took.Round(time.Millisecond))
	}
	clients.Wait()
}
