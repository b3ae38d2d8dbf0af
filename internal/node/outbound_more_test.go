package node_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"atoll.dev/atoll/internal/node"
)

// dispatching is a dispatch Worker by subdomain, with a parameter.
const dispatching = `export default { async fetch(request, env) {
	const name = new URL(request.url).hostname.split(".")[0];
	try { return await env.DISPATCHER.get(name, {}, { outbound: { who: name } }).fetch(request); }
	catch (e) { return new Response("dispatcher: " + e.message, { status: 500 }); }
} }`

func outbound(entrypoint string) map[string]any {
	worker := map[string]any{"service": "outbound-worker"}
	if entrypoint != "" {
		worker["entrypoint"] = entrypoint
	}
	return map[string]any{"worker": worker, "params": []any{"who"}}
}

func TestOutboundWorker(t *testing.T) {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "origin got %s %s %q", r.Method, r.RequestURI, r.Header.Get("X-Via"))
	}))
	defer origin.Close()
	r := newRig(t, node.Config{EgressAllow: []string{"127.0.0.0/8", "::1"}})
	r.put("outbound-worker", `export default { async fetch(request, env, ctx) {
		const url = new URL(request.url);
		switch (url.hostname) {
		case "throw.test": throw new TypeError("blocked for " + env.who);
		case "echo.test": return new Response(request.body, { headers: { "x-url": request.url, "x-method": request.method, "x-mine": request.headers.get("x-mine"), "x-cf": typeof request.cf, "x-ip": request.headers.get("cf-connecting-ip") } });
		case "redirect.test": return Response.redirect("http://elsewhere.test/landed", 302);
		case "elsewhere.test": return new Response("landed by " + env.who);
		case "five.test": return new Response("my own 500", { status: 500 });
		case "ws.test": {
			const { 0: client, 1: server } = new WebSocketPair();
			server.accept();
			server.addEventListener("message", (e) => server.send(env.who + " said " + e.data));
			return new Response(null, { status: 101, webSocket: client });
		}
		}
		const headers = new Headers(request.headers);
		headers.set("x-via", env.who);
		return fetch(new Request(request, { headers })); // not intercepted once more
	} }`)
	r.put("helper", `export default { fetch() { return fetch("http://elsewhere.test/") } }`)
	r.put("production/alice", `
	import { connect } from "cloudflare:sockets";
	export default { async fetch(request, env) {
		const what = new URL(request.url).pathname.slice(1);
		const origin = `+"`"+origin.URL+"`"+`;
		try { switch (what) {
		case "throw": return await fetch("https://throw.test/");
		case "uncaught": return fetch("https://throw.test/");
		case "echo": {
			const r = await fetch("https://echo.test/a%2Fb//c?d=e", { method: "PATCH", body: "some body", headers: { "x-mine": "1", "cf-connecting-ip": "6.6.6.6" }, cf: { forged: true } });
			return new Response([await r.text(), r.headers.get("x-url"), r.headers.get("x-method"), r.headers.get("x-mine"), r.headers.get("x-cf"), r.headers.get("x-ip")].join(" "));
		}
		case "redirect": { const r = await fetch("http://redirect.test/"); return new Response(await r.text() + " " + r.url); }
		case "five": { const r = await fetch("http://five.test/"); return new Response(r.status + " " + await r.text()); }
		case "origin": return fetch(origin + "/x", { method: "PUT", body: "b" });
		case "service": return env.HELPER.fetch("http://ignored.test/");
		case "stream": {
			const { readable, writable } = new TransformStream();
			const writer = writable.getWriter();
			const response = await fetch("http://echo.test/", { method: "POST", body: readable });
			const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
			let out = "";
			for (const word of ["one", "two", "three"]) {
				writer.write(new TextEncoder().encode(word));
				out += (await reader.read()).value + " "; // comes back while the request is still being sent
			}
			await writer.close();
			return new Response(out + (await reader.read()).done);
		}
		case "websocket": case "constructor": {
			const ws = what === "constructor" ? new WebSocket("wss://ws.test/") : (await fetch("https://ws.test/", { headers: { Upgrade: "websocket" } })).webSocket;
			if (what === "websocket") ws.accept(); else await new Promise((resolve) => ws.addEventListener("open", resolve));
			const said = new Promise((resolve) => ws.addEventListener("message", (e) => resolve(e.data)));
			ws.send("hello");
			const answer = await said;
			ws.close();
			return new Response(answer);
		}
		case "connect": { const s = connect(origin.slice(7)); await s.opened; return new Response("opened"); }
		case "big": return new Response(await (await fetch("http://echo.test/", { method: "POST", body: new Uint8Array(3e6) })).bytes());
		} } catch (e) { return new Response(e.constructor.name + ": " + e.message, { status: 500 }); }
	} }`, map[string]any{"type": "service", "name": "HELPER", "service": "helper"})
	r.call("PUT", r.acct("/workers/dispatch/namespaces/production/egress"), `{"tcp": true}`, nil)
	r.dispatcher(dispatching, outbound(""))
	for _, c := range []struct {
		path   string
		status int
		want   string
	}{
		{"/throw", 500, "TypeError: blocked for alice"},
		{"/uncaught", 500, "dispatcher: blocked for alice"},
		{"/echo", 200, "some body https://echo.test/a%2Fb//c?d=e PATCH 1 undefined null"},
		{"/redirect", 200, "landed by alice http://elsewhere.test/landed"},
		{"/five", 200, "500 my own 500"},
		{"/origin", 200, `origin got PUT /x "alice"`},
		{"/service", 200, "landed by alice"},
		{"/stream", 200, "one two three true"},
		{"/websocket", 200, "alice said hello"},
		{"/constructor", 200, "alice said hello"},
		{"/connect", 500, "Error: proxy request failed, cannot connect to the specified address"},
	} {
		t.Run(c.path[1:], func(t *testing.T) {
			r := *r
			r.t = t
			r.want("alice", c.path, c.status, c.want)
		})
	}
	if status, body := r.get("alice", "/big"); status != 200 || len(body) != 3e6 {
		t.Errorf("big: %d, %d bytes", status, len(body))
	}

	t.Run("entrypoint", func(t *testing.T) {
		r := *r
		r.t = t
		r.put("outbound-worker", `
		import { WorkerEntrypoint } from "cloudflare:workers";
		export class Guard extends WorkerEntrypoint { async fetch(request) { return new Response("guarded for " + this.env.who + " " + this.env.OWN); } }
		export default { fetch() { return new Response("the wrong one"); } }`, map[string]any{"type": "plain_text", "name": "OWN", "text": "own"})
		r.dispatcher(dispatching, outbound("Guard"))
		r.put("production/bob", fetching)
		r.want("bob", "/?to=http://x.test/", 200, "200 guarded for bob own")
	})
	t.Run("deleted", func(t *testing.T) {
		r := *r
		r.t = t
		r.call("DELETE", r.acct("/workers/scripts/outbound-worker"), "", nil)
		r.want("bob", "/?to="+origin.URL, 500, "Error: The outbound Worker does not exist.")
	})
	t.Run("missing", func(t *testing.T) {
		b := map[string]any{"type": "dispatch_namespace", "name": "D", "namespace": "production", "outbound": outbound("")}
		if refused := r.upload("other-dispatcher", dispatching, map[string]any{"bindings": []any{b}}); !strings.Contains(refused, "10143") {
			t.Errorf("refused with %q", refused)
		}
	})
}

