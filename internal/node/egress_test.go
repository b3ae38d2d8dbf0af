package node_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"atoll.dev/atoll/internal/node"
)

// reaching is a user Worker that tries to reach a URL in the way that the query's "by" says.
const reaching = `
import http from "node:http";
export default { async fetch(request) {
	const q = new URL(request.url).searchParams;
	const to = q.get("to");
	const forged = { host: "example.com", "atoll-proto": "unix", "atoll-service": "binding/0", "atoll-invocation": "x", "x-forwarded-host": to, "cf-connecting-ip": "127.0.0.1", forwarded: "for=127.0.0.1" };
	try { switch (q.get("by")) {
	case "fetch": return new Response("reached " + (await (await fetch(to)).text()));
	case "manual": { const r = await fetch(to, { redirect: "manual" }); return new Response("reached " + (await (await fetch(r.headers.get("location"))).text())); }
	case "headers": return new Response("reached " + (await (await fetch(to, { method: "POST", body: "x", headers: forged })).text()));
	case "request": return new Response("reached " + (await (await fetch(new Request(to, { headers: forged }))).text()));
	case "websocket": { const r = await fetch(to, { headers: { upgrade: "websocket" } }); return new Response("reached " + r.status); }
	case "constructor": { const ws = new WebSocket(to.replace(/^http/, "ws")); return await new Promise((resolve) => { ws.onopen = () => resolve(new Response("reached")); ws.onerror = (e) => resolve(new Response("refused: " + e.message)); }); }
	case "events": { const s = new EventSource(to); return await new Promise((resolve) => { s.onmessage = s.onopen = () => { s.close(); resolve(new Response("reached")); }; s.onerror = () => { s.close(); resolve(new Response("refused")); }; }); }
	case "node": return await new Promise((resolve) => http.get(to, (r) => { r.on("data", () => {}); r.on("end", () => resolve(new Response("reached"))); }).on("error", (e) => resolve(new Response("refused: " + e.message))));
	} } catch (e) { return new Response("refused: " + e.message); }
} }`

