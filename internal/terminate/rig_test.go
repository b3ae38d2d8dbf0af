package terminate

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"atoll.dev/atoll/internal/sandbox"
	"atoll.dev/atoll/internal/workerd"
	"atoll.dev/atoll/internal/workerd/workerdtest"
)

// TestMain lets the test binary be the program that sets sandboxed children up.
func TestMain(m *testing.M) {
	sandbox.Main()
	os.Exit(m.Run())
}

// worker has a path for each way to be busy, and some to see what is left afterwards.
const worker = `
import LOOP from "./loop.wasm";
let count = 0; // a global, to see that it stays
const registry = new FinalizationRegistry(() => { for (;;) {} });
const loop = () => { for (;;) {} };
export default {
	async fetch(request, env, ctx) {
		const url = new URL(request.url);
		const ms = Number(url.searchParams.get("ms"));
		switch (url.pathname) {
		case "/": return new Response("hello");
		case "/count": return new Response(String(++count));
		case "/loop": loop();
		case "/microtasks": for (;;) await null;
		case "/regex": return new Response(String(/^(a+)+$/.test("a".repeat(40) + "b")));
		case "/finally": for (;;) { try { loop(); } catch { } finally { while (true) {} } }
		case "/wasm": new WebAssembly.Instance(LOOP).exports.loop();
		case "/sort": for (;;) Array.from({ length: 1e5 }, () => Math.random()).sort((a, b) => a - b);
		case "/getter": { const o = { get x() { return this.x; } }; for (;;) { try { o.x; } catch { } } }
		case "/proxy": { const p = new Proxy({}, { get: (t, k) => p[k + "x"] }); for (;;) { try { p.a; } catch { } } }
		case "/clone": { const big = Array.from({ length: 1e5 }, (_, i) => ({ i })); for (;;) structuredClone(big); }
		case "/stringify": { const big = Array.from({ length: 1e5 }, (_, i) => ({ i })); for (;;) JSON.stringify(big); }
		case "/json": { const s = "[" + "[1,2,3],".repeat(3e6) + "1]"; for (;;) JSON.parse(s); }
		case "/promises": { const f = () => Promise.resolve().then(f); await f(); break; }
		case "/timer": await new Promise(() => setTimeout(loop, 5)); break;
		case "/wait": await scheduler.wait(ms); return new Response("waited");
		case "/after": ctx.waitUntil((async () => { await scheduler.wait(5); loop(); })()); return new Response("answered");
		case "/later": ctx.waitUntil((async () => { for (let i = 0; i < ms / 10; i++) { for (let j = 0; j < 1e6; j++); await scheduler.wait(10); } })()); return new Response("answered");
		case "/work": { // turns of a little work with waits between
			const out = [];
			for (let i = 0; i < 3; i++) { let s = 0; for (let j = 0; j < 3e4; j++) s += j % 7; out.push(s); await scheduler.wait(1); }
			return new Response(out.join());
		}
		case "/garbage": for (let i = 0; ; i++) { registry.register(new Array(1e5).fill(i), i); if (i % 100 == 0) await scheduler.wait(1); }
		case "/stream": {
			const { readable, writable } = new TransformStream(); const w = writable.getWriter(); const e = new TextEncoder();
			ctx.waitUntil((async () => { for (let i = 0; i < 20; i++) { await w.write(e.encode(i + " ")); await scheduler.wait(ms / 20); } await w.close(); })());
			return new Response(readable);
		}
		}
		return new Response("no such path", { status: 404 });
	}
}`

// loopWasm is (module (func (export "loop") (loop br 0))).
var loopWasm = []byte("\x00asm\x01\x00\x00\x00\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00\x07\x08\x01\x04loop\x00\x00\x0a\x09\x01\x07\x00\x03\x40\x0c\x00\x0b\x0b")

// engineOf reads the engine once for all tests.
var engineOf = sync.OnceValues(func() (*Engine, error) { return Load(enginePath) })

var enginePath string

// rig is a sandboxed workerd that runs worker.
type rig struct {
	testing.TB
	proc   *sandbox.Process
	client *http.Client
	stderr *os.File
	engine *Engine
	target *Target
}

type rigOptions struct {
	insecure bool
	early    bool // return before the Worker has loaded, without a target
	objects  bool // the Worker of objects instead
}

