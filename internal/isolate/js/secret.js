// A secret of a secrets store: get() asks the node for its value as it is now.
// https://developers.cloudflare.com/secrets-store/integrations/workers/
import { tagged, errorOf, textOf } from "atoll:invocation";
import { thrown } from "atoll:errors";

const { apply } = Reflect;

class SecretsStoreSecret {
  #fetcher;
  #fetch;

  constructor(fetcher) {
    this.#fetcher = fetcher;
    this.#fetch = fetcher.fetch;
  }

  async get() {
    const response = await apply(this.#fetch, this.#fetcher, [tagged("http://atoll/")]);
    const error = errorOf(response);
    if (error !== null) throw thrown(error);
    return textOf(response);
  }
}

export default ({ fetcher }) => new SecretsStoreSecret(fetcher);