// What a Worker sends without a word of whose it is goes to the outbound Worker only while there is no doubt whose it is.
func TestUntaggedSubrequests(t *testing.T) {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "data: from the internet\n\n")
	}))
	defer origin.Close()
	r := newRig(t, node.Config{EgressAllow: []string{"127.0.0.0/8", "::1"}})
	r.put("outbound-worker", `export default { fetch(request, env) {
		return new Response("data: outbound for " + env.who + "\n\n", { headers: { "content-type": "text/event-stream" } });
	} }`)
	// EventSource fetches by itself, past the fetch() that tags.
	r.put("production/alice", `
	const once = (request) => new Promise((resolve, reject) => {
		const source = new EventSource("`+origin.URL+`");
		source.onmessage = (e) => { source.close(); resolve(new Response(e.data)); };
		source.onerror = (e) => { source.close(); resolve(new Response("refused: " + (e.message ?? e.error?.message ?? "error"))); };
	});
	let release;
	export default { async fetch(request) {
		switch (new URL(request.url).pathname) {
		case "/hold": await new Promise((resolve) => { release = resolve; setTimeout(resolve, 20000); }); return new Response("held");
		case "/release": release?.(); return new Response("released");
		}
		return once(request);
	} }`)
	r.dispatcher(dispatching, outbound(""))
	r.want("alice", "/only", 200, "outbound for alice")
	for range 3 {
		// Another invocation's waitUntil work may still go on: whose is this?
		if status, body := r.get("alice", "/second"); status != 200 || strings.Contains(body, "internet") || !strings.HasPrefix(body, "refused") {
			t.Errorf("with another invocation about: %d %q", status, body)
		}
	}
}

