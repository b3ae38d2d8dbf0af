// The platform's dispatch Worker: the host's first label names the user Worker, a header of the test's its limits. What it
// catches it tells the client, unless the test wants to see what the edge makes of it.
let process;

export default {
  async fetch(request, env) {
    const name = new URL(request.url).hostname.split(".")[0];
    const limits = JSON.parse(request.headers.get("x-limits") ?? "{}");
    try {
      const response = await env.DISPATCHER.get(name, {}, { limits }).fetch(request);
      // None of the node's own headers may come this far, neither from a client nor from a user Worker.
      const leaked = [...request.headers.keys(), ...response.headers.keys()].filter((h) => h.startsWith("atoll"));
      if (leaked.length > 0) return new Response(`leaked: ${leaked}`, { status: 500 });
      // Platforms rewrite answers, too.
      if (request.headers.get("x-pipe") !== null) return new Response(response.body.pipeThrough(new TransformStream()), response);
      if (new URL(request.url).pathname !== "/alive") return response;
      const told = new Response(response.body, response);
      told.headers.set("x-process", process ??= crypto.randomUUID()); // which process of this Worker it was
      return told;
    } catch (e) {
      if (request.headers.get("x-uncaught") !== null) throw e;
      return new Response(`${e.name}: ${e.message}`, { status: 500, headers: { "x-thrown": "1" } });
    }
  },
};
