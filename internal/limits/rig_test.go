package limits_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"atoll.dev/atoll/internal/limits"
	"atoll.dev/atoll/internal/sandbox"
	"atoll.dev/atoll/internal/terminate"
	"atoll.dev/atoll/internal/workerd"
	"atoll.dev/atoll/internal/workerd/workerdtest"
)

// TestMain lets the test binary be the program that sets sandboxed children up.
func TestMain(m *testing.M) {
	sandbox.Main()
	os.Exit(m.Run())
}

// worker burns processor time by the round: clocks do not advance in a Worker while it runs.
const worker = `
let count = 0;
const burn = (rounds) => { let x = 1; for (let i = 0; i < rounds; i++) x = (x * 1103515245 + 12345) % 2147483648; return x; };
const registry = new FinalizationRegistry(() => { for (;;) {} });
export default {
	async fetch(request, env, ctx) {
		const url = new URL(request.url);
		const n = Number(url.searchParams.get("n"));
		switch (url.pathname) {
		case "/": return new Response("hello");
		case "/count": return new Response(String(++count));
		case "/spin": for (;;) burn(1000);
		case "/burn": burn(n); return new Response("burnt");
		case "/thrice": for (let i = 0; i < 3; i++) { await scheduler.wait(5); burn(n); } return new Response("burnt");
		case "/wait": await scheduler.wait(n); return new Response("waited");
		case "/after": ctx.waitUntil((async () => { await scheduler.wait(n); for (;;) burn(1000); })()); return new Response("answered");
		case "/interval": setInterval(() => { for (;;) burn(1000); }, 1); await scheduler.wait(n); return new Response("waited");
		case "/json": { const s = "[" + "[1,2,3],".repeat(3e6) + "1]"; for (;;) JSON.parse(s); }
		case "/finalizer": for (let i = 0; ; i++) { registry.register(new Array(1e5).fill(i), i); if (i % 100 == 0) await scheduler.wait(1); }
		case "/echo": return new Response(request.body);
		case "/mixed": { // short turns with short waits
			for (let i = 0; i < 5; i++) { burn(n); await scheduler.wait(1); }
			return new Response("mixed");
		}
		}
		return new Response("no such path", { status: 404 });
	}
}`

const ms = time.Millisecond

// process is a sandboxed workerd as a Meter sees it.
type process struct {
	*sandbox.Process
	t      testing.TB
	target *terminate.Target
	looks  atomic.Int64
	killed atomic.Bool
}

func (p *process) Look() (limits.Sight, error) {
	p.looks.Add(1)
	s, err := p.target.Look()
	return limits.Sight{Current: limits.Context(s.Current), Place: s.Place, Event: uint64(s.Event), Entered: s.Entered, Started: limits.Context(s.Started), Collecting: s.Collecting}, err
}

func (p *process) Asleep() (bool, error) { return p.target.Asleep() }

func (p *process) Alive(c limits.Context, place uintptr) (bool, error) {
	return p.target.Alive(terminate.Context(c), place)
}

func (p *process) Event(c limits.Context, place uintptr) (uint64, error) {
	event, err := p.target.Event(terminate.Context(c), place)
	return uint64(event), err
}

func (p *process) Terminate(c limits.Context, over, late func() bool) (limits.Outcome, error) {
	o, err := p.target.Terminate(terminate.Context(c), over, late)
	return map[terminate.Outcome]limits.Outcome{terminate.Terminated: limits.Terminated, terminate.Overdue: limits.Overdue}[o], err
}

func (p *process) Kill(why error) {
	p.t.Logf("killed: %v", why)
	p.killed.Store(true)
	p.Process.Kill()
}

// rig is a workerd that runs worker under a limit.
type rig struct {
	testing.TB
	proc   *process
	meter  *limits.Meter
	client *http.Client
	perMs  float64       // rounds of burn in a millisecond
	beside time.Duration // what /thrice takes without them
}

var engineOf = sync.OnceValues(func() (*terminate.Engine, error) { return terminate.Load(enginePath) })

var enginePath string

