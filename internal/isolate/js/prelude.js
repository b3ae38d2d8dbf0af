// Runs before the user's code: takes the built-ins the wrapper relies on before anyone can change them, and puts the
// tagging fetch in the place of workerd's own. See docs/invocation.md.
import { AsyncLocalStorage } from "node:async_hooks";
import { RpcTarget } from "cloudflare:workers";
import { install } from "atoll:sockets";
import { thrown, unpack } from "@ERRORS@";

export { unpack };

const { apply, construct } = Reflect;
const invocation = new AsyncLocalStorage();
const { run: enter, getStore } = AsyncLocalStorage.prototype;
export const current = () => apply(getStore, invocation, []);
export const tag = () => current()?.tag;
// request is the one that the Worker's handler is given, where nothing of it can be changed.
export const run = (tag, f, request) => apply(enter, invocation, [{ __proto__: null, tag, logged: 0, request }, f]);

install(tag);

// collect collects garbage, which is nobody else's to call. By itself the engine does so after some 7,000 requests, with the
// engine's halves of all their objects, and whoever asks the Worker then waits for 50 to 100 ms. It returns after how many
// requests it is worth while again: a pause has 20 us for each request since the last one, and 1 ms for each MB that is alive.
const { gc } = globalThis;
globalThis.gc = undefined;
const clock = Date.now;
export function collect() {
  const began = clock();
  gc();
  const took = clock() - began; // ms
  return took < 4 ? collectAtFirst : 25 * took;
}
export const collectAtFirst = 100;

const uncurry = (f) => (self, ...args) => apply(f, self, args);
export { apply };

export const Request = globalThis.Request;
export const Response = globalThis.Response;
export const Headers = globalThis.Headers;
export const headersGet = uncurry(Headers.prototype.get);
export const headersSet = uncurry(Headers.prototype.set);
export const headersDelete = uncurry(Headers.prototype.delete);
// A property's getter is on a prototype, or with compatibility dates before 2022-01-31 on each object, out of reach.
function getter(type, name) {
  for (let p = type.prototype; p !== null; p = Object.getPrototypeOf(p)) {
    const d = Object.getOwnPropertyDescriptor(p, name);
    if (d?.get !== undefined) return uncurry(d.get);
  }
  return (self) => self[name];
}
export const { getPrototypeOf, keys, defineProperty } = Object;
export const requestHeaders = getter(Request, "headers");
export const responseHeaders = getter(Response, "headers");
export const responseStatus = getter(Response, "status");
export const responseStatusText = getter(Response, "statusText");
export const responseBody = getter(Response, "body");
export const arrayBuffer = uncurry(Request.prototype.arrayBuffer);
export const stringify = JSON.stringify;
const encode = uncurry(TextEncoder.prototype.encode).bind(undefined, new TextEncoder());
const { btoa, String, Object: ObjectType } = globalThis;
const { fromCharCode } = String;
const byteLength = getter(Uint8Array, "length");
export const slice = uncurry(String.prototype.slice);
export const hasInstance = uncurry(Function.prototype[Symbol.hasInstance]);
const { scheduler, console } = globalThis;
const { wait } = scheduler;
const { error } = console;
export const pause = (ms) => apply(wait, scheduler, [ms]);
export const logError = (text) => apply(error, console, [text]);

// weakMap makes a map that nobody else's change of WeakMap reaches.
const { get: weakGet, set: weakSet } = WeakMap.prototype;
export function weakMap() {
  const map = new WeakMap();
  return { __proto__: null, get: (key) => apply(weakGet, map, [key]), set: (key, value) => apply(weakSet, map, [key, value]) };
}

// answer makes a response of the wrapper's own. Its options inherit nothing, as Object.prototype is anyone's.
export function answer(body, status, name, value) {
  const headers = new Headers();
  if (name !== undefined) headersSet(headers, name, value);
  return new Response(body, { __proto__: null, status, headers });
}

