// Subdomains only; the platform's own name serves nobody.
export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const [name] = new URL(request.url).hostname.split(".");
    if (name === "saas") return new Response("not a customer's subdomain", { status: 400 });
    return env.DISPATCHER.get(name).fetch(request);
  },
};