func newRig(t testing.TB, opts rigOptions) *rig {
	t.Helper()
	bin := workerdtest.Binary(t)
	enginePath = bin.Path
	engine, err := engineOf()
	if err != nil {
		t.Fatal(err)
	}
	box, err := sandbox.New(sandbox.Options{Insecure: opts.insecure})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { box.Close() })
	main := workerd.Worker{
		Modules: []workerd.Module{
			{Name: "main.js", Body: []byte(worker)},
			{Name: "loop.wasm", Kind: workerd.WasmModule, Body: loopWasm},
		},
		CompatibilityDate: "2026-01-01",
	}
	if opts.objects {
		main.Modules = []workerd.Module{{Name: "main.js", Body: []byte(objects)}}
		main.Bindings = []workerd.Binding{{Name: "OBJECT", Value: workerd.DurableObjects{ClassName: "Thing"}}}
		main.DurableObjectNamespaces = []workerd.DurableObjectNamespace{{ClassName: "Thing", UniqueKey: "thing"}}
		main.DurableObjectStorage = workerd.Storage{InMemory: true}
	}
	message, err := workerd.Encode(workerd.Config{
		Services: []workerd.Service{{Name: "internet", Kind: workerd.External{Address: "unix:/nowhere"}}, {Name: "main", Kind: main}},
		Sockets:  []workerd.Socket{{Name: "http", Address: "*:0", Service: workerd.Designator{Name: "main"}}},
		V8Flags:  []string{"--single-threaded"},
	})
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "tm") // a Unix socket's path has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	r := &rig{TB: t, engine: engine}
	socket := filepath.Join(dir, "in.sock")
	in := workerdtest.Listen(r, socket)
	defer in.Close()
	stdin, feed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	if r.stderr, err = os.Create(filepath.Join(dir, "stderr")); err != nil {
		t.Fatal(err)
	}
	r.proc, err = box.Start(sandbox.Command{
		Path: bin.Path, Args: []string{"serve", "--binary", "-", "--experimental", "--socket-fd", "http=3"},
		Stdin: stdin, Stdout: r.stderr, Stderr: r.stderr, Files: []*os.File{in},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.proc.Kill()
		<-r.proc.Done()
		if t.Failed() {
			said, _ := os.ReadFile(r.stderr.Name())
			t.Logf("workerd ended by %v and said: %s", r.proc.ExitState(), tail(said))
		}
		r.stderr.Close()
	})
	if _, err := feed.Write(message); err != nil {
		t.Fatal(err)
	}
	feed.Close()
	tr := &http.Transport{MaxIdleConnsPerHost: 1000, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	r.client = &http.Client{Transport: tr, Timeout: 20 * time.Second}
	if opts.early {
		return r
	}
	r.want("/", 200, "hello")
	if r.target, err = engine.Attach(r.proc.Pid()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.target.Close() })
	return r
}

// with is r for a subtest.
func (r *rig) with(t *testing.T) *rig {
	c := *r
	c.TB = t
	return &c
}

// traced tells whether somebody traces the process.
func (r *rig) traced() bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.proc.Pid()))
	if err != nil {
		r.Fatal(err)
	}
	return !bytes.Contains(b, []byte("TracerPid:\t0\n"))
}

func tail(b []byte) []byte { return b[max(0, len(b)-4000):] }

// get is the status and body of a request; the body of a failed one is the error.
func (r *rig) get(path string) (int, string) {
	resp, err := r.client.Get("http://worker" + path)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return resp.StatusCode, err.Error()
	}
	return resp.StatusCode, string(b)
}

func (r *rig) want(path string, status int, body string) {
	r.Helper()
	if gotStatus, got := r.get(path); gotStatus != status || got != body {
		r.Errorf("%s: got %d %q, want %d %q", path, gotStatus, got, status, body)
	}
}

// busy waits until one request has kept the process busy for 10 ms by its own clock, and returns it.
func (r *rig) busy() Context {
	r.Helper()
	last, since := None, time.Duration(0)
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); pause(200 * time.Microsecond) {
		now, err := r.target.Current()
		if err != nil {
			r.Fatal(err)
		}
		used, err := r.proc.CPUTime()
		if err != nil {
			r.Fatal(err)
		}
		if now != last {
			last, since = now, used
		}
		if last != None && used-since > 10*time.Millisecond {
			return last
		}
	}
	r.Fatal("no request keeps the process busy")
	return None
}

// sighting is the next look that sees a request.
func (r *rig) sighting() Sight {
	r.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		s, err := r.target.Look()
		if err != nil {
			r.Fatal(err)
		}
		if s.Current != None {
			return s
		}
	}
	r.Fatal("no request runs")
	return Sight{}
}

// settle waits until the process has nothing to do.
func (r *rig) settle() {
	r.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); pause(100 * time.Microsecond) {
		asleep, err := r.target.Asleep()
		if err != nil {
			r.Fatal(err)
		}
		if asleep {
			return
		}
	}
	r.Fatal("the process does not come to rest")
}

// terminate ends a request, giving V8 as long as it is used to.
func (r *rig) terminate(c Context) Outcome {
	r.Helper()
	o, err := r.target.Terminate(c, nil, after(5*time.Second))
	if err != nil {
		r.Fatal(err)
	}
	return o
}

func (r *rig) background(n int, path string) *workerdtest.Answers {
	return workerdtest.Background(n, func() (int, string) { return r.get(path) })
}
