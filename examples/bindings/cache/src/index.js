// A page that is dear to make, kept by the Cache API: made once a minute at the most, and again after DELETE.
//
// The response's own Cache-Control says for how long. A cache by caches.open() works for every Worker; caches.default is
// for those of the account and of trusted namespaces.
export default {
  async fetch(request, env, ctx) {
    const cache = await caches.open("reports");
    // The key is a URL. This one leaves out what does not change the page, such as ?utm_source=.
    const key = new URL(request.url);
    key.search = "";
    if (request.method === "DELETE") {
      return new Response(await cache.delete(key) ? "forgotten\n" : "was not there\n");
    }
    // The request's headers come along, so that If-None-Match and Range are answered from the cache.
    const cached = await cache.match(new Request(key, { headers: request.headers }));
    if (cached !== undefined) return cached;
    const page = await make(key.pathname);
    ctx.waitUntil(cache.put(key, page.clone()));
    return page;
  },
};

async function make(path) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(path + crypto.randomUUID())));
  const etag = Array.from(digest.subarray(0, 8), (b) => b.toString(16).padStart(2, "0")).join("");
  return new Response(`report ${path}, edition ${etag}\n`, {
    headers: { "content-type": "text/plain; charset=utf-8", "cache-control": "public, max-age=60", etag: `"${etag}"` },
  });
}
