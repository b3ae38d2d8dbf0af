// A Worker that others call, by fetch() and by RPC. It has no route: nothing but service bindings reaches it.
import { WorkerEntrypoint, RpcTarget } from "cloudflare:workers";

// An invoice lives for as long as the caller holds it. What is private here cannot be called.
class Invoice extends RpcTarget {
  #customer;
  #lines = [];

  constructor(customer) {
    super();
    this.#customer = customer;
  }

  add(what, price) {
    if (!(price > 0)) throw new RangeError(`a price of ${price} for ${what}`);
    this.#lines.push({ what, price });
    return this.#lines.length;
  }

  get total() {
    return this.#lines.reduce((sum, line) => sum + line.price, 0);
  }

  // A function of the caller's is called where the caller is.
  async print(write) {
    for (const { what, price } of this.#lines) await write(`${what}: ${price}`);
    await write(`${this.#customer} pays ${this.total}`);
  }
}

// Whose bill it is, is not the caller's to say: it is in the props of its binding.
export class Billing extends WorkerEntrypoint {
  newInvoice() {
    return new Invoice(this.ctx.props.customer);
  }
}

export default {
  fetch() {
    return new Response("billing is up\n");
  },
};
