package clients_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A pattern is one way for a dispatch Worker to find the customer. Its code is in testdata/patterns, and in the brief
// under a heading, which runs as written where ATOLL_BRIEF names the file.
type pattern struct {
	name    string // of the file, and of the subtest
	heading string // in the brief
	until   string // where the brief's code block goes on with something else
	asks    []ask
}

// An ask is one request to a pattern's host, and its answer.
type ask struct {
	host    string // before the pattern's own host; "" asks that host itself
	path    string
	session string // X-Session-ID
	status  int
	body    string // "" accepts any: the wording of a refusal is the platform's
}

var patterns = []pattern{
	{name: "subdomain", heading: "### Subdomain-Based Routing", asks: []ask{
		{host: "customer-1", path: "/x", status: 200, body: "customer-1 /x"}, {host: "nobody", path: "/", status: 404}}},
	{name: "path", heading: "### Path-Based Routing", asks: []ask{
		{path: "/customer-1/a", status: 200, body: "customer-1 /customer-1/a"}, {path: "/", status: 400}, {path: "/nobody", status: 404}}},
	{name: "kv", heading: "### KV-Based Routing", asks: []ask{
		{host: "vanity", path: "/", status: 200, body: "customer-1 /"}, {host: "other", path: "/", status: 404},
		{host: "stale", path: "/", status: 404}}},
	{name: "plans", heading: "### Custom Limits by Plan Type", asks: []ask{
		{host: "customer-1", path: "/", status: 200, body: "customer-1 /"}, {host: "customer-2", path: "/", status: 200, body: "customer-2 /"},
		{host: "customer-1", path: "/spin", status: 429}, {host: "customer-2", path: "/spin", status: 429},
		{host: "nobody", path: "/", status: 404}}},
	{name: "hostname", heading: "### Wildcard Route (Recommended)", asks: []ask{
		{host: "vanity", path: "/y", status: 200, body: "customer-2 /y"}, {host: "other", path: "/", status: 404}}},
	{name: "saas", heading: "### Subdomain-Only Routing", asks: []ask{
		{host: "customer-1", path: "/", status: 200, body: "customer-1 /"}, {host: "saas", path: "/", status: 400}}},
	{name: "tenants", heading: "### Multi-Tenant SaaS Platform", until: "// User Worker", asks: []ask{
		{host: "customer-2", path: "/", status: 200, body: "customer-2 /"}, {host: "nobody", path: "/", status: 404}}},
	{name: "session", heading: "### AI Code Execution Platform", asks: []ask{
		{path: "/", session: "customer-1", status: 200, body: "customer-1 /"}}},
	{name: "function", heading: "### Edge Functions Platform", asks: []ask{
		{path: "/customer/1", status: 200, body: "customer-1 /customer/1"}}},
}

