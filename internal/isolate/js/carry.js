
// What crosses to another Worker by RPC and is called from there later, functions and RpcTargets, runs in the invocation that
// has let it out: the engine calls it in none. Values are looked into as deep as such things are usually found; what
// lies deeper, or in a Map, is called without an invocation.
const { get: getProperty } = Reflect;
const { assign, setPrototypeOf } = ObjectType;
const { prototype: ordinary } = ObjectType;
const plainFunctions = [Function.prototype, getPrototypeOf(async () => {})];
const ownProperty = ObjectType.hasOwn;
const PromiseType = Promise;

// within calls f in an invocation, and has what it returns carry on.
function within(mine, f, self, args) {
  const result = apply(enter, invocation, [mine, () => apply(f, self, args)]);
  if (!hasInstance(PromiseType, result)) return carry(result, mine);
  return apply(then, result, [(value) => carry(value, mine)]);
}

// Carried stands for an RpcTarget. Its members are on its prototype, as the engine wants to find them, and are those of the
// target's class: what belongs to the target itself alone is private to it.
class Carried extends RpcTarget {
  #target;
  #mine;
  constructor(target, mine) {
    super();
    this.#target = target;
    this.#mine = mine;
  }
  static member(carried, name) {
    const target = carried.#target, mine = carried.#mine;
    if (ownProperty(target, name)) return undefined;
    const value = apply(enter, invocation, [mine, () => getProperty(target, name, target)]);
    if (value === ordinary[name]) return value;
    return typeof value === "function" ? (...args) => within(mine, value, target, args) : carry(value, mine);
  }
}
setPrototypeOf(Carried.prototype, new Proxy(RpcTarget.prototype, {
  __proto__: null,
  get(base, name, receiver) {
    if (typeof name === "symbol" && name !== Symbol.dispose || name === "constructor") return getProperty(base, name, receiver);
    return Carried.member(receiver, name);
  },
}));

// carry returns the value as it may leave: a copy where something in it has to carry its invocation.
export function carry(value, mine, depth = 4, left = { __proto__: null, count: 500 }) {
  if (mine === undefined || left.count-- <= 0) return value;
  if (typeof value === "function") {
    const kind = getPrototypeOf(value);
    if (kind !== plainFunctions[0] && kind !== plainFunctions[1]) return value; // a stub
    return assign((...args) => within(mine, value, undefined, args), value);
  }
  if (typeof value !== "object" || value === null) return value;
  if (hasInstance(RpcTarget, value)) return hasInstance(Carried, value) ? value : new Carried(value, mine);
  if (depth === 0) return value;
  const list = isArray(value);
  if (!list && getPrototypeOf(value) !== ordinary) return value;
  const names = keys(value);
  let copy = value;
  for (let i = 0; i < names.length && left.count > 0; i++) {
    const was = value[names[i]];
    const is = carry(was, mine, depth - 1, left);
    if (is === was) continue;
    if (copy === value) copy = assign(list ? [] : {}, value);
    copy[names[i]] = is;
  }
  return copy;
}

// The modules that make bindings are handed what they need, and hand over how they are told which connections to use.
const handOver = Symbol.for("atoll.invocation");
export const setLanes = globalThis[handOver]?.({ __proto__: null, current, carry: (value) => carry(value, current()) }) ?? (() => {});
delete globalThis[handOver];
