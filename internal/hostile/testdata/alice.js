// The innocent tenant: a page, a cache, a key and a secret.
export default {
  async fetch(request, env) {
    if (new URL(request.url).pathname === "/prepare") {
      await env.KV.put("alice-key", "alice-value");
      const cache = await caches.open("shared");
      await cache.put("http://cache.test/alice", new Response("alice-cached", { headers: { "cache-control": "max-age=3600" } }));
    }
    return new Response(`hello from alice: ${await env.KV.get("alice-key")} ${env.TOKEN.length}`);
  },
};
