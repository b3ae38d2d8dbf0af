package hostile_test

import (
	"encoding/base64"
	"testing"
)

// overCPU is what the dispatch Worker is thrown for a request over its CPU limit.
const overCPU = `^500 Error: Worker exceeded CPU time limit\.$`

// handler is a module whose fetch has this body.
func handler(body string) string {
	return "export default { async fetch(request, env, ctx) {\n" + body + "\n} };\n"
}

// cpuAttacks run for ever, or for longer than they may, each in its own way.
func cpuAttacks() []attack {
	return []attack{
		{name: "plain-loop", want: overCPU, code: handler(`for (;;);`)},
		{name: "catch-and-go-on", want: overCPU, code: handler(`for (;;) try { for (;;); } catch {}`)},
		{name: "finally", want: overCPU, code: handler(`try { for (;;); } finally { for (;;); }`)},
		{name: "return-in-finally", want: overCPU, code: handler(`for (;;) { try { for (;;); } finally { continue; } }`)},
		{name: "await-loop", want: overCPU, code: handler(`for (;;) await null;`)},
		{name: "microtask", want: overCPU, code: handler(`const f = () => queueMicrotask(f); f(); return new Promise(() => {});`)},
		{name: "promise-then", want: overCPU, code: handler(`const f = () => Promise.resolve().then(f); f(); return new Promise(() => {});`)},
		{name: "next-tick", want: overCPU, flags: []string{"nodejs_compat"},
			code: handler(`const f = () => process.nextTick(f); f(); return new Promise(() => {});`)},
		{name: "regular-expression", want: overCPU, code: handler(`return new Response(String(/^(a+)+$/.test("a".repeat(64) + "b")));`)},
		{name: "wasm", want: overCPU, code: wasmLoop},
		{name: "json-stringify", want: overCPU, code: handler(`JSON.stringify({ toJSON() { for (;;); } });`)},
		{name: "sort", want: overCPU, code: handler(`const a = Array.from({ length: 1e5 }, (_, i) => i); for (;;) a.sort(() => Math.random() - 0.5);`)},
		{name: "getter", want: overCPU, code: handler(`return new Response("", { get status() { for (;;); } });`)},
		{name: "proxy", want: overCPU, code: handler(`return new Response("", { headers: new Proxy({}, { ownKeys() { for (;;); } }) });`)},
		{name: "to-primitive", want: overCPU, code: handler(`return new Response({ [Symbol.toPrimitive]() { for (;;); } });`)},
		{name: "generator", want: overCPU, code: handler(`function* g() { for (;;) yield 1; } for (const _ of g());`)},
		{name: "garbage", want: overCPU, code: handler(`const kept = []; for (let i = 0; ; i++) kept[i % 20000] = new Array(100).fill(i);`)},
		{name: "garbage-outside-the-heap", alone: true, want: overCPU, code: handler(`const kept = []; for (let i = 0; ; i++) kept[i % 20000] = new Headers({ a: String(i) });`)},
		{name: "log-argument", want: overCPU, code: handler(`console.log({ get a() { for (;;); } }); for (;;);`)},
		{name: "thenable", want: overCPU, code: handler(`return { then() { for (;;); } };`)},
		{name: "thrown-getter", want: overCPU, code: handler(`throw { get message() { for (;;); } };`)},
		{name: "prepare-stack-trace", want: overCPU, lost: true, code: handler(`Error.prepareStackTrace = () => { for (;;); }; throw new Error("x");`)},
		{name: "timer", want: overCPU, code: handler(`setTimeout(() => { for (;;); }, 1); return new Promise(() => {});`)},
		{name: "interval-of-slices", want: overCPU, alone: true,
			code: handler(`setInterval(() => { for (const end = performance.now(), i = [0]; i[0] < 3e6; i[0]++); }, 1); return new Promise((r) => setTimeout(r, 60_000));`)},
		{name: "stream-pull", want: `^(500 Error: Worker exceeded CPU time limit\.|200 broken off)`,
			code: handler(`return new Response(new ReadableStream({ pull() { for (;;); } }));`)},
		{name: "abort-listener", want: overCPU, code: handler(`const c = new AbortController(); c.signal.addEventListener("abort", () => { for (;;); }); c.abort();`)},
		{name: "event-listener", want: overCPU, code: handler(`const t = new EventTarget(); t.addEventListener("x", () => t.dispatchEvent(new Event("y"))); t.addEventListener("y", () => { for (;;); }); t.dispatchEvent(new Event("x"));`)},
		{name: "unhandled-rejection", want: overCPU, code: "addEventListener('unhandledrejection', () => { for (;;); });\n" +
			handler(`Promise.reject(new Error("x")); await scheduler.wait(5); for (;;);`)},
		{name: "dynamic-import", want: overCPU, code: handler(`return new Response(String(await import("data:text/javascript,for(;;);").catch(() => { for (;;); })));`)},
		{name: "html-rewriter", alone: true, want: overCPU, code: handler(`return new HTMLRewriter().on("p", { element() { for (;;); } }).transform(new Response("<p>x</p>"));`)},
		{name: "pass-through-on-exception", want: overCPU, code: handler(`ctx.passThroughOnException(); for (;;);`)},
		{name: "constructor-of-entrypoint", want: overCPU, code: "export default class { constructor() { for (;;); } fetch() {} }\n"},
		{name: "wait-until", want: `^200 `, calm: "/count",
			code: counting(`ctx.waitUntil((async () => { await scheduler.wait(10); for (;;) count++; })()); return new Response("bye");`)},
		{name: "slices-after-response", want: `^200 `, calm: "/count",
			code: counting(`ctx.waitUntil((async () => { for (;;) { for (let i = 0; i < 2e6; i++) count++; await scheduler.wait(1); } })()); return new Response("bye");`)},
		{name: "timer-after-response", want: `^200 `, calm: "/count",
			code: counting(`const f = () => { for (let i = 0; i < 2e6; i++) count++; setTimeout(f, 1); }; setTimeout(f, 1); ctx.waitUntil(new Promise((r) => setTimeout(r, 60_000))); return new Response("bye");`)},
		{name: "websocket-message", run: spinInSocket, code: handler(`const { 0: client, 1: server } = new WebSocketPair(); server.accept();
			server.addEventListener("message", () => { for (;;); }); return new Response(null, { status: 101, webSocket: client });`)},
		{name: "websocket-slices", alone: true, run: spinInSocket, code: handler(`const { 0: client, 1: server } = new WebSocketPair(); server.accept();
			server.addEventListener("message", () => { setInterval(() => { for (let i = 0; i < 3e6; i++); }, 1); }); return new Response(null, { status: 101, webSocket: client });`)},
		{name: "many-timers", want: overCPU, alone: true, code: handler(`for (let i = 0; i < 1000; i++) setTimeout(() => { for (;;); }, i); return new Promise((r) => setTimeout(r, 60_000));`)},
		{name: "many-short-timers", want: overCPU, alone: true, code: handler(`for (let i = 0; i < 9000; i++) setTimeout(() => { for (let n = 0; n < 1e6; n++); }, i / 10); return new Promise((r) => setTimeout(r, 60_000));`)},
		{name: "own-entrypoint", want: overCPU, alone: true, date: "2026-01-01", code: loopback},
		{name: "finalizer", want: `^(200 bye|500 Error: Worker exceeded CPU time limit\.)$`, alone: true, date: "2026-01-01", flags: []string{"enable_weak_ref"},
			code: handler(`const registry = new FinalizationRegistry(() => { for (;;); }); for (let i = 0; i < 1000; i++) registry.register({ i }, i);
				for (let i = 0; i < 20; i++) { new Array(1e6).fill(i); await scheduler.wait(1); } globalThis.kept = registry; return new Response("bye");`)},
		{name: "later-start", alone: true, run: startsToSpin, code: handler(``)},
		{name: "uncaught", run: uncaught, code: handler(`for (;;);`)},
		{name: "module-scope", refused: "Script startup exceeded CPU time limit.", code: "for (;;);\n" + handler(``)},
		{name: "module-scope-await", refused: "10021", code: "for (;;) await null;\n" + handler(``)},
		{name: "module-scope-wasm", refused: "Script startup exceeded CPU time limit.", code: wasmSource + "spin();\n" + handler(``)},

		// What V8 cannot interrupt: the process is killed when the grace period is over.
		{name: "json-parse", want: overCPU, alone: true, cpuMs: 100,
			code: handler(`const s = "[" + "1,".repeat(1e5) + "1]"; for (;;) JSON.parse(s);`)},
		{name: "json-parse-of-one-text", want: overCPU, alone: true,
			code: handler(`const s = "[" + "[1,2,3],".repeat(5e6) + "1]"; JSON.parse(s); JSON.parse(s); for (;;);`), cpuMs: 100},
		{name: "pbkdf2", want: overCPU, alone: true, flags: []string{"nodejs_compat"},
			code: `import { pbkdf2Sync } from "node:crypto";` + handler(`pbkdf2Sync("a", "b", 1e9, 64, "sha512"); for (;;);`)},
		{name: "scrypt", want: overCPU, alone: true, flags: []string{"nodejs_compat"},
			code: `import { scryptSync } from "node:crypto";` + handler(`for (;;) scryptSync("a", "b", 64, { N: 2 ** 14, r: 8, p: 1 });`)},
		{name: "key-generation", want: overCPU, alone: true,
			code: handler(`for (;;) await crypto.subtle.generateKey({ name: "RSASSA-PKCS1-v1_5", modulusLength: 4096, publicExponent: new Uint8Array([1, 0, 1]), hash: "SHA-256" }, true, ["sign", "verify"]);`)},
		{name: "big-integer", want: overCPU, alone: true, code: handler(`let n = 3n ** (1n << 20n); for (;;) n = n * n % (1n << 4000000n);`)},
		{name: "index-of", want: overCPU, alone: true, code: handler(`const s = "a".repeat(2e7), t = "a".repeat(1e7) + "b"; for (;;) s.indexOf(t);`)},
		{name: "array-join", want: overCPU, alone: true, code: handler(`for (;;) new Array(2 ** 25).join("");`)},
		{name: "structured-clone", want: overCPU, alone: true, code: handler(`const a = Array.from({ length: 2e5 }, (_, i) => ({ i })); for (;;) structuredClone(a);`)},
		{name: "digest", want: overCPU, alone: true, code: handler(`const b = new Uint8Array(3e7); for (;;) await crypto.subtle.digest("SHA-512", b);`)},
		{name: "compress", want: overCPU, alone: true, flags: []string{"nodejs_compat"},
			code: `import { brotliCompressSync } from "node:zlib";` + handler(`for (;;) brotliCompressSync(new Uint8Array(1e7).map((_, i) => i * i));`)},
		{name: "atomics-wait", want: `^500 TypeError: Atomics\.wait cannot be called in this context$`,
			code: handler(`Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);`)},
	}
}

