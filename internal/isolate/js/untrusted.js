
// A Worker of an untrusted namespace has caches of its own by name, and no default one.
ObjectType.defineProperty(caches, "default", {
  configurable: true,
  enumerable: true,
  get() { throw new Error("caches.default is not available to Workers of an untrusted dispatch namespace; use caches.open(name)"); },
});
