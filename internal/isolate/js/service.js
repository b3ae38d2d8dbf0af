// A service binding: its fetch() and RPC carry the caller's invocation and throw what the called Worker threw.
// https://developers.cloudflare.com/workers/runtime-apis/bindings/service-bindings/
//
// fetch() goes to the node as a request. RPC goes over a connection that the node joins with one of the called Worker's
// processes; since nothing of ours can be attached to a call there, each call makes up a number, and tells the node by a request of
// its own whose invocation the session of that number belongs to. There are several such connections to choose from, lanes, so
// that new sessions can reach another process while sessions with the one before go on. See docs/services.md.
import { tagged, errorOf, carried, laneOf } from "atoll:invocation";
import { thrown } from "atoll:errors";

const { apply, construct, get } = Reflect;
const { getOwnPropertyNames, getPrototypeOf } = Object;
const { includes } = Array.prototype;
const { Promise, Proxy, Uint8Array, crypto } = globalThis;
const { then, catch: caught, finally: settled } = Promise.prototype;
const { getRandomValues } = crypto;
const digits = "0123456789abcdef";

function random() {
  const bytes = apply(getRandomValues, crypto, [new Uint8Array(16)]);
  let s = "";
  for (let i = 0; i < 16; i++) s += digits[bytes[i] >> 4] + digits[bytes[i] & 15];
  return s;
}

export default function ({ fetcher, index, lane0, lane1, lane2, lane3, lane4, lane5 }) {
  const lanes = [lane0, lane1, lane2, lane3, lane4, lane5];
  const nativeFetch = fetcher.fetch;
  const native = getOwnPropertyNames(getPrototypeOf(fetcher)); // what is no RPC, by the compatibility date
  const callable = typeof lane0.call === "function"; // likewise

  async function fetch(input, init = undefined) {
    const response = await apply(nativeFetch, fetcher, [tagged(input, init)]);
    const error = errorOf(response);
    if (error !== null) throw thrown(error);
    return response;
  }

  // ask puts a question about a session to the node, and returns the exception that it answers with.
  async function ask(question) {
    try {
      const error = errorOf(await apply(nativeFetch, fetcher, [tagged("http://atoll/", undefined, "atoll-rpc", question)]));
      return error === null ? undefined : thrown(error);
    } catch {
      return undefined; // the invocation has ended
    }
  }

  // explain throws what an exception of a call means. What the called Worker has thrown is marked by the engine, what cannot
  // be sent has a name of its own.
  async function explain(e, known, lane) {
    if (e?.remote === true || e?.name !== "Error") throw e;
    throw (await known) ?? (await ask(`why ${lane}`)) ?? e;
  }

  // explained is an RPC promise, or what is read or called of one before it has come, with errors that are explained.
  function explained(promise, known, lane) {
    let told;
    const result = () => told ??= apply(then, apply(then, Promise.resolve(), [() => promise]), [undefined, (e) => explain(e, known, lane)]);
    return new Proxy(promise, {
      __proto__: null,
      get(_, name) {
        switch (name) {
          case "then": return (ok, failed) => apply(then, result(), [ok, failed]);
          case "catch": return (failed) => apply(caught, result(), [failed]);
          case "finally": return (f) => apply(settled, result(), [f]);
        }
        const value = get(promise, name, promise);
        if (typeof value !== "function") return value;
        return typeof name === "symbol" ? (...args) => apply(value, promise, args) : explained(value, known, lane);
      },
      apply(_, self, args) {
        return explained(apply(promise, self, carried(args)), known, lane);
      },
    });
  }

  function start(method, path, args) {
    const nonce = random();
    const lane = laneOf(index);
    const given = [nonce, path];
    const own = carried(args);
    for (let i = 0; i < own.length; i++) given[i + 2] = own[i];
    const promise = apply(lanes[lane][method], lanes[lane], given);
    return explained(promise, ask(`${nonce} ${lane}`), lane);
  }

  // member is something of the called Worker's that has not been called or read yet.
  function member(path) {
    const read = () => start("read", path, []);
    return new Proxy(() => {}, {
      __proto__: null,
      get(_, name) {
        if (typeof name === "symbol") return undefined;
        if (name === "then" || name === "catch" || name === "finally") return (...args) => read()[name](...args);
        return member([...path, name]);
      },
      apply: (_, self, args) => start("call", path, args),
    });
  }

  return new Proxy(fetcher, {
    __proto__: null,
    get(target, name) {
      if (name === "fetch") return fetch;
      if (callable && typeof name === "string" && name !== "then" && !apply(includes, native, [name])) return member([name]);
      const value = get(target, name, target);
      return typeof value === "function" ? (...args) => apply(value, target, args) : value;
    },
  });
}
