// A guestbook in D1: GET lists the latest entries, POST {"name", "message"} writes one.
export default {
  async fetch(request, env) {
    if (request.method === "POST") {
      const { name, message } = await request.json();
      if (!name || !message) return new Response("name and message are needed\n", { status: 400 });
      // Both or neither: a batch is one transaction. Values are bound, never put into the text.
      const [, visits] = await env.DB.batch([
        env.DB.prepare("INSERT INTO entries (name, message) VALUES (?, ?)").bind(name, message),
        env.DB.prepare(
          "INSERT INTO visits VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET times = times + 1 RETURNING times",
        ).bind(name),
      ]);
      return Response.json({ name, times: visits.results[0].times }, { status: 201 });
    }
    const { results } = await env.DB.prepare("SELECT name, message FROM entries ORDER BY id DESC LIMIT ?").bind(20).all();
    return Response.json(results);
  },
};
