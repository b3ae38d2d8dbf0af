export default {
  async fetch(request, env) {
    const { pathname } = new URL(request.url);
    if (pathname === "/api/asset") {
      const response = await env.ASSETS.fetch("https://assets.local/docs/");
      return new Response(`the Worker found: ${await response.text()}`, { headers: { etag: response.headers.get("etag") } });
    }
    return new Response(`the Worker at ${pathname}`);
  },
};
