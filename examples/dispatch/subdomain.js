// Routes by subdomain: customer.platform.example goes to the user Worker "customer".
// Binding: DISPATCHER (dispatch_namespace).
export default {
  async fetch(request, env) {
    try {
      const url = new URL(request.url);
      const name = url.hostname.split(".")[0];

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
