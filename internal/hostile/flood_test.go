package hostile_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// floodAttacks do what anyone may do, too often or too large.
func floodAttacks(namespace string) []attack {
	kv := []map[string]any{{"type": "kv_namespace", "name": "KV", "namespace_id": namespace}}
	return []attack{
		{name: "log-lines", cpuMs: 2000, run: logBomb, code: handler(`for (let i = 0; i < 1e5; i++) console.log("line " + i); return new Response("logged");`)},
		{name: "log-of-one-line", cpuMs: 2000, run: logBomb, code: handler(`for (let i = 0; i < 4; i++) console.log("x".repeat(4e6)); return new Response("logged");`)},
		{name: "log-of-exceptions", cpuMs: 2000, run: logBomb, code: handler(`for (let i = 0; i < 3000; i++) Promise.reject(new Error("x".repeat(1e4))); await scheduler.wait(50); return new Response("logged");`)},
		{name: "response-headers-many", cpuMs: 2000, want: `^(500|502) `, code: handler(`const h = new Headers(); for (let i = 0; i < 20000; i++) h.append("x-" + i, "y".repeat(50)); return new Response("x", { headers: h });`)},
		{name: "response-headers-large", cpuMs: 2000, want: `^(500|502) `, code: handler(`return new Response("x", { headers: { "x-a": "y".repeat(5e6) } });`)},
		{name: "response-cookies", cpuMs: 2000, want: `^(500|502) `, code: handler(`const h = new Headers(); for (let i = 0; i < 5000; i++) h.append("set-cookie", "a" + i + "=" + "y".repeat(100)); return new Response("x", { headers: h });`)},
		{name: "response-status-text", cpuMs: 2000, want: `^\d+ `, code: handler(`return new Response("x", { statusText: "y".repeat(1e6) });`)},
		{name: "response-odd-status", want: `^200 \[\]$`, code: handler(`const got = []; for (const status of [0, 99, 100, 101, 103, 199, 600, 1000, -1, NaN]) try { new Response(null, { status }); got.push(status); } catch {} return Response.json(got);`)},
		{name: "exception-of-headers", want: `^500 Error: y+$`, code: handler(`throw Object.assign(new Error("y".repeat(1e6)), { stack: "z".repeat(1e6) });`)},
		{name: "subrequest-headers", cpuMs: 2000, want: `^200 refused$`, code: handler(`for (const value of ["y".repeat(5e5), "y".repeat(4e6)]) try { if ((await fetch("http://127.0.0.1:9/", { headers: { "x-a": value } })).status !== 431) return new Response("let through"); } catch {} return new Response("refused");`)},
		{name: "subrequest-url", cpuMs: 2000, want: `^200 refused$`, code: handler(`try { await fetch("http://127.0.0.1:9/" + "y".repeat(4e6)); return new Response("let through"); } catch {} return new Response("refused");`)},
		{name: "subrequests", run: defaultSubRequests, code: handler(`let n = 0;
			for (let i = 0; i < 110; i++) for (const { reason } of await Promise.allSettled(Array.from({ length: 100 }, () => fetch("http://127.0.0.1:9/")))) if (reason.message !== "Too many subrequests.") n++;
			return new Response(String(n));`)},
		{name: "subrequest-bodies", cpuMs: 5000, want: `^200 refused$`, code: handler(`for (let i = 0; i < 20; i++) try { await fetch("http://127.0.0.1:9/", { method: "POST", body: new Uint8Array(1 << 20) }); return new Response("let through"); } catch {} return new Response("refused");`)},
		{name: "slow-key-values", cpuMs: 5000, run: slowKeyValues, binds: kv,
			code: handler(`const slow = () => new ReadableStream({ async pull(c) { await scheduler.wait(500); c.enqueue(new Uint8Array(1)); } });
				await Promise.race([Promise.allSettled(Array.from({ length: 2000 }, (_, i) => env.KV.put("k" + i, slow()))), scheduler.wait(2000)]); return new Response("done");`)},
		{name: "large-key-values", cpuMs: 5000, run: largeKeyValues, binds: kv,
			code: handler(`const large = () => { let n = 0; return new ReadableStream({ async pull(c) { if (n++ < 200) c.enqueue(new Uint8Array(1e5)); else await scheduler.wait(1e6); } }); };
				await Promise.race([Promise.allSettled(Array.from({ length: 20 }, (_, i) => env.KV.put("l" + i, large()))), scheduler.wait(2000)]); return new Response("done");`)},
		{name: "stalled-key-values", cpuMs: 20000, run: stalledKeyValues, binds: kv, alone: true,
			code: handler(`const block = new Uint8Array(1e6);
				const stalled = () => { let n = 0; return new ReadableStream({ async pull(c) { if (n++ === 0) c.enqueue(block); else await scheduler.wait(1e6); } }); };
				await Promise.race([Promise.allSettled(Array.from({ length: 600 }, (_, i) => env.KV.put("s" + i, stalled()))), scheduler.wait(8000)]); return new Response("done");`)},
		{name: "bulk-key-values", cpuMs: 20000, run: bulkKeyValues, binds: kv,
			code: handler(`if (new URL(request.url).pathname === "/put") { await env.KV.put("escapes", new Uint8Array(24e6).fill(1)); return new Response("put"); }
				if (new URL(request.url).pathname === "/end") { await env.KV.delete("escapes"); return new Response("gone"); }
				await Promise.allSettled(Array.from({ length: 20 }, () => env.KV.get(["escapes"]))); return new Response("done");`)},
		{name: "cache", cpuMs: 20000, run: cacheFlood,
			code: handler(`const caching = [await caches.open("shared"), await caches.open("")], headers = { "cache-control": "max-age=36000" };
				const never = () => { let n = 0; return new ReadableStream({ async pull(c) { if (n++ < 100) c.enqueue(new Uint8Array(1e5)); else await scheduler.wait(1e6); } }); };
				for (const c of caching) for (const n of [60e3, 1e6]) for (let i = 0; i < 20; i++) await c.put("http://cache.test/" + n + "/" + i, new Response(new Uint8Array(n), { headers }));
				for (let i = 0; i < 400; i++) await caching[0].put("http://cache.test/" + i, new Response("", { headers: { ...headers, "x-a": "y".repeat(1e4) } }));
				for (let i = 0; i < 100; i++) await caching[0].put("http://cache.test/", new Response("", { headers: { ...headers, vary: "x-" + i + ", x" } }));
				await Promise.race([Promise.allSettled(Array.from({ length: 20 }, (_, i) => caching[0].put("http://cache.test/never/" + i, new Response(never(), { headers })))), scheduler.wait(2000)]);
				for (const name of ["alice", "large"]) await caching[0].delete("http://cache.test/" + name);
				return new Response("done");`)},
		{name: "key-values", cpuMs: 5000, want: `^200 done$`, binds: kv,
			code: handler(`for (let i = 0; i < 20; i++) await Promise.allSettled(Array.from({ length: 100 }, (_, j) => env.KV.get("k" + i + j))); return new Response("done");`)},
		{name: "endless-response", cpuMs: 1000, run: endlessResponse, code: handler(`return new Response(new ReadableStream({ pull(c) { c.enqueue(new Uint8Array(65536)); } }));`)},
		{name: "unread-responses", cpuMs: 1000, run: unreadResponses, code: handler(`return new Response(new ReadableStream({ pull(c) { c.enqueue(new Uint8Array(65536)); } }));`)},
		{name: "huge-request", run: hugeRequest, code: handler(`let n = 0; for await (const c of request.body) n += c.length; return new Response(String(n));`)},
		{name: "unread-request", run: hugeRequest, code: handler(`return new Response("not read");`)},
		{name: "client-headers", run: clientHeaders, code: handler(`return new Response("x");`)},
		{name: "waiting-requests", run: waitingRequests, code: handler(`await scheduler.wait(60_000); return new Response("late");`)},
		{name: "web-sockets", run: manySockets, code: handler(`const { 0: client, 1: server } = new WebSocketPair(); server.accept(); return new Response(null, { status: 101, webSocket: client });`)},
		{name: "web-socket-messages", cpuMs: 1000, run: socketFlood, code: handler(`const { 0: client, 1: server } = new WebSocketPair(); server.accept();
			server.addEventListener("message", async () => { for (;;) { for (let i = 0; i < 100; i++) server.send("x".repeat(1000)); await scheduler.wait(1); } }); return new Response(null, { status: 101, webSocket: client });`)},
		{name: "abandoned-requests", run: abandoned, code: handler(`await scheduler.wait(60_000); return new Response("late");`)},
		{name: "wait-until-for-ever", run: waitForEver, code: handler(`ctx.waitUntil(new Promise((r) => setTimeout(r, 3600_000))); return new Response("ok");`)},
	}
}

