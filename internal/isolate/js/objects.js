// Imported before the code of a Worker with Durable Objects: stands between the engine and each class whose instances they
// are, so that what an object sends out says whose it is. What happens in objects is not begun by the node: a call from
// another part of the Worker, an alarm, a message of a WebSocket. It all belongs to one invocation of the process.
import { apply, run, tag } from "@PRELUDE@";
import { DurableObject } from "cloudflare:workers";

const objects = "@OBJECTS@";
const { getPrototypeOf, defineProperty, getOwnPropertyDescriptor, getOwnPropertyNames, hasOwn, prototype: ObjectPrototype } = Object;
const { get, set } = Reflect;

// within runs a function for the objects' invocation, unless the running code belongs to one already.
const within = (f) => (tag() === undefined ? run(objects, f) : f());

// forward makes a property of a prototype that does for an object what the one of the same name further up would do.
function forward(base, name, d) {
  if (typeof d.value === "function") {
    const method = function (...args) { return within(() => apply(get(base, name, this), this, args)); };
    return { __proto__: null, configurable: true, enumerable: d.enumerable, writable: true, value: method };
  }
  if (d.get === undefined) return undefined;
  return {
    __proto__: null, configurable: true, enumerable: d.enumerable,
    get() { return within(() => get(base, name, this)); },
    set(value) { set(base, name, value, this); },
  };
}

// hosted returns the class to be made instances of in the place of the Worker's own. Where the Worker exports no such class
// there is one that stands for it: the node asks what is exported and says so.
export function hosted(Base, name) {
  if (typeof Base !== "function") return class {};
  const Hosted = class extends Base {
    constructor(...args) { within(() => super(...args)); }
  };
  defineProperty(Hosted, "name", { __proto__: null, configurable: true, value: name });
  const last = DurableObject.prototype;
  for (let p = Base.prototype; p !== null && p !== last && p !== ObjectPrototype; p = getPrototypeOf(p)) {
    const names = getOwnPropertyNames(p);
    for (let i = 0; i < names.length; i++) {
      if (names[i] === "constructor" || hasOwn(Hosted.prototype, names[i])) continue;
      const d = forward(Base.prototype, names[i], getOwnPropertyDescriptor(p, names[i]));
      if (d !== undefined) defineProperty(Hosted.prototype, names[i], d);
    }
  }
  return Hosted;
}
