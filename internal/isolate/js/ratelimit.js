// The rate limiting binding: await env.X.limit({ key }) says whether the key has something left of its limit. The node counts.
// https://developers.cloudflare.com/workers/runtime-apis/bindings/rate-limit/
import { tagged, errorOf } from "atoll:invocation";
import { thrown } from "atoll:errors";

const { keys } = Object;
const { stringify } = JSON;

class RateLimit {
  #fetcher;

  constructor(fetcher) {
    this.#fetcher = fetcher;
  }

  async limit(options) {
    if (typeof options !== "object" || options === null) throw new Error("invalid rate limit options");
    const unknown = keys(options).filter((name) => name !== "key");
    if (unknown.length > 0) throw new Error(`bad rate limit options: [${unknown.join(",")}]`);
    const { key = "" } = options;
    if (typeof key !== "string") throw new Error(`invalid key: ${key}`);
    const response = await this.#fetcher.fetch(tagged("https://ratelimit/", { method: "POST", body: stringify(key) }));
    const error = errorOf(response);
    if (error !== null) throw thrown(error);
    const { success } = await response.json();
    return { success };
  }
}

export default (env) => new RateLimit(env.fetcher);
