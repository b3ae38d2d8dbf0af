// Tells bindings which invocation the running code belongs to. Their modules are internal ones, which a Worker's modules
// cannot import nor they a Worker's, so the prelude hands its function over through the global object, once, before any of
// the user's code runs. What is used here is taken before that code can change it, too.
const { Request, Response, Headers } = globalThis;
const { apply, construct } = Reflect;
const { get, set } = Headers.prototype;
const { getPrototypeOf, getOwnPropertyDescriptor, hasOwn } = Object;
const { parse } = JSON;

let current = () => undefined;
let carry = (value) => value;
let lanes = {};

Object.defineProperty(globalThis, Symbol.for("atoll.invocation"), {
  configurable: true,
  value: (given) => {
    current = given.current;
    carry = given.carry;
    return (text) => { lanes = parse(text); };
  },
});

// tagNow is the tag of the invocation that the running code belongs to, or undefined.
export const tagNow = () => current()?.tag;

// carried is what may be sent to another Worker by RPC, so that what is called back from there runs in this invocation.
export const carried = (value) => carry(value);

// laneOf tells which of its connections the binding of that index is to use for RPC.
export const laneOf = (index) => hasOwn(lanes, index) ? lanes[index] : 0;

// With compatibility dates before 2022-01-31 a property is each object's own, and out of reach.
function getter(type, name) {
  for (let p = type.prototype; p !== null; p = getPrototypeOf(p)) {
    const d = getOwnPropertyDescriptor(p, name);
    if (d?.get !== undefined) return (self) => apply(d.get, self, []);
  }
  return (self) => self[name];
}

const requestHeaders = getter(Request, "headers");
const requestMethod = getter(Request, "method");
const requestUrl = getter(Request, "url");
const requestBody = getter(Request, "body");
const responseHeaders = getter(Response, "headers");

// tagged makes the request that a fetch with these arguments means, with the invocation's tag and, where given, one more
// header of ours.
export function tagged(input, init, name, value) {
  const request = construct(Request, init === undefined ? [input] : [input, init]);
  const headers = requestHeaders(request);
  apply(set, headers, ["atoll-invocation", current()?.tag ?? ""]);
  if (name !== undefined) apply(set, headers, [name, value]);
  return request;
}

// unchanged makes a short request of the one that the running invocation was given, or undefined where what is to be sent may
// be another. The headers of that one cannot be changed and the node has them still: only that they are meant goes along,
// with the value of a header of ours. To send a header costs several times what all of this does.
export function unchanged(input, init, name, value) {
  const mine = current();
  if (init !== undefined || mine?.request === undefined || mine.request !== input) return undefined;
  const method = requestMethod(input);
  if (method !== "GET" && method !== "HEAD" || requestBody(input) !== null) return undefined;
  if (apply(get, requestHeaders(input), ["upgrade"]) !== null) return undefined;
  const url = requestUrl(input);
  const headers = { __proto__: null, "atoll-invocation": mine.tag, [name]: value };
  const request = construct(Request, [url, { __proto__: null, method, redirect: "manual", headers }]);
  return requestUrl(request) === url ? request : undefined; // else it would be called by another URL
}

// errorOf returns the exception that a response stands for, packed, or null.
export const errorOf = (response) => apply(get, responseHeaders(response), ["atoll-error"]);

// textOf returns a response's body.
const { text } = Response.prototype;
export const textOf = (response) => apply(text, response, []);
