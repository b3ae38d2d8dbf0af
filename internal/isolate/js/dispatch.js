// The dispatch namespace binding: env.DISPATCHER.get(name, args, options). It sends each request with its options to the
// node's dispatcher and throws what the dispatcher refuses with.
// https://developers.cloudflare.com/cloudflare-for-platforms/workers-for-platforms/configuration/dynamic-dispatch/
import { tagged, unchanged, errorOf } from "atoll:invocation";
import { thrown } from "atoll:errors";

function pack(value) {
  let s = "";
  for (const b of new TextEncoder().encode(JSON.stringify(value))) s += String.fromCharCode(b);
  return btoa(s);
}

const plain = (v) => (typeof v === "object" && v !== null ? v : undefined);

class Stub {
  #fetcher;
  #target;

  constructor(fetcher, target) {
    this.#fetcher = fetcher;
    this.#target = target;
  }

  async fetch(input, init) {
    const short = unchanged(input, init, "atoll-dispatch", `^${this.#target}`);
    let response = await this.#fetcher.fetch(short ?? tagged(input, init, "atoll-dispatch", this.#target));
    let error = errorOf(response);
    if (error === "forgotten") {
      response = await this.#fetcher.fetch(tagged(input, init, "atoll-dispatch", this.#target));
      error = errorOf(response);
    }
    if (error !== null) throw thrown(error);
    return response;
  }

  connect() {
    throw new Error("connect() is not available on a dispatched Worker");
  }
}

// A stub answers any other name with a function that says why it cannot be called, as an RPC stub would with a result.
const refusing = {
  get(stub, name) {
    const value = stub[name];
    if (typeof value === "function" && name !== "constructor") return value.bind(stub);
    if (value !== undefined || typeof name === "symbol" || name === "then" || name === "toJSON") return value;
    return () => {
      throw new Error(`RPC on a dispatched Worker is not supported: "${name}" was called, only fetch() is available`);
    };
  },
};

// A name alone, which most calls have, goes as it is where it can stand in a header.
const simple = /^[\w-]+$/;

class DispatchNamespace {
  #fetcher;

  constructor(fetcher) {
    this.#fetcher = fetcher;
  }

  get(name, args, options) {
    if (name === undefined) throw new TypeError("Failed to execute 'get' on 'DispatchNamespace': a Worker name is required");
    name = `${name}`;
    const { limits, outbound } = plain(options) ?? {};
    const bare = limits === undefined && outbound === undefined && simple.test(name);
    const target = bare ? `=${name}` : pack({ name, limits: plain(limits), outbound: plain(outbound) });
    return new Proxy(new Stub(this.#fetcher, target), refusing);
  }
}

export default (env) => new DispatchNamespace(env.fetcher);
