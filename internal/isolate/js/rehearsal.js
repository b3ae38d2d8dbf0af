// What the node has a process do before any Worker runs, to see which parts of the engine a start touches: see rehearse.
export default {
  async fetch(request) {
    const { pathname, searchParams } = new URL(request.url);
    const headers = new Headers({ "content-type": "application/json" });
    const body = JSON.stringify({ pathname, query: Object.fromEntries(searchParams), at: new Date().toISOString() });
    return new Response(await new Response(body).text(), { headers });
  },
};
