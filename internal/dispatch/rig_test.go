package dispatch_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/binding"
	"atoll.dev/atoll/internal/dispatch"
	"atoll.dev/atoll/internal/egress"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/hop"
	"atoll.dev/atoll/internal/isolate"
	"atoll.dev/atoll/internal/objects"
	"atoll.dev/atoll/internal/sandbox"
	"atoll.dev/atoll/internal/store"
	"atoll.dev/atoll/internal/workerd/workerdtest"
)

func TestMain(m *testing.M) {
	sandbox.Main()
	os.Exit(m.Run())
}

// scripts is a Source in memory.
type scripts struct {
	mu     sync.Mutex
	active map[atoll.ScriptRef]*atoll.Version
	blobs  map[string][]byte
	reads  int

	settings atoll.NamespaceSettings // of every namespace
	classes  map[atoll.ScriptRef][]atoll.Class
	outbound map[atoll.ScriptRef]json.RawMessage
}

func (s *scripts) Script(_ context.Context, ref atoll.ScriptRef) (*atoll.Script, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	v := s.active[ref]
	if v == nil {
		return nil, ref.NotFound()
	}
	return &atoll.Script{Ref: ref, Active: v.ID, Version: v, Settings: s.settings, Classes: s.classes[ref], Outbound: s.outbound[ref]}, nil
}

// owner is the script that has a class.
func (s *scripts) owner(class string) atoll.ScriptRef {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ref, list := range s.classes {
		for _, c := range list {
			if c.ID == class {
				return ref
			}
		}
	}
	return atoll.ScriptRef{}
}

func (s *scripts) SetOutbound(_ context.Context, ref atoll.ScriptRef, outbound json.RawMessage) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outbound[ref] = outbound
	return nil
}

func (s *scripts) load(hash string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.blobs[hash]
	if !ok {
		return nil, fmt.Errorf("no blob %s", hash)
	}
	return b, nil
}

// module stores source and returns it as a module.
func (s *scripts) module(name string, t atoll.ModuleType, source string) atoll.Module {
	sum := sha256.Sum256([]byte(source))
	hash := hex.EncodeToString(sum[:])
	s.mu.Lock()
	s.blobs[hash] = []byte(source)
	s.mu.Unlock()
	return atoll.Module{Name: name, Type: t, Hash: hash, Size: int64(len(source))}
}

// rig is a dispatcher with real processes.
type rig struct {
	*scripts
	*dispatch.Dispatcher
	t *testing.T
}

const account atoll.AccountID = "0123456789abcdef0123456789abcdef"

func newRig(t *testing.T, opts dispatch.Options) *rig {
	t.Helper()
	bin := workerdtest.Binary(t)
	lg := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	box, err := sandbox.New(sandbox.Options{Log: lg})
	if err != nil {
		t.Fatal(err)
	}
	// Not t.TempDir, whose path is too long for a socket's.
	dir, err := os.MkdirTemp("", "atoll-test-")
	if err != nil {
		t.Fatal(err)
	}
	os.Chmod(dir, 0o711)
	border := binding.New(lg)
	gate := egress.New(lg, egress.Options{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	t.Cleanup(func() { gate.Close() })
	disks, err := objects.Open(lg, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	factory, err := isolate.New(lg, bin, box, border, isolate.Options{Dir: filepath.Join(dir, "run"), Spares: 1, Objects: disks})
	if err != nil {
		t.Fatal(err)
	}
	s := &scripts{active: map[atoll.ScriptRef]*atoll.Version{}, blobs: map[string][]byte{},
		classes: map[atoll.ScriptRef][]atoll.Class{}, outbound: map[atoll.ScriptRef]json.RawMessage{}}
	var d *dispatch.Dispatcher
	clock := objects.NewClock(lg, disks, func(ctx context.Context, class string) error { return d.Wake(ctx, s.owner(class)) })
	opts.Alarms = struct {
		*objects.Store
		*objects.Clock
	}{disks, clock}
	d = dispatch.New(lg, s, factory, s.load, opts)
	border.Services = binding.Services{Call: d.Do, Egress: gate, Assets: opts.Sites,
		Owner: func(context.Context, atoll.ScriptRef, atoll.VersionID) (store.Owner, error) {
			return store.Owner{}, fault.New(fault.NotFound, 10007, "nobody has caches here")
		}}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { factory.Run(ctx) })
	running.Go(func() { d.Run(ctx) })
	running.Go(func() { clock.Run(ctx) })
	t.Cleanup(func() {
		stop()
		running.Wait()
		box.Close()
		os.RemoveAll(dir)
	})
	return &rig{s, d, t}
}

// put makes a version of one ES module the active one.
func (r *rig) put(ref atoll.ScriptRef, source string, change ...func(*atoll.Version)) *atoll.Version {
	r.t.Helper()
	v := &atoll.Version{ID: atoll.VersionID(atoll.NewUUID()), MainModule: "worker.js", CompatibilityDate: "2025-01-01",
		Modules: []atoll.Module{r.module("worker.js", atoll.ESModule, source)}, Trusted: ref.Namespace == ""}
	for _, c := range change {
		c(v)
	}
	r.mu.Lock()
	r.active[ref] = v
	r.mu.Unlock()
	r.Publish(ref)
	return v
}

// origin is a server on this machine that the rig's Workers may reach.
func (r *rig) origin(h http.HandlerFunc) string {
	s := httptest.NewServer(h)
	r.t.Cleanup(s.Close)
	return s.URL
}

func user(name string) atoll.ScriptRef {
	return atoll.ScriptRef{Account: account, Namespace: "production", Name: atoll.ScriptName(name)}
}

func platform(name string) atoll.ScriptRef {
	return atoll.ScriptRef{Account: account, Name: atoll.ScriptName(name)}
}

func (r *rig) do(ref atoll.ScriptRef, req *hop.Request) (*dispatch.Reply, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	r.t.Cleanup(cancel)
	if req.Host == "" {
		req.Host = "example.com"
	}
	return r.Do(ctx, dispatch.Call{Script: ref, Request: req, Proto: "http"})
}

// get returns the body of a GET, or the error's text.
func (r *rig) get(ref atoll.ScriptRef, target string) string {
	r.t.Helper()
	reply, err := r.do(ref, &hop.Request{Method: "GET", Target: target})
	if err != nil {
		return "error: " + err.Error()
	}
	defer reply.Close()
	b, err := io.ReadAll(reply.Body)
	if err != nil {
		r.t.Error(err)
	}
	return string(b)
}

func (r *rig) want(ref atoll.ScriptRef, target, want string) {
	r.t.Helper()
	if got := r.get(ref, target); got != want {
		r.t.Errorf("GET %s of %s: got %q, want %q", target, ref, got, want)
	}
}
