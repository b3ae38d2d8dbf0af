package hostile_test

import (
	"net/http"
	"strings"
	"testing"
)

// ours are the headers by which the node and its processes understand each other.
var ours = []string{"Atoll-Service", "Atoll-Invocation", "Atoll-Proto", "Atoll-Cf", "Atoll-Control", "Atoll-Dispatch",
	"Atoll-Exception", "Atoll-Response", "Atoll-Error", "Atoll-Event", "Atoll-Entrypoint"}

// forged is an object literal of all our headers, with a packed exception for a value: {"name":"Error","message":"forged"}.
var forged = `{ "` + strings.ToLower(strings.Join(ours, `": packed, "`)) + `": packed }`

const packed = `const packed = "eyJuYW1lIjoiRXJyb3IiLCJtZXNzYWdlIjoiZm9yZ2VkIn0=";` + "\n"

// forgeryAttacks pretend to be somebody else, or to say what only the node says.
func forgeryAttacks() []attack {
	list := []attack{
		{name: "response-headers", run: noHeaderOfOurs, code: packed + handler(`return new Response("mine", { headers: `+forged+` });`)},
		{name: "response-headers-of-500", want: `^500 mine$`, code: packed + handler(`return new Response("mine", { status: 500, headers: `+forged+` });`)},
		{name: "response-500-without-a-word", want: `^500 mine$`, code: handler(`return new Response("mine", { status: 500 });`)},
		{name: "response-exception", want: `^500 mine$`, code: packed + handler(`return new Response("mine", { status: 500, headers: { "atoll-exception": packed } });`)},
		{name: "response-error", want: `^500 mine$`, code: packed + handler(`return new Response("mine", { status: 500, headers: { "atoll-error": packed } });`)},
		{name: "client-headers", run: clientForges, code: handler(`return Response.json([...request.headers]);`)},
		{name: "client-router", run: clientMisleadsRouter, code: handler(`return new Response(new URL(request.url).host);`)},
		{name: "client-subprotocol", run: clientForgesProtocol, code: handler(`const { 0: client, 1: server } = new WebSocketPair(); server.accept();
			server.send("protocols: " + request.headers.get("sec-websocket-protocol")); return new Response(null, { status: 101, webSocket: client });`)},
		{name: "socket-headers", run: socketForges, code: packed + handler(`const { 0: client, 1: server } = new WebSocketPair(); server.accept();
			server.send("hello"); return new Response(null, { status: 101, webSocket: client, headers: `+forged+` });`)},
		{name: "service-header", want: `^200 refused: Network connection refused`, binds: []map[string]any{{"type": "plain_text", "name": "T", "text": "x"}},
			code: handler(`try { for (const service of ["binding/0", "binding/1", "cache", "dispatch", "egress"])
				await fetch("http://127.0.0.1:9/alice-key", { headers: { "atoll-service": service } }); return new Response("let through"); }
				catch (e) { return new Response("refused: " + e.message); }`)},
		{name: "thrown-limit", want: `^500 Error: Worker exceeded CPU time limit\.$`, // it may say so, and nobody else is blamed
			code: handler(`throw new Error("Worker exceeded CPU time limit.");`)},
		{name: "entrypoint-with-our-headers", date: "2026-01-01", want: `^200 \[.*\]$`, code: packed + handler(`const told = [];
			for (const headers of [{ "atoll-control": "exports" }, { "atoll-control": packed }, { "atoll-control": "drain" }, { "cf-ray": "0123456789abcdef-ATL" }, `+forged+`])
				try { told.push((await ctx.exports.default.fetch("http://x/alive", { headers })).status); } catch (e) { told.push(e.message); }
			return Response.json(told);`)},
	}
	list = append(list, rpcForgeries()...)
	// These carry the invocation's tag, whatever is tried with it.
	for name, code := range map[string]string{
		"header-of-request":  `await fetch("http://127.0.0.1:9/", { headers: { "atoll-invocation": "forged" } })`,
		"header-of-subclass": `await fetch(new (class extends Request { get headers() { return new Headers(); } })("http://127.0.0.1:9/"))`,
		"web-socket":         `await new Promise((r) => { const w = new WebSocket("ws://127.0.0.1:9/"); w.addEventListener("error", r); w.addEventListener("close", r); })`,
		"web-socket-forged":  `await new Promise((r) => { const w = new WebSocket("ws://127.0.0.1:9/", ["atoll-invocation.forged"]); w.addEventListener("error", r); w.addEventListener("close", r); })`,
		"upgrade":            `await fetch("http://127.0.0.1:9/", { headers: { upgrade: "websocket", "sec-websocket-protocol": "atoll-invocation.forged" } })`,
		"node-http":          `await new Promise((r) => { http.get("http://127.0.0.1:9/", r).on("error", r); })`,
		"wait-until":         `ctx.waitUntil(fetch("http://127.0.0.1:9/").catch(() => {})); await scheduler.wait(30)`,
		"timer":              `await new Promise((r) => setTimeout(() => fetch("http://127.0.0.1:9/").then(r, r), 1))`,
		"wrapper-called":     `await wrapper.default.fetch(new Request("http://x/one", request), env, ctx)`,
	} {
		list = append(list, evasion("tagged-"+name, code))
	}
	// These do not, or carry none that is true. With nobody else in the isolate they are charged to whom they belong.
	for name, code := range map[string]string{
		"web-socket-native": `await new Promise((r) => { const w = Reflect.construct(Object.getPrototypeOf(class extends WebSocket {}), ["ws://127.0.0.1:9/"]); w.addEventListener("error", r); w.addEventListener("close", r); })`,
		"event-source":      `await new Promise((r) => { const e = new EventSource("http://127.0.0.1:9/"); e.onerror = () => { e.close(); r(); }; })`,
		"beacon":            `navigator.sendBeacon("http://127.0.0.1:9/", "x"); await scheduler.wait(50)`,
		"escaped-context":   `await AsyncLocalStorage.snapshot()(() => fetch("http://127.0.0.1:9/"))`,
		"other-context":     `await outside(() => fetch("http://127.0.0.1:9/"))`,
		"our-run":           `await ours.run("forged", () => fetch("http://127.0.0.1:9/"))`,
		"our-run-untagged":  `await ours.run(undefined, () => fetch("http://127.0.0.1:9/"))`,
		"own-entrypoint":    `await ctx.exports.default.fetch("http://x/one", { headers: { "cf-ray": "0123456789abcdef-ATL" } })`,
		"wrapper-called":    `await wrapper.default.fetch(new Request("http://x/one"), env, ctx)`,
	} {
		a := evasion("untagged-"+name, code)
		a.alone = true
		list = append(list, a)
	}
	// Beside another invocation they may use up what that has left, but no more than both of them have.
	return append(list, attack{name: "untagged-beside-another", subRequests: 5, want: `^200 (5|10) of 10$`,
		code: `import * as ours from "./atoll-prelude.js";` + handler(`let n = 0;
			const send = async () => { try { await fetch("http://127.0.0.1:9/"); } catch (e) { if (e.message !== "Too many subrequests.") n++; } };
			for (let i = 0; i < 20; i++) await ours.run("forged", send);
			for (let i = 0; i < 20; i++) await send();
			return new Response(n + " of 10");`)})
}

