// Writes the data points that it is asked for, and asks its limiter.
export default {
  async fetch(request, env, ctx) {
    const { write, later, times, limit } = await request.json();
    if (limit !== undefined) {
      const said = [];
      for (const options of limit) {
        try {
          said.push((await env.LIMITER.limit(options)).success);
        } catch (e) {
          said.push(String(e));
        }
      }
      return Response.json(said);
    }
    const point = (p) => p.bytes ? { ...p, blobs: [new TextEncoder().encode(p.bytes)] } : p;
    const put = () => write.map((p) => env.POINTS.writeDataPoint(p === null ? undefined : point(p)));
    if (later) {
      ctx.waitUntil(scheduler.wait(20).then(put));
      return Response.json([]);
    }
    let said = [];
    for (let i = 0; i < (times ?? 1); i++) said = put();
    return Response.json(said.map((v) => v === undefined));
  },
};
