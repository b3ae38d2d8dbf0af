// Routes by a JSON record in KV under "hostname:<host>", as a platform with custom hostnames keeps them.
// Bindings: DISPATCHER (dispatch_namespace), ROUTING_KV (kv_namespace).
export default {
  async fetch(request, env) {
    const host = new URL(request.url).hostname;
    const record = await env.ROUTING_KV.get(`hostname:${host}`, { type: "json" });

    if (!record?.workerName) {
      return new Response("Hostname not configured", { status: 404 });
    }

    const userWorker = env.DISPATCHER.get(record.workerName);
    return await userWorker.fetch(request);
  },
};