// The dispatch patterns that platforms are written with: by subdomain, path, KV, header, with limits by plan.
func TestDispatchPatterns(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	n.result("POST", n.acct()+"/workers/dispatch/namespaces", "application/json", `{"name":"production"}`, nil)
	for _, name := range []string{"customer-1", "customer-2"} {
		code := fmt.Sprintf("export default { fetch(r) { const { pathname } = new URL(r.url); while (pathname === '/spin'); return new Response(%q + pathname) } }", name+" ")
		n.upload(n.script(name), []part{{field: "metadata", body: `{"main_module":"w.mjs"}`},
			{field: "w.mjs", filename: "w.mjs", ctype: "application/javascript+module", body: code}}).result(t, nil)
	}
	var routing, plans, tenants struct{ ID string }
	n.result("POST", n.acct()+"/storage/kv/namespaces", "application/json", `{"title":"routing"}`, &routing)
	n.result("POST", n.acct()+"/storage/kv/namespaces", "application/json", `{"title":"plans"}`, &plans)
	n.result("POST", n.acct()+"/storage/kv/namespaces", "application/json", `{"title":"tenants"}`, &tenants)
	n.result("PUT", n.acct()+"/storage/kv/namespaces/"+plans.ID+"/values/customer-1", "text/plain", "enterprise", nil)
	n.result("PUT", n.acct()+"/storage/kv/namespaces/"+tenants.ID+"/values/customer-2", "text/plain", `{"plan":"pro"}`, nil)

	for _, source := range []string{"ours", "brief"} {
		if source == "brief" && os.Getenv("ATOLL_BRIEF") == "" {
			continue
		}
		for _, p := range patterns {
			host := p.name + "-" + source + "." + zone
			customers := plans.ID
			if p.name == "tenants" {
				customers = tenants.ID
			}
			for key, value := range map[string]string{
				"vanity." + host: "customer-1", "stale." + host: "deleted", "hostname:vanity." + host: `{"workerName":"customer-2"}`} {
				n.result("PUT", n.acct()+"/storage/kv/namespaces/"+routing.ID+"/values/"+strings.ReplaceAll(key, ":", "%3A"), "text/plain", value, nil)
			}
			t.Run(p.name+"-"+source, func(t *testing.T) {
				n := n.as(t)
				n.dispatcher(p.name+"-"+source, p.code(t, source), routing.ID, customers)
				n.route("*"+host+"/*", p.name+"-"+source)
				for _, a := range p.asks {
					n.ask(host, a)
				}
			})
		}
	}
}

// as is n for a subtest.
func (n *node) as(t *testing.T) *node {
	sub := *n
	sub.t = t
	return &sub
}

// dispatcher deploys a dispatch Worker written in TypeScript, as one module that esbuild took the types from.
func (n *node) dispatcher(name, code, routing, customers string) {
	n.t.Helper()
	cmd := exec.CommandContext(n.t.Context(), "node_modules/.bin/esbuild", "--loader=ts")
	cmd.Stdin = strings.NewReader(code)
	js, err := cmd.Output()
	if err != nil {
		n.t.Fatalf("esbuild: %v", err)
	}
	n.upload(n.acct()+"/workers/scripts/"+name, []part{
		{field: "metadata", body: fmt.Sprintf(`{"main_module":"index.js","compatibility_date":"2026-01-01","bindings":[
			{"type":"dispatch_namespace","name":"DISPATCHER","namespace":"production"},
			{"type":"kv_namespace","name":"ROUTING_KV","namespace_id":%q},
			{"type":"kv_namespace","name":"CUSTOMERS_KV","namespace_id":%q}]}`, routing, customers)},
		{field: "index.js", filename: "index.js", ctype: "application/javascript+module", body: string(js)},
	}).result(n.t, nil)
}

// ask makes one request and checks its answer.
func (n *node) ask(host string, a ask) {
	n.t.Helper()
	req, err := http.NewRequest("GET", n.edge+a.path, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	req.Host = host
	if a.host != "" {
		req.Host = a.host + "." + host
	}
	if a.session != "" {
		req.Header.Set("X-Session-ID", a.session)
	}
	if got := n.do(req); got.Status != a.status || a.body != "" && got.Body != a.body {
		n.t.Errorf("%s%s answers %d %q, want %d %q", req.Host, a.path, got.Status, got.Body, a.status, a.body)
	}
}

// code is the pattern's TypeScript: ours, or the first block under its heading in the brief.
func (p pattern) code(t *testing.T, source string) string {
	t.Helper()
	if source == "ours" {
		text, err := os.ReadFile(filepath.Join("testdata/patterns", p.name+".ts"))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	text, err := os.ReadFile(os.Getenv("ATOLL_BRIEF"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), p.heading+"\n")
	_, rest, fenced := strings.Cut(rest, "```typescript\n")
	block, _, closed := strings.Cut(rest, "```")
	if !found || !fenced || !closed {
		t.Fatalf("the brief has no code under %q", p.heading)
	}
	if p.until != "" {
		block, _, _ = strings.Cut(block, p.until)
	}
	return block
}
