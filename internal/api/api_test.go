package api

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"atoll.dev/atoll/internal/assets"
	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/auth"
	"atoll.dev/atoll/internal/d1"
	"atoll.dev/atoll/internal/deploy"
	"atoll.dev/atoll/internal/durable"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/kv"
	"atoll.dev/atoll/internal/queue"
	"atoll.dev/atoll/internal/r2"
	"atoll.dev/atoll/internal/store"
	"atoll.dev/atoll/internal/wire"
)

// node is an API over a real store in a temporary directory.
type node struct {
	t       testing.TB
	db      *store.DB
	blobs   *durable.Blobs
	run     *memoryRunner
	deps    Deps
	handler http.Handler
	url     string // with Prefix
	changed []string
}

const (
	theAccount = "0123456789abcdef0123456789abcdef"
	theToken   = "the-node-token"
)

func newNode(t testing.TB) *node {
	t.Helper()
	dir := t.TempDir()
	key, err := store.LoadKey(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(nil, dir, key)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	blobs, err := durable.OpenBlobs(dir + "/blobs")
	if err != nil {
		t.Fatal(err)
	}
	databases, err := d1.Open(nil, dir, d1.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { databases.Close() })
	pairs, err := kv.Open(nil, dir, kv.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pairs.Close() })
	queues, err := queue.Open(nil, dir, queue.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { queues.Close() })
	objects, err := r2.Open(nil, dir, r2.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { objects.Close() })
	guard, err := auth.New(db, theToken, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	if err := db.EnsureAccount(ctx, theAccount, "Atoll"); err != nil {
		t.Fatal(err)
	}
	if _, err := db.EnsureZone(ctx, theAccount, "atoll.localhost"); err != nil {
		t.Fatal(err)
	}
	n := &node{t: t, db: db, blobs: blobs}
	n.run = &memoryRunner{}
	uploads := assets.NewUploads(nil, db, blobs, key.Derive("test"), nil)
	n.deps = Deps{
		Deploy: deploy.New(nil, db, blobs, n.run, deploy.Resources{"kv_namespace": deploy.Named(pairs.KVNamespaceExists), "d1": deploy.Named(databases.D1Exists), "queue": deploy.Named(queues.QueueExists),
			"r2_bucket": deploy.Named(objects.R2BucketExists)}, deploy.Options{Assets: uploads}), Assets: uploads,
		Store: db, Blobs: blobs, KV: pairs, D1: databases, R2: objects, Queues: queues, Auth: guard, Account: theAccount, Zone: "atoll.localhost",
		RoutesChanged:    func() { n.changed = append(n.changed, "routes") },
		SchedulesChanged: func() { n.changed = append(n.changed, "schedules") },
		NamespaceChanged: func(_ atoll.AccountID, ns atoll.NamespaceName) {
			n.changed = append(n.changed, "namespace "+string(ns))
		},
		EgressChanged: func(_ atoll.AccountID, ns atoll.NamespaceName, name atoll.ScriptName) {
			n.changed = append(n.changed, "egress "+string(ns)+"/"+string(name))
		},
		MaxBody: 1 << 28,
	}
	n.handler = New(newLogger(t), n.deps)
	server := httptest.NewServer(n.handler)
	t.Cleanup(server.Close)
	n.url = server.URL + Prefix
	return n
}

// memoryRunner starts a Worker by looking at its text: one that has "throw" does not start.
type memoryRunner struct {
	mu        sync.Mutex
	started   int
	published []atoll.ScriptRef
}

// Validate implements deploy.Runner.
func (r *memoryRunner) Validate(_ context.Context, v *atoll.Version, _ atoll.ScriptRef, load func(string) ([]byte, error)) (deploy.Started, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.started++
	for _, m := range v.Modules {
		b, err := load(m.Hash)
		if err != nil {
			return deploy.Started{}, err
		}
		if bytes.Contains(b, []byte("throw")) {
			return deploy.Started{}, fault.New(fault.Invalid, 10021, "Uncaught Error: boom\n  at index.js:1:7")
		}
	}
	return deploy.Started{Handlers: []string{"fetch"}, Named: []atoll.NamedHandlers{{Name: "Admin", Handlers: []string{"fetch"}}}, StartupMs: 7}, nil
}

// Suspend implements deploy.Runner.
func (r *memoryRunner) Suspend(context.Context, atoll.ScriptRef, []string) (func(), error) {
	return func() {}, nil
}

// Publish implements deploy.Runner.
func (r *memoryRunner) Publish(ref atoll.ScriptRef) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.published = append(r.published, ref)
}

