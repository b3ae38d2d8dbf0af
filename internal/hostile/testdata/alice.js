// The innocent tenant: a page, a cache, a key and a secret.
const headers = { "cache-control": "max-age=36000" };

export default {
  async fetch(request, env) {
    const { pathname } = new URL(request.url);
    const cache = await caches.open("shared");
    if (pathname === "/prepare") {
      await env.KV.put("alice-key", "alice-value");
      await cache.put("http://cache.test/alice", new Response("alice-cached", { headers }));
      await cache.put("http://cache.test/large", new Response("x".repeat(2e5), { headers }));
    }
    if (pathname === "/cached") {
      const [small, large] = [await cache.match("http://cache.test/alice"), await cache.match("http://cache.test/large")];
      return new Response(`${await small?.text()} ${(await large?.text())?.length}`);
    }
    return new Response(`hello from alice: ${await env.KV.get("alice-key")} ${env.TOKEN.length}`);
  },
};
