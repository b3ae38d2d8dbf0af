// Routes by a table in KV: the key is a hostname, the value the name of the user Worker that answers for it.
// Bindings: DISPATCHER (dispatch_namespace), ROUTING_KV (kv_namespace).
export default {
  async fetch(request, env) {
    try {
      const url = new URL(request.url);
      const name = await env.ROUTING_KV.get(url.hostname);

      if (!name) {
        return new Response("Route not configured", { status: 404 });
      }

      const userWorker = env.DISPATCHER.get(name);
      return await userWorker.fetch(request);
    } catch (e) {
      if (e.message.startsWith("Worker not found")) {
        return new Response("Worker not found", { status: 404 });
      }
      return new Response(e.message, { status: 500 });
    }
  },
};
