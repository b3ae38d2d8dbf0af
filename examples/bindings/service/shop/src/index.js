// Calls the Worker in ../billing.
//
//   GET  /health                     by fetch()
//   POST /   [["tea", 4], ...]       by RPC: an invoice, line by line
export default {
  async fetch(request, env) {
    if (request.method === "GET") return env.HEALTH.fetch(request);
    using invoice = await env.BILLING.newInvoice(); // given back when this handler ends
    try {
      for (const [what, price] of await request.json()) await invoice.add(what, price);
    } catch (e) { // what the other Worker throws arrives with its name and message
      return new Response(`${e.name}: ${e.message}\n`, { status: 400 });
    }
    const lines = [];
    await invoice.print((line) => { lines.push(line); });
    // One round trip: the second call does not wait for the answer to the first.
    const empty = await env.BILLING.newInvoice().total;
    return new Response(`${lines.join("\n")}\nA new invoice is of ${empty}\n`);
  },
};
