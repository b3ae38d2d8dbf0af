package clients_test

import (
	"bufio"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"
)

// everything is a dispatch Worker that sends all to one customer: what it does not touch must arrive untouched.
const everything = `export default { fetch: (request, env) => env.DISPATCHER.get("customer").fetch(request) }`

// chain deploys a customer behind a dispatch Worker that has every host.
func (n *node) chain(customer string) {
	n.t.Helper()
	n.result("POST", n.acct()+"/workers/dispatch/namespaces", "application/json", `{"name":"production"}`, nil)
	n.upload(n.acct()+"/workers/scripts/all", []part{
		{field: "metadata", body: `{"main_module":"all.mjs","compatibility_date":"2026-01-01",
			"bindings":[{"type":"dispatch_namespace","name":"DISPATCHER","namespace":"production"}]}`},
		{field: "all.mjs", filename: "all.mjs", ctype: esm, body: everything}}).result(n.t, nil)
	n.route("*/*", "all")
	n.customer(customer)
}

// customer deploys the customer of chain.
func (n *node) customer(code string) {
	n.t.Helper()
	n.upload(n.script("customer"), []part{
		{field: "metadata", body: `{"main_module":"c.mjs","compatibility_date":"2026-01-01"}`},
		{field: "c.mjs", filename: "c.mjs", ctype: esm, body: code}}).result(n.t, nil)
}

// A WebSocket of a customer, by the client that browsers have: sub-protocol, text, bytes, large messages, and the code and
// reason of the close.
func TestWebSocket(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	n.chain(`export default {
		fetch(request) {
			if (request.headers.get("upgrade") !== "websocket") return new Response("no upgrade", { status: 426 });
			const [client, server] = Object.values(new WebSocketPair());
			server.accept();
			server.send("welcome " + new URL(request.url).searchParams.get("name"));
			server.addEventListener("message", ({ data }) => {
				if (data === "bye") server.close(4001, "as asked");
				else server.send(typeof data === "string" ? "echo " + data : data);
			});
			return new Response(null, { status: 101, webSocket: client, headers: { "sec-websocket-protocol": "chat.v1" } });
		},
	}`)
	cmd := exec.CommandContext(t.Context(), "node_modules/.bin/node", "sdk/websocket.mjs")
	cmd.Env = append(cleanEnv(), "EDGE_URL="+n.edge)
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "done\n" {
		t.Errorf("%v\n%s", err, out)
	}
	if got := n.get("any.example", "/"); got.Status != 426 {
		t.Errorf("without an upgrade: %d %q", got.Status, got.Body)
	}
}

// Bodies stream both ways at once: a customer's echo of the first line is read before the second line is sent.
func TestStreams(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	n.chain(`export default { fetch: (request) => new Response(request.body) }`)
	r, w := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), "POST", n.edge+"/", r)
	if err != nil {
		t.Fatal(err)
	}
	go io.WriteString(w, "one\n") // with the header, else the client waits for the first byte of the body
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	for _, want := range []string{"one\n", "two\n", "three\n"} {
		if want != "one\n" {
			if _, err := io.WriteString(w, want); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := lines.ReadString('\n'); got != want || err != nil {
			t.Fatalf("got %q %v, want %q", got, err, want)
		}
	}
	w.Close()
	if rest, err := io.ReadAll(lines); len(rest) != 0 || err != nil {
		t.Errorf("after the end: %q %v", rest, err)
	}
}

// What HTTP clients say and hear by way of curl: HEAD, ranges, redirects, cookies, HTTP/2 without TLS, large uploads.
func TestCurlThroughTheChain(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	n.chain(`export default {
		async fetch(request) {
			const { pathname } = new URL(request.url);
			if (pathname === "/moved") return new Response(null, { status: 302, headers: { location: "/there" } });
			if (pathname === "/range") return new Response("part", { status: 206, headers: { "content-range": "bytes 0-3/9", "x-range": request.headers.get("range") } });
			if (pathname === "/cookies") {
				const headers = new Headers();
				headers.append("set-cookie", "a=1; Path=/");
				headers.append("set-cookie", "b=2");
				return new Response(request.headers.get("cookie"), { headers });
			}
			if (pathname === "/size") return new Response((await request.arrayBuffer()).byteLength);
			return new Response(request.method + " " + pathname, { headers: { "x-cf": typeof request.cf } });
		},
	}`)
	curl := func(args ...string) string {
		t.Helper()
		args = append([]string{"-sS", "-i", "-H", "Host: shop.example"}, args...)
		out, err := exec.CommandContext(t.Context(), "curl", args...).CombinedOutput()
		if err != nil {
			t.Fatalf("curl %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return strings.ReplaceAll(string(out), "\r\n", "\n")
	}
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"head", []string{"-I", n.edge + "/page"}, `(?s)^HTTP/1.1 200 OK\n.*\n\n$`},
		{"untrusted", []string{n.edge + "/page"}, `(?is)x-cf: undefined\n.*\nGET /page$`},
		{"range", []string{"-r", "0-3", n.edge + "/range"}, `(?is)^HTTP/1.1 206 .*x-range: bytes=0-3.*\n\npart$`},
		{"redirect-is-the-customers", []string{n.edge + "/moved"}, `(?is)^HTTP/1.1 302 .*location: /there\n`},
		{"cookies", []string{"-b", "x=1; y=2", n.edge + "/cookies"}, `(?is)set-cookie: a=1; Path=/\n.*set-cookie: b=2\n.*\nx=1; y=2$`},
		{"other-method", []string{"-X", "PROPFIND", n.edge + "/dav"}, `PROPFIND /dav$`},
		{"http2", []string{"--http2-prior-knowledge", n.edge + "/two"}, `(?s)^HTTP/2 200.*\n\nGET /two$`},
		{"upload", []string{"--data-binary", "@package.json", n.edge + "/size"}, `\n\n\d+$`},
	} {
		t.Run(c.name, func(t *testing.T) { matches(t, curl(c.args...), c.want) })
	}
	big := exec.CommandContext(t.Context(), "bash", "-c", `head -c 20000000 /dev/zero | curl -sS -T - -H 'Host: shop.example' "$0/size"`, n.edge)
	if out, err := big.CombinedOutput(); err != nil || string(out) != "20000000" {
		t.Errorf("an upload of 20 MB: %v %q", err, out)
	}
}

// A trusted namespace shows its Workers request.cf; PATCH and PUT change it for what is deployed from then on.
func TestTrustedNamespace(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	const code = `export default { fetch: (request) => new Response(typeof request.cf) }`
	n.chain(code)
	space := n.acct() + "/workers/dispatch/namespaces/production"
	for _, c := range []struct {
		method, body string
		trusted      bool
		says         string
	}{
		{"PATCH", `{"trusted_workers":true}`, true, "object"},
		{"PUT", `{"name":"production","trusted_workers":false}`, false, "undefined"},
	} {
		var ns struct {
			Trusted bool `json:"trusted_workers"`
		}
		n.result(c.method, space, "application/json", c.body, &ns)
		n.customer(code)
		if got := n.get("a.example", "/"); ns.Trusted != c.trusted || got.Body != c.says {
			t.Errorf("after %s: trusted %v, and request.cf is %q", c.method, ns.Trusted, got.Body)
		}
	}
}