// logBomb checks that what a Worker writes does not become the node's log, nor its memory.
func logBomb(t *testing.T, s *site, host string) {
	before := s.log.written()
	heap := heapInUse()
	s.want(t, host, "/", attack{cpuMs: 2000}.limits(), `^(200 logged|500 Error: Worker exceeded )`)
	if grown := s.log.written() - before; grown > 256<<10 {
		t.Errorf("the node logged %d bytes", grown)
	}
	if grown := heapInUse() - heap; grown > 32<<20 {
		t.Errorf("the node's heap grew by %d bytes", grown)
	}
}

// heapInUse is the Go heap of the node, and of this test, which are one process.
func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse)
}

// defaultSubRequests gives no limit, so that the node's own holds.
func defaultSubRequests(t *testing.T, s *site, host string) {
	s.want(t, host, "/", `{"cpuMs":20000}`, `^200 10000$`)
}

// slowKeyValues looks at how much of the node a Worker holds that has thousands of writes under way.
func slowKeyValues(t *testing.T, s *site, host string) {
	before, most := openFiles(), 0
	done := make(chan string)
	go func() { done <- s.get(t, host, "/", attack{cpuMs: 5000}.limits()) }()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case got := <-done:
			if !strings.HasPrefix(got, "200 done") && !strings.HasPrefix(got, "500 ") {
				t.Errorf("got %.200q", got)
			}
			t.Logf("%d more open files", most-before)
			if most-before > 1024+200 {
				t.Errorf("it held %d of the node's open files", most-before)
			}
			return
		case <-tick.C:
			most = max(most, openFiles())
		}
	}
}

