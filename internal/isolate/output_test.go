package isolate

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/hop"
	"atoll.dev/atoll/internal/sandbox"
	"atoll.dev/atoll/internal/workerd/workerdtest"
)

func TestMain(m *testing.M) {
	sandbox.Main()
	os.Exit(m.Run())
}

// start runs a Worker of one module in a process whose invocations may log so much.
func start(t *testing.T, logBytes int64, source string, flags ...string) *Process {
	t.Helper()
	bin := workerdtest.Binary(t)
	lg := slog.New(slog.NewTextHandler(t.Output(), nil))
	box, err := sandbox.New(sandbox.Options{Log: lg})
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "atoll-test-") // not t.TempDir, whose path is too long for a socket's
	if err != nil {
		t.Fatal(err)
	}
	os.Chmod(dir, 0o711)
	f, err := New(lg, bin, box, http.NotFoundHandler(), Options{Dir: filepath.Join(dir, "run"), LogBytes: logBytes})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan struct{})
	go func() { f.Run(ctx); close(stopped) }()
	t.Cleanup(func() {
		stop()
		<-stopped
		box.Close()
		os.RemoveAll(dir)
	})
	p, err := f.Start(Spec{Ref: atoll.ScriptRef{Name: "w"}, Load: func(string) ([]byte, error) { return []byte(source), nil },
		Version: &atoll.Version{MainModule: "w.js", CompatibilityDate: "2026-01-01", CompatibilityFlags: flags,
			Modules: []atoll.Module{{Name: "w.js", Type: atoll.ESModule}}}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// get asks the process for a path and returns the body.
func get(t *testing.T, p *Process, path string) string {
	t.Helper()
	p.Acquire()
	defer p.Release()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	res, err := p.Client.Do(ctx, &hop.Request{Method: "GET", Target: path, Host: "w.test", Header: http.Header{"Cf-Ray": {atoll.NewID()}}})
	if err != nil {
		t.Fatalf("GET %s: %v; output: %s", path, err, p.Output())
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// printed ends the process and returns all it has written, or its end.
func printed(p *Process) string {
	p.Kill()
	<-p.Exited()
	out := string(p.Output())
	for strings.HasPrefix(out, "workerd/") { // the engine's own warnings at its start
		_, out, _ = strings.Cut(out, "\n")
	}
	return out
}

const limitReached = "The log's limit of 1000 bytes is reached: what this invocation writes from here on is dropped.\n"

func TestLogIsBounded(t *testing.T) {
	for name, c := range map[string]struct{ code, want string }{
		"within":       {`console.log("a".repeat(980)); return new Response("ok")`, strings.Repeat("a", 980) + "\n"},
		"too-long":     {`console.log("a".repeat(1001))`, limitReached},
		"then-short":   {`console.log("a".repeat(1001)); console.log("b")`, limitReached},
		"line-by-line": {`for (let i = 0; i < 1e5; i++) console.log("a")`, strings.Repeat("a\n", 111) + limitReached},
		"empty-lines":  {`for (let i = 0; i < 1e5; i++) console.log()`, strings.Repeat("\n", 125) + limitReached},
		"all-methods": {`for (const m of ["debug", "error", "info", "log", "warn"]) console[m]("a".repeat(190)); console.error("b".repeat(190))`,
			strings.Repeat(strings.Repeat("a", 190)+"\n", 5) + limitReached},
		"objects":    {`for (let i = 0; i < 1e5; i++) console.log({ a: "b".repeat(300), c: [1] })`, strings.Repeat("{\n  a: '"+strings.Repeat("b", 300)+"',\n  c: [ 1 ]\n}\n", 2) + limitReached},
		"deep":       {`console.log([[{ a: "b".repeat(1000) }]])`, limitReached},
		"other-name": {`const { log } = console; for (let i = 0; i < 1e5; i++) log("a".repeat(1000))`, limitReached},
		"prototype":  {`for (let i = 0; i < 1e5; i++) Object.getPrototypeOf(console).log?.("x".repeat(1000)); console.log("y")`, "y\n"},
		"waitUntil":  {`ctx.waitUntil((async () => { for (let i = 0; i < 5; i++) { await scheduler.wait(1); console.log("a".repeat(400)); } await fetch("http://x.test/").catch(() => {}); })()); await scheduler.wait(100)`, strings.Repeat(strings.Repeat("a", 400)+"\n", 2) + limitReached},
		"proxy":      {`console.log(new Proxy({}, { ownKeys() { throw 1 } })); console.log("fine")`, "Proxy({})\nfine\n"},
		"getter":     {`console.log({ get a() { throw 1 } }); console.log("fine")`, "{ a: [Getter] }\nfine\n"},
		"polluted": {`Reflect.apply = Reflect.ownKeys = Reflect.getOwnPropertyDescriptor = Object.hasOwn = () => []; Array.isArray = ArrayBuffer.isView = () => true;
			for (let i = 0; i < 1e5; i++) console.log({ a: "b".repeat(900) })`, "{\n  a: '" + strings.Repeat("b", 900) + "'\n}\n" + limitReached},
		"replaced": {`console.log = () => {}; console.log("x".repeat(5000)); console.warn("y")`, "y\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, 1000, `export default { async fetch(request, env, ctx) { `+c.code+`; return new Response("ok"); } }`)
			if got := get(t, p, "/"); got != "ok" {
				t.Errorf("answered %q", got)
			}
			if got := printed(p); got != c.want {
				t.Errorf("printed %d bytes %q, want %d %q", len(got), got, len(c.want), c.want)
			}
		})
	}
}

// Each invocation has its own share, whoever runs at the same time.
func TestLogOfEachInvocation(t *testing.T) {
	p := start(t, 1000, `export default { async fetch(request) {
		console.log("a".repeat(900));
		await scheduler.wait(50);
		console.log("b".repeat(request.url.endsWith("/much") ? 900 : 10));
		return new Response("ok"); } }`)
	done := make(chan string)
	go func() { done <- get(t, p, "/much") }()
	get(t, p, "/")
	<-done
	out := printed(p)
	if a, b := strings.Count(out, "a\n"), strings.Count(out, "b\n"); a != 2 || b != 1 || strings.Count(out, limitReached) != 1 {
		t.Errorf("%d and %d lines: %q", a, b, out)
	}
}

// Code at the top level of a module shares what there is outside of invocations, and takes nothing from them.
func TestLogOutsideInvocations(t *testing.T) {
	p := start(t, 1000, `for (let i = 0; i < 1e5; i++) console.log("top".repeat(100));
		export default { fetch() { console.log("mine"); return new Response("ok"); } }`)
	get(t, p, "/")
	want := strings.Repeat(strings.Repeat("top", 100)+"\n", 3) + limitReached + "mine\n"
	if got := printed(p); got != want {
		t.Errorf("printed %q", got)
	}
}

// process.stdout is the console by another name.
func TestLogThroughProcess(t *testing.T) {
	p := start(t, 1000, `import process from "node:process";
		export default { fetch() { for (let i = 0; i < 100; i++) { process.stdout.write("a".repeat(100) + "\n"); } return new Response("ok"); } }`, "nodejs_compat")
	get(t, p, "/")
	if got := printed(p); len(got) > 1500 || !strings.HasSuffix(got, limitReached) {
		t.Errorf("printed %d bytes: %q", len(got), got)
	}
}

// What gets around the console's bound costs the node next to nothing: it reads no faster for it.
func TestLogBombsDoNotSlowTheNode(t *testing.T) {
	for name, code := range map[string]string{
		"console":   `for (;;) console.log("x".repeat(1000))`,
		"estimates": `const bomb = { [Symbol.for("nodejs.util.inspect.custom")]: () => "x".repeat(100000) }; for (;;) console.log(bomb)`,
		"errors":    `const e = new Error("x".repeat(100000)); for (;;) reportError(e)`,
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, 0, `export default { fetch(request) { if (request.url.endsWith("/ready")) return new Response("ok"); `+code+` } }`)
			get(t, p, "/ready")
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			before := ownCPU(t)
			p.Acquire()
			defer p.Release()
			p.Client.Do(ctx, &hop.Request{Method: "GET", Target: "/", Host: "w.test"})
			<-ctx.Done()
			cpu, _ := p.CPUTime()
			t.Logf("the node used %v of CPU time in 2 s, the process %v", ownCPU(t)-before, cpu)
			if used := ownCPU(t) - before; used > 300*time.Millisecond {
				t.Errorf("in 2 s of a log bomb, the node used %v of CPU time", used)
			}
			if n := len(p.Output()); n > ringSize {
				t.Errorf("the node keeps %d bytes", n)
			}
			p.Kill()
			select {
			case <-p.Exited():
			case <-time.After(10 * time.Second):
				t.Error("the output has no end")
			}
		})
	}
}

// A process that has written more than its pipe holds goes on, and is heard again once it writes less.
func TestLogOverflow(t *testing.T) {
	p := start(t, 0, `export default { async fetch(request) {
		if (request.url.endsWith("/flood")) {
			const e = new Error("x".repeat(100000));
			for (let i = 0; i < 200; i++) reportError(e);
			return new Response("flooded");
		}
		console.log("heard again");
		return new Response("ok"); } }`)
	if got := get(t, p, "/flood"); got != "flooded" {
		t.Errorf("got %q", got)
	}
	for range 1000 {
		if got := get(t, p, "/"); got != "ok" {
			t.Fatalf("got %q", got)
		}
		if strings.Contains(string(p.Output()), "heard again\n") {
			return
		}
	}
	t.Errorf("it is not heard any more: %q", p.Output())
}

// ownCPU is the CPU time of this process.
func ownCPU(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
