// Counters, each of them a Durable Object: one place in the world that counts, with a database of its own.
//
//   wrangler deploy                                     # or with --dispatch-namespace production
//   curl -X POST 'http://counter.<zone>/visits'         # counts; 1, 2, 3, ...
//   curl -X POST 'http://counter.<zone>/visits?reset=60'  # and starts at zero again in 60 seconds
//   curl 'http://counter.<zone>/visits'                 # the count, and the latest times
import { DurableObject } from "cloudflare:workers";

export class Counter extends DurableObject {
  constructor(ctx, env) {
    super(ctx, env);
    this.sql = ctx.storage.sql;
    this.sql.exec("CREATE TABLE IF NOT EXISTS hits (n INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL)");
  }

  // Calls of one object come one after the other, and its storage is local: there is nothing to lock, and nothing to await.
  hit() {
    return this.sql.exec("INSERT INTO hits (at) VALUES (?) RETURNING n", Date.now()).one().n;
  }

  show() {
    const { count } = this.sql.exec("SELECT count(*) AS count FROM hits").one();
    const latest = this.sql.exec("SELECT at FROM hits ORDER BY n DESC LIMIT 3").toArray();
    return { count, latest: latest.map(({ at }) => new Date(at).toISOString()) };
  }

  // An alarm rings although nobody asks for the object meanwhile, and although the node was restarted.
  async resetIn(seconds) {
    await this.ctx.storage.setAlarm(Date.now() + 1000 * seconds);
  }

  alarm() {
    this.sql.exec("DELETE FROM hits");
    this.sql.exec("DELETE FROM sqlite_sequence WHERE name = 'hits'");
  }
}

export default {
  async fetch(request, env) {
    const url = new URL(request.url);
    const counter = env.COUNTERS.getByName(url.pathname);
    if (request.method !== "POST") return Response.json(await counter.show());
    const n = await counter.hit();
    if (url.searchParams.has("reset")) await counter.resetIn(Number(url.searchParams.get("reset")));
    return new Response(`${n}\n`);
  },
};
