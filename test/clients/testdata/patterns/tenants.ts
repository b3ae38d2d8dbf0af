// A customer's record in KV has its plan; who has none is not served.
export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const [name] = new URL(request.url).hostname.split(".");
    const customer = await env.CUSTOMERS_KV.get(name, { type: "json" });
    if (!customer) return new Response("not a customer", { status: 404 });
    const limits = customer.plan === "pro" ? { cpuMs: 30, subRequests: 20 } : { cpuMs: 10, subRequests: 5 };
    return env.DISPATCHER.get(name, {}, { limits }).fetch(request);
  },
};
