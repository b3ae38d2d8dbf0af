// A service binding whose fetch() carries the caller's invocation and throws what the called Worker threw.
// https://developers.cloudflare.com/workers/runtime-apis/bindings/service-bindings/http/
import { tagged, errorOf } from "atoll:invocation";
import { thrown } from "atoll:errors";

const { apply, construct, get } = Reflect;

export default function ({ fetcher }) {
  const nativeFetch = fetcher.fetch;

  async function fetch(input, init = undefined) {
    const response = await apply(nativeFetch, fetcher, [tagged(input, init)]);
    const error = errorOf(response);
    if (error !== null) throw thrown(error);
    return response;
  }

  return new Proxy(fetcher, {
    get(target, name) {
      if (name === "fetch") return fetch;
      const value = get(target, name, target);
      return typeof value === "function" ? (...args) => apply(value, target, args) : value;
    },
  });
}
