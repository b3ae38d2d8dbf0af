// A shortener of links, on one KV namespace.
//
//   PUT    /news   https://example.com/2026/news   keeps a link; ?days=7 for so long only
//   GET    /news                                   goes there
//   GET    /                                       lists the links, a page at a time; ?prefix=n&cursor=...
//   DELETE /news
const day = 24 * 3600;

export default {
  async fetch(request, env) {
    const url = new URL(request.url);
    const name = decodeURIComponent(url.pathname.slice(1));
    if (name === "") return list(url, env);
    switch (request.method) {
      case "PUT": return put(name, url, request, env);
      case "DELETE":
        await env.LINKS.delete(name);
        return new Response(null, { status: 204 });
    }
    const target = await env.LINKS.get(name);
    return target === null ? new Response("no such link\n", { status: 404 }) : Response.redirect(target, 302);
  },
};

async function put(name, url, request, env) {
  const target = (await request.text()).trim();
  if (!URL.canParse(target)) return new Response("the body is no URL\n", { status: 400 });
  const days = Number(url.searchParams.get("days"));
  // Metadata comes with a list of keys: what is in it need not be read key by key.
  const metadata = { host: new URL(target).host };
  try {
    await env.LINKS.put(name, target, days > 0 ? { metadata, expirationTtl: days * day } : { metadata });
  } catch (e) { // a name of more than 512 bytes, or an account that has used up its storage
    return new Response(`${e.message}\n`, { status: 400 });
  }
  return new Response(`${url.origin}/${encodeURIComponent(name)}\n`, { status: 201 });
}

async function list(url, env) {
  const page = await env.LINKS.list({
    prefix: url.searchParams.get("prefix") ?? "", cursor: url.searchParams.get("cursor") ?? undefined, limit: 100,
  });
  return Response.json({
    links: page.keys.map(({ name, expiration, metadata }) => ({ name, host: metadata?.host, expiration })),
    cursor: page.list_complete ? undefined : page.cursor,
  });
}
