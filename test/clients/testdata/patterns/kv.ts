// KV says which Worker serves a hostname.
export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const { hostname } = new URL(request.url);
    try {
      const name: string | null = await env.ROUTING_KV.get(hostname);
      if (name === null) return new Response("no route for this hostname", { status: 404 });
      return await env.DISPATCHER.get(name).fetch(request);
    } catch (e) {
      if (e.message.startsWith("Worker not found")) return new Response("no such customer", { status: 404 });
      return new Response(e.message, { status: 500 });
    }
  },
};
