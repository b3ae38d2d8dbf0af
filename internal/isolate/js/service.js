// A service binding whose fetch() carries the caller's invocation and throws what the called Worker threw.
// https://developers.cloudflare.com/workers/runtime-apis/bindings/service-bindings/http/
import { tag } from "atoll:invocation";
import { thrown } from "atoll:errors";

const { apply, construct, get } = Reflect;
const { Request, Headers } = globalThis;

export default function ({ fetcher }) {
  const nativeFetch = fetcher.fetch;
  const { set, get: getHeader } = Headers.prototype;

  async function fetch(input, init = undefined) {
    const request = construct(Request, init === undefined ? [input] : [input, init]);
    apply(set, request.headers, ["atoll-invocation", tag() ?? ""]);
    const response = await apply(nativeFetch, fetcher, [request]);
    const error = apply(getHeader, response.headers, ["atoll-error"]);
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