// largeKeyValues writes 400 MB at once and never comes to the end.
func largeKeyValues(t *testing.T, s *site, host string) {
	heap := heapInUse()
	s.want(t, host, "/", attack{cpuMs: 5000}.limits(), `^(200 done|500 )`)
	if grown := heapInUse() - heap; grown > 100<<20 {
		t.Errorf("the node's heap grew by %d bytes", grown)
	}
}

// stalledKeyValues looks at how much of the node's memory values take that do not come to their end.
func stalledKeyValues(t *testing.T, s *site, host string) {
	heap := heapInUse()
	if grown := s.peak(t, host, "/", heapInUse) - heap; grown > 100<<20 {
		t.Errorf("the node's heap grew by %d bytes", grown)
	}
}

// bulkKeyValues asks for much that becomes more as it is written out.
func bulkKeyValues(t *testing.T, s *site, host string) {
	s.want(t, host, "/put", attack{cpuMs: 20000}.limits(), `^200 put$`)
	heap := heapInUse()
	grown := s.peak(t, host, "/", func() int64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapInuse)
	}) - heap
	if t.Logf("the node's heap grew by %d bytes", grown); grown > 600<<20 {
		t.Errorf("the node's heap grew by %d bytes", grown)
	}
	s.want(t, host, "/end", attack{cpuMs: 20000}.limits(), `^200 gone$`) // other attacks list the keys
}

