// Exceptions that cross a process border in a header: packed by the node, thrown here.
const { Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError, TextDecoder, Uint8Array } = globalThis;
const { apply } = Reflect;
const { defineProperty } = Object;
const { parse } = JSON;
const { atob } = globalThis;
const { charCodeAt } = String.prototype;
const { decode } = TextDecoder.prototype;
const utf8 = new TextDecoder();

const types = { __proto__: null, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError };

// unpack reads the JSON value of a header.
export function unpack(value) {
  const s = atob(value);
  const bytes = new Uint8Array(s.length);
  for (let i = 0; i < s.length; i++) bytes[i] = apply(charCodeAt, s, [i]);
  return parse(apply(decode, utf8, [bytes]));
}

// thrown makes the exception of a header.
export function thrown(value) {
  const { name, message } = unpack(value);
  const type = types[name];
  const e = type ? new type(message) : new Error(message);
  if (!type && name && name !== "Error") defineProperty(e, "name", { value: name, configurable: true, writable: true });
  return e;
}
