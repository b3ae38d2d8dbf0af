// /<customer>/<function> is the Worker <customer>-<function>.
export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const [customer, name] = new URL(request.url).pathname.split("/").filter(Boolean);
    return env.DISPATCHER.get(`${customer}-${name}`).fetch(request);
  },
};