// peak is the highest of a figure while a request is answered, however.
func (s *site) peak(t *testing.T, host, path string, figure func() int64) (most int64) {
	t.Helper()
	done := make(chan string)
	go func() { done <- s.get(t, host, path, attack{cpuMs: 20000}.limits()) }()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case got := <-done:
			t.Logf("got %.200q", got)
			return most
		case <-tick.C:
			most = max(most, figure())
		}
	}
}

// openFiles counts the node's descriptors.
func openFiles() int {
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return -1
	}
	return len(d)
}

// settle waits until a count is at most so high.
func settle(t *testing.T, what string, count func() int, most int) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	n := count()
	for end := time.Now().Add(patience); n > most && time.Now().Before(end); <-tick.C {
		n = count()
	}
	if n > most {
		t.Errorf("%s: %d, at most %d expected", what, n, most)
	}
}

// endlessResponse reads for a while, and leaves.
func endlessResponse(t *testing.T, s *site, host string) {
	res, err := s.client.Do(s.request(t, "GET", host, "/", attack{cpuMs: 1000}.limits(), nil))
	if err != nil {
		t.Fatal(err)
	}
	n, err := io.CopyN(io.Discard, res.Body, 64<<20)
	res.Body.Close()
	t.Logf("read %d bytes: %v", n, err)
}

// unreadResponses asks for much and reads nothing: all on the way must hold back.
func unreadResponses(t *testing.T, s *site, host string) {
	heap := heapInUse()
	var conns sync.WaitGroup
	for range 50 {
		conns.Go(func() {
			c := s.dial(t)
			if err := s.request(t, "GET", host, "/", attack{cpuMs: 1000}.limits(), nil).Write(c); err != nil {
				t.Error(err)
			}
			bufio.NewReaderSize(c, 16).Peek(12) // it has begun, or ended
		})
	}
	conns.Wait()
	if grown := heapInUse() - heap; grown > 64<<20 {
		t.Errorf("the node's heap grew by %d bytes", grown)
	}
}