// newLogger returns a logger to the test's output; a fuzz target's may not be used while it fuzzes.
func newLogger(t testing.TB) *slog.Logger {
	if _, ok := t.(*testing.F); ok {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(t.Output(), nil))
}

// answer is a response with its envelope, where it has one.
type answer struct {
	wire.Response[json.RawMessage]
	status int
	header http.Header
	body   string
}

// code is the first error's code.
func (a answer) code() int {
	if len(a.Errors) == 0 {
		return 0
	}
	return a.Errors[0].Code
}

// send sends a request; header entries are "Name: value".
func (n *node) send(method, path, token, body string, header ...string) answer {
	n.t.Helper()
	req, err := http.NewRequest(method, n.url+strings.ReplaceAll(path, "ACCT", "/accounts/"+theAccount), strings.NewReader(body))
	if err != nil {
		n.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	res, err := http.DefaultTransport.RoundTrip(req) // no redirects
	if err != nil {
		n.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	a := answer{status: res.StatusCode, header: res.Header, body: string(b)}
	if res.Header.Get("Content-Type") == "application/json" && len(b) > 0 {
		if err := json.Unmarshal(b, &a.Response); err != nil {
			n.t.Fatalf("%s %s: the answer is not an envelope: %v\n%s", method, path, err, b)
		}
		if a.Success != (res.StatusCode < 400) || a.Success != (len(a.Errors) == 0) {
			n.t.Errorf("%s %s: status %d, success %v, %d errors", method, path, res.StatusCode, a.Success, len(a.Errors))
		}
	}
	return a
}

// ok sends a request with the node's token, and wants a result that it decodes into v, unless that is nil.
func (n *node) ok(v any, method, path, body string, header ...string) answer {
	n.t.Helper()
	a := n.send(method, path, theToken, body, header...)
	if a.status != 200 {
		n.t.Fatalf("%s %s: status %d: %s", method, path, a.status, a.body)
	}
	if v != nil {
		dec := json.NewDecoder(bytes.NewReader(a.Result))
		dec.DisallowUnknownFields()
		if err := dec.Decode(v); err != nil {
			n.t.Fatalf("%s %s: %v\n%s", method, path, err, a.Result)
		}
	}
	return a
}

// fails sends a request with the node's token, and wants the status and the first code.
func (n *node) fails(status, code int, method, path, body string, header ...string) answer {
	n.t.Helper()
	return n.refused(status, code, theToken, method, path, body, header...)
}

// refused is fails with another token.
func (n *node) refused(status, code int, token, method, path, body string, header ...string) answer {
	n.t.Helper()
	a := n.send(method, path, token, body, header...)
	if a.status != status || a.code() != code {
		n.t.Errorf("%s %s: status %d, want %d with code %d: %s", method, path, a.status, status, code, a.body)
	}
	return a
}

// mint makes a token of the account, or of a dispatch namespace of it.
func (n *node) mint(write bool, namespace string) string {
	n.t.Helper()
	group, resource := wire.GroupRead, wire.ResourceAccount+theAccount
	if write {
		group = wire.GroupWrite
	}
	if namespace != "" {
		resource = wire.ResourceNamespace + namespace
	}
	var out wire.Token
	n.ok(&out, "POST", "ACCT/tokens", `{"name":"test","policies":[{"effect":"allow","permission_groups":[{"name":"`+group+
		`"}],"resources":{"`+resource+`":"*"}}]}`)
	return out.Value
}

func jsonInto(b []byte, v any) error { return json.Unmarshal(b, v) }
