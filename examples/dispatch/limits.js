// Routes by subdomain and passes limits by the customer's plan, which KV holds under the customer's name.
// Bindings: DISPATCHER (dispatch_namespace), CUSTOMERS_KV (kv_namespace).
export default {
  async fetch(request, env) {
    try {
      const url = new URL(request.url);
      const name = url.hostname.split(".")[0];

      const plan = await env.CUSTOMERS_KV.get(name);
      const plans = {
        enterprise: { cpuMs: 50, subRequests: 50 },
        pro: { cpuMs: 20, subRequests: 20 },
        free: { cpuMs: 10, subRequests: 5 },
      };
      const limits = plans[plan] || plans.free;

      const userWorker = env.DISPATCHER.get(name, {}, { limits });
      return await userWorker.fetch(request);
    } catch (e) {
      if (e.message.includes("CPU time limit")) {
        return new Response("CPU limit exceeded", { status: 429 });
      }
      if (e.message.startsWith("Worker not found")) {
        return new Response("Worker not found", { status: 404 });
      }
      return new Response(e.message, { status: 500 });
    }
  },
};