// hugeRequest sends more than a body may have, with its length and without.
func hugeRequest(t *testing.T, s *site, host string) {
	const size = 101 << 20
	for _, known := range []bool{true, false} {
		req := s.request(t, "POST", host, "/", attack{cpuMs: 5000}.limits(), io.LimitReader(zeros{}, size))
		if known {
			req.ContentLength = size
		}
		got := s.do(req)
		t.Logf("length known: %v: got %.200q", known, got)
		if !strings.HasPrefix(got, "413 ") && !strings.HasPrefix(got, "no answer: ") && !strings.HasPrefix(got, "200 not read") {
			t.Errorf("length known: %v: got %.200q", known, got)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// clientHeaders sends heads that are too large in each way, and one that never ends.
func clientHeaders(t *testing.T, s *site, host string) {
	many := http.Header{}
	for i := range 5000 {
		many.Set(fmt.Sprintf("X-%d", i), strings.Repeat("y", 100))
	}
	for name, h := range map[string]http.Header{
		"many":  many,
		"large": {"X-A": {strings.Repeat("y", 1<<20)}},
		"wide":  {strings.Repeat("X", 1<<18): {"y"}},
	} {
		req := s.request(t, "GET", host, "/", "", nil)
		req.Header = h
		if got := s.do(req); !strings.HasPrefix(got, "431 ") && !strings.HasPrefix(got, "no answer") {
			t.Errorf("%s: got %.200q", name, got)
		}
	}
	for _, size := range []int{20 << 10, 1 << 20} {
		req := s.request(t, "GET", host, "/"+strings.Repeat("y", size), "", nil)
		if got := s.do(req); !strings.HasPrefix(got, "414 ") && !strings.HasPrefix(got, "431 ") && !strings.HasPrefix(got, "no answer") {
			t.Errorf("a URL of %d bytes: got %.200q", size, got)
		}
	}
	// As much as the edge lets in must not be what breaks a Worker, the platform's own first of all.
	req := s.request(t, "GET", host, "/alive", "", nil)
	for i := range 100 {
		req.Header.Set(fmt.Sprintf("X-%d", i), strings.Repeat("y", 1000))
	}
	if got := s.do(req); got != "200 alive" && !strings.HasPrefix(got, "431 ") {
		t.Errorf("100 KB of headers: got %.200q", got)
	}
}

// waitingRequests sends as many requests as a script may handle at once and more: the others are refused, and nobody
// else's are.
func waitingRequests(t *testing.T, s *site, host string) {
	const most, more = 1000, 100
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var refused, other atomic.Int64
	var clients sync.WaitGroup
	for range most + more {
		clients.Go(func() {
			got := s.do(s.request(t, "GET", host, "/", "", nil).WithContext(ctx))
			switch {
			case strings.Contains(got, "exceeded concurrent requests limit"):
				if refused.Add(1) == more {
					cancel() // the others would wait for a minute
				}
			case ctx.Err() == nil:
				if other.Add(1) < 4 {
					t.Logf("got %.200q", got)
				}
			}
		})
	}
	clients.Wait()
	if refused.Load() < more || other.Load() > 0 {
		t.Errorf("%d refused, and %d that were neither that nor waiting", refused.Load(), other.Load())
	}
}

// manySockets opens as many WebSockets as a script may have, and more.
func manySockets(t *testing.T, s *site, host string) {
	const most, more = 1000, 50
	refused := 0
	for range most + more {
		ws, res := s.upgrade(t, host, "", nil)
		if res.StatusCode != http.StatusSwitchingProtocols {
			b, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10))
			if !strings.Contains(string(b), "exceeded WebSocket limit") && !strings.Contains(string(b), "exceeded concurrent requests limit") {
				t.Fatalf("got %s %s", res.Status, b)
			}
			refused++
			ws.Close()
			continue
		}
		defer ws.Close()
	}
	if refused < more {
		t.Errorf("%d were refused", refused)
	}
}

// socketFlood has a Worker send more than its client reads.
func socketFlood(t *testing.T, s *site, host string) {
	heap := heapInUse()
	ws := s.socket(t, host, attack{cpuMs: 1000}.limits(), nil)
	ws.send(t, "go")
	for range 20 {
		if _, _, err := ws.next(); err != nil {
			break
		}
	}
	if grown := heapInUse() - heap; grown > 64<<20 {
		t.Errorf("the node's heap grew by %d bytes", grown)
	}
	ws.Close()
}

// abandoned makes requests whose clients leave at once: nothing of them may stay.
func abandoned(t *testing.T, s *site, host string) {
	before, routines := openFiles(), runtime.NumGoroutine()
	var clients sync.WaitGroup
	for range 200 {
		clients.Go(func() {
			c := s.dial(t)
			if err := s.request(t, "GET", host, "/", "", nil).Write(c); err != nil {
				t.Error(err)
			}
			c.Close()
		})
	}
	clients.Wait()
	settle(t, "open files", openFiles, before+100)
	settle(t, "goroutines", runtime.NumGoroutine, routines+300)
}

// waitForEver leaves work behind with each response: the node remembers none of it for ever, and a redeploy ends it.
func waitForEver(t *testing.T, s *site, host string) {
	for range 200 {
		s.want(t, host, "/", attack{}.limits(), `^200 ok$`)
	}
}

// cacheFlood fills the node's caches several times over, and finds alice's as they were.
func cacheFlood(t *testing.T, s *site, host string) {
	s.want(t, "alice", "/cached", "", "^200 alice-cached 200000$")
	s.want(t, host, "/", attack{cpuMs: 20000}.limits(), "^200 done$")
	s.want(t, "alice", "/cached", "", "^200 alice-cached 200000$")
}
