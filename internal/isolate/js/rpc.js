// The entrypoint that RPC sessions of other Workers' service bindings come in by. Each call says which session it begins; the
// node, asked about that, says which of the Worker's entrypoints it is for, with which props, and whose invocation it is.
// https://developers.cloudflare.com/workers/runtime-apis/bindings/service-bindings/rpc/
import { WorkerEntrypoint, RpcTarget, RpcStub } from "cloudflare:workers";
import { apply, run, current, carry, claim, hasInstance, getPrototypeOf } from "@PRELUDE@";

const { get, construct } = Reflect;
const { hasOwn, prototype: ordinary } = Object;
const { TypeError } = globalThis;

// As the engine has them for the methods of an entrypoint.
const reserved = { __proto__: null, fetch: true, connect: true, alarm: true, webSocketMessage: true, webSocketClose: true, webSocketError: true, dup: true, constructor: true };

const missing = (name) => new TypeError(`The RPC receiver does not implement the method "${name}".`);

// find follows a path from an entrypoint, by the engine's rules: of instances of classes what their classes define, of plain
// objects what is their own. own tells which the entrypoint is.
function find(entrypoint, path, own) {
  let self = entrypoint, value = entrypoint, stub = false;
  for (let i = 0; i < path.length; i++) {
    const name = `${path[i]}`;
    if (i > 0) {
      if (typeof value !== "object" && typeof value !== "function" || value === null) throw missing(path[i - 1]);
      if (hasInstance(RpcStub, value)) stub = true;
      else if (typeof value === "function" || getPrototypeOf(value) === ordinary) own = true;
      else if (hasInstance(RpcTarget, value)) own = false;
      else throw missing(path[i - 1]);
    }
    if (i === 0 ? reserved[name] : name === "dup" || name === "constructor") {
      throw new TypeError(`'${name}' is a reserved method and cannot be called over RPC.`);
    }
    if (!stub && hasOwn(value, name) !== own) throw missing(name);
    self = value;
    value = get(self, name, self);
    if (!stub && !own && value === ordinary[name]) throw missing(name);
  }
  return { __proto__: null, self, value };
}

// entrypoint makes the class for the user's module.
export function entrypoint(user, setProps, watchWaits) {
  async function begin(self, nonce, path, f) {
    const { tag, entrypoint, props, hold } = await claim(`${nonce}`);
    const value = user[entrypoint || "default"];
    if (value === undefined || value === null) throw new TypeError(`the Worker has no entrypoint "${entrypoint || "default"}"`);
    const { env, ctx } = self;
    setProps(ctx, props);
    watchWaits(ctx);
    return run(tag, async () => {
      const mine = current();
      mine.hold = hold;
      const own = typeof value !== "function";
      if (!own && !hasInstance(WorkerEntrypoint, value.prototype)) throw new TypeError(`the Worker's entrypoint "${entrypoint || "default"}" does not extend WorkerEntrypoint: it cannot be called over RPC`);
      const target = own ? value : construct(value, [ctx, env]);
      return carry(await f(find(target, path, own), own, env, ctx), mine);
    });
  }

  // An object's functions are given env and ctx after the client's one argument, so they must not take them for more of its.
  function invoke({ self, value }, args, own, path, env, ctx) {
    if (typeof value !== "function") throw new TypeError(`"${path.join(".")}" is not a function.`);
    if (!own) return apply(value, self, args);
    const name = path.join(".");
    if (value.length > 3) throw new TypeError(`"${name}" takes more than (argument, env, ctx): a function of an object cannot be called over RPC with more than one argument, a method of a class that extends WorkerEntrypoint can.`);
    if (args.length !== 1) throw new TypeError(`"${name}" is a function of an object: over RPC it takes exactly one argument. A method of a class that extends WorkerEntrypoint takes any number.`);
    return apply(value, self, [args[0], env, ctx]);
  }

  return class extends WorkerEntrypoint {
    call(nonce, path, ...args) {
      return begin(this, nonce, path, (found, own, env, ctx) => invoke(found, args, own, path, env, ctx));
    }
    read(nonce, path) {
      return begin(this, nonce, path, ({ value }) => value);
    }
  };
}
