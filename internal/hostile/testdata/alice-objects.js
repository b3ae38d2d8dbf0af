// An innocent tenant's object, which keeps a value.
import { DurableObject } from "cloudflare:workers";

export class Thing extends DurableObject {
  async write() {
    await this.ctx.storage.put("value", "alice keeps this");
    return await this.read();
  }
  async read() {
    return await this.ctx.storage.get("value");
  }
}

export default {
  async fetch(request, env) {
    const thing = env.THING.getByName("thing");
    switch (new URL(request.url).pathname) {
      case "/id": return new Response(env.THING.idFromName("thing").toString());
      case "/write": return new Response(await thing.write());
      case "/read": return new Response(await thing.read());
    }
    return new Response("none", { status: 404 });
  },
};