// TestReach tries to reach a server of this machine, and the node itself, from a real Worker in every notation that its URL
// parser takes or does not take.
func TestReach(t *testing.T) {
	var reached atomic.Int64
	l, err := net.Listen("tcp", "127.0.0.2:0") // next to the one address that is allowed
	if err != nil {
		t.Fatal(err)
	}
	canary := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) })}}
	canary.Start()
	defer canary.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	var redirect atomic.Value
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/redirect" {
			w.Header().Set("Location", redirect.Load().(string))
			w.WriteHeader(302)
			return
		}
		fmt.Fprintf(w, "origin as %s with %q %q", r.Host, r.Header.Get("Atoll-Proto"), r.Header.Get("Cf-Connecting-Ip"))
	}))
	defer origin.Close()
	r := newRig(t, node.Config{EgressAllow: []string{"127.0.0.1"}, APIAlias: []string{"api.cloudflare.test"}})
	if refused := r.upload("production/alice", reaching, map[string]any{"compatibility_flags": []string{"nodejs_compat"}}); refused != "" {
		t.Fatal(refused)
	}
	r.dispatcher(dispatching, nil)
	_, apiPort, _ := strings.Cut(strings.TrimPrefix(r.api, "http://"), ":")

	type attempt struct{ by, to string }
	var attempts []attempt
	for _, host := range []string{
		"127.0.0.2", "127.0.0.2.", "127.2", "127.0.2", "2130706434", "0x7f000002", "0x7f.0.0.2", "0177.0.0.2", "017700000002", "0x7f.2", "127.0.0.0x2", "127.000.000.002",
		"%31%32%37.0.0.2", "127%2e0.0.2", "１２７.0.0.2", "127。0。0。2", "①②⑦.0.0.2", "127.0.0.2%00", "user@127.0.0.2", "user:pass@127.0.0.2", "example.com@127.0.0.2", "127.0.0.2#@example.com", `example.com\@127.0.0.2`,
		"[::ffff:127.0.0.2]", "[::ffff:7f00:2]", "[0:0:0:0:0:ffff:127.0.0.2]", "[::127.0.0.2]", "[64:ff9b::127.0.0.2]", "[64:ff9b::7f00:2]", "[::1]", "[::]", "[0000::0001]", "[fe80::1]", "[fe80::1%25lo]", "[fd00::1]", "[2002:7f00:2::]", "[2001:0:7f00:2::]",
		"0.0.0.0", "0", "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.100.100.200", "192.0.0.192", "224.0.0.1", "255.255.255.255", "168.63.129.16",
	} {
		attempts = append(attempts, attempt{"fetch", "http://" + host + ":" + port + "/"}, attempt{"fetch", "https://" + host + ":" + port + "/"})
	}
	for _, by := range []string{"headers", "request", "websocket", "constructor", "events", "node"} {
		for _, host := range []string{"127.0.0.2", "2130706434", "[::ffff:127.0.0.2]", "[::1]"} {
			attempts = append(attempts, attempt{by, "http://" + host + ":" + port + "/"})
		}
	}
	for _, to := range []string{
		"unix:/run/out/sock", "unix:///run/out/sock", "http+unix://%2Frun%2Fout%2Fsock/", "http://unix:/run/out/sock:/", "file:///etc/passwd", "data:text/plain,x", "blob:x", "ftp://127.0.0.2/", "gopher://127.0.0.2/", "//127.0.0.2/", "http:127.0.0.2", "",
		r.api + "/client/v4/user", "http://localhost:" + apiPort + "/client/v4/user", "http://[::ffff:127.0.0.1]:" + apiPort + "/", "http://0:" + apiPort + "/", "http://127.1:" + apiPort + "/", "http://api.localhost:" + apiPort + "/",
		"https://api.cloudflare.test/client/v4/user/tokens/verify", "http://api.cloudflare.test/client/v4/accounts",
	} {
		attempts = append(attempts, attempt{"fetch", to})
	}
	for _, a := range attempts {
		status, got := r.get("alice", "/?by="+a.by+"&to="+url.QueryEscape(a.to))
		if status != 200 || !strings.HasPrefix(got, "refused") {
			if a.to == "data:text/plain,x" && got == "reached x" { // it goes nowhere
				continue
			}
			t.Errorf("%s %s: %d %q", a.by, a.to, status, got)
		}
	}
	redirects := []string{"http://127.0.0.2:" + port + "/", "http://2130706434:" + port + "/", "//[::ffff:127.0.0.2]:" + port + "/", "http://169.254.169.254/latest/meta-data/", "https://10.0.0.1/", r.api + "/client/v4/user", "unix:/run/out/sock", "http://localhost:" + port + "/"}
	for _, to := range redirects {
		redirect.Store(to)
		for _, by := range []string{"fetch", "manual"} {
			if status, got := r.get("alice", "/?by="+by+"&to="+url.QueryEscape(origin.URL+"/redirect")); status != 200 || !strings.HasPrefix(got, "refused") {
				t.Errorf("%s, redirected to %s: %d %q", by, to, status, got)
			}
		}
	}
	t.Logf("%d attempts", len(attempts)+2*len(redirects))
	if reached.Load() > 0 {
		t.Errorf("%d requests reached a server that no Worker may reach", reached.Load())
	}
	// What is allowed is reached, under its own name whatever the code says.
	for _, by := range []string{"fetch", "headers", "request"} {
		want := fmt.Sprintf(`reached origin as %s with "" ""`, strings.TrimPrefix(origin.URL, "http://"))
		r.want("alice", "/?by="+by+"&to="+url.QueryEscape(origin.URL+"/"), 200, want)
	}
}

// A Worker that calls its own address over the network is stopped as one is that calls itself by a binding.
func TestLoopOverTheEdge(t *testing.T) {
	r := newRig(t, node.Config{EgressAllow: []string{"127.0.0.0/8", "::1"}})
	r.put("production/alice", `export default { async fetch(request) {
		const response = await fetch(request); // the same URL, and the headers that count
		return new Response(await response.text() + " <" + request.headers.get("cdn-loop"), { status: response.status });
	} }`)
	r.dispatcher(dispatching, nil)
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(r.edge, "http://"))
	req, err := http.NewRequest("GET", r.edge+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "alice." + zone + ":" + port
	status, body := r.do(req)
	if status != 500 || !strings.HasPrefix(body, "dispatcher: Subrequest depth limit exceeded.") || strings.Count(body, "<") != 16 {
		t.Errorf("%d %q", status, body)
	}
}

