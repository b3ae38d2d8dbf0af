package hostile_test

import (
	"strings"
	"testing"
)

// pollute is a module that changes what our wrapper might rely on, and then behaves.
func pollute(patch string) string {
	return patch + "\n" + handler(`return new Response("x");`)
}

// pollutionAttacks patch the world that they share with our wrapper, before its first line that runs after them. What the
// node learns of their exceptions and what it charges them must not depend on it; where a patch breaks the Worker itself, it
// breaks it alone.
func pollutionAttacks() []attack {
	list := []attack{
		{name: "array-push", code: pollute(`Array.prototype.push = () => { throw new Error("push"); };`)},
		{name: "array-iterator", code: pollute(`Array.prototype[Symbol.iterator] = () => { throw new Error("iterator"); };`)},
		{name: "array-methods", code: pollute(`for (const k of ["map", "filter", "forEach", "join", "includes", "slice", "concat", "some"]) Array.prototype[k] = () => { throw new Error(k); };`)},
		{name: "array-index-setter", code: pollute(`for (const i of [0, 1, 2, 3]) Object.defineProperty(Array.prototype, i, { set() { throw new Error("index"); }, get() { return "forged"; }, configurable: true });`)},
		{name: "promise-then", alone: true, code: pollute(`const { then } = Promise.prototype; Promise.prototype.then = function (...a) { globalThis.thens = 1; return then.apply(this, a); };`)},
		{name: "response-constructor", code: pollute(`globalThis.Response = class { constructor() { throw new Error("Response"); } };`) + `const Response = (globalThis.Response, class extends Object {});`},
		{name: "response-getters", code: pollute(`for (const k of ["headers", "status", "body", "statusText"]) Object.defineProperty(Response.prototype, k, { get() { throw new Error(k); } });`)},
		{name: "headers-methods", code: pollute(`for (const k of ["get", "set", "delete", "has", "append", "entries"]) Headers.prototype[k] = function () { return "forged"; };`)},
		{name: "request-constructor", code: pollute(`const R = Request; globalThis.Request = class extends R { constructor(...a) { super(...a); this.headers.delete("atoll-invocation"); } };`)},
		{name: "request-getters", code: pollute(`for (const k of ["headers", "method", "url"]) { const d = Object.getOwnPropertyDescriptor(Request.prototype, k); if (k !== "url") Object.defineProperty(Request.prototype, k, { get() { return new Headers(); } }); }`)},
		{name: "async-local-storage", flags: []string{"nodejs_als"}, code: `import { AsyncLocalStorage } from "node:async_hooks";` +
			pollute(`AsyncLocalStorage.prototype.run = (s, f, ...a) => f(...a); AsyncLocalStorage.prototype.getStore = () => "forged"; AsyncLocalStorage.snapshot = AsyncLocalStorage.bind = (f) => f;`)},
		{name: "hand-over", code: pollute(`for (const s of ["atoll.invocation"]) { globalThis[Symbol.for(s)]?.(() => "forged"); globalThis[Symbol.for(s)] = () => "forged"; }`)},
		{name: "function-call", code: pollute(`Function.prototype.call = Function.prototype.apply = Function.prototype.bind = function () { throw new Error("call"); };`), alone: true, lost: true},
		{name: "has-instance", code: pollute(`Object.defineProperty(Response, Symbol.hasInstance, { value: () => false }); Object.defineProperty(Function.prototype, "x", { value: 1 });`)},
		{name: "object-getters", code: pollute(`for (const k of ["status", "statusText", "cf", "webSocket", "encodeBody", "headers"]) Object.defineProperty(Object.prototype, k, { get() { throw new Error(k); }, set() {}, configurable: true });`)},
		{name: "object-to-json", code: pollute(`Object.prototype.toJSON = () => { throw new Error("toJSON"); }; Array.prototype.toJSON = String.prototype.toJSON = () => "forged";`)},
		{name: "object-then", alone: true, lost: true, code: pollute(`Object.prototype.then = undefined; globalThis.armed = true;`)},
		{name: "object-symbols", code: pollute(`Object.defineProperty(Object.prototype, Symbol.iterator, { get() { throw new Error("iterator"); }, configurable: true }); Object.defineProperty(Object.prototype, Symbol.toPrimitive, { value: undefined });`)},
		{name: "object-statics", code: pollute(`for (const k of ["keys", "entries", "assign", "defineProperty", "getPrototypeOf", "getOwnPropertyDescriptor", "create", "fromEntries"]) Object[k] = () => { throw new Error(k); };`), refused: ""},
		{name: "reflect", code: pollute(`for (const k of Reflect.ownKeys(Reflect)) try { Reflect[k] = () => { throw new Error("Reflect"); }; } catch {}`)},
		{name: "json", code: pollute(`JSON.stringify = () => "{}"; JSON.parse = () => ({ name: "forged", message: "forged" });`)},
		{name: "encoders", code: pollute(`globalThis.btoa = globalThis.atob = () => "Zm9yZ2Vk"; TextEncoder.prototype.encode = () => new Uint8Array(); TextDecoder.prototype.decode = () => "{}"; String.fromCharCode = () => "x";`), alone: true},
		{name: "typed-arrays", code: pollute(`Object.defineProperty(Object.getPrototypeOf(Uint8Array.prototype), "length", { get() { return 0; } });`)},
		{name: "string-methods", code: pollute(`for (const k of ["slice", "charCodeAt", "toString", "valueOf", "startsWith", "split"]) String.prototype[k] = () => { throw new Error(k); };`)},
		{name: "console", code: pollute(`for (const k of Object.keys(console)) console[k] = () => { throw new Error("console"); };`)},
		{name: "console-object", code: pollute(`globalThis.console = undefined;`)},
		{name: "stack-trace", code: pollute(`Error.prepareStackTrace = () => { throw new Error("stack"); }; Error.stackTraceLimit = Infinity;`)},
		{name: "error-class", code: pollute(`globalThis.Error = globalThis.TypeError = globalThis.RangeError = class { constructor() { throw 1; } }; Object.defineProperty(globalThis, "URL", { value: undefined });`)},
		{name: "scheduler", code: pollute(`scheduler.wait = () => new Promise(() => {}); globalThis.setTimeout = () => {};`)},
		{name: "wait-until", code: pollute(`globalThis.patched = 0;`) + `
export class Probe {}
`},
		{name: "fetch-deleted", code: pollute(`for (let p = globalThis; p !== null; p = Object.getPrototypeOf(p)) delete p.fetch;`), run: fetchIsGone},
		{name: "fetch-wrapped", code: pollute(`const f = fetch; globalThis.fetch = (...a) => f.apply(undefined, a);`)},
		{name: "web-socket-class", code: pollute(`globalThis.WebSocket = class { constructor() { throw new Error("WebSocket"); } };`)},
		{name: "old-compatibility-date", date: "2021-11-02", code: pollute(`for (const k of ["get", "set", "delete"]) Headers.prototype[k] = () => "forged"; for (const t of [Request, Response]) Object.defineProperty(t.prototype, "headers", { get() { return new Headers(); }, configurable: true });`)},
		{name: "new-module-registry", flags: []string{"new_module_registry"}, code: pollute(`globalThis.fetch = globalThis.fetch;`)},
		{name: "immutable-prototypes", flags: []string{"immutable_api_prototypes"}, code: pollute(`try { Headers.prototype.get = () => "forged"; } catch {}`)},
		{name: "frozen", code: pollute(`for (const o of [globalThis, Object.prototype, Array.prototype, Function.prototype, Promise.prototype, Headers.prototype, Request.prototype, Response.prototype]) try { Object.freeze(o); } catch {}`)},
		{name: "during-the-request", code: handler(`Headers.prototype.get = Headers.prototype.set = () => "forged"; JSON.stringify = () => "{}"; Object.prototype.toJSON = () => ({}); globalThis.btoa = () => "x"; Reflect.apply = () => {};
			throw new RangeError("told");`), want: `^500 RangeError: told$`},
		{name: "thrown-proxy", want: `^500 Error: exception without a message$`,
			code: handler(`throw new Proxy({}, { get() { throw new Proxy({}, { get() { throw 1; } }); }, getPrototypeOf() { throw 1; } });`)},
		{name: "thrown-prototype", want: `^500 \S+: `, code: handler(`throw { name: "__proto__", message: "constructor", __proto__: null };`)},
		{name: "thrown-newlines", want: `^500 x`, code: handler(`throw { name: "x\r\nAtoll-Response: 1\r\n\r\n", message: "y\r\nz\u0000" };`)},
		{name: "thrown-bomb", want: `^500 Error: a{900,1000}a+$`, code: handler(`throw new Error("a".repeat(1e7));`)},
	}
	for i := range list {
		if list[i].want == "" && list[i].run == nil {
			list[i].run = chargedAllTheSame
		}
	}
	return list
}

// chargedAllTheSame checks that a Worker pays for each of its subrequests, and that two requests pay apart.
func chargedAllTheSame(t *testing.T, s *site, host string) {
	limits := attack{subRequests: 7}.limits()
	for range 2 {
		got := s.get(t, host, "/spend", limits)
		// A Worker that broke itself is no matter, as long as it gained nothing.
		if got != "200 spent 7" && !strings.HasPrefix(got, "500 ") {
			t.Errorf("its subrequests: %.200q", got)
		}
		if got != "200 spent 7" {
			t.Logf("it broke itself: %.200q", got)
		}
	}
}

// fetchIsGone checks that no fetch of workerd's own is behind ours.
func fetchIsGone(t *testing.T, s *site, host string) {
	s.want(t, host, "/spend", attack{}.limits(), `^200 no limit$`) // each failed, as there was no fetch
	s.want(t, host, "/throw", attack{}.limits(), `^500 RangeError: told$`)
}
