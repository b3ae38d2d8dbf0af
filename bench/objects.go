package main

import "context"

// objectScript has a Durable Object that counts. A request is answered when the count is in the object's storage: the engine
// holds back what an object says until what it has written is confirmed, under miniflare too.
const objectScript = `import { DurableObject } from "cloudflare:workers";
export class Counter extends DurableObject {
  async count() {
    const n = (await this.ctx.storage.get("n") ?? 0) + 1;
    await this.ctx.storage.put("n", n);
    return n;
  }
  async get() {
    return await this.ctx.storage.get("n");
  }
}
export default {
  async fetch(request, env) {
    const counter = env.COUNTER.getByName("bench");
    const n = new URL(request.url).pathname === "/count" ? await counter.count() : await counter.get();
    return new Response(n > 0 ? "counted" : "lost count");
  },
};`

var (
	objectOptions    = map[string]any{"durableObjects": map[string]any{"COUNTER": map[string]any{"className": "Counter", "useSQLite": true}}}
	objectMigrations = map[string]any{"new_tag": "v1", "new_sqlite_classes": []string{"Counter"}}
)

func bindObject(context.Context, *node) ([]map[string]any, error) {
	return []map[string]any{{"type": "durable_object_namespace", "name": "COUNTER", "class_name": "Counter"}}, nil
}