func TestSockets(t *testing.T) {
	ca := newAuthority(t)
	secure := ca.serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%s over %s", r.Host, r.Proto) }), "db.localhost")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				br := bufio.NewReader(c)
				for {
					line, err := br.ReadBytes('\n')
					if _, err := c.Write(bytes.ToUpper(line)); err != nil {
						return
					}
					if err != nil {
						io.WriteString(c, "bye")
						return
					}
				}
			}()
		}
	}()
	r := newRig(t, node.Config{EgressAllow: []string{"127.0.0.0/8", "::1"}, EgressCA: ca.file})
	code := `
	import { connect } from "cloudflare:sockets";
	import net from "node:net";
	import tls from "node:tls";
	const http = "GET /x HTTP/1.1\r\nHost: db.localhost\r\nConnection: close\r\n\r\n";
	const exchange = async (socket, text) => {
		const w = socket.writable.getWriter();
		await w.write(new TextEncoder().encode(text));
		const answer = new Response(socket.readable).text();
		await w.close();
		return answer;
	};
	const by = (socket, event, text) => new Promise((resolve, reject) => {
		let out = "";
		socket.on(event, () => socket.write(text));
		socket.on("data", (d) => { out += d; if (out.endsWith("\n")) socket.end(); });
		socket.on("error", reject);
		socket.on("close", () => resolve(out));
	});
	export default { async fetch(request) {
		const [, what, to] = new URL(request.url).pathname.split("/");
		try { switch (what) {
		case "plain": { const s = connect(to, { allowHalfOpen: true }); return new Response([(await s.opened).remoteAddress === to, s.secureTransport, await exchange(s, "hello\n")].join(" ")); }
		case "object": { const [hostname, port] = to.split(":"); const s = connect({ hostname, port: Number(port) }, { allowHalfOpen: true }); return new Response(await exchange(s, "hello\n")); }
		case "tls": { const s = connect(to, { secureTransport: "on", allowHalfOpen: true }); await s.opened; return new Response([s.secureTransport, await exchange(s, http)].join(" ")); }
		case "starttls": { const s = connect(to, { secureTransport: "starttls" }); await s.opened; s.startTls(); return new Response("started"); }
		case "wrong": connect("no port"); return new Response("connected");
		case "net": { const [host, port] = to.split(":"); return new Response(await by(net.connect(Number(port), host), "connect", "hello\n")); }
		} } catch (e) { return new Response(e.name + ": " + e.message, { status: 500 }); }
	} }`
	meta := map[string]any{"compatibility_flags": []string{"nodejs_compat"}}
	for _, script := range []string{"platform", "production/alice"} {
		if refused := r.upload(script, code, meta); refused != "" {
			t.Fatal(refused)
		}
	}
	r.dispatcher(dispatching, nil)
	r.route("platform."+zone+"/*", "platform")
	plain := l.Addr().String()
	const failed = "Error: proxy request failed, cannot connect to the specified address"
	if status, body := r.get("platform", "/tls/db.localhost:"+secure); status != 200 || !strings.HasPrefix(body, "on HTTP/1.1 200 OK") || !strings.HasSuffix(body, "db.localhost over HTTP/1.1") {
		t.Errorf("tls: %d %q", status, body)
	}
	for _, c := range []struct {
		host, path string
		status     int
		want       string
	}{
		{"platform", "/plain/" + plain, 200, "true off HELLO\nbye"},
		{"platform", "/object/" + plain, 200, "HELLO\nbye"},
		{"platform", "/net/" + plain, 200, "HELLO\nbye"},
		{"platform", "/plain/other.localhost:" + secure[:len(secure)-1] + "0", 500, failed}, // nobody listens there
		{"platform", "/tls/other.localhost:" + secure, 500, failed},
		{"platform", "/starttls/" + plain, 500, `Error: startTls() is not supported by this node; connect with { secureTransport: "on" }`},
		{"platform", "/wrong/x", 500, "TypeError: Specified address could not be parsed."},
		{"platform", "/plain/10.0.0.1:80", 500, failed + ". It looks like you might be trying to connect to a HTTP-based service — consider using fetch instead"},
		{"alice", "/plain/" + plain, 500, failed},
	} {
		r.want(c.host, c.path, c.status, c.want)
	}
	r.call("PUT", r.acct("/workers/dispatch/namespaces/production/egress"), `{"tcp": true}`, nil)
	r.want("alice", "/plain/"+plain, 200, "true off HELLO\nbye")
	r.call("PUT", r.acct("/workers/dispatch/namespaces/production/scripts/alice/egress"), `{"tcp": false}`, nil)
	r.want("alice", "/plain/"+plain, 500, failed)
}
