// Reads what V8's own serializer wrote, which is how a message of content type v8 is sent: a Worker has no way to ask V8 for
// that. The format is that of v8/src/objects/value-serializer.cc, version 15; what a structured clone cannot have is refused.
// Like everything that runs beside a user's code, it uses what it has taken before that code could change it.
const { apply, construct, defineProperty, ownKeys: keysOf } = Reflect;
const {
  Array, ArrayBuffer, BigInt, Boolean, DataView, Date, Error, EvalError, Map, Number, Object, RangeError, ReferenceError, RegExp, Set,
  String, SyntaxError, TextDecoder, TypeError, Uint8Array, URIError, DOMException,
} = globalThis;
const uncurry = (f) => (self, ...args) => apply(f, self, args);
const { fromCharCode } = String;
const decodeText = uncurry(TextDecoder.prototype.decode);
const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
const utf16 = new TextDecoder("utf-16le", { ignoreBOM: true });
const subarray = uncurry(Uint8Array.prototype.subarray);
const sliceBytes = uncurry(Uint8Array.prototype.slice);
const mapSet = uncurry(Map.prototype.set);
const setAdd = uncurry(Set.prototype.add);
const view = { __proto__: null, f64: uncurry(DataView.prototype.getFloat64) };
const typed = Object.getPrototypeOf(Uint8Array.prototype);
const get = (name) => uncurry(Object.getOwnPropertyDescriptor(typed, name).get);
const toHex = uncurry(Number.prototype.toString);
const { Math } = globalThis;
const byteLength = get("byteLength");
const byteOffset = get("byteOffset");
const bufferOf = get("buffer");

const views = { __proto__: null };
for (const [tag, name] of Object.entries({
  b: "Int8Array", B: "Uint8Array", C: "Uint8ClampedArray", w: "Int16Array", W: "Uint16Array", d: "Int32Array", D: "Uint32Array",
  h: "Float16Array", f: "Float32Array", F: "Float64Array", q: "BigInt64Array", Q: "BigUint64Array", "?": "DataView",
})) {
  const type = globalThis[name];
  if (type !== undefined) views[tag] = { __proto__: null, type, size: type.BYTES_PER_ELEMENT ?? 1 };
}

const errorTypes = { __proto__: null, E: EvalError, R: RangeError, F: ReferenceError, S: SyntaxError, T: TypeError, U: URIError };
const regexpFlags = ["g", "i", "m", "y", "u", "s", "", "d", "v"]; // by bit; the seventh is V8's "linear"

const refuse = (what) => new DOMException(`The message's body cannot be read: ${what}`, "DataCloneError");

class Reader {
  #bytes;
  #data;
  #at = 0;
  #end;
  #version = 0;
  #objects = [];
  #count = 0;

  constructor(bytes) {
    this.#bytes = bytes;
    this.#end = byteLength(bytes);
    this.#data = new DataView(bufferOf(bytes), byteOffset(bytes), this.#end);
  }

  message() {
    if (this.#byte() !== 0xff) throw refuse("it has no header");
    this.#version = this.#varint();
    if (this.#version > 15) throw refuse(`version ${this.#version} is not known`);
    return this.#value();
  }

  #byte() {
    if (this.#at >= this.#end) throw refuse("it ends too early");
    return this.#bytes[this.#at++];
  }

  #varint() {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.#byte();
      value += (byte & 127) * scale;
      if (byte < 128) return value;
      if (scale > 2 ** 42) throw refuse("a number is too long");
    }
  }

  #double() {
    this.#need(8);
    const value = view.f64(this.#data, this.#at, true);
    this.#at += 8;
    return value;
  }

  #need(n) {
    if (n > this.#end - this.#at) throw refuse("it ends too early");
  }

  #take(n) {
    this.#need(n);
    this.#at += n;
    return subarray(this.#bytes, this.#at - n, this.#at);
  }

