// Routes by the first segment of the path: platform.example/customer-1/... goes to the user Worker "customer-1".
// Binding: DISPATCHER (dispatch_namespace).
export default {
  async fetch(request, env) {
    try {
      const url = new URL(request.url);
      const segments = url.pathname.split("/").filter(Boolean);

      if (segments.length === 0) {
        return new Response("Invalid path", { status: 400 });
      }

      const userWorker = env.DISPATCHER.get(segments[0]);
      return await userWorker.fetch(request);
    } catch (e) {
      if (e.message.startsWith("Worker not found")) {
        return new Response("Worker not found", { status: 404 });
      }
      return new Response(e.message, { status: 500 });
    }
  },
};
