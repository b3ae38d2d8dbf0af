// Takes orders for reports at once and makes them in the background, in batches.
//   POST /orders  ["january", "february"]   answers when the orders are on disk
//   GET  /reports/january                   answers 404 until the report is made
export default {
  async fetch(request, env) {
    const { pathname } = new URL(request.url);
    if (request.method === "POST" && pathname === "/orders") {
      const months = await request.json();
      await env.REPORTS.sendBatch(months.map((month) => ({ body: { month, ordered: Date.now() } })));
      return new Response(`${months.length} ordered\n`, { status: 202 });
    }
    const report = await env.DONE.get(pathname.slice("/reports/".length));
    return report === null ? new Response("not there yet\n", { status: 404 }) : new Response(report);
  },

  async queue(batch, env) {
    for (const message of batch.messages) {
      try {
        await env.DONE.put(message.body.month, report(message.body));
        message.ack(); // even if a later message makes this handler fail
      } catch (e) {
        console.warn(`${message.body.month}, attempt ${message.attempts}: ${e.message}`);
        message.retry({ delaySeconds: message.attempts }); // after two retries it goes to reports-failed
      }
    }
  },
};

function report({ month }) {
  if (month === "smarch") throw new Error("there is no such month");
  return `The report of ${month}: all is well.\n`;
}
