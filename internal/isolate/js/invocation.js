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
    current = given.tag;
    carry = given.carry;
    return (text) => { lanes = parse(text); };
  },
});

// carried is what may be sent to another Worker by RPC, so that what is called back from there runs in this invocation.
export const carried = (value) => carry(value);

// laneOf tells which of its connections the binding of that index is to use for RPC.
export const laneOf = (index) => hasOwn(lanes, index) ? lanes[index] : 0;

// With compatibility dates before 2022-01-31 the property is each object's own, and out of reach.
function headersOf(type) {
  for (let p = type.prototype; p !== null; p = getPrototypeOf(p)) {
    const d = getOwnPropertyDescriptor(p, "headers");
    if (d?.get !== undefined) return (self) => apply(d.get, self, []);
  }
  return (self) => self.headers;
}

const requestHeaders = headersOf(Request);
const responseHeaders = headersOf(Response);

// tagged makes the request that a fetch with these arguments means, with the invocation's tag and, where given, one more
// header of ours.
export function tagged(input, init, name, value) {
  const request = construct(Request, init === undefined ? [input] : [input, init]);
  const headers = requestHeaders(request);
  apply(set, headers, ["atoll-invocation", current() ?? ""]);
  if (name !== undefined) apply(set, headers, [name, value]);
  return request;
}

// errorOf returns the exception that a response stands for, packed, or null.
export const errorOf = (response) => apply(get, responseHeaders(response), ["atoll-error"]);
