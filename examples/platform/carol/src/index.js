// A page with a counter in KV. The page is a text module of its own.
import page from "./page.html";

export default {
  async fetch(request, env) {
    if (new URL(request.url).pathname !== "/") {
      return new Response("Not found\n", { status: 404 });
    }
    // Two visitors at once may read the same number: KV has no transactions, and a guest book needs none.
    const visits = Number(await env.VISITS.get("count")) + 1;
    await env.VISITS.put("count", String(visits));
    return new Response(page.replace("{{visits}}", String(visits)), {
      headers: { "content-type": "text/html; charset=utf-8", "cache-control": "no-store" },
    });
  },
};
