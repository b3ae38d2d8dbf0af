// What a customer may use depends on the plan that KV has for it.
type Plan = { cpuMs: number; subRequests: number };

const plans: Record<string, Plan> = {
  enterprise: { cpuMs: 50, subRequests: 50 },
  free: { cpuMs: 10, subRequests: 5 },
};

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const [customer] = new URL(request.url).hostname.split(".");
    try {
      const limits = plans[await env.CUSTOMERS_KV.get(customer)] ?? plans.free;
      return await env.DISPATCHER.get(customer, {}, { limits }).fetch(request);
    } catch (e) {
      if (e.message.includes("CPU time limit")) return new Response("over the plan's limit", { status: 429 });
      if (e.message.startsWith("Worker not found")) return new Response("no such customer", { status: 404 });
      return new Response(e.message, { status: 500 });
    }
  },
};