func newRig(t testing.TB, limit time.Duration) *rig {
	t.Helper()
	bin := workerdtest.Binary(t)
	enginePath = bin.Path
	engine, err := engineOf()
	if err != nil {
		t.Fatal(err)
	}
	box, err := sandbox.New(sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { box.Close() })
	message, err := workerd.Encode(workerd.Config{
		Services: []workerd.Service{
			{Name: "internet", Kind: workerd.External{Address: "unix:/nowhere"}},
			{Name: "main", Kind: workerd.Worker{
				Modules:           []workerd.Module{{Name: "main.js", Body: []byte(worker)}},
				CompatibilityDate: "2026-01-01",
			}},
		},
		Sockets: []workerd.Socket{{Name: "http", Address: "*:0", Service: workerd.Designator{Name: "main"}}},
		V8Flags: []string{"--single-threaded", "--initial-old-space-size=8", "--max-semi-space-size=2"},
	})
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "lm") // a Unix socket's path has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "in.sock")
	in := workerdtest.Listen(t, socket)
	defer in.Close()
	stdin, feed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	p, err := box.Start(sandbox.Command{
		Path: bin.Path, Args: []string{"serve", "--binary", "-", "--experimental", "--socket-fd", "http=3"}, Stdin: stdin, Files: []*os.File{in},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		<-p.Done()
	})
	if _, err := feed.Write(message); err != nil {
		t.Fatal(err)
	}
	feed.Close()
	r := &rig{TB: t, proc: &process{Process: p, t: t}}
	tr := &http.Transport{MaxIdleConnsPerHost: 1000, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	r.client = &http.Client{Transport: tr, Timeout: 30 * time.Second}
	r.want("/", 200, "hello")
	if r.proc.target, err = engine.Attach(p.Pid()); err != nil {
		t.Fatal(err)
	}
	r.calibrate()
	if limit > 0 {
		r.meter = limits.New(r.proc, limit)
		t.Cleanup(func() { r.meter.Close() })
	}
	return r
}

// get is the status and body of a request; the body of a failed one is the error.
func (r *rig) get(path string) (int, string) {
	r.meter.Begin()
	defer r.meter.End()
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

// cpu is the process's clock when it has come to rest, since before that the clock lags.
func (r *rig) cpu() time.Duration {
	r.Helper()
	r.until("the process does not come to rest", func() bool {
		asleep, err := r.proc.target.Asleep()
		if err != nil {
			r.Fatal(err)
		}
		return asleep
	})
	return r.cpu1()
}

// calibrate finds how many rounds take a millisecond, once the function is compiled, and what a request takes beside them.
func (r *rig) calibrate() {
	r.Helper()
	const rounds = 400_000
	measure := func(n int) time.Duration {
		var took []time.Duration
		for range 25 {
			start := r.cpu()
			r.get(fmt.Sprintf("/thrice?n=%d", n))
			took = append(took, r.cpu()-start)
		}
		return median(took)
	}
	measure(rounds)
	r.beside = measure(0)
	r.perMs = 3 * rounds / (float64(measure(rounds)-r.beside) / float64(ms))
}

// rounds is how many take d.
func (r *rig) rounds(d time.Duration) int { return int(r.perMs * float64(d) / float64(ms)) }

func median(list []time.Duration) time.Duration {
	list = slices.Clone(list)
	slices.Sort(list)
	return list[len(list)/2]
}

func (r *rig) background(n int, path string) *workerdtest.Answers {
	return workerdtest.Background(n, func() (int, string) { return r.get(path) })
}

const stopped = "Internal Server Error"

// ended waits until some terminations can be claimed.
func (r *rig) ended(n int) {
	r.Helper()
	r.until("nothing was terminated", func() bool {
		if r.meter.Claim() {
			n--
		}
		return n == 0
	})
}

// until asks again and again whether something is so.
func (r *rig) until(otherwise string, so func() bool) {
	r.Helper()
	tick := time.NewTicker(200 * time.Microsecond)
	defer tick.Stop()
	for deadline := time.After(20 * time.Second); !so(); {
		select {
		case <-tick.C:
		case <-deadline:
			r.Fatal(otherwise)
		}
	}
}

// cpu1 is the process's clock, as exact as it is.
func (r *rig) cpu1() time.Duration {
	r.Helper()
	d, err := r.proc.CPUTime()
	if err != nil {
		r.Fatal(err)
	}
	return d
}
