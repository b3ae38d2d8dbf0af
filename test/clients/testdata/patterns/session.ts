// The session's header names the Worker that runs its generated code, on a short leash.
export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const session = request.headers.get("X-Session-ID");
    return await env.DISPATCHER.get(session, {}, { limits: { cpuMs: 50, subRequests: 3 } }).fetch(request);
  },
};