  #tag() {
    let tag;
    do tag = this.#byte(); while (tag === 0); // padding
    return fromCharCode(tag);
  }

  #peek() {
    while (this.#at < this.#end && this.#bytes[this.#at] === 0) this.#at++;
    return this.#at < this.#end ? fromCharCode(this.#bytes[this.#at]) : "";
  }

  #remember(object) {
    defineProperty(this.#objects, this.#count++, { __proto__: null, value: object, writable: true, configurable: true, enumerable: true });
    return object;
  }

  #value() {
    const value = this.#whole();
    if (value instanceof ArrayBuffer && this.#peek() === "V") return this.#view(value);
    return value;
  }

  #whole() {
    const tag = this.#tag();
    switch (tag) {
      case "_": return undefined;
      case "0": return null;
      case "T": return true;
      case "F": return false;
      case "I": { const n = this.#varint() >>> 0; return (n >>> 1) ^ -(n & 1); }
      case "U": return this.#varint();
      case "N": return this.#double();
      case "Z": return this.#bigint();
      case '"': return this.#latin1(this.#varint());
      case "c": return decodeText(utf16, this.#take(this.#varint()));
      case "S": return decodeText(utf8, this.#take(this.#varint()));
      case "^": return this.#reference();
      case "o": return this.#properties(this.#remember({}), "{", 1);
      case "A": return this.#dense();
      case "a": { const list = this.#remember(new Array(this.#varint())); return this.#properties(list, "@", 2); }
      case "D": return this.#remember(new Date(this.#double()));
      case "y": return this.#remember(new Boolean(true));
      case "x": return this.#remember(new Boolean(false));
      case "n": return this.#remember(new Number(this.#double()));
      case "z": return this.#remember(Object(this.#bigint()));
      case "s": { const id = this.#reserve(); return this.#fill(id, new String(this.#value())); }
      case "R": return this.#regexp();
      case ";": return this.#map();
      case "'": return this.#set();
      case "B": return this.#buffer();
      case "~": return this.#resizable();
      case "r": return this.#error();
    }
    throw refuse(`it has what no message can have, ${tag === "\\" ? "an object of the runtime" : `tag "${tag}"`}`);
  }

  // reserve keeps an object's place among those that can be referred to, until it can be made.
  #reserve() {
    this.#remember(undefined);
    return this.#count - 1;
  }

  #fill(id, object) {
    this.#objects[id] = object;
    return object;
  }

  #reference() {
    const id = this.#varint();
    if (id >= this.#count) throw refuse("it refers to what it does not have");
    return this.#objects[id];
  }

  #latin1(n) {
    const bytes = this.#take(n);
    let s = "";
    for (let i = 0; i < n; i += 4096) s += apply(fromCharCode, undefined, subarray(bytes, i, i + 4096));
    return s;
  }

  #bigint() {
    const bits = this.#varint();
    const bytes = this.#take(Math.floor(bits / 2));
    let digits = "0x0";
    for (let i = byteLength(bytes) - 1; i >= 0; i--) digits += (bytes[i] < 16 ? "0" : "") + toHex(bytes[i], 16);
    return bits % 2 === 1 ? -BigInt(digits) : BigInt(digits);
  }

  // properties reads names and values up to the end tag, and the counts after it, which nothing needs.
  #properties(object, end, counts) {
    while (this.#peek() !== end) {
      const name = this.#value();
      if (typeof name !== "string" && typeof name !== "number") throw refuse("a property has no name");
      define(object, name, this.#value());
    }
    this.#tag();
    for (let i = 0; i < counts; i++) this.#varint();
    return object;
  }

  #dense() {
    const n = this.#varint();
    this.#need(n); // each element takes a byte at least
    const list = this.#remember(new Array(n));
    for (let i = 0; i < n; i++) {
      if (this.#peek() === "-") this.#tag(); // a hole
      else define(list, i, this.#value());
    }
    return this.#properties(list, "$", 2);
  }

  #map() {
    const map = this.#remember(new Map());
    while (this.#peek() !== ":") mapSet(map, this.#value(), this.#value());
    this.#tag();
    this.#varint();
    return map;
  }

  #set() {
    const set = this.#remember(new Set());
    while (this.#peek() !== ",") setAdd(set, this.#value());
    this.#tag();
    this.#varint();
    return set;
  }

  #regexp() {
    const id = this.#reserve();
    const source = this.#value();
    const bits = this.#varint();
    let flags = "";
    for (let i = 0; i < 9; i++) if (bits & (1 << i)) flags += regexpFlags[i];
    return this.#fill(id, new RegExp(source, flags));
  }

  #buffer() {
    return this.#remember(bufferOf(sliceBytes(this.#take(this.#varint()))));
  }

  #resizable() {
    const n = this.#varint();
    const buffer = this.#remember(new ArrayBuffer(n, { __proto__: null, maxByteLength: this.#varint() }));
    const bytes = this.#take(n);
    const into = new Uint8Array(buffer);
    for (let i = 0; i < n; i++) into[i] = bytes[i];
    return buffer;
  }

  #view(buffer) {
    this.#tag();
    const kind = views[this.#tag()];
    const offset = this.#varint();
    const size = this.#varint();
    const flags = this.#version >= 14 ? this.#varint() : 0;
    if (kind === undefined) throw refuse("it has a view of an unknown type");
    const tracking = (flags & 1) === 1; // its length follows the buffer's
    return this.#remember(construct(kind.type, tracking ? [buffer, offset] : [buffer, offset, size / kind.size]));
  }

  #error() {
    const id = this.#reserve();
    let type = Error;
    const own = { __proto__: null };
    for (let tag = this.#tag(); tag !== "."; tag = this.#tag()) {
      if (tag === "m") own.message = this.#value();
      else if (tag === "s") own.stack = this.#value();
      else if (tag === "c") own.cause = this.#value();
      else if (errorTypes[tag] !== undefined) type = errorTypes[tag];
      else throw refuse("it has an error of an unknown form");
    }
    const error = this.#fill(id, new type());
    const names = keysOf(own);
    for (let i = 0; i < names.length; i++) {
      const name = names[i];
      defineProperty(error, name, { __proto__: null, value: own[name], configurable: true, writable: true, enumerable: false });
    }
    return error;
  }
}

function define(object, name, value) {
  defineProperty(object, name, { __proto__: null, value, configurable: true, enumerable: true, writable: true });
}

// deserialize returns the value that V8 has serialized to bytes.
export const deserialize = (bytes) => new Reader(bytes).message();