// pack makes a header value of any JSON value; unpack is its inverse.
export function pack(value) {
  const bytes = encode(stringify(value));
  const n = byteLength(bytes);
  let s = "";
  for (let i = 0; i < n; i++) s += fromCharCode(bytes[i]);
  return btoa(s);
}

// describe is what the node learns of an exception. User code may throw anything, and anything may be a trap. What it
// returns inherits nothing, so that JSON.stringify finds no toJSON.
export function describe(e) {
  const told = { __proto__: null, name: "Error", message: "exception without a message", stack: "" };
  try {
    if (typeof e !== "object" || e === null) {
      told.message = text(e, 4096);
      return told;
    }
    const name = text(e.name ?? "Error", 256);
    told.message = text(e.message ?? e, 4096);
    told.name = name;
    told.stack = text(e.stack ?? "", 4096);
  } catch {
    // What could be told is told.
  }
  return told;
}

const text = (v, max) => slice(`${v}`, 0, max);

const global = globalThis;
const proto = ObjectType.getPrototypeOf(global);
const nativeFetch = proto.fetch ?? global.fetch;

const { getReader } = ReadableStream.prototype;
const { read } = ReadableStreamDefaultReader.prototype;
const { decode } = TextDecoder.prototype;
const utf8 = new TextDecoder();
const streaming = { __proto__: null, stream: true };
const { then } = Promise.prototype;
const { parse } = JSON;

async function fetch(input, init = undefined) {
  const request = construct(Request, init === undefined ? [input] : [input, init]);
  headersSet(requestHeaders(request), "atoll-invocation", tag() ?? "");
  const response = await apply(nativeFetch, global, [request]);
  const error = headersGet(responseHeaders(response), "atoll-error");
  if (error !== null) throw thrown(error);
  return response;
}

// claim asks the node about an RPC session that has come in: whose it is, and what it may call. The answer's body goes on until
// the session ends, and with it whatever the engine keeps for it, or hold is collected as garbage: by that the node knows how
// long it lasts. Nothing waits for the rest of the body, or the engine would not notice when nothing can answer any more.
export async function claim(nonce) {
  const headers = new Headers();
  headersSet(headers, "atoll-session", nonce);
  const response = await apply(nativeFetch, global, [new Request("http://atoll/", { __proto__: null, headers })]);
  const error = headersGet(responseHeaders(response), "atoll-error");
  if (error !== null) throw thrown(error);
  const reader = apply(getReader, responseBody(response), []);
  let text = "";
  while (text[text.length - 1] !== "\n") {
    const { done, value } = await apply(read, reader, []);
    if (done) throw new Error("the node does not tell whose RPC session this is");
    text += apply(decode, utf8, [value, streaming]);
  }
  const session = parse(text);
  session.hold = [response, reader];
  return session;
}

for (const holder of [proto, global]) {
  const d = ObjectType.getOwnPropertyDescriptor(holder, "fetch");
  if (d !== undefined) ObjectType.defineProperty(holder, "fetch", { ...d, value: fetch });
}

// A WebSocket made by its constructor sends no headers of ours, so its tag travels as one more subprotocol, which the
// node takes away.
const NativeWebSocket = global.WebSocket;
const isArray = Array.isArray;
const WebSocketProxy = new Proxy(NativeWebSocket, {
  construct(target, args, newTarget) {
    const protocols = args[1];
    const list = protocols === undefined ? [] : isArray(protocols) ? protocols : [protocols];
    const mine = tag();
    const all = mine === undefined ? list : [...list, `atoll-invocation.${mine}`];
    return construct(target, all.length > 0 ? [args[0], all] : [args[0]], newTarget === WebSocketProxy ? target : newTarget);
  },
});
ObjectType.defineProperty(NativeWebSocket.prototype, "constructor", { value: WebSocketProxy, configurable: true, writable: true });
ObjectType.defineProperty(global, "WebSocket", { value: WebSocketProxy, configurable: true, writable: true, enumerable: false });
