// Answers with its variables, secrets and KV, so that a test sees what a deploy left in env.
export default {
  async fetch(request, env) {
    const seen = {};
    for (const [name, value] of Object.entries(env)) {
      if (name === "STORE") seen[name] = await value.get("greeting");
      else seen[name] = value;
    }
    return Response.json(seen);
  },
};