// counting is a module that counts what it does, and tells at /count.
func counting(body string) string {
	return "let count = 0;\n" + handler(`if (new URL(request.url).pathname === "/count") return new Response(String(count));`+"\n"+body)
}

// wasmSource is a WebAssembly module with one function, which never returns: (func (export "f") (loop (br 0))).
var wasmSource = `const bytes = Uint8Array.from(atob("` + base64.StdEncoding.EncodeToString([]byte(
	"\x00asm\x01\x00\x00\x00\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00\x07\x05\x01\x01f\x00\x00\x0a\x09\x01\x07\x00\x03\x40\x0c\x00\x0b\x0b")) +
	`"), (c) => c.charCodeAt(0)); const spin = new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports.f;` + "\n"

var wasmLoop = wasmSource + handler(`spin();`)

// loopback calls itself through the binding that workerd makes of each entrypoint, so that every call has a context of its
// own and none of them runs for long.
var loopback = counting(`if (request.url.endsWith("/slice")) { for (let i = 0; i < 1e7; i++) count++; return new Response("slice"); }
	for (let n = 0; n < 1000; n++) await (await ctx.exports.default.fetch("http://x/slice")).text();
	return new Response("got away with it");`)

// startsToSpin spins in its module's scope, by chance: an upload is accepted at last, and then every new process is a
// gamble.
func startsToSpin(t *testing.T, s *site, host string) {
	a := attack{flags: []string{"nodejs_compat"}, code: `import { abortIsolate } from "cloudflare:workers";
		if (Math.random() < 0.5) for (;;);` + "\n" + handler(`abortIsolate("again");`)}
	var message string
	for range 20 {
		if message = s.send(t, s.script(host), a.upload()); message == "" {
			break
		}
	}
	if message != "" {
		t.Fatal(message)
	}
	for range 5 {
		s.get(t, host, "/", a.limits())
		s.recovers(t, host, a.limits())
	}
}

// spinInSocket opens a WebSocket and sends the message that makes the Worker spin: the connection must be ended.
func spinInSocket(t *testing.T, s *site, host string) {
	ws := s.socket(t, host, attack{}.limits(), nil)
	ws.send(t, "go")
	ws.ends(t)
}

// uncaught leaves the exception to the edge.
func uncaught(t *testing.T, s *site, host string) {
	req := s.request(t, "GET", host, "/", attack{}.limits(), nil)
	req.Header.Set("X-Uncaught", "1")
	if got := s.do(req); got != "503 error code: 1102\n" {
		t.Errorf("got %q", got)
	}
}