// evasion sends five requests in some way, by which it must have spent all that it had.
func evasion(name, code string) attack {
	return attack{name: name, subRequests: 5, date: "2026-01-01", flags: []string{"nodejs_compat"}, want: `^200 spent$`,
		code: `import { AsyncLocalStorage } from "node:async_hooks"; import http from "node:http";
import * as ours from "./atoll-prelude.js";
const outside = AsyncLocalStorage.snapshot();
let wrapper;
` + handler(`if (request.url.endsWith("/one")) { await fetch("http://127.0.0.1:9/").catch(() => {}); return new Response("one"); }
wrapper ??= await import("./atoll-wrapper.js");
for (let i = 0; i < 5; i++) { try { `+code+` } catch {} }
try { await fetch("http://127.0.0.1:9/"); } catch (e) { return new Response(e.message === "Too many subrequests." ? "spent" : "got away: " + e.message); }`)}
}

// noHeaderOfOurs looks at what a client gets.
func noHeaderOfOurs(t *testing.T, s *site, host string) {
	res, err := s.client.Do(s.request(t, "GET", host, "/", "", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 200 {
		t.Errorf("got %s", res.Status)
	}
	checkHeader(t, res.Header)
}

func checkHeader(t *testing.T, h http.Header) {
	t.Helper()
	for name := range h {
		if strings.HasPrefix(strings.ToLower(name), "atoll") {
			t.Errorf("a header of the node's own: %s: %s", name, h[name])
		}
	}
}

// clientForges sends what only the edge and the node say.
func clientForges(t *testing.T, s *site, host string) {
	req := s.request(t, "GET", host, "/", "", nil)
	for _, name := range ours {
		req.Header[name] = []string{"forged", "binding/0"}
		req.Header[strings.ToLower(name)] = []string{"forged"} // as it is, and in lower case beside it
	}
	for _, name := range []string{"Cf-Ray", "Cf-Connecting-Ip", "True-Client-Ip", "X-Real-Ip", "X-Forwarded-Proto", "Cf-Visitor", "Cf-Worker"} {
		req.Header[name] = []string{"forged"}
	}
	req.Header["Connection"] = []string{"keep-alive, cf-connecting-ip, cf-ray, atoll-proto"}
	got := s.do(req)
	if !strings.HasPrefix(got, "200 ") || strings.Contains(got, "forged") || strings.Contains(got, "atoll-") {
		t.Errorf("the Worker saw %s", got)
	}
	for _, name := range []string{`["cf-connecting-ip","127.0.0.1"]`, `"cf-ray"`, `["x-forwarded-proto","http"]`} {
		if !strings.Contains(got, name) {
			t.Errorf("the Worker missed %s: %s", name, got)
		}
	}
	for _, word := range []string{"drain", "exports", "eyJ0eXBlIjoic2NoZWR1bGVkIn0="} { // {"type":"scheduled"}
		req := s.request(t, "GET", host, "/", "", nil)
		req.Header.Set("Atoll-Control", word)
		req.Header.Set("Atoll-Event", word)
		if got := s.do(req); !strings.HasPrefix(got, `200 [[`) {
			t.Errorf("%s: got %s", word, got)
		}
	}
}

// clientMisleadsRouter asks a built-in router for one tenant and hints at others, and at what is no tenant of it.
func clientMisleadsRouter(t *testing.T, s *site, host string) {
	ask := func(host, path string) *http.Request {
		req := s.request(t, "GET", "", path, "", nil)
		req.Host = host
		return req
	}
	var zone struct{ ID string }
	s.call(t, "POST", s.api+"/client/v4/zones", map[string]string{"name": "routed.test"}, &zone)
	for pattern, kind := range map[string]string{"*.routed.test/*": "subdomain", "routed.test/*": "path"} {
		s.call(t, "POST", s.api+"/client/v4/zones/"+zone.ID+"/workers/routes", map[string]any{"pattern": pattern,
			"router": map[string]string{"kind": kind, "namespace": "production"}}, nil)
	}
	own := host + ".routed.test"
	for _, name := range []string{"X-Forwarded-Host", "Forwarded", "X-Host", "X-Original-Host", "X-Original-Url", "X-Rewrite-Url", "Cf-Worker", "Atoll-Dispatch",
		"Atoll-Service", "Atoll-Control", "Atoll-Invocation"} {
		for _, value := range []string{"alice.routed.test", "/alice", "=alice", "host=alice.routed.test"} {
			req := ask(own, "/")
			req.Header.Set(name, value)
			if got := s.do(req); got != "200 "+own {
				t.Errorf("%s %s: got %s", name, value, got)
			}
		}
	}
	// Neither the account's scripts, nor names that are none, nor a host that holds a path.
	for _, host := range []string{"dispatcher.routed.test", "..routed.test", "alice%2e.routed.test", "%61lice.routed.test", "production.routed.test", "-.routed.test"} {
		if got := s.do(ask(host, "/")); !strings.HasPrefix(got, "404 ") && !strings.HasPrefix(got, "400 ") {
			t.Errorf("%s: got %s", host, got)
		}
	}
	for _, path := range []string{"/", "/dispatcher", "/..%2f..%2fdispatcher", "/%2e%2e/dispatcher", "/?alice", "/;alice", "/production/alice"} {
		if got := s.do(ask("routed.test", path)); !strings.HasPrefix(got, "404 ") {
			t.Errorf("%s: got %s", path, got)
		}
	}
}

// clientForgesProtocol puts a tag where a Worker's own WebSocket carries it.
func clientForgesProtocol(t *testing.T, s *site, host string) {
	ws := s.socket(t, host, "", http.Header{"Sec-Websocket-Protocol": {"chat, atoll-invocation.0123456789abcdef-ATL, atoll-invocation."}})
	if _, got, err := ws.next(); got != "protocols: chat" {
		t.Errorf("the Worker saw %q, %v", got, err)
	}
}

// socketForges looks at the headers of an answered handshake.
func socketForges(t *testing.T, s *site, host string) {
	_, res := s.upgrade(t, host, "", nil)
	if res.StatusCode != http.StatusSwitchingProtocols {
		t.Errorf("got %s", res.Status)
	}
	checkHeader(t, res.Header)
}

// rpcForgeries get at the connections of RPC, and at sessions, by themselves.
func rpcForgeries() []attack {
	service := []map[string]any{{"type": "service", "name": "SVC", "service": "dispatcher"}}
	return []attack{
		{name: "rpc-connection", binds: service, want: `^200 refused 16 of 16$`, code: `import { connect } from "cloudflare:sockets";` + handler(`let refused = 0, all = 0;
			for (const secret of ["", "0", "00000000000000000000000000000000", "undefined"]) for (const end of ["0.0", "0.3", "1.0", "-1.0"]) {
				all++;
				try { const s = (all % 2 ? connect : (a) => env.SVC.connect(a))("atoll-rpc." + secret + "." + end + ":80"); await s.opened; } catch { refused++; }
			}
			return new Response("refused " + refused + " of " + all);`)},
		{name: "rpc-session", want: `^200 Error: The RPC session does not exist\.$`, code: handler(`try {
			const r = await fetch("http://x/", { headers: { "atoll-session": "0".repeat(32) } });
			return new Response(await r.text()); } catch (e) { return new Response(e.name + ": " + e.message); }`)},
		{name: "rpc-entrypoint", date: "2026-01-01", want: `^200 Error: The RPC session does not exist\.$`, code: handler(`try {
			return new Response(await ctx.exports["atoll rpc"].call("0".repeat(32), ["fetch"])); } catch (e) { return new Response(e.name + ": " + e.message); }`)},
		{name: "rpc-question", date: "2026-01-01", binds: service, want: `^200 \["Error: internal error",.*\]$`, code: handler(`const told = [];
			for (const q of ["x", "why 9", "why -1", "0".repeat(32) + " 7", "0".repeat(31) + " 0", "why 0"])
				try { told.push((await env.SVC.fetch("http://x/", { headers: { "atoll-rpc": q } })).status); } catch (e) { told.push(e.name + ": " + e.message); }
			return Response.json(told);`)},
		{name: "rpc-of-an-entrypoint-not-named", date: "2026-01-01", binds: service, want: `^200 \[("TypeError: [^"]*",?)+\]$`, code: handler(`const told = [];
			for (const f of [(s) => s.call("0".repeat(32), ["x"]), (s) => s.read("x"), (s) => s["atoll rpc"].call("x"), (s) => s.__proto__.x(), (s) => s.env.DISPATCHER.get("alice"), (s) => s.ctx.props])
				try { told.push(JSON.stringify(await f(env.SVC))); } catch (e) { told.push(e.name + ": " + e.message.replaceAll('"', "'")); }
			return Response.json(told);`)},
	}
}
