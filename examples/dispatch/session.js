// Routes by the X-Session-ID header: each session of a code-running platform has a user Worker of its own.
// Binding: DISPATCHER (dispatch_namespace).
export default {
  async fetch(request, env) {
    const sessionId = request.headers.get("X-Session-ID");

    const userWorker = env.DISPATCHER.get(sessionId, {}, { limits: { cpuMs: 5, subRequests: 3 } });
    return await userWorker.fetch(request);
  },
};