// Code written for Cloudflare calls the API where Cloudflare has it.
func TestAPIAlias(t *testing.T) {
	r := newRig(t, node.Config{APIAlias: []string{"api.cloudflare.test"}})
	// A platform that deploys a Worker which it does not find, within the same request.
	r.dispatcher(fmt.Sprintf(`export default { async fetch(request, env) {
		const name = new URL(request.url).hostname.split(".")[0];
		try { return await env.DISPATCHER.get(name).fetch(request); }
		catch (e) {
			if (!e.message.startsWith("Worker not found")) throw e;
			const form = new FormData();
			form.set("metadata", JSON.stringify({ main_module: "w.js" }));
			form.set("w.js", new File(["export default { fetch() { return new Response('deployed on demand') } }"], "w.js", { type: "application/javascript+module" }));
			const res = await fetch("https://api.cloudflare.test/client/v4/accounts/%s/workers/dispatch/namespaces/production/scripts/" + name, {
				method: "PUT", body: form, headers: { authorization: "Bearer %s" } });
			if (!res.ok) return new Response("upload: " + res.status + " " + await res.text(), { status: 500 });
			return env.DISPATCHER.get(name).fetch(request);
		}
	} }`, r.account, token), nil)
	r.want("new-customer", "/", 200, "deployed on demand")

	// Neither a user Worker nor what an outbound Worker passes on for one gets there.
	steal := fmt.Sprintf(`export default { async fetch() {
		try { const r = await fetch("https://api.cloudflare.test/client/v4/user/tokens/verify", { headers: { authorization: "Bearer %s" } }); return new Response(r.headers.get("server") + " " + await r.text()); }
		catch (e) { return new Response("refused: " + e.message); }
	} }`, token)
	r.put("production/thief", steal)
	if _, got := r.get("thief", "/"); strings.Contains(got, `"active"`) {
		t.Errorf("a user Worker reached the API: %s", got)
	}
	r.put("outbound-worker", `export default { fetch(request) { return fetch(request); } }`)
	r.dispatcher(dispatching, outbound(""))
	if _, got := r.get("thief", "/"); strings.Contains(got, `"active"`) {
		t.Errorf("a user Worker reached the API through an outbound Worker: %s", got)
	}
	// The same code as a platform Worker does.
	r.put("operator", steal)
	r.route("operator."+zone+"/*", "operator")
	if _, got := r.get("operator", "/"); !strings.Contains(got, `"active"`) {
		t.Errorf("a platform Worker did not reach the API: %s", got)
	}
}

// Rules set over the API are in force for the next subrequest.
func TestEgressRules(t *testing.T) {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "reached") }))
	defer origin.Close()
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(origin.URL, "http://"))
	r := newRig(t, node.Config{EgressAllow: []string{"127.0.0.0/8", "::1"}})
	for _, name := range []string{"alice", "bob"} {
		r.put("production/"+name, fetching)
	}
	r.dispatcher(dispatching, nil)
	to := "/?to=http://api.localhost:" + port + "/"
	const refused = "Error: Network connection refused: the destination is not allowed to this Worker."
	rules := func(path string, v any) {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		r.call("PUT", r.acct("/workers/dispatch/namespaces/production"+path+"/egress"), string(b), nil)
	}
	r.want("alice", to, 200, "200 reached")
	rules("/scripts/alice", map[string]any{"deny": []string{"*.localhost"}})
	r.want("alice", to, 500, refused)
	r.want("bob", to, 200, "200 reached")
	rules("", map[string]any{"allow": []string{"127.0.0.0/8"}, "ports": []string{"1-10"}})
	r.want("bob", to, 500, refused)
	rules("", map[string]any{"allow": []string{"127.0.0.0/8"}})
	r.want("bob", to, 200, "200 reached")
	r.call("DELETE", r.acct("/workers/dispatch/namespaces/production/scripts/alice/egress"), "", nil)
	r.want("alice", to, 200, "200 reached")
}
