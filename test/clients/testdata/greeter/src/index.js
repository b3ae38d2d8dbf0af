export default {
  async fetch(request, env) {
    return new Response(`greeter: ${env.API_KEY ?? "no key"}`);
  },
};
