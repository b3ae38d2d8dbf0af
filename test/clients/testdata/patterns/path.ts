// The first segment of the path names the Worker, which sees the whole path.
export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const [customer] = new URL(request.url).pathname.split("/").filter((part) => part !== "");
    if (!customer) return new Response("name a customer in the path", { status: 400 });
    try {
      return await env.DISPATCHER.get(customer).fetch(request);
    } catch (e) {
      if (e.message.startsWith("Worker not found")) return new Response("no such customer", { status: 404 });
      return new Response(e.message, { status: 500 });
    }
  },
};
