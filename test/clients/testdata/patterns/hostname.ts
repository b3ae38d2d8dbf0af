// A record in KV, as JSON, for each custom hostname.
export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const { hostname } = new URL(request.url);
    const record = await env.ROUTING_KV.get(`hostname:${hostname}`, { type: "json" });
    if (!record?.workerName) return new Response("unknown hostname", { status: 404 });
    return env.DISPATCHER.get(record.workerName).fetch(request);
  },
};
