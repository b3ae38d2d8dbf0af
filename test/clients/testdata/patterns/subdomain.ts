// <customer>.<platform> goes to the Worker named like the customer.
export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const [customer] = new URL(request.url).hostname.split(".");
    try {
      const worker = env.DISPATCHER.get(customer);
      return await worker.fetch(request);
    } catch (e) {
      if (e.message.startsWith("Worker not found")) return new Response("no such customer", { status: 404 });
      return new Response(e.message, { status: 500 });
    }
  },
};
