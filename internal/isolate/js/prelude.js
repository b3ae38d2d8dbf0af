// Runs before the user's code: takes the built-ins the wrapper relies on before anyone can change them, and puts the
// tagging fetch in the place of workerd's own. See docs/invocation.md.
import { AsyncLocalStorage } from "node:async_hooks";

const { apply, construct } = Reflect;
const uncurry = (f) => (self, ...args) => apply(f, self, args);

const invocation = new AsyncLocalStorage();
const getTag = uncurry(invocation.getStore).bind(undefined, invocation);
export const run = uncurry(invocation.run).bind(undefined, invocation);

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
export const requestHeaders = getter(Request, "headers");
export const responseHeaders = getter(Response, "headers");
export const responseStatus = getter(Response, "status");
export const responseBody = getter(Response, "body");
export const parse = JSON.parse;
export const stringify = JSON.stringify;
const encode = uncurry(TextEncoder.prototype.encode).bind(undefined, new TextEncoder());
const decode = uncurry(TextDecoder.prototype.decode).bind(undefined, new TextDecoder());
const { btoa, atob, Uint8Array, String, Object: ObjectType } = globalThis;
const fromCharCode = String.fromCharCode;
const charCodeAt = uncurry(String.prototype.charCodeAt);
export const slice = uncurry(String.prototype.slice);
export const hasInstance = uncurry(Function.prototype[Symbol.hasInstance]);

// pack makes a header value of any JSON value; unpack is its inverse.
export function pack(value) {
  const bytes = encode(stringify(value));
  let s = "";
  for (let i = 0; i < bytes.length; i++) s += fromCharCode(bytes[i]);
  return btoa(s);
}

export function unpack(value) {
  const s = atob(value);
  const bytes = new Uint8Array(s.length);
  for (let i = 0; i < s.length; i++) bytes[i] = charCodeAt(s, i);
  return parse(decode(bytes));
}

const errors = { __proto__: null, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError };

// thrown makes the exception that the node put into a response's header.
export function thrown(value) {
  const { name, message } = unpack(value);
  const type = errors[name];
  const e = type ? new type(message) : new Error(message);
  if (!type && name && name !== "Error") ObjectType.defineProperty(e, "name", { value: name, configurable: true, writable: true });
  return e;
}

// describe is what the node learns of an exception. User code may throw anything, and anything may be a trap.
export function describe(e) {
  try {
    if (typeof e === "object" && e !== null) {
      return { name: text(e.name ?? "Error", 256), message: text(e.message ?? e, 4096), stack: text(e.stack ?? "", 4096) };
    }
    return { name: "Error", message: text(e, 4096), stack: "" };
  } catch {
    return { name: "Error", message: "exception without a message", stack: "" };
  }
}

const text = (v, max) => slice(`${v}`, 0, max);

const global = globalThis;
const proto = ObjectType.getPrototypeOf(global);
const nativeFetch = proto.fetch ?? global.fetch;

async function fetch(input, init = undefined) {
  const request = construct(Request, init === undefined ? [input] : [input, init]);
  const tag = getTag();
  const headers = requestHeaders(request);
  if (tag !== undefined) headersSet(headers, "atoll-invocation", tag);
  else headersDelete(headers, "atoll-invocation");
  const response = await apply(nativeFetch, global, [request]);
  const error = headersGet(responseHeaders(response), "atoll-error");
  if (error !== null) throw thrown(error);
  return response;
}

for (const holder of [proto, global]) {
  const d = ObjectType.getOwnPropertyDescriptor(holder, "fetch");
  if (d !== undefined) ObjectType.defineProperty(holder, "fetch", { ...d, value: fetch });
}
