// Answers each customer five times a minute. The customer is whoever the header x-customer says, or an address.
export default {
  async fetch(request, env) {
    const key = request.headers.get("x-customer") ?? request.headers.get("cf-connecting-ip") ?? "nobody";
    const { success } = await env.LIMITER.limit({ key });
    if (!success) return new Response(`${key}: too many requests\n`, { status: 429, headers: { "retry-after": "60" } });
    return new Response(`${key}: welcome\n`);
  },
};
