// Tells bindings which invocation the running code belongs to. Their modules are internal ones, which a Worker's modules
// cannot import nor they a Worker's, so the prelude hands its function over through the global object, once, before any of
// the user's code runs.
let current = () => undefined;

export const tag = () => current();

Object.defineProperty(globalThis, Symbol.for("atoll.invocation"), {
  configurable: true,
  value: (tag) => { current = tag; },
});
