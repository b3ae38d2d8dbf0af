package examples_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestDispatch deploys every Worker of examples/dispatch and lets it find customers.
func TestDispatch(t *testing.T) {
	t.Parallel()
	n := start(t, clone(t), "bin/atoll serve")
	n.atoll("namespace", "create", "production")
	for _, name := range []string{"alice", "bob", "bob-resize", "session-1"} {
		file := filepath.Join(n.dir, name+".js")
		code := `export default { fetch(request) { const { pathname } = new URL(request.url); while (pathname === "/spin"); return new Response("` + name + ` got " + pathname) } }`
		if err := os.WriteFile(file, []byte(code), 0o644); err != nil {
			t.Fatal(err)
		}
		n.atoll("script", "deploy", file, "--namespace", "production")
	}
	n.atoll("kv", "namespace", "create", "table")
	n.atoll("kv", "key", "put", "table", "shop.example", "alice")
	n.atoll("kv", "key", "put", "table", "old.example", "gone")
	n.atoll("kv", "key", "put", "table", "hostname:shop.example", `{"workerName":"bob"}`)
	n.atoll("kv", "key", "put", "table", "alice", "pro")

	tests := map[string]struct {
		flags []string
		try   func(t *testing.T)
	}{
		"subdomain": {nil, func(t *testing.T) {
			n.answers("alice.atoll.localhost", "/x", 200, "alice got /x")
			n.answers("nobody.atoll.localhost", "/", 404, "Worker not found")
		}},
		"path": {nil, func(t *testing.T) {
			n.answers("atoll.localhost", "/alice/x", 200, "alice got /alice/x")
			n.answers("atoll.localhost", "/", 400, "Invalid path")
			n.answers("atoll.localhost", "/nobody", 404, "Worker not found")
		}},
		"kv": {[]string{"--kv", "ROUTING_KV=table"}, func(t *testing.T) {
			n.answers("shop.example", "/", 200, "alice got /")
			n.answers("other.example", "/", 404, "Route not configured")
			n.answers("old.example", "/", 404, "Worker not found")
		}},
		"hostname": {[]string{"--kv", "ROUTING_KV=table"}, func(t *testing.T) {
			n.answers("shop.example", "/", 200, "bob got /")
			n.answers("other.example", "/", 404, "Hostname not configured")
		}},
		"session": {nil, func(t *testing.T) {
			n.answers("atoll.localhost", "/", 200, "session-1 got /", "X-Session-ID", "session-1")
			n.answers("atoll.localhost", "/", 500, "", "X-Session-ID", "session-2") // uncaught: the edge's page
		}},
		"limits": {[]string{"--kv", "CUSTOMERS_KV=table"}, func(t *testing.T) {
			n.answers("alice.atoll.localhost", "/", 200, "alice got /")
			n.answers("bob.atoll.localhost", "/", 200, "bob got /")
			n.answers("alice.atoll.localhost", "/spin", 429, "CPU limit exceeded")
			n.answers("bob.atoll.localhost", "/spin", 429, "CPU limit exceeded")
			n.answers("nobody.atoll.localhost", "/", 404, "Worker not found")
		}},
		"function": {nil, func(t *testing.T) {
			n.answers("atoll.localhost", "/bob/resize", 200, "bob-resize got /bob/resize")
		}},
	}
	var names []string
	for name := range tests {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			flags := append([]string{"script", "deploy", "examples/dispatch/" + name + ".js", "--name", "dispatcher", "--dispatch", "DISPATCHER=production"}, tests[name].flags...)
			n.atoll(flags...)
			n.atoll("route", "add", "*/*", "dispatcher")
			tests[name].try(t)
		})
	}
	files, err := filepath.Glob(root + "/examples/dispatch/*.js")
	if err != nil || len(files) != len(tests) {
		t.Errorf("%d examples, %d of them tested (%v)", len(files), len(tests), err)
	}
}
